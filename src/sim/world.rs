//! Everything the simulated marketplaces remember, behind one door so that `reset` can forget all of it.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use super::clock::Clock;
use super::consent::{Redirects, Standing};
use super::dice::Dice;
use super::fault::Faults;
use super::grants::{Grants, Policies, Users};
use super::lock::locked;
use super::record::Recorder;
use super::tokens::Tokens;
use super::window::Window;
use super::{depop, golocal, wallapop, walmart};

/// The state shared by every connection.
pub(super) struct World {
    pub(super) seed: u64,
    pub(super) clock: Clock,
    pub(super) tokens: Tokens,
    pub(super) faults: Faults,
    pub(super) grants: Mutex<Grants>,
    pub(super) policies: Policies,
    pub(super) users: Users,
    pub(super) redirects: Redirects,
    /// How the authorization endpoints answer, now and after a reset.
    pub(super) consent: Mutex<Standing>,
    first_consent: Standing,
    pub(super) recorder: Recorder,
    pub(super) connections: Connections,
    pub(super) walmart_sellers: Accounts<walmart::Seller>,
    pub(super) walmart_suppliers: Accounts<walmart::Seller>,
    pub(super) golocal: Accounts<golocal::Fleet>,
    pub(super) golocal_sandbox: Accounts<golocal::Fleet>,
    pub(super) depop: Accounts<depop::Shop>,
    pub(super) wallapop: Accounts<wallapop::Stall>,
    /// Wallapop counts token calls by source address and grant.
    pub(super) wallapop_token_calls: Mutex<HashMap<(IpAddr, String), Window>>,
    serial: AtomicU64,
}

/// TCP connections, counted.
#[derive(Default)]
pub(super) struct Connections {
    pub(super) accepted: AtomicU64,
    pub(super) open: AtomicUsize,
}

impl World {
    pub(super) fn new(seed: u64, grace_seconds: u64, consent: Standing) -> Self {
        Self {
            seed,
            grants: Mutex::default(),
            policies: Policies::new(grace_seconds),
            users: Users::default(),
            redirects: Redirects::default(),
            consent: Mutex::new(consent.clone()),
            first_consent: consent,
            clock: Clock::start(),
            tokens: Tokens::new(),
            faults: Faults::default(),
            recorder: Recorder::new(),
            connections: Connections::default(),
            walmart_sellers: Accounts::default(),
            walmart_suppliers: Accounts::default(),
            golocal: Accounts::default(),
            golocal_sandbox: Accounts::default(),
            depop: Accounts::default(),
            wallapop: Accounts::default(),
            wallapop_token_calls: Mutex::default(),
            serial: AtomicU64::new(0),
        }
    }

    /// Dice for something new: never the same twice in one simulator, the same again from the same seed.
    pub(super) fn fresh(&self) -> Dice {
        let serial = self.serial.fetch_add(1, Ordering::Relaxed);
        Dice::of(self.seed ^ serial.rotate_left(32), &["fresh"])
    }

    /// As after the start; tokens that were issued are dead.
    pub(super) fn reset(&self) {
        self.clock.rewind();
        self.tokens.forget();
        *locked(&self.grants) = Grants::default();
        self.policies.forget();
        self.users.forget();
        self.redirects.forget();
        *locked(&self.consent) = self.first_consent.clone();
        self.faults.clear();
        self.recorder.forget();
        self.walmart_sellers.forget();
        self.walmart_suppliers.forget();
        self.golocal.forget();
        self.golocal_sandbox.forget();
        self.depop.forget();
        self.wallapop.forget();
        locked(&self.wallapop_token_calls).clear();
    }
}

/// What each account owns at one marketplace, made from the seed when it is first asked for.
pub(super) struct Accounts<S>(Mutex<HashMap<String, S>>);

impl<S> Default for Accounts<S> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<S> Accounts<S> {
    /// Lets `act` see and change what `account` owns.
    pub(super) fn with<R>(
        &self,
        account: &str,
        make: impl FnOnce() -> S,
        act: impl FnOnce(&mut S) -> R,
    ) -> R {
        let mut owned = locked(&self.0);
        match owned.get_mut(account) {
            Some(state) => act(state),
            None => act(owned.entry(account.to_owned()).or_insert_with(make)),
        }
    }

    fn forget(&self) {
        locked(&self.0).clear();
    }
}
