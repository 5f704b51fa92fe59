//! The connection and the task that drives it. The one rule: the task ends when the connection does, however it ends, and
//! with it goes the permit.

use std::{
    cell::{Cell, RefCell},
    future::{Future, poll_fn},
    pin::Pin,
    rc::{Rc, Weak},
    task::{Context, Poll, Waker},
    time::Duration,
};

use bytes::Bytes;
use h2::{Ping, PingPong, client::Connection};
use tokio::time::{Instant, Sleep, sleep_until};

use super::{super::error::Cause, super::gate::Permit, window::Window, words};
use crate::net::Secured;
use crate::net::{TlsFault, is_refused_certificate};

/// After this long without a frame while an answer is awaited, a PING asks whether the upstream is still there. Not
/// oftener: servers answer eager pings with ENHANCE_YOUR_CALM (RFC 9113 §7).
const PING_AFTER: Duration = Duration::from_secs(20);
/// A connection whose PING is not answered for this long is dead.
const PONG_WITHIN: Duration = Duration::from_secs(10);

/// One connection, as far as all its streams share it.
pub(super) struct Wire {
    /// None once it has ended.
    connection: RefCell<Option<Connection<Secured, Bytes>>>,
    streams: Cell<usize>,
    window: Cell<Window>,
    /// A request waits until the window can be made smaller: the upstream has not acknowledged the last change yet.
    is_to_shrink: Cell<bool>,
    /// The window was made smaller, and the upstream has not acknowledged that yet.
    is_shrinking: Cell<bool>,
    /// How often that was acknowledged.
    shrunk: Cell<u64>,
    /// Who waits for more of an answer.
    readers: RefCell<Vec<Weak<Reader>>>,
    /// When the upstream was last heard of, or a stream was opened after that.
    heard: Cell<Instant>,
    /// Whether it was heard of since a stream was opened on the idle connection.
    was_heard: Cell<bool>,
    /// When nobody could use the connection any more.
    left: Cell<Option<Instant>>,
    driver: RefCell<Waker>,
    /// Why it has ended.
    why: Cell<Option<String>>,
    /// Who waits for the upstream's SETTINGS.
    awaiting: RefCell<Option<Waker>>,
}

impl Wire {
    pub(super) fn new(connection: Connection<Secured, Bytes>) -> Rc<Self> {
        Rc::new(Self {
            connection: RefCell::new(Some(connection)),
            streams: Cell::new(0),
            window: Cell::default(),
            is_to_shrink: Cell::new(false),
            is_shrinking: Cell::new(false),
            shrunk: Cell::new(0),
            readers: RefCell::default(),
            heard: Cell::new(Instant::now()),
            was_heard: Cell::new(true),
            left: Cell::new(None),
            driver: RefCell::new(Waker::noop().clone()),
            why: Cell::default(),
            awaiting: RefCell::default(),
        })
    }

    /// Streams in use.
    pub(super) fn streams(&self) -> usize {
        self.streams.get()
    }

    /// One stream more, unless all of them would be allowed too much together.
    pub(super) fn open(&self, now: Instant) -> bool {
        let streams = self.streams.get() + 1;
        if !self.window.get().suits(streams) && !self.shrink() {
            self.is_to_shrink.set(true);
            return false;
        }
        // Where nothing came since the last time, the silence goes on.
        if streams == 1 && self.was_heard.replace(false) {
            self.heard.set(now);
        }
        self.streams.set(streams);
        true
    }

    /// One stream less.
    pub(super) fn close(&self) {
        self.streams.set(self.streams.get() - 1);
    }

    /// Something came from the upstream.
    pub(super) fn hear(&self) {
        self.heard.set(Instant::now());
        self.was_heard.set(true);
    }

    /// Nobody can use it any more. What has to be written to end it in order is given some time.
    pub(super) fn leave(&self) {
        self.left.set(Some(Instant::now()));
        self.driver.borrow().wake_by_ref();
    }

    /// Counts the times that the upstream has acknowledged a smaller window.
    pub(super) fn shrunk(&self) -> u64 {
        self.shrunk.get()
    }

    /// Somebody waits for more of an answer, to be woken when a smaller window was acknowledged.
    pub(super) fn wait(&self, reader: &Rc<Reader>) {
        let mut readers = self.readers.borrow_mut();
        if readers.len() >= 2 * self.streams.get() {
            readers.retain(|reader| reader.strong_count() > 0);
        }
        readers.push(Rc::downgrade(reader));
    }

    fn shrink(&self) -> bool {
        let told = self.announce(Window::default());
        if told {
            self.is_shrinking.set(true);
        }
        told
    }

    /// `h2` does not tell of an acknowledgement, but takes no other SETTINGS before it: so they are said once more. A caller
    /// who has read everything is woken then. With the smaller window his stream may have less than none, and `h2` tells
    /// the upstream what he has read only when it is asked to.
    fn note_shrunk(&self) {
        if self.is_shrinking.get() && self.announce(Window::default()) {
            self.is_shrinking.set(false);
            self.shrunk.set(self.shrunk.get() + 1);
            for reader in self.readers.borrow().iter().filter_map(Weak::upgrade) {
                reader.wake();
            }
        }
    }

