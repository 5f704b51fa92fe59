//! The open connections of a listener, and which of them is closed where there are too many. A connection that has a request
//! in flight is never closed for another one.
//!
//! A connection has a regular place among `connections`, or, where all of those have a request in flight, one in the reserve:
//! enough to read a head and to answer that there is no room. The lock is taken when a connection comes or goes; what it does in
//! between it tells by plain atomic stores.

use std::{
    cell::Cell,
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak,
        atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::{
    sync::Notify,
    time::{Instant, timeout},
};

mod entry;
mod registration;

pub(super) use entry::Rest;
pub(super) use registration::Registration;

use entry::{Entry, Eviction, REST, micros};

/// From one line about a full listener to the next.
const SILENCE: Duration = Duration::from_secs(10);

/// How often a full listener looks again for connections to close.
const RECHECK: Duration = REST;

/// What a registry bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    /// Connections that may have a request in flight.
    pub connections: usize,
    /// Bytes of memory that all unfinished heads together may take.
    pub unfinished_heads: usize,
}

/// The open connections of one listener, over all its workers.
#[derive(Debug)]
pub struct Registry {
    room: Room,
    reserve: usize,
    /// Bytes taken by unfinished heads, and those of them that are about to be freed.
    heads: AtomicUsize,
    going: AtomicUsize,
    inside: Mutex<Inside>,
    released: Notify,
    /// Registries of the same process: descriptors are wanted by all of them.
    beside: Arc<Mutex<Vec<Weak<Self>>>>,
    start: Instant,
}

#[derive(Debug, Default)]
struct Inside {
    next: u64,
    entries: HashMap<u64, Arc<Entry>>,
    regular: Count,
    reserved: Count,
    /// When nothing was found to evict, and when a line was last written. Microseconds.
    found_nothing: Option<u64>,
    told: Option<u64>,
}

#[derive(Debug, Default, Clone, Copy)]
struct Count {
    open: usize,
    /// Evicted, and not closed yet.
    leaving: usize,
}

impl Registry {
    /// A listener that is the only one of its process.
    pub fn new(room: Room) -> Arc<Self> {
        Self::among(room, Arc::default())
    }

    /// Another listener of the same process.
    pub fn beside(&self, room: Room) -> Arc<Self> {
        Self::among(room, self.beside.clone())
    }

    fn among(room: Room, beside: Arc<Mutex<Vec<Weak<Self>>>>) -> Arc<Self> {
        let registry = Arc::new(Self {
            room,
            reserve: reserve(room.connections),
            heads: AtomicUsize::new(0),
            going: AtomicUsize::new(0),
            inside: Mutex::default(),
            released: Notify::new(),
            beside,
            start: Instant::now(),
        });
        registry.all().push(Arc::downgrade(&registry));
        registry
    }

    /// Connections that may have a request in flight.
    pub fn connections(&self) -> usize {
        self.room.connections
    }

    /// Waits until one more connection can be taken, and sees to it that some are closed for it.
    pub(super) async fn has_room(&self) {
        loop {
            let released = self.released.notified();
            if self.find_room() {
                return;
            }
            // Those that cannot be closed now may rest soon.
            let _ = timeout(RECHECK, released).await;
        }
    }

    /// A new connection.
    pub(super) fn enter(self: &Arc<Self>) -> Registration {
        let now = Instant::now();
        let mut inside = self.lock();
        let is_reserved = !inside.find_regular(&self.room, micros(now, self.start));
        let entry = Arc::new(Entry {
            rank: AtomicU64::new(Rest::Idle(now).rank(self.start)),
            head: AtomicUsize::new(0),
            going: AtomicUsize::new(0),
            eviction: AtomicU8::new(0),
            is_reserved: AtomicBool::new(is_reserved),
            waker: OnceLock::new(),
        });
        let number = inside.next;
        inside.next += 1;
        inside.count(is_reserved).open += 1;
        inside.entries.insert(number, entry.clone());
        let (rest, head) = (Cell::new(Some(Rest::Idle(now))), Cell::new(0));
        Registration { registry: self.clone(), entry, number, rest, head }
    }

    /// Closes idle connections of every listener of the process, where one could not be accepted for want of descriptors, and
    /// waits until one is closed or some time has passed.
    pub(super) async fn relieve(&self, pause: Duration) {
        let released = self.released.notified();
        let now = Instant::now();
        let all: Vec<_> = self.all().iter().filter_map(Weak::upgrade).collect();
        for registry in all {
            let mut inside = registry.lock();
            if inside.regular.leaving + inside.reserved.leaving == 0 {
                let batch = batch(registry.room.connections);
                let now = micros(now, registry.start);
                inside.evict(false, batch, now);
                inside.evict(true, batch, now);
            }
        }
        let _ = timeout(pause, released).await;
    }

    fn find_room(&self) -> bool {
        let mut inside = self.lock();
        let (regular, reserved) = (inside.regular, inside.reserved);
        if regular.open + reserved.open < self.room.connections + self.reserve {
            return true;
        }
        if regular.leaving + reserved.leaving == 0 {
            let (many, now) = (self.reserve / 2, micros(Instant::now(), self.start));
            let found = inside.evict(true, many, now);
            inside.evict(false, many - found, now);
        }
        false
    }

