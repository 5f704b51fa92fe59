//! A worker's pool. The one rule: a request that has to wait does so in this order — a connection at hand, an attempt
//! for all, an attempt of its account that nobody waits for any more, its turn for a permit, an attempt of its own — and
//! leaves nothing behind wherever it is dropped.

use std::{
    cell::{Cell, RefCell},
    future::Future,
    rc::{Rc, Weak},
    sync::Arc,
};

use http::{HeaderMap, Request};
use tokio::{
    sync::Notify,
    task::spawn_local,
    time::{Instant, sleep, sleep_until},
};

use super::{
    RequestBody,
    alarm::Alarms,
    attempt::Attempt,
    connector::Connector,
    error::{Cause, Exceeded, SendFailure, UpstreamError},
    exchange::{Broken, Reply, Terms},
    flight::Flight,
    gate::{Permit, Waiting},
    lease::Lease,
    origin::{Bell, Connected, Origin},
    outgoing::Outgoing,
    room::Party,
    share::Share,
    stack::Stack,
};
use crate::{names::AccountId, net::Destination, provider::HttpUrl};

/// Connections tried before a fresh one is insisted on: an upstream that has just closed some of its idle connections
/// has usually closed them all.
const TRIES_ON_USED: usize = 2;
/// Tries in all. Every one but the last ended without a byte written.
const TRIES: usize = 4;

/// A request whose names, values and target take more bytes than this shares no connection. Servers' limits begin at 8 KiB, and
/// many (nginx, Tomcat) end the whole HTTP/2 connection where one request exceeds them.
const LARGE_HEAD: usize = 6 << 10;

/// A worker's connections. Everything it does runs on the `LocalSet` from which it is used.
pub struct Pool<B: RequestBody>(Rc<Worker<B>>);

struct Worker<B: RequestBody> {
    connector: Connector,
    alarms: Rc<Alarms>,
    bell: Rc<Bell>,
    is_tended: Cell<bool>,
    /// A handful: looked through one by one, and only when a lane is made.
    origins: RefCell<Vec<Rc<Origin<B>>>>,
}

/// One account's way to one origin, for one caller. Keep it: making one costs a look into two tables, using it nothing.
pub struct Lane<B: RequestBody> {
    worker: Rc<Worker<B>>,
    origin: Rc<Origin<B>>,
    stack: Rc<Stack<B>>,
    share: Rc<Share>,
}

impl<B: RequestBody> Clone for Pool<B> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<B: RequestBody> Clone for Lane<B> {
    fn clone(&self) -> Self {
        Self {
            worker: self.worker.clone(),
            origin: self.origin.clone(),
            stack: self.stack.clone(),
            share: self.share.clone(),
        }
    }
}

impl<B: RequestBody> Pool<B> {
    /// An empty pool of this worker's own.
    pub fn new(connector: Connector) -> Self {
        let wake = Arc::new(Notify::new());
        connector.hang(&wake);
        Self(Rc::new(Worker {
            connector,
            alarms: Rc::default(),
            bell: Rc::new(Bell { wake, resting: Cell::new(true) }),
            is_tended: Cell::new(false),
            origins: RefCell::default(),
        }))
    }

    /// The account's way to an origin, for a caller without a key. The URL's path plays no part.
    pub fn lane(&self, origin: &HttpUrl, account: &AccountId) -> Lane<B> {
        let origin = self.0.origin(origin);
        let stack = origin.stack(account);
        let share = stack.share(0);
        Lane { worker: self.0.clone(), origin, stack, share }
    }

    /// [`Lane::send`] for those who keep no lane.
    ///
    /// # Errors
    /// As there.
    pub async fn send(
        &self,
        origin: &HttpUrl,
        account: &AccountId,
        request: Request<B>,
    ) -> Result<Reply, SendFailure<B>> {
        self.lane(origin, account).send(request).await
    }
}

impl<B: RequestBody> Worker<B> {
    fn origin(&self, url: &HttpUrl) -> Rc<Origin<B>> {
        let mut origins = self.origins.borrow_mut();
        if let Some(origin) = origins.iter().find(|origin| origin.to.is(url)) {
            return origin.clone();
        }
        let origin = Origin::new(Destination::new(url), &self.connector, &self.bell);
        origins.push(origin.clone());
        origin
    }

