//! Faults: what may go wrong at a marketplace, and the script that says when. The one rule: a fault is consumed when
//! its request has arrived, in the order faults were added, at most one of each sort for one request.

use serde::{Deserialize, Serialize};
use std::sync::Mutex;

use super::lock::locked;
use super::marketplace::{Kind, Marketplace};

/// One thing that goes wrong. The JSON form of `POST /sim/faults` is the same: `{"kind": "delay", "ms": 50}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Fault {
    /// Answers as it should, but later.
    Delay {
        /// Milliseconds.
        ms: u64,
    },
    /// Answers with this status and does nothing of what was asked.
    Status {
        /// 200 to 999.
        status: u16,
        /// The `Retry-After` header, literally.
        #[serde(default)]
        retry_after: Option<String>,
        /// The body; without one, the vendor's own for this status.
        #[serde(default)]
        body: Option<String>,
    },
    /// Answers with this status before the request's body was read, as a gateway does, and then closes.
    Early {
        /// 200 to 999.
        status: u16,
    },
    /// Reads the whole request and never answers; nothing of what was asked is done.
    Hang {},
    /// Answers 200 with a page of HTML; nothing of what was asked is done.
    Garbage {},
    /// Does what was asked, then breaks the connection in the middle of the answer.
    Cut {
        /// Bytes of the answer that still leave, its head included; 0 is before any byte.
        after_bytes: u64,
    },
    /// As `cut`, but the answer's head always arrives whole.
    CutBody {
        /// Bytes of the answer's body that still leave.
        after_bytes: u64,
    },
    /// The token that was presented is dead from now on; the answer is the vendor's own 401.
    Revoke {},
    /// Any literal answer.
    TokenAnswer {
        /// 200 to 999; 200 unless said.
        #[serde(default = "ok")]
        status: u16,
        /// `Content-Type`; `application/json` unless said.
        #[serde(default = "json")]
        content_type: String,
        /// The body; `{token}` in it becomes a new, valid token of whoever asks. With `{refresh_token}` in it, what was
        /// asked is done, and that becomes the new refresh token.
        body: String,
    },
    /// The token that is issued lives this long instead.
    Lifetime {
        /// Seconds.
        seconds: u64,
    },
    /// The token that was presented is dead from now on; the answer is Walmart's older `400 INVALID_TOKEN`.
    #[serde(rename = "expired_as_400")]
    ExpiredAs400 {},
    /// Reads the whole request and resets the TCP connection; nothing of what was asked is done.
    Reset {},
    /// The marketplace takes its time and goes on by itself if the client leaves: what was asked is done all the same.
    Stall {
        /// Milliseconds before what was asked is done.
        #[serde(default)]
        before_ms: u64,
        /// Milliseconds between that and the answer.
        #[serde(default)]
        after_ms: u64,
    },
    /// Does what was asked, then resets the TCP connection before any byte of the answer.
    CutAfterRotating {},
    /// Does what was asked, then answers with this status instead, as a gateway that gave up waiting does.
    StatusAfterRotating {
        /// 200 to 999.
        status: u16,
    },
    /// A refresh brings the access token that lives already, with the seconds it still has; refresh tokens rotate as
    /// ever.
    SameToken {},
    /// Answers as it should, but the body trickles.
    Slow {
        /// At least 1.
        bytes_per_second: u64,
    },
}

fn ok() -> u16 {
    200
}

fn json() -> String {
    "application/json".to_owned()
}

/// Sorts of faults that may meet in one request.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Sort {
    Pause,
    Answer,
    Shape,
    Lifetime,
    SameToken,
}

impl Fault {
    fn sort(&self) -> Sort {
        match self {
            Self::Delay { .. } => Sort::Pause,
            Self::Cut { .. } | Self::CutBody { .. } | Self::Slow { .. } => Sort::Shape,
            Self::Lifetime { .. } => Sort::Lifetime,
            Self::SameToken {} => Sort::SameToken,
            _ => Sort::Answer,
        }
    }

    fn mistake(&self) -> Option<String> {
        match self {
            Self::Status { status, .. }
            | Self::Early { status }
            | Self::StatusAfterRotating { status }
            | Self::TokenAnswer { status, .. }
                if !(200..=999).contains(status) =>
            {
                Some(format!("status {status} is not between 200 and 999"))
            }
            Self::Slow { bytes_per_second: 0 } => Some("bytes_per_second must be at least 1".to_owned()),
            _ => None,
        }
    }

