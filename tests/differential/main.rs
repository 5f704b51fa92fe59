//! The same requests to real servers, directly and through Marketgate: nginx, Apache httpd, lighttpd, Node and gunicorn.
//! The one rule: a difference that docs/http.md does not foretell is a failure, printed with both exchanges.
//!
//! ```sh
//! cargo test --test differential                                  # 1,000 requests, to the servers that are installed
//! DIFFERENTIAL_REQUESTS=20000 DIFFERENTIAL_SEED=7 cargo test --test differential -- --nocapture
//! DIFFERENTIAL_SEED=7 DIFFERENTIAL_CASE=nginx/123 cargo test --test differential -- --nocapture
//! ```
//!
//! With `CI=true` all servers must be installed. `DIFFERENTIAL_PROGRAM` names another program than the one just built.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on has failed")]

mod application;
mod certificate;
mod compare;
mod conversation;
mod dice;
mod echo;
mod exchange;
mod files;
mod gate;
mod generator;
mod policy;
mod process;
mod report;
mod request;
mod response;
mod servers;

use std::{env, thread};

use crate::{
    certificate::Certificate,
    conversation::Talk,
    gate::Gate,
    generator::{Site, conversation},
    report::Report,
    request::Way,
    servers::{RECIPES, Recipe, Server},
};

/// How many unexplained differences of one server are enough to stop.
const ENOUGH: usize = 5;

/// What to do.
#[derive(Debug, Clone)]
struct Plan {
    requests: u64,
    seed: u64,
    /// One conversation alone: the server's name and its number.
    case: Option<(String, u64)>,
}

impl Plan {
    fn read() -> Self {
        let number = |name: &str| env::var(name).ok().map(|text| text.parse().expect("a number"));
        let case = env::var("DIFFERENTIAL_CASE").ok();
        let case = case.map(|case| {
            let (server, number) = case.split_once('/').expect("SERVER/NUMBER");
            (server.to_owned(), number.parse().expect("SERVER/NUMBER"))
        });
        let requests = number("DIFFERENTIAL_REQUESTS").unwrap_or(1000);
        Self { requests, seed: number("DIFFERENTIAL_SEED").unwrap_or(1), case }
    }

    /// The numbers of the conversations to hold with a server.
    fn numbers(&self, server: &str) -> std::ops::Range<u64> {
        match &self.case {
            None => 0..u64::MAX,
            Some((name, number)) if name == server => *number..number + 1,
            Some(_) => 0..0,
        }
    }
}

#[test]
fn every_difference_to_a_real_server_is_a_documented_one() {
    let (plan, certificate) = (Plan::read(), Certificate::new());
    let servers: Vec<Server> = installed(&plan).map(|recipe| recipe.start(&certificate)).collect();
    if servers.is_empty() {
        eprintln!("skipped: none of the servers is installed");
        return;
    }
    let mut gate = Gate::start(&servers, &certificate);
    let share = plan.requests.div_ceil(servers.len() as u64);
    let reports: Vec<Report> = thread::scope(|scope| {
        let talks: Vec<_> = servers
            .iter()
            .zip(&gate.ways)
            .map(|(server, way)| scope.spawn(|| talk(&plan, server, way, share)))
            .collect();
        talks.into_iter().map(|talk| talk.join().unwrap()).collect()
    });
    assert!(gate.process.lives(), "the program ended: {}", gate.process.said());
    report::conclude(
        &reports,
        plan.seed,
        plan.case.is_none() && plan.requests >= 10_000 && servers.len() == RECIPES.len(),
    );
}

fn installed(plan: &Plan) -> impl Iterator<Item = &'static Recipe> {
    let case = plan.case.clone();
    let wanted = RECIPES.iter().filter(move |r| case.as_ref().is_none_or(|(name, _)| name == r.name));
    wanted.filter(|recipe| match recipe.missing() {
        None => true,
        Some(why) => {
            assert!(env::var("CI").as_deref() != Ok("true"), "{}: {why}", recipe.name);
            eprintln!("{} is left out: {why}", recipe.name);
            false
        }
    })
}

fn site(server: &Server) -> Site {
    let Recipe { name, base, own_pages, methods, has_extras, has_files, is_secured, conditions, .. } =
        *server.recipe;
    let files = if has_files { files::facts(server.address) } else { Vec::new() };
    let api = format!("{}{base}", server.origin);
    Site { name, api, base, files, conditions, own_pages, methods, is_http2: is_secured, has_extras }
}

/// Conversations with one server until its share of requests is done.
fn talk(plan: &Plan, server: &Server, way: &Way, share: u64) -> Report {
    let (site, mut talk) = (site(server), Talk::new(way));
    let mut report = Report::new(site.name);
    for number in plan.numbers(site.name) {
        if report.requests >= share || report.unexplained.len() >= ENOUGH {
            break;
        }
        let turns = conversation(&site, plan.seed, number);
        report.add(number, talk.hold(&turns));
    }
    report
}
