//! What is said about a run. The rule: what failed can be had again with one line.

use std::collections::BTreeMap;

use crate::{
    conversation::{Outcome, Unexplained},
    exchange::Heard,
    policy::Rule,
    request::Written,
};

/// Longest part of an exchange that is printed, in bytes.
const LONGEST: usize = 4000;

/// What became of the conversations with one server.
pub(crate) struct Report {
    server: &'static str,
    pub(crate) requests: u64,
    conversations: u64,
    refused: u64,
    rules: BTreeMap<Rule, u64>,
    pub(crate) unexplained: Vec<(u64, Unexplained)>,
}

impl Report {
    pub(crate) fn new(server: &'static str) -> Self {
        let (rules, unexplained) = (BTreeMap::new(), Vec::new());
        Self { server, requests: 0, conversations: 0, refused: 0, rules, unexplained }
    }

    pub(crate) fn add(&mut self, number: u64, outcome: Outcome) {
        self.requests += outcome.requests;
        self.conversations += 1;
        self.refused += outcome.refused;
        for rule in outcome.rules {
            *self.rules.entry(rule).or_default() += 1;
        }
        self.unexplained.extend(outcome.unexplained.into_iter().map(|unexplained| (number, unexplained)));
    }
}

/// Prints what happened, and fails if anything was not foretold. `complete`: so much was asked that every rule must
/// have been needed; one that never is excuses nothing and should go.
pub(crate) fn conclude(reports: &[Report], seed: u64, complete: bool) {
    let mut rules: BTreeMap<Rule, u64> = BTreeMap::new();
    for Report { server, requests, conversations, refused, .. } in reports {
        eprintln!(
            "{server}: {requests} requests in {conversations} conversations, {refused} refused on purpose"
        );
    }
    for (rule, count) in reports.iter().flat_map(|report| &report.rules) {
        *rules.entry(*rule).or_default() += count;
    }
    let counts: Vec<String> = rules.iter().map(|(rule, count)| format!("{rule:?} {count}")).collect();
    eprintln!("seed {seed}; differences by rule: {}", counts.join(", "));
    for report in reports {
        report
            .unexplained
            .iter()
            .for_each(|(number, unexplained)| print(report.server, seed, *number, unexplained));
    }
    let unexplained: usize = reports.iter().map(|report| report.unexplained.len()).sum();
    assert_eq!(unexplained, 0, "differences that no rule foretells; see above");
    let unused: Vec<_> = Rule::ALL.into_iter().filter(|rule| !rules.contains_key(rule)).collect();
    assert!(!complete || unused.is_empty(), "rules that were never needed: {unused:?}");
}

fn print(server: &str, seed: u64, number: u64, unexplained: &Unexplained) {
    let Unexplained { what, direct, through } = unexplained;
    eprintln!("\n==== {server}/{number}: unexplained");
    what.iter().for_each(|difference| eprintln!("  {}", cut(difference)));
    eprintln!(
        "  again: DIFFERENTIAL_SEED={seed} DIFFERENTIAL_CASE={server}/{number} cargo test --test differential -- --nocapture"
    );
    match direct {
        Some((written, heard)) => print_exchange("directly", written, heard),
        None => eprintln!("---- not asked directly: to be refused"),
    }
    print_exchange("through the gate", &through.0, &through.1);
}

fn print_exchange(way: &str, written: &Written, heard: &Heard) {
    eprintln!("---- {way}, sent\n{}", lines(&[written.head.as_slice(), &written.body].concat()));
    eprintln!("---- {way}, came\n{}", lines(&heard.raw));
}

/// Bytes with a line for each of theirs, everything unprintable escaped.
fn lines(bytes: &[u8]) -> String {
    let text = bytes.escape_ascii().to_string().replace("\\r\\n", "\\r\\n\n");
    cut(&text)
}

fn cut(text: &str) -> String {
    match text.get(..LONGEST) {
        Some(beginning) => format!("{beginning} … {} characters in all", text.len()),
        None => text.to_owned(),
    }
}
