//! Takes grants in. The one rule: importing the same grant twice changes nothing, and a refresh token that was here before
//! never comes back from an old list.

use std::{
    collections::{BTreeMap, HashMap, hash_map::Entry},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::SystemTime,
};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{
    Accounts, AccountsError,
    change::{SETTLE, durable, whole},
    error::Refusal,
};
use crate::{
    config::{App, slips},
    grant::Withheld,
    names::{AccountId, AccountName},
    provider::{GrantKind, Identity},
    secret::{Secret, sha256},
    store::{Grant, LoginReason, Origin, Record, Standing, Store, Stored},
};

/// What an import brings: a grant and what is known of the account.
#[derive(Debug, Clone)]
pub struct NewGrant {
    /// What entitles us to tokens.
    grant: Brought,
    consented_at: Option<SystemTime>,
    refresh_token_expires_at: Option<SystemTime>,
    identity: Option<String>,
    settings: BTreeMap<String, String>,
}

#[derive(Debug, Clone)]
enum Brought {
    Refresh(Secret),
    Client { id: String, secret: Secret },
    Key(Secret),
}

/// How an import is done.
#[derive(Debug, Clone, Copy, Default)]
pub struct ImportOptions {
    /// Only look whether it could be done.
    pub dry_run: bool,
    /// Connect the account to somebody else than before, if that is whom the grant belongs to.
    pub replace_identity: bool,
    /// Another account may belong to the same seller.
    pub again: bool,
}

/// What became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Imported {
    /// The account is new.
    Created,
    /// It was there, and has this grant now.
    Replaced,
    /// It had this grant already, or a successor of it.
    Unchanged,
}

/// Members that somebody gave out, and that may have been copied badly.
pub const CREDENTIALS: [&str; 4] = ["refresh_token", "client_id", "client_secret", "api_key"];

/// Members of an import beside the provider's settings.
const MEMBERS: [&str; 7] = [
    "refresh_token",
    "client_id",
    "client_secret",
    "api_key",
    "consented_at",
    "refresh_token_expires_at",
    "identity",
];

impl NewGrant {
    /// Reads the members of a JSON object, `account` excepted.
    ///
    /// # Errors
    /// Every member that cannot be used, and that none or too many credentials are there. Never a value.
    pub fn read(app: &App, members: &Map<String, Value>) -> Result<Self, AccountsError> {
        let mut texts = BTreeMap::new();
        for (name, value) in members.iter().filter(|(_, value)| !value.is_null()) {
            texts.insert(name.as_str(), text(name, value)?);
        }
        let mut time = |name| texts.remove(name).map(|at| moment(name, &at)).transpose();
        let (consented_at, refresh_token_expires_at) =
            (time("consented_at")?, time("refresh_token_expires_at")?);
        let identity = texts.remove("identity");
        let grant = brought(app, &mut texts)?;
        if let Some(name) = texts.keys().find(|name| MEMBERS.contains(name)) {
            let detail = format!("`{name}` does not belong to app `{}`", app.name);
            return Err(AccountsError::invalid(detail, format!("it takes {}", wanted(app))));
        }
        let settings = texts.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        Ok(Self { grant, consented_at, refresh_token_expires_at, identity, settings })
    }

    /// The refresh token, if that is what it brings.
    pub fn refresh_token(&self) -> Option<&Secret> {
        match &self.grant {
            Brought::Refresh(token) => Some(token),
            Brought::Client { .. } | Brought::Key(_) => None,
        }
    }

    fn is_in(&self, record: &Record) -> bool {
        match (&self.grant, &record.grant) {
            (Brought::Refresh(new), Some(Grant::Refresh { token, .. })) => same(new, token),
            (Brought::Client { id, secret }, Some(Grant::Client { id: known, secret: kept })) => {
                id == known && same(secret, kept)
            }
            (Brought::Key(new), Some(Grant::Key(key))) => same(new, key),
            _ => false,
        }
    }
}

fn same(one: &Secret, other: &Secret) -> bool {
    one.expose() == other.expose()
}

fn text(name: &str, value: &Value) -> Result<String, AccountsError> {
    let text = match value {
        Value::String(text) => text.trim().to_owned(),
        Value::Number(number) if !CREDENTIALS.contains(&name) => number.to_string(),
        _ => {
            return Err(AccountsError::invalid(format!("`{name}` is no text"), "write it in quotes"));
        }
    };
    if text.is_empty() || text.len() > 16 * 1024 || text.chars().any(char::is_control) {
        let detail = format!("`{name}` is empty, too long, or holds control characters");
        return Err(AccountsError::invalid(detail, "copy it again, as one line"));
    }
    let slip = slips::slip(&text).filter(|_| CREDENTIALS.contains(&name));
    match slip {
        Some(slip) => {
            let action = "correct it where it comes from, or copy it again";
            Err(AccountsError::invalid(format!("`{name}` {slip}"), action))
        }
        None => Ok(text),
    }
}

