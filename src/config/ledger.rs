//! What the sections of one app hold, between reading and use. The one rule: until it is settled into what the program
//! keeps, every value knows its place, so that it can still be blamed.

use std::{collections::BTreeMap, ops::Range, sync::Arc};

use super::{
    reader::Text,
    settings::{Account, Client, Credentials},
};
use crate::names::{AccountId, AccountName, AppName};

/// What one section holds by itself; its values still know their places.
#[derive(Debug, Default)]
pub(super) struct Holding {
    /// With the place of the client id or the key.
    pub credentials: Option<(Credentials, Range<usize>)>,
    pub settings: BTreeMap<String, Text>,
}

impl Holding {
    fn plain_settings(&self) -> impl Iterator<Item = (String, String)> {
        self.settings.iter().map(|(name, text)| (name.clone(), text.value.clone()))
    }
}

/// What the sections of an app hold.
#[derive(Debug)]
pub(super) struct Ledger {
    pub app: Holding,
    pub accounts: BTreeMap<AccountName, Holding>,
}

impl Ledger {
    /// Every section's holding, the app's first.
    pub(super) fn holdings(&self) -> impl Iterator<Item = &Holding> {
        std::iter::once(&self.app).chain(self.accounts.values())
    }

    /// The app's own settings, as the program keeps them.
    pub(super) fn settings(&self) -> BTreeMap<String, String> {
        self.app.plain_settings().collect()
    }

    /// The client that all sellers share.
    pub(super) fn client(&self) -> Option<Client> {
        match &self.app.credentials {
            Some((Credentials::Client { id, secrets }, _)) => {
                Some(Client { id: id.clone(), secrets: secrets.clone() })
            }
            _ => None,
        }
    }

    /// The accounts as the program keeps them: what one does not bring is the app's.
    pub(super) fn accounts(&self, app: &AppName) -> BTreeMap<AccountName, Arc<Account>> {
        let account = |(name, own): (&AccountName, &Holding)| {
            let (credentials, _) = own.credentials.as_ref().or(self.app.credentials.as_ref())?;
            let account = Account {
                id: AccountId { app: app.clone(), account: name.clone() },
                credentials: credentials.clone(),
                settings: self.app.plain_settings().chain(own.plain_settings()).collect(),
            };
            Some((name.clone(), Arc::new(account)))
        };
        self.accounts.iter().filter_map(account).collect()
    }
}
