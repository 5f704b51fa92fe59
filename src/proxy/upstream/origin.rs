//! One worker's connections to one origin. The one rule: HTTP/2 connections are anybody's, HTTP/1.1 connections are one
//! account's, and as long as it is not known which it will be, connections are opened one at a time.
//!
//! Where HTTP/2 is spoken, what must not share a connection with others goes over the origin's HTTP/1.1 twin.

use std::{
    cell::{Cell, OnceCell, RefCell},
    collections::HashMap,
    rc::Rc,
    sync::Arc,
    time::Duration,
};

use tokio::{
    sync::Notify,
    task::spawn_local,
    time::{Instant, timeout},
};

use super::{
    RequestBody,
    attempt::{Attempt, Maker},
    connector::Connector,
    error::{Cause, UpstreamError},
    flight::{Flight, Runway},
    gate::{Gate, Permit},
    h1::{H1, Stream},
    h2::H2,
    idle::Idle,
    lease::{Connection, Lease},
    room::Kind,
    share::Share,
    stack::Stack,
};
use crate::{
    names::AccountId,
    net::{Destination, TlsFault},
    tls::Offer,
};

/// With a smaller limit on connections, those for one request at a time would leave the others too few.
const ENOUGH: usize = 8;

/// What an origin speaks, as far as it has shown.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Protocol {
    Unknown,
    Http1,
    Http2,
}

/// The connections to one origin.
pub(super) struct Origin<B: RequestBody> {
    pub(super) to: Destination,
    pub(super) gate: Arc<Gate>,
    pub(super) connector: Connector,
    offer: Offer,
    protocol: Cell<Protocol>,
    /// The same origin over HTTP/1.1.
    twin: OnceCell<Rc<Self>>,
    /// The upstream has asked for HTTP/1.1.
    is_http1_required: Cell<bool>,
    /// The upstream has refused to speak HTTP/1.1.
    is_http2_only: Cell<bool>,
    runway: Rc<Runway>,
    shared: RefCell<Vec<Rc<H2<B>>>>,
    /// Rings when there may be a stream.
    room: Notify,
    /// All accounts' idle HTTP/1.1 connections, the oldest first to go.
    pub(super) idle: RefCell<Idle<Rc<H1<B>>>>,
    stacks: RefCell<HashMap<AccountId, Rc<Stack<B>>>>,
    bell: Rc<Bell>,
}

/// Wakes the task that tends idle connections.
pub(super) struct Bell {
    pub(super) wake: Arc<Notify>,
    /// Whether that task sleeps without a moment to wake at.
    pub(super) resting: Cell<bool>,
}

/// The outcome of a connect: a lease for whoever waits for it, or none when the connection is shared by all.
pub(super) type Connected<B> = Result<Option<Lease<B>>, UpstreamError>;

impl<B: RequestBody> Origin<B> {
    pub(super) fn new(to: Destination, connector: &Connector, bell: &Rc<Bell>) -> Rc<Self> {
        Self::offering(to.offer(), to, connector, bell)
    }

    fn offering(offer: Offer, to: Destination, connector: &Connector, bell: &Rc<Bell>) -> Rc<Self> {
        let protocol = match offer {
            Offer::Both => Protocol::Unknown,
            Offer::Http1 => Protocol::Http1,
        };
        Rc::new(Self {
            gate: connector.gate(&to),
            offer,
            protocol: Cell::new(protocol),
            twin: OnceCell::new(),
            is_http1_required: Cell::new(false),
            is_http2_only: Cell::new(false),
            to,
            connector: connector.clone(),
            runway: Rc::default(),
            shared: RefCell::default(),
            room: Notify::new(),
            idle: RefCell::default(),
            stacks: RefCell::default(),
            bell: bell.clone(),
        })
    }

    pub(super) fn stack(self: &Rc<Self>, account: &AccountId) -> Rc<Stack<B>> {
        let mut stacks = self.stacks.borrow_mut();
        if let Some(stack) = stacks.get(account) {
            return stack.clone();
        }
        let stack = Stack::new(Rc::downgrade(self), account, self.gate.number(account));
        stacks.insert(account.clone(), stack.clone());
        stack
    }

    /// The same origin over HTTP/1.1, where no two requests share a connection at a time. None where HTTP/2 was not agreed on so
    /// far, or HTTP/1.1 is not spoken.
    pub(super) fn twin(&self) -> Option<&Rc<Self>> {
        let has_one = self.protocol.get() == Protocol::Http2 && !self.is_http2_only.get();
        let twin = || Self::offering(Offer::Http1, self.to.clone(), &self.connector, &self.bell);
        has_one.then(|| self.twin.get_or_init(twin))
    }

