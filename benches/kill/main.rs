//! What `kill -9` costs: the program is killed at random moments while it refreshes the tokens of many sellers all the
//! time, started again, and every seller is looked at. The simulated marketplaces run in this process and survive.
//!
//! `cargo bench --bench kill -- --cycles 60 --lifetime 2 --grace 0` prints one line of a table. A seller may be lost only
//! to a server without grace, only if the kill fell between the server's rotation and our durable write, and must then be
//! told so by name. Anything else is a failure, and the exit code is 1.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a harness that cannot go on has failed")]
#![allow(missing_docs, reason = "a harness is no library")]

mod census;
mod load;
mod program;
mod report;
mod sellers;

use std::time::{Duration, Instant};

use rand::{RngExt, SeedableRng, rngs::StdRng};

use crate::{census::Census, load::Load, program::Program, report::Report, sellers::Sellers};

/// What to do.
pub(crate) struct Plan {
    cycles: u32,
    accounts: u32,
    /// Seconds that access tokens live.
    lifetime: u64,
    /// Seconds for which the server forgives a refresh token shown again; 0: it ends the grant.
    grace: u64,
    seed: u64,
    /// The program to kill.
    program: String,
}

impl Plan {
    fn read() -> Self {
        let program = env!("CARGO_BIN_EXE_marketgate").to_owned();
        let mut plan = Self { cycles: 60, accounts: 50, lifetime: 2, grace: 0, seed: 1, program };
        let mut arguments = std::env::args().skip(1).filter(|argument| argument != "--bench");
        while let Some(name) = arguments.next() {
            let text = arguments.next().expect("a value after each flag");
            if name == "--program" {
                plan.program = text;
                continue;
            }
            let value: u64 = text.parse().expect("a number after each flag");
            match name.as_str() {
                "--cycles" => plan.cycles = u32::try_from(value).unwrap(),
                "--accounts" => plan.accounts = u32::try_from(value).unwrap(),
                "--lifetime" => plan.lifetime = value,
                "--grace" => plan.grace = value,
                "--seed" => plan.seed = value,
                other => panic!("no such flag: {other}"),
            }
        }
        plan
    }
}

fn main() {
    // `cargo test --benches` only asks whether it still compiles and starts.
    if !std::env::args().any(|argument| argument == "--bench") {
        return;
    }
    let plan = Plan::read();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let clean = runtime.block_on(run(&plan));
    std::process::exit(i32::from(!clean));
}

async fn run(plan: &Plan) -> bool {
    let mut dice = StdRng::seed_from_u64(plan.seed);
    let mut report = Report::default();
    let begun = Instant::now();
    let sellers = Sellers::connect(plan).await;
    let mut census = Census::default();
    for cycle in 1..=plan.cycles {
        let program = Program::start(&plan.program, &sellers, &mut report).await;
        let load = Load::begin(&sellers, program.proxy());
        tokio::time::sleep(Duration::from_millis(dice.random_range(1..500))).await;
        report.windows(&program.metrics().await);
        program.kill();
        report.heard(load.end().await);
        tokio::time::sleep(census::SETTLES).await;
        census.take(&sellers, &mut report).await;
        if plan.lifetime >= 60 {
            sellers.let_tokens_end(&mut dice).await;
        }
        if cycle % 100 == 0 {
            eprintln!(
                "{cycle} cycles, {} lost inside the window, {} failures",
                report.inside,
                report.failures()
            );
        }
    }
    census.settle(plan, &sellers, &mut report).await;
    report.print(plan, &sellers, begun.elapsed());
    // A server that forgives leaves no excuse.
    report.failures() == 0 && (plan.grace == 0 || report.inside == 0)
}
