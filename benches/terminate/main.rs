//! What a signal costs: nothing, whichever it is and at whatever moment of a token call it comes. One program after another,
//! several at a time, is sent one or two in the middle of a rotation, each a little later than the one before, and then
//! started again: `run`, where in every other one the caller for whom the rotation was begun has hung up, and the commands
//! that serve the store themselves.
//!
//! `cargo bench --bench terminate -- --step 10` does so at every 10 ms of a call of two seconds, in the middle of which the
//! marketplace rotates. Each must end with its proper exit code, hold in its store the refresh token that the marketplace
//! would accept, and serve and refresh again after the next start without a login and without showing a refresh token twice.
//! Anything else is a failure, and the exit code is 1.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a harness that cannot go on has failed")]
#![allow(missing_docs, reason = "a harness is no library")]

mod moment;
mod program;
mod shop;
mod subject;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{sync::Semaphore, task::JoinSet};

use crate::{
    moment::Outcome,
    subject::{SIGNALS, SUBJECTS},
};

/// What to do.
pub(crate) struct Plan {
    /// Milliseconds between one moment and the next.
    step: u64,
    /// Milliseconds that a token call takes; the marketplace rotates in its middle.
    call: u64,
    /// How many programs at a time.
    at_once: usize,
    /// The program to stop.
    program: String,
}

impl Plan {
    fn read() -> Self {
        let program = env!("CARGO_BIN_EXE_marketgate").to_owned();
        let mut plan = Self { step: 10, call: 2000, at_once: 50, program };
        let mut arguments = std::env::args().skip(1).filter(|argument| argument != "--bench");
        while let Some(name) = arguments.next() {
            let text = arguments.next().expect("a value after each flag");
            if name == "--program" {
                plan.program = text;
                continue;
            }
            let value: u64 = text.parse().expect("a number after each flag");
            match name.as_str() {
                "--step" => plan.step = value.max(1),
                "--call" => plan.call = value,
                "--at-once" => plan.at_once = usize::try_from(value.max(1)).unwrap(),
                other => panic!("no such flag: {other}"),
            }
        }
        plan
    }

    fn moments(&self) -> impl Iterator<Item = Duration> {
        (0..=self.call / self.step).map(|number| Duration::from_millis(number * self.step))
    }
}

fn main() {
    // `cargo test --benches` only asks whether it still compiles and starts.
    if !std::env::args().any(|argument| argument == "--bench") {
        return;
    }
    let plan = Arc::new(Plan::read());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let clean = runtime.block_on(run(&plan));
    std::process::exit(i32::from(!clean));
}

async fn run(plan: &Arc<Plan>) -> bool {
    let (begun, places) = (Instant::now(), Arc::new(Semaphore::new(plan.at_once)));
    let mut moments = JoinSet::new();
    for (number, moment) in plan.moments().enumerate() {
        for (kind, subject) in SUBJECTS.into_iter().enumerate() {
            let (plan, places) = (plan.clone(), places.clone());
            let signals = SIGNALS[(number + kind) % SIGNALS.len()];
            moments.spawn(async move {
                let _place = places.acquire().await.unwrap();
                moment::stop_at(&plan, moment, subject, signals, number % 2 == 0).await
            });
        }
    }
    let outcomes = moments.join_all().await;
    report(&outcomes, begun.elapsed())
}

/// One line of a table; whether nothing failed.
fn report(outcomes: &[Outcome], took: Duration) -> bool {
    let failures: Vec<_> = outcomes.iter().filter(|outcome| !outcome.faults.is_empty()).collect();
    for failed in &failures {
        eprintln!(
            "FAILED: {:?}, {:?} {} ms into the call: {}",
            failed.subject,
            failed.signals,
            failed.moment.as_millis(),
            failed.faults.join("; ")
        );
    }
    let answered = outcomes.iter().filter(|outcome| outcome.answered).count();
    let before = outcomes.iter().filter(|outcome| !outcome.rotated_before).count();
    let slowest = outcomes.iter().map(|outcome| outcome.after_answer).max().unwrap_or_default();
    println!(
        "{} stopped: {before} before the rotation, {} after it; {answered} callers answered; slowest end {} ms after the \
         token answer; {} lost; {:.0} s",
        outcomes.len(),
        outcomes.len() - before,
        slowest.as_millis(),
        failures.len(),
        took.as_secs_f64()
    );
    failures.is_empty()
}
