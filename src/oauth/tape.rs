//! Keeps what comes in on a connection, byte for byte, beside whoever reads it: an answer whose framing is wrong is cut by every
//! reader of HTTP, and what it brought may lie behind the cut.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, ready},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
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

    fn record(&self, piece: &[u8]) {
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

/// A stream whose incoming bytes are kept on a tape.
pub(super) struct Taped<S> {
    pub(super) stream: S,
    pub(super) tape: Tape,
}

impl<S: AsyncRead + Unpin> AsyncRead for Taped<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let read = ready!(Pin::new(&mut self.stream).poll_read(cx, buf));
        self.tape.record(&buf.filled()[before..]);
        Poll::Ready(read)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Taped<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
