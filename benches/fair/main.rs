//! What an ordinary caller notices while others misbehave: here, and in nginx and HAProxy where they are installed.
//!
//! `cargo bench --bench fair` starts the upstream and the proxies of the bench `peers`. Beside each attack eight callers ask
//! for a small answer again and again, each 10 ms after the one before. Their latency, their failures and the proxy's memory
//! are printed as a Markdown table, with the slowest answer of `/livez` for Marketgate. The attackers use an account of their
//! own of the same marketplace. Linux only; load and upstream have the first core, the proxy the last one.
//!
//! Flags: `--program FILE` (in place of the build at hand), `--seconds N` (of each measurement), `--only NAME,NAME` (proxies, see
//! `../peers/proxies.rs`), `--attacks NAME,NAME` (see [`attacks::ALL`]).

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a bench that cannot go on has failed")]
#![allow(missing_docs, reason = "a bench is no library")]

mod attacks;
mod healthy;
#[allow(dead_code, reason = "shared with another bench, which uses more of it")]
#[path = "../peers/load.rs"]
mod load;
#[allow(dead_code, reason = "shared with another bench, which uses more of it")]
#[path = "../peers/process.rs"]
mod process;
#[allow(dead_code, reason = "shared with another bench, which uses more of it")]
#[path = "../peers/proxies.rs"]
mod proxies;
#[allow(dead_code, reason = "shared with another bench, which uses more of it")]
#[path = "../peers/upstream.rs"]
mod upstream;

use std::time::Duration;

use crate::{
    attacks::Attack,
    proxies::{Proxy, Running},
    upstream::Upstream,
};

/// What is left out unless it is asked for.
const UNUSUAL: [&str; 3] = ["envoy", "other", "other-h2"];

struct Plan {
    seconds: Duration,
    only: Option<Vec<String>>,
    attacks: Option<Vec<String>>,
}

impl Plan {
    fn read() -> Self {
        let mut plan = Self { seconds: Duration::from_secs(5), only: None, attacks: None };
        let mut arguments = std::env::args().skip(1).filter(|argument| argument != "--bench");
        while let Some(name) = arguments.next() {
            let value = arguments.next().expect("a value after the flag");
            let list = || Some(value.split(',').map(str::to_owned).collect());
            match name.as_str() {
                // Read in `proxies`.
                "--program" => {}
                "--seconds" => plan.seconds = Duration::from_secs(value.parse().expect("seconds")),
                "--only" => plan.only = list(),
                "--attacks" => plan.attacks = list(),
                other => panic!("no such flag: {other}"),
            }
        }
        plan
    }

    fn wants(&self, proxy: &Proxy) -> bool {
        let usual = !UNUSUAL.contains(&proxy.name);
        self.only.as_ref().map_or(usual, |only| only.iter().any(|wanted| wanted == proxy.name))
            && proxy.is_installed()
    }

    fn wants_attack(&self, attack: &Attack) -> bool {
        self.attacks.as_ref().is_none_or(|wanted| wanted.iter().any(|name| name == attack.name))
    }
}

fn main() {
    // `cargo test --benches` only asks whether it still compiles and starts.
    if !std::env::args().any(|argument| argument == "--bench") {
        return;
    }
    let plan = Plan::read();
    raise_descriptor_limit();
    let upstream = Upstream::start();
    load::keep_to_first_core();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    println!("| Proxy | Beside it | p50 ms | p99 ms | failed | more memory | after it | slowest `/livez` |");
    println!("|---|---|---|---|---|---|---|---|");
    for proxy in proxies::ALL.iter().filter(|proxy| plan.wants(proxy)) {
        for attack in attacks::ALL.iter().filter(|attack| plan.wants_attack(attack)) {
            // One that the attack before has harmed would tell of that.
            let running = proxy.start(&upstream);
            let line = tokio::task::LocalSet::new()
                .block_on(&runtime, measure(proxy, &running, attack, plan.seconds));
            println!("{line}");
        }
    }
}

async fn measure(proxy: &Proxy, running: &Running, attack: &'static Attack, time: Duration) -> String {
    healthy::ask_for(running, Duration::from_secs(1)).await;
    let before = running.process.resident();
    let attackers = attack.begin(running).await;
    let seen = healthy::ask_for(running, time).await;
    let during = running.process.resident();
    drop(attackers);
    healthy::ask_for(running, Duration::from_secs(2)).await;
    let mib = |bytes: f64| (bytes - before).max(0.0) / f64::from(1 << 20);
    let livez = seen.livez.map_or_else(|| "–".to_owned(), |slowest| format!("{} ms", slowest.as_millis()));
    format!(
        "| {} | {} | {:.1} | {:.1} | {} of {} | {:.0} MiB | {:.0} MiB | {livez} |",
        proxy.title,
        attack.title,
        seen.at(50),
        seen.at(99),
        seen.failed,
        seen.asked(),
        mib(during),
        mib(running.process.resident()),
    )
}

/// Thousands of connections need as many descriptors here as there.
fn raise_descriptor_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let most = getrlimit(Resource::Nofile).maximum;
    setrlimit(Resource::Nofile, Rlimit { current: most, maximum: most }).unwrap();
}
