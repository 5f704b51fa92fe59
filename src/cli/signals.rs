//! Signals. None but those that nobody can catch, and those of a defect, ends the process at once: a refresh token that was
//! shown is seen to its end whatever is sent meanwhile. The table is in docs/operations.md.

use rustix::process::Signal;
use tokio::signal::unix::{SignalKind, signal};

use super::{Exit, Failure};
use crate::gateway::Stop;

/// What SIGHUP means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hangup {
    /// The terminal has gone, and with it the person who waited: end in order. Not where it was ignored from the start, as
    /// nohup does.
    Ends,
    /// To a server, that its configuration has changed.
    AsksForReload,
}

/// Signals that would end the process though nobody means that by them. `XCPU` and `XFSZ` are limits of `ulimit`: a file that
/// may not grow is told by the write that fails.
const IGNORED: [Signal; 9] = [
    Signal::USR1,
    Signal::USR2,
    Signal::ALARM,
    Signal::VTALARM,
    Signal::PROF,
    Signal::IO,
    Signal::POWER,
    Signal::XCPU,
    Signal::XFSZ,
];

/// SIGSTKFLT of Linux, which no kernel sends.
const STKFLT: i32 = 16;

/// Real-time signals, but for the two that the C library keeps for itself.
const REAL_TIME: std::ops::RangeInclusive<i32> = 34..=64;

/// Watches all signals from now on. The first one that means the end says so by the [`Stop`], and so does every further one.
///
/// # Errors
/// When the signals cannot be watched.
pub fn watch(hangup: Hangup) -> Result<Stop, Failure> {
    let stop = Stop::new();
    for kind in [SignalKind::terminate(), SignalKind::interrupt(), SignalKind::quit()] {
        ask_on(kind, &stop)?;
    }
    match hangup {
        Hangup::Ends if was_ignored(Signal::HUP) => {}
        Hangup::Ends => ask_on(SignalKind::hangup(), &stop)?,
        Hangup::AsksForReload => tell_of_hangups()?,
    }
    // A handler stays when nobody listens to it any more. Programs that are started from here get the usual behaviour back.
    for number in IGNORED.into_iter().map(Signal::as_raw).chain([STKFLT]).chain(REAL_TIME) {
        // One that this system does not have cannot come.
        drop(signal(SignalKind::from_raw(number)));
    }
    Ok(stop)
}

fn ask_on(kind: SignalKind, stop: &Stop) -> Result<(), Failure> {
    let mut signals = signal(kind).map_err(|error| Failure::new(Exit::Failure, error))?;
    let stop = stop.clone();
    tokio::spawn(async move {
        while signals.recv().await.is_some() {
            stop.ask();
        }
    });
    Ok(())
}

fn tell_of_hangups() -> Result<(), Failure> {
    let mut signals = signal(SignalKind::hangup()).map_err(|error| Failure::new(Exit::Failure, error))?;
    tokio::spawn(async move {
        while signals.recv().await.is_some() {
            tracing::warn!(
                "SIGHUP: the configuration is read at the start only; restart Marketgate to have it read again"
            );
        }
    });
    Ok(())
}

/// Whether the process was started with this signal ignored (`proc_pid_status(5)`, `SigIgn`).
fn was_ignored(signal: Signal) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    mask.is_some_and(|mask| mask & (1 << (signal.as_raw() - 1)) != 0)
}
