//! What the parts of a schedule share: its clocks, its steps, its end. The one rule: a process that has died does nothing
//! any more; whatever of it still runs waits for ever.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::{Duration, SystemTime},
};

use marketgate::{clock::Moment, grant::LiveAccounts};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{
    dice::{Dice, For},
    fault::{Course, Fault, Manner, Schedule, Step},
    login,
    store::FaultyStore,
    terms::Terms,
    truth::{Now, Truth},
};

/// Everything but the code under test.
#[derive(Debug)]
pub(super) struct World {
    pub(super) schedule: Schedule,
    pub(super) terms: Terms,
    /// Held by the login whose grant is being stored: the program stores those of one account one after the other.
    pub(super) logins: tokio::sync::Mutex<()>,
    time: Mutex<Time>,
    state: Mutex<State>,
}

/// What changes.
#[derive(Debug)]
pub(super) struct State {
    pub(super) truth: Truth,
    /// The steps at which something could go wrong.
    pub(super) steps: Vec<Step>,
    /// Whether nothing goes wrong any more.
    pub(super) calm: bool,
    pub(super) full_until: Duration,
    /// Until when the store's file is not in its place.
    pub(super) moved_until: Duration,
    /// Until when the server refuses everybody, and each account.
    everybody_until: Duration,
    disabled_until: Vec<Duration>,
    pub(super) calls: u64,
    pub(super) life: Life,
    happened: usize,
    trace: Option<Vec<String>>,
    /// Whether the trace says that a law was broken.
    was_told: bool,
}

/// One process.
#[derive(Debug, Default)]
pub(super) struct Life {
    pub(super) number: u64,
    pub(super) is_over: bool,
    pub(super) crash: CancellationToken,
    pub(super) drain: CancellationToken,
    pub(super) live: Weak<LiveAccounts>,
    pub(super) store: Weak<FaultyStore>,
    /// Whether it is asked to end twice.
    pub(super) is_hurried: bool,
}

#[derive(Debug, Default)]
struct Time {
    /// What has passed before `since`.
    base: Duration,
    since: Option<Instant>,
    skew: i64,
    /// When the machine was started.
    booted: Duration,
}

