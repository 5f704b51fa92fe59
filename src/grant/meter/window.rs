//! What a token endpoint still allows: decided from `now` alone. The rule: a slot is taken from when a call was sent until
//! a whole window after it ended, so that wherever between the two the server saw it, no window of the server's ever holds
//! more than the budget.
//!
//! Proof: let `s` be the latest sending among the calls that touch some window of length W. Each of the others had not
//! yet ended, or had ended less than W before `s`, so it held a slot when `s` was admitted; and there were at most
//! `calls` slots.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, VecDeque},
    time::Duration,
};

use super::Snapshot;
use crate::{clock::Moment, provider::Budget};

/// Calls at one endpoint at once, where the app does not say how many.
pub const USUAL_CALLS: usize = 64;

/// A call that takes longer is taken to hang: its place at the endpoint goes to others.
pub(super) const HANGS: Duration = Duration::from_millis(500);

/// So many times the calls at once are open at most, those that hang among them.
const MOST_OPEN: usize = 4;

/// What part of a budget, as its divisor, goes to accounts whose last call failed.
const FAILING_SHARE: usize = 10;

/// A window that includes both its ends is longer than its length by what clocks cannot tell apart.
const TICK: Duration = Duration::from_millis(1);

/// How long a call is thought to take as long as none has been seen.
const FIRST_GUESS: Duration = Duration::from_millis(250);

/// Whether a call may be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Room {
    /// Now.
    Now,
    /// Not before that much time has passed: ask again then.
    In(Duration),
    /// Not before a call that is under way has ended.
    AfterACall,
}

/// The calls that count. All times are boot time.
#[derive(Debug)]
pub(super) struct Window {
    budget: Option<Budget>,
    /// How many calls may be under way at once, those that hang not among them.
    at_once: usize,
    /// When each call under way was sent.
    running: Vec<Duration>,
    /// When each call that has ended gives its slot back, soonest first. Empty without a budget.
    freed: VecDeque<Duration>,
    /// As `running`, of accounts whose last call failed.
    running_failing: Vec<Duration>,
    /// As `freed`, of those.
    freed_failing: VecDeque<Duration>,
    /// How long a call takes, smoothed; None before the first has ended.
    smoothed: Option<Duration>,
}

impl Window {
    pub(super) fn new(budget: Option<Budget>, at_once: usize) -> Self {
        Self {
            budget,
            at_once,
            running: Vec::new(),
            freed: VecDeque::new(),
            running_failing: Vec::new(),
            freed_failing: VecDeque::new(),
            smoothed: None,
        }
    }

    pub(super) fn room(&mut self, now: Duration) -> Room {
        self.forget(now);
        if self.running.len() >= MOST_OPEN * self.at_once {
            return Room::AfterACall;
        }
        let hang_at = self.running.iter().map(|sent| *sent + HANGS).filter(|hangs| *hangs > now);
        let soonest = hang_at.clone().min().filter(|_| hang_at.count() >= self.at_once);
        if let Some(hangs) = soonest {
            return Room::In(hangs - now);
        }
        if self.budget.is_none_or(|budget| self.used() < budget.calls as usize) {
            return Room::Now;
        }
        self.freed.front().map_or(Room::AfterACall, |freed| Room::In(freed.saturating_sub(now)))
    }

    /// As [`Window::room`], for an account whose last call failed: such have a small part of a budget.
    pub(super) fn room_failing(&mut self, now: Duration) -> Room {
        self.forget(now);
        let Some(budget) = self.budget else { return Room::Now };
        let share = (budget.calls as usize / FAILING_SHARE).max(1);
        if self.running_failing.len() + self.freed_failing.len() < share {
            return Room::Now;
        }
        self.freed_failing.front().map_or(Room::AfterACall, |freed| Room::In(freed.saturating_sub(now)))
    }

    /// A call is sent.
    pub(super) fn send(&mut self, failing: bool, now: Duration) {
        self.running.push(now);
        if failing {
            self.running_failing.push(now);
        }
    }

    /// The call sent at `sent` has ended, or was given up: its arrival at the server lies behind us.
    pub(super) fn end(&mut self, failing: bool, sent: Duration, now: Duration) {
        self.withdraw(failing, sent);
        let took = now.saturating_sub(sent);
        self.smoothed = Some(self.smoothed.map_or(took, |known| (known * 7 + took) / 8));
        if let Some(budget) = self.budget {
            let freed = now + budget.window + TICK;
            self.freed.push_back(freed);
            if failing {
                self.freed_failing.push_back(freed);
            }
        }
    }

