//! Keeps what comes in on a connection, byte for byte, beside whoever reads it: an answer whose framing is wrong is cut by every
//! reader of HTTP, and what it brought may lie behind the cut.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use zeroize::Zeroizing;

use super::{answer::coding::LONGEST, exchange::push};

/// The stream of a connection's first request (RFC 9113 §5.1.1), and so of the only one.
const FIRST_STREAM: u32 = 1;

/// What was read so far, [`LONGEST`] bytes of it at most. Clones share it.
#[derive(Clone)]
pub(super) struct Tape {
    bytes: Arc<Mutex<Zeroizing<Vec<u8>>>>,
    over_http_2: bool,
}

impl Tape {
    pub(super) fn new(over_http_2: bool) -> Self {
        Self { bytes: Arc::default(), over_http_2 }
    }

    /// What was sent as content, whatever the framing says of it.
    pub(super) fn content(&self) -> Zeroizing<Vec<u8>> {
        let bytes = self.lock();
        // Some agree to HTTP/2 and then answer in HTTP/1.1.
        if self.over_http_2 && !bytes.starts_with(b"HTTP/") {
            return data(&bytes);
        }
        Zeroizing::new(behind_head(&bytes).to_vec())
    }

    /// How much was read.
    pub(super) fn length(&self) -> usize {
        self.lock().len()
    }

    /// Adds what was read.
    pub(super) fn record(&self, piece: &[u8]) {
        let mut bytes = self.lock();
        let room = LONGEST.saturating_sub(bytes.len());
        push(&mut bytes, &piece[..piece.len().min(room)]);
    }

    fn lock(&self) -> MutexGuard<'_, Zeroizing<Vec<u8>>> {
        self.bytes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What stands behind the head of the answer, or all of it where there is no head.
fn behind_head(bytes: &[u8]) -> &[u8] {
    // A body alone (HTTP/0.9) may hold an empty line.
    if matches!(bytes.trim_ascii_start(), [b'{' | b'[' | 0xef, ..]) {
        return bytes;
    }
    let mut rest = bytes;
    // Interim answers have heads of their own (RFC 9110 §15.2).
    while let (true, Some(end)) = (rest.starts_with(b"HTTP/") || rest.len() == bytes.len(), end_of_head(rest))
    {
        rest = &rest[end..];
    }
    rest
}

fn end_of_head(bytes: &[u8]) -> Option<usize> {
    let mut line = 0;
    while let Some(end) = bytes[line..].iter().position(|byte| *byte == b'\n') {
        line += end + 1;
        match &bytes[line..] {
            [b'\n', ..] => return Some(line + 1),
            [b'\r', b'\n', ..] => return Some(line + 2),
            _ => {}
        }
    }
    None
}

/// What the DATA frames of the stream hold (RFC 9113 §4.1, §6.1).
fn data(mut bytes: &[u8]) -> Zeroizing<Vec<u8>> {
    const PADDED: u8 = 0x8;
    let mut data = Zeroizing::default();
    while let Some((&[a, b, c, kind, flags, d, e, f, g], rest)) = bytes.split_first_chunk() {
        let length = u32::from_be_bytes([0, a, b, c]) as usize;
        let stream = u32::from_be_bytes([d, e, f, g]) & !(1 << 31);
        let (payload, behind) = rest.split_at(length.min(rest.len()));
        if (kind, stream) == (0, FIRST_STREAM) {
            let (before, after) = match payload.first() {
                Some(padding) if flags & PADDED != 0 => (1, usize::from(*padding)),
                _ => (0, 0),
            };
            let end = length.saturating_sub(after).min(payload.len());
            push(&mut data, payload.get(before..end).unwrap_or_default());
        }
        bytes = behind;
    }
    data
}