    /// Whether it stands beside an origin that has chosen HTTP/2.
    fn is_twin(&self) -> bool {
        self.offer != self.to.offer()
    }

    /// Whether there are places enough for connections that only one request uses.
    pub(super) fn has_room_for_twin(&self) -> bool {
        self.gate.load().1 >= ENOUGH
    }

    /// Whether everything is to go over HTTP/1.1.
    pub(super) fn is_http1_required(&self) -> bool {
        self.is_http1_required.get()
    }

    /// The upstream has said so.
    pub(super) fn require_http1(&self) {
        self.is_http1_required.set(true);
    }

    /// HTTP/1.1 was tried in vain.
    pub(super) fn note_http2_only(&self) {
        self.is_http2_only.set(true);
        self.is_http1_required.set(false);
    }

    pub(super) fn unsent(&self, cause: Cause) -> UpstreamError {
        UpstreamError::unsent(&self.to.place, cause)
    }

    /// A stream of a connection shared by all.
    pub(super) fn stream(&self, share: &Share, now: Instant) -> Option<Lease<B>> {
        let shared = self.shared.borrow();
        shared.iter().find(|connection| connection.reserve(share, now)).cloned().map(Lease::h2)
    }

    /// Resolves when a stream may have come free.
    pub(super) async fn room(&self) {
        self.room.notified().await;
    }

    /// A stream of a connection of this kind. Not everybody may use a spare one's, so all may look.
    pub(super) fn stream_ended(&self, kind: Kind) {
        match kind {
            Kind::Common => self.room.notify_one(),
            Kind::Spare => self.room.notify_waiters(),
        }
        self.mind_idle();
    }

    /// A connection takes several streams more than before.
    pub(super) fn streams_came(&self) {
        self.room.notify_waiters();
    }

    /// The attempt to connect that others have to wait for.
    pub(super) fn flight(&self) -> Option<Rc<Flight>> {
        self.runway.flight().filter(|_| self.is_single_file())
    }

    fn is_single_file(&self) -> bool {
        self.protocol.get() != Protocol::Http1
    }

    /// Opens a connection in a task of its own, so that it reaches the pool even if the request goes away.
    pub(super) fn connect(self: &Rc<Self>, stack: &Rc<Stack<B>>, permit: Permit) -> Rc<Attempt<B>> {
        let pilot = self.is_single_file().then(|| self.runway.take_off(self.unsent(Cause::Interrupted)));
        let maker = Maker::begin(stack, self.unsent(Cause::Interrupted));
        let attempt = maker.attempt();
        let (origin, stack) = (self.clone(), stack.clone());
        spawn_local(async move {
            let outcome = origin.establish(&stack, permit).await.map_err(|cause| origin.unsent(cause));
            let flown = outcome.as_ref().map(|_| ()).map_err(Clone::clone);
            // To whoever waits for this one, before those who wait for any.
            maker.end(outcome.map(|connection| origin.admit(connection)));
            if let Some(pilot) = pilot {
                pilot.land(flown);
            }
        });
        attempt
    }

    fn admit(&self, connection: Connection<B>) -> Option<Lease<B>> {
        match connection {
            Connection::H1(connection) => {
                self.protocol.set(Protocol::Http1);
                Some(Lease::h1(connection))
            }
            Connection::H2(connection) => {
                self.protocol.set(Protocol::Http2);
                let now = Instant::now();
                let mut shared = self.shared.borrow_mut();
                shared.retain(|connection| connection.is_alive(now));
                shared.push(connection);
                drop(shared);
                self.mind_idle();
                // Whoever waits for a permit may find a stream instead.
                self.room.notify_waiters();
                None
            }
        }
    }

    async fn establish(
        self: &Rc<Self>,
        stack: &Rc<Stack<B>>,
        permit: Permit,
    ) -> Result<Connection<B>, Cause> {
        let limit = self.connector.timeouts().connect;
        let established = timeout(limit, self.dial(stack, permit)).await;
        established.unwrap_or(Err(Cause::ConnectTimeout { limit }))
    }

