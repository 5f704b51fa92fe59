//! How an authorization server treats its grants. The one rule: out of the box every marketplace is as strict as the
//! strictest server of its kind; leniency has to be asked for.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::sync::Mutex;

use crate::sim::lock::locked;
use crate::sim::marketplace::Marketplace;

const DAY: u64 = 86_400;

/// The rules of one marketplace's authorization server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Policy {
    /// How long access tokens live, seconds.
    pub access_token_seconds: u64,
    /// How long an authorization code can be redeemed, seconds (RFC 6749 §4.1.2).
    pub code_seconds: u64,
    /// How long refresh tokens work after the consent, seconds. Rotation does not extend it. Consents that were given
    /// before a change keep their end.
    pub consent_seconds: u64,
    /// Whether a refresh brings a new refresh token and spends the old one (RFC 9700 §4.14.2).
    pub rotates: bool,
    /// How long after its rotation a spent refresh token is forgiven, seconds; 0 is strict single use. A token more
    /// than one rotation behind is never forgiven.
    pub grace_seconds: u64,
    /// What a forgiven token brings.
    pub grace_brings: Successor,
    /// What a Keycloak-like answer says in `refresh_expires_in`, seconds; `None` (`null`) is the truth.
    pub refresh_expires_in: Option<u64>,
}

/// The refresh token that answers a spent one within the grace period.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Successor {
    /// Another one; the successor of the first rotation is spent by this.
    Fresh,
    /// The one that the first rotation brought.
    Same,
}

impl Policy {
    pub(in crate::sim) fn of(marketplace: Marketplace) -> Self {
        Self {
            access_token_seconds: match marketplace {
                Marketplace::Wallapop => 300,
                Marketplace::Depop | Marketplace::Generic => 3600,
                _ => 900,
            },
            code_seconds: if marketplace == Marketplace::Depop { 600 } else { 60 },
            consent_seconds: if marketplace == Marketplace::Wallapop { 180 * DAY } else { 365 * DAY },
            rotates: !marketplace.is_walmart_seller(),
            grace_seconds: 0,
            grace_brings: Successor::Fresh,
            refresh_expires_in: Some(0),
        }
    }

    /// This policy with the fields that `change` names; words for whoever wrote it where it names none.
    pub(in crate::sim) fn with(&self, change: Map<String, Value>) -> Result<Self, String> {
        let mut value = serde_json::to_value(self).map_err(|error| error.to_string())?;
        for (name, said) in change {
            value[name] = said;
        }
        serde_json::from_value(value).map_err(|error| error.to_string())
    }
}

/// The policy of every marketplace.
pub(in crate::sim) struct Policies {
    grace_seconds: u64,
    changed: Mutex<BTreeMap<Marketplace, Policy>>,
}

impl Policies {
    /// All strict but for the grace period.
    pub(in crate::sim) fn new(grace_seconds: u64) -> Self {
        Self { grace_seconds, changed: Mutex::default() }
    }

    pub(in crate::sim) fn of(&self, marketplace: Marketplace) -> Policy {
        let usual = || Policy { grace_seconds: self.grace_seconds, ..Policy::of(marketplace) };
        locked(&self.changed).get(&marketplace).cloned().unwrap_or_else(usual)
    }

    pub(in crate::sim) fn set(&self, marketplace: Marketplace, policy: Policy) {
        locked(&self.changed).insert(marketplace, policy);
    }

    /// As after the start.
    pub(in crate::sim) fn forget(&self) {
        locked(&self.changed).clear();
    }
}

#[cfg(test)]
mod tests {
    use super::{Marketplace, Policies, Policy, Successor};
    use serde_json::json;

    #[test]
    fn a_change_names_fields_and_leaves_the_others() {
        let strict = Policy::of(Marketplace::Depop);
        let change = |value: serde_json::Value| strict.with(value.as_object().unwrap().clone());
        let lenient = change(json!({"grace_seconds": 10, "grace_brings": "same"})).unwrap();
        assert_eq!((lenient.grace_seconds, lenient.grace_brings), (10, Successor::Same));
        assert_eq!(Policy { grace_seconds: 0, grace_brings: Successor::Fresh, ..lenient }, strict);
        assert!(change(json!({"grace": 10})).unwrap_err().contains("`grace_seconds`"));
        assert_eq!(change(json!({"refresh_expires_in": null})).unwrap().refresh_expires_in, None);
    }

    #[test]
    fn forgetting_changes_leads_back_to_the_start() {
        let policies = Policies::new(5);
        policies.set(Marketplace::Depop, Policy { rotates: false, ..policies.of(Marketplace::Depop) });
        assert!(!policies.of(Marketplace::Depop).rotates);
        policies.forget();
        assert!(policies.of(Marketplace::Depop).rotates);
        assert_eq!(policies.of(Marketplace::Depop).grace_seconds, 5);
    }
}
