//! What the doors count. The rule: plain atomic numbers that only grow, so that counting never waits; how they are shown
//! is the metrics' business.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Instant,
};

use super::gate::violation::Violation;
use crate::telemetry::Rate;

/// Numbers of one door, shared by its workers.
#[derive(Debug)]
pub struct Tally {
    accepted: AtomicU64,
    ended: AtomicU64,
    accept_failed: AtomicU64,
    panicked: AtomicU64,
    turned_away: AtomicU64,
    cut: [AtomicU64; Cut::ALL.len()],
    refused: [AtomicU64; Violation::ALL.len()],
    lines: Rate,
}

/// Why a connection was cut rather than closed by either side in its own time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Cut {
    /// No request for too long.
    Idle,
    /// A head did not come to its end.
    SlowHead,
    /// A request body stopped coming.
    StalledUpload,
    /// The caller stopped reading.
    StalledDownload,
    /// The caller went on sending after the last answer.
    Leftovers,
    /// The time to finish at shutdown was over.
    Grace,
    /// Others wanted to connect while all connections were in use.
    Crowded,
    /// All unfinished heads together took too much memory.
    HeadMemory,
}

impl Cut {
    /// Every reason, in order of declaration.
    pub const ALL: &[Self] = &[
        Self::Idle,
        Self::SlowHead,
        Self::StalledUpload,
        Self::StalledDownload,
        Self::Leftovers,
        Self::Grace,
        Self::Crowded,
        Self::HeadMemory,
    ];

    /// A short, stable name: the value of a metric's label.
    pub fn label(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::SlowHead => "slow_head",
            Self::StalledUpload => "stalled_upload",
            Self::StalledDownload => "stalled_download",
            Self::Leftovers => "leftovers",
            Self::Grace => "grace",
            Self::Crowded => "crowded",
            Self::HeadMemory => "head_memory",
        }
    }
}

impl Default for Tally {
    fn default() -> Self {
        Self {
            accepted: AtomicU64::default(),
            ended: AtomicU64::default(),
            accept_failed: AtomicU64::default(),
            panicked: AtomicU64::default(),
            turned_away: AtomicU64::default(),
            cut: [const { AtomicU64::new(0) }; Cut::ALL.len()],
            refused: [const { AtomicU64::new(0) }; Violation::ALL.len()],
            lines: Rate::default(),
        }
    }
}

impl Tally {
    /// Connections accepted.
    pub fn accepted(&self) -> u64 {
        self.accepted.load(Ordering::Relaxed)
    }

    /// Connections open now.
    pub fn open(&self) -> u64 {
        // Ended first: read the other way round, a connection ending in between would be counted as never accepted.
        let ended = self.ended.load(Ordering::Acquire);
        self.accepted.load(Ordering::Relaxed).saturating_sub(ended)
    }

    /// Failures to accept a connection, mostly for want of file descriptors.
    pub fn accept_failures(&self) -> u64 {
        self.accept_failed.load(Ordering::Relaxed)
    }

    /// Panics in a service or in the body of its answer.
    pub fn panics(&self) -> u64 {
        self.panicked.load(Ordering::Relaxed)
    }

    /// Requests refused because no connection could be closed for theirs.
    pub fn turned_away(&self) -> u64 {
        self.turned_away.load(Ordering::Relaxed)
    }

    /// Connections cut for this reason.
    pub fn cuts(&self, why: Cut) -> u64 {
        self.cut[why as usize].load(Ordering::Relaxed)
    }

    /// Requests refused for this reason.
    pub fn refusals(&self, violation: Violation) -> u64 {
        self.refused[violation as usize].load(Ordering::Relaxed)
    }

    /// Whether a line of the log may tell of a refusal now, and how many were left out before it.
    pub(super) fn admit_line(&self) -> Option<u64> {
        self.lines.admit(Instant::now())
    }

    pub(super) fn accept(&self) {
        self.accepted.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn end(&self) {
        self.ended.fetch_add(1, Ordering::Release);
    }

    pub(super) fn fail_to_accept(&self) {
        self.accept_failed.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn panic(&self) {
        self.panicked.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn turn_away(&self) {
        self.turned_away.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn cut(&self, why: Cut) {
        self.cut[why as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn refuse(&self, violation: Violation) {
        self.refused[violation as usize].fetch_add(1, Ordering::Relaxed);
    }
}
