//! What an administrator of an authorization server does to its users. Nothing ends by it: a user who is enabled again has
//! everything as it was.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Mutex;

use super::BadRefresh;
use crate::sim::lock::locked;
use crate::sim::marketplace::Marketplace;

/// How a user stands with an authorization server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum User {
    /// As at the start.
    #[default]
    Enabled,
    /// Refreshes are refused, and the API refuses the user's access tokens.
    Disabled,
    /// Refreshes are answered 500.
    Broken,
}

/// The users who are not simply enabled.
#[derive(Default)]
pub(in crate::sim) struct Users(Mutex<BTreeMap<(Marketplace, String), User>>);

impl Users {
    pub(in crate::sim) fn set(&self, marketplace: Marketplace, seller: &str, user: User) {
        locked(&self.0).insert((marketplace, seller.to_owned()), user);
    }

    pub(in crate::sim) fn of(&self, marketplace: Marketplace, seller: &str) -> User {
        let users = locked(&self.0);
        if users.is_empty() {
            return User::Enabled;
        }
        users.get(&(marketplace, seller.to_owned())).copied().unwrap_or_default()
    }

    /// What the user's standing makes of a refresh.
    pub(super) fn admits(&self, marketplace: Marketplace, seller: &str) -> Result<(), BadRefresh> {
        match self.of(marketplace, seller) {
            User::Enabled => Ok(()),
            User::Disabled => Err(BadRefresh::Disabled),
            User::Broken => Err(BadRefresh::Broken),
        }
    }

    /// Marketplace, seller and standing of everybody who was ever set.
    pub(in crate::sim) fn all(&self) -> Vec<(Marketplace, String, User)> {
        let listed = |((marketplace, seller), user): (&(Marketplace, String), &User)| {
            (*marketplace, seller.clone(), *user)
        };
        locked(&self.0).iter().map(listed).collect()
    }

    pub(in crate::sim) fn forget(&self) {
        locked(&self.0).clear();
    }
}
