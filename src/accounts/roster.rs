//! Finds the account that a request or a command means. The one rule: the configuration's accounts are known at once, the
//! store's are looked up once and then kept live; a name that means several accounts means none.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::AcqRel, Ordering::Acquire},
    },
};

use super::{Accounts, AccountsError, error::Refusal};
use crate::{
    config::{Account, App, Credentials},
    grant::LiveAccount,
    names::{AccountId, AccountName, AppName},
    secret::{Secret, SecretSource},
    store::{Grant, PageQuery, StoreError, Stored},
};

/// Why no account was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Missing {
    /// There is none of that name.
    NoSuchAccount(AccountName),
    /// The app has several, and none was named.
    AccountRequired,
    /// The app has none yet.
    NoneYet,
    /// What the store holds of it does not fit the configuration any more.
    Unfit(AccountName, String),
    /// The store did not answer.
    Store(StoreError),
}

impl Missing {
    /// The same for whoever named the account in full.
    pub(super) fn about(self, id: &AccountId) -> AccountsError {
        match self {
            Self::NoSuchAccount(_) | Self::AccountRequired | Self::NoneYet => {
                AccountsError::no_such_account(id)
            }
            Self::Unfit(_, why) => AccountsError::new(Refusal::Conflict, "unfit", why, "import it anew"),
            Self::Store(error) => error.into(),
        }
    }
}

impl From<StoreError> for Missing {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

/// How often the accounts were changed: what was found before the latest change may be wrong.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Changes(u64);

/// Which account an app's bare name means, as far as it was looked up.
#[derive(Debug, Default)]
pub(super) struct Implicit {
    known: Mutex<HashMap<AppName, AccountName>>,
    changes: AtomicU64,
}

impl Implicit {
    fn known(&self) -> std::sync::MutexGuard<'_, HashMap<AppName, AccountName>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn changes(&self) -> Changes {
        Changes(self.changes.load(Acquire))
    }

    /// What was looked up before a change that came meanwhile is not kept.
    fn keep(&self, app: &AppName, account: &AccountName, as_of: Changes) {
        let mut known = self.known();
        if self.changes() == as_of {
            known.insert(app.clone(), account.clone());
        }
    }

    /// An account of this app was changed.
    pub(super) fn forget(&self, app: &AppName) {
        let mut known = self.known();
        self.changes.fetch_add(1, AcqRel);
        known.remove(app);
    }
}

impl Accounts {
    /// The changes so far. Whoever remembers what he found asks this before he looks.
    pub fn changes(&self) -> Changes {
        self.implicit.changes()
    }

    /// The account, if it can be had without asking the store: what nearly every request does.
    pub fn borrow(&self, app: &Arc<App>, name: Option<&AccountName>) -> Option<Arc<LiveAccount>> {
        let written = match name {
            Some(name) => app.accounts.get(name),
            None => app.implicit_account().filter(|account| is_certain(app, account)),
        };
        if let Some(account) = written {
            return Some(self.live.find(app, account));
        }
        let name = name.cloned().or_else(|| self.implicit.known().get(&app.name).cloned())?;
        self.live.borrow(&AccountId { app: app.name.clone(), account: name })
    }

    /// The account, wherever it is.
    ///
    /// # Errors
    /// When there is none, or none in particular is meant.
    pub async fn find(
        &self,
        app: &Arc<App>,
        name: Option<&AccountName>,
    ) -> Result<Arc<LiveAccount>, Missing> {
        if let Some(live) = self.borrow(app, name) {
            return Ok(live);
        }
        let name = match name {
            Some(name) => name.clone(),
            None => self.implied(app).await?,
        };
        if let Some(account) = app.accounts.get(&name) {
            return Ok(self.live.find(app, account));
        }
        let account = Arc::new(self.account_of(app, name).await?);
        Ok(self.live.find_stored(app, &account).await)
    }

    /// `default`, else the only one there is.
    async fn implied(&self, app: &Arc<App>) -> Result<AccountName, Missing> {
        let Some(store) = self.store.as_ref().filter(|_| app.takes_accounts()) else {
            return Err(if app.accounts.is_empty() { Missing::NoneYet } else { Missing::AccountRequired });
        };
        let as_of = self.changes();
        let default = AccountName::implicit();
        let id = AccountId { app: app.name.clone(), account: default.clone() };
        let found = if store.account(&id).await?.is_some() {
            default
        } else {
            let query = PageQuery { app: Some(app.name.clone()), after: None, limit: 2 };
            let stored = store.page(query).await?;
            let mut names = app.accounts.keys().chain(stored.iter().map(|stored| &stored.id().account));
            match (names.next(), names.next()) {
                (None, _) => return Err(Missing::NoneYet),
                (Some(only), None) => only.clone(),
                (Some(_), Some(_)) => return Err(Missing::AccountRequired),
            }
        };
        self.implicit.keep(&app.name, &found, as_of);
        Ok(found)
    }

    async fn account_of(&self, app: &Arc<App>, name: AccountName) -> Result<Account, Missing> {
        let Some(store) = self.store.as_ref().filter(|_| app.takes_accounts()) else {
            return Err(Missing::NoSuchAccount(name));
        };
        let id = AccountId { app: app.name.clone(), account: name };
        let stored = store.account(&id).await?;
        let AccountId { account: name, .. } = id;
        let Some(stored) = stored else { return Err(Missing::NoSuchAccount(name)) };
        let (credentials, settings) = terms(app, &stored);
        app.account_with(name.clone(), credentials, settings).map_err(|why| Missing::Unfit(name, why))
    }
}

/// Whether the configuration alone says which account a bare name means.
fn is_certain(app: &App, account: &Account) -> bool {
    !app.takes_accounts() || account.id.account == AccountName::implicit()
}

/// What a stored account shows to the token endpoint, and its own settings. One that holds nothing is found all the same:
/// its keeper says why it cannot be used.
fn terms(app: &App, stored: &Stored) -> (Credentials, BTreeMap<String, String>) {
    let of_client = || app.client.as_ref().map(crate::config::Client::credentials);
    let nothing = || of_client().unwrap_or(Credentials::Client { id: String::new(), secrets: Vec::new() });
    let Stored::Whole(record) = stored else { return (nothing(), BTreeMap::new()) };
    let fixed = |secret: &Secret| SecretSource::Fixed(secret.clone());
    let credentials = match &record.grant {
        Some(Grant::Client { id, secret }) => {
            Credentials::Client { id: id.clone(), secrets: vec![fixed(secret)] }
        }
        Some(Grant::Key(key)) => Credentials::Key(fixed(key)),
        Some(Grant::Refresh { .. }) | None => nothing(),
    };
    (credentials, record.settings.clone())
}
