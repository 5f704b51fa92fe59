//! An app and its accounts as the rest of the program sees them. The one rule: beyond this shape nobody validates.

use std::{borrow::Cow, collections::BTreeMap, sync::Arc};

use crate::{
    names::{AccountId, AccountName, AppName},
    provider::{GrantKind, HttpUrl, Profile},
    secret::{Fingerprint, Secret, SecretSource},
};

/// One entry `[apps.NAME]`.
#[derive(Debug, Clone)]
pub struct App {
    /// Its name.
    pub name: AppName,
    /// Its marketplace.
    pub profile: Profile,
    /// Its accounts in the file by name: `[apps.NAME.accounts.SELLER]`, and `default` for an app with credentials of its
    /// own. The store may hold more where [`App::takes_accounts`].
    pub accounts: BTreeMap<AccountName, Arc<Account>>,
    /// `market`, `partner_id`, …: what every account has unless it says otherwise.
    pub settings: BTreeMap<String, String>,
    /// The registered client that all its sellers share; Some for a grant that needs their consent.
    pub client: Option<Client>,
    /// Where sellers come back to after their consent, byte for byte as it is registered.
    pub redirect_uri: Option<String>,
    /// `credentials = "per-account"`: every account brings its own.
    pub per_account: bool,
}

/// A registered OAuth 2.0 client (RFC 6749 §2).
#[derive(Debug, Clone)]
pub struct Client {
    /// Its identifier.
    pub id: String,
    /// Its secrets in the order they are tried; none for a public client (RFC 6749 §2.1).
    pub secrets: Vec<SecretSource>,
}

impl Client {
    /// What an account of this client shows to the token endpoint, beside its refresh token. A public client's secret is
    /// the empty one, which is never sent.
    pub fn credentials(&self) -> Credentials {
        let public = self.secrets.is_empty().then(|| SecretSource::Fixed(Secret::new("")));
        let secrets = self.secrets.iter().cloned().chain(public).collect();
        Credentials::Client { id: self.id.clone(), secrets }
    }
}

/// One account with what it needs to get a token.
#[derive(Debug, Clone)]
pub struct Account {
    /// Its full name.
    pub id: AccountId,
    /// What it shows to get a token.
    pub credentials: Credentials,
    /// `market`, `partner_id`, …: the app's settings with the account's laid over them.
    pub settings: BTreeMap<String, String>,
}

/// What an account shows to get a token.
#[derive(Debug, Clone)]
pub enum Credentials {
    /// An OAuth 2.0 client (RFC 6749 §2.3).
    Client {
        /// Its identifier.
        id: String,
        /// Its secrets in the order they are tried: more than one while a secret is being rotated, none for a public client.
        secrets: Vec<SecretSource>,
    },
    /// A static key, used as the token.
    Key(SecretSource),
}

impl Credentials {
    /// What the secrets are now; a file that cannot be read counts as empty.
    pub fn fingerprints(&self) -> Vec<Fingerprint> {
        let sources = match self {
            Self::Client { secrets, .. } => secrets.as_slice(),
            Self::Key(source) => std::slice::from_ref(source),
        };
        let fingerprint =
            |source: &SecretSource| source.read().unwrap_or_else(|_| Secret::new("")).fingerprint();
        sources.iter().map(fingerprint).collect()
    }
}

impl Account {
    /// The value a template's placeholder has for this account.
    ///
    /// A secret read from a file is read at each call, since it may have changed.
    pub fn setting(&self, name: &str) -> Option<Cow<'_, str>> {
        match (name, &self.credentials) {
            ("account", _) => Some(self.id.account.as_str().into()),
            ("uuid", _) => Some(uuid::Uuid::new_v4().to_string().into()),
            ("client_id", Credentials::Client { id, .. }) => Some(id.into()),
            ("client_secret", Credentials::Client { secrets, .. }) => {
                secrets.first()?.read().ok().map(|secret| secret.expose().to_owned().into())
            }
            _ => self.settings.get(name).map(Into::into),
        }
    }
}

impl App {
    /// Whether accounts may be added while the program runs.
    pub fn takes_accounts(&self) -> bool {
        self.per_account || self.profile.grant == GrantKind::AuthorizationCode
    }

    /// The account of the file that a request means when it names none: `default`, else the only one.
    pub fn implicit_account(&self) -> Option<&Arc<Account>> {
        let default = self.accounts.get(AccountName::implicit().as_str());
        default.or_else(|| self.accounts.values().next().filter(|_| self.accounts.len() == 1))
    }

    /// The API's origin and base path.
    pub fn api(&self) -> &HttpUrl {
        &self.profile.api
    }
}
