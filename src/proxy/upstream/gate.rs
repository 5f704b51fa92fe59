//! How many connections one origin may have, over all workers, and who comes next. The one rule: first come, first
//! served — a permit that comes free goes to whoever waits longest, or to nobody.
//!
//! A new connection costs as much as some twenty requests on one that stands. So where a connection that comes free could
//! serve somebody of its own account at once, another account's earlier request has a claim on it only when it has waited
//! noticeably, and not on one after the other.

use std::{
    collections::VecDeque,
    future::Future,
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{sync::oneshot, time::Instant};

/// How long a request waits before connections of other accounts are closed for it although they are wanted there.
const PATIENCE: Duration = Duration::from_millis(50);

/// The least time from one such closing to the next: at worst, handshakes take a fraction of a core.
const PACE: Duration = Duration::from_millis(5);

/// The cap of one origin.
#[derive(Debug)]
pub(super) struct Gate {
    connections: usize,
    queue: usize,
    waiting: AtomicUsize,
    /// Length of `Inside::queue`, so that a busy worker can look without the lock.
    queued: AtomicUsize,
    /// Idle connections that waiters would like to see closed, wherever they are.
    wishes: AtomicUsize,
    inside: Mutex<Inside>,
}

#[derive(Debug, Default)]
struct Inside {
    open: usize,
    next_ticket: u64,
    queue: VecDeque<Place>,
    /// When a connection that was wanted was last closed for another account's sake.
    yielded: Option<Instant>,
}

/// A place in the queue.
#[derive(Debug)]
struct Place {
    number: u64,
    since: Instant,
    permit: oneshot::Sender<Permit>,
}

/// The queue is full.
#[derive(Debug)]
pub(super) struct Full;

impl Gate {
    pub(super) fn new(connections: usize, queue: usize) -> Arc<Self> {
        Arc::new(Self {
            connections: connections.max(1),
            queue,
            waiting: AtomicUsize::new(0),
            queued: AtomicUsize::new(0),
            wishes: AtomicUsize::new(0),
            inside: Mutex::default(),
        })
    }

    /// Poison is harmless here: no code that can panic runs under the lock.
    fn lock(&self) -> MutexGuard<'_, Inside> {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Requests that may wait.
    pub(super) fn queue_limit(&self) -> usize {
        self.queue
    }

    /// Counts a request among those that wait for a connection, whatever for.
    pub(super) fn wait(self: &Arc<Self>) -> Result<Waiting, Full> {
        let one_more = |n: usize| (n < self.queue).then_some(n + 1);
        self.waiting.fetch_update(SeqCst, SeqCst, one_more).map_err(|_| Full)?;
        Ok(Waiting { gate: self.clone() })
    }

    /// A permit, if one is free and nobody waits for it.
    pub(super) fn try_open(self: &Arc<Self>) -> Option<Permit> {
        let mut inside = self.lock();
        if inside.open >= self.connections || !inside.queue.is_empty() {
            return None;
        }
        inside.open += 1;
        Some(Permit { gate: self.clone() })
    }

    /// A place in the queue for the next permit.
    pub(super) fn queue(self: &Arc<Self>) -> Ticket {
        let (sender, receiver) = oneshot::channel();
        let mut inside = self.lock();
        let number = inside.next_ticket;
        inside.next_ticket += 1;
        if inside.open < self.connections && inside.queue.is_empty() {
            inside.open += 1;
            drop(inside);
            // The receiver lives, so this cannot fail; were it to, the permit would find its way back by itself.
            let _ = sender.send(Permit { gate: self.clone() });
        } else {
            inside.queue.push_back(Place { number, since: Instant::now(), permit: sender });
            self.queued.store(inside.queue.len(), SeqCst);
        }
        Ticket { gate: self.clone(), number, permit: receiver }
    }

    /// Who is served next, if anybody waits for a permit.
    pub(super) fn first(&self) -> Option<u64> {
        if self.queued.load(SeqCst) == 0 {
            return None;
        }
        self.lock().queue.front().map(|place| place.number)
    }

    /// Whether a connection that is wanted where it is shall be closed all the same, so that the first in the queue gets
    /// its permit. Says so once in a while.
    pub(super) fn must_yield(&self, now: Instant) -> bool {
        let mut inside = self.lock();
        let is_overdue = inside.queue.front().is_some_and(|first| first.since + PATIENCE <= now);
        let yields = is_overdue && inside.yielded.is_none_or(|last| last + PACE <= now);
        if yields {
            inside.yielded = Some(now);
        }
        yields
    }

    /// Whoever holds this place is served, or gone.
    pub(super) fn leave(&self, number: u64) {
        let mut inside = self.lock();
        if let Ok(index) = inside.queue.binary_search_by_key(&number, |place| place.number) {
            inside.queue.remove(index);
            self.queued.store(inside.queue.len(), SeqCst);
        }
    }

    /// A waiter asks that one idle connection be closed somewhere.
    pub(super) fn wish(&self) {
        self.wishes.fetch_add(1, SeqCst);
    }

    /// Takes one such wish upon oneself. Wishes of waiters who have left are forgotten.
    pub(super) fn take_wish(&self) -> bool {
        let waiting = self.queued.load(SeqCst);
        let one_less = |wishes: usize| wishes.min(waiting).checked_sub(1);
        if waiting == 0 {
            self.wishes.store(0, SeqCst);
            return false;
        }
        self.wishes.fetch_update(SeqCst, SeqCst, one_less).is_ok()
    }

    fn close_one(self: &Arc<Self>) {
        let mut inside = self.lock();
        let Some(next) = inside.queue.pop_front() else {
            inside.open -= 1;
            return;
        };
        self.queued.store(inside.queue.len(), SeqCst);
        drop(inside);
        // One that was not taken is dropped here and goes on to the next in the queue.
        let _ = next.permit.send(Permit { gate: self.clone() });
    }

    #[cfg(test)]
    fn open(&self) -> usize {
        self.lock().open
    }
}

/// The right to one connection, from before it is dialled until it is closed.
#[derive(Debug)]
pub(super) struct Permit {
    gate: Arc<Gate>,
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.gate.close_one();
    }
}

