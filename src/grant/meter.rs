//! Meters the calls to one token endpoint with one grant. The rule: no window of time, as the server may see it, ever
//! holds more calls than the budget; callers who wait come before refreshes ahead of time, and within each the first come
//! first.
//!
//! There is no task behind it. Those who wait stand in a queue, and only the next one looks at the window: it sleeps until a
//! slot is free, and rings the one after it when it goes, whether with a permit or because it was dropped.

mod health;
#[cfg(test)]
mod tests;
mod window;

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};

use health::Health;
pub use health::{Others, Verdict, refuses_everybody};
use tokio::sync::Notify;
pub use window::USUAL_CALLS;
use window::{Room, Window};

use crate::{
    clock::{Clock, Moment},
    names::AccountId,
    provider::Budget,
};

/// The meter of one token endpoint and grant. Clones share it.
#[derive(Clone)]
pub struct Meter(Arc<Shared>);

struct Shared {
    clock: Clock,
    state: Mutex<State>,
}

struct State {
    window: Window,
    health: Health,
    queue: BTreeMap<Place, Arc<Notify>>,
    next_number: u64,
}

/// A place in the queue; the smallest is next. Urgent comes first, then accounts whose last call did not fail, and last whom a
/// held endpoint has refused already. Among those the first come first: one whose grant is over and whose callers wait must not keep the endpoint from being asked
/// with another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    again: bool,
    may_wait: bool,
    failing: bool,
    number: u64,
}

/// What decides when an account's turn is, beside its callers.
#[derive(Debug, Clone, Copy, Default)]
struct Priority {
    /// Its grant was refused while the endpoint was held.
    again: bool,
    /// Its last call failed.
    failing: bool,
}

/// How full a meter is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Load {
    /// Slots taken: calls under way, and calls that ended less than a window ago.
    pub used: usize,
    /// All slots; None without a budget.
    pub calls: Option<u32>,
    /// How many wait for a permit.
    pub waiting: usize,
}

/// What must survive a restart: the calls that still count.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// When each ended, wall clock, oldest first.
    pub ended: Vec<SystemTime>,
    /// Calls that were under way.
    pub running: usize,
}

impl Meter {
    /// A meter that keeps to `budget`, None where nothing is known, and to so many calls at once.
    pub fn new(budget: Option<Budget>, at_once: usize, clock: Clock) -> Self {
        let state = State {
            window: Window::new(budget, at_once),
            health: Health::default(),
            queue: BTreeMap::new(),
            next_number: 0,
        };
        Self(Arc::new(Shared { clock, state: Mutex::new(state) }))
    }

    /// Waits for leave to make one call. `urgent`: a caller is waiting for its token.
    ///
    /// The place in the queue is taken when the future is first polled. Dropping the future gives it up, and with it
    /// nothing else: to make a waiting call urgent, drop the future and ask anew.
    pub fn permit(&self, urgent: bool) -> impl Future<Output = Permit> + Send + use<> {
        self.admission(urgent, Priority::default())
    }

    /// As [`Meter::permit`], for a call of this account: while the endpoint fails or refuses everybody, one at a time is let
    /// through, accounts that it has refused already come last, and accounts whose last call failed have a small part of the
    /// budget. `pressing`: it is not counted among those, since its last answer was lost.
    pub fn permit_for(
        &self,
        id: &AccountId,
        urgent: bool,
        pressing: bool,
    ) -> impl Future<Output = Permit> + Send + use<> {
        let priority = self.priority(id);
        self.admission(urgent, Priority { failing: priority.failing && !pressing, ..priority })
    }

    fn priority(&self, id: &AccountId) -> Priority {
        let state = self.0.lock();
        Priority { again: state.health.was_refused(id), failing: state.health.has_failed(id) }
    }

    fn admission(&self, urgent: bool, priority: Priority) -> impl Future<Output = Permit> + Send + use<> {
        let shared = Arc::clone(&self.0);
        async move { Waiter::enter(shared, urgent, priority).admitted().await }
    }

