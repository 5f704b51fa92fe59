//! The gate before the HTTP parser: it follows the framing of requests in the raw bytes and lets nothing ambiguous pass.
//! The rule: bytes pass unchanged up to the first violation, and no byte after it passes at all.
//!
//! hyper repairs much that must be refused here (design, law 10): it drops `Content-Length` beside `Transfer-Encoding`,
//! takes equal `Content-Length` fields for one, takes LF for CRLF, cuts `#fragment` off a target. Once it has parsed a
//! request none of this can be seen any more, so the gate looks at the bytes first, in hyper's own read buffer. It keeps
//! counters and a little state between reads, never the bytes.
//!
//! A refused head is made unreadable: in the place of the first wrong octet hyper finds a NUL, answers a bare `400` in
//! its turn (after the answers to earlier requests) and closes. A refused body ends in a read error, which the service
//! sees as a body that broke off.
//!
//! On the way out bytes pass untouched. Only where an answer ends with its connection (HTTP/1.0) the gate has every other
//! end be a reset.

mod chunked;
mod fields;
mod framing;
mod head;
mod host;
mod name;
mod octet;
mod options;
mod progress;
pub mod violation;
mod word;

use std::{
    io,
    pin::Pin,
    rc::Rc,
    sync::Arc,
    task::{Context, Poll, ready},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

pub use self::{
    framing::{Framing, Refusal, Stage},
    progress::{InFlight, Progress},
    violation::Violation,
};
use crate::{
    http::{socket::Stream, tally::Tally},
    net::gather,
};

/// How long a head may be. hyper must be given the same limits: it answers 431.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a head, its last line end included.
    pub head: usize,
    /// Header fields.
    pub fields: usize,
}

/// Bytes of an unwanted request read and dropped after the last answer, before the connection is closed.
const LINGER: usize = 64 * 1024;

/// What hyper finds in the place of a refused head: no octet of a head may be NUL. The line ends are there because
/// hyper parses a head that came in pieces only when it sees its end.
const UNREADABLE: &[u8] = b"\0\r\n\r\n";

/// What hyper finds in the place of the first field too many: a harmless one, and the end of the head.
const ONE_FIELD_MORE: &[u8] = b"a:\r\n\r\n";

/// A connection that passes only unambiguous requests.
#[derive(Debug)]
pub struct Gate<T> {
    io: T,
    framing: Framing,
    verdict: Verdict,
    progress: Rc<Progress>,
    tally: Arc<Tally>,
    closing: Closing,
    /// Whether the connection would end with a reset now.
    resets: bool,
}

#[derive(Debug)]
enum Verdict {
    Passing,
    /// The rest of what hyper reads instead of the refused head, then end of file.
    Unreadable(&'static [u8]),
    /// The body breaks off with an error.
    Broken(Violation),
}

#[derive(Debug)]
enum Closing {
    Open,
    /// Our side is shut; so many bytes more are read and dropped.
    Lingering(usize),
}

impl<T> Gate<T> {
    /// Guards `io`, which has not been read from.
    pub fn new(io: T, limits: Limits, tally: Arc<Tally>) -> Self {
        Self {
            io,
            framing: Framing::new(limits),
            verdict: Verdict::Passing,
            progress: Rc::default(),
            tally,
            closing: Closing::Open,
            resets: false,
        }
    }

    /// What is going on on the connection, for whoever limits it in time.
    pub fn progress(&self) -> Rc<Progress> {
        Rc::clone(&self.progress)
    }

    /// Judges what was read into `buf` from `start` on, and cuts it where it must not pass.
    fn judge(&mut self, buf: &mut ReadBuf<'_>, start: usize) -> io::Result<()> {
        if !self.progress.is_in_flight() {
            self.framing.all_answered();
        }
        let fresh = &buf.filled()[start..];
        self.progress.count_read(fresh.len());
        let judgement = self.framing.judge(fresh);
        self.progress.stand(self.framing.stage(), self.framing.messages());
        let head = self.framing.head_length();
        self.progress.hold_head(if head == 0 { 0 } else { head + buf.remaining() });
        let Err(refusal) = judgement else { return Ok(()) };
        buf.set_filled(start + refusal.at);
        self.refuse(refusal);
        // What came of a body before the violation is delivered first; the next read breaks it off.
        if refusal.stage == Stage::Body && refusal.at > 0 { Ok(()) } else { self.stand_in(buf) }
    }

