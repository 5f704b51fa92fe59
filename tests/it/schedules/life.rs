//! One process of a schedule, from its start to its end. The one rule: it starts, serves and ends as the gateway does.

use std::{sync::Arc, time::Duration};

use marketgate::{
    chance::Chance,
    clock::Clock,
    grant::{AccountState, LiveAccount, LiveAccounts, Means, repeats_at_once},
    metrics::Metrics,
};
use tokio::task::JoinSet;

use super::{callers, dice::For, fault::Step, server::Server, store::FaultyStore, world::World};

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// It died.
    Crashed,
    /// It was asked to end, and did so in order.
    Drained,
    /// The schedule is over.
    Over,
}

/// How long an account may be without a token once nothing goes wrong any more: the longest pause that a server asked for,
/// a call that hangs, the pauses between tries, and two windows of the budget.
const RECOVERY: Duration = Duration::from_secs(300);

/// How long anything may take at all before it counts as hanging, stopped processes included.
const PATIENCE: Duration = Duration::from_secs(3_600);

pub(super) async fn live(world: &Arc<World>, store: &Arc<FaultyStore>) -> End {
    world.begin_life();
    let crash = world.state().life.crash.clone();
    tokio::select! {
        biased;
        () = crash.cancelled() => End::Crashed,
        end = serve(world, store) => end,
    }
}

async fn serve(world: &Arc<World>, store: &Arc<FaultyStore>) -> End {
    let accounts = start(world, store).await;
    let mut callers = JoinSet::new();
    for account in 0..world.terms.accounts.len() {
        for number in 0..world.terms.callers {
            callers.spawn(callers::call(world.clone(), accounts.clone(), account, number));
        }
    }
    let drain = world.state().life.drain.clone();
    let served = tokio::select! {
        biased;
        () = drain.cancelled() => End::Drained,
        end = until_over(world, &accounts) => end,
    };
    if served == End::Crashed {
        return served;
    }
    // Requests end first.
    callers.shutdown().await;
    if tokio::time::timeout(PATIENCE, accounts.drain()).await.is_err() {
        world.state().truth.breach("the process did not end".to_owned());
    }
    world.live_on().await;
    world.tell(|| "the process has ended".to_owned());
    world.state().truth.drained();
    served
}

/// The order of a start: calls that still count, then every intent that was left open and whose window still runs.
async fn start(world: &Arc<World>, store: &Arc<FaultyStore>) -> Arc<LiveAccounts> {
    let clock = Clock::told({
        let world = world.clone();
        move || world.now().moment
    });
    let number = world.state().life.number;
    let chance = Chance::seeded(world.dice(For::Life, [number, 0, 0]).below(u64::MAX));
    let accounts = Arc::new(LiveAccounts::new(Means {
        clock,
        chance,
        client: Arc::new(Server(world.clone())),
        store: Some(store.clone()),
        metrics: Arc::new(Metrics::new(false)),
        capacity: 100,
    }));
    world.state().life.live = Arc::downgrade(&accounts);
    accounts.recall_calls(&world.terms.app.profile).await.unwrap();
    for (account, open) in store.open().await {
        let now = world.now();
        if !repeats_at_once(&world.terms.app.profile, &open, now.moment.wall) {
            continue;
        }
        world.tell(|| format!("the start orders a refresh of account {account}"));
        world.state().truth.ordered(account, now);
        find(world, &accounts, account).await.heal();
    }
    accounts
}

pub(super) async fn find(world: &World, accounts: &LiveAccounts, account: usize) -> Arc<LiveAccount> {
    let found = &world.terms.accounts[account];
    match accounts.borrow(&found.id) {
        Some(live) => live,
        None => accounts.find_stored(&world.terms.app, found).await,
    }
}

/// Time passes until the schedule's faults are over, and all has recovered from them.
async fn until_over(world: &Arc<World>, accounts: &Arc<LiveAccounts>) -> End {
    let number = world.state().life.number;
    let mut dice = world.dice(For::Driver, [number, 0, 0]);
    let turn = world.terms.lifetime.as_millis() as u64 / 2;
    while world.now().at < world.terms.span {
        world.pass(dice.millis(300, turn)).await;
        let account = dice.below(world.terms.accounts.len() as u64);
        world.step(Step::Turn, usize::try_from(account).unwrap()).await;
    }
    if !world.state().calm {
        world.calm_down();
        world.tell(|| "all is calm".to_owned());
        if world.terms.ends_in_crash {
            world.crash();
            return End::Crashed;
        }
    }
    recover(world, accounts).await;
    End::Over
}

/// Every account whose grant lives gets a token minted from now on; every other one is known to be lost.
async fn recover(world: &Arc<World>, accounts: &Arc<LiveAccounts>) {
    let since = world.now().at;
    let mut recovering = JoinSet::new();
    for account in 0..world.terms.accounts.len() {
        let (world, accounts) = (world.clone(), accounts.clone());
        recovering.spawn(async move {
            let recovered = recover_one(&world, &accounts, account, since);
            if tokio::time::timeout(PATIENCE, recovered).await.is_err() {
                world.state().truth.breach(format!("a caller of account {account} hangs"));
            }
        });
    }
    while recovering.join_next().await.is_some() {}
}

async fn recover_one(world: &World, accounts: &LiveAccounts, account: usize, since: Duration) {
    // A clock set back hides the end of a token that was read back from the store.
    let limit = since + world.terms.lifetime * 5 + RECOVERY;
    let mut last = String::new();
    while world.now().at < limit {
        let live = find(world, accounts, account).await;
        match live.token(Duration::from_secs(10)).await {
            Ok(credential) => {
                if world.handed(account, &credential) >= since {
                    return;
                }
                last = "only old tokens".to_owned();
            }
            Err(unavailable) => last = format!("{}: {}", unavailable.state, unavailable.detail),
        }
        let published = live.published();
        if published.state == AccountState::Misconfigured {
            // A person has looked, and found nothing wrong.
            live.order_refresh();
        }
        let is_held = published.trouble.is_some_and(|trouble| trouble.detail.contains("refuses everybody"));
        let is_known = matches!(published.state, AccountState::LoginRequired(_)) || is_held;
        if is_known && world.state().truth.sellers[account].death.is_some() {
            return;
        }
        world.pass(world.terms.lifetime / 20).await;
    }
    world.state().truth.breach(format!("account {account} did not recover: {last}"));
}

impl World {
    /// A token was handed out; returns when it was minted.
    pub(super) fn handed(&self, account: usize, credential: &marketgate::grant::Credential) -> Duration {
        let now = self.now();
        let mut state = self.state();
        if state.life.is_over {
            return Duration::ZERO;
        }
        let number = state.truth.handed(account, credential.token.secret.expose(), now);
        state.truth.sellers[account].access[number].minted
    }
}
