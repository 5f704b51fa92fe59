//! How long a connection may keep us waiting. The rule: a limit runs only while it is the caller's turn, and every sign
//! of the caller moving starts it anew, within a head excepted.
//!
//! hyper's own limit for heads is not used: it would also end connections that merely rest between two requests.

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use tokio::time::{Instant, Sleep, sleep_until};

use super::{
    gate::{Progress, Stage},
    registry::Rest,
    tally::Cut,
};

/// Limits in time. None of them bounds a whole exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimeLimits {
    /// From one answer to the first byte of the next request.
    pub idle: Duration,
    /// From the first byte of a head to its end.
    pub head: Duration,
    /// Between two pieces of a body that is wanted, or of an answer the caller should read.
    pub stall: Duration,
    /// Between two pieces of what a caller goes on sending after the last answer, which is read and dropped.
    pub leftovers: Duration,
}

/// The timer of one connection.
#[derive(Debug)]
pub(super) struct Patience {
    limits: TimeLimits,
    reading: Turn,
    writing: Turn,
    alarm: Pin<Box<Sleep>>,
}

/// What the caller owes. The number tells one debt from the next of its kind.
type Debt = (Cut, u64);

/// One direction: what the caller owes, and since when.
#[derive(Debug, Default)]
struct Turn(Option<(Cut, u64, Instant)>);

impl Turn {
    /// When the debt named now is due.
    fn due(&mut self, debt: Option<Debt>, now: Instant, limits: &TimeLimits) -> Option<(Instant, Cut)> {
        self.0 = debt.map(|(why, number)| match self.0 {
            Some(old @ (old_why, old_number, _)) if (old_why, old_number) == (why, number) => old,
            _ => (why, number, now),
        });
        self.0.map(|(why, _, since)| (since + limits.of(why), why))
    }
}

/// For a head on a connection that is served one request at most, because all others are in use.
const CROWDED: Duration = Duration::from_secs(1);

impl TimeLimits {
    /// Those of a connection that others wait for.
    pub(super) fn when_crowded(self) -> Self {
        Self { idle: self.idle.min(CROWDED), head: self.head.min(CROWDED), ..self }
    }

    fn of(&self, why: Cut) -> Duration {
        match why {
            Cut::Idle => self.idle,
            Cut::SlowHead => self.head,
            Cut::StalledUpload | Cut::StalledDownload => self.stall,
            Cut::Leftovers | Cut::Grace | Cut::Crowded | Cut::HeadMemory => self.leftovers,
        }
    }
}

/// What the caller has to send.
fn owed_bytes(progress: &Progress) -> Option<Debt> {
    match progress.stage() {
        _ if progress.is_closing() => Some((Cut::Leftovers, progress.read())),
        Stage::Body => progress.waits_for_bytes().then(|| (Cut::StalledUpload, progress.read())),
        // It is our turn; a next request may wait in front of us as long as it takes.
        _ if progress.is_in_flight() => None,
        Stage::Head => Some((Cut::SlowHead, progress.messages())),
        Stage::Between => Some((Cut::Idle, progress.messages())),
    }
}

/// What the caller has to read.
fn owed_room(progress: &Progress) -> Option<Debt> {
    progress.waits_for_room().then(|| (Cut::StalledDownload, progress.written()))
}

impl Patience {
    pub(super) fn new(limits: TimeLimits) -> Self {
        let alarm = Box::pin(sleep_until(Instant::now() + limits.idle));
        Self { limits, reading: Turn::default(), writing: Turn::default(), alarm }
    }

    /// Ready when the caller has used up its time. To be asked each time after the connection was driven.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>, progress: &Progress) -> Poll<Cut> {
        let debts = (owed_bytes(progress), owed_room(progress));
        loop {
            let Some((now, due, why)) = self.due(debts) else { return Poll::Pending };
            if due <= now {
                return Poll::Ready(why);
            }
            // An alarm that rings early costs less than one set anew at every request.
            if self.alarm.is_elapsed() || due < self.alarm.deadline() {
                self.alarm.as_mut().reset(due);
            }
            if self.alarm.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
        }
    }

    /// What the connection waits for if it could be closed without cutting an exchange, as of the last [`Patience::poll`].
    pub(super) fn rest(&self) -> Option<Rest> {
        let (why, _, since) = self.reading.0.filter(|_| self.writing.0.is_none())?;
        match why {
            Cut::Idle => Some(Rest::Idle(since)),
            Cut::Leftovers => Some(Rest::Leftovers(since)),
            Cut::SlowHead => Some(Rest::Head(since)),
            _ => None,
        }
    }

    /// What is due first, beside the present. Nobody looks at the clock for a caller who owes nothing.
    fn due(&mut self, debts: (Option<Debt>, Option<Debt>)) -> Option<(Instant, Instant, Cut)> {
        if debts == (None, None) {
            (self.reading, self.writing) = (Turn::default(), Turn::default());
            return None;
        }
        let now = Instant::now();
        let bytes = self.reading.due(debts.0, now, &self.limits);
        let room = self.writing.due(debts.1, now, &self.limits);
        bytes.into_iter().chain(room).min_by_key(|(due, _)| *due).map(|(due, why)| (now, due, why))
    }
}