    fn promote(&self, entry: &Entry) -> bool {
        let now = micros(Instant::now(), self.start);
        let mut inside = self.lock();
        // Where somebody has just come and asks for nothing yet, not all of them have a request in flight.
        if !inside.find_regular(&self.room, now) && !inside.is_anybody_resting() {
            return false;
        }
        inside.stay(entry);
        inside.reserved.open -= 1;
        inside.regular.open += 1;
        entry.is_reserved.store(false, Relaxed);
        true
    }

    fn leave(&self, number: u64) {
        let mut inside = self.lock();
        if let Some(entry) = inside.entries.remove(&number) {
            inside.stay(&entry);
            inside.count(entry.is_reserved.load(Relaxed)).open -= 1;
        }
        drop(inside);
        self.released.notify_waiters();
    }

    /// Notes what memory an unfinished head takes. Beyond the bound the eldest of them go.
    fn hold(&self, entry: &Entry, bytes: usize) {
        let before = entry.head.swap(bytes, Relaxed);
        self.heads.fetch_add(bytes, Relaxed);
        self.heads.fetch_sub(before, Relaxed);
        self.going.fetch_sub(entry.going.swap(0, Relaxed), Relaxed);
        if bytes > before && self.staying_heads() > self.room.unfinished_heads {
            self.shed_heads();
        }
    }

    fn staying_heads(&self) -> usize {
        self.heads.load(Relaxed).saturating_sub(self.going.load(Relaxed))
    }

    /// Somewhat below the bound, so that a flood of heads has them looked through rarely.
    fn shed_heads(&self) {
        let goal = self.room.unfinished_heads - self.room.unfinished_heads / 8;
        let mut inside = self.lock();
        let Inside { entries, regular, reserved, .. } = &mut *inside;
        let mut heads: Vec<_> = entries
            .values()
            .filter(|entry| entry.head.load(Relaxed) > 0)
            .filter_map(|entry| Some((entry.evictable(u64::MAX)?, entry)))
            .collect();
        heads.sort_unstable_by_key(|(rank, _)| *rank);
        for (_, entry) in heads {
            if self.staying_heads() <= goal {
                break;
            }
            let bytes = entry.head.load(Relaxed);
            self.going.fetch_add(bytes, Relaxed);
            entry.going.store(bytes, Relaxed);
            let count = if entry.is_reserved.load(Relaxed) { &mut *reserved } else { &mut *regular };
            entry.evict(Eviction::HeadMemory, count);
        }
    }