/// One request that waits.
#[derive(Debug)]
pub(super) struct Waiting {
    gate: Arc<Gate>,
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.gate.waiting.fetch_sub(1, SeqCst);
    }
}

/// A place in the queue. Resolves to the permit; gives up the place, or the permit, when dropped.
#[derive(Debug)]
pub(super) struct Ticket {
    gate: Arc<Gate>,
    number: u64,
    permit: oneshot::Receiver<Permit>,
}

impl Ticket {
    pub(super) fn number(&self) -> u64 {
        self.number
    }
}

impl Future for Ticket {
    type Output = Permit;
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Permit> {
        // A sender goes away by sending, or when this request was handed a connection, and looks there.
        match ready!(Pin::new(&mut self.permit).poll(cx)) {
            Ok(permit) => Poll::Ready(permit),
            Err(_) => Poll::Pending,
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.gate.leave(self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn poll(ticket: &mut Ticket) -> Poll<Permit> {
        Pin::new(ticket).poll(&mut Context::from_waker(std::task::Waker::noop()))
    }

    #[test]
    fn a_permit_that_comes_free_goes_to_whoever_waits_longest() {
        let gate = Gate::new(1, 8);
        let held = gate.try_open().unwrap();
        let (mut first, mut second) = (gate.queue(), gate.queue());
        assert_eq!(gate.first(), Some(first.number()));
        assert!(gate.try_open().is_none());
        drop(held);
        assert!(poll(&mut second).is_pending());
        let Poll::Ready(permit) = poll(&mut first) else { panic!("the first was not served") };
        assert!(gate.try_open().is_none(), "a newcomer overtook the queue");
        drop(permit);
        assert!(poll(&mut second).is_ready());
        drop((first, second));
        assert_eq!((gate.open(), gate.first()), (0, None));
    }

    #[test]
    fn a_waiter_who_leaves_loses_no_permit() {
        let gate = Gate::new(1, 8);
        let held = gate.try_open().unwrap();
        let (served, mut next) = (gate.queue(), gate.queue());
        drop(held);
        drop(served); // with the permit already in its hands
        assert!(matches!(poll(&mut next), Poll::Ready(_)));
        drop(next);
        assert_eq!(gate.open(), 0);
    }

    #[test]
    fn no_more_wait_than_the_queue_holds() {
        let gate = Gate::new(1, 1);
        let waiting = gate.wait().unwrap();
        assert!(gate.wait().is_err());
        drop(waiting);
        assert!(gate.wait().is_ok());
    }

    #[test]
    fn a_wish_is_granted_once_and_dies_with_its_waiter() {
        let gate = Gate::new(1, 8);
        let _held = gate.try_open().unwrap();
        let ticket = gate.queue();
        gate.wish();
        assert!(gate.take_wish());
        assert!(!gate.take_wish());
        gate.wish();
        drop(ticket);
        assert!(!gate.take_wish());
    }
}
