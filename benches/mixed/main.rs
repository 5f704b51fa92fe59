//! Everything at once: two hundred sellers whose tokens end every two seconds or are revoked, small and large bodies in both
//! directions, callers who hang up and a marketplace that breaks off, over HTTP/1.1 and HTTP/2; and no seller may get
//! another's token, no request leave without one, no part of a body pass for the whole, and no refresh token be lost.
//!
//! `cargo bench --bench mixed -- --seconds 60 --accounts 200 --seed 1` prints what was asked and what came of it, and the exit
//! code is 1 if one of these laws was broken. `--program FILE` takes another build of the program.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a harness that cannot go on has failed")]
#![allow(missing_docs, reason = "a harness is no library")]

mod storm;

use storm::Plan;

fn main() {
    // `cargo test --benches` only asks whether it still compiles and starts.
    if !std::env::args().any(|argument| argument == "--bench") {
        return;
    }
    let report = storm::rage(&read());
    report.print();
    std::process::exit(i32::from(!report.is_clean()));
}

fn read() -> Plan {
    let mut plan = Plan::of(env!("CARGO_BIN_EXE_marketgate"));
    let mut arguments = std::env::args().skip(1).filter(|argument| argument != "--bench");
    while let Some(name) = arguments.next() {
        let text = arguments.next().expect("a value after each flag");
        if name == "--program" {
            plan.program = text;
            continue;
        }
        let value: u64 = text.parse().expect("a number after each flag");
        match name.as_str() {
            "--seconds" => plan.seconds = value,
            "--accounts" => plan.accounts = usize::try_from(value).unwrap(),
            "--callers" => plan.callers = usize::try_from(value).unwrap(),
            "--seed" => plan.seed = value,
            other => panic!("no such flag: {other}"),
        }
    }
    plan
}