    /// This fault, once, at one marketplace (`"*"`: at all of them), for any request.
    pub fn at(self, marketplace: &str) -> FaultRule {
        FaultRule { marketplace: marketplace.to_owned(), ..FaultRule::from(self) }
    }
}

/// Which requests a fault befalls.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum On {
    /// Calls of a token endpoint.
    Token,
    /// Calls of the API.
    Api,
    /// Visits to an authorization endpoint.
    Consent,
    /// Calls of a revocation endpoint.
    Revocation,
    /// All of them.
    #[default]
    #[serde(rename = "*")]
    Any,
}

/// A fault with its place in the script.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FaultRule {
    /// A marketplace's name, or `"*"`.
    #[serde(default = "everywhere")]
    pub marketplace: String,
    /// Which of its calls.
    #[serde(default)]
    pub on: On,
    /// Only calls whose path begins so; the path as the vendor's host would see it.
    #[serde(default)]
    pub path: Option<String>,
    /// How many requests it befalls; `None` (`null`) is every one until faults are cleared.
    #[serde(default = "once")]
    pub times: Option<u64>,
    /// What goes wrong.
    pub fault: Fault,
}

fn everywhere() -> String {
    "*".to_owned()
}

#[allow(clippy::unnecessary_wraps)] // the default of a field that may be null
fn once() -> Option<u64> {
    Some(1)
}

impl From<Fault> for FaultRule {
    /// Once, everywhere, for any request.
    fn from(fault: Fault) -> Self {
        Self { marketplace: everywhere(), on: On::Any, path: None, times: once(), fault }
    }
}

impl FaultRule {
    /// Befalls token calls only.
    pub fn on_token(self) -> Self {
        Self { on: On::Token, ..self }
    }

    /// Befalls calls of the API only.
    pub fn on_api(self) -> Self {
        Self { on: On::Api, ..self }
    }

    /// Befalls visits to an authorization endpoint only.
    pub fn on_consent(self) -> Self {
        Self { on: On::Consent, ..self }
    }

    /// Befalls calls of a revocation endpoint only.
    pub fn on_revocation(self) -> Self {
        Self { on: On::Revocation, ..self }
    }

    /// Befalls only calls whose path, as the vendor's host would see it, begins so.
    pub fn below(self, path: &str) -> Self {
        Self { path: Some(path.to_owned()), ..self }
    }

    /// Befalls this many requests.
    pub fn times(self, times: u64) -> Self {
        Self { times: Some(times), ..self }
    }

    /// Befalls every request until faults are cleared.
    pub fn for_ever(self) -> Self {
        Self { times: None, ..self }
    }

    /// What makes this rule useless, in words for whoever wrote it.
    pub(super) fn mistake(&self) -> Option<String> {
        if self.marketplace != "*" && Marketplace::named(&self.marketplace).is_none() {
            let known: Vec<_> = Marketplace::ALL.iter().map(|marketplace| marketplace.name()).collect();
            return Some(format!(
                "unknown marketplace {:?}, expected \"*\" or one of {}",
                self.marketplace,
                known.join(", ")
            ));
        }
        if self.times == Some(0) {
            return Some("times must be at least 1, or null for ever".to_owned());
        }
        self.fault.mistake()
    }

    fn befalls(&self, marketplace: Marketplace, kind: Kind, path: &str) -> bool {
        let on = match self.on {
            On::Any => true,
            On::Token => kind == Kind::Token,
            On::Api => kind == Kind::Api,
            On::Consent => kind == Kind::Consent,
            On::Revocation => kind == Kind::Revocation,
        };
        let below = self.path.as_deref().is_none_or(|prefix| path.starts_with(prefix));
        on && below && (self.marketplace == "*" || self.marketplace == marketplace.name())
    }
}

/// What befalls one request.
#[derive(Default)]
pub(super) struct Befallen {
    pub(super) pause_ms: Option<u64>,
    /// Replaces the answer.
    pub(super) answer: Option<Fault>,
    /// Changes how the answer travels.
    pub(super) shape: Option<Fault>,
    pub(super) lifetime: Option<u64>,
    pub(super) same_token: bool,
}

impl Befallen {
    fn lacks(&self, sort: Sort) -> bool {
        match sort {
            Sort::Pause => self.pause_ms.is_none(),
            Sort::Answer => self.answer.is_none(),
            Sort::Shape => self.shape.is_none(),
            Sort::Lifetime => self.lifetime.is_none(),
            Sort::SameToken => !self.same_token,
        }
    }

