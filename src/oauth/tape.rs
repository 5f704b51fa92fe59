//! Keeps what comes in on a connection, byte for byte, beside whoever reads it: an answer whose framing is wrong is cut by every
//! reader of HTTP, and what it brought may lie behind the cut.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use zeroize::Zeroizing;

use super::{answer::coding::LONGEST, exchange::push};

/// What was read so far, [`LONGEST`] bytes of it at most. Clones share it.
#[derive(Clone, Default)]
pub(super) struct Tape(Arc<Mutex<Zeroizing<Vec<u8>>>>);

impl Tape {
    /// What stands behind the head of the answer, or all of it where there is no end of a head.
    pub(super) fn behind_head(&self) -> Zeroizing<Vec<u8>> {
        let bytes = self.lock();
        let mut rest = bytes.as_slice();
        // Interim answers have heads of their own (RFC 9110 §15.2).
        while let (true, Some(end)) =
            (rest.starts_with(b"HTTP/") || rest.len() == bytes.len(), end_of_head(rest))
        {
            rest = &rest[end..];
        }
        Zeroizing::new(rest.to_vec())
    }

    /// Adds what was read.
    pub(super) fn record(&self, piece: &[u8]) {
        let mut bytes = self.lock();
        let room = LONGEST.saturating_sub(bytes.len());
        push(&mut bytes, &piece[..piece.len().min(room)]);
    }

    fn lock(&self) -> MutexGuard<'_, Zeroizing<Vec<u8>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn end_of_head(bytes: &[u8]) -> Option<usize> {
    let end_of = |end: &[u8]| bytes.windows(end.len()).position(|part| part == end).map(|at| at + end.len());
    [b"\r\n\r\n".as_slice(), b"\n\n"].into_iter().filter_map(end_of).min()
}
