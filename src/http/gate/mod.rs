//! The gate before the HTTP parser: it follows the framing of requests in the raw bytes and lets nothing ambiguous pass.
//! The rule: hyper sees whole heads that were found good, and what follows them, unchanged; of a head that is refused it
//! sees nothing.
//!
//! hyper repairs much that must be refused here (design, law 10): it drops `Content-Length` beside `Transfer-Encoding`,
//! takes equal `Content-Length` fields for one, takes LF for CRLF, cuts `#fragment` off a target. Once it has parsed a
//! request none of this can be seen any more, so the gate looks at the bytes first, in hyper's own read buffer. Only where a
//! head comes in several pieces does it keep them until the last; behind a request in flight it waits for them with the first.
//!
//! In the place of a refused head hyper finds a stand-in, so that the refusal is answered in its turn, after earlier requests.
//! [`InFlight::refusal`] tells that request from those of the caller. A refused body ends in a read error, which the service sees
//! as a body that broke off.
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
    io, mem,
    pin::Pin,
    rc::Rc,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::Instant,
};

pub use self::{
    framing::{Framing, Refusal, Stage},
    progress::{InFlight, Progress},
    violation::Violation,
};
use crate::{
    http::{socket::Stream, tally::Tally},
    net::gather,
};

/// How long a head may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a head, its last line end included.
    pub head: usize,
    /// Bytes of a request target.
    pub target: usize,
    /// Header fields.
    pub fields: usize,
}

/// How long the rest of an unwanted request is read and dropped at most. A caller who sends without looking for the answer
/// meanwhile, as many HTTP clients do, would else be cut off before he has read it (RFC 9112 §9.6).
const LEFTOVERS: Duration = Duration::from_secs(30);

/// The same once the program ends.
const LEFTOVERS_AT_THE_END: Duration = Duration::from_secs(1);

/// How much is read at a time where a head comes in pieces, or is dropped.
const PIECE: usize = 16 * 1024;

/// What hyper finds in the place of a refused head.
const STAND_IN: &[u8] = b"GET / HTTP/1.1\r\nHost: refused\r\n\r\n";
/// The same where the answer must have no body.
const STAND_IN_FOR_HEAD: &[u8] = b"HEAD / HTTP/1.1\r\nHost: refused\r\n\r\n";

/// A connection that passes only unambiguous requests.
#[derive(Debug)]
pub struct Gate<T> {
    io: T,
    framing: Framing,
    held: Held,
    verdict: Verdict,
    progress: Rc<Progress>,
    tally: Arc<Tally>,
    closing: Closing,
    /// Whether the connection would end with a reset now.
    resets: bool,
}

/// What was read and hyper has not got yet.
#[derive(Debug, Default)]
struct Held {
    bytes: Vec<u8>,
    /// So many of them were found good; the others are of a head that has not ended.
    good: usize,
}

impl Held {
    /// Gives hyper what was found good, as far as there is room.
    fn pass(&mut self, buf: &mut ReadBuf<'_>) {
        let now = self.good.min(buf.remaining());
        buf.put_slice(&self.bytes[..now]);
        self.bytes.drain(..now);
        self.good -= now;
        if self.bytes.is_empty() {
            // An idle connection holds nothing.
            self.bytes = Vec::new();
        }
    }
}

