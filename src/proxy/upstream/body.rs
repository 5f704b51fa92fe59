//! An answer's body on its way in. The one rule: it ends cleanly only if the upstream said so; every other end is an
//! error, and its connection is never used again.

use std::{
    fmt,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::time::Instant;

use super::{
    alarm::Alarm,
    error::{Cause, Side, UpstreamError},
    h1, h2,
    lease::Hold,
    outgoing::Progress,
};

/// The body of an upstream's answer, trailers included. It holds the connection until it has ended or is dropped.
pub struct UpstreamBody(Box<Exchange>);

/// An exchange while its answer's body comes in. Boxed, since an answer is handed on ten times before it is written.
struct Exchange {
    inbound: Inbound,
    /// None once the exchange is over.
    hold: Option<Hold>,
    upload: Option<Rc<Progress>>,
    failed: bool,
    /// Over HTTP/2, the last of the promised bytes, until END_STREAM vouches for them.
    held: Option<Frame<Bytes>>,
    stall: Duration,
    /// Since when there was nothing to read.
    waiting: Option<Instant>,
    alarm: Alarm,
}

/// How the exchange stands when an answer's head has come.
pub(super) struct Circumstances {
    pub(super) hold: Hold,
    pub(super) upload: Option<Rc<Progress>>,
    pub(super) stall: Duration,
    pub(super) alarm: Alarm,
}

impl UpstreamBody {
    pub(super) fn new(inbound: Inbound, so_far: Circumstances) -> Self {
        let Circumstances { hold, upload, stall, alarm } = so_far;
        let mut exchange = Exchange {
            inbound,
            hold: Some(hold),
            upload,
            failed: false,
            held: None,
            stall,
            waiting: None,
            alarm,
        };
        if exchange.inbound.is_end_stream() {
            exchange.end();
        }
        Self(Box::new(exchange))
    }
}

impl Exchange {
    /// The answer is complete. An HTTP/1.1 connection on which the request is not (RFC 9112 §9.3) is cut off.
    fn end(&mut self) {
        let complete = self.upload.as_ref().is_none_or(|upload| upload.has_ended());
        let keeps_alive = self.inbound.keeps_alive();
        self.inbound.let_go();
        match self.hold.take() {
            Some(hold) if complete => hold.end(keeps_alive),
            _ => {}
        }
    }

    fn fail(&mut self, cause: Cause) -> Poll<Option<Result<Frame<Bytes>, UpstreamError>>> {
        self.failed = true;
        self.held = None;
        self.inbound.let_go();
        let place = self.hold.take().and_then(|hold| hold.place().cloned());
        let place = place.unwrap_or_else(|| "the upstream".into());
        Poll::Ready(Some(Err(UpstreamError::sent(&place, cause))))
    }

    /// What comes of a frame, if anything does yet. A caller who has all the promised bytes takes the answer for whole, and
    /// hyper asks no further: so the last of them wait for the end of the stream, be it the next frame or an error. What
    /// else comes with the end, an empty frame or trailers, says nothing more.
    fn pass(&mut self, frame: Frame<Bytes>) -> Option<Frame<Bytes>> {
        if self.inbound.is_end_stream() {
            self.end();
        } else if self.inbound.is_h2() && self.inbound.size_hint().exact() == Some(0) {
            self.held.get_or_insert(frame);
            return None;
        }
        self.held.take().or(Some(frame))
    }

    fn is_complete(&self) -> bool {
        self.inbound.size_hint().exact().unwrap_or(0) == 0
    }
}

/// A body as its connection delivers it.
pub(super) enum Inbound {
    H1(h1::Receiving),
    H2(h2::Receiving),
}

impl Inbound {
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, String>>> {
        match self {
            Self::H1(receiving) => receiving.poll_frame(cx),
            Self::H2(receiving) => receiving.poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::H1(receiving) => receiving.is_end_stream(),
            Self::H2(receiving) => receiving.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::H1(receiving) => receiving.size_hint(),
            Self::H2(receiving) => receiving.size_hint(),
        }
    }

    /// The exchange is over: whatever becomes of the connection is no longer this body's concern.
    fn let_go(&mut self) {
        match self {
            Self::H1(receiving) => receiving.let_go(),
            Self::H2(receiving) => receiving.let_go(),
        }
    }

    /// Whether another exchange may follow on the connection, as far as this side of it says.
    fn keeps_alive(&self) -> bool {
        match self {
            Self::H1(receiving) => receiving.keeps_alive(),
            Self::H2(_) => true,
        }
    }

    fn is_h2(&self) -> bool {
        matches!(self, Self::H2(_))
    }
}

impl Body for UpstreamBody {
    type Data = Bytes;
    type Error = UpstreamError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, UpstreamError>>> {
        let body = &mut *self.0;
        if body.failed || body.hold.is_none() {
            return Poll::Ready(None);
        }
        loop {
            let Poll::Ready(frame) = body.inbound.poll_frame(cx) else {
                let since = *body.waiting.get_or_insert_with(Instant::now);
                ready!(body.alarm.poll_until(since + body.stall, cx));
                return body.fail(Cause::Stall { side: Side::UpstreamSending, limit: body.stall });
            };
            body.waiting = None;
            match frame {
                Some(Ok(frame)) => {
                    if let Some(frame) = body.pass(frame) {
                        return Poll::Ready(Some(Ok(frame)));
                    }
                }
                Some(Err(reason)) => return body.fail(Cause::Incomplete { reason }),
                None if body.is_complete() => {
                    body.end();
                    return Poll::Ready(body.held.take().map(Ok));
                }
                None => return body.fail(Cause::Incomplete { reason: "it ended before its end".to_owned() }),
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.0.hold.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        self.0.inbound.size_hint()
    }
}

impl fmt::Debug for UpstreamBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UpstreamBody").field("ended", &self.0.hold.is_none()).finish_non_exhaustive()
    }
}
