//! A connection in a request's hands. The one rule: whatever happens to the request — an answer, an error, a caller who
//! hangs up — its connection goes back or is cut off, and never just stays away.

use std::{rc::Rc, sync::Arc};

use tokio::time::Instant;

use super::{RequestBody, h1::H1, h2::H2, share::InUse, stack::Stack};

/// A connection, or one stream of it, that a request may use. Unused, it goes back by itself.
pub(super) struct Lease<B: RequestBody> {
    connection: Option<Connection<B>>,
}

/// What is leased.
pub(super) enum Connection<B: RequestBody> {
    H1(Rc<H1<B>>),
    /// With one stream reserved.
    H2(Rc<H2<B>>),
}

impl<B: RequestBody> Connection<B> {
    /// When nobody used it for the last time, over HTTP/1.1.
    pub(super) fn fell_idle(&self) -> Option<Instant> {
        match self {
            Self::H1(connection) => connection.fell_idle(),
            Self::H2(_) => None,
        }
    }
}

impl<B: RequestBody> Lease<B> {
    pub(super) fn h1(connection: Rc<H1<B>>) -> Self {
        Self { connection: Some(Connection::H1(connection)) }
    }

    /// A stream was reserved before.
    pub(super) fn h2(connection: Rc<H2<B>>) -> Self {
        Self { connection: Some(Connection::H2(connection)) }
    }

    /// To use it.
    pub(super) fn take(mut self) -> Option<Connection<B>> {
        self.connection.take()
    }

    /// The HTTP/1.1 connection back from a lease that nobody took.
    pub(super) fn into_h1(mut self) -> Option<Rc<H1<B>>> {
        match self.connection.take()? {
            Connection::H1(connection) => Some(connection),
            stream @ Connection::H2(_) => {
                self.connection = Some(stream);
                None
            }
        }
    }
}

impl<B: RequestBody> Drop for Lease<B> {
    fn drop(&mut self) {
        match self.connection.take() {
            Some(Connection::H1(connection)) => Stack::give_back(connection),
            Some(Connection::H2(connection)) => connection.release(),
            None => {}
        }
    }
}

/// How an exchange ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    /// Both bodies came to their ends, and another exchange may follow.
    Clean,
    /// Both bodies came to their ends, and that was the last exchange.
    Last,
    /// One of them did not.
    Broken,
}

/// What carries an exchange, told when the exchange has ended.
pub(super) trait Carrier {
    /// How it ended.
    fn ended(self: Rc<Self>, ending: Ending);

    /// It gave the request back: nothing more should be asked of it.
    fn declined(&self);

    /// `host:port`, for errors.
    fn place(&self) -> &Arc<str>;
}

/// A connection while a request is on it. Dropped, it is cut off (HTTP/1.1) or the stream is given up (HTTP/2).
pub(super) struct Hold {
    carrier: Option<Rc<dyn Carrier>>,
    /// Counted until the connection was handed on, so that among equals it is another caller's turn.
    _in_use: InUse,
}

impl Hold {
    pub(super) fn new(carrier: Rc<dyn Carrier>, in_use: InUse) -> Self {
        Self { carrier: Some(carrier), _in_use: in_use }
    }

    /// Both bodies came to their ends.
    pub(super) fn end(mut self, keeps_alive: bool) {
        if let Some(carrier) = self.carrier.take() {
            carrier.ended(if keeps_alive { Ending::Clean } else { Ending::Last });
        }
    }

    /// The request came back unsent.
    pub(super) fn decline(self) {
        if let Some(carrier) = &self.carrier {
            carrier.declined();
        }
    }

    pub(super) fn place(&self) -> Option<&Arc<str>> {
        self.carrier.as_ref().map(|carrier| carrier.place())
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        if let Some(carrier) = self.carrier.take() {
            carrier.ended(Ending::Broken);
        }
    }
}
