//! The meter under a held clock: what a server could have counted is checked for every window there is.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on has failed")]

use std::{
    cell::RefCell,
    rc::Rc,
    sync::atomic::{AtomicUsize, Ordering},
    time::Instant,
};

use proptest::prelude::*;
use rand::{RngExt, SeedableRng, rngs::StdRng};
use tokio::{
    task::{JoinSet, LocalSet},
    time::{advance, sleep, timeout},
};

use super::*;

const MINUTES: u64 = 60;

const AT_ONCE: usize = 8;

fn budget(text: &str) -> Option<Budget> {
    Some(text.parse().unwrap())
}

fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

/// One call: when it was sent and when it had ended. The server saw it somewhere between.
#[derive(Debug, Clone, Copy)]
struct Call {
    number: usize,
    urgent: bool,
    sent: Duration,
    ended: Duration,
}

/// The most calls that a server may have seen in any window, both its ends included: for each window, all calls that
/// touch it. Windows that begin with an end of a call, or end with a sending, hold the most.
fn fullest_window(calls: &[Call], window: Duration) -> usize {
    let mut sent: Vec<Duration> = calls.iter().map(|call| call.sent).collect();
    let mut ended: Vec<Duration> = calls.iter().map(|call| call.ended).collect();
    sent.sort_unstable();
    ended.sort_unstable();
    let touching = |from: Duration| {
        let begun = sent.partition_point(|sent| *sent <= from + window);
        let over = ended.partition_point(|ended| *ended < from);
        begun - over
    };
    let starts = ended.iter().copied().chain(sent.iter().map(|sent| sent.saturating_sub(window)));
    starts.map(touching).max().unwrap_or(0)
}

/// The most calls under way at once, those that hang not among them.
fn most_at_once(calls: &[Call]) -> usize {
    let over = |call: &Call| call.ended.min(call.sent + window::HANGS);
    most_open(&calls.iter().map(|call| Call { ended: over(call), ..*call }).collect::<Vec<_>>())
}

fn most_open(calls: &[Call]) -> usize {
    let mut edges: Vec<(Duration, i32)> = calls.iter().flat_map(|c| [(c.sent, 1), (c.ended, -1)]).collect();
    edges.sort_unstable();
    let mut open = 0;
    // At one instant an end counts before a sending: the slot changes hands.
    let counts = edges.into_iter().map(|(_, edge)| {
        open += edge;
        open
    });
    usize::try_from(counts.max().unwrap_or(0)).unwrap()
}

/// Records the calls that go through a meter, in the order they were sent.
#[derive(Clone)]
struct Log {
    meter: Meter,
    clock: Clock,
    calls: Rc<RefCell<Vec<Call>>>,
}

impl Log {
    fn new(budget: Option<Budget>) -> Self {
        let clock = Clock::tokio();
        Self { meter: Meter::new(budget, AT_ONCE, clock.clone()), clock, calls: Rc::default() }
    }

    async fn call(self, number: usize, urgent: bool, takes: Duration) {
        let permit = self.meter.permit(urgent).await;
        let sent = self.clock.now().boot;
        let place = self.calls.borrow().len();
        self.calls.borrow_mut().push(Call { number, urgent, sent, ended: Duration::MAX });
        sleep(takes).await;
        self.calls.borrow_mut()[place].ended = self.clock.now().boot;
        drop(permit);
    }

    fn calls(&self) -> Vec<Call> {
        self.calls.borrow().clone()
    }
}

/// Lets every task that can run do so, without moving the clock.
async fn settle() {
    for _ in 0..50 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(start_paused = true)]
