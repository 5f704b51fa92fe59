//! A request body on its way out. The one rule: at any moment it is known whether all of it has been sent, and if not,
//! whose turn it is.

use std::{
    cell::Cell,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::time::Instant;

use super::error::{Cause, Side};

/// How much later than the door a caller who stands still is given up here: the door has the same limit and cuts his
/// connection, so that what he sees does not depend on which of two timers is looked at first.
const DOOR_FIRST: Duration = Duration::from_secs(1);

/// A request body that leaves a trace of its progress. An empty one needs none.
pub(super) struct Outgoing<B> {
    body: B,
    progress: Option<Rc<Progress>>,
}

/// How far a request body has come.
pub(super) struct Progress {
    moved: Cell<Instant>,
    turn: Cell<Turn>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Turn {
    Caller,
    Upstream,
    Ended,
    Broken,
}

impl<B: Body<Data = Bytes>> Outgoing<B> {
    pub(super) fn new(body: B, now: Instant) -> Self {
        let progress = (!body.is_end_stream())
            .then(|| Rc::new(Progress { moved: Cell::new(now), turn: Cell::new(Turn::Upstream) }));
        Self { body, progress }
    }

    pub(super) fn progress(&self) -> Option<Rc<Progress>> {
        self.progress.clone()
    }

    pub(super) fn into_inner(self) -> B {
        self.body
    }
}

impl Progress {
    /// Whether the body went out to its end.
    pub(super) fn has_ended(&self) -> bool {
        self.turn.get() == Turn::Ended
    }

    /// Whether the caller's side of it failed.
    pub(super) fn is_broken(&self) -> bool {
        self.turn.get() == Turn::Broken
    }

    fn set(&self, turn: Turn) {
        self.moved.set(Instant::now());
        self.turn.set(turn);
    }
}

/// When patience for an answer's head ends, and what it is called then.
pub(super) struct Patience {
    /// `upstream.timeouts.head`.
    pub(super) head: Duration,
    /// `upstream.timeouts.stall`.
    pub(super) stall: Duration,
    /// When the request was handed over.
    pub(super) start: Instant,
}

impl Patience {
    /// The head's time runs from the request's end; until then only standing still counts.
    pub(super) fn deadline(&self, progress: Option<&Progress>) -> (Instant, Cause) {
        let head = Cause::HeadTimeout { limit: self.head };
        let Some(progress) = progress else { return (self.start + self.head, head) };
        let stall = |side| Cause::Stall { side, limit: self.stall };
        match progress.turn.get() {
            Turn::Ended | Turn::Broken => (progress.moved.get() + self.head, head),
            Turn::Caller => (progress.moved.get() + self.stall + DOOR_FIRST, stall(Side::Caller)),
            Turn::Upstream => (progress.moved.get() + self.stall, stall(Side::UpstreamTaking)),
        }
    }

    /// How long one may sleep before asking again: the body may end at any time and `head` be the shorter limit.
    pub(super) fn nap(&self) -> Duration {
        self.head.min(self.stall)
    }
}

impl<B: Body<Data = Bytes> + Unpin> Body for Outgoing<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        let Some(progress) = &self.progress else { return polled };
        if polled.is_pending() && progress.turn.get() == Turn::Upstream {
            progress.set(Turn::Caller);
        }
        let frame = ready!(polled);
        progress.set(match &frame {
            Some(Err(_)) => Turn::Broken,
            Some(Ok(frame)) if !frame.is_trailers() && !self.body.is_end_stream() => Turn::Upstream,
            Some(Ok(_)) | None => Turn::Ended,
        });
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    /// Nothing is said of a body that is none: over HTTP/2 hyper would make a `Content-Length: 0` of it.
    fn size_hint(&self) -> SizeHint {
        if self.is_end_stream() { SizeHint::default() } else { self.body.size_hint() }
    }
}
