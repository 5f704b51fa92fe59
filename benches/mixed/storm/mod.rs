//! The mixed load, told in order. The one rule: whatever goes wrong on purpose, what is counted as a fault never may.
//!
//! `sellers` are connected at the simulated marketplaces, which issue and revoke their tokens; `market` is the API they are
//! for, and asks the simulator's books whose a token is; `errand` is one thing a caller wants, and what came of it; `caller`
//! runs errands; `body` is the pattern by which both ends know that a body is whole; `report` counts.

mod body;
mod caller;
mod errand;
mod market;
mod program;
mod report;
mod sellers;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use rand::{SeedableRng, rngs::StdRng};
use tokio::{sync::Mutex, task::JoinSet};
use tokio_util::sync::CancellationToken;

use self::{
    caller::{Callers, Door},
    market::Market,
    program::Program,
    report::Counts,
    sellers::Sellers,
};
pub(crate) use report::Report;

/// What to do.
#[derive(Clone)]
pub(crate) struct Plan {
    pub(crate) seconds: u64,
    pub(crate) accounts: usize,
    /// Errands under way at once.
    pub(crate) callers: usize,
    pub(crate) seed: u64,
    /// The program to load.
    pub(crate) program: String,
}

impl Plan {
    pub(crate) fn of(program: &str) -> Self {
        Self { seconds: 60, accounts: 200, callers: 48, seed: 1, program: program.to_owned() }
    }
}

/// Starts the program before a marketplace, loads it, stops it, and looks at what is left.
pub(crate) fn rage(plan: &Plan) -> Report {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let sellers = Arc::new(Sellers::connect(plan).await);
        let market = Market::open(&sellers);
        let program = Program::start(plan, &sellers, &market).await;
        let counts = load(plan, &program, &sellers, &market).await;
        let metrics = program.metrics().await;
        let ended_well = program.stop().await;
        let lost = sellers.lost().await;
        let (seen, rotations) = (market.seen(), sellers.rotations());
        Report { plan: plan.clone(), counts, seen, metrics, ended_well, lost, rotations }
    })
}

async fn load(plan: &Plan, program: &Program, sellers: &Arc<Sellers>, market: &Market) -> Counts {
    let (counts, stop) = (Arc::new(Mutex::new(Counts::default())), CancellationToken::new());
    let door = Door::find(program.proxy).await;
    let begun = Instant::now();
    let mut unrest = JoinSet::new();
    unrest.spawn(sellers.clone().revoke_now_and_then(begun));
    unrest.spawn(market.clone().break_connections_now_and_then(StdRng::seed_from_u64(plan.seed)));
    let callers = Callers::begin(plan, &door, sellers, &counts, &stop);
    tokio::time::sleep(Duration::from_secs(plan.seconds)).await;
    stop.cancel();
    callers.end().await;
    unrest.shutdown().await;
    let mut counts = counts.lock().await.clone();
    (counts.took, counts.speaks_h2) = (begun.elapsed(), door.speaks_h2);
    counts
}