async fn ten_thousand_waiters_never_overfill_any_window_of_174_in_five_minutes() {
    let mut dice = StdRng::seed_from_u64(174);
    let log = Log::new(budget("174/5m"));
    let local = LocalSet::new();
    let start = tokio::time::Instant::now();
    for number in 0..10_000 {
        let takes = ms(if dice.random_ratio(1, 50) {
            dice.random_range(0..60_000)
        } else {
            dice.random_range(0..2_000)
        });
        local.spawn_local(log.clone().call(number, dice.random_ratio(1, 3), takes));
    }
    local.await;
    let calls = log.calls();
    assert_eq!(calls.len(), 10_000);
    assert!(fullest_window(&calls, Duration::from_secs(5 * MINUTES)) <= 174);
    assert!(most_at_once(&calls) <= AT_ONCE);
    // Those who came before any other was waiting went at once; all others in their order.
    let order: Vec<(bool, usize)> = calls[AT_ONCE..].iter().map(|call| (!call.urgent, call.number)).collect();
    assert!(order.is_sorted());
    // 57 full windows must pass in any case; whole windows lost to caution would show.
    let taken = start.elapsed().as_secs() / (5 * MINUTES);
    assert!((57..=63).contains(&taken), "{taken} windows");
}

#[test]
fn the_check_itself_sees_an_overfull_window() {
    let call = |sent, ended| Call { number: 0, urgent: false, sent: ms(sent), ended: ms(ended) };
    let calls = [call(0, 1), call(5, 9), call(11, 12), call(19, 30)];
    assert_eq!(fullest_window(&calls, ms(10)), 3);
    assert_eq!(fullest_window(&calls, ms(9)), 2);
    assert_eq!(most_at_once(&[call(0, 5), call(5, 9), call(4, 6)]), 2);
}

#[tokio::test(start_paused = true)]
async fn callers_who_wait_go_before_refreshes_and_each_in_their_order() {
    let log = Log::new(budget("1/10s"));
    let local = LocalSet::new();
    for (number, urgent) in [false, false, true, false, true, true].into_iter().enumerate() {
        local.spawn_local(log.clone().call(number, urgent, ms(5)));
    }
    local.await;
    let order: Vec<usize> = log.calls().iter().map(|call| call.number).collect();
    // Number 0 found the slot free before any caller came.
    assert_eq!(order, [0, 2, 4, 5, 1, 3]);
}

