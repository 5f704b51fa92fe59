//! The simulated marketplaces: Walmart Marketplace, Walmart Supplier, Walmart GoLocal, Depop, Wallapop Connect and
//! one generic OAuth 2.0 API, on one listener, each below its own name.
//!
//! The one rule: nothing here imports anything of the crate outside `sim`. The simulator is the second opinion;
//! if it shared code with the proxy, it would confirm the proxy's mistakes.
//!
//! # The way of a request
//!
//! `server` accepts and numbers connections; `wire` lies below each of them and can break it. `exchange` tells the
//! sequence: `recording` takes the request down into `record` (`violations` says what should not have come), `fault`
//! says what befalls it, the body is read to its end, and `vendor` hands the finished `arrival` to its marketplace
//! (`befall` tells it from what a fault puts in its place). A
//! marketplace is a function from an arrival to an `answer`, without waiting; `body` makes the bytes while they are
//! sent (`sample` for the large ones).
//!
//! # The marketplaces
//!
//! `walmart`, `golocal`, `depop`, `wallapop` and `generic` each have a token endpoint, a gate that looks at the
//! credential in the one right place, and a slice of the API over state that `dice` make from the seed, apart for
//! every account. `clients` knows every API client, `consent` is the page on which sellers say yes or no, `grants`
//! decides what a token call is entitled to (codes, refresh tokens and their families live behind it), `revocation`
//! takes it back. `tokens` issues, finds and ends access tokens (`spelling` says how they look), `credential` finds
//! them in requests. `form` and `multipart` are strict parsers; `window` meters.
//!
//! # The controls
//!
//! `control` answers below `/sim`: recorded requests, faults, the clock, reset, revocation, and all about consents.
//! Each has a typed twin on [`Simulator`] (those about consents in `connect`). `clock` is the only source of time, `world` the only owner of state.
//!
//! # Whom it knows
//!
//! Every client whose id is `[A-Za-z0-9._-]{1,128}` and whose secret is the id followed by `-secret`. The account of
//! a token is the seller who gave consent, or the client id where a client acts for itself. A seller is any name of
//! the same letters. At Depop the static key `pak_SHOP` is the shop SHOP, at the generic API `key-NAME` is NAME.

mod answer;
mod arrival;
mod befall;
mod body;
mod clients;
mod clock;
mod connect;
mod consent;
mod control;
mod credential;
mod depop;
mod dice;
mod exchange;
mod fault;
mod form;
mod generic;
mod golocal;
mod grants;
mod hash;
mod lock;
mod marketplace;
mod multipart;
mod record;
mod recording;
mod revocation;
mod sample;
mod server;
mod spelling;
mod tokens;
mod vendor;
mod violations;
mod wallapop;
mod walmart;
mod window;
mod wire;
mod world;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::watch;

pub use connect::{Connect, Grant};
pub use consent::AutoConsent;
pub use fault::{Fault, FaultRule, On};
pub use grants::{Cause, Ended, Family, Policy, Refusal, Simultaneous, Successor, User};
pub use record::RecordedRequest;

use consent::Standing;
use marketplace::{Kind, Marketplace};
use tokens::Holder;
use world::World;

/// All simulated marketplaces and their controls. Clones share everything.
#[derive(Clone)]
pub struct Simulator {
    world: Arc<World>,
}

impl Simulator {
    /// Marketplaces whose shops, items and orders follow from `seed`. Time starts now, on tokio's clock.
    pub fn new(seed: u64) -> Self {
        Self::with_leniency(seed, AutoConsent::Off, 0)
    }

    /// The same, where authorization endpoints answer by themselves and spent refresh tokens are forgiven for
    /// `grace_seconds`; now and after every reset.
    pub fn with_leniency(seed: u64, auto: AutoConsent, grace_seconds: u64) -> Self {
        let consent = Standing { auto, seller: None, session: None };
        Self { world: Arc::new(World::new(seed, grace_seconds, consent)) }
    }

    /// Serves HTTP/1.1 until `stop` completes; answers under way are then cut.
    pub async fn serve(self, listener: TcpListener, stop: impl Future<Output = ()>) {
        server::serve(self.world, listener, None, stop).await;
    }

    /// Serves TLS until `stop` completes, HTTP/2 where ALPN agrees on `h2` and HTTP/1.1 otherwise.
    pub async fn serve_tls(
        self,
        listener: TcpListener,
        tls: Arc<rustls::ServerConfig>,
        stop: impl Future<Output = ()>,
    ) {
        server::serve(self.world, listener, Some(tls.into()), stop).await;
    }

    /// The requests that are still remembered (the last 10 000), oldest first.
    pub fn requests(&self) -> Vec<RecordedRequest> {
        self.world.recorder.all()
    }

    /// Forgets recorded requests and counts.
    pub fn clear_requests(&self) {
        self.world.recorder.forget();
    }

