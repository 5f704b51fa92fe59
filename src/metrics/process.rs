//! The process itself, by the names that Prometheus' client libraries use. The one rule: read from the kernel when somebody asks.

use std::{fmt::Error, fs, time::Duration};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric},
    metrics::{counter::ConstCounter, gauge::ConstGauge},
};
use rustix::{
    param::{clock_ticks_per_second, page_size},
    process::{Resource, getrlimit},
};

/// Shows this process: CPU, memory, descriptors, threads and when it began. Nothing of what cannot be read.
#[derive(Debug)]
pub(super) struct Process;

impl Collector for Process {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), Error> {
        let mut show = |name: &str, help: &str, metric: &dyn Shown| metric.show(&mut encoder, name, help);
        if let Some(stat) = Stat::read() {
            let (cpu, memory) = (ConstCounter::new(stat.cpu_seconds), ConstGauge::new(stat.resident_bytes));
            show("process_cpu_seconds", "CPU time used, user and system", &cpu)?;
            show("process_resident_memory_bytes", "Memory in use", &memory)?;
            let (virtual_bytes, threads) =
                (ConstGauge::new(stat.virtual_bytes), ConstGauge::new(stat.threads));
            show("process_virtual_memory_bytes", "Addresses in use", &virtual_bytes)?;
            show("process_threads", "Threads", &threads)?;
            if let Some(start) = stat.start_seconds {
                show("process_start_time_seconds", "When it began, since 1970", &ConstGauge::new(start))?;
            }
        }
        if let Ok(open) = fs::read_dir("/proc/self/fd") {
            // One of them is open for this count.
            let open = ConstGauge::new(open.count().saturating_sub(1) as i64);
            show("process_open_fds", "Open descriptors", &open)?;
        }
        if let Some(most) = getrlimit(Resource::Nofile).current {
            show("process_max_fds", "Descriptors it may open", &ConstGauge::new(most as i64))?;
        }
        Ok(())
    }
}

trait Shown {
    fn show(&self, encoder: &mut DescriptorEncoder<'_>, name: &str, help: &str) -> Result<(), Error>;
}

impl<M: EncodeMetric> Shown for M {
    fn show(&self, encoder: &mut DescriptorEncoder<'_>, name: &str, help: &str) -> Result<(), Error> {
        self.encode(encoder.encode_descriptor(name, &format!("{help}."), None, self.metric_type())?)
    }
}

/// What `/proc/self/stat` says (proc_pid_stat(5)).
#[derive(Debug, PartialEq)]
struct Stat {
    cpu_seconds: f64,
    threads: i64,
    virtual_bytes: i64,
    resident_bytes: i64,
    /// Since 1970.
    start_seconds: Option<f64>,
}

impl Stat {
    fn read() -> Option<Self> {
        let boot = fs::read_to_string("/proc/stat").ok().and_then(|text| {
            let line = text.lines().find_map(|line| line.strip_prefix("btime "))?;
            line.parse().ok().map(Duration::from_secs)
        });
        let stat = fs::read_to_string("/proc/self/stat").ok()?;
        Self::parse(&stat, clock_ticks_per_second() as f64, page_size() as i64, boot)
    }

    /// The program's name stands in brackets and may hold any character, so the fields are counted behind it.
    fn parse(stat: &str, ticks: f64, page: i64, boot: Option<Duration>) -> Option<Self> {
        let (_, behind_name) = stat.rsplit_once(')')?;
        let fields: Vec<&str> = behind_name.split_whitespace().collect();
        // The first of them is field 3.
        let number = |field: usize| fields.get(field - 3)?.parse::<i64>().ok();
        Some(Self {
            cpu_seconds: (number(14)? + number(15)?) as f64 / ticks,
            threads: number(20)?,
            virtual_bytes: number(23)?,
            resident_bytes: number(24)? * page,
            start_seconds: boot
                .zip(number(22))
                .map(|(boot, since)| boot.as_secs_f64() + since as f64 / ticks),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_counted_behind_the_programs_name_whatever_it_is() {
        let stat = "7 (a) b (c)) S 1 7 7 0 -1 4194560 100 0 0 0 250 50 0 0 20 0 9 0 1000 8192 3 18446744073709551615";
        let parsed = Stat::parse(stat, 100.0, 4096, Some(Duration::from_secs(50)));
        let expected = Stat {
            cpu_seconds: 3.0,
            threads: 9,
            virtual_bytes: 8192,
            resident_bytes: 3 * 4096,
            start_seconds: Some(60.0),
        };
        assert_eq!(parsed, Some(expected));
        assert_eq!(Stat::parse("nonsense", 100.0, 4096, None), None);
        assert!(Stat::read().is_some_and(|stat| stat.resident_bytes > 0 && stat.threads > 0));
    }
}
