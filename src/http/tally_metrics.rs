//! The doors' numbers as metrics. The one rule: read when somebody asks, never copied.

use std::sync::Arc;

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric},
    metrics::{counter::ConstCounter, gauge::ConstGauge},
};

use super::{
    gate::Violation,
    tally::{Cut, Tally},
};

/// Shows one door's tally.
#[derive(Debug)]
pub struct TallyMetrics(pub Arc<Tally>);

impl Collector for TallyMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let open = ConstGauge::new(i64::try_from(self.0.open()).unwrap_or(i64::MAX));
        single(&mut encoder, "caller_connections", "Open connections of callers", &open)?;
        let accepted = ConstCounter::new(self.0.accepted());
        single(&mut encoder, "caller_connections_accepted", "Connections of callers accepted", &accepted)?;
        let failures = ConstCounter::new(self.0.accept_failures());
        single(&mut encoder, "accept_failures", "Connections that could not be accepted", &failures)?;
        let panics = ConstCounter::new(self.0.panics());
        single(&mut encoder, "panics", "Requests that ended in a defect of ours", &panics)?;
        let turned_away = ConstCounter::new(self.0.turned_away());
        single(
            &mut encoder,
            "caller_requests_turned_away",
            "Requests refused because the listener was full and no connection could be closed for theirs",
            &turned_away,
        )?;
        let cuts = Cut::ALL.iter().map(|cut| (cut.label(), self.0.cuts(*cut)));
        labelled(&mut encoder, "caller_connections_cut", "Connections cut, by reason", cuts)?;
        let refused = Violation::ALL.iter().map(|why| (why.label(), self.0.refusals(*why)));
        labelled(
            &mut encoder,
            "malformed_requests",
            "Requests refused before they were parsed, by reason",
            refused,
        )
    }
}

fn single(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    metric: &impl EncodeMetric,
) -> Result<(), std::fmt::Error> {
    let encoder = encoder.encode_descriptor(name, &format!("{help}."), None, metric.metric_type())?;
    metric.encode(encoder)
}

fn labelled(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    values: impl Iterator<Item = (&'static str, u64)>,
) -> Result<(), std::fmt::Error> {
    let kind = ConstCounter::new(0u64).metric_type();
    let mut family = encoder.encode_descriptor(name, &format!("{help}."), None, kind)?;
    for (reason, count) in values {
        let labels = [("reason", reason)];
        ConstCounter::new(count).encode(family.encode_family(&labels)?)?;
    }
    Ok(())
}