    /// A caller has read so many bytes since the last time this was true, and waits for more: whether that changed the window.
    pub(super) fn has_widened(&self, read: u64) -> bool {
        let larger = self.window.get().larger(read, self.streams.get());
        larger.is_some_and(|larger| self.announce(larger))
    }

    /// Tells the upstream. In vain while it has not acknowledged what it was told before.
    fn announce(&self, window: Window) -> bool {
        let mut connection = self.connection.borrow_mut();
        let told =
            connection.as_mut().is_some_and(|wire| wire.set_initial_window_size(window.bytes()).is_ok());
        if told {
            self.window.set(window);
            self.driver.borrow().wake_by_ref();
        }
        told
    }

    /// Resolves once the upstream's SETTINGS are there.
    pub(super) async fn settled(&self, are_there: impl Fn() -> bool) -> Result<(), Cause> {
        poll_fn(|cx| {
            if are_there() {
                return Poll::Ready(Ok(()));
            }
            if self.connection.borrow().is_none() {
                return Poll::Ready(Err(match self.why.take() {
                    Some(reason) if is_refused_certificate(&reason) => {
                        Cause::Tls { fault: TlsFault::ClientCertificate, reason }
                    }
                    Some(why) => Cause::Protocol { reason: format!("no HTTP/2 SETTINGS came: {why}") },
                    None => Cause::Protocol { reason: "no HTTP/2 SETTINGS came".to_owned() },
                }));
            }
            *self.awaiting.borrow_mut() = Some(cx.waker().clone());
            Poll::Pending
        })
        .await
    }

    /// The connection's task. `room` is called when a request that was turned away may try again.
    pub(super) async fn drive(self: Rc<Self>, _permit: Permit, room: impl Fn()) {
        let mut pulse = self.connection.borrow_mut().as_mut().and_then(Connection::ping_pong).map(Pulse::new);
        let ended = poll_fn(|cx| {
            let polled = self.poll_connection(cx);
            if let Some(waiting) = self.awaiting.take() {
                waiting.wake();
            }
            self.note_shrunk();
            if self.is_to_shrink.get() && self.shrink() {
                self.is_to_shrink.set(false);
                room();
            }
            match &mut pulse {
                Some(pulse) if polled.is_pending() => pulse.poll(&self, cx).map(Err),
                _ => polled,
            }
        });
        if let Err(reason) = ended.await {
            tracing::debug!(%reason, "an upstream connection ended");
            self.why.set(Some(reason));
        }
        self.connection.take();
        if let Some(waiting) = self.awaiting.take() {
            waiting.wake();
        }
    }

    fn poll_connection(&self, cx: &mut Context<'_>) -> Poll<Result<(), String>> {
        self.driver.borrow_mut().clone_from(cx.waker());
        match self.connection.borrow_mut().as_mut() {
            Some(connection) => Pin::new(connection).poll(cx).map_err(|error| words(&error)),
            None => Poll::Ready(Ok(())),
        }
    }
}

/// Whoever reads an answer's body.
#[derive(Debug, Default)]
pub(super) struct Reader(RefCell<Option<Waker>>);

impl Reader {
    /// Whether it waits for the first time.
    pub(super) fn waits(&self, cx: &Context<'_>) -> bool {
        let mut waker = self.0.borrow_mut();
        let is_first = waker.is_none();
        match &mut *waker {
            Some(waker) => waker.clone_from(cx.waker()),
            None => *waker = Some(cx.waker().clone()),
        }
        is_first
    }

    fn wake(&self) {
        if let Some(waker) = &*self.0.borrow() {
            waker.wake_by_ref();
        }
    }
}

/// Finds out whether an upstream that says nothing is still there.
struct Pulse {
    pings: PingPong,
    /// When the PING went out that is not answered yet.
    asked: Option<Instant>,
    alarm: Pin<Box<Sleep>>,
}

impl Pulse {
    fn new(pings: PingPong) -> Self {
        Self { pings, asked: None, alarm: Box::pin(sleep_until(Instant::now())) }
    }

    /// Ready when it is dead.
    fn poll(&mut self, wire: &Wire, cx: &mut Context<'_>) -> Poll<String> {
        loop {
            if self.asked.is_some() && self.pings.poll_pong(cx).is_ready() {
                self.asked = None;
                wire.hear();
            }
            let left = wire.left.get();
            let deadline = match self.asked.or(left) {
                Some(since) => since + PONG_WITHIN,
                None if wire.streams() > 0 => wire.heard.get() + PING_AFTER,
                None => return Poll::Pending,
            };
            if self.alarm.deadline() != deadline {
                self.alarm.as_mut().reset(deadline);
            }
            if self.alarm.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            if self.asked.is_some() {
                return Poll::Ready(format!("no answer to a PING for {} s", PONG_WITHIN.as_secs()));
            }
            if left.is_some() {
                return Poll::Ready(format!(
                    "it could not be ended in order within {} s",
                    PONG_WITHIN.as_secs()
                ));
            }
            self.asked = Some(Instant::now());
            if self.pings.send_ping(Ping::opaque()).is_err() {
                return Poll::Ready("no PING could be sent".to_owned());
            }
        }
    }
}
