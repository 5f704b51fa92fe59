//! One connection in its registry, from the connection's side.

use std::{
    cell::Cell,
    sync::{Arc, atomic::Ordering::Relaxed},
    task::Waker,
};

use super::{
    super::tally::Cut,
    Registry,
    entry::{Entry, Eviction, Rest},
};

/// One connection in the registry, for as long as it is open.
#[derive(Debug)]
pub(in super::super) struct Registration {
    pub(super) registry: Arc<Registry>,
    pub(super) entry: Arc<Entry>,
    pub(super) number: u64,
    pub(super) rest: Cell<Option<Rest>>,
    pub(super) head: Cell<usize>,
}

impl Registration {
    /// Whether it has no regular place.
    pub(in super::super) fn is_reserved(&self) -> bool {
        self.entry.is_reserved.load(Relaxed)
    }

    /// Whether there is a regular place for it by now; it has that then.
    pub(in super::super) fn take_place(&self) -> bool {
        self.registry.promote(&self.entry)
    }

    /// Connections that may have a request in flight.
    pub(in super::super) fn connections(&self) -> usize {
        self.registry.connections()
    }

    /// Whether unfinished heads take all the memory there is for them, until those that are evicted are gone.
    pub(in super::super) fn is_head_memory_used_up(&self) -> bool {
        self.registry.heads.load(Relaxed) > self.registry.room.unfinished_heads
    }

    /// By which the connection is woken when it is evicted.
    pub(in super::super) fn wake_by(&self, waker: &Waker) {
        self.entry.waker.get_or_init(|| waker.clone());
    }

    /// Tells what the connection waits for and how much memory its unfinished head takes.
    pub(in super::super) fn stand(&self, rest: Option<Rest>, head: usize) {
        if self.rest.replace(rest) != rest {
            let rank = rest.map_or(0, |rest| rest.rank(self.registry.start));
            self.entry.rank.store(rank, Relaxed);
        }
        // What is read behind a request in flight is little, and nobody may be cut for it.
        let head = if matches!(rest, Some(Rest::Head(_))) { head } else { 0 };
        if self.head.replace(head) != head {
            self.registry.hold(&self.entry, head);
        }
    }

    /// Whether it is to be closed for others' sake. One that has a request in flight by now goes on.
    pub(in super::super) fn is_evicted(&self) -> Option<Cut> {
        let why = match self.entry.eviction.load(Relaxed) {
            0 => return None,
            why if why == Eviction::HeadMemory as u8 => Cut::HeadMemory,
            _ => Cut::Crowded,
        };
        let goes = match self.rest.get() {
            Some(Rest::Head(_)) => true,
            Some(_) => why == Cut::Crowded,
            None => false,
        };
        if !goes {
            self.registry.lock().stay(&self.entry);
            self.registry.released.notify_waiters();
        }
        goes.then_some(why)
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.registry.hold(&self.entry, 0);
        self.registry.leave(self.number);
    }
}
