//! What arrived: every request, in order, with everything a test may want to know about it. The one rule: no secret
//! is kept; a credential is recorded as the fingerprint that names it.

use hyper::HeaderMap;
use hyper::header::{HeaderName, HeaderValue};
use serde::Serialize;
use std::collections::{BTreeMap, HashSet, VecDeque};
use std::sync::Mutex;
use tokio::sync::watch;

use super::hash::fingerprint;
use super::lock::locked;
use super::marketplace::{Kind, Marketplace};

/// How many requests are remembered; counters go on counting.
const REMEMBERED: usize = 10_000;
/// How many correlation ids are remembered.
const CORRELATIONS: usize = 100_000;

/// One request as it arrived, and what became of it.
#[derive(Clone, Debug, Serialize)]
pub struct RecordedRequest {
    /// Counts from 1, in order of arrival.
    pub number: u64,
    /// Milliseconds on the simulator's clock.
    pub at_ms: u64,
    /// The marketplace's name, or `nowhere` for a path that leads to none.
    pub marketplace: &'static str,
    /// `token`, `api`, `consent` (an authorization endpoint), `revocation` or `discovery`.
    pub kind: &'static str,
    /// The method, in the letters it came in.
    pub method: String,
    /// The request target, byte for byte.
    pub target: String,
    /// The host asked for: `Host` or `:authority`.
    pub authority: Option<String>,
    /// `HTTP/1.1`, `HTTP/2.0`, …
    pub version: String,
    /// Names in lower case, in the order they came, fields of one name together; credentials as fingerprints.
    pub headers: Vec<(String, String)>,
    /// The trailer fields after the body.
    pub trailers: Vec<(String, String)>,
    /// One number for each TCP connection.
    pub connection: u64,
    /// Bytes of the body; `None` until it has arrived whole.
    pub body_length: Option<u64>,
    /// SHA-256 of the body in hexadecimal.
    pub body_sha256: Option<String>,
    /// The form of a token call, a revocation or a decision about a consent, secrets as `***`, at most 2 KiB.
    pub body_text: Option<String>,
    /// Whether the body ended before it was whole.
    pub body_broken: bool,
    /// Whose credential it was, good or not; `None` where that is unknown. At the authorization server's endpoints that
    /// is the client, at the API the account that the token speaks for.
    pub account: Option<String>,
    /// The seller that the presented code, refresh token or access token belongs to, good or not. For a token that a
    /// client got for itself, that is the client.
    pub seller: Option<String>,
    /// The fault that befell it.
    pub fault: Option<String>,
    /// The status answered; `None` where there was no answer (yet).
    pub status: Option<u16>,
    /// What must never arrive and did.
    pub violations: Vec<String>,
    /// Whether its `WM_QOS.CORRELATION_ID` was seen before.
    pub duplicate_correlation_id: bool,
}

impl RecordedRequest {
    /// The first value of a header; `name` in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

/// The ring of recorded requests.
pub(super) struct Recorder {
    ring: Mutex<Ring>,
    seen: watch::Sender<u64>,
    answered: watch::Sender<u64>,
}

#[derive(Default)]
struct Ring {
    requests: VecDeque<RecordedRequest>,
    arrived: u64,
    counts: BTreeMap<(Marketplace, Kind), u64>,
    correlations: HashSet<String>,
    correlations_in_order: VecDeque<String>,
}

impl Recorder {
    pub(super) fn new() -> Self {
        Self { ring: Mutex::default(), seen: watch::Sender::new(0), answered: watch::Sender::new(0) }
    }

    /// Takes a request down on arrival and gives it its number.
    pub(super) fn arrived(&self, marketplace: Marketplace, kind: Kind, mut request: RecordedRequest) -> u64 {
        let mut ring = locked(&self.ring);
        ring.arrived += 1;
        request.number = ring.arrived;
        request.duplicate_correlation_id = ring.knows_correlation(&request.headers);
        *ring.counts.entry((marketplace, kind)).or_default() += 1;
        if ring.requests.len() == REMEMBERED {
            ring.requests.pop_front();
        }
        let number = request.number;
        ring.requests.push_back(request);
        drop(ring);
        self.seen.send_modify(|seen| *seen += 1);
        number
    }

    /// Adds to what is known about a request that is still remembered.
    pub(super) fn amend(&self, number: u64, change: impl FnOnce(&mut RecordedRequest)) {
        let mut ring = locked(&self.ring);
        let Some(first) = ring.requests.front().map(|request| request.number) else { return };
        let index = number.checked_sub(first).and_then(|index| usize::try_from(index).ok());
        if let Some(request) = index.and_then(|index| ring.requests.get_mut(index)) {
            change(request);
        }
    }

    /// Something changed that no count tells of.
    pub(super) fn wake(&self) {
        self.seen.send_modify(|_| {});
    }

    pub(super) fn answered(&self, number: u64, status: u16) {
        self.amend(number, |request| request.status = Some(status));
        self.answered.send_modify(|answered| *answered += 1);
    }

    pub(super) fn all(&self) -> Vec<RecordedRequest> {
        locked(&self.ring).requests.iter().cloned().collect()
    }

    /// How many arrived since the last `forget`, by marketplace and kind.
    pub(super) fn counts(&self) -> Vec<(Marketplace, Kind, u64)> {
        let ring = locked(&self.ring);
        ring.counts.iter().map(|(&(marketplace, kind), &count)| (marketplace, kind, count)).collect()
    }

    pub(super) fn on_arrival(&self) -> watch::Receiver<u64> {
        self.seen.subscribe()
    }

    pub(super) fn on_answer(&self) -> watch::Receiver<u64> {
        self.answered.subscribe()
    }

    /// Empties the ring and the counters; numbers go on.
    pub(super) fn forget(&self) {
        let mut ring = locked(&self.ring);
        *ring = Ring { arrived: ring.arrived, ..Ring::default() };
    }
}

impl Ring {
    fn knows_correlation(&mut self, headers: &[(String, String)]) -> bool {
        let Some((_, id)) = headers.iter().find(|(name, _)| name == "wm_qos.correlation_id") else {
            return false;
        };
        if !self.correlations.insert(id.clone()) {
            return true;
        }
        self.correlations_in_order.push_back(id.clone());
        if self.correlations_in_order.len() > CORRELATIONS
            && let Some(oldest) = self.correlations_in_order.pop_front()
        {
            self.correlations.remove(&oldest);
        }
        false
    }
}

/// Headers as they are shown: text, credentials as fingerprints.
pub(super) fn shown(headers: &HeaderMap) -> Vec<(String, String)> {
    headers.iter().map(|(name, value)| (name.as_str().to_owned(), shown_value(name, value))).collect()
}

fn shown_value(name: &HeaderName, value: &HeaderValue) -> String {
    let text = String::from_utf8_lossy(value.as_bytes());
    if !is_credential(name.as_str()) {
        return text.into_owned();
    }
    match text.split_once(' ') {
        Some((scheme, rest)) => format!("{scheme} sha256:{}", fingerprint(rest)),
        None => format!("sha256:{}", fingerprint(&text)),
    }
}

fn is_credential(name: &str) -> bool {
    const NAMES: [&str; 10] = [
        "authorization",
        "proxy-authorization",
        "authentication",
        "cookie",
        "wm_sec.access_token",
        "x-api-key",
        "x-access-token",
        "x-amz-access-token",
        "x-shopify-access-token",
        "api-key",
    ];
    NAMES.contains(&name)
}
