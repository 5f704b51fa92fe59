//! Runs one schedule from its first process to its last. The one rule: nothing in it depends on anything but its name.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use marketgate::store::{Grant, MemoryStore, Origin, Record, Standing, Store};

use super::{
    dice::{Dice, For},
    fault::{Course, Fault, Schedule, Step},
    figures::Figures,
    life::{End, live},
    store::FaultyStore,
    world::World,
};

/// More processes than any schedule needs: from then on nothing goes wrong.
const LIVES: u64 = 60;

/// What came of a schedule.
#[derive(Debug)]
pub(super) struct Outcome {
    pub(super) schedule: Schedule,
    pub(super) figures: Figures,
    /// The first law it broke.
    pub(super) broken: Option<String>,
    /// The steps at which something could go wrong.
    pub(super) steps: Vec<Step>,
    pub(super) trace: Vec<String>,
}

/// Runs a schedule; `traced`: taking down what happens.
pub(super) fn run(schedule: Schedule, traced: bool) -> Outcome {
    let world = Arc::new(World::new(schedule, traced));
    let mut image = consents(&world);
    loop {
        let store = Arc::new(FaultyStore::new(world.clone(), image));
        let (end, down) = one_life(&world, &store);
        image = store.image();
        if end == End::Over || world.state().truth.broken.is_some() {
            break;
        }
        if world.state().life.number >= LIVES {
            world.calm_down();
        }
        world.tell(|| format!("{end:?}; down for {} ms", down.as_millis()));
    }
    let trace = world.trace();
    let now = world.now().at;
    let mut state = world.state();
    state.truth.figures.schedules = 1;
    state.truth.figures.simulated = now;
    Outcome {
        schedule,
        figures: std::mem::take(&mut state.truth.figures),
        broken: state.truth.broken.take(),
        steps: std::mem::take(&mut state.steps),
        trace,
    }
}

fn one_life(world: &Arc<World>, store: &Arc<FaultyStore>) -> (End, Duration) {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    let lived = runtime.block_on(async {
        let end = live(world, store).await;
        let number = world.state().life.number;
        let mut dice = world.dice(For::Life, [number, 1, 0]);
        let down = if dice.percent(world.terms.long_ends) {
            dice.millis(20_000, 400_000)
        } else {
            dice.millis(100, 5_000)
        };
        let open = store.open().await;
        let now = world.now();
        world.end_life(down, end == End::Crashed && world.terms.reboots);
        world.state().truth.gone("crash", &open, now);
        (end, down)
    });
    // All that still ran in the process goes with it.
    drop(runtime);
    lived
}

/// The sellers consent, some of them just now.
fn consents(world: &World) -> MemoryStore {
    let store = MemoryStore::new();
    let now: SystemTime = world.now().moment.wall;
    let told = world.terms.end.filter(|end| end.is_told);
    for (number, account) in world.terms.accounts.iter().enumerate() {
        let token = marketgate::secret::Secret::new(format!("rt-{number}-0"));
        let record = Record {
            id: account.id.clone(),
            provider: world.terms.app.profile.provider.clone(),
            environment: world.terms.app.profile.environment.clone(),
            generation: 1,
            grant: Some(Grant::Refresh { token, obtained_at: now, ends_at: told.map(|end| now + end.after) }),
            standing: Standing::Active,
            token: None,
            identity: None,
            shared_seller: false,
            unrevoked: Vec::new(),
            settings: Default::default(),
            consented_at: Some(now),
            created_at: now,
            changed_at: now,
            notes: Default::default(),
            intent: None,
        };
        use futures_util::FutureExt;
        store.replace(record, Origin::Brought).now_or_never().unwrap().unwrap();
        world.state().truth.consent();
    }
    store
}

/// Every single thing that can go wrong at every step of a seed's calm course; and after what leaves doubt, a second one.
pub(super) fn systematically(calm: &Outcome) -> Vec<Schedule> {
    let mut courses = Vec::new();
    for (number, step) in calm.steps.iter().enumerate() {
        for fault in Fault::at(*step) {
            courses.push(Course::Single(*fault, number));
            if fault.leaves_doubt(*step) {
                let mut dice = Dice::of(calm.schedule.seed, For::Terms, [1, number as u64, *fault as u64]);
                courses.extend(Fault::WORSE.map(|second| {
                    let third = dice.percent(75).then(|| dice.pick(&Fault::FORGETTING));
                    Course::Chain(*fault, number, [Some(second), third])
                }));
            }
        }
    }
    courses.into_iter().map(|course| Schedule { course, ..calm.schedule }).collect()
}
