//! One HTTP/1.1 connection. The one rule: it belongs to one account from its first request to its end, and it is used
//! again only after an exchange that ended cleanly on both sides.
//!
//! No task stands between a request and its connection: whoever waits for an answer reads and writes it, so that an
//! exchange costs one wake-up and no channel. `wire` moves bytes; `head`, `framing` and `chunked` know RFC 9112;
//! `sending` is a request until its answer's head, `receiving` the answer's body, `upload` a request body on its way.

use std::{
    cell::{Cell, RefCell},
    fmt,
    future::poll_fn,
    net::SocketAddr,
    rc::{Rc, Weak},
    sync::Arc,
    task::{Context, Wake, Waker},
    time::Duration,
};

use http::Request;
use tokio::{
    sync::Notify,
    time::{Instant, timeout},
};

mod chunked;
mod framing;
mod head;
#[cfg(test)]
mod hyper;
mod receiving;
mod sending;
mod upload;
mod wire;

pub(super) use receiving::Receiving;
pub(super) use sending::Sending;
pub(super) use wire::Stream;

use self::wire::Wire;
use super::{
    MAX_AGE, RequestBody,
    gate::Permit,
    idle::Place,
    lease::{Carrier, Ending},
    outgoing::Outgoing,
    room::{Kind, Party},
    stack::Stack,
};
use crate::{net::Destination, provider::Transport};

/// How long the end of a request may take to be written when its answer is complete. A peer that leaves it unread for
/// longer will not read it.
const SETTLING: Duration = Duration::from_secs(1);

/// So much earlier than an upstream announced a connection is given up.
const MARGIN: Duration = Duration::from_secs(1);

/// An established connection. Dropping it cuts it off, unless it was told to close in order.
pub(super) struct H1<B: RequestBody> {
    wire: Rc<RefCell<Wire>>,
    /// Whose it is.
    stack: Weak<Stack<B>>,
    born: Instant,
    pub(super) peer: Option<SocketAddr>,
    place: Arc<str>,
    used: Cell<bool>,
    /// Where it lies while nobody uses it.
    lies: Cell<Option<Place>>,
    /// When nobody used it for the last time.
    fell_idle: Cell<Option<Instant>>,
    /// How long the upstream keeps it, by its own account.
    announced: Cell<Option<Duration>>,
    transport: Arc<Transport>,
    /// For whom it was opened, and on what kind of permit.
    owner: Party,
    kind: Kind,
    watch: Watch,
}

impl<B: RequestBody> H1<B> {
    /// Speaks HTTP/1.1 on a stream.
    pub(super) fn new(
        stream: Stream,
        peer: Option<SocketAddr>,
        to: &Destination,
        stack: Weak<Stack<B>>,
        permit: Permit,
    ) -> Rc<Self> {
        let (owner, kind) = (permit.party, permit.kind);
        let connection = Rc::new(Self {
            wire: Rc::new(RefCell::new(Wire::new(stream, permit))),
            stack,
            born: Instant::now(),
            peer,
            place: to.place.clone(),
            used: Cell::new(false),
            lies: Cell::new(None),
            fell_idle: Cell::new(None),
            announced: Cell::new(None),
            transport: to.transport.clone(),
            owner,
            kind,
            watch: Watch::new(),
        });
        tokio::task::spawn_local(watch(Rc::downgrade(&connection), connection.watch.stirred.clone()));
        connection
    }

    /// Whether new requests may still be sent on it.
    pub(super) fn is_young(&self, now: Instant) -> bool {
        now < self.born + MAX_AGE
    }

    /// Whether nothing came that nobody asked for, and no end. If anything comes later, the watch is woken.
    pub(super) fn is_quiet(&self) -> bool {
        self.wire.borrow_mut().is_quiet(&mut Context::from_waker(&self.watch.waker))
    }

    /// Whether it carried a request before; from now on it did.
    pub(super) fn mark_used(&self) -> bool {
        self.used.replace(true)
    }

    pub(super) fn stack(&self) -> Option<Rc<Stack<B>>> {
        self.stack.upgrade()
    }

    /// Whom its permit counts for.
    pub(super) fn owner(&self) -> Party {
        self.owner
    }

