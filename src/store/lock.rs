//! One process per store. The one rule: the lock is the kernel's, on an open file that no child inherits; the file itself
//! is never deleted, or two processes could each lock one of that name.

use std::{
    fs::File,
    io::{self, Read, Seek, Write},
    path::Path,
    time::{Duration, Instant},
};

use rustix::fs::{FlockOperation, flock};

use super::files;
use crate::clock::Clock;

/// How often a lock that is held is tried again.
const PAUSE: Duration = Duration::from_millis(50);

/// A held lock. Dropping it releases it.
#[derive(Debug)]
pub(super) struct Lock {
    // Opened with O_CLOEXEC, as the standard library opens every file.
    file: File,
}

/// Why a lock was not got.
#[derive(Debug)]
pub(super) enum Refused {
    /// Another process has it.
    Held {
        /// Which one, as it wrote there.
        pid: Option<u32>,
    },
    /// The operating system refused.
    Failed(io::Error),
}

impl Lock {
    /// Takes the lock, waiting for at most `patience`; blocks the thread meanwhile.
    pub(super) fn take(path: &Path, patience: Duration) -> Result<Self, Refused> {
        let mut file = files::open_or_make(path).map_err(Refused::Failed)?;
        let started = Instant::now();
        loop {
            match flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => break,
                Err(rustix::io::Errno::WOULDBLOCK) if started.elapsed() < patience => {
                    std::thread::sleep(PAUSE.min(patience.saturating_sub(started.elapsed())));
                }
                Err(rustix::io::Errno::WOULDBLOCK) => return Err(Refused::Held { pid: holder(&mut file) }),
                Err(error) => return Err(Refused::Failed(error.into())),
            }
        }
        // Only for people: a full disk must not keep a process from starting.
        if let Err(error) = sign(&mut file) {
            tracing::debug!(%error, "the process id could not be written into the lock file");
        }
        Ok(Self { file })
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Closing alone would not do: a child between fork and exec still has the file open. If it fails, closing does it.
        let _ = flock(&self.file, FlockOperation::Unlock);
    }
}

fn sign(file: &mut File) -> io::Result<()> {
    file.set_len(0)?;
    file.rewind()?;
    writeln!(file, "{} since {}", std::process::id(), Clock::system().now().rfc3339())
}

fn holder(file: &mut File) -> Option<u32> {
    let mut text = String::new();
    file.rewind().ok()?;
    file.take(64).read_to_string(&mut text).ok()?;
    text.split_ascii_whitespace().next()?.parse().ok()
}