    /// Poison is harmless here: no code that can panic runs under the lock.
    fn lock(&self) -> MutexGuard<'_, Inside> {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn all(&self) -> MutexGuard<'_, Vec<Weak<Self>>> {
        self.beside.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inside {
    fn count(&mut self, is_reserved: bool) -> &mut Count {
        if is_reserved { &mut self.reserved } else { &mut self.regular }
    }

    /// Whether there is a regular place, if need be the one of a connection that is evicted for it.
    fn find_regular(&mut self, room: &Room, now: u64) -> bool {
        let staying = self.regular.open - self.regular.leaving;
        let Some(missing) = (staying + 1).checked_sub(room.connections).filter(|missing| *missing > 0) else {
            return true;
        };
        // Looking through many connections takes a while. Where it was in vain it is not done again for a hundred times as long.
        let pause = self.entries.len() as u64;
        if self.found_nothing.is_some_and(|at| now.saturating_sub(at) < pause) {
            return false;
        }
        let found = self.evict(false, missing.max(batch(room.connections)), now) >= missing;
        self.found_nothing = (!found).then_some(now);
        self.tell(room, found, now);
        found
    }

    /// Evicts as many of the connections that may be, and says how many.
    fn evict(&mut self, is_reserved: bool, most: usize, now: u64) -> usize {
        let kind = self.entries.values().filter(|entry| entry.is_reserved.load(Relaxed) == is_reserved);
        let mut found: Vec<_> =
            kind.filter_map(|entry| Some((entry.evictable(now)?, entry.clone()))).collect();
        if found.len() > most {
            found.select_nth_unstable_by_key(most, |(rank, _)| *rank);
            found.truncate(most);
        }
        let count = self.count(is_reserved);
        for (_, entry) in &found {
            entry.evict(Eviction::Crowded, count);
        }
        found.len()
    }

    fn is_anybody_resting(&self) -> bool {
        let mut regular = self.entries.values().filter(|entry| !entry.is_reserved.load(Relaxed));
        regular.any(|entry| entry.evictable(u64::MAX).is_some())
    }

    /// The connection is not evicted any more, because it goes on or has ended.
    fn stay(&mut self, entry: &Entry) {
        if entry.eviction.swap(0, Relaxed) != 0 {
            self.count(entry.is_reserved.load(Relaxed)).leaving -= 1;
        }
    }

    fn tell(&mut self, room: &Room, found: bool, now: u64) {
        if self.told.is_some_and(|told| now.saturating_sub(told) < SILENCE.as_micros() as u64) {
            return;
        }
        self.told = Some(now);
        let connections = room.connections;
        if found {
            tracing::warn!(
                connections,
                "all connections of a listener are in use: those idle longest are closed"
            );
        } else {
            tracing::warn!(
                connections,
                "no connection of a full listener can be closed for another one: further requests are answered 503 `overloaded`"
            );
        }
    }
}

/// Connections beyond the regular ones: those that are just being closed, and those that only hear that there is no room.
pub fn reserve(connections: usize) -> usize {
    (connections / 32).clamp(32, 512)
}

/// How many are evicted at once, so that a flood has them looked through rarely.
fn batch(connections: usize) -> usize {
    (connections / 64).clamp(1, 64)
}

#[cfg(test)]
mod tests {
    use super::{super::tally::Cut, *};

    fn registry(connections: usize) -> Arc<Registry> {
        Registry::new(Room { connections, unfinished_heads: 1 << 20 })
    }

    fn evicted(all: &[&Registration]) -> Vec<bool> {
        all.iter().map(|one| one.is_evicted().is_some()).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn the_one_idle_longest_goes_first_then_the_eldest_head_and_never_a_request_in_flight() {
        let registry = registry(4);
        let all: Vec<_> = (0..4).map(|_| registry.enter()).collect();
        let [busy, head, idle, fresh] = &all[..] else { panic!() };
        let at = |seconds| Instant::now() + Duration::from_secs(seconds);
        busy.stand(None, 0);
        head.stand(Some(Rest::Head(at(1))), 10);
        idle.stand(Some(Rest::Idle(at(2))), 0);
        fresh.stand(Some(Rest::Idle(at(3))), 0);
        tokio::time::advance(Duration::from_secs(10)).await;
        let mut guests = Vec::new();
        for expected in [idle, fresh, head] {
            let guest = registry.enter();
            guest.stand(None, 0);
            assert!(!guest.is_reserved());
            guests.push(guest);
            let which = evicted(&[busy, head, idle, fresh]);
            assert!(expected.is_evicted().is_some() && !which[0], "{which:?}");
        }
        assert!(registry.enter().is_reserved());
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_that_got_a_request_meanwhile_stays() {
        let registry = registry(1);
        let resting = registry.enter();
        tokio::time::advance(REST).await;
        let guest = registry.enter();
        assert!(!guest.is_reserved());
        guest.stand(None, 0);
        resting.stand(None, 0);
        assert_eq!(resting.is_evicted(), None);
        resting.stand(Some(Rest::Idle(Instant::now())), 0);
        assert_eq!(resting.is_evicted(), None, "the wish is forgotten");
    }

    #[tokio::test(start_paused = true)]
    async fn a_reserved_connection_takes_a_place_as_soon_as_there_is_one() {
        let registry = registry(1);
        let busy = registry.enter();
        busy.stand(None, 0);
        let guest = registry.enter();
        assert!(guest.is_reserved() && !guest.take_place());
        drop(busy);
        assert!(guest.take_place() && !guest.is_reserved());
        let inside = registry.lock();
        assert_eq!((inside.regular.open, inside.reserved.open), (1, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn beyond_the_bound_the_eldest_unfinished_heads_go_and_a_finished_one_stays() {
        let registry = registry(100);
        let all: Vec<_> = (0..17).map(|_| registry.enter()).collect();
        for (number, one) in (0u64..).zip(&all) {
            let since = Instant::now() + Duration::from_secs(number);
            one.stand(Some(Rest::Head(since)), 64 << 10);
        }
        let gone = all.iter().filter(|one| one.is_evicted() == Some(Cut::HeadMemory)).count();
        assert_eq!(gone, 3, "from 17 to 14 sixteenths of the bound");
        assert!(all[..3].iter().all(|one| one.is_evicted().is_some()));
        all[0].stand(None, 0);
        assert_eq!(all[0].is_evicted(), None);
        drop(all);
        assert_eq!((registry.heads.load(Relaxed), registry.going.load(Relaxed)), (0, 0));
        assert_eq!(registry.lock().regular.leaving, 0);
    }

    #[tokio::test(start_paused = true)]
    async fn what_has_just_come_is_not_closed_for_others_and_does_not_have_them_refused() {
        let registry = registry(1);
        let fresh = registry.enter();
        let guest = registry.enter();
        assert!(guest.is_reserved() && guest.take_place());
        assert_eq!(fresh.is_evicted(), None);
    }

    #[tokio::test(start_paused = true)]
    async fn who_comes_waits_while_the_reserve_is_full_too() {
        use futures_util::FutureExt;
        let registry = registry(1);
        let mut all: Vec<_> = (0..=reserve(1)).map(|_| registry.enter()).collect();
        all.iter().for_each(|one| one.stand(None, 0));
        assert!(registry.has_room().now_or_never().is_none());
        all.pop();
        assert!(registry.has_room().now_or_never().is_some());
    }
}
