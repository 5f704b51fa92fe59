//! The table. The one rule: a ratio compares what was measured in one round, and its spread is over rounds.

use crate::{measure::Measurements, proxies::Proxy};

pub(crate) struct Report<'a> {
    rows: Vec<(&'a Proxy, Vec<Measurements>)>,
}

impl<'a> Report<'a> {
    pub(crate) fn new(proxies: &[&'a Proxy]) -> Self {
        Self { rows: proxies.iter().map(|proxy| (*proxy, Vec::new())).collect() }
    }

    pub(crate) fn add(&mut self, proxy: &Proxy, measured: Measurements) {
        let row = self.rows.iter_mut().find(|(known, _)| known.name == proxy.name);
        row.unwrap().1.push(measured);
    }

    pub(crate) fn print(&self, direct: (f64, f64)) {
        println!(
            "| Proxy | CPU per request | × nginx | × Envoy | requests/s | added p50 / p99 | download | upload | memory | \
             idle connection |\n|---|---|---|---|---|---|---|---|---|---|"
        );
        for (proxy, rounds) in &self.rows {
            let of = |figure: fn(&Measurements) -> f64| median(rounds.iter().map(figure));
            println!(
                "| {} | {:.1} µs | {} | {} | {:.0} | {:.2} / {:.2} ms | {:.2} s/GiB | {:.2} s/GiB | {:.0} MB | {:.1} KiB |",
                proxy.title,
                of(|m| m.cpu),
                self.ratio(rounds, "nginx"),
                self.ratio(rounds, "envoy"),
                of(|m| m.requests_per_second),
                of(|m| m.p50) - direct.0,
                of(|m| m.p99) - direct.1,
                of(|m| m.download),
                of(|m| m.upload),
                of(|m| m.resident) / 1e6,
                of(|m| m.idle) / 1024.0,
            );
        }
    }

    /// CPU per request against another proxy's, round by round: the median, and the least and the most.
    fn ratio(&self, rounds: &[Measurements], other: &str) -> String {
        let Some((_, others)) = self.rows.iter().find(|(proxy, _)| proxy.name == other) else {
            return "–".to_owned();
        };
        spread(rounds.iter().zip(others).map(|(ours, theirs)| ours.cpu / theirs.cpu))
    }
}

/// The median of ratios, and the least and the most.
pub(crate) fn spread(ratios: impl Iterator<Item = f64> + Clone) -> String {
    let (least, most) = ratios.clone().fold((f64::MAX, 0.0), |(least, most), r| (r.min(least), r.max(most)));
    format!("{:.2} ({least:.2}–{most:.2})", median(ratios))
}

pub(crate) fn median(figures: impl Iterator<Item = f64>) -> f64 {
    let mut figures: Vec<f64> = figures.collect();
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}