    /// What kind of permit it has.
    pub(super) fn kind(&self) -> Kind {
        self.kind
    }

    /// The only caller who may use it, if there is one: a spare permit is for the one to whom it was given, or those who have
    /// many would use up what is kept for those who have few.
    pub(super) fn only(&self) -> Option<u32> {
        (self.kind == Kind::Spare).then_some(self.owner.caller)
    }

    /// It lies idle from now on.
    pub(super) fn lay(&self, place: Place, now: Instant) {
        self.lies.set(Some(place));
        self.fell_idle.set(Some(now));
    }

    /// It lies idle no longer. False when it did so for longer than it is kept: `limit` at most, and less where the upstream
    /// announced less. That is not used to its end, since the upstream's farewell may be on its way or be lost.
    pub(super) fn take_up(&self, now: Instant, limit: Duration) -> bool {
        self.lies.set(None);
        let announced = self.announced.get().map(|time| time - (time / 2).min(MARGIN));
        let kept = announced.map_or(limit, |announced| announced.min(limit));
        self.fell_idle.get().is_none_or(|since| now < since + kept)
    }

    /// When nobody used it for the last time.
    pub(super) fn fell_idle(&self) -> Option<Instant> {
        self.fell_idle.get()
    }

    /// Closes an idle connection with TLS's and TCP's own farewells instead of cutting it off.
    pub(super) fn close(&self) {
        self.wire.borrow_mut().say_farewell();
    }

    /// Puts a request on the connection.
    pub(super) fn send(self: &Rc<Self>, request: Box<Request<Outgoing<B>>>) -> Sending<B> {
        Sending::new(self.clone(), request)
    }

    /// An answer may be complete before the last of its request is written, which then belongs to the request all the same.
    async fn drain(self: Rc<Self>, ending: Ending) {
        let drained = timeout(SETTLING, poll_fn(|cx| self.wire.borrow_mut().poll_drain(cx))).await;
        if matches!(drained, Ok(Ok(()))) {
            self.settle(ending);
        }
    }

    /// Both bodies have ended, down to the last byte.
    fn settle(self: Rc<Self>, ending: Ending) {
        let is_clean = self.wire.borrow_mut().rest();
        match ending {
            Ending::Clean if is_clean => Stack::give_back(self),
            _ => self.close(),
        }
    }

    /// Something came while it lay idle. Whatever it is, unless it is TLS's own concern, the connection is worth nothing.
    fn look(&self) {
        if let Some(place) = self.lies.get()
            && !self.is_quiet()
            && let Some(stack) = self.stack()
        {
            stack.lose(place);
        }
    }
}

impl<B: RequestBody> Carrier for H1<B> {
    fn ended(self: Rc<Self>, ending: Ending) {
        match ending {
            Ending::Broken => {}
            _ if self.wire.borrow().is_drained() => self.settle(ending),
            _ => drop(tokio::task::spawn_local(self.drain(ending))),
        }
    }

    /// It belongs to this exchange alone, and is cut off with it.
    fn declined(&self) {}

    fn place(&self) -> &Arc<str> {
        &self.place
    }
}

impl<B: RequestBody> Drop for H1<B> {
    fn drop(&mut self) {
        self.watch.stirred.notify_one();
    }
}

impl<B: RequestBody> fmt::Debug for H1<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "H1({})", self.place)
    }
}

/// Wakes the task that looks after a connection nobody uses.
struct Watch {
    stirred: Arc<Stirred>,
    waker: Waker,
}

#[derive(Default)]
struct Stirred(Notify);

impl Watch {
    fn new() -> Self {
        let stirred = Arc::new(Stirred::default());
        Self { waker: Waker::from(stirred.clone()), stirred }
    }
}

impl Stirred {
    fn notify_one(&self) {
        self.0.notify_one();
    }
}

impl Wake for Stirred {
    fn wake(self: Arc<Self>) {
        self.notify_one();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.notify_one();
    }
}

/// An upstream's farewell frees the connection's permit at once, not when somebody next wants to use it.
async fn watch<B: RequestBody>(connection: Weak<H1<B>>, stirred: Arc<Stirred>) {
    loop {
        stirred.0.notified().await;
        match connection.upgrade() {
            Some(connection) => connection.look(),
            None => return,
        }
    }
}