    fn take(&mut self, fault: Fault) {
        match fault {
            Fault::Delay { ms } => self.pause_ms = Some(ms),
            Fault::Lifetime { seconds } => self.lifetime = Some(seconds),
            Fault::SameToken {} => self.same_token = true,
            shape if shape.sort() == Sort::Shape => self.shape = Some(shape),
            answer => self.answer = Some(answer),
        }
    }
}

/// The script.
#[derive(Default)]
pub(super) struct Faults(Mutex<Vec<FaultRule>>);

impl Faults {
    pub(super) fn add(&self, rule: FaultRule) {
        locked(&self.0).push(rule);
    }

    pub(super) fn list(&self) -> Vec<FaultRule> {
        locked(&self.0).clone()
    }

    pub(super) fn clear(&self) {
        locked(&self.0).clear();
    }

    /// What befalls this request; each fault taken is used up by one.
    pub(super) fn take(&self, marketplace: Marketplace, kind: Kind, path: &str) -> Befallen {
        let mut befallen = Befallen::default();
        let mut rules = locked(&self.0);
        for rule in rules.iter_mut() {
            if rule.befalls(marketplace, kind, path) && befallen.lacks(rule.fault.sort()) {
                befallen.take(rule.fault.clone());
                rule.times = rule.times.map(|times| times - 1);
            }
        }
        rules.retain(|rule| rule.times != Some(0));
        befallen
    }
}

#[cfg(test)]
mod tests {
    use super::{Fault, FaultRule, Faults};
    use crate::sim::marketplace::{Kind, Marketplace};

    fn status(status: u16) -> Fault {
        Fault::Status { status, retry_after: None, body: None }
    }

    #[test]
    fn faults_are_a_script_that_is_read_in_order() {
        let faults = Faults::default();
        faults.add(status(503).at("depop").on_token());
        faults.add(status(500).at("depop").on_token().times(2));
        faults.add(Fault::Delay { ms: 5 }.at("*"));
        let mut seen = Vec::new();
        for _ in 0..4 {
            let befallen = faults.take(Marketplace::Depop, Kind::Token, "/x");
            seen.push((befallen.answer, befallen.pause_ms));
        }
        let expected = [
            (Some(status(503)), Some(5)),
            (Some(status(500)), None),
            (Some(status(500)), None),
            (None, None),
        ];
        assert_eq!(seen, expected);
        assert!(faults.list().is_empty());
    }

    #[test]
    fn a_fault_elsewhere_leaves_a_request_alone() {
        let faults = Faults::default();
        faults.add(Fault::Hang {}.at("wallapop"));
        faults.add(Fault::Hang {}.at("depop").on_token());
        faults.add(Fault::Hang {}.at("depop").below("/api/v1/orders/"));
        assert!(faults.take(Marketplace::Depop, Kind::Api, "/api/v1/shop/").answer.is_none());
        assert!(faults.take(Marketplace::Depop, Kind::Api, "/api/v1/orders/1/").answer.is_some());
    }

    #[test]
    fn a_mistaken_rule_says_what_would_be_right() {
        let wrong = |text: &str| serde_json::from_str::<FaultRule>(text).unwrap_err().to_string();
        let kind = wrong(r#"{"fault":{"kind":"hangs"}}"#);
        assert!(kind.contains("`hangs`") && kind.contains("`expired_as_400`"), "{kind}");
        let field = wrong(r#"{"fault":{"kind":"delay","ms":1,"sec":2}}"#);
        assert!(field.contains("`sec`") && field.contains("`ms`"), "{field}");
        let rule = wrong(r#"{"time":1,"fault":{"kind":"hang"}}"#);
        assert!(rule.contains("`time`") && rule.contains("`times`"), "{rule}");
        assert!(wrong(r#"{"fault":{"kind":"hang","ms":1}}"#).contains("`ms`"));
    }

    #[test]
    fn times_left_out_is_once_and_null_is_for_ever() {
        let rule = |text: &str| serde_json::from_str::<FaultRule>(text).unwrap();
        assert_eq!(rule(r#"{"fault":{"kind":"hang"}}"#).times, Some(1));
        assert_eq!(rule(r#"{"times":null,"fault":{"kind":"hang"}}"#).times, None);
        assert!(rule(r#"{"times":0,"fault":{"kind":"hang"}}"#).mistake().is_some());
        assert!(rule(r#"{"marketplace":"etsy","fault":{"kind":"hang"}}"#).mistake().is_some());
    }
}
