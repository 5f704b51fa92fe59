//! What many schedules came to.

use std::{collections::BTreeMap, fmt, time::Duration};

#[derive(Debug, Default, Clone)]
pub(super) struct Figures {
    pub(super) schedules: u64,
    pub(super) steps: u64,
    pub(super) lives: u64,
    pub(super) faults: BTreeMap<&'static str, u64>,
    pub(super) showings: u64,
    pub(super) repeated: u64,
    pub(super) refreshes: u64,
    pub(super) handed: u64,
    pub(super) refused: u64,
    pub(super) spilled: u64,
    pub(super) late_tokens: u64,
    /// Accounts that were lost, by what the server last heard of them.
    pub(super) losses: BTreeMap<&'static str, u64>,
    pub(super) revoked: u64,
    pub(super) simulated: Duration,
}

impl Figures {
    pub(super) fn add(&mut self, other: &Self) {
        self.schedules += other.schedules;
        self.steps += other.steps;
        self.lives += other.lives;
        self.showings += other.showings;
        self.repeated += other.repeated;
        self.refreshes += other.refreshes;
        self.handed += other.handed;
        self.refused += other.refused;
        self.spilled += other.spilled;
        self.late_tokens += other.late_tokens;
        self.revoked += other.revoked;
        self.simulated += other.simulated;
        other.faults.iter().for_each(|(fault, count)| *self.faults.entry(fault).or_default() += count);
        other.losses.iter().for_each(|(cause, count)| *self.losses.entry(cause).or_default() += count);
    }

    pub(super) fn crashes(&self) -> u64 {
        self.faults.iter().filter(|(word, _)| word.starts_with("crash")).map(|(_, count)| count).sum()
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{} schedules, {} steps, {} lives, {} crashes, {} h simulated",
            self.schedules,
            self.steps,
            self.lives,
            self.crashes(),
            self.simulated.as_secs() / 3600
        )?;
        writeln!(
            f,
            "refresh tokens shown {} times ({} of them again), {} refreshes done, {} spilled",
            self.showings, self.repeated, self.refreshes, self.spilled
        )?;
        writeln!(
            f,
            "{} tokens handed out ({} of them unstored, the old one having ended), {} refused by the API",
            self.handed, self.late_tokens, self.refused
        )?;
        writeln!(f, "grants revoked by sellers: {}; grants lost, by cause: {:?}", self.revoked, self.losses)?;
        write!(f, "faults: {:?}", self.faults)
    }
}
