//! What can be done to accounts: find, list, import, connect, log out, export, remove. The one rule: whoever serves the
//! store does it, through this; a change is durable before it is answered, and takes effect at the next request.
//!
//! [`roster`] finds the account a request means; [`document`] is what is told of an account, [`list`] many of them;
//! [`import`] takes grants in, [`change`] everything done to an account that is there; [`consent`] connects a seller,
//! `arrival` stores what that brought, `identity` says who it is, and [`revoke`] ends grants at the server; `keep_alive` sees
//! to those nobody uses, and takes up what an earlier process left.

mod arrival;
pub mod change;
pub mod consent;
pub mod document;
pub mod error;
mod identity;
pub mod import;
mod keep_alive;
pub mod list;
mod outcome;
mod refusal;
pub mod revoke;
pub mod roster;
mod turns;

use std::{collections::BTreeMap, sync::Arc};

pub use document::AccountDocument;
pub use error::AccountsError;
pub use roster::{Changes, Missing};

use crate::{
    clock::Clock,
    config::App,
    grant::{Change, Ended, LiveAccounts},
    names::{AccountId, AppName},
    oauth::TokenClient,
    store::{Store, Stored},
};

/// The accounts of the configuration and of the store.
#[derive(Debug)]
pub struct Accounts {
    apps: BTreeMap<AppName, Arc<App>>,
    live: Arc<LiveAccounts>,
    store: Option<Arc<dyn Store>>,
    client: TokenClient,
    clock: Clock,
    implicit: roster::Implicit,
    outcomes: outcome::Outcomes,
    arriving: import::Arriving,
    revoking: revoke::Revoking,
    turns: turns::Turns,
}

impl Accounts {
    /// The accounts of these apps. `store`: where those are that the configuration does not hold.
    pub fn new(
        apps: BTreeMap<AppName, Arc<App>>,
        live: Arc<LiveAccounts>,
        store: Option<Arc<dyn Store>>,
        client: TokenClient,
        clock: Clock,
    ) -> Self {
        let (implicit, outcomes, arriving, revoking, turns) = Default::default();
        Self { apps, live, store, client, clock, implicit, outcomes, arriving, revoking, turns }
    }

    /// The apps by name.
    pub fn apps(&self) -> &BTreeMap<AppName, Arc<App>> {
        &self.apps
    }

    /// The accounts in use.
    pub fn live(&self) -> &Arc<LiveAccounts> {
        &self.live
    }

    /// Where accounts are kept that the configuration does not hold.
    pub fn store(&self) -> Option<&Arc<dyn Store>> {
        self.store.as_ref()
    }

    /// The app of that name.
    ///
    /// # Errors
    /// When there is none.
    pub fn app(&self, name: &AppName) -> Result<&Arc<App>, AccountsError> {
        self.apps.get(name).ok_or_else(|| AccountsError::no_such_app(name, self.apps.keys()))
    }

    /// The store, for a change to one of its accounts.
    fn store_of(&self, id: &AccountId) -> Result<&Arc<dyn Store>, AccountsError> {
        let app = self.app(&id.app)?;
        if app.accounts.contains_key(&id.account) {
            return Err(AccountsError::written(id));
        }
        if !app.takes_accounts() {
            return Err(AccountsError::takes_none(&id.app));
        }
        self.store.as_ref().ok_or_else(AccountsError::no_store)
    }

    /// What the store holds of an account.
    async fn stored(&self, id: &AccountId) -> Result<Stored, AccountsError> {
        let stored = self.store_of(id)?.account(id).await?;
        stored.ok_or_else(|| AccountsError::no_such_account(id))
    }

    /// Ends everything: keepers first, each with what it has begun, then the store. Returns when all that a token endpoint
    /// gave is kept.
    pub async fn close(&self) -> Ended {
        let ended = self.live.drain().await;
        if let Some(store) = &self.store
            && let Err(error) = store.shut_down().await
        {
            tracing::error!(%error, "the store could not be closed");
        }
        ended
    }

    /// Makes a durable change known: the next request finds the account as it is now.
    fn done(&self, change: Change<'_>) {
        let id = change.account().clone();
        self.implicit.forget(&id.app);
        change.done();
        let now = self.clock.now().wall;
        self.live.agenda().note(&id, Some(now), now);
    }
}
