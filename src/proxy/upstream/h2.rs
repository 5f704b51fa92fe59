//! One HTTP/2 connection, shared by all accounts of an origin on one worker. The one rule: it never gets more requests
//! than the upstream's SETTINGS allow, so that none of them waits inside the connection, from where it could not be
//! taken back.

use std::{
    cell::{Cell, RefCell},
    future::{Future, poll_fn},
    net::SocketAddr,
    pin::{Pin, pin},
    rc::{Rc, Weak},
    sync::Arc,
    task::{Poll, Waker},
    time::Duration,
};

use http::{Request, Response};
use hyper::{
    body::Incoming,
    client::conn::{TrySendError, http2},
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{task::spawn_local, time::Instant};

use super::{
    IDLE_LIMIT, MAX_AGE, MAX_HEAD, RequestBody,
    error::Cause,
    gate::Permit,
    lease::{Carrier, Ending},
    origin::Origin,
    outgoing::Outgoing,
    room::Kind,
    share::Share,
};
use crate::net::Secured;

/// After this long without a frame while an answer is awaited, a PING asks whether the upstream is still there. Not
/// oftener: servers answer eager pings with ENHANCE_YOUR_CALM (RFC 9113 §7).
const PING_AFTER: Duration = Duration::from_secs(20);
/// A connection whose PING is not answered for this long is dead.
const PONG_WITHIN: Duration = Duration::from_secs(10);
/// Our own bound on streams of one connection, where the upstream sets none: one connection is one TCP congestion
/// window and one core's worth of TLS at the far end.
const MAX_STREAMS: usize = 256;
/// Most bytes of an answer that a stream holds for a caller who does not read. It bounds the speed of one answer as well:
/// 1.3 MB/s at 50 ms of delay, 13 MB/s at 5 ms. In memory they take up to 1.6 times as much, since frames do not fill the buffers
/// in which they arrive; with the buffers of the caller's own connection that stays below 256 KiB.
const STREAM_WINDOW: u32 = 64 << 10;
/// Room for all streams at once. Were it less, a few callers who stop reading would use it up and hold up the answers of
/// every account (RFC 9113 §5.2.2).
const CONNECTION_WINDOW: u32 = MAX_STREAMS as u32 * STREAM_WINDOW;

type Wire<B> = http2::Connection<TokioIo<Secured>, Outgoing<B>, Crew>;

/// An established connection. It closes by itself when it is dropped and its last stream has ended.
pub(super) struct H2<B: RequestBody> {
    sender: RefCell<http2::SendRequest<Outgoing<B>>>,
    /// None once it has ended. Held here since it knows the peer's limit on streams.
    wire: Rc<RefCell<Option<Wire<B>>>>,
    origin: Weak<Origin<B>>,
    streams: Cell<usize>,
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
        let crew = Crew { life: Rc::new(Life { _permit: permit, awaited: Cell::new(None) }) };
        let failed = |e: hyper::Error| Cause::Protocol { reason: e.to_string() };
        let handshake = builder(&crew).handshake(TokioIo::new(stream));
        let (sender, wire) = handshake.await.map_err(failed)?;
        let wire = Rc::new(RefCell::new(Some(wire)));
        spawn_local(crew.clone().watched(Box::pin(drive(wire.clone()))));
        crew.settings(&wire).await?;
        let now = Instant::now();
        Ok(Rc::new(Self {
            sender: RefCell::new(sender),
            wire,
            origin,
            streams: Cell::new(0),
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
        let left = self.max_streams().saturating_sub(self.streams.get());
        let has_few = self.kind == Kind::Common || share.in_use() < left;
        let may = left > 0 && has_few && self.is_alive(now);
        if may {
            self.streams.set(self.streams.get() + 1);
        }
        may
    }

    /// What kind of permit it has.
    pub(super) fn kind(&self) -> Kind {
        self.kind
    }

    /// Whether new requests may still be sent on it, now or when a stream has ended.
    pub(super) fn is_alive(&self, now: Instant) -> bool {
        !self.retired.get() && !self.sender.borrow().is_closed() && now < self.born + MAX_AGE
    }

    fn max_streams(&self) -> usize {
        let wire = self.wire.borrow();
        wire.as_ref().map_or(0, |wire| wire.current_max_send_streams().min(MAX_STREAMS))
    }

    /// When it will have been idle for too long; None while it is in use.
    pub(super) fn expires(&self) -> Option<Instant> {
        (self.streams.get() == 0).then(|| self.idle_since.get() + IDLE_LIMIT)
    }

    pub(super) fn is_idle(&self) -> bool {
        self.streams.get() == 0
    }

    /// Whether it carried a request before; from now on it did.
    pub(super) fn mark_used(&self) -> bool {
        self.used.replace(true)
    }

    /// Hands over a request, on a reserved stream.
    pub(super) fn send(
        &self,
        request: Request<Outgoing<B>>,
    ) -> impl Future<Output = Result<Response<Incoming>, TrySendError<Request<Outgoing<B>>>>> + use<B> {
        self.sender.borrow_mut().try_send_request(request)
    }

    /// A stream has ended, one way or another.
    pub(super) fn release(&self) {
        self.streams.set(self.streams.get() - 1);
        if self.streams.get() == 0 {
            self.idle_since.set(Instant::now());
        }
        if let Some(origin) = self.origin.upgrade() {
            origin.stream_ended(self.kind);
        }
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

fn builder(crew: &Crew) -> http2::Builder<Crew> {
    let mut builder = http2::Builder::new(crew.clone());
    builder
        .timer(TokioTimer::new())
        .keep_alive_interval(PING_AFTER)
        .keep_alive_timeout(PONG_WITHIN)
        .max_header_list_size(MAX_HEAD as u32)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        // Nothing is sent before the upstream has said how many streams it takes: what exceeds its limit comes back
        // as REFUSED_STREAM, without the request.
        .initial_max_send_streams(0);
    builder
}

async fn drive<B: RequestBody>(wire: Rc<RefCell<Option<Wire<B>>>>) {
    let ended = poll_fn(|cx| match wire.borrow_mut().as_mut() {
        Some(wire) => pin!(wire).poll(cx),
        None => Poll::Ready(Ok(())),
    });
    if let Err(error) = ended.await {
        tracing::debug!(%error, "an upstream connection ended");
    }
    wire.borrow_mut().take();
}

/// Runs the connection's tasks on this worker, and holds its permit until the last of them has ended.
#[derive(Clone)]
struct Crew {
    life: Rc<Life>,
}

struct Life {
    _permit: Permit,
    /// Who waits for the SETTINGS.
    awaited: Cell<Option<Waker>>,
}

impl Crew {
    /// A task of the connection. Whenever one has run, SETTINGS may have come.
    async fn watched(self, mut task: Pin<Box<impl Future<Output = ()>>>) {
        poll_fn(|cx| {
            let polled = task.as_mut().poll(cx);
            if let Some(waker) = self.life.awaited.take() {
                waker.wake();
            }
            polled
        })
        .await;
    }

    async fn settings<B: RequestBody>(&self, wire: &RefCell<Option<Wire<B>>>) -> Result<(), Cause> {
        poll_fn(|cx| match wire.borrow().as_ref() {
            None => Poll::Ready(Err(Cause::Protocol { reason: "no HTTP/2 SETTINGS came".to_owned() })),
            Some(wire) if wire.current_max_send_streams() > 0 => Poll::Ready(Ok(())),
            Some(_) => {
                self.life.awaited.set(Some(cx.waker().clone()));
                Poll::Pending
            }
        })
        .await
    }
}

impl<F: Future<Output = ()> + 'static> hyper::rt::Executor<F> for Crew {
    fn execute(&self, task: F) {
        // Boxed: hyper's tasks are large, there is one for every request, and the runtime moves each several times.
        spawn_local(self.clone().watched(Box::pin(task)));
    }
}