#[derive(Debug)]
enum Verdict {
    Passing,
    /// The rest of what hyper reads in the place of a refused head, then nothing more.
    StandIn(&'static [u8]),
    /// The body breaks off with an error, once what came of it before has passed.
    Broken(Option<Violation>),
}

#[derive(Debug)]
enum Closing {
    Open,
    /// The answer is written, and the rest of the request's body is read and dropped, until then at most.
    Draining(Instant),
    /// Our side is shut as well.
    Lingering(Instant),
}

impl<T> Gate<T> {
    /// Guards `io`, which has not been read from.
    pub fn new(io: T, limits: Limits, tally: Arc<Tally>) -> Self {
        Self {
            io,
            framing: Framing::new(limits),
            held: Held::default(),
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

    /// Judges the last bytes of `read`, those from `fresh` on, and says how many of all may pass. The others are of an unfinished
    /// head.
    fn judge(&mut self, read: &[u8], fresh: usize) -> usize {
        if !self.progress.is_in_flight() {
            self.framing.all_answered();
        }
        self.progress.count_read(read.len() - fresh);
        let judgement = self.framing.judge(&read[fresh..]);
        self.progress.stand(self.framing.stage(), self.framing.messages());
        match judgement {
            Ok(()) => read.len() - self.framing.head_length(),
            Err(refusal) => {
                let Refusal { at, begins, violation, stage } = refusal;
                self.tally.refuse(violation);
                self.progress.refuse(violation);
                if stage == Stage::Body {
                    self.verdict = Verdict::Broken(Some(violation));
                    fresh + at
                } else {
                    let is_for_head = self.framing.is_for_head();
                    self.verdict = Verdict::StandIn(if is_for_head { STAND_IN_FOR_HEAD } else { STAND_IN });
                    fresh + begins - self.framing.head_length()
                }
            }
        }
    }

    /// Reads in the place of the connection.
    fn stand_in(&mut self, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match &mut self.verdict {
            // The answer ends the connection.
            Verdict::StandIn([]) => Poll::Pending,
            Verdict::StandIn(rest) => {
                let (now, later) = rest.split_at(rest.len().min(buf.remaining()));
                buf.put_slice(now);
                *rest = later;
                Poll::Ready(Ok(()))
            }
            Verdict::Broken(violation) => Poll::Ready(match violation.take() {
                Some(violation) => Err(io::Error::new(io::ErrorKind::InvalidData, violation)),
                None => Ok(()),
            }),
            Verdict::Passing => Poll::Ready(Ok(())),
        }
    }
}

impl<T: AsyncRead + Unpin> Gate<T> {
    /// Reads on and judges. Nothing in `buf` afterwards: the connection has ended, or what came is held.
    fn poll_more(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<Came>> {
        if self.held.bytes.is_empty() {
            let start = buf.filled().len();
            ready!(self.poll_bytes(cx, buf))?;
            if buf.filled().len() == start {
                return Poll::Ready(Ok(Came::End));
            }
            let good = self.judge(&buf.filled()[start..], 0);
            if self.verdict.is_passing() {
                self.held.bytes.extend_from_slice(&buf.filled()[start + good..]);
            }
            buf.set_filled(start + good);
        } else {
            let mut piece = [0; PIECE];
            let mut read = ReadBuf::new(&mut piece);
            ready!(self.poll_bytes(cx, &mut read))?;
            if read.filled().is_empty() {
                return Poll::Ready(Ok(Came::End));
            }
            let mut bytes = mem::take(&mut self.held.bytes);
            let fresh = bytes.len();
            bytes.extend_from_slice(read.filled());
            self.held.good = self.judge(&bytes, fresh);
            if !self.verdict.is_passing() {
                bytes.truncate(self.held.good);
                bytes.shrink_to_fit();
            }
            self.held.bytes = bytes;
        }
        self.progress.hold_head(self.held.bytes.capacity());
        Poll::Ready(Ok(Came::Bytes))
    }

    fn poll_bytes(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let read = Pin::new(&mut self.io).poll_read(cx, buf);
        self.progress.wait_for_bytes(read.is_pending());
        read
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Came {
    Bytes,
    End,
}

impl Verdict {
    fn is_passing(&self) -> bool {
        matches!(self, Self::Passing)
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Gate<T> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let gate = self.get_mut();
        let start = buf.filled().len();
        loop {
            if gate.held.good > 0 {
                gate.held.pass(buf);
                gate.progress.hold_head(gate.held.bytes.capacity());
                return Poll::Ready(Ok(()));
            }
            if !gate.verdict.is_passing() {
                return gate.stand_in(buf);
            }
            if gate.framing.head_length() > 0 {
                if gate.progress.is_in_flight() {
                    // Its turn comes when the request before it is answered; until then it takes no more memory.
                    gate.progress.wake_when_answered(cx);
                    return Poll::Pending;
                }
                if gate.progress.holds_heads_back() {
                    // In its turn again, behind connections that are just being closed.
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
            }
            if ready!(gate.poll_more(cx, buf))? == Came::End || buf.filled().len() > start {
                return Poll::Ready(Ok(()));
            }
        }
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

    /// Reads and drops the rest of an unwanted request, shuts our side, and reads on until the caller has shut his: closing a
    /// socket with unread bytes resets the connection, and the caller might lose the answer it was just sent (RFC 9112 §9.6).
    /// Whoever drives the connection bounds the time in which nothing comes.
    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let gate = self.get_mut();
        loop {
            gate.closing = match gate.closing {
                Closing::Open => {
                    gate.mark_end();
                    ready!(Pin::new(&mut gate.io).poll_flush(cx))?;
                    gate.progress.close();
                    Closing::Draining(Instant::now() + LEFTOVERS)
                }
                Closing::Draining(until) => {
                    ready!(gate.poll_drain(cx, until));
                    ready!(Pin::new(&mut gate.io).poll_shutdown(cx))?;
                    Closing::Lingering(until)
                }
                Closing::Lingering(until) => {
                    let expects_more = gate.progress.expects_leftovers();
                    return if expects_more {
                        gate.poll_drop(cx, until).map(|_| Ok(()))
                    } else {
                        Poll::Ready(Ok(()))
                    };
                }
            };
        }
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
    /// Ready when the request's body has ended, or nobody knows where it ends.
    fn poll_drain(&mut self, cx: &mut Context<'_>, until: Instant) -> Poll<()> {
        while self.verdict.is_passing() && self.framing.stage() == Stage::Body {
            let mut piece = [0; PIECE];
            let mut read = ReadBuf::new(&mut piece);
            if !ready!(self.poll_piece(cx, &mut read, until)) {
                break;
            }
            self.judge(read.filled(), 0);
        }
        Poll::Ready(())
    }

    /// Ready when nothing more comes, or it came for long enough.
    fn poll_drop(&mut self, cx: &mut Context<'_>, until: Instant) -> Poll<()> {
        let mut piece = [0; PIECE];
        loop {
            let mut read = ReadBuf::new(&mut piece);
            if !ready!(self.poll_piece(cx, &mut read, until)) {
                return Poll::Ready(());
            }
            self.progress.count_read(read.filled().len());
        }
    }

    /// False when nothing more is to be read.
    fn poll_piece(&mut self, cx: &mut Context<'_>, read: &mut ReadBuf<'_>, until: Instant) -> Poll<bool> {
        let came = ready!(Pin::new(&mut self.io).poll_read(cx, read)).is_ok() && !read.filled().is_empty();
        let until = self.progress.hurried().map_or(until, |since| until.min(since + LEFTOVERS_AT_THE_END));
        Poll::Ready(came && Instant::now() < until)
    }
}
