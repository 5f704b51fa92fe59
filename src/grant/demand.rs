//! What requests tell the keeper of their account: that they use its token, wait for one, or must not lose it half-way.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
};

use tokio::sync::Notify;

/// What requests tell the keeper. It outlives the account, so that the keeper can sleep on it without keeping the account alive.
#[derive(Debug, Default)]
pub(super) struct Demand {
    /// Wakes the keeper to look again.
    pub(super) wake: Notify,
    /// Whether a request used the token since the last refresh.
    pub(super) used: AtomicBool,
    /// Requests that wait because there is no usable token.
    pub(super) waiting: AtomicUsize,
    /// Whether a refresh was ordered, needed or not.
    pub(super) ordered: AtomicBool,
    /// Whether the account is due for a refresh though nobody uses it.
    pub(super) due: AtomicBool,
    /// Whether a refresh that an earlier process left open is to be repeated at once.
    pub(super) healing: AtomicBool,
    /// Requests under way that cannot be repeated, where a refresh would end the token they carry.
    pub(super) uploads: AtomicUsize,
    /// Set when the account is gone, or is to be made anew, and its keeper must end.
    closed: AtomicBool,
}

impl Demand {
    pub(super) fn is_closed(&self) -> bool {
        self.closed.load(Relaxed)
    }

    pub(super) fn close(&self) {
        self.closed.store(true, Relaxed);
        self.wake.notify_one();
    }
}

/// A request under way that cannot be repeated.
#[derive(Debug)]
pub struct Upload(Arc<Demand>);

impl Upload {
    pub(super) fn new(demand: &Arc<Demand>) -> Self {
        demand.uploads.fetch_add(1, Relaxed);
        Self(demand.clone())
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        if self.0.uploads.fetch_sub(1, Relaxed) == 1 {
            self.0.wake.notify_one();
        }
    }
}

/// Counts a waiting request for as long as it waits, however it ends.
pub(super) struct Waiting<'a>(&'a Demand);

impl<'a> Waiting<'a> {
    pub(super) fn new(demand: &'a Demand) -> Self {
        demand.waiting.fetch_add(1, Relaxed);
        demand.wake.notify_one();
        Self(demand)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if self.0.waiting.fetch_sub(1, Relaxed) == 1 {
            // The last one left: what was urgent for his sake is so no more.
            self.0.wake.notify_one();
        }
    }
}
