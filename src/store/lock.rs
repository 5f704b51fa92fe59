//! One process per store. The one rule: the lock is the kernel's, on an open file that no child inherits; the file itself
//! is never deleted, or two processes could each lock one of that name.

use std::{
    fs::File,
    io,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use rustix::fs::{FlockOperation, flock};

use super::{files, glance::FileId};
use crate::clock::Clock;

/// How often a lock that is held is tried again.
const PAUSE: Duration = Duration::from_millis(50);

/// The first line says who holds it; it is padded to this length, so that the second stays where it is.
const SIGNATURE: usize = 64;

/// The second line, from the moment on when there is a database.
const NOTE: &str = "a store was made here\n";

/// A held lock. Dropping it releases it.
#[derive(Debug)]
pub(super) struct Lock {
    path: PathBuf,
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
        let file = files::open_or_make(path).map_err(Refused::Failed)?;
        let started = Instant::now();
        loop {
            match flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => break,
                Err(rustix::io::Errno::WOULDBLOCK) if started.elapsed() < patience => {
                    std::thread::sleep(PAUSE.min(patience.saturating_sub(started.elapsed())));
                }
                Err(rustix::io::Errno::WOULDBLOCK) => return Err(Refused::Held { pid: holder(&file) }),
                Err(error) => return Err(Refused::Failed(error.into())),
            }
        }
        // Only for people: a full disk must not keep a process from starting.
        if let Err(error) = sign(&file) {
            tracing::debug!(%error, "the process id could not be written into the lock file");
        }
        Ok(Self { path: path.to_owned(), file })
    }

    /// Whether another file has its name now: then another process may hold that one.
    pub(super) fn was_replaced(&self) -> bool {
        let named = FileId::at(&self.path).ok().flatten();
        named.is_some() && named != self.file.metadata().ok().map(|metadata| FileId::of(&metadata))
    }

    /// Whether it was noted that a store has been made here.
    pub(super) fn notes_a_store(&self) -> io::Result<bool> {
        let mut noted = [0; NOTE.len()];
        match self.file.read_exact_at(&mut noted, SIGNATURE as u64) {
            Ok(()) => Ok(noted == NOTE.as_bytes()),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Notes durably that there is a store, if that is not noted yet.
    pub(super) fn note_store(&self) -> io::Result<()> {
        if self.notes_a_store()? {
            return Ok(());
        }
        self.file.write_all_at(NOTE.as_bytes(), SIGNATURE as u64)?;
        self.file.sync_all()
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Closing alone would not do: a child between fork and exec still has the file open. If it fails, closing does it.
        let _ = flock(&self.file, FlockOperation::Unlock);
    }
}

fn sign(file: &File) -> io::Result<()> {
    let text = format!("{} since {}", std::process::id(), Clock::system().now().rfc3339());
    file.write_all_at(format!("{text:<width$}\n", width = SIGNATURE - 1).as_bytes(), 0)
}

fn holder(file: &File) -> Option<u32> {
    let mut bytes = [0; SIGNATURE];
    let length = file.read_at(&mut bytes, 0).ok()?;
    std::str::from_utf8(&bytes[..length]).ok()?.split_ascii_whitespace().next()?.parse().ok()
}
