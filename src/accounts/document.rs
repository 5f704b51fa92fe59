//! What is told of an account, in commands and over the API. The one rule: fingerprints, never tokens.

use std::{collections::BTreeMap, time::SystemTime};

use serde::{Deserialize, Serialize};

use super::revoke::unrevoked_since;
use crate::{
    clock::{Clock, Moment, rfc3339},
    config::{Account, App, Credentials},
    grant::{
        AccountState, LiveAccounts, Published, TOLERANCE, advice, agenda::end_is_fixed, halt, refresh_end,
    },
    names::AccountId,
    store::{Grant, KeptToken, LoginReason, Record, Standing, Stored},
    token::usable_life,
};

/// One account.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct AccountDocument {
    /// `[apps.NAME]`.
    pub app: String,
    /// The account under it.
    pub account: String,
    /// The app's provider.
    pub provider: String,
    /// The app's environment.
    pub environment: String,
    /// How it gets tokens: `client_credentials`, `authorization_code` or `static`.
    pub grant: String,
    /// Where it is kept: `configuration` or `store`.
    pub kept_in: String,
    /// `ready`, `refreshing`, `degraded`, `misconfigured`, `refused`, `login_required`, `store_corrupt`, `identity_mismatch`, `parked`.
    pub state: String,
    /// Why, for `login_required` (`revoked`, `expired`, `rotation_response_lost`, `logged_out`, `exported`,
    /// `never_connected`) and `parked` (`restored`, `environment_changed`).
    pub reason: Option<String>,
    /// Whom it is connected to, as the marketplace names him.
    pub identity: Option<String>,
    /// Its own settings (`market`, `partner_id`, …).
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub settings: BTreeMap<String, String>,
    /// When the seller first consented, RFC 3339.
    pub consented_at: Option<String>,
    /// When the consent or its refresh token ends whatever is refreshed meanwhile, so that the seller must have logged in
    /// again, RFC 3339.
    pub login_required_by: Option<String>,
    /// When its refresh token ends by itself unless it is refreshed before, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refresh_token_expires_at: Option<String>,
    /// The granted scope, where it is narrower than what the app asks for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub granted_scope: Option<String>,
    /// Counts the durable changes; none for accounts of the configuration.
    pub generation: Option<u64>,
    /// Its newest token; none before the first request.
    pub token: Option<TokenDocument>,
    /// Why there is no newer one.
    pub trouble: Option<TroubleDocument>,
    /// What else a person should know of it, as sentences.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notices: Vec<String>,
}

/// A token, without the token.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct TokenDocument {
    /// The first bytes of its SHA-256.
    pub fingerprint: String,
    /// Counts the account's tokens.
    pub generation: u64,
    /// Seconds since it was asked for.
    pub age_seconds: u64,
    /// Seconds until it expires; none: it does not.
    pub expires_in_seconds: Option<u64>,
    /// When it expires, RFC 3339.
    pub expires_at: Option<String>,
    /// Whether the marketplace should still accept it.
    pub valid: bool,
}

/// Why there is no new token.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct TroubleDocument {
    /// What happened.
    pub detail: String,
    /// What mends it.
    pub action: String,
    /// Failures in a row.
    pub failures: u32,
    /// When the first of them was, RFC 3339.
    pub since: String,
}

impl AccountDocument {
    /// What is known of an account of the configuration; one nobody used yet is ready for its first request.
    pub fn of_written(app: &App, account: &Account, live: &LiveAccounts, now: Moment) -> Self {
        let published = live.peek(&account.id).map(|live| live.published());
        let mut document = Self::blank(app, &account.id, "configuration");
        if let Credentials::Key(_) = account.credentials {
            "static".clone_into(&mut document.grant);
        }
        if let Some(published) = published {
            document.tell(&published, now);
        }
        document
    }

    /// What is known of an account of the store.
    pub fn of_stored(app: &App, stored: &Stored, live: &LiveAccounts, clock: &Clock) -> Self {
        let now = clock.now();
        let mut document = Self::blank(app, stored.id(), "store");
        document.generation = Some(stored.generation());
        match stored {
            Stored::Whole(record) => document.tell_record(app, record, clock),
            Stored::Corrupt { id, detail, .. } => {
                document.halt(id, AccountState::StoreCorrupt, detail, now.wall);
            }
        }
        if let Some(published) = known(stored, live) {
            document.tell(&published, now);
        }
        if let Some(end) = ended(app, stored, live, now) {
            let (reason, detail) = (LoginReason::Expired, LoginReason::Expired.sentence());
            document.halt(stored.id(), AccountState::LoginRequired(reason), detail, end);
        }
        document.notices.extend(live.crossed_with(stored.id()).map(|other| {
            format!("its tokens came with a refresh of {other}, which is stopped: look at both (identity_mismatch)")
        }));
        document
    }

    fn blank(app: &App, id: &AccountId, kept_in: &str) -> Self {
        Self {
            app: id.app.to_string(),
            account: id.account.to_string(),
            provider: app.profile.provider.clone(),
            environment: app.profile.environment.clone(),
            grant: app.profile.grant.as_str().to_owned(),
            kept_in: kept_in.to_owned(),
            state: AccountState::Ready.as_str().to_owned(),
            reason: None,
            identity: None,
            settings: BTreeMap::new(),
            consented_at: None,
            login_required_by: None,
            refresh_token_expires_at: None,
            granted_scope: None,
            generation: None,
            token: None,
            trouble: None,
            notices: Vec::new(),
        }
    }