    /// Starts the one task that tends idle connections, with the first connection.
    fn be_tended(self: &Rc<Self>) {
        if !self.is_tended.replace(true) {
            spawn_local(tend(Rc::downgrade(self), self.bell.wake.clone()));
        }
    }

    fn sweep(&self, now: Instant) -> Option<Instant> {
        let next = self.origins.borrow().iter().filter_map(|origin| origin.sweep(now)).min();
        self.bell.resting.set(next.is_none());
        next
    }
}

impl<B: RequestBody> Drop for Worker<B> {
    fn drop(&mut self) {
        self.bell.wake.notify_one();
    }
}

/// Sleeps without a timer while nothing lies idle, and ends with its pool.
async fn tend<B: RequestBody>(worker: Weak<Worker<B>>, wake: Arc<Notify>) {
    while let Some(next) = worker.upgrade().map(|worker| worker.sweep(Instant::now())) {
        match next {
            None => wake.notified().await,
            Some(next) => tokio::select! {
                () = sleep_until(next) => {}
                () = wake.notified() => {}
            },
        }
    }
}

impl<B: RequestBody> Lane<B> {
    /// The same way, for the caller of this number.
    #[must_use]
    pub fn for_caller(mut self, caller: u32) -> Self {
        if self.share.caller != caller {
            self.share = self.stack.share(caller);
        }
        self
    }

    /// The number of the caller it is for.
    pub fn caller(&self) -> u32 {
        self.share.caller
    }

    fn party(&self) -> Party {
        self.stack.party(&self.share)
    }

    /// Sends a request and waits for the head of its answer. The request's URI is the path and query as they are to be
    /// sent; scheme, `:authority` and `Host` come from the lane's origin, whatever the request says.
    ///
    /// Dropping the future breaks the exchange off. `CONNECT` has no place here.
    ///
    /// # Errors
    /// When there is no connection in time, or it fails before the answer's head. The failure says whether the request
    /// may have arrived; when it was not touched, it comes back.
    pub async fn send(&self, request: Request<B>) -> Result<Reply, SendFailure<B>> {
        self.send_when(request, |_| true).await
    }

    /// As [`Lane::send`]. `ready` is asked whenever a connection had to be waited for, however long that took: it may still
    /// change the header fields, and when it says no, nothing is sent.
    ///
    /// # Errors
    /// As there, and [`Cause::NotReady`].
    pub fn send_when(
        &self,
        request: Request<B>,
        ready: impl Fn(&mut HeaderMap) -> bool,
    ) -> impl Future<Output = Result<Reply, SendFailure<B>>> {
        self.try_from(0, false, request, ready)
    }

    /// As [`Lane::send_when`], for a request that was lost before. Not on an HTTP/1.1 connection kept from before, since an upstream
    /// that ends one of them has often ended them all; and on none that is shared, where another request may have been the
    /// reason.
    ///
    /// # Errors
    /// As there.
    pub fn send_anew(
        &self,
        lost: &Cause,
        request: Request<B>,
        ready: impl Fn(&mut HeaderMap) -> bool,
    ) -> impl Future<Output = Result<Reply, SendFailure<B>>> {
        self.try_from(TRIES_ON_USED, matches!(lost, Cause::ConnectionError { .. }), request, ready)
    }

    fn try_from(
        &self,
        first: usize,
        aside: bool,
        request: Request<B>,
        ready: impl Fn(&mut HeaderMap) -> bool,
    ) -> impl Future<Output = Result<Reply, SendFailure<B>>> {
        // Boxed: it would be moved from future to future, and each of them would have room for it.
        let now = Instant::now();
        let request = Box::new(request.map(|body| Outgoing::new(body, now)));
        async move {
            let request = match self.aside(aside, &request) {
                None => request,
                // Boxed as well: few requests need it.
                Some(lane) => match Box::pin(lane.exchange(first, request, now, &ready)).await {
                    Err(SendFailure { error, request: Some(unsent), .. }) if error.is_http2_only() => {
                        self.origin.note_http2_only();
                        Box::new(unsent.map(|body| Outgoing::new(body, now)))
                    }
                    sent => return sent,
                },
            };
            self.exchange(first, request, now, &ready).await
        }
    }

