//! One round. The one rule: what is compared is loaded by turns, a moment each, since a machine's pace changes by the second.

use std::{fmt, time::Duration};

use tokio::task::LocalSet;

use crate::{Plan, load, proxies::Running, upstream::Upstream};

/// Requests per second at which latency is measured: far from what any of them can do.
const RATE: u32 = 2_000;
const IDLE: usize = 1_000;
const GIB: f64 = (1u64 << 30) as f64;

/// What was seen.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Measurements {
    /// Microseconds of CPU per request.
    pub(crate) cpu: f64,
    pub(crate) requests_per_second: f64,
    /// Bytes, after that load.
    pub(crate) resident: f64,
    /// Milliseconds from due to answered, at a fixed rate.
    pub(crate) p50: f64,
    pub(crate) p99: f64,
    /// Seconds of CPU per GiB.
    pub(crate) download: f64,
    pub(crate) upload: f64,
    /// Bytes per idle connection.
    pub(crate) idle: f64,
}

/// Turns of each proxy in a round.
const TURNS: u32 = 10;

const PATH: &str = "/api";

/// Small requests, as many as each can answer.
pub(crate) fn small_requests(running: &[Running], plan: &Plan) -> Vec<Measurements> {
    let costs = on_first_core(async {
        for proxy in running {
            load::flat_out(proxy.address, PATH, Duration::from_secs(1)).await;
        }
        let mut costs = vec![(Duration::ZERO, 0); running.len()];
        for _ in 0..TURNS {
            for (proxy, (cpu, requests)) in running.iter().zip(&mut costs) {
                let before = proxy.process.cpu();
                *requests += load::flat_out(proxy.address, PATH, plan.seconds / TURNS).await;
                *cpu += proxy.process.cpu().since(&before);
            }
        }
        costs
    });
    let seen = |(cpu, requests): (Duration, u64)| Measurements {
        cpu: cpu.as_secs_f64() * 1e6 / requests as f64,
        requests_per_second: requests as f64 / plan.seconds.as_secs_f64(),
        ..Measurements::default()
    };
    costs.into_iter().map(seen).collect()
}

impl Measurements {
    /// The rest of a round, after [`small_requests`].
    pub(crate) fn complete(mut self, running: &Running, plan: &Plan) -> Self {
        on_first_core(async {
            let (to, path, process) = (running.address, PATH, &running.process);
            let seen = &mut self;
            seen.resident = process.resident();
            if plan.quick {
                return;
            }
            (seen.p50, seen.p99) = latency(load::at_rate(to, path, RATE, plan.seconds).await);
            let before = process.cpu();
            let bytes = load::download(to, path, 2).await;
            seen.download = process.cpu().since(&before).as_secs_f64() * GIB / bytes as f64;
            let before = process.cpu();
            let bytes = load::upload(to, path, 2).await;
            seen.upload = process.cpu().since(&before).as_secs_f64() * GIB / bytes as f64;
            let before = process.resident();
            let idle = load::idle(to, path, IDLE).await;
            seen.idle = (process.resident() - before) / idle.len() as f64;
        });
        self
    }
}

impl fmt::Display for Measurements {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { cpu, requests_per_second, p50, p99, download, upload, idle, resident } = self;
        let resident = resident / 1e6;
        write!(
            f,
            "{cpu:.2} µs/request, {requests_per_second:.0}/s, {p50:.2}/{p99:.2} ms, {download:.2} and {upload:.2} s/GiB, \
             {resident:.1} MB, {idle:.0} bytes per idle connection"
        )
    }
}

/// The same latency without a proxy and without TLS.
pub(crate) fn direct(upstream: &Upstream, plan: &Plan) -> (f64, f64) {
    on_first_core(async { latency(load::at_rate(upstream.plain, "/v1", RATE, plan.seconds).await) })
}

fn latency(mut took: Vec<Duration>) -> (f64, f64) {
    took.sort();
    let at = |part: f64| took[(took.len() as f64 * part) as usize].as_secs_f64() * 1e3;
    (at(0.5), at(0.99))
}

/// Runs it on the core of the load.
pub(crate) fn on_first_core<T>(work: impl Future<Output = T>) -> T {
    load::keep_to_first_core();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    LocalSet::new().block_on(&runtime, work)
}
