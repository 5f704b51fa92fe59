//! The accounts of one app and what each shows to get a token. The one rule: whose credentials an account uses can be read
//! off the file: its own, all of them, or the app's.

use std::collections::BTreeMap;

use super::{
    ledger::{Holding, Ledger},
    reader::{Misfit, Section, Text, not_one_of},
    schema,
    settings::Credentials,
};
use crate::{
    names::{AccountName, AppName, NameError},
    provider::{GrantKind, Preset},
};

/// Placeholders that templates fill themselves: no setting may have such a name.
pub(super) const BUILT_IN: [&str; 4] = ["client_id", "client_secret", "account", "uuid"];

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

    /// The names under `settings`, of the app and of every account.
    pub(super) fn free_settings(&self) -> impl Iterator<Item = String> {
        let sections = self.accounts.iter().map(|(_, section)| section).chain([self.app]);
        sections.flat_map(|section| section.names("settings")).map(str::to_owned)
    }

    /// The grant of an app that names none: a key or accounts with credentials of their own need no consent.
    pub(super) fn usual_grant(&self) -> Option<GrantKind> {
        let grants = &self.preset.grants;
        if self.bring_keys() {
            return Some(GrantKind::Static);
        }
        let alone = grants.iter().find(|grant| **grant != GrantKind::AuthorizationCode);
        alone.filter(|_| self.per_account).or(grants.first()).copied()
    }

    /// Whether a static key is written somewhere, for a marketplace that takes one: then that is the grant.
    fn bring_keys(&self) -> bool {
        let anywhere =
            self.app.has("api_key") || self.accounts.iter().any(|(_, section)| section.has("api_key"));
        anywhere && self.preset.grants.contains(&GrantKind::Static)
    }

    /// Whether the app's client goes without a secret (RFC 6749 §2.1): only one that says so by PKCE, since a secret that
    /// was forgotten must not pass for one that there is not.
    pub(super) fn is_public(&self, grant: GrantKind, pkce: Option<bool>) -> bool {
        let pkce = pkce.or(self.preset.defaults.pkce) == Some(true);
        grant == GrantKind::AuthorizationCode && pkce && !self.app.has("client_secret")
    }

    /// Whether accounts bring their own credentials.
    pub(super) fn per_account(&self, grant: GrantKind) -> bool {
        self.per_account && grant != GrantKind::AuthorizationCode
    }

    /// What is held, or None when something is wrong with it.
    pub(super) fn read(&self, app: &AppName, grant: GrantKind, public: bool) -> Option<Ledger> {
        let mut whole = self.check_app(grant, public);
        let of_app = holding(self.app, self.preset, grant, public);
        whole &= of_app.credentials.is_some() || self.per_account(grant);
        let mut accounts = BTreeMap::new();
        for (name, section) in &self.accounts {
            match self.account(app, grant, name, section) {
                Some((name, own)) => drop(accounts.insert(name, own)),
                None => whole = false,
            }
        }
        if grant != GrantKind::AuthorizationCode && !self.per_account {
            accounts.entry(AccountName::implicit()).or_default();
        }
        whole.then_some(Ledger { app: of_app, accounts })
    }

    fn account(
        &self,
        app: &AppName,
        grant: GrantKind,
        name: &Text,
        section: &Section<'_>,
    ) -> Option<(AccountName, Holding)> {
        if grant == GrantKind::AuthorizationCode {
            section.mistake(&name.span, in_the_store(app, &name.value));
            return None;
        }
        let settings: Vec<&str> = self.preset.settings.iter().map(String::as_str).collect();
        section.check_keys(&settings);
        let parsed = name.value.parse();
        let account =
            parsed.map_err(|e: NameError| section.mistake(&name.span, Misfit::new(e.to_string()))).ok();
        let stands = self.check_account(grant, section);
        let own = holding(section, self.preset, grant, false);
        let brings = ["client_id", "client_secret", "api_key"].iter().any(|key| section.has(key));
        (stands && own.credentials.is_some() == brings).then_some((account?, own))
    }

    /// Whether the app itself holds what it must and nothing that would have no effect.
    fn check_app(&self, grant: GrantKind, public: bool) -> bool {
        let mut stands = refuse_foreign(self.app, grant);
        if self.per_account && grant == GrantKind::AuthorizationCode {
            let message = "`credentials = \"per-account\"` does not go with grant `authorization_code`";
            let hint = "remove it: all sellers share the app's client, and consent to it";
            self.app.mistake_at("credentials", Misfit::mended_by(message, hint));
            stands = false;
        }
        if self.per_account(grant) {
            for key in needed(grant).iter().filter(|key| self.app.has(key)) {
                let message = format!("`{key}` belongs to each account, since credentials = \"per-account\"");
                let hint = format!("move `{key}` below [apps.NAME.accounts.SELLER], or remove `credentials`");
                self.app.mistake_at(key, Misfit::mended_by(message, hint));
                stands = false;
            }
            return stands;
        }
        let absent: Vec<_> =
            absent(self.app, grant).into_iter().filter(|key| !(public && *key == "client_secret")).collect();
        if absent.is_empty() {
            return stands;
        }
        self.app.absence(self.nothing_to_show(grant, &absent));
        false
    }

    fn nothing_to_show(&self, grant: GrantKind, missing: &[&str]) -> Misfit {
        let all_bring = |(_, section): &(Text, Section<'_>)| absent(section, grant).is_empty();
        let none_here = missing.len() == needed(grant).len() && grant != GrantKind::AuthorizationCode;
        if none_here && !self.accounts.is_empty() && self.accounts.iter().all(all_bring) {
            let hint = "every account brings its own: write credentials = \"per-account\"";
            return Misfit::mended_by(are_missing(missing), hint);
        }
        let example = missing.last().unwrap_or(&"client_secret");
        let mut hint = format!("write {example} = {{ env = \"NAME\" }}");
        if grant == GrantKind::AuthorizationCode && *example == "client_secret" {
            hint.push_str(", or pkce = true for a client that has no secret");
        }
        Misfit::mended_by(are_missing(missing), hint)
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

/// An account of a grant that needs a seller's consent.
fn in_the_store(app: &AppName, seller: &str) -> Misfit {
    let message = "sellers who consent do not stand in this file: what they consent to changes at every use";
    let hint = format!(
        "remove it; `marketgate login {app}@{seller}` connects the seller, or `marketgate import`, which brings settings too"
    );
    Misfit::mended_by(message, hint)
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

fn holding(section: &Section<'_>, preset: &Preset, grant: GrantKind, public: bool) -> Holding {
    let id = section.text("client_id").filter(|id| !is_empty(section, id));
    let secrets = if public { Some(Vec::new()) } else { section.secrets("client_secret") };
    let key = section.secret("api_key");
    let credentials = match grant {
        GrantKind::Static => key.map(|key| (Credentials::Key(key.source), key.span)),
        _ => id.zip(secrets).map(|(id, secrets)| {
            let secrets = secrets.into_iter().map(|found| found.source).collect();
            (Credentials::Client { id: id.value, secrets }, id.span)
        }),
    };
    Holding { credentials, settings: settings(section, preset) }
}

fn is_empty(section: &Section<'_>, id: &Text) -> bool {
    if id.value.is_empty() {
        section.mistake(&id.span, Misfit::new("`client_id` is empty"));
    }
    id.value.is_empty()
}

/// The preset's settings by their names, and free ones below `settings`.
fn settings(section: &Section<'_>, preset: &Preset) -> BTreeMap<String, Text> {
    let named = |name: &String| {
        let text = section.scalar(name)?;
        warn_of_unknown(section, preset, name, &text);
        Some((name.clone(), text))
    };
    let mut settings: BTreeMap<String, Text> = preset.settings.iter().filter_map(named).collect();
    for (name, text) in section.map("settings") {
        match refusal(&name.value, settings.contains_key(&name.value)) {
            Some(misfit) => section.mistake(&name.span, misfit),
            None => drop(settings.insert(name.value, text)),
        }
    }
    settings
}

/// A vendor may have more than is known here, so this is no mistake.
fn warn_of_unknown(section: &Section<'_>, preset: &Preset, name: &str, text: &Text) {
    let Some(known) = preset.known_values.get(name).filter(|known| !known.contains(&text.value)) else {
        return;
    };
    let misfit = not_one_of(name, &text.value, known.iter().map(String::as_str));
    section.warning(&text.span, misfit);
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