    fn tell(&mut self, published: &Published, now: Moment) {
        self.set_state(published.state);
        if let Some(scope) = published.narrower_scope() {
            self.granted_scope = Some(scope.to_owned());
        }
        self.token = published.credential.as_ref().map(|credential| {
            let token = &credential.token;
            TokenDocument {
                fingerprint: token.secret.fingerprint().to_string(),
                generation: token.generation,
                age_seconds: token.age(now).as_secs(),
                expires_in_seconds: token.life_left(now).map(|left| left.as_secs()),
                expires_at: token.lifetime.map(|life| token.asked.plus(life).rfc3339()),
                valid: token.usable_at(now),
            }
        });
        self.trouble = published.trouble.as_ref().map(|trouble| TroubleDocument {
            detail: trouble.detail.clone(),
            action: trouble.action.clone(),
            failures: trouble.failures,
            since: trouble.since.rfc3339(),
        });
    }

    fn tell_record(&mut self, app: &App, record: &Record, clock: &Clock) {
        self.grant = match &record.grant {
            Some(Grant::Key(_)) => "static".to_owned(),
            Some(Grant::Client { .. }) => "client_credentials".to_owned(),
            _ => self.grant.clone(),
        };
        self.identity.clone_from(&record.identity);
        self.settings.clone_from(&record.settings);
        self.consented_at = record.consented_at.map(rfc3339);
        let now = clock.now().wall;
        self.login_required_by = login_required_by(app, record, now).map(rfc3339);
        self.refresh_token_expires_at =
            refresh_end(record).filter(|end| *end > now && is_alive(record)).map(rfc3339);
        self.granted_scope.clone_from(&record.notes.narrower_scope);
        self.token = record.token.as_ref().and_then(|token| kept_document(token, record.generation, clock));
        self.notices = notices(record);
        if let Some((state, detail)) = halt(record, &app.profile) {
            self.halt(&record.id, state, &detail, record.changed_at);
        }
    }

    fn halt(&mut self, id: &AccountId, state: AccountState, detail: &str, since: SystemTime) {
        self.set_state(state);
        let (detail, action) = (detail.to_owned(), advice(state, id, detail));
        self.trouble = Some(TroubleDocument { detail, action, failures: 1, since: rfc3339(since) });
    }

    fn set_state(&mut self, state: AccountState) {
        state.as_str().clone_into(&mut self.state);
        self.reason = state.reason().map(str::to_owned);
    }
}

/// What of a record a person should know though nothing fails.
fn notices(record: &Record) -> Vec<String> {
    let unrevoked = unrevoked_since(record).map(|since| {
        format!(
            "a former grant is not revoked at the marketplace yet, since {}; it is tried again",
            rfc3339(since)
        )
    });
    unrevoked.into_iter().collect()
}

fn kept_document(kept: &KeptToken, generation: u64, clock: &Clock) -> Option<TokenDocument> {
    let age = clock.now().since(clock.recall(kept.asked_at)?);
    Some(TokenDocument {
        fingerprint: kept.secret.fingerprint().to_string(),
        generation,
        age_seconds: age.as_secs(),
        expires_in_seconds: Some(kept.lifetime.saturating_sub(age).as_secs()),
        expires_at: Some(rfc3339(kept.asked_at + kept.lifetime)),
        valid: age < usable_life(kept.lifetime),
    })
}

/// What the keeper knows is newer than the record, once it has read it.
fn known(stored: &Stored, live: &LiveAccounts) -> Option<Published> {
    live.peek(stored.id()).map(|live| live.published()).filter(Published::is_known)
}

/// When the refresh token of an idle account ended that has no valid access token left: it is `expired` before anybody asks
/// the marketplace, which is asked all the same when a request comes, since clocks err.
fn ended(app: &App, stored: &Stored, live: &LiveAccounts, now: Moment) -> Option<SystemTime> {
    let Stored::Whole(record) = stored else { return None };
    let end = refresh_end(record).filter(|end| *end + TOLERANCE <= now.wall)?;
    let has_token = match known(stored, live) {
        Some(published) if published.state != AccountState::Ready => return None,
        Some(published) => published.usable(now).is_some(),
        None => record.token.as_ref().is_some_and(|token| token.asked_at + token.lifetime > now.wall),
    };
    (!has_token && halt(record, &app.profile).is_none()).then_some(end)
}

/// The state that [`AccountDocument::of_stored`] tells.
pub fn state_of(app: &App, stored: &Stored, live: &LiveAccounts, now: Moment) -> AccountState {
    if ended(app, stored, live, now).is_some() {
        return AccountState::LoginRequired(LoginReason::Expired);
    }
    match (known(stored, live), stored) {
        (Some(published), _) => published.state,
        (None, Stored::Corrupt { .. }) => AccountState::StoreCorrupt,
        (None, Stored::Whole(record)) => {
            halt(record, &app.profile).map_or(AccountState::Ready, |(state, _)| state)
        }
    }
}

/// Whether its grant is not known to be over.
fn is_alive(record: &Record) -> bool {
    record.grant.is_some() && record.standing == Standing::Active
}

/// By when the seller must have logged in again, as far as it is known: a consent with a fixed length counts from the first
/// one, and a refresh token whose end no refresh moves ends as well. Nothing is due any more where that time has passed, or
/// the grant is over.
pub fn login_required_by(app: &App, record: &Record, now: SystemTime) -> Option<SystemTime> {
    let consent_end = record.consented_at.zip(app.profile.lifetimes.consent).map(|(at, life)| at + life);
    let token_end = refresh_end(record).filter(|_| end_is_fixed(&app.profile, record));
    let end = [consent_end, token_end].into_iter().flatten().min()?;
    (is_alive(record) && end > now).then_some(end)
}
