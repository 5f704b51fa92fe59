//! Whether a request costs the same however many accounts there are: programs over stores of 1 to 100,000 accounts run side by
//! side, up to ten thousand of each are made live, and all are loaded in thin slices by turns, so that a noisy moment of the
//! machine falls on all alike. The one rule: a ratio compares what was measured in one round.

mod shop;
mod table;

use std::time::Duration;

use crate::{Plan, load, measure::on_first_core, upstream::Upstream};

use shop::{Protocol, Running, Shop};
use table::Table;

const COUNTS: [usize; 4] = [1, 1_000, 10_000, 100_000];
/// Slices of one measurement.
const SLICES: u32 = 4;
/// What is not counted: connections to the upstream come about.
const WARM_UP: Duration = Duration::from_millis(500);

/// What was seen of one program.
pub(crate) struct Seen {
    /// From its start to the first answer proxied.
    start: Duration,
    /// Microseconds of CPU per request.
    cpu: f64,
    /// Bytes, after the load.
    resident: f64,
}

/// Measures, and prints the table.
pub(crate) fn measure(upstream: &Upstream, plan: &Plan) {
    load::keep_to_first_core();
    let counts = COUNTS.into_iter().filter(|count| *count <= plan.most);
    let shops: Vec<Shop> = counts.map(|count| Shop::open(count, upstream)).collect();
    let mut table = Table::new(&shops);
    for round in 1..=plan.rounds {
        for protocol in [Protocol::Http2, Protocol::Http1] {
            let seen = side_by_side(&shops, protocol, plan);
            for (shop, seen) in shops.iter().zip(&seen) {
                let Seen { start, cpu, resident } = seen;
                let (count, memory) = (shop.accounts, resident / f64::from(1 << 20));
                eprintln!(
                    "round {round} {protocol:?} {count}: {cpu:.2} µs/request, start {start:.1?}, {memory:.1} MiB"
                );
            }
            table.add(protocol, seen);
        }
    }
    table.print();
}

fn side_by_side(shops: &[Shop], protocol: Protocol, plan: &Plan) -> Vec<Seen> {
    // Alone on its core: a program that has just started looks through its store for a while.
    let starts: Vec<Duration> = shops.iter().map(|shop| shop.start(protocol).start).collect();
    let running: Vec<Running> = shops.iter().map(|shop| shop.start(protocol)).collect();
    let costs = on_first_core(async {
        for (shop, program) in shops.iter().zip(&running) {
            load::once_each(program.address, &shop.live).await;
            load::in_turn(program.address, shop.loaded(protocol), WARM_UP).await;
            shop.until_looked_through();
        }
        let mut costs = vec![(Duration::ZERO, 0); shops.len()];
        for _ in 0..SLICES {
            for ((shop, program), cost) in shops.iter().zip(&running).zip(&mut costs) {
                let before = program.process.cpu();
                cost.1 += load::in_turn(program.address, shop.loaded(protocol), plan.seconds / SLICES).await;
                cost.0 += program.process.cpu().since(&before);
            }
        }
        costs
    });
    let seen = running.iter().zip(starts).zip(costs).map(|((program, start), (cpu, requests))| Seen {
        start,
        cpu: cpu.as_secs_f64() * 1e6 / requests as f64,
        resident: program.process.resident(),
    });
    seen.collect()
}
