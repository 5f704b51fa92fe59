//! Bytes to and from an upstream. The one rule: what was taken for writing is written once and in order, and what was
//! read and not used stays in sight, so that nobody takes it for the beginning of another answer.

use std::{
    future::{Future, poll_fn},
    io::{self, IoSlice},
    mem::MaybeUninit,
    pin::{Pin, pin},
    task::{Context, Poll, Waker, ready},
};

use bytes::{Buf, Bytes, BytesMut};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    task::coop::unconstrained,
};
use tokio_util::{either::Either, io::poll_read_buf};

use super::super::gate::Permit;
use crate::net::Secured;

/// What is read at once, as a rule: a TLS record's worth. It lies on the stack, so that an idle connection holds no
/// buffer and a short answer gets one of its own size.
const ROOM: usize = 16 * 1024;
/// What is read at once of a long body.
const BULK: usize = 64 * 1024;

/// Most of an outbox that a connection keeps for its next request, in bytes.
const KEPT: usize = 4 * 1024;
/// Up to here a piece is copied behind what else is to be written; a larger one is written from where it lies.
const COPIED: usize = 16 * 1024;

/// What HTTP/1.1 is spoken on.
pub(in super::super) type Stream = Either<TcpStream, Box<Secured>>;

/// A stream and what is between it and us.
pub(super) struct Wire {
    stream: Stream,
    /// As long as the stream is open.
    _permit: Permit,
    /// Read, and not yet used.
    pub(super) received: BytesMut,
    /// To be written.
    pub(super) outbox: Outbox,
    /// Written, but maybe still held back by TLS.
    unflushed: bool,
    /// The last reading filled all the room there was.
    flows: bool,
    /// What a reading ended with that also brought bytes. The operating system tells a reset only once.
    broken: Option<io::Error>,
    /// Writing failed, which has told us of a reset: reading would call the stream's end an orderly one.
    is_cut: bool,
}

/// What is to be written: small things copied together, then at most one large piece as it came, then its end.
#[derive(Default)]
pub(super) struct Outbox {
    pub(super) small: Vec<u8>,
    /// How much of it is written.
    written: usize,
    large: Bytes,
    end: &'static [u8],
}

impl Wire {
    pub(super) fn new(stream: Stream, permit: Permit) -> Self {
        Self {
            stream,
            _permit: permit,
            received: BytesMut::new(),
            outbox: Outbox::default(),
            unflushed: false,
            flows: false,
            broken: None,
            is_cut: false,
        }
    }

    /// Reads more, if there is anything: how many bytes, and 0 at the stream's end. `expected` is how many may still come.
    pub(super) fn poll_fill(&mut self, expected: u64, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if let Some(error) = self.broken.take() {
            return Poll::Ready(Err(error));
        }
        let is_much = self.flows && expected >= ROOM as u64;
        let read = ready!(if is_much { self.poll_fill_much(cx) } else { self.poll_fill_some(cx) })?;
        if read == 0 && self.is_cut {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        Poll::Ready(Ok(read))
    }

    fn poll_fill_some(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let mut room = [MaybeUninit::uninit(); ROOM];
        let mut room = ReadBuf::uninit(&mut room);
        ready!(Pin::new(&mut self.stream).poll_read(cx, &mut room))?;
        let read = room.filled();
        self.flows = read.len() == ROOM;
        self.received.extend_from_slice(read);
        Poll::Ready(Ok(read.len()))
    }

    /// As much as is there, since each reading of TLS yields one record at most.
    fn poll_fill_much(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let before = self.received.len();
        self.received.reserve(BULK);
        while self.received.len() - before < BULK {
            let read = poll_read_buf(Pin::new(&mut self.stream), cx, &mut self.received);
            let so_far = self.received.len() - before;
            match read {
                Poll::Ready(Ok(read)) if read > 0 => {}
                nothing if so_far == 0 => return nothing,
                Poll::Ready(Err(error)) => {
                    self.broken = Some(error);
                    break;
                }
                Poll::Ready(Ok(_)) | Poll::Pending => break,
            }
        }
        Poll::Ready(Ok(self.received.len() - before))
    }

    /// Writes what is in the outbox, to the last byte.
    pub(super) fn poll_drain(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let drained = self.poll_write(cx);
        self.is_cut |= matches!(drained, Poll::Ready(Err(_)));
        drained
    }

    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.outbox.is_empty() {
            let written = ready!(self.outbox.poll_write(Pin::new(&mut self.stream), cx))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.outbox.advance(written);
            self.unflushed = true;
        }
        if self.unflushed {
            ready!(Pin::new(&mut self.stream).poll_flush(cx))?;
            self.unflushed = false;
        }
        Poll::Ready(Ok(()))
    }

    /// Whether all that was to be written is.
    pub(super) fn is_drained(&self) -> bool {
        self.outbox.is_empty() && !self.unflushed
    }

    /// Whether nothing came, neither bytes nor an end; then `cx` is woken when something does.
    pub(super) fn is_quiet(&mut self, cx: &mut Context<'_>) -> bool {
        let mut room = [MaybeUninit::uninit(); 1];
        let mut room = ReadBuf::uninit(&mut room);
        let read = poll_fn(|cx| Pin::new(&mut self.stream).poll_read(cx, &mut room));
        // A task that has used up its turn is told that nothing came, whatever did.
        let is_pending = pin!(unconstrained(read)).poll(cx).is_pending();
        is_pending && self.received.is_empty()
    }

    /// After an exchange: whether nothing is left of it. Gives buffers back.
    pub(super) fn rest(&mut self) -> bool {
        let is_clean =
            self.received.is_empty() && self.outbox.is_empty() && !self.unflushed && self.broken.is_none();
        self.received = BytesMut::new();
        self.outbox.small.shrink_to(KEPT);
        self.flows = false;
        is_clean
    }

    /// Says that nothing more will be sent, as far as that can be said without waiting.
    pub(super) fn say_farewell(&mut self) {
        // Whether an upstream hears it is of no consequence: the connection ends now.
        let _ = Pin::new(&mut self.stream).poll_shutdown(&mut Context::from_waker(Waker::noop()));
    }
}

impl Outbox {
    /// Adds a piece and what follows it; the next one when this one is written.
    pub(super) fn put(&mut self, piece: Bytes, end: &'static str) {
        if piece.len() <= COPIED {
            self.small.extend_from_slice(&piece);
            self.small.extend_from_slice(end.as_bytes());
        } else {
            self.large = piece;
            self.end = end.as_bytes();
        }
    }

    fn is_empty(&self) -> bool {
        self.small.is_empty() && self.large.is_empty() && self.end.is_empty()
    }

    fn poll_write(&self, stream: Pin<&mut Stream>, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let small = &self.small[self.written..];
        if self.large.is_empty() && self.end.is_empty() {
            return stream.poll_write(cx, small);
        }
        stream.poll_write_vectored(cx, &[small, &self.large, self.end].map(IoSlice::new))
    }

    fn advance(&mut self, written: usize) {
        let of_small = written.min(self.small.len() - self.written);
        let of_large = (written - of_small).min(self.large.len());
        self.written += of_small;
        self.large.advance(of_large);
        if self.large.is_empty() {
            self.large = Bytes::new();
        }
        self.end = &self.end[written - of_small - of_large..];
        if self.written == self.small.len() {
            self.small.clear();
            self.written = 0;
        }
    }
}
