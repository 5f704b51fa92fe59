//! How an answer came about, told to whoever asks for it. The one rule: it says what happened, never a secret.

use std::{
    cell::RefCell,
    fmt::Write,
    net::SocketAddr,
    time::{Duration, Instant},
};

use http::{HeaderMap, HeaderName, HeaderValue, Version};

use crate::names::AccountId;

/// Asks for an explanation, with the value `1`, and carries it in the answer.
pub static EXPLAIN_HEADER: HeaderName = HeaderName::from_static("marketgate-explain");

static SERVER_TIMING: HeaderName = HeaderName::from_static("server-timing");

/// What is told of one exchange with the marketplace.
#[derive(Debug, Clone, Copy)]
pub(super) struct Leg {
    /// The age of the token that was sent.
    pub(super) token_age: Duration,
    /// Its number among the account's tokens.
    pub(super) token_generation: u64,
    /// The address that answered; None behind a forward proxy.
    pub(super) peer: Option<SocketAddr>,
    /// HTTP/1.1 or HTTP/2.
    pub(super) protocol: Version,
    /// Whether the connection had carried a request before.
    pub(super) reused: bool,
}

/// What is told of a request. It costs nothing unless it was asked for.
#[derive(Debug)]
pub(super) struct Explanation(Option<Box<RefCell<Told>>>);

#[derive(Debug)]
struct Told {
    /// When the request's head was there.
    begun: Instant,
    /// When there was a token for it.
    ready: Instant,
    legs: u32,
    last: Option<Leg>,
}

impl Explanation {
    /// An explanation of the request that came at `begun` and has its token now, if its caller wants one.
    pub(super) fn asked(caller: &HeaderMap, begun: Instant) -> Self {
        let wanted = caller.get(&EXPLAIN_HEADER).is_some_and(|value| value == "1");
        let told = || RefCell::new(Told { begun, ready: Instant::now(), legs: 0, last: None });
        Self(wanted.then(|| Box::new(told())))
    }

    /// The marketplace has answered. Whatever came before was repeated.
    pub(super) fn answered(&self, leg: impl FnOnce() -> Leg) {
        if let Some(told) = &self.0 {
            let mut told = told.borrow_mut();
            told.legs += 1;
            told.last = Some(leg());
        }
    }

    /// Puts it on the answer: `Server-Timing`, and the rest as a dictionary (RFC 9651 §3.2).
    pub(super) fn write(&self, account: &AccountId, headers: &mut HeaderMap) {
        let Some(told) = &self.0 else { return };
        let told = told.borrow();
        let ms = |time: Duration| time.as_secs_f64() * 1000.0;
        let timing = format!(
            "token;dur={:.1}, upstream;dur={:.1}",
            ms(told.ready - told.begun),
            ms(told.ready.elapsed())
        );
        if let Ok(timing) = HeaderValue::from_str(&timing) {
            headers.append(&SERVER_TIMING, timing);
        }
        if let Some(Ok(words)) =
            told.last.map(|leg| HeaderValue::from_str(&words(account, &leg, told.legs > 1)))
        {
            headers.insert(&EXPLAIN_HEADER, words);
        }
    }
}

fn words(account: &AccountId, leg: &Leg, replayed: bool) -> String {
    let flag = |is: bool| if is { "?1" } else { "?0" };
    let (age, generation) = (leg.token_age.as_secs(), leg.token_generation);
    let mut words = format!(
        "account=\"{account}\", token-age={age}, token-generation={generation}, replayed={}",
        flag(replayed)
    );
    // Writing to a String cannot fail.
    if let Some(peer) = leg.peer {
        let _ = write!(words, ", upstream=\"{peer}\"");
    }
    let protocol = if leg.protocol == Version::HTTP_2 { "h2" } else { "http/1.1" };
    let _ = write!(words, ", protocol=\"{protocol}\", reused={}", flag(leg.reused));
    words
}