fn moment(name: &str, text: &str) -> Result<SystemTime, AccountsError> {
    let day = || text.parse::<jiff::civil::Date>().ok()?.to_zoned(jiff::tz::TimeZone::UTC).ok();
    let at = text.parse::<jiff::Timestamp>().ok().or_else(|| Some(day()?.timestamp()));
    at.map(SystemTime::from).ok_or_else(|| {
        let action = "write it as 2026-01-31T12:00:00Z or 2026-01-31";
        AccountsError::invalid(format!("`{name}` is no time"), action)
    })
}

fn wanted(app: &App) -> &'static str {
    match app.profile.grant {
        GrantKind::AuthorizationCode => "`refresh_token`",
        GrantKind::ClientCredentials => "`client_id` and `client_secret`",
        GrantKind::Static => "`api_key`",
    }
}

fn brought(app: &App, texts: &mut BTreeMap<&str, String>) -> Result<Brought, AccountsError> {
    let missing = || {
        let detail = format!("there is no {}", wanted(app));
        let action = format!("app `{}` takes {} for each account", app.name, wanted(app));
        AccountsError::invalid(detail, action)
    };
    let mut secret = |name: &'static str| {
        let text = texts.remove(name)?;
        text.bytes().all(|byte| byte.is_ascii_graphic()).then(|| Secret::new(text))
    };
    Ok(match app.profile.grant {
        GrantKind::AuthorizationCode => Brought::Refresh(secret("refresh_token").ok_or_else(missing)?),
        GrantKind::ClientCredentials => Brought::Client {
            id: secret("client_id").ok_or_else(missing)?.expose().to_owned(),
            secret: secret("client_secret").ok_or_else(missing)?,
        },
        GrantKind::Static => Brought::Key(secret("api_key").ok_or_else(missing)?),
    })
}

/// Refresh tokens that are being taken in now, by their digests: two imports of one token at the same moment would each
/// find that nobody holds it.
#[derive(Debug, Default)]
pub(super) struct Arriving(Mutex<HashMap<[u8; 32], AccountId>>);

/// A refresh token's place among them, given back however the import ends.
struct Arrival<'a> {
    among: &'a Arriving,
    digest: [u8; 32],
}

impl Arriving {
    fn admit(&self, id: &AccountId, token: &Secret) -> Result<Arrival<'_>, AccountsError> {
        let digest = sha256(token.expose());
        match self.known().entry(digest) {
            Entry::Occupied(other) if other.get() == id => Err(AccountsError::overtaken(id)),
            Entry::Occupied(other) => Err(seen_before(other.get())),
            Entry::Vacant(free) => {
                free.insert(id.clone());
                Ok(Arrival { among: self, digest })
            }
        }
    }

    fn known(&self) -> MutexGuard<'_, HashMap<[u8; 32], AccountId>> {
        // No code that holds it can panic half-way.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Arrival<'_> {
    fn drop(&mut self) {
        self.among.known().remove(&self.digest);
    }
}

impl Accounts {
    /// Takes a grant in for an account that is new, or in the place of the grant it has.
    ///
    /// # Errors
    /// When it cannot be used; nothing is changed then.
    pub async fn import(
        &self,
        id: &AccountId,
        new: NewGrant,
        options: ImportOptions,
    ) -> Result<Imported, AccountsError> {
        let store = self.store_of(id)?.clone();
        let app = self.app(&id.app)?.clone();
        check_settings(&app, id, &new)?;
        let _arriving = new.refresh_token().map(|token| self.arriving.admit(id, token)).transpose()?;
        let stored = store.account(id).await?;
        if let Some(token) = new.refresh_token()
            && let Some(holder) = store.holder(token).await?
        {
            let came_back = matches!(&stored, Some(Stored::Whole(record)) if may_come_back(record, &new));
            if id != &holder || !came_back {
                return seen(id, &holder, stored.as_ref());
            }
        }
        match &stored {
            Some(Stored::Whole(record)) if is_unchanged(record, &new) => return Ok(Imported::Unchanged),
            Some(Stored::Whole(record)) => check_identity(record, &new, options)?,
            _ => {}
        }
        let before = match &stored {
            Some(Stored::Whole(record)) => Some(record),
            _ => None,
        };
        let shared = options.again || before.is_some_and(|record| record.shared_seller);
        let is_news = |name: &&String| before.is_none_or(|record| record.identity.as_ref() != Some(name));
        if let Some(identity) = new.identity.as_ref().filter(|_| !shared).filter(is_news) {
            self.check_other_account(id, identity).await?;
        }
        let outcome = if stored.is_some() { Imported::Replaced } else { Imported::Created };
        if !options.dry_run {
            let refuse = options.replace_identity.then_some(Withheld::ChangingHands);
            self.take_in(&app, store.as_ref(), id, new, refuse, shared).await?;
        }
        Ok(outcome)
    }

