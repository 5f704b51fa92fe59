//! The connections to upstreams as metrics. The one rule: read when somebody asks, never copied.

use std::fmt::Error;

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric},
    metrics::{MetricType, gauge::ConstGauge},
};

use super::Connector;

/// Shows the connections to each origin, how many there may be, and who waits for one.
#[derive(Debug)]
pub struct UpstreamMetrics(pub Connector);

impl Collector for UpstreamMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), Error> {
        let loads = self.0.loads();
        let mut show = |name: &str, help: &str, value: &dyn Fn(&Load) -> usize| {
            let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            for load in &loads {
                let labels = [("upstream", load.place.as_str())];
                ConstGauge::new(i64::try_from(value(load)).unwrap_or(i64::MAX))
                    .encode(family.encode_family(&labels)?)?;
            }
            Ok(())
        };
        show("upstream_connections", "Open connections to an API.", &|load| load.connections)?;
        show("upstream_connections_limit", "Connections that one may use alone.", &|load| load.limit)?;
        show("upstream_waiting", "Requests that wait for a connection to an API.", &|load| load.waiting)
    }
}

/// How much of an origin's connections is in use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Load {
    /// Scheme, host and port.
    pub(super) place: String,
    pub(super) connections: usize,
    pub(super) limit: usize,
    /// Requests that wait, whatever for.
    pub(super) waiting: usize,
}
