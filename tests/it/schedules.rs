//! Keepers, store and token endpoint driven from a seed, with something going wrong at every step. The one rule: whatever
//! happens, the laws of the grant hold; a schedule that breaks one is named, and its name runs it again.
//!
//! `SCHEDULES=100000 cargo test --test it schedules:: -- --nocapture` runs more of them.
//! `SCHEDULE=strict:4711:crash-after@17 cargo test --test it schedules::replay -- --nocapture` runs one, and tells its story.

mod callers;
mod dice;
mod family;
mod fault;
mod figures;
mod garbage;
mod kept;
mod life;
mod login;
mod run;
mod server;
mod showings;
mod store;
mod terms;
mod truth;
mod world;

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    thread,
    time::Instant,
};

use fault::{Course, Manner, Schedule};
use figures::Figures;
use run::{Outcome, run, systematically};

/// How many schedules are run unless the environment says otherwise.
const USUALLY: u64 = 2_000;

#[test]
fn whatever_goes_wrong_and_whenever_the_laws_of_the_grant_hold() {
    let wanted = std::env::var("SCHEDULES").map_or(USUALLY, |count| count.parse().unwrap());
    let started = Instant::now();
    let (figures, broken) = run_all(wanted);
    let took = started.elapsed().as_secs_f64();
    println!("{figures}\n{took:.1} s, {:.0} schedules/s", figures.schedules as f64 / took);
    for (schedule, law) in broken.iter().take(10) {
        println!("{law}\n    SCHEDULE={schedule} cargo test --test it schedules::replay -- --nocapture");
    }
    assert!(broken.is_empty(), "{} schedules broke a law; the first few are above", broken.len());
    assert!(figures.schedules >= wanted);
}

fn run_all(wanted: u64) -> (Figures, Vec<(Schedule, String)>) {
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let (next, done) = (AtomicU64::new(0), AtomicU64::new(0));
    let work = || {
        let mut figures = Figures::default();
        let mut broken = Vec::new();
        while done.load(Relaxed) < wanted {
            for outcome in seeded(next.fetch_add(1, Relaxed)) {
                figures.add(&outcome.figures);
                broken.extend(outcome.broken.map(|law| (outcome.schedule, law)));
                if done.fetch_add(1, Relaxed) + 1 >= wanted {
                    break;
                }
            }
        }
        (figures, broken)
    };
    thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        let mut all = (Figures::default(), Vec::new());
        for worker in workers {
            let (figures, broken) = worker.join().unwrap();
            all.0.add(&figures);
            all.1.extend(broken);
        }
        all
    })
}

/// So many of the schedules of one seed in which one thing goes wrong are run: then a few thousand schedules meet servers of
/// every manner.
const OF_EACH: usize = 100;

/// The schedules of one seed: its calm course, then what can go wrong at one step after the other, with as much at the
/// dice's will in between.
fn seeded(seed: u64) -> impl Iterator<Item = Outcome> {
    let manner = Manner::numbered(seed);
    let calm = run(Schedule { manner, seed, course: Course::Calm }, false);
    let chaos = move |number: u64| {
        let manner = Manner::numbered(number);
        Schedule { manner, seed: seed * 1_000_000 + number, course: Course::Chaos }
    };
    let courses = systematically(&calm);
    let stride = (courses.len() / OF_EACH).max(1);
    let first = usize::try_from(seed).unwrap_or_default() % stride;
    let ordered = courses.into_iter().skip(first).step_by(stride).enumerate();
    let schedules = ordered.flat_map(move |(number, schedule)| [schedule, chaos(number as u64)]);
    std::iter::once(calm).chain(schedules.map(|schedule| run(schedule, false)))
}

#[test]
fn a_schedule_takes_the_same_course_each_time() {
    for seed in 0..20 {
        let manner = Manner::numbered(seed);
        let schedule = Schedule { manner, seed, course: Course::Chaos };
        let (first, second) = (run(schedule, true), run(schedule, true));
        assert!(first.trace.len() > 20, "{schedule} tells nothing");
        assert_eq!(first.trace, second.trace, "{schedule}");
        assert_eq!(schedule.to_string().parse(), Ok(schedule));
    }
}

#[test]
fn replay() {
    let Ok(name) = std::env::var("SCHEDULE") else { return };
    let outcome = run(name.parse().unwrap(), true);
    for line in &outcome.trace {
        println!("{line}");
    }
    println!("{}", outcome.figures);
    assert_eq!(outcome.broken, None, "{name}");
}
