//! One process of a schedule, from its start to its end. The one rule: it starts, serves and ends as the gateway does.

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use marketgate::{
    accounts::Accounts,
    chance::Chance,
    clock::Clock,
    grant::{AccountState, LiveAccount, LiveAccounts, Means, agenda},
    metrics::Metrics,
    oauth::TokenClient,
    store::{Store, Stored},
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
const PATIENCE: Duration = Duration::from_secs(200_000);

/// How long an account may stay refused whose grant was refused by mistake: the server is asked after a minute, ten and an
/// hour. (Then daily, which no schedule waits for.)
const MISJUDGED: Duration = Duration::from_secs(5_000);

/// How often the store is looked through.
const LOOKING_AFTER: Duration = Duration::from_secs(300);

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
    let care = tokio::spawn(look_after(world.clone(), accounts.clone(), store.clone()));
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
    if world.state().life.is_hurried {
        // Requests may go on until a second signal cuts them; nothing new is spent meanwhile.
        accounts.close();
        let patience = world.dice(For::Life, [world.state().steps.len() as u64, 2, 0]).millis(0, 20_000);
        world.pass(patience).await;
    }
    // Requests end first.
    callers.shutdown().await;
    care.abort();
    if tokio::time::timeout(PATIENCE, accounts.drain()).await.is_err() {
        world.state().truth.breach("the process did not end".to_owned());
    }
    world.live_on().await;
    world.tell(|| "the process has ended".to_owned());
    world.state().truth.drained();
    served
}

/// The order of a start: calls that still count, then every intent that was left open.
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
    {
        let now = world.now();
        let mut state = world.state();
        (state.life.live, state.life.store) = (Arc::downgrade(&accounts), Arc::downgrade(store));
        state.truth.started(now);
    }
    accounts.recall_calls(&world.terms.app.profile).await.unwrap();
    accounts
}

/// What the program does for accounts though nobody uses them: takes up what an earlier process left, and sees to what
/// falls due.
async fn look_after(world: Arc<World>, live: Arc<LiveAccounts>, store: Arc<FaultyStore>) {
    let app = &world.terms.app;
    let clock = Clock::told({
        let world = world.clone();
        move || world.now().moment
    });
    let (apps, quiet) = ([(app.name.clone(), app.clone())].into(), store.quiet());
    let accounts = Accounts::new(apps, live.clone(), Some(quiet.clone()), no_client(), clock);
    let taken_up = accounts.take_up().await;
    world.tell(|| format!("what was left is taken up: {taken_up:?}"));
    let look = async {
        loop {
            for account in &world.terms.accounts {
                if let Ok(Some(Stored::Whole(record))) = quiet.account(&account.id).await {
                    let due = agenda::due_by_record(&app.profile, &record);
                    live.agenda().note(&account.id, due, world.now().moment.wall);
                }
            }
            world.pass(LOOKING_AFTER).await;
        }
    };
    tokio::join!(look, accounts.keep_up());
}

/// The accounts are given a client for calls that no schedule makes.
fn no_client() -> TokenClient {
    static CLIENT: OnceLock<TokenClient> = OnceLock::new();
    let make = || TokenClient::new(marketgate::tls::client_config(None).unwrap(), None);
    CLIENT.get_or_init(make).clone()
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
    let usual = since + world.terms.lifetime * 5 + RECOVERY;
    let limit = || if world.state().truth.sellers[account].was_misjudged { since + MISJUDGED } else { usual };
    let mut last = String::new();
    while world.now().at < limit() {
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
        let is_known = matches!(published.state, AccountState::LoginRequired(_) | AccountState::Refused);
        if is_known && world.state().truth.is_over(account, world.now()) {
            return;
        }
        let is_slow = is_known || world.now().at > usual;
        let rest = if is_slow { Duration::from_secs(60) } else { world.terms.lifetime / 20 };
        world.pass(rest).await;
    }
    let now = world.now();
    let state = &mut *world.state();
    // Where many are refused together the program says so of the server, and of no grant.
    let seller = &state.truth.sellers[account];
    if seller.was_misjudged && seller.refusals.len() > 3 {
        return;
    }
    // A refresh token past its end counts too, though the server has not been asked with it since.
    let many = (0..state.truth.sellers.len()).filter(|seller| state.truth.is_over(*seller, now)).count() >= 3;
    if !(many && state.truth.is_over(account, now)) {
        state.truth.breach(format!("account {account} did not recover: {last}"));
    }
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
