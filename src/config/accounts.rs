//! The accounts of one app and what each shows to get a token. The one rule: whose credentials an account uses can be read
//! off the file: its own, all of them, or the app's.

use std::{collections::BTreeMap, ops::Range, sync::Arc};

use super::{
    reader::{Misfit, Section, Text},
    schema,
    secrets::Found,
    settings::{Account, Credentials},
};
use crate::{
    names::{AccountId, AccountName, AppName, NameError},
    provider::{GrantKind, Preset},
    secret::SecretSource,
};

/// Placeholders that templates fill themselves: no setting may have such a name.
pub(super) const BUILT_IN: [&str; 4] = ["client_id", "client_secret", "account", "uuid"];

/// What stands in one section: credentials and settings.
#[derive(Debug, Clone, Default)]
struct Own {
    id: Option<Text>,
    secrets: Option<Vec<Found>>,
    key: Option<Found>,
    settings: BTreeMap<String, Text>,
}

/// An account whose settings still know their places.
#[derive(Debug)]
pub(super) struct Draft {
    pub id: AccountId,
    pub credentials: Credentials,
    /// Where the client id or the key stands.
    pub span: Range<usize>,
    pub settings: BTreeMap<String, Text>,
}

impl Draft {
    /// The account as the program keeps it.
    pub(super) fn settle(self) -> (AccountName, Arc<Account>) {
        let settings = self.settings.into_iter().map(|(name, text)| (name, text.value)).collect();
        let account = Account { id: self.id, credentials: self.credentials, settings };
        (account.id.account.clone(), Arc::new(account))
    }
}

/// The sections of an app that hold credentials.
pub(super) struct Sellers<'a> {
    app: &'a Section<'a>,
    accounts: Vec<(Text, Section<'a>)>,
    preset: &'static Preset,
    per_account: bool,
}

impl<'a> Sellers<'a> {
    pub(super) fn open(app: &'a Section<'a>, preset: &'static Preset) -> Self {
        let per_account =
            app.choice("credentials", &[("per-account", true), ("app", false)]).unwrap_or(false);
        let accounts =
            app.named("accounts", &schema::ACCOUNT, |name| format!("{}account `{name}`: ", app.subject()));
        Self { app, accounts, preset, per_account }
    }

    /// Whether a static key is written somewhere, for a marketplace that takes one: then that is the grant.
    pub(super) fn bring_keys(&self, preset: &Preset) -> bool {
        let anywhere =
            self.app.has("api_key") || self.accounts.iter().any(|(_, section)| section.has("api_key"));
        anywhere && preset.grants.contains(&GrantKind::Static)
    }

    /// The names under `settings`, of the app and of every account.
    pub(super) fn free_settings(&self) -> impl Iterator<Item = String> {
        let sections = self.accounts.iter().map(|(_, section)| section).chain([self.app]);
        sections.flat_map(|section| section.names("settings")).map(str::to_owned)
    }

    /// Every account, or None when something is wrong with one.
    pub(super) fn read(&self, app: &AppName, grant: GrantKind) -> Option<Vec<Draft>> {
        let mut whole = self.check_app(grant);
        let of_app = own(self.app, self.preset);
        let mut drafts = BTreeMap::new();
        for (name, section) in &self.accounts {
            match self.account(app, grant, name, section, &of_app) {
                Some(draft) => drop(drafts.insert(draft.id.account.clone(), draft)),
                None => whole = false,
            }
        }
        let implicit = AccountName::implicit();
        if whole && !self.per_account && !drafts.contains_key(&implicit) {
            let id = AccountId { app: app.clone(), account: implicit.clone() };
            drafts.insert(implicit, draft(id, grant, of_app)?);
        }
        whole.then(|| drafts.into_values().collect())
    }

    fn account(
        &self,
        app: &AppName,
        grant: GrantKind,
        name: &Text,
        section: &Section<'_>,
        of_app: &Own,
    ) -> Option<Draft> {
        let settings: Vec<&str> = self.preset.settings.iter().map(String::as_str).collect();
        section.check_keys(&settings);
        let parsed = name.value.parse();
        let account =
            parsed.map_err(|e: NameError| section.mistake(&name.span, Misfit::new(e.to_string()))).ok();
        let stands = self.check_account(grant, section);
        let mut own = own(section, self.preset);
        if !section.has("client_id") && !section.has("client_secret") && !section.has("api_key") {
            (own.id, own.secrets, own.key) = (of_app.id.clone(), of_app.secrets.clone(), of_app.key.clone());
        }
        let settings = of_app.settings.iter().filter(|(name, _)| !own.settings.contains_key(*name));
        let inherited: Vec<_> = settings.map(|(name, text)| (name.clone(), text.clone())).collect();
        own.settings.extend(inherited);
        stands.then_some(())?;
        draft(AccountId { app: app.clone(), account: account? }, grant, own)
    }

    /// Whether the app itself holds what it must and nothing that would have no effect.
    fn check_app(&self, grant: GrantKind) -> bool {
        let mut stands = refuse_foreign(self.app, grant);
        if self.per_account {
            for key in needed(grant).iter().filter(|key| self.app.has(key)) {
                let message = format!("`{key}` belongs to each account, since credentials = \"per-account\"");
                let hint = format!("move `{key}` below [apps.NAME.accounts.SELLER], or remove `credentials`");
                self.app.mistake_at(key, Misfit::mended_by(message, hint));
                stands = false;
            }
            return stands & self.has_accounts();
        }
        let absent = absent(self.app, grant);
        if absent.is_empty() {
            return stands;
        }
        self.app.absence(self.nothing_to_show(grant, &absent));
        false
    }