    /// The call admitted at `sent` was never made.
    pub(super) fn withdraw(&mut self, failing: bool, sent: Duration) {
        let remove = |running: &mut Vec<Duration>| {
            if let Some(place) = running.iter().position(|other| *other == sent) {
                running.swap_remove(place);
            }
        };
        remove(&mut self.running);
        if failing {
            remove(&mut self.running_failing);
        }
    }

    fn typical(&self) -> Duration {
        self.smoothed.unwrap_or(FIRST_GUESS)
    }

    /// How long a call typically holds its place.
    fn in_the_way(&self) -> Duration {
        self.typical().min(HANGS)
    }

    /// Slots taken.
    pub(super) fn used(&self) -> usize {
        self.running.len() + self.freed.len()
    }

    pub(super) fn budget(&self) -> Option<Budget> {
        self.budget
    }

    /// Gives back the slots whose time has come. A slot is free strictly after its window.
    pub(super) fn forget(&mut self, now: Duration) {
        for freed in [&mut self.freed, &mut self.freed_failing] {
            while freed.front().is_some_and(|freed| *freed <= now) {
                freed.pop_front();
            }
        }
    }

    /// How long a call waits that has `ahead` others before it, if every call takes as long as they typically do.
    ///
    /// The calls that fit into one window are played through; a whole budget's worth of calls later, all is as it was,
    /// one window and one call later.
    pub(super) fn wait(&mut self, ahead: usize, now: Duration) -> Duration {
        self.forget(now);
        let (rounds, rest) = match self.budget {
            Some(budget) => (ahead / budget.calls as usize, ahead % budget.calls as usize),
            None => (ahead / self.at_once, ahead % self.at_once),
        };
        let round = match self.budget {
            Some(budget) => self.typical() + budget.window + TICK,
            None => self.in_the_way(),
        };
        let rounds = u32::try_from(rounds).unwrap_or(u32::MAX);
        self.play(rest, now).saturating_sub(now).saturating_add(round.saturating_mul(rounds))
    }

    /// When the call after `ahead` others is sent, for fewer of them than slots.
    fn play(&self, ahead: usize, now: Duration) -> Duration {
        let mut ends: BinaryHeap<Reverse<Duration>> =
            self.running.iter().map(|sent| Reverse(now.max(*sent + self.in_the_way()))).collect();
        let mut slots = self.slots(now).into_iter();
        let mut sent = now;
        for _ in 0..=ahead {
            sent = sent.max(slots.next().unwrap_or(now));
            if ends.len() >= self.at_once {
                sent = sent.max(ends.pop().map_or(now, |Reverse(end)| end));
            }
            ends.push(Reverse(sent + self.in_the_way()));
        }
        sent
    }

    /// When each slot is free next, soonest first.
    fn slots(&self, now: Duration) -> Vec<Duration> {
        let Some(budget) = self.budget else { return Vec::new() };
        let running = self.running.iter().map(|sent| now.max(*sent + self.typical()) + budget.window + TICK);
        let mut slots: Vec<Duration> = self.freed.iter().copied().chain(running).collect();
        slots.sort_unstable();
        // A restored window may hold more than the budget: the first to end then make no room.
        let over = slots.len().saturating_sub(budget.calls as usize);
        slots.drain(..over);
        let free = (budget.calls as usize).saturating_sub(slots.len());
        std::iter::repeat_n(now, free).chain(slots).collect()
    }

    pub(super) fn snapshot(&mut self, now: Moment) -> Snapshot {
        self.forget(now.boot);
        let window = self.budget.map_or(Duration::ZERO, |budget| budget.window + TICK);
        let age = |freed: &Duration| window.saturating_sub(freed.saturating_sub(now.boot));
        Snapshot {
            ended: self.freed.iter().map(|freed| now.wall - age(freed)).collect(),
            running: self.running.len(),
        }
    }

    pub(super) fn restore(&mut self, snapshot: &Snapshot, now: Moment) {
        let Some(budget) = self.budget else { return };
        // Calls that were under way ended at an unknown time, at the latest now; so did those from a future that a
        // clock set back has made.
        let running = std::iter::repeat_n(Duration::ZERO, snapshot.running);
        let ages = snapshot.ended.iter().map(|ended| now.wall.duration_since(*ended).unwrap_or_default());
        let freed = ages.chain(running).map(|age| now.boot + (budget.window + TICK).saturating_sub(age));
        self.freed.extend(freed);
        self.freed.make_contiguous().sort_unstable();
        self.forget(now.boot);
    }
}