    /// The same way over HTTP/1.1, for what must not share a connection.
    fn aside(&self, aside: bool, request: &Request<Outgoing<B>>) -> Option<Self> {
        let twin = self.origin.twin()?;
        let is_due = self.origin.is_http1_required()
            || (aside || is_large(request)) && self.origin.has_room_for_twin();
        let (worker, share) = (self.worker.clone(), self.share.clone());
        is_due.then(|| Self { worker, origin: twin.clone(), stack: twin.stack(&self.stack.account), share })
    }

    async fn exchange(
        &self,
        first: usize,
        mut request: Box<Request<Outgoing<B>>>,
        mut now: Instant,
        ready: &impl Fn(&mut HeaderMap) -> bool,
    ) -> Result<Reply, SendFailure<B>> {
        let terms = Terms {
            to: &self.origin.to,
            timeouts: self.worker.connector.timeouts(),
            alarms: &self.worker.alarms,
            share: &self.share,
        };
        for attempt in first..TRIES {
            let fresh = attempt >= TRIES_ON_USED;
            let (lease, at_once) = match self.at_hand(fresh, now) {
                Some(lease) => (Ok(lease), attempt == 0),
                // Boxed: its many states would make every request's future large.
                None => (Box::pin(self.wait(fresh)).await, false),
            };
            let lease = match lease {
                Ok(lease) => lease,
                Err(error) => return Err(untouched(error, *request)),
            };
            if !at_once {
                now = Instant::now();
                if !ready(request.headers_mut()) {
                    return Err(untouched(self.origin.unsent(Cause::NotReady), *request));
                }
            }
            let Some(connection) = lease.take() else { continue };
            let fell_idle = connection.fell_idle();
            request = match terms.exchange(connection, request, now).await {
                Ok(reply) => return Ok(reply),
                Err(Broken::Unsent(request)) => request,
                Err(Broken::Failed { error, reused }) => {
                    match (error.cause(), fell_idle) {
                        (Cause::Http11Required, _) => self.origin.require_http1(),
                        (Cause::Closed { .. }, Some(since)) => self.origin.doubt(since),
                        _ => {}
                    }
                    return Err(SendFailure { error, reused, request: None });
                }
            };
        }
        let reason = "it closes connections before a request can be written".to_owned();
        Err(untouched(self.origin.unsent(Cause::Closed { reason }), *request))
    }

    fn at_hand(&self, fresh: bool, now: Instant) -> Option<Lease<B>> {
        let used = || self.stack.pop(&self.origin, self.share.caller, now).map(Lease::h1);
        self.origin.stream(&self.share, now).or_else(|| if fresh { None } else { used() })
    }

    async fn wait(&self, fresh: bool) -> Result<Lease<B>, UpstreamError> {
        self.worker.be_tended();
        let mut place = None;
        loop {
            if let Some(lease) = self.at_hand(fresh, Instant::now()) {
                return Ok(lease);
            }
            if let Some(flight) = self.origin.flight() {
                self.queue_up(&mut place)?;
                self.landing(&flight).await?;
                continue;
            }
            let attempt = match self.left_over() {
                Some(attempt) => attempt,
                None => match self.turn(fresh, &mut place).await? {
                    // While this one waited, another may have started what this one would now start.
                    Turn::Permit(_) if self.origin.flight().is_some() => continue,
                    Turn::Permit(permit) => self.attempt(permit),
                    Turn::Connection(Some(lease)) => return Ok(lease),
                    Turn::Connection(None) => continue,
                },
            };
            place = None;
            if let Some(lease) = self.connection(fresh, &attempt).await? {
                return Ok(lease);
            }
        }
    }