#[tokio::test(start_paused = true)]
async fn a_slot_is_free_one_window_after_its_call_ended_and_not_before() {
    let log = Log::new(budget("1/10s"));
    drop(log.meter.permit(false).await);
    let held = log.meter.permit(false);
    assert!(timeout(ms(10_000), held).await.is_err());
    let permit = timeout(ms(10), log.meter.permit(false)).await.expect("a slot");
    advance(ms(60_000)).await;
    assert_eq!(log.meter.load().used, 1, "a call under way holds its slot for as long as it takes");
    drop(permit);
    assert!(timeout(ms(10_000), log.meter.permit(true)).await.is_err());
    assert!(timeout(ms(10), log.meter.permit(true)).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn an_unused_permit_gives_its_slot_back_at_once() {
    let log = Log::new(budget("1/10s"));
    let permit = log.meter.permit(false).await;
    let mut next = tokio::spawn(log.meter.permit(false));
    assert!(timeout(ms(60_000), &mut next).await.is_err());
    permit.unused();
    assert!(timeout(ms(1), next).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn one_who_leaves_the_queue_blocks_nobody() {
    let log = Log::new(budget("1/10s"));
    drop(log.meter.permit(false).await);
    let mut waiting: Vec<_> = (0..20).map(|_| tokio::spawn(log.meter.permit(false))).collect();
    settle().await;
    assert_eq!(log.meter.load().waiting, 20);
    // The front, whose timer runs, leaves; so do others at every place but the last.
    for task in waiting.drain(..19) {
        task.abort();
        settle().await;
    }
    assert_eq!(log.meter.load().waiting, 1);
    let last = waiting.pop().unwrap();
    assert!(timeout(ms(10_010), last).await.is_ok());
    assert_eq!(log.meter.load().waiting, 0);
}

#[tokio::test(start_paused = true)]
async fn a_future_never_polled_takes_no_place() {
    let log = Log::new(budget("1/10s"));
    let idle = log.meter.permit(true);
    assert!(timeout(ms(1), log.meter.permit(false)).await.is_ok());
    drop(idle);
}

#[tokio::test(start_paused = true)]
async fn no_more_than_eight_calls_run_at_once_even_without_a_budget() {
    let log = Log::new(None);
    let local = LocalSet::new();
    for number in 0..100 {
        local.spawn_local(log.clone().call(number, false, ms(100)));
    }
    let start = tokio::time::Instant::now();
    local.await;
    assert_eq!(most_at_once(&log.calls()), AT_ONCE);
    assert!(start.elapsed() < ms(13 * 100 + 50));
    assert_eq!(log.meter.load(), Load { used: 0, calls: None, waiting: 0 });
    assert!(!log.meter.is_tight());
}

#[tokio::test(start_paused = true)]
async fn a_call_that_hangs_gives_its_place_to_others_and_four_times_as_many_are_open_at_most() {
    let log = Log::new(None);
    let local = LocalSet::new();
    for number in 0..AT_ONCE {
        local.spawn_local(log.clone().call(number, true, ms(60_000)));
    }
    local.spawn_local(log.clone().call(AT_ONCE, true, ms(250)));
    let start = log.clock.now().boot;
    local.run_until(sleep(ms(1_000))).await;
    let after = log.calls().last().map(|call| (call.number, call.sent - start));
    assert_eq!(after, Some((AT_ONCE, window::HANGS)), "it waits until the first are known to hang");
    for number in 0..100 {
        local.spawn_local(log.clone().call(number, true, ms(60_000)));
    }
    local.run_until(sleep(ms(30_000))).await;
    assert_eq!(log.calls().iter().filter(|call| call.ended == Duration::MAX).count(), 4 * AT_ONCE);
    local.await;
}

#[tokio::test(start_paused = true)]
async fn two_thousand_accounts_are_served_as_fast_as_sixty_four_calls_at_once_are() {
    let clock = Clock::tokio();
    let log = Log { meter: Meter::new(None, USUAL_CALLS, clock.clone()), clock, calls: Rc::default() };
    let local = LocalSet::new();
    for number in 0..2_000 {
        local.spawn_local(log.clone().call(number, true, ms(250)));
    }
    let start = tokio::time::Instant::now();
    local.await;
    assert!(start.elapsed() <= ms(8_000 + 100), "{:?}", start.elapsed());
}

fn id(number: usize) -> AccountId {
    AccountId { app: "app".parse().unwrap(), account: format!("shop-{number}").parse().unwrap() }
}

#[tokio::test(start_paused = true)]
async fn an_account_that_fails_gets_a_tenth_of_a_budget_and_holds_up_nobody() {
    let log = Log::new(budget("100/1m"));
    let (meter, local) = (log.meter.clone(), LocalSet::new());
    let (failed, served) = (Rc::new(RefCell::new(0)), Rc::new(RefCell::new(Vec::new())));
    let count = Rc::clone(&failed);
    local.spawn_local(async move {
        loop {
            let permit = meter.permit_for(&id(0), true, false).await;
            sleep(ms(10)).await;
            drop(permit);
            meter.failed(&id(0), None, "500", ms(10));
            *count.borrow_mut() += 1;
        }
    });
    let (meter, clock, waits) = (log.meter.clone(), log.clock.clone(), Rc::clone(&served));
    local.spawn_local(async move {
        for number in 1..=1_000 {
            sleep(ms(700)).await;
            let asked = clock.now().boot;
            let permit = meter.permit_for(&id(number), number % 2 == 0, false).await;
            waits.borrow_mut().push(clock.now().boot - asked);
            sleep(ms(10)).await;
            drop(permit);
            meter.succeeded(&id(number));
        }
    });
    local.run_until(sleep(Duration::from_secs(30))).await;
    assert!(log.meter.wait_estimate(&id(0), true) > ms(25_000));
    local.run_until(sleep(Duration::from_secs(29))).await;
    assert_eq!(*failed.borrow(), 11, "the first, and a tenth");
    local.run_until(sleep(Duration::from_secs(240))).await;
    assert!(*failed.borrow() <= 51, "{}", failed.borrow());
    assert!(*failed.borrow() >= 40, "it is not given up: {}", failed.borrow());
    let longest = served.borrow().iter().max().copied().unwrap();
    assert!(longest < ms(2_000), "a healthy account waited {longest:?}");
}

#[tokio::test(start_paused = true)]
async fn a_healthy_account_goes_before_one_that_fails_and_a_lost_answer_counts_as_healthy() {
    let log = Log::new(budget("1/10s"));
    log.meter.failed(&id(0), None, "500", ms(1));
    drop(log.meter.permit(true).await);
    let order = Rc::new(RefCell::new(Vec::new()));
    let local = LocalSet::new();
    for (number, urgent, pressing) in [(0, true, false), (1, false, false), (2, true, false), (0, true, true)]
    {
        let (meter, order) = (log.meter.clone(), Rc::clone(&order));
        local.spawn_local(async move {
            drop(meter.permit_for(&id(number), urgent, pressing).await);
            order.borrow_mut().push((number, pressing));
        });
    }
    local.await;
    assert_eq!(*order.borrow(), [(2, false), (0, true), (0, false), (1, false)]);
}

#[tokio::test(start_paused = true)]
async fn calls_that_hang_while_others_get_tokens_say_nothing_of_the_endpoint() {
    let log = Log::new(None);
    advance(ms(60_000)).await;
    log.meter.succeeded(&id(9));
    advance(ms(1_000)).await;
    log.meter.failed(&id(1), None, "late", ms(60_000));
    log.meter.failed(&id(2), None, "late", ms(60_000));
    assert!(log.meter.complaint().is_none());
    assert!(timeout(ms(1), log.meter.permit_for(&id(3), true, false)).await.is_ok());
    log.meter.failed(&id(1), None, "late", ms(500));
    log.meter.failed(&id(2), None, "late", ms(500));
    assert!(log.meter.complaint().is_some());
}

#[tokio::test(start_paused = true)]
async fn a_meter_is_tight_beyond_four_fifths_or_when_somebody_waits() {
    let log = Log::new(budget("5/10s"));
    for _ in 0..4 {
        drop(log.meter.permit(false).await);
    }
    assert!(!log.meter.is_tight());
    drop(log.meter.permit(false).await);
    assert!(log.meter.is_tight());
    assert_eq!(log.meter.load(), Load { used: 5, calls: Some(5), waiting: 0 });
    advance(ms(10_001)).await;
    assert!(!log.meter.is_tight());
    let unlimited = Meter::new(None, AT_ONCE, log.clock.clone());
    let permits: Vec<Permit> = futures_of(&unlimited, AT_ONCE).await;
    let waiting = tokio::spawn(unlimited.permit(false));
    settle().await;
    assert!(unlimited.is_tight());
    drop(permits);
    assert!(waiting.await.is_ok());
}

async fn futures_of(meter: &Meter, number: usize) -> Vec<Permit> {
    let mut permits = Vec::new();
    for _ in 0..number {
        permits.push(meter.permit(false).await);
    }
    permits
}

/// For newcomers at many depths of the queue, the estimate is compared with what they then waited.
async fn check_estimates(budget: Option<Budget>, takes: Duration, spacing: Duration) {
    let log = Log::new(budget);
    // The meter learns how long a call takes.
    log.clone().call(0, false, takes).await;
    sleep(budget.map_or(ms(0), |budget| budget.window + ms(2))).await;
    let local = LocalSet::new();
    let estimates: Rc<RefCell<Vec<(Duration, Duration)>>> = Rc::default();
    for number in 0..200 {
        let (log, estimates) = (log.clone(), Rc::clone(&estimates));
        local.spawn_local(async move {
            sleep(spacing * number).await;
            let (asked, estimate) = (log.clock.now().boot, log.meter.estimate(false, Priority::default()));
            estimates.borrow_mut().push((estimate, asked));
            log.call(usize::try_from(number).unwrap(), false, takes).await;
        });
    }
    local.await;
    let sent: Vec<Duration> = log.calls()[1..].iter().map(|call| call.sent).collect();
    for (place, ((estimate, asked), sent)) in estimates.borrow().iter().zip(sent).enumerate() {
        let waited = sent - *asked;
        let difference = waited.abs_diff(*estimate);
        assert!(difference <= takes + ms(2), "place {place}: estimated {estimate:?}, waited {waited:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_estimate_is_right_within_one_call() {
    check_estimates(budget("174/5m"), ms(400), ms(0)).await;
    check_estimates(budget("20/1m"), ms(400), ms(0)).await;
    check_estimates(budget("20/1m"), ms(400), ms(1_700)).await;
    check_estimates(budget("3/10s"), ms(2_500), ms(90)).await;
    check_estimates(budget("1/1s"), ms(10), ms(0)).await;
    check_estimates(None, ms(400), ms(0)).await;
    check_estimates(None, ms(400), ms(33)).await;
}

#[tokio::test(start_paused = true)]
async fn an_urgent_newcomer_is_told_only_of_urgent_ones_before_it() {
    let log = Log::new(budget("1/10s"));
    drop(log.meter.permit(false).await);
    let _waiting: JoinSet<Permit> = (0..5).map(|_| log.meter.permit(false)).collect();
    settle().await;
    assert!(log.meter.estimate(true, Priority::default()) <= ms(10_001));
    assert!(log.meter.estimate(false, Priority::default()) >= ms(50_000));
}

#[tokio::test(start_paused = true)]
async fn a_window_survives_a_restart() {
    let log = Log::new(budget("4/10s"));
    drop(log.meter.permit(false).await);
    advance(ms(4_000)).await;
    drop(log.meter.permit(false).await);
    let under_way = log.meter.permit(false).await;
    let snapshot = log.meter.snapshot();
    assert_eq!((snapshot.ended.len(), snapshot.running), (2, 1));
    drop(under_way);
    advance(ms(1_000)).await;

    let next_life = Meter::new(budget("4/10s"), AT_ONCE, log.clock.clone());
    next_life.restore(&snapshot);
    assert_eq!(next_life.load().used, 3);
    drop(next_life.permit(false).await);
    // The first call of all ended 5 s ago, the others 1 s ago, just now and just now.
    let start = tokio::time::Instant::now();
    drop(next_life.permit(false).await);
    assert_eq!(start.elapsed(), ms(5_001));
    drop(next_life.permit(false).await);
    assert_eq!(start.elapsed(), ms(9_001));
}

#[tokio::test(start_paused = true)]
async fn calls_from_the_future_count_as_made_now() {
    let log = Log::new(budget("1/10s"));
    let ahead = log.clock.now().wall + ms(3_600_000);
    log.meter.restore(&Snapshot { ended: vec![ahead, ahead], running: 0 });
    assert_eq!(log.meter.load().used, 2, "more than the budget: as many as there were");
    assert!(timeout(ms(10_000), log.meter.permit(true)).await.is_err());
    assert!(timeout(ms(10), log.meter.permit(true)).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_budget_lowered_over_a_restart_is_waited_for() {
    let log = Log::new(budget("2/10s"));
    let now = log.clock.now().wall;
    let ended = [9_000, 5_000, 1_000].map(|age| now - ms(age)).to_vec();
    log.meter.restore(&Snapshot { ended, running: 0 });
    let estimates =
        [log.meter.estimate(true, Priority::default()), log.meter.estimate(false, Priority::default())];
    assert_eq!(estimates, [ms(5_001); 2], "the first to end makes no room");
    let start = tokio::time::Instant::now();
    drop(log.meter.permit(true).await);
    assert_eq!(start.elapsed(), ms(5_001));
}

#[test]
fn runtimes_on_several_threads_share_a_meter() {
    let budget: Budget = "50/200ms".parse().unwrap();
    let meter = Meter::new(Some(budget), AT_ONCE, Clock::system());
    let (running, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let begun = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
                runtime.block_on(async {
                    for turn in 0..40 {
                        let permit = meter.permit(turn % 3 == 0).await;
                        most.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                        tokio::task::yield_now().await;
                        running.fetch_sub(1, Ordering::SeqCst);
                        drop(permit);
                    }
                });
            });
        }
    });
    assert!(begun.elapsed() >= ms(600), "160 calls need three windows to pass");
    assert!(most.load(Ordering::SeqCst) <= AT_ONCE);
    assert_eq!(meter.load().waiting, 0);
}

/// One participant of a random schedule.
#[derive(Debug, Clone)]
struct Step {
    comes: u64,
    urgent: bool,
    takes: u64,
    /// Gives up after so long, if it has no permit by then.
    patience: Option<u64>,
    /// Finds that it need not call after all.
    unused: bool,
}

fn step() -> impl Strategy<Value = Step> {
    let patience = proptest::option::weighted(0.3, 0..5_000_u64);
    (0..3_000_u64, any::<bool>(), 0..700_u64, patience, proptest::bool::weighted(0.1))
        .prop_map(|(comes, urgent, takes, patience, unused)| Step { comes, urgent, takes, patience, unused })
}

/// Plays a schedule and returns its calls and how many gave up.
async fn play(budget: Option<Budget>, steps: Vec<Step>) -> (Vec<Call>, usize, Load) {
    let log = Log::new(budget);
    let given_up = Rc::new(RefCell::new(0));
    let local = LocalSet::new();
    for (number, step) in steps.into_iter().enumerate() {
        let (log, given_up) = (log.clone(), Rc::clone(&given_up));
        local.spawn_local(async move {
            sleep(ms(step.comes)).await;
            if step.unused {
                log.meter.permit(step.urgent).await.unused();
                return;
            }
            let permit = log.meter.permit(step.urgent);
            let patience = ms(step.patience.unwrap_or(u64::MAX / 2));
            let Ok(permit) = timeout(patience, permit).await else {
                *given_up.borrow_mut() += 1;
                return;
            };
            let sent = log.clock.now().boot;
            sleep(ms(step.takes)).await;
            let ended = log.clock.now().boot;
            log.calls.borrow_mut().push(Call { number, urgent: step.urgent, sent, ended });
            drop(permit);
        });
    }
    local.await;
    let given_up = *given_up.borrow();
    (log.calls(), given_up, log.meter.load())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn no_schedule_overfills_a_window_or_forgets_anybody(
        calls in 1..12_u32,
        window in 50..4_000_u64,
        limited in proptest::bool::weighted(0.9),
        steps in prop::collection::vec(step(), 1..80),
    ) {
        let budget = limited.then_some(Budget { calls, window: ms(window) });
        let unused = steps.iter().filter(|step| step.unused).count();
        let number = steps.len();
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        let (made, given_up, load) = runtime.block_on(play(budget, steps));
        prop_assert_eq!(made.len() + given_up + unused, number);
        prop_assert_eq!(load.waiting, 0);
        prop_assert!(most_at_once(&made) <= AT_ONCE);
        if let Some(budget) = budget {
            prop_assert!(fullest_window(&made, budget.window) <= budget.calls as usize);
        }
    }
}
