//! Why a request gets no token, and whether it is told so at once or kept waiting.

use std::{sync::atomic::Ordering::Relaxed, time::Duration};

use super::{
    account::LiveAccount,
    state::{AccountState, Published, Trouble},
    withheld::Withheld,
};

/// Why a request gets no token.
#[derive(Debug, Clone)]
pub struct Unavailable {
    /// The account's state.
    pub state: AccountState,
    /// What happened, for a person.
    pub detail: String,
    /// What mends it.
    pub action: String,
    /// When asking again may help; None: not before a person has done something.
    pub retry_after: Option<Duration>,
    /// Whether the account has been changed meanwhile: to be found anew, and asked again at once.
    pub changed: bool,
    /// Whether that is because the process is about to end: another one may answer.
    pub draining: bool,
}

impl LiveAccount {
    /// What a caller hears who is not kept waiting for what is known not to come.
    pub(super) fn refusal_at_once(&self, wait: Duration) -> Option<Unavailable> {
        // A copy: secret files may be read below, and the keeper must not wait for that.
        let published = self.published();
        if self.withheld().is_some() || published.state.needs_a_person() {
            return Some(self.unavailable(&published));
        }
        if let Some(credential) = published.usable(self.clock().now()) {
            return self.is_dead(&published, credential).then(|| self.unavailable(&published));
        }
        let trouble = published.trouble.as_ref()?;
        let due = self.clock().now().until(trouble.next_try(true)).is_zero()
            && published.state != AccountState::Refreshing;
        if due || !self.is_hopeless(&published, wait) || trouble.is_mended(&self.account().credentials) {
            return None;
        }
        self.demand().used.store(true, Relaxed);
        self.demand().wake.notify_one();
        Some(self.unavailable(&published))
    }

    /// Whether waiting is in vain: the credentials were refused, the endpoint has been failing for longer than anybody
    /// waits, or it asked for more patience than the caller has.
    pub(super) fn is_hopeless(&self, published: &Published, wait: Duration) -> bool {
        let now = self.clock().now();
        let in_vain =
            |t: &Trouble| !t.passes || now.since(t.since) >= wait || now.until(t.next_try(true)) >= wait;
        published.trouble.as_deref().is_some_and(in_vain)
    }

    pub(super) fn unavailable(&self, published: &Published) -> Unavailable {
        if let Some(reason) = self.withheld() {
            return Unavailable {
                state: published.state,
                detail: reason.sentence().to_owned(),
                action: "ask again".to_owned(),
                retry_after: Some(Duration::from_secs(1)),
                changed: reason == Withheld::Replaced,
                draining: reason == Withheld::Ending,
            };
        }
        let complaint = self.endpoint().and_then(|endpoint| endpoint.meter.complaint());
        let (detail, action, retry_after) = match (&published.trouble, complaint) {
            (Some(trouble), _) => {
                let until_next_try = self.clock().now().until(trouble.next_try(true));
                let wait = self.endpoint().map(|endpoint| endpoint.meter.wait_estimate(self.id(), true));
                (trouble.detail.clone(), trouble.action.clone(), until_next_try.max(wait.unwrap_or_default()))
            }
            (None, _) if published.state == AccountState::Refreshing => (
                "the token endpoint has not answered yet".to_owned(),
                "ask again; `marketgate status` shows what the token endpoint is doing".to_owned(),
                Duration::ZERO,
            ),
            (None, Some(complaint)) => (
                complaint,
                "nothing to do: Marketgate asks with one account at a time and goes on when it gets a token".to_owned(),
                self.endpoint().map_or(Duration::ZERO, |endpoint| endpoint.meter.wait_estimate(self.id(), true)),
            ),
            (None, None) => (
                "the token endpoint's budget is used up, and this account waits for its turn".to_owned(),
                "ask again when Retry-After says so; `marketgate check` shows how many accounts the endpoint carries"
                    .to_owned(),
                self.endpoint().map_or(Duration::ZERO, |endpoint| endpoint.meter.wait_estimate(self.id(), true)),
            ),
        };
        let retry_after =
            (!published.state.needs_a_person()).then(|| retry_after.max(Duration::from_secs(1)));
        Unavailable { state: published.state, detail, action, retry_after, changed: false, draining: false }
    }
}
