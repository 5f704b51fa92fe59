//! The high-water mark as the store's thread keeps it: written when records have changed, and made durable when there is
//! nothing else to do.

use super::super::mark::{MarkFile, Progress};

/// The mark file and what of it is still to be done.
#[derive(Debug)]
pub(super) struct Mark {
    file: MarkFile,
    /// What it says; None: not known.
    said: Option<Progress>,
    is_settled: bool,
}

impl Mark {
    pub(super) fn new(file: MarkFile, said: Option<Progress>) -> Self {
        Self { file, said, is_settled: true }
    }

    /// Says so. What it cannot say costs nothing but its warning.
    pub(super) fn write(&mut self, progress: &Progress) {
        if self.said.as_ref() == Some(progress) {
            return;
        }
        match self.file.write(progress) {
            Ok(()) => (self.said, self.is_settled) = (Some(progress.clone()), false),
            Err(error) => {
                let path = self.file.path().display();
                tracing::warn!(%error, %path, "an older copy of the store would not be noticed: its mark cannot be written");
            }
        }
    }

    /// Makes it durable, if it is not.
    pub(super) fn settle(&mut self) {
        if self.is_settled {
            return;
        }
        self.is_settled = true;
        if let Err(error) = self.file.sync() {
            tracing::warn!(%error, path = %self.file.path().display(), "the store's mark is not known to be on the disk");
        }
    }
}