    async fn dial(self: &Rc<Self>, stack: &Rc<Stack<B>>, permit: Permit) -> Result<Connection<B>, Cause> {
        let place = &self.to.place;
        let (stream, peer) = self.connector.dialer().tcp(&self.to).await?;
        if !self.to.tls {
            let connection = H1::new(Stream::Left(stream), peer, &self.to, Rc::downgrade(stack), permit);
            return Ok(Connection::H1(connection));
        }
        let stream = self.connector.dialer().tls(&self.to, stream, self.offer).await?;
        if self.is_twin() && !stream.speaks_http1() {
            // The twin of an origin that has chosen HTTP/2: a server that chooses nothing now speaks nothing else.
            let reason = "it agreed on no protocol".to_owned();
            return Err(Cause::Tls { fault: TlsFault::NoProtocol, reason });
        }
        if stream.speaks_h2() {
            let connection = H2::establish(stream, peer, place, Rc::downgrade(self), permit).await?;
            return Ok(Connection::H2(connection));
        }
        let stream = Stream::Right(Box::new(stream));
        let connection = H1::new(stream, peer, &self.to, Rc::downgrade(stack), permit);
        Ok(Connection::H1(connection))
    }

    /// How long a connection is kept that nobody uses.
    pub(super) fn idle_limit(&self) -> Duration {
        self.connector.timeouts().idle
    }

    /// A connection that fell idle then had been closed when it was used. So have those, very likely, that have lain idle for as
    /// long or longer.
    pub(super) fn doubt(&self, fell_idle: Instant) {
        while self.idle.borrow().oldest_since().is_some_and(|since| since <= fell_idle) {
            if let Some(connection) = self.take_oldest(|_| true) {
                connection.close();
            }
        }
    }

    /// Somebody waits for a permit: the oldest idle connection makes room, here or, failing that, at another worker's.
    pub(super) fn make_room(&self) {
        if !self.close_oldest() {
            self.gate.wish();
            self.connector.ring();
        }
    }

    /// Only a worker that has something to close takes a wish upon itself, or it would be lost.
    fn grant_wishes(&self, now: Instant) {
        while self.has_spare(now) && self.gate.take_wish() {
            if !self.close_oldest() && !self.close_idle_shared(now) {
                return self.gate.wish();
            }
        }
    }

    fn has_spare(&self, now: Instant) -> bool {
        !self.idle.borrow().is_empty()
            || self.shared.borrow().iter().any(|connection| connection.is_spare(now))
    }

    fn close_oldest(&self) -> bool {
        let is_wanted = |connection: &Rc<H1<B>>| self.gate.is_wanted(connection.kind());
        if let Some(connection) = self.take_oldest(is_wanted) {
            connection.close();
            return true;
        }
        false
    }

    /// Whether something lies idle here that can make room for anybody.
    pub(super) fn has_common_idle(&self) -> bool {
        self.idle.borrow().any(|connection| connection.kind() == Kind::Common)
    }

    fn take_oldest(&self, asked_for: impl Fn(&Rc<H1<B>>) -> bool) -> Option<Rc<H1<B>>> {
        let (place, connection) = self.idle.borrow_mut().take_oldest(asked_for)?;
        if let Some(stack) = connection.stack() {
            stack.forget(place);
        }
        Some(connection)
    }

    fn close_idle_shared(&self, now: Instant) -> bool {
        let mut shared = self.shared.borrow_mut();
        let is_wanted =
            |connection: &Rc<H2<B>>| connection.is_spare(now) && self.gate.is_wanted(connection.kind());
        let idle = shared.iter().position(is_wanted);
        idle.map(|index| shared.swap_remove(index)).is_some()
    }

    /// Something lies idle: whoever tends it should know.
    pub(super) fn mind_idle(&self) {
        if self.bell.resting.replace(false) {
            self.bell.wake.notify_one();
        }
    }

    /// Closes what lay idle too long or stands in another worker's way. Returns when to look again, if anything is left.
    pub(super) fn sweep(&self, now: Instant) -> Option<Instant> {
        self.grant_wishes(now);
        while self.oldest_expiry().is_some_and(|expiry| expiry <= now) {
            if let Some(connection) = self.take_oldest(|_| true) {
                connection.close();
            }
        }
        self.shared.borrow_mut().retain(|connection| {
            connection.is_alive(now) && connection.expires().is_none_or(|expiry| expiry > now)
        });
        self.stacks.borrow_mut().retain(|_, stack| Rc::strong_count(stack) > 1 || !stack.is_unused());
        let twin = self.twin.get().and_then(|twin| twin.sweep(now));
        let shared = self.shared.borrow();
        // Where somebody waits, one that has just come or become idle is looked at again soon.
        let is_awaited = self.gate.is_awaited();
        let soon = |connection: &Rc<H2<B>>| connection.settles().filter(|at| is_awaited && *at > now);
        let shared = shared.iter().filter_map(|connection| soon(connection).or_else(|| connection.expires()));
        shared.chain(self.oldest_expiry()).chain(twin).min()
    }

    fn oldest_expiry(&self) -> Option<Instant> {
        self.idle.borrow().oldest_since().map(|since| since + self.idle_limit())
    }
}
