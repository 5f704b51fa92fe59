//! How an authorization server treats its grants. The one rule: out of the box every marketplace is as strict as the
//! strictest server of its kind; leniency has to be asked for.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use super::refusal::{Cause, Refusal};
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
    /// How often a spent refresh token may be used again, whenever that is, as Keycloak counts: one time too many ends
    /// its family, and so does one that is more than one rotation behind. `None` (`null`): `grace_seconds` decides.
    pub max_reuse: Option<u64>,
    /// Whether a refused repetition ends its family, or is only refused.
    pub reuse_ends_family: bool,
    /// How long a refresh token works after the refresh that brought it, seconds, within the consent; `None` (`null`):
    /// as long as the consent.
    pub refresh_token_seconds: Option<u64>,
    /// The member in which answers say how long the refresh token works; `None` (`null`): they do not say.
    pub refresh_end_member: Option<String>,
    /// What they say there, seconds (0 as for "never"); `None` (`null`) is the truth.
    pub refresh_expires_in: Option<u64>,
    /// Whether a refresh ends the access token that the grant had before.
    pub refresh_ends_access_token: bool,
    /// How long a new access token is refused at the API, milliseconds.
    pub access_token_young_ms: u64,
    /// How long the token endpoint works on a call, milliseconds. It goes on if the client leaves.
    pub work_ms: u64,
    /// What becomes of uses of one refresh token that are worked on at the same time.
    pub simultaneous: Simultaneous,
    /// Whether every refresh is refused, as after a mistake in a server's own configuration. Nothing ends by it.
    pub refuses_everybody: bool,
    /// Refusals of refreshes in words of their own, by cause.
    pub refused_as: BTreeMap<Cause, Refusal>,
    /// What the API answers in place of its 401.
    pub api_refused_as: Option<Refusal>,
}

/// What becomes of uses of one refresh token that are worked on at the same time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Simultaneous {
    /// The one that is ready first is granted, the other ones show a spent refresh token.
    FirstWins,
    /// The server finds the refresh token, works, and saves without a lock: all are granted, and only what was saved last
    /// works.
    LaterSaveWins,
    /// All but the first are asked to try again.
    Refused,
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
            max_reuse: None,
            reuse_ends_family: true,
            refresh_token_seconds: None,
            refresh_end_member: (marketplace == Marketplace::Wallapop)
                .then(|| "refresh_expires_in".to_owned()),
            refresh_expires_in: Some(0),
            refresh_ends_access_token: false,
            access_token_young_ms: 0,
            work_ms: 0,
            simultaneous: Simultaneous::FirstWins,
            refuses_everybody: false,
            refused_as: BTreeMap::new(),
            api_refused_as: None,
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
    changed: Mutex<BTreeMap<Marketplace, Arc<Policy>>>,
}

impl Policies {
    /// All strict but for the grace period.
    pub(in crate::sim) fn new(grace_seconds: u64) -> Self {
        Self { grace_seconds, changed: Mutex::default() }
    }

    pub(in crate::sim) fn of(&self, marketplace: Marketplace) -> Arc<Policy> {
        let usual = || Arc::new(Policy { grace_seconds: self.grace_seconds, ..Policy::of(marketplace) });
        locked(&self.changed).entry(marketplace).or_insert_with(usual).clone()
    }

    pub(in crate::sim) fn set(&self, marketplace: Marketplace, policy: Policy) {
        locked(&self.changed).insert(marketplace, Arc::new(policy));
    }

    /// As after the start.
    pub(in crate::sim) fn forget(&self) {
        locked(&self.changed).clear();
    }
}

#[cfg(test)]
mod tests {
    use super::{Cause, Marketplace, Policies, Policy, Refusal, Simultaneous, Successor};
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
        let worded =
            change(json!({"refused_as": {"reused": {"status": 400}}, "simultaneous": "later_save_wins"}));
        let worded = worded.unwrap();
        assert_eq!(worded.simultaneous, Simultaneous::LaterSaveWins);
        assert_eq!(worded.refused_as.get(&Cause::Reused), Some(&Refusal::empty(400)));
        assert!(change(json!({"refused_as": {"late": {"status": 400}}})).unwrap_err().contains("`expired`"));
    }

    #[test]
    fn forgetting_changes_leads_back_to_the_start() {
        let policies = Policies::new(5);
        policies.set(
            Marketplace::Depop,
            Policy { rotates: false, ..Policy::clone(&policies.of(Marketplace::Depop)) },
        );
        assert!(!policies.of(Marketplace::Depop).rotates);
        policies.forget();
        assert!(policies.of(Marketplace::Depop).rotates);
        assert_eq!(policies.of(Marketplace::Depop).grace_seconds, 5);
    }
}
