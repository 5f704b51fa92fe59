//! What was asked and what came of it. The one rule: what breaks a law is a fault, by name; everything else is told.

use std::{collections::BTreeMap, time::Duration};

use super::{
    Plan,
    caller::Outcome,
    errand::{Errand, Kind},
    market::Seen,
};

/// What the callers heard.
#[derive(Clone, Debug, Default)]
pub(crate) struct Counts {
    pub(super) took: Duration,
    pub(super) speaks_h2: bool,
    outcomes: BTreeMap<(Kind, String), u64>,
    answered: u64,
    /// Errands within which nobody was to leave.
    untroubled: u64,
    over_h1: u64,
    over_h2: u64,
    /// Answers for another seller.
    mismatches: u64,
    /// Answers that ended as if whole and were not.
    truncated: u64,
    stuck: u64,
    /// Answers of ours that nothing here explains.
    unexplained: u64,
    bytes_down: u64,
}

impl Counts {
    pub(super) fn count(&mut self, errand: &Errand, over_h2: bool, outcome: &Outcome) {
        let label = match outcome {
            Outcome::Ended { status, is_whole, is_sellers, bytes } => {
                self.answered += 1;
                self.bytes_down += bytes;
                self.mismatches += u64::from(!is_sellers);
                self.truncated += u64::from(!is_whole);
                format!("{status}, {}", if *is_whole { "whole" } else { "NOT WHOLE" })
            }
            Outcome::Refused { status, code, detail } => {
                if is_unexplained(code) {
                    self.unexplained += 1;
                    eprintln!("nothing explains: {}: {status}, {detail}", errand.kind.label());
                }
                format!("{status}, {code}")
            }
            Outcome::Broken { status } => format!("{status}, cut"),
            Outcome::Left => "left".to_owned(),
            Outcome::NoAnswer => "connection cut".to_owned(),
            Outcome::Stuck => {
                self.stuck += 1;
                "STUCK".to_owned()
            }
        };
        self.untroubled += u64::from(errand.is_untroubled());
        *if over_h2 { &mut self.over_h2 } else { &mut self.over_h1 } += 1;
        *self.outcomes.entry((errand.kind, label)).or_default() += 1;
    }
}

impl Counts {
    /// A cut connection takes other errands with it, so some may end without their answer; not many.
    fn in_vain(&self) -> u64 {
        (self.untroubled - self.answered).saturating_sub(self.untroubled / 10)
    }
}

/// Tokens are there, and so are connections; what remains is the marketplace that breaks off.
fn is_unexplained(code: &str) -> bool {
    !matches!(code, "the marketplace's" | "upstream_broken")
}

/// All of it.
pub(crate) struct Report {
    pub(super) plan: Plan,
    pub(super) counts: Counts,
    pub(super) seen: Seen,
    /// The program's own.
    pub(super) metrics: String,
    pub(super) ended_well: bool,
    /// Sellers who are worse off, and why.
    pub(super) lost: Vec<String>,
    pub(super) rotations: u64,
}

impl Report {
    /// What must be zero.
    pub(crate) fn faults(&self) -> [(&'static str, u64); 11] {
        let (counts, seen) = (&self.counts, &self.seen);
        [
            ("requests with another seller's token", seen.mismatches),
            ("answers for another seller", counts.mismatches),
            ("requests without a credential of ours", seen.without_credential),
            ("truncated uploads taken for whole", seen.truncated_uploads),
            ("truncated downloads taken for whole", counts.truncated),
            ("requests carried out twice that are not idempotent", seen.carried_out_twice),
            ("sellers whose refresh token is lost", self.lost.len() as u64),
            ("errands stuck", counts.stuck),
            ("answers that nothing explains", counts.unexplained),
            ("untroubled errands in vain, beyond one in ten", counts.in_vain()),
            ("sorts of load that were missing", self.missing()),
        ]
    }

    pub(crate) fn is_clean(&self) -> bool {
        self.ended_well && self.faults().iter().all(|(_, count)| *count == 0)
    }

    /// How many sorts of load there should have been, and were not. A run of less than eight seconds has no revocations.
    fn missing(&self) -> u64 {
        let seen = &self.seen;
        let sorts = [
            seen.over_h1,
            seen.over_h2,
            seen.repeated,
            seen.broken_uploads,
            seen.whole_uploads,
            self.rotations,
        ];
        sorts.iter().filter(|count| **count == 0).count() as u64
    }

    pub(crate) fn print(&self) {
        let (counts, seen) = (&self.counts, &self.seen);
        let asked: u64 = counts.outcomes.values().sum();
        let seconds = counts.took.as_secs_f64();
        println!("| asked | what came of it | times |\n|---|---|---|");
        for ((kind, label), times) in &counts.outcomes {
            println!("| {} | {label} | {times} |", kind.label());
        }
        let callers = match counts.speaks_h2 {
            true => format!("{} over HTTP/1.1, {} over HTTP/2", counts.over_h1, counts.over_h2),
            false => format!("{} over HTTP/1.1; the door speaks no HTTP/2", counts.over_h1),
        };
        println!(
            "\n{asked} errands of {} sellers in {seconds:.0} s ({:.0} a second), {} of the {} untroubled answered whole; {callers}",
            self.plan.accounts,
            asked as f64 / seconds,
            counts.answered,
            counts.untroubled,
        );
        println!(
            "upstream: {} over HTTP/1.1 on {} connections, {} over HTTP/2 on {}; {} connections cut; {} refused with 401, \
             {} of these repeated with a fresh token",
            seen.over_h1,
            seen.connections_h1,
            seen.over_h2,
            seen.connections_h2,
            seen.connections_broken,
            seen.refused,
            seen.repeated,
        );
        println!(
            "bodies: {} uploads whole, {} broken off; {:.0} MiB up, {:.0} MiB down; {} refresh tokens rotated",
            seen.whole_uploads,
            seen.broken_uploads,
            mib(seen.bytes_up),
            mib(counts.bytes_down),
            self.rotations,
        );
        for line in self.metrics.lines().filter(|line| line.starts_with("marketgate_replays_total")) {
            println!("{line}");
        }
        println!("\n| must be zero | |\n|---|---|");
        self.faults().iter().for_each(|(what, count)| println!("| {what} | {count} |"));
        self.lost.iter().for_each(|lost| println!("LOST: {lost}"));
        println!("\nended on SIGTERM: {}", if self.ended_well { "in order" } else { "NOT in order" });
    }
}

fn mib(bytes: u64) -> f64 {
    bytes as f64 / (1 << 20) as f64
}
