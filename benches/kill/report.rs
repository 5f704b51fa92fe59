//! What was seen, in one line of a table.

use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

use marketgate::sim::Family;

use crate::{Plan, load::Heard, sellers::Sellers};

/// Counts.
#[derive(Default)]
pub(crate) struct Report {
    /// Kills that fell between a rotation at the server and our durable write.
    hits: u64,
    /// Of these, sellers whom the server's grace brought back.
    healed: u64,
    /// Of these, sellers lost and told so.
    pub(crate) inside: u64,
    reuses: u64,
    served: u64,
    refused: BTreeMap<String, u64>,
    faults: Vec<String>,
    starts: Vec<Duration>,
    /// Cumulative counts of the window's histogram by upper bound, over all lives.
    buckets: BTreeMap<u64, u64>,
}

impl Report {
    pub(crate) fn started(&mut self, took: Duration) {
        self.starts.push(took);
    }

    pub(crate) fn in_window(&mut self, first: bool) {
        self.hits += u64::from(first);
    }

    pub(crate) fn healed(&mut self, was_open: bool) {
        self.healed += u64::from(was_open);
    }

    pub(crate) fn lost_inside(&mut self, family: &Family) {
        self.inside += 1;
        self.reuses = self.reuses.max(family.reuse_attempts);
    }

    pub(crate) fn fail(&mut self, why: String) {
        eprintln!("FAILED: {why}");
        self.faults.push(why);
    }

    pub(crate) fn failures(&self) -> usize {
        self.faults.len()
    }

    pub(crate) fn heard(&mut self, heard: HashMap<String, Heard>) {
        for (name, heard) in heard {
            self.served += heard.served;
            if heard.mixed > 0 {
                self.fail(format!("{name}: {} answers of another seller", heard.mixed));
            }
            for (code, times) in heard.refused {
                *self.refused.entry(code).or_default() += times;
            }
        }
    }

    /// Adds the histogram of one life: how long from a token answer to the durable record.
    pub(crate) fn windows(&mut self, metrics: &str) {
        for line in metrics.lines().filter(|line| line.contains("rotation_store_duration_seconds_bucket")) {
            let bound = line.split("le=\"").nth(1).and_then(|rest| rest.split('"').next());
            let count = line.rsplit(' ').next().and_then(|count| count.parse::<u64>().ok());
            if let (Some(bound), Some(count)) = (bound.and_then(|bound| bound.parse::<f64>().ok()), count) {
                let bound = if bound.is_finite() { (bound * 1e6) as u64 } else { u64::MAX };
                *self.buckets.entry(bound).or_default() += count;
            }
        }
    }

    /// The smallest bound that holds this part of all windows.
    fn window(&self, part: f64) -> String {
        let all = self.buckets.get(&u64::MAX).copied().unwrap_or_default();
        let enough = |(_, count): &(&u64, &u64)| **count as f64 >= part * all as f64;
        match self.buckets.iter().find(enough) {
            Some((&bound, _)) if bound < u64::MAX => format!("≤ {:.1} ms", bound as f64 / 1000.0),
            _ => "?".to_owned(),
        }
    }

    pub(crate) fn print(&mut self, plan: &Plan, sellers: &Sellers, took: Duration) {
        self.starts.sort();
        let rotations: u64 = sellers.simulator.families().iter().map(|family| family.rotations).sum();
        let families = sellers.simulator.families();
        let most_reuses = families.iter().map(|family| family.reuse_attempts).max().unwrap_or_default();
        let server = if plan.grace == 0 { "strict".to_owned() } else { format!("grace {} s", plan.grace) };
        println!(
            "| server | token life | cycles | rotations | kills inside a window | healed | lost inside | lost outside | \
             most re-uses in one grant | window p50 | p99 | longest | start |\n\
             |---|---|---|---|---|---|---|---|---|---|---|---|---|\n\
             | {server} | {} s | {} | {rotations} | {} | {} | {} | {} | {} | {} | {} | {} | {:.0} ms |",
            plan.lifetime,
            plan.cycles,
            self.hits,
            self.healed,
            self.inside,
            self.failures(),
            most_reuses,
            self.window(0.5),
            self.window(0.99),
            self.window(1.0),
            self.starts[self.starts.len() / 2].as_secs_f64() * 1000.0,
        );
        eprintln!("{} answers served, refused: {:?}, {:.0} s", self.served, self.refused, took.as_secs_f64());
    }
}