    async fn take_in(
        &self,
        app: &Arc<App>,
        store: &dyn Store,
        id: &AccountId,
        new: NewGrant,
        refuse: Option<Withheld>,
        shared_seller: bool,
    ) -> Result<(), AccountsError> {
        // What a refresh under way may still bring belongs to the grant that is replaced: it is not waited for without end.
        let change = self.live.change(id, refuse, SETTLE).await;
        let now = self.clock.now().wall;
        let before = store.account(id).await?;
        let generation = before.as_ref().map_or(0, Stored::generation) + 1;
        let before = before.and_then(|stored| whole(id, stored).ok());
        // A refresh token that rotates is younger than the consent; how much younger nobody says.
        let obtained_at = new.consented_at.filter(|_| !app.profile.rotates).unwrap_or(now);
        let grant = match new.grant {
            Brought::Refresh(token) => Grant::Refresh {
                token,
                obtained_at,
                ends_at: new
                    .refresh_token_expires_at
                    .or_else(|| app.profile.lifetimes.refresh_token.map(|life| obtained_at + life)),
            },
            Brought::Client { id, secret } => Grant::Client { id, secret },
            Brought::Key(key) => Grant::Key(key),
        };
        let unrevoked = before
            .as_ref()
            .map(|record| super::revoke::still_unrevoked(record, new.identity.as_deref()))
            .unwrap_or_default();
        let record = Record {
            id: id.clone(),
            provider: app.profile.provider.clone(),
            environment: app.profile.environment.clone(),
            generation,
            grant: Some(grant),
            standing: Standing::Active,
            token: None,
            identity: new.identity.or_else(|| before.as_ref().and_then(|record| record.identity.clone())),
            shared_seller,
            unrevoked,
            settings: new.settings,
            consented_at: new.consented_at,
            created_at: before.map_or(now, |record| record.created_at),
            changed_at: now,
            notes: Default::default(),
            intent: None,
        };
        durable(id, store.replace(record, Origin::Brought).await?)?;
        self.done(change);
        self.live.uncross(id);
        Ok(())
    }
}

fn is_unchanged(record: &Record, new: &NewGrant) -> bool {
    record.standing == Standing::Active && new.is_in(record) && new.settings == record.settings
}

/// A grant that was exported and never spent elsewhere is ours again.
fn may_come_back(record: &Record, new: &NewGrant) -> bool {
    record.standing == Standing::LoginRequired(LoginReason::Exported) && new.is_in(record)
}

/// A refresh token that is or was here: the same account has it or its successor, and another one's it cannot be.
fn seen(id: &AccountId, holder: &AccountId, stored: Option<&Stored>) -> Result<Imported, AccountsError> {
    match stored {
        _ if id != holder => Err(seen_before(holder)),
        Some(Stored::Whole(record)) if record.standing != Standing::Active => {
            let detail = format!("{id} had this refresh token before, and it is over");
            let action = format!("connect the seller again: `marketgate login {id}`, or import a newer one");
            Err(AccountsError::new(Refusal::Conflict, "seen_before", detail, action))
        }
        _ => Ok(Imported::Unchanged),
    }
}

fn seen_before(holder: &AccountId) -> AccountsError {
    let detail = format!("this refresh token is or was {holder}'s");
    let action = format!(
        "each seller has a refresh token of its own; `marketgate accounts remove {holder}` first if the account is to \
         have another name"
    );
    AccountsError::new(Refusal::Conflict, "seen_before", detail, action)
}

fn check_identity(record: &Record, new: &NewGrant, options: ImportOptions) -> Result<(), AccountsError> {
    match (&record.identity, &new.identity) {
        (Some(pinned), Some(named)) if pinned != named && !options.replace_identity => {
            let detail = format!("{} is pinned to {pinned}, and the import names {named}", record.id);
            let action = "import it for the right account, or add --replace-identity";
            Err(AccountsError::new(Refusal::Conflict, "identity_mismatch", detail, action))
        }
        _ => Ok(()),
    }
}

/// Settings must be the provider's, and what token calls need must be there.
fn check_settings(app: &App, id: &AccountId, new: &NewGrant) -> Result<(), AccountsError> {
    let credentials = crate::config::Credentials::Client { id: String::new(), secrets: Vec::new() };
    let account = app
        .account_with(AccountName::clone(&id.account), credentials, new.settings.clone())
        .map_err(|why| AccountsError::invalid(why, "correct or remove the setting"))?;
    let Some(Identity::Parameter { setting: Some(setting), .. }) =
        app.profile.identity.as_ref().filter(|_| new.refresh_token().is_some())
    else {
        return Ok(());
    };
    if account.setting(setting).is_none() {
        let detail = format!("`{setting}` is missing");
        let action = "every token call of this marketplace names the seller: add it to the import";
        return Err(AccountsError::invalid(detail, action));
    }
    Ok(())
}