    fn refuse(&mut self, Refusal { violation, stage, .. }: Refusal) {
        self.tally.refuse(violation);
        self.progress.refuse();
        self.verdict = match (violation, stage) {
            (_, Stage::Body) => Verdict::Broken(violation),
            // hyper has as many bytes of a head without end as it takes, and answers by itself.
            (Violation::HeadTooLong, _) => Verdict::Unreadable(b""),
            (Violation::TooManyFields, _) => Verdict::Unreadable(ONE_FIELD_MORE),
            _ => Verdict::Unreadable(UNREADABLE),
        };
    }

    /// Reads in the place of the connection.
    fn stand_in(&mut self, buf: &mut ReadBuf<'_>) -> io::Result<()> {
        match &mut self.verdict {
            Verdict::Unreadable(rest) => {
                let (now, later) = rest.split_at(rest.len().min(buf.remaining()));
                buf.put_slice(now);
                *rest = later;
                Ok(())
            }
            Verdict::Broken(violation) => {
                let error = io::Error::new(io::ErrorKind::InvalidData, *violation);
                self.verdict = Verdict::Unreadable(b"");
                Err(error)
            }
            Verdict::Passing => Ok(()),
        }
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Gate<T> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let gate = self.get_mut();
        if !matches!(gate.verdict, Verdict::Passing) {
            return Poll::Ready(gate.stand_in(buf));
        }
        if gate.progress.holds_heads_back() && gate.framing.head_length() > 0 {
            // In its turn again, behind connections that are just being closed.
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let start = buf.filled().len();
        let read = Pin::new(&mut gate.io).poll_read(cx, buf);
        gate.progress.wait_for_bytes(read.is_pending());
        ready!(read)?;
        Poll::Ready(gate.judge(buf, start))
    }
}

impl<T: Stream> AsyncWrite for Gate<T> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let gate = self.get_mut();
        gate.mark_end();
        let written = Pin::new(&mut gate.io).poll_write(cx, bytes);
        gate.progress.write(&written);
        written
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let gate = self.get_mut();
        gate.mark_end();
        let written = gather::poll_write(Pin::new(&mut gate.io), cx, slices);
        gate.progress.write(&written);
        written
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let gate = self.get_mut();
        let flushed = Pin::new(&mut gate.io).poll_flush(cx);
        gate.progress.wait_for_room(flushed.is_pending());
        flushed
    }

    /// Shuts our side, then reads and drops what is left of an unwanted request: closing a socket with unread bytes
    /// resets the connection, and the caller might lose the answer it was just sent (RFC 9112 §9.6). Whoever drives the
    /// connection bounds the time.
    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let gate = self.get_mut();
        if matches!(gate.closing, Closing::Open) {
            gate.mark_end();
            ready!(Pin::new(&mut gate.io).poll_shutdown(cx))?;
            gate.closing = Closing::Lingering(LINGER);
            gate.progress.close();
        }
        gate.poll_linger(cx).map(Ok)
    }
}

impl<T: Stream> Gate<T> {
    /// FIN is the end of an answer that nothing else delimits (RFC 9112 §6.3). Said before its first byte and taken back
    /// after its last, so that no way of losing the connection meanwhile, the process's own end included, looks like it.
    fn mark_end(&mut self) {
        let resets = self.progress.owes_end();
        if self.resets != resets {
            self.io.end_with_reset(resets);
            self.resets = resets;
        }
    }
}

impl<T: AsyncRead + Unpin> Gate<T> {
    fn poll_linger(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Closing::Lingering(left) = &mut self.closing else { return Poll::Ready(()) };
        if !self.progress.expects_leftovers() {
            return Poll::Ready(());
        }
        let mut scratch = [0; 4096];
        while *left > 0 {
            let mut dropped = ReadBuf::new(&mut scratch);
            match ready!(Pin::new(&mut self.io).poll_read(cx, &mut dropped)) {
                Ok(()) if !dropped.filled().is_empty() => {
                    *left = left.saturating_sub(dropped.filled().len());
                }
                _ => break,
            }
        }
        Poll::Ready(())
    }
}