    /// Token calls of a marketplace (`"*"`: of all) since the last reset, whatever was answered.
    pub fn token_calls(&self, marketplace: &str) -> usize {
        self.calls(marketplace, Kind::Token)
    }

    /// Calls of the API of a marketplace (`"*"`: of all) since the last reset, whatever was answered.
    pub fn api_calls(&self, marketplace: &str) -> usize {
        self.calls(marketplace, Kind::Api)
    }

    fn calls(&self, name: &str, kind: Kind) -> usize {
        let counts = self.world.recorder.counts();
        let counted = |(marketplace, counted, _): &&(Marketplace, Kind, u64)| {
            *counted == kind && (name == "*" || marketplace.name() == name)
        };
        let total: u64 = counts.iter().filter(counted).map(|(_, _, count)| count).sum();
        usize::try_from(total).unwrap_or(usize::MAX)
    }

    /// How many requests have arrived (their heads; bodies may be under way). Never goes back; changes once more,
    /// with the same count, when a body is whole or a connection ends.
    pub fn on_request(&self) -> watch::Receiver<u64> {
        self.world.recorder.on_arrival()
    }

    /// How many requests were given an answer. Never goes back.
    pub fn on_answer(&self) -> watch::Receiver<u64> {
        self.world.recorder.on_answer()
    }

    /// Waits until `met` holds, looking whenever a request arrives, its body is whole, it is answered, or a
    /// connection ends.
    pub async fn until(&self, met: impl Fn(&Self) -> bool) {
        let (mut seen, mut answered) = (self.on_request(), self.on_answer());
        while !met(self) {
            tokio::select! {
                _ = seen.changed() => {}
                _ = answered.changed() => {}
            }
        }
    }

    /// TCP connections that are open now.
    pub fn open_connections(&self) -> usize {
        self.world.connections.open.load(Ordering::Relaxed)
    }

    /// TCP connections accepted since the start.
    pub fn accepted_connections(&self) -> u64 {
        self.world.connections.accepted.load(Ordering::Relaxed)
    }

    /// Adds a fault to the end of the script.
    ///
    /// # Panics
    ///
    /// Where the rule could never apply: an unknown marketplace, no times, a status out of range.
    pub fn add_fault(&self, fault: impl Into<FaultRule>) {
        let rule = fault.into();
        if let Some(mistake) = rule.mistake() {
            panic!("{mistake}");
        }
        self.world.faults.add(rule);
    }

    /// Faults that still wait for their requests.
    pub fn faults(&self) -> Vec<FaultRule> {
        self.world.faults.list()
    }

    /// Removes every fault.
    pub fn clear_faults(&self) {
        self.world.faults.clear();
    }

    /// Moves the simulator's clock on, beyond what tokio's clock does.
    pub fn advance(&self, by: Duration) {
        self.world.clock.advance(u64::try_from(by.as_millis()).unwrap_or(u64::MAX));
    }

    /// Ends all live tokens of an account and says how many those were.
    pub fn revoke(&self, marketplace: &str, account: &str) -> usize {
        Marketplace::named(marketplace).map_or(0, |marketplace| {
            self.world.tokens.revoke_account(marketplace, account, self.world.clock.now())
        })
    }

    /// A valid access token that no token call asked for; `None` for an unknown marketplace.
    pub fn issue_token(&self, marketplace: &str, account: &str) -> Option<String> {
        let marketplace = Marketplace::named(marketplace)?;
        let lifetime = self.world.policies.of(marketplace).access_token_seconds;
        let moment = self.world.clock.moment();
        Some(self.world.tokens.issue(marketplace, &Holder::itself(account), lifetime, moment))
    }

    /// Whose an access token is, as its marketplace's books have it; `None` for one that nobody was given there.
    pub fn holder(&self, marketplace: &str, access_token: &str) -> Option<TokenHolder> {
        let marketplace = Marketplace::named(marketplace)?;
        let (tokens, now) = (&self.world.tokens, self.world.clock.now());
        let account = tokens.remembered(marketplace, access_token)?.account.to_string();
        Some(TokenHolder { account, is_good: tokens.look_up(marketplace, access_token, now).is_ok() })
    }

    /// As after the start, with the same seed: no state, recordings, faults or tokens, the clock where tokio's is.
    pub fn reset(&self) {
        self.world.reset();
    }
}

/// Who was given an access token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenHolder {
    /// The seller, or the client where it is its own.
    pub account: String,
    /// Whether the token still opens anything: neither expired nor revoked.
    pub is_good: bool,
}

/// The name by which recordings and echoes show a credential without showing it: twelve hexadecimal digits.
pub fn fingerprint(credential: &str) -> String {
    hash::fingerprint(credential)
}

/// SHA-256, in hexadecimal, of what `/generic/api/bytes/{n}` and a report download of `n` bytes consist of.
pub fn sample_sha256(n: u64) -> String {
    sample::sha256(n)
}
