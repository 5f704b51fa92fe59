//! The table of a number of accounts against one account.

use super::{
    Seen,
    shop::{Protocol, Shop},
};
use crate::report::{median, spread};

/// Rounds of one protocol, each with what was seen of each shop.
type Rounds = Vec<Vec<Seen>>;

pub(crate) struct Table {
    /// Accounts in the store, and in use.
    rows: Vec<(usize, usize)>,
    h1: Rounds,
    h2: Rounds,
}

impl Table {
    pub(crate) fn new(shops: &[Shop]) -> Self {
        let rows = shops.iter().map(|shop| (shop.accounts, shop.live.len())).collect();
        Self { rows, h1: Vec::new(), h2: Vec::new() }
    }

    pub(crate) fn add(&mut self, protocol: Protocol, round: Vec<Seen>) {
        match protocol {
            Protocol::Http1 => self.h1.push(round),
            Protocol::Http2 => self.h2.push(round),
        }
    }

    pub(crate) fn print(&self) {
        println!(
            "| accounts | in use | HTTP/2, all in use by turns | × 1 account | HTTP/1.1, 64 of them | × 1 account | start | \
             memory HTTP/2 | memory HTTP/1.1 |\n|---|---|---|---|---|---|---|---|---|"
        );
        for (row, (accounts, used)) in self.rows.iter().enumerate() {
            let starts = self.h1.iter().chain(&self.h2).map(|round| round[row].start.as_secs_f64() * 1e3);
            println!(
                "| {accounts} | {used} | {} | {} | {:.0} ms (most {:.0}) | {:.1} MiB | {:.1} MiB |",
                cost(&self.h2, row),
                cost(&self.h1, row),
                median(starts.clone()),
                starts.fold(0.0, f64::max),
                memory(&self.h2, row),
                memory(&self.h1, row),
            );
        }
    }
}

/// CPU per request, and against one account's.
fn cost(rounds: &Rounds, row: usize) -> String {
    let cpu = median(rounds.iter().map(|round| round[row].cpu));
    let ratios = rounds.iter().map(|round| round[row].cpu / round[0].cpu);
    format!("{cpu:.1} µs | {}", spread(ratios))
}

fn memory(rounds: &Rounds, row: usize) -> f64 {
    median(rounds.iter().map(|round| round[row].resident)) / f64::from(1 << 20)
}