    /// A call of this account brought tokens. Returns the accounts that were refused while the endpoint refused everybody:
    /// they may try again.
    pub fn succeeded(&self, id: &AccountId) -> Vec<AccountId> {
        self.note(|health, now| health.succeeded(id, now))
    }

    /// A call of this account that took so long brought neither tokens nor a judgement of its grant. `asked`: how long the
    /// server wants to be left alone by everybody.
    pub fn failed(&self, id: &AccountId, asked: Option<Duration>, words: &str, took: Duration) {
        self.note(|health, now| health.failed(id, asked, words, now.saturating_sub(took), now));
    }

    /// The server wants to be left alone with this account for so long.
    pub fn asked(&self, id: &AccountId, pause: Duration, words: &str) {
        self.note(|health, now| health.asked(id, pause, words, now));
    }

    /// How long it still wants that, and what it said. Kept here, since the account may be let go in between.
    pub fn pause(&self, id: &AccountId) -> Option<(Duration, String)> {
        self.0.lock().health.pause(id, self.0.clock.now().boot)
    }

    /// The endpoint answered a call of this account and judged it.
    pub fn answered(&self, id: &AccountId) {
        self.note(|health, now| health.answered(id, now));
    }

    /// The endpoint refused this account's grant, of which no answer was lost.
    pub fn refused(&self, id: &AccountId, words: &str) -> Verdict {
        self.note(|health, now| health.refused(id, words, now))
    }

    /// Whether the endpoint refuses everybody.
    pub fn is_held(&self) -> bool {
        self.0.lock().health.is_held()
    }

    /// How other accounts fare at this endpoint since `since`.
    pub fn others(&self, since: Moment) -> Others {
        self.0.lock().health.others(since.boot)
    }

    /// Why calls have to wait beside the budget, if they have to.
    pub fn complaint(&self) -> Option<String> {
        self.0.lock().health.complaint()
    }

    fn note<T>(&self, change: impl FnOnce(&mut Health, Duration) -> T) -> T {
        let mut state = self.0.lock();
        let now = self.0.clock.now().boot;
        let outcome = change(&mut state.health, now);
        state.ring_next(now);
        outcome
    }

    /// How long a call of this account would wait, for `Retry-After`: exact as long as calls take as long as they did lately.
    pub fn wait_estimate(&self, id: &AccountId, urgent: bool) -> Duration {
        self.estimate(urgent, self.priority(id))
    }

    fn estimate(&self, urgent: bool, priority: Priority) -> Duration {
        let mut state = self.0.lock();
        let now = self.0.clock.now().boot;
        let own = Place::new(urgent, priority, state.next_number);
        let ahead = state.queue.range(..own).count();
        let wait = state.window.wait(ahead, now).max(state.health.wait(priority.again, now));
        match state.share(own, now) {
            Room::In(share) => wait.max(share),
            Room::Now | Room::AfterACall => wait,
        }
    }

    /// How full it is.
    pub fn load(&self) -> Load {
        let mut state = self.0.lock();
        let now = self.0.clock.now().boot;
        state.window.forget(now);
        Load {
            used: state.window.used(),
            calls: state.window.budget().map(|budget| budget.calls),
            waiting: state.queue.len(),
        }
    }

    /// Whether more than 80 % is used or anybody waits: then refresh later.
    pub fn is_tight(&self) -> bool {
        let load = self.load();
        load.waiting > 0 || load.calls.is_some_and(|calls| load.used as u64 * 5 > u64::from(calls) * 4)
    }

    /// The calls that count at this moment.
    pub fn snapshot(&self) -> Snapshot {
        let mut state = self.0.lock();
        state.window.snapshot(self.0.clock.now())
    }

    /// Counts the calls of an earlier life too. Those that were under way count as ended now.
    pub fn restore(&self, snapshot: &Snapshot) {
        let mut state = self.0.lock();
        let now = self.0.clock.now();
        state.window.restore(snapshot, now);
        state.ring_next(now.boot);
    }
}

impl fmt::Debug for Meter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Meter({:?})", self.load())
    }
}

