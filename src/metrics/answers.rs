//! The counts of one account's answers, at hand for every request. The one rule: a label is looked up once, not per request.

use std::{sync::OnceLock, time::Duration};

use prometheus_client::metrics::{counter::Counter, family::Family, histogram::Histogram};

use super::Labels;

/// The statuses that nearly all answers have.
const COMMON: [u16; 12] = [200, 201, 202, 204, 206, 304, 400, 401, 403, 404, 429, 503];

/// Counts the answers of a marketplace, for an account or for all of an app.
#[derive(Debug)]
pub struct Answers {
    requests: Family<Labels, Counter>,
    durations: Family<Labels, Histogram>,
    app: (&'static str, String),
    labels: Labels,
    common: [OnceLock<Counter>; COMMON.len()],
    /// By the status's hundreds; the first is 1xx.
    hundreds: [OnceLock<Histogram>; HUNDREDS.len()],
}

const HUNDREDS: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];

impl Answers {
    pub(super) fn new(
        requests: Family<Labels, Counter>,
        durations: Family<Labels, Histogram>,
        app: (&'static str, String),
        labels: Labels,
    ) -> Self {
        Self { requests, durations, app, labels, common: Default::default(), hundreds: Default::default() }
    }

    /// An answer was passed on, so long after its request's head had come.
    pub fn count(&self, status: u16, took: Duration) {
        match COMMON.iter().position(|common| *common == status) {
            Some(index) => self.common[index].get_or_init(|| self.counter(status)).inc(),
            None => self.counter(status).inc(),
        };
        // Beyond 599 as the last.
        let hundred = usize::from(status / 100).clamp(1, HUNDREDS.len()) - 1;
        let durations = self.hundreds[hundred].get_or_init(|| {
            let labels = vec![self.app.clone(), ("status", HUNDREDS[hundred].to_owned())];
            self.durations.get_or_create_owned(&labels)
        });
        durations.observe(took.as_secs_f64());
    }

    fn counter(&self, status: u16) -> Counter {
        let mut labels = self.labels.clone();
        labels.extend([("status", status.to_string()), ("by", "marketplace".to_owned())]);
        self.requests.get_or_create_owned(&labels)
    }
}
