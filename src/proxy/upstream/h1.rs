//! One HTTP/1.1 connection. The one rule: it belongs to one account from its first request to its end, and it is used
//! again only after an exchange that ended cleanly on both sides.

use std::{
    cell::{Cell, RefCell},
    fmt,
    future::poll_fn,
    net::SocketAddr,
    rc::{Rc, Weak},
    sync::Arc,
    time::Duration,
};

use http::{Request, Response};
use hyper::{
    body::Incoming,
    client::conn::{TrySendError, http1},
};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    task::AbortHandle,
    time::Instant,
};

use super::{
    MAX_AGE, MAX_HEAD, RequestBody, error::Cause, gate::Permit, lease::Carrier, outgoing::Outgoing,
    stack::Stack,
};

/// How long a connection may take to become ready again once both bodies have ended. Normally it is ready at once; only
/// a peer that leaves our last bytes unread delays it, and then the connection is worth nothing.
const SETTLING: Duration = Duration::from_secs(1);

/// An established connection. Dropping it cuts it off, unless it was told to close in order.
pub(super) struct H1<B: RequestBody> {
    sender: RefCell<http1::SendRequest<Outgoing<B>>>,
    driver: AbortHandle,
    /// Whose it is.
    stack: Weak<Stack<B>>,
    born: Instant,
    pub(super) peer: Option<SocketAddr>,
    place: Arc<str>,
    used: Cell<bool>,
    in_order: Cell<bool>,
}

impl<B: RequestBody> H1<B> {
    /// Speaks HTTP/1.1 on a stream. The permit lives as long as the connection does.
    pub(super) async fn establish<S>(
        stream: S,
        peer: Option<SocketAddr>,
        place: &Arc<str>,
        stack: Weak<Stack<B>>,
        permit: Permit,
    ) -> Result<Rc<Self>, Cause>
    where
        S: AsyncRead + AsyncWrite + Unpin + 'static,
    {
        let mut builder = http1::Builder::new();
        // More than hyper's 100 fields would cost an allocation for every answer; no marketplace sends half as many.
        builder.max_header_size(MAX_HEAD);
        let failed = |e: hyper::Error| Cause::Closed { reason: e.to_string() };
        let (mut sender, connection) = builder.handshake(TokioIo::new(stream)).await.map_err(failed)?;
        let driver = tokio::task::spawn_local(async move {
            let _permit = permit;
            if let Err(error) = connection.await {
                tracing::debug!(%error, "an upstream connection ended");
            }
        });
        // A connection that was never polled does not yet call itself ready, and would be taken for a dead one.
        let ready = sender.ready().await.map_err(failed);
        ready.inspect_err(|_| driver.abort())?;
        Ok(Rc::new(Self {
            sender: RefCell::new(sender),
            driver: driver.abort_handle(),
            stack,
            born: Instant::now(),
            peer,
            place: place.clone(),
            used: Cell::new(false),
            in_order: Cell::new(false),
        }))
    }
}

impl<B: RequestBody> H1<B> {
    /// Whether a request may be sent on it now.
    pub(super) fn is_usable(&self, now: Instant) -> bool {
        self.sender.borrow().is_ready() && now < self.born + MAX_AGE
    }

    /// Whether the upstream or an error has ended it.
    pub(super) fn is_closed(&self) -> bool {
        self.sender.borrow().is_closed()
    }

    /// Whether it carried a request before; from now on it did.
    pub(super) fn mark_used(&self) -> bool {
        self.used.replace(true)
    }

    pub(super) fn stack(&self) -> Option<Rc<Stack<B>>> {
        self.stack.upgrade()
    }

    /// Closes an idle connection with TLS's and TCP's own farewells instead of cutting it off.
    pub(super) fn close(self: Rc<Self>) {
        self.in_order.set(true);
    }
}

impl<B: RequestBody> H1<B> {
    /// Hands a request to the connection. What comes back unsent lies in the error.
    pub(super) fn send(
        &self,
        request: Request<Outgoing<B>>,
    ) -> impl Future<Output = Result<Response<Incoming>, TrySendError<Request<Outgoing<B>>>>> + use<B> {
        self.sender.borrow_mut().try_send_request(request)
    }

    fn settle(self: Rc<Self>) {
        if self.sender.borrow().is_ready() {
            Stack::give_back(self);
        } else if !self.sender.borrow().is_closed() {
            tokio::task::spawn_local(async move {
                let ready = poll_fn(|cx| self.sender.borrow_mut().poll_ready(cx));
                if let Ok(Ok(())) = tokio::time::timeout(SETTLING, ready).await {
                    Stack::give_back(self);
                }
            });
        }
    }
}

impl<B: RequestBody> Carrier for H1<B> {
    fn ended(self: Rc<Self>, cleanly: bool) {
        if cleanly {
            self.settle();
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
        if !self.in_order.get() {
            self.driver.abort();
        }
    }
}

impl<B: RequestBody> fmt::Debug for H1<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "H1({})", self.place)
    }
}