    fn has_accounts(&self) -> bool {
        if self.accounts.is_empty() {
            let hint = "add [apps.NAME.accounts.SELLER] with its credentials";
            self.app.absence(Misfit::mended_by(
                "there is no account, though credentials = \"per-account\"",
                hint,
            ));
        }
        !self.accounts.is_empty()
    }

    fn nothing_to_show(&self, grant: GrantKind, missing: &[&str]) -> Misfit {
        let all_bring = |(_, section): &(Text, Section<'_>)| absent(section, grant).is_empty();
        let none_here = missing.len() == needed(grant).len();
        if none_here && !self.accounts.is_empty() && self.accounts.iter().all(all_bring) {
            let hint = "every account brings its own: write credentials = \"per-account\"";
            return Misfit::mended_by(are_missing(missing), hint);
        }
        let example = missing.last().unwrap_or(&"client_secret");
        Misfit::mended_by(are_missing(missing), format!("write {example} = {{ env = \"NAME\" }}"))
    }

    fn check_account(&self, grant: GrantKind, section: &Section<'_>) -> bool {
        let stands = refuse_foreign(section, grant);
        let absent = absent(section, grant);
        let brings_none = absent.len() == needed(grant).len();
        if absent.is_empty() || (brings_none && !self.per_account) {
            return stands;
        }
        section.absence(match absent.as_slice() {
            [key] if !brings_none => Misfit::mended_by(
                format!("`{key}` is missing beside its other half"),
                "an account brings both `client_id` and `client_secret`, or neither and uses the app's",
            ),
            _ => Misfit::mended_by(
                are_missing(&absent),
                "each account brings its own, since credentials = \"per-account\"",
            ),
        });
        false
    }
}

fn are_missing(keys: &[&str]) -> String {
    let verb = if keys.len() > 1 { "are" } else { "is" };
    format!("`{}` {verb} missing", keys.join("` and `"))
}

/// The keys that a grant needs.
fn needed(grant: GrantKind) -> &'static [&'static str] {
    if grant == GrantKind::Static { &["api_key"] } else { &["client_id", "client_secret"] }
}

fn absent(section: &Section<'_>, grant: GrantKind) -> Vec<&'static str> {
    needed(grant).iter().copied().filter(|key| !section.has(key)).collect()
}

/// Credentials that the grant does not use are a misunderstanding, not an extra.
fn refuse_foreign(section: &Section<'_>, grant: GrantKind) -> bool {
    let keys: &[&str] =
        if grant == GrantKind::Static { &["client_id", "client_secret"] } else { &["api_key"] };
    let mut stands = true;
    for key in keys.iter().filter(|key| section.has(key)) {
        let message = format!("`{key}` has no effect with grant `{}`", grant.as_str());
        let hint = match grant {
            GrantKind::Static => {
                "remove it: the static key is all that is sent; a header may use a name under `settings`"
            }
            _ => "remove it, and write `client_id` and `client_secret`",
        };
        section.mistake_at(key, Misfit::mended_by(message, hint));
        stands = false;
    }
    stands
}

fn own(section: &Section<'_>, preset: &Preset) -> Own {
    Own {
        id: section.text("client_id").filter(|id| !is_empty(section, id)),
        secrets: section.secrets("client_secret"),
        key: section.secret("api_key"),
        settings: settings(section, preset),
    }
}

fn is_empty(section: &Section<'_>, id: &Text) -> bool {
    if id.value.is_empty() {
        section.mistake(&id.span, Misfit::new("`client_id` is empty"));
    }
    id.value.is_empty()
}

/// The preset's settings by their names, and free ones below `settings`.
fn settings(section: &Section<'_>, preset: &Preset) -> BTreeMap<String, Text> {
    let named = |name: &String| Some((name.clone(), section.scalar(name)?));
    let mut settings: BTreeMap<String, Text> = preset.settings.iter().filter_map(named).collect();
    for (name, text) in section.map("settings") {
        match refusal(&name.value, settings.contains_key(&name.value)) {
            Some(misfit) => section.mistake(&name.span, misfit),
            None => drop(settings.insert(name.value, text)),
        }
    }
    settings
}

/// Why a free setting cannot have its name.
fn refusal(name: &str, taken: bool) -> Option<Misfit> {
    let legal = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_';
    let (message, hint) = if !name.bytes().all(legal) || name.is_empty() {
        (format!("`{name}` is no name for a setting"), "a name is a-z, 0-9 and _")
    } else if BUILT_IN.contains(&name) {
        (format!("`{name}` is no setting: it has a meaning of its own"), "give the setting another name")
    } else if taken {
        (format!("`{name}` is set twice: by itself and under `settings`"), "keep one of them")
    } else {
        return None;
    };
    Some(Misfit::mended_by(message, hint))
}

fn draft(id: AccountId, grant: GrantKind, own: Own) -> Option<Draft> {
    let (credentials, span) = match grant {
        GrantKind::Static => {
            let key = own.key?;
            (Credentials::Key(key.source), key.span)
        }
        _ => {
            let client = own.id?;
            let secrets: Vec<SecretSource> = own.secrets?.into_iter().map(|found| found.source).collect();
            (Credentials::Client { id: client.value, secrets }, client.span)
        }
    };
    Some(Draft { id, credentials, span, settings: own.settings })
}
