//! What a registry knows of one connection: how long it has rested, what its unfinished head takes, whether it is asked to
//! leave.

use std::{
    sync::{
        OnceLock,
        atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    task::Waker,
    time::Duration,
};

use tokio::time::Instant;

use super::Count;

/// How long a connection must have rested before it is closed for others: what was just accepted may be about to ask.
pub(super) const REST: Duration = Duration::from_millis(20);

/// What a registry knows of one connection.
#[derive(Debug)]
pub(super) struct Entry {
    /// See [`Rest::rank`]; 0 while it must not be closed.
    pub(super) rank: AtomicU64,
    /// Bytes of memory its unfinished head takes.
    pub(super) head: AtomicUsize,
    /// Of these, what is about to be freed.
    pub(super) going: AtomicUsize,
    /// Why it is evicted, as [`Eviction`].
    pub(super) eviction: AtomicU8,
    /// Written under the lock.
    pub(super) is_reserved: AtomicBool,
    /// The task of the connection. It has the same one for as long as it lives.
    pub(super) waker: OnceLock<Waker>,
}

/// Why a connection is asked to leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Eviction {
    Crowded = 1,
    HeadMemory = 2,
}

/// Since when a connection waits for its caller, and for what. In the order in which connections are evicted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum Rest {
    /// Between two requests, or before the first.
    Idle(Instant),
    /// After the last answer.
    Leftovers(Instant),
    /// Within a head.
    Head(Instant),
}

impl Rest {
    /// Connections are evicted in ascending order of it.
    pub(super) fn rank(self, start: Instant) -> u64 {
        let (class, since) = match self {
            Self::Idle(since) => (1, since),
            Self::Leftovers(since) => (2, since),
            Self::Head(since) => (3, since),
        };
        (class << CLASS) | micros(since, start)
    }
}

/// Where the class of a rank begins; below it are microseconds of centuries.
const CLASS: u32 = 56;
const SINCE: u64 = (1 << CLASS) - 1;

/// Microseconds since `start`.
pub(super) fn micros(instant: Instant, start: Instant) -> u64 {
    u64::try_from(instant.saturating_duration_since(start).as_micros()).unwrap_or(u64::MAX) & SINCE
}

impl Entry {
    /// Its rank among those that may be evicted at this time.
    pub(super) fn evictable(&self, now: u64) -> Option<u64> {
        let rank = self.rank.load(Relaxed);
        let has_rested = now.saturating_sub(rank & SINCE) >= REST.as_micros() as u64;
        (rank != 0 && has_rested && self.eviction.load(Relaxed) == 0).then_some(rank)
    }

    pub(super) fn evict(&self, why: Eviction, count: &mut Count) {
        self.eviction.store(why as u8, Relaxed);
        count.leaving += 1;
        if let Some(waker) = self.waker.get() {
            waker.wake_by_ref();
        }
    }
}
