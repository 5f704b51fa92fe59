//! One HTTP/2 connection, shared by all accounts of an origin on one worker. The one rule: it never gets more requests
//! than the upstream's SETTINGS allow, so that none of them waits inside the connection, from where it could not be
//! taken back.
//!
//! The connection itself is the `h2` library's. `wire` is it and the task that drives it, `window` how much may come of an
//! answer before its caller reads; `sending` is a request until its answer's head, `upload` its body on its way, `receiving`
//! the answer's body.

use std::{
    cell::{Cell, RefCell},
    net::SocketAddr,
    rc::{Rc, Weak},
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use bytes::Bytes;
use h2::client::{Builder, SendRequest};
use http::{Request, header::CONTENT_LENGTH};
use http_body::Body;
use tokio::{task::spawn_local, time::Instant};

mod receiving;
mod sending;
mod upload;
mod window;
mod wire;

pub(super) use receiving::Receiving;
pub(super) use sending::Sending;

use self::{upload::Upload, window::CONNECTION_WINDOW, wire::Wire};
use super::{
    MAX_AGE, MAX_HEAD, RequestBody,
    error::Cause,
    gate::Permit,
    lease::{Carrier, Ending},
    origin::Origin,
    outgoing::Outgoing,
    room::Kind,
    share::Share,
};
use crate::net::Secured;

/// Our own bound on streams of one connection, where the upstream sets none: one connection is one TCP congestion
/// window and one core's worth of TLS at the far end.
const MAX_STREAMS: usize = 256;

/// How long one without a stream is left alone although others want its place.
const SETTLING: Duration = Duration::from_millis(10);

/// Streams given up by their callers of which it is known that more may come.
const FORGOTTEN: usize = 1024;
/// Bytes that frames may take beside what is in them, while they are not read: a chatty answer has many small ones, and the library
/// ends the whole connection when there are too many.
const FRAMES: usize = 128 << 20;

/// An established connection. It closes by itself when it is dropped and its last stream has ended.
pub(super) struct H2<B: RequestBody> {
    requests: RefCell<SendRequest<Bytes>>,
    wire: Rc<Wire>,
    origin: Weak<Origin<B>>,
    idle_since: Cell<Instant>,
    born: Instant,
    retired: Cell<bool>,
    used: Cell<bool>,
    pub(super) peer: Option<SocketAddr>,
    place: Arc<str>,
    kind: Kind,
}

impl<B: RequestBody> H2<B> {
    /// Speaks HTTP/2 on a stream, and waits for the upstream's SETTINGS (RFC 9113 §3.4: they come first).
    pub(super) async fn establish(
        stream: Secured,
        peer: Option<SocketAddr>,
        place: &Arc<str>,
        origin: Weak<Origin<B>>,
        permit: Permit,
    ) -> Result<Rc<Self>, Cause> {
        let kind = permit.kind;
        let handshake = builder().handshake::<_, Bytes>(stream).await;
        let (requests, connection) =
            handshake.map_err(|error| Cause::Protocol { reason: error.to_string() })?;
        let wire = Wire::new(connection);
        let room = origin.clone();
        spawn_local(wire.clone().drive(permit, move || {
            if let Some(origin) = room.upgrade() {
                origin.streams_came();
            }
        }));
        wire.settled(|| requests.current_max_send_streams() > 0).await?;
        let now = Instant::now();
        Ok(Rc::new(Self {
            requests: RefCell::new(requests),
            wire,
            origin,
            idle_since: Cell::new(now),
            born: now,
            retired: Cell::new(false),
            used: Cell::new(false),
            peer,
            place: place.clone(),
            kind,
        }))
    }

    /// Takes one stream, if there is one to take. Of a connection on a spare permit only one who has fewer under way than
    /// streams are left.
    pub(super) fn reserve(&self, share: &Share, now: Instant) -> bool {
        let left = self.max_streams().saturating_sub(self.wire.streams());
        let has_few = self.kind == Kind::Common || share.in_use() < left;
        left > 0 && has_few && self.is_alive(now) && self.wire.open(now)
    }

    /// What kind of permit it has.
    pub(super) fn kind(&self) -> Kind {
        self.kind
    }

    /// Whether new requests may still be sent on it, now or when a stream has ended.
    pub(super) fn is_alive(&self, now: Instant) -> bool {
        !self.retired.get() && now < self.born + MAX_AGE && !self.has_failed()
    }

    /// Whether it is over, by an error or by the upstream's GOAWAY.
    fn has_failed(&self) -> bool {
        let ready = self.requests.borrow_mut().poll_ready(&mut Context::from_waker(Waker::noop()));
        matches!(ready, Poll::Ready(Err(_)))
    }

    fn max_streams(&self) -> usize {
        self.requests.borrow().current_max_send_streams().min(MAX_STREAMS)
    }

    /// When it will have been idle for too long; None while it is in use.
    pub(super) fn expires(&self) -> Option<Instant> {
        let limit = self.origin.upgrade().map_or(Duration::ZERO, |origin| origin.idle_limit());
        self.is_idle().then(|| self.idle_since.get() + limit)
    }

    /// Whether it may make room for another: not at once, so that those who waited for it find it first.
    pub(super) fn is_spare(&self, now: Instant) -> bool {
        self.settles().is_some_and(|at| at <= now)
    }

    /// When that will be; None while it is in use.
    pub(super) fn settles(&self) -> Option<Instant> {
        self.is_idle().then(|| self.idle_since.get() + SETTLING)
    }

    pub(super) fn is_idle(&self) -> bool {
        self.wire.streams() == 0
    }

    /// Whether it carried a request before; from now on it did.
    pub(super) fn mark_used(&self) -> bool {
        self.used.replace(true)
    }

    /// Sends a request, on a reserved stream.
    pub(super) fn send(&self, request: Box<Request<Outgoing<B>>>) -> Sending<B> {
        if self.has_failed() {
            return Sending::unsent(request);
        }
        let progress = request.body().progress();
        let (mut head, body) = (*request).into_parts();
        let is_whole = body.is_end_stream();
        if let Some(length) = body.size_hint().exact() {
            head.headers.entry(CONTENT_LENGTH).or_insert_with(|| length.into());
        }
        // A handle of its own: one whose stream waits to be opened takes no other request.
        let mut requests = self.requests.borrow().clone();
        match requests.send_request(Request::from_parts(head, ()), is_whole) {
            Ok((answer, stream)) => {
                let upload = if is_whole { None } else { Upload::begin(body, stream) };
                Sending::sent(answer, upload, progress, &self.wire)
            }
            Err(error) => Sending::failed(&error),
        }
    }

    /// A stream has ended, one way or another.
    pub(super) fn release(&self) {
        self.wire.close();
        if self.is_idle() {
            self.idle_since.set(Instant::now());
        }
        if let Some(origin) = self.origin.upgrade() {
            origin.stream_ended(self.kind);
        }
    }
}

impl<B: RequestBody> Drop for H2<B> {
    fn drop(&mut self) {
        self.wire.leave();
    }
}

impl<B: RequestBody> Carrier for H2<B> {
    fn ended(self: Rc<Self>, _ending: Ending) {
        self.release();
    }

    fn declined(&self) {
        self.retired.set(true);
    }

    fn place(&self) -> &Arc<str> {
        &self.place
    }
}

fn builder() -> Builder {
    let mut builder = Builder::new();
    builder
        .enable_push(false)
        .max_header_list_size(MAX_HEAD as u32)
        .initial_window_size(window::SMALLEST)
        .initial_connection_window_size(CONNECTION_WINDOW)
        // What still comes of answers whose callers have left must not end the connection for those who have not.
        .max_concurrent_reset_streams(FORGOTTEN)
        .max_local_error_reset_streams(None)
        .data_frame_budget(FRAMES)
        // Nothing is sent before the upstream has said how many streams it takes: what exceeds its limit comes back
        // as REFUSED_STREAM, without the request.
        .initial_max_send_streams(0);
    builder
}

/// An error with all that lies behind it.
fn words(error: &h2::Error) -> String {
    match error.get_io() {
        Some(io) => io.to_string(),
        None => error.to_string(),
    }
}