    /// An attempt of this account that nobody waits for any more. None while others wait for a permit: once it has ended
    /// it serves whoever's turn it is.
    fn left_over(&self) -> Option<Rc<Attempt<B>>> {
        if self.origin.gate.is_awaited() { None } else { self.stack.attempts.unclaimed() }
    }

    /// One of one's own, unless another was left over meanwhile: then the permit goes on to the next in the queue.
    fn attempt(&self, permit: Permit) -> Rc<Attempt<B>> {
        let unclaimed = self.stack.attempts.unclaimed();
        unclaimed.unwrap_or_else(|| self.origin.connect(&self.stack, permit))
    }

    fn queue_up(&self, place: &mut Option<Waiting>) -> Result<(), UpstreamError> {
        if place.is_none() {
            let full = |_| self.overloaded(Exceeded::Queue { places: self.origin.gate.queue_limit() });
            *place = Some(self.origin.gate.wait(self.party()).map_err(full)?);
        }
        Ok(())
    }

    fn overloaded(&self, limit: Exceeded) -> UpstreamError {
        self.origin.unsent(Cause::Overloaded { limit })
    }

    /// Until the attempt under way has ended, with its error if it failed, or until it is worth looking again.
    async fn landing(&self, flight: &Flight) -> Result<(), UpstreamError> {
        let limit = self.worker.connector.timeouts().connect;
        tokio::select! {
            biased;
            outcome = flight.landed() => outcome,
            () = self.origin.room() => Ok(()),
            () = sleep(limit) => Err(self.origin.unsent(Cause::ConnectTimeout { limit })),
        }
    }

    /// Until it is this request's turn for a permit, or another connection comes free for it. As long as an answer may
    /// take: whoever waits here waits for other requests' answers.
    async fn turn(&self, fresh: bool, place: &mut Option<Waiting>) -> Result<Turn<B>, UpstreamError> {
        // What lies idle makes room before the cap is stretched.
        let (gate, spares) = (&self.origin.gate, !self.origin.has_common_idle());
        if let Some(permit) = gate.try_open(self.party(), spares) {
            return Ok(Turn::Permit(permit));
        }
        self.queue_up(place)?;
        let limit = self.worker.connector.timeouts().head;
        let by = Instant::now() + limit;
        let mut ticket = gate.queue(self.party(), spares);
        let mut hope = self.stack.wait(&self.share, fresh, Some(ticket.id()));
        self.origin.make_room();
        loop {
            tokio::select! {
                biased;
                permit = &mut ticket => return Ok(Turn::Permit(permit)),
                connected = hope.fulfilled() => return connected.map(Turn::Connection),
                () = self.origin.room() => {
                    if let Some(lease) = self.origin.stream(&self.share, Instant::now()) {
                        return Ok(Turn::Connection(Some(lease)));
                    }
                }
                () = sleep_until(by) => return Err(self.overloaded(Exceeded::Wait { limit })),
            }
        }
    }

    /// What this attempt ends with, or whatever comes free before. None: it is one for all, look there.
    async fn connection(&self, fresh: bool, attempt: &Attempt<B>) -> Connected<B> {
        let mut hope = self.stack.wait(&self.share, fresh, None);
        hope.claim(attempt);
        loop {
            tokio::select! {
                biased;
                connected = hope.fulfilled() => return connected,
                () = self.origin.room() => {
                    if let Some(lease) = self.origin.stream(&self.share, Instant::now()) {
                        return Ok(Some(lease));
                    }
                }
            }
        }
    }
}

/// What the queue for a permit ended with.
enum Turn<B: RequestBody> {
    Permit(Permit),
    /// None: look again.
    Connection(Option<Lease<B>>),
}

fn is_large<B>(request: &Request<B>) -> bool {
    let fields = request.headers().iter().map(|(name, value)| name.as_str().len() + value.len());
    let target = request.uri().path_and_query().map_or(0, |target| target.as_str().len());
    target + fields.sum::<usize>() > LARGE_HEAD
}

fn untouched<B: RequestBody>(error: UpstreamError, request: Request<Outgoing<B>>) -> SendFailure<B> {
    SendFailure { error, reused: false, request: Some(Box::new(request.map(Outgoing::into_inner))) }
}
