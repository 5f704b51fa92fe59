//! What one request costs, here and in what one would use instead: nginx, HAProxy and Envoy where they are installed.
//!
//! `cargo bench --bench peers` starts a TLS upstream in this process, then the proxies on a core of their own, loads
//! them by turns, and reads their CPU time from the operating system. It prints the Markdown table of
//! `docs/performance.md`. Every proxy sets an `Authorization` header, strips a path prefix and verifies the upstream's
//! certificate; ours and Envoy's get the token by client credentials. Linux only.
//!
//! `--flat` measures something else with the same upstream and load: whether a request costs the same however many accounts
//! the store holds (see [`flat`]). `MARKETGATE_OTHER` names the program to measure, `--most N` the most accounts.
//!
//! Flags: `--program FILE` (in place of the build at hand), `--rounds N`, `--seconds N` (of each measurement), `--only NAME,NAME` (see [`proxies::ALL`]), `--quick`.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a bench that cannot go on has failed")]
#![allow(missing_docs, reason = "a bench is no library")]

mod flat;
mod load;
mod measure;
mod process;
mod proxies;
mod report;
mod upstream;

use std::time::Duration;

use crate::{
    proxies::{Proxy, Running},
    report::Report,
    upstream::Upstream,
};

/// What to do.
pub(crate) struct Plan {
    pub(crate) rounds: usize,
    pub(crate) seconds: Duration,
    only: Option<Vec<String>>,
    /// Only CPU per request.
    pub(crate) quick: bool,
    /// Only cost over the number of accounts, up to so many.
    flat: bool,
    pub(crate) most: usize,
}

impl Plan {
    fn read() -> Self {
        let flat = std::env::args().any(|argument| argument == "--flat");
        let (rounds, seconds) = if flat { (3, 2) } else { (5, 4) };
        let seconds = Duration::from_secs(seconds);
        let mut plan = Self { rounds, seconds, only: None, quick: false, flat, most: usize::MAX };
        let mut arguments = std::env::args().skip(1).filter(|argument| argument != "--bench");
        while let Some(name) = arguments.next() {
            let mut value = || arguments.next().expect("a value after the flag");
            match name.as_str() {
                "--flat" => {}
                "--most" => plan.most = value().parse().expect("a number of accounts"),
                "--quick" => plan.quick = true,
                // Read in `proxies`.
                "--program" => drop(value()),
                "--rounds" => plan.rounds = value().parse().expect("a number of rounds"),
                "--seconds" => plan.seconds = Duration::from_secs(value().parse().expect("seconds")),
                "--only" => plan.only = Some(value().split(',').map(str::to_owned).collect()),
                other => panic!("no such flag: {other}"),
            }
        }
        plan
    }

    fn wants(&self, name: &str) -> bool {
        self.only.as_ref().is_none_or(|only| only.iter().any(|wanted| wanted == name))
    }
}

fn main() {
    // `cargo test --benches` only asks whether it still compiles and starts.
    if !std::env::args().any(|argument| argument == "--bench") {
        return;
    }
    let plan = Plan::read();
    let upstream = Upstream::start();
    if plan.flat {
        return flat::measure(&upstream, &plan);
    }
    let wanted = proxies::ALL.iter().filter(|proxy| plan.wants(proxy.name));
    let (present, absent): (Vec<&Proxy>, Vec<&Proxy>) = wanted.partition(|proxy| proxy.is_installed());
    for proxy in absent {
        eprintln!("{} is not installed and left out", proxy.name);
    }
    let mut report = Report::new(&present);
    let floor = measure::direct(&upstream, &plan);
    for round in 0..plan.rounds {
        let running: Vec<Running> = present.iter().map(|proxy| proxy.start(&upstream)).collect();
        let seen = measure::small_requests(&running, &plan);
        for ((proxy, running), seen) in present.iter().zip(running).zip(seen) {
            let measured = seen.complete(&running, &plan);
            eprintln!("round {} {}: {measured}", round + 1, proxy.name);
            report.add(proxy, measured);
        }
    }
    report.print(floor);
}