impl World {
    pub(super) fn new(schedule: Schedule, traced: bool) -> Self {
        let terms = Terms::of(&schedule);
        let truth = Truth::new(&schedule, &terms, may_lose(&schedule, &terms));
        let state = State {
            truth,
            steps: Vec::new(),
            calm: false,
            full_until: Duration::ZERO,
            moved_until: Duration::ZERO,
            everybody_until: Duration::ZERO,
            disabled_until: vec![Duration::ZERO; terms.accounts.len()],
            calls: 0,
            life: Life::default(),
            happened: 0,
            trace: traced.then(Vec::new),
            was_told: false,
        };
        Self { schedule, terms, logins: Default::default(), time: Mutex::default(), state: Mutex::new(state) }
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn time(&self) -> MutexGuard<'_, Time> {
        self.time.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn dice(&self, whom: For, place: [u64; 3]) -> Dice {
        Dice::of(self.schedule.seed, whom, place)
    }

    /// Now, by all clocks.
    pub(super) fn now(&self) -> Now {
        const ORIGIN: Duration = Duration::from_secs(1_700_000_000);
        const UP: Duration = Duration::from_secs(7);
        let time = self.time();
        let at = time.base + time.since.map_or(Duration::ZERO, |since| since.elapsed());
        let skew = Duration::from_millis(time.skew.unsigned_abs());
        let wall = SystemTime::UNIX_EPOCH + ORIGIN + at;
        let wall = if time.skew < 0 { wall - skew } else { wall + skew };
        Now { at, moment: Moment { wall, boot: UP + at.saturating_sub(time.booted) }, skew: time.skew }
    }

    /// A new process begins on the current runtime.
    pub(super) fn begin_life(&self) {
        self.time().since = Some(Instant::now());
        let mut state = self.state();
        state.truth.figures.lives += 1;
        state.life = Life { number: state.life.number + 1, ..Life::default() };
    }

    /// The process is gone; for `down` there is none.
    pub(super) fn end_life(&self, down: Duration, reboot: bool) {
        let at = self.now().at;
        self.state().life.is_over = true;
        let mut time = self.time();
        (time.base, time.since) = (at + down, None);
        if reboot {
            time.booted = time.base;
        }
    }

    /// Tells what happens to whoever replays the schedule.
    pub(super) fn tell(&self, words: impl FnOnce() -> String) {
        let at = self.now().at;
        let state = &mut *self.state();
        if let Some(trace) = &mut state.trace {
            if let Some(law) =
                state.truth.broken.as_ref().filter(|_| !std::mem::replace(&mut state.was_told, true))
            {
                trace.push(format!("          A LAW IS BROKEN: {law}"));
            }
            trace.push(format!("{:9.3} {}", at.as_secs_f64(), words()));
        }
    }

    pub(super) fn trace(&self) -> Vec<String> {
        self.state().trace.take().unwrap_or_default()
    }

    /// Nothing goes wrong any more.
    pub(super) fn calm_down(&self) {
        let mut state = self.state();
        (state.calm, state.full_until, state.moved_until) = (true, Duration::ZERO, Duration::ZERO);
        state.everybody_until = Duration::ZERO;
        state.disabled_until.fill(Duration::ZERO);
    }

    /// The process dies here and now.
    pub(super) fn crash(&self) {
        self.tell(|| "the process dies".to_owned());
        let mut state = self.state();
        state.life.is_over = true;
        state.life.crash.cancel();
    }

    pub(super) fn is_over(&self) -> bool {
        self.state().life.is_over
    }

    /// Goes on only if the process lives.
    pub(super) async fn live_on(&self) {
        if self.is_over() {
            std::future::pending::<()>().await;
        }
    }

    /// A little time, as everything takes.
    pub(super) async fn pass(&self, time: Duration) {
        tokio::time::sleep(time).await;
        self.live_on().await;
    }

    /// A step: what goes wrong at it is done here, as far as it does not depend on what the step is.
    pub(super) async fn step(self: &Arc<Self>, step: Step, account: usize) -> Option<Fault> {
        self.live_on().await;
        let (fault, number) = self.draw(step, account)?;
        let mut dice = self.dice(For::Harm, [number as u64, 0, 0]);
        let long = self.terms.lifetime.as_millis() as u64;
        match fault {
            Fault::CrashBefore => self.crash(),
            Fault::StepForward => self.set_clock(dice.millis(500, 3 * long).as_millis() as i64),
            Fault::StepBack => self.set_clock(-(dice.millis(500, 3 * long).as_millis() as i64)),
            Fault::Suspend => {
                self.time().base += dice.millis(500, 2 * long);
                self.was_held_up();
            }
            Fault::Stop => {
                tokio::time::advance(dice.millis(500, 2 * long)).await;
                self.was_held_up();
            }
            Fault::Drain => self.state().life.drain.cancel(),
            Fault::Impatience => {
                let mut state = self.state();
                state.life.is_hurried = true;
                state.life.drain.cancel();
            }
            Fault::Everybody => {
                let until = self.now().at + dice.millis(5_000, 240_000);
                self.state().everybody_until = until;
            }
            Fault::Disabled => {
                let until = self.now().at + dice.millis(5_000, 240_000);
                self.state().disabled_until[account] = until;
            }
            Fault::Login => {
                tokio::spawn(login::log_in(self.clone(), account, number as u64));
            }
            Fault::Moved if step == Step::Turn => {
                let until = self.now().at + dice.millis(500, 60_000);
                self.state().moved_until = until;
            }
            Fault::Evict => self.evict(account),
            Fault::Renew => self.renew(account),
            Fault::Revoke => self.revoke(account),
            other => return Some(other),
        }
        self.live_on().await;
        None
    }

    /// What goes wrong at this step, and the step's number.
    pub(super) fn draw(&self, step: Step, account: usize) -> Option<(Fault, usize)> {
        let mut state = self.state();
        if state.calm {
            return None;
        }
        let number = state.steps.len();
        state.steps.push(step);
        state.truth.figures.steps += 1;
        let fault = self.schedule.fault(number, step, state.happened, self.terms.often);
        if let Some(fault) = fault {
            state.happened += 1;
            *state.truth.figures.faults.entry(fault.word()).or_default() += 1;
        }
        drop(state);
        self.tell(|| {
            format!(
                "step {number}: {step:?} of account {account}{}",
                fault.map_or(String::new(), |f| format!(": {}", f.word()))
            )
        });
        fault.map(|fault| (fault, number))
    }

    /// Whether the server refuses this account's grant, though it lives.
    pub(super) fn refuses(&self, account: usize) -> bool {
        let now = self.now().at;
        let state = self.state();
        now < state.everybody_until.max(state.disabled_until[account])
    }

    fn was_held_up(&self) {
        let at = self.now().at;
        self.state().truth.held_up = at;
    }

    fn set_clock(&self, by: i64) {
        self.time().skew += by;
        let now = self.now();
        self.state().truth.stepped(now);
    }

    fn evict(&self, account: usize) {
        let live = self.life_of(account);
        if let Some(live) = live {
            live.evict(&self.terms.accounts[account].id);
            drop(live);
            super::garbage::collect();
        }
    }

    fn renew(&self, account: usize) {
        let Some(live) = self.life_of(account) else { return };
        let id = self.terms.accounts[account].id.clone();
        tokio::spawn(async move { drop(live.change(&id, None, Duration::MAX).await) });
    }

    fn life_of(&self, account: usize) -> Option<Arc<LiveAccounts>> {
        let mut state = self.state();
        state.truth.store_failed(account);
        state.life.live.upgrade()
    }

    fn revoke(&self, account: usize) {
        self.state().truth.revoke(account);
    }
}

/// Whether an account may be lost at all: not where the server lets us repeat ourselves for longer than the one thing that
/// goes wrong lasts.
fn may_lose(schedule: &Schedule, terms: &Terms) -> bool {
    // A call that hangs outlasts the reuse window, and a long sleep any server's patience.
    let outlasts = |fault| {
        matches!(
            fault,
            Fault::Silence | Fault::StallAfter | Fault::Suspend | Fault::Stop | Fault::Busy | Fault::BusyDone
        )
    };
    // What keeps the refresh token from being shown again within the reuse window leaves it until the token ends.
    let leaves_it = |fault| matches!(fault, Fault::BadGateway);
    match (schedule.manner, schedule.course) {
        // The start waits for its place at the meter.
        (Manner::Grace, _) if terms.is_budgeted => true,
        (Manner::Strict | Manner::Counting | Manner::Unlocked, _) | (Manner::Grace, Course::Chaos) => true,
        (Manner::Lenient, _) | (Manner::Grace, Course::Calm) => false,
        (Manner::Grace, Course::Single(fault, _)) => outlasts(fault),
        (Manner::Grace, Course::Chain(first, _, more)) => {
            // A repetition that is throttled has to wait, and the reuse window may end meanwhile.
            let waits = |fault| outlasts(fault) || matches!(fault, Fault::Throttled);
            outlasts(first) || leaves_it(first) || more.into_iter().flatten().any(waits)
        }
    }
}