impl Shared {
    /// The clock is read under the lock, so that times enter the window in their order. No code that holds it can panic
    /// half-way: a poisoned state is still a whole one.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    fn new(urgent: bool, Priority { again, failing }: Priority, number: u64) -> Self {
        Self { again, may_wait: !urgent && !again, failing, number }
    }
}

impl State {
    /// Whether the account at this place has a part of the budget left. While the endpoint as a whole fails, all have.
    fn share(&mut self, place: Place, now: Duration) -> Room {
        if place.failing && !self.health.fails() { self.window.room_failing(now) } else { Room::Now }
    }

    /// Who is next: the first, unless others wait behind it while its part of the budget is used up.
    fn next(&mut self, now: Duration) -> Option<Place> {
        let first = *self.queue.keys().next()?;
        if self.share(first, now) == Room::Now {
            return Some(first);
        }
        Some(self.queue.keys().find(|place| !place.failing).copied().unwrap_or(first))
    }

    fn ring_next(&mut self, now: Duration) {
        if let Some(bell) = self.next(now).and_then(|next| self.queue.get(&next)) {
            bell.notify_one();
        }
    }
}

/// One who waits. Dropped, it leaves the queue.
struct Waiter {
    shared: Arc<Shared>,
    place: Place,
    bell: Arc<Notify>,
}

/// What the one who waits does next.
enum Turn {
    Go(Permit),
    Sleep(Duration),
    Wait,
}

impl Waiter {
    fn enter(shared: Arc<Shared>, urgent: bool, priority: Priority) -> Self {
        let bell = Arc::new(Notify::new());
        let mut state = shared.lock();
        let place = Place::new(urgent, priority, state.next_number);
        state.next_number += 1;
        state.queue.insert(place, Arc::clone(&bell));
        drop(state);
        Self { shared, place, bell }
    }

    async fn admitted(self) -> Permit {
        loop {
            match self.turn() {
                Turn::Go(permit) => return permit,
                Turn::Wait => self.bell.notified().await,
                Turn::Sleep(time) => {
                    tokio::select! {
                        () = tokio::time::sleep(time) => {}
                        () = self.bell.notified() => {}
                    }
                }
            }
        }
    }

    fn turn(&self) -> Turn {
        let mut state = self.shared.lock();
        let now = self.shared.clock.now().boot;
        if state.next(now) != Some(self.place) {
            // Who is next may have changed with the time.
            state.ring_next(now);
            return Turn::Wait;
        }
        let probe = state.health.wait(self.place.again, now);
        if !probe.is_zero() {
            return Turn::Sleep(probe);
        }
        let failing = self.place.failing;
        let room = match state.share(self.place, now) {
            Room::Now => state.window.room(now),
            none => none,
        };
        match room {
            Room::AfterACall => Turn::Wait,
            Room::In(time) => Turn::Sleep(time),
            Room::Now => {
                state.queue.remove(&self.place);
                state.window.send(failing, now);
                state.health.sent(now);
                state.ring_next(now);
                Turn::Go(Permit { shared: Arc::clone(&self.shared), sent: now, failing, was_used: true })
            }
        }
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        let now = self.shared.clock.now().boot;
        if state.queue.remove(&self.place).is_some() {
            state.ring_next(now);
        }
    }
}

/// Leave for one call. Dropped, the call has ended: hold it until the answer has been read to its end.
#[must_use = "the call's slot is counted from when the permit is dropped"]
pub struct Permit {
    shared: Arc<Shared>,
    sent: Duration,
    failing: bool,
    was_used: bool,
}

impl Permit {
    /// The call was not made, not even begun: its slot is free at once.
    pub fn unused(mut self) {
        self.was_used = false;
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        let now = self.shared.clock.now().boot;
        if self.was_used {
            state.window.end(self.failing, self.sent, now);
        } else {
            state.window.withdraw(self.failing, self.sent);
        }
        state.ring_next(now);
    }
}

impl fmt::Debug for Permit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Permit")
    }
}
