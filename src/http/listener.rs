//! Accepts connections and serves them until told to stop. The rule: nothing accepted is forgotten; every connection is
//! finished, or cut and counted.
//!
//! Several workers, each with a runtime of one thread, may each call [`serve`] with a clone of one socket. The kernel
//! wakes all of them for a new connection and the first one takes it.

use std::{io, rc::Rc, sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::FutureExt;
use http::{Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use rustix::io::Errno;
use tokio::{
    task::{JoinError, JoinSet, yield_now},
    time::timeout,
};
use tokio_util::sync::CancellationToken;

use super::{
    connection,
    registry::Registration,
    socket::Socket,
    tally::{Cut, Tally},
};
pub use super::{
    limits::ListenerLimits,
    patience::TimeLimits,
    registry::{Registry, Room},
    socket::Peer,
};

/// How long to wait at most when there is nothing left to accept a connection with.
const EXHAUSTED_PAUSE: Duration = Duration::from_millis(100);

/// How long exchanges in flight may take once no connection is accepted any more.
#[derive(Debug, Clone)]
pub struct Grace {
    /// At most so long,
    pub at_most: Duration,
    /// and no longer than until this is cancelled.
    pub hurry: CancellationToken,
}

impl From<Duration> for Grace {
    fn from(at_most: Duration) -> Self {
        Self { at_most, hurry: CancellationToken::new() }
    }
}

/// How the connections ended that were open when the listener was told to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Served {
    /// Came to their end in time.
    pub finished: usize,
    /// Were cut when the time was over.
    pub cut: usize,
}

/// Accepts connections and serves their requests until `stop`, then drains: no new connections, idle ones closed at
/// once, exchanges in flight finished within `grace`, the rest cut.
///
/// Runs inside a `LocalSet`. A caller that hangs up drops the future of its request: a service must not hold
/// there what has to come to an end. A service that panics costs its caller a 500 and its connection.
///
/// Only unambiguous requests reach the service (see [`super::gate`]); HTTP/1.1 and 1.0 alone are spoken.
pub async fn serve<L, S, F, B>(
    listener: L,
    service: S,
    limits: ListenerLimits,
    stop: CancellationToken,
    grace: impl Into<Grace>,
) -> Served
where
    L: Socket,
    S: Fn(Request<Incoming>, Peer) -> F + Clone + 'static,
    F: Future<Output = Response<B>> + 'static,
    B: Body<Data = Bytes> + Unpin + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let limits = Rc::new(limits);
    // A token of our own: connections ask it often, and workers must not meet at one lock.
    let stop = stop.child_token();
    let mut open = JoinSet::new();
    let take_in = |open: &mut JoinSet<()>, (stream, peer, seat): (L::Stream, Peer, Seat)| {
        let service = service.clone();
        let (limits, stop) = (Rc::clone(&limits), stop.clone());
        open.spawn_local(async move {
            connection::serve(stream, peer, service, limits, seat.registration.clone(), stop).await;
        });
    };
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => break,
            Some(end) = open.join_next() => note(end, &limits.tally),
            accepted = accept(&listener, &limits) => take_in(&mut open, accepted),
        }
    }
    // Whoever is connected already, as far as the kernel is concerned, would be told so by a reset. The runtime looks at its
    // sockets during the pause.
    yield_now().await;
    while let Some(accepted) = accept(&listener, &limits).now_or_never() {
        take_in(&mut open, accepted);
    }
    drop(listener);
    drain(open, grace.into(), &limits.tally).await
}

/// A place taken by a connection, given back however it ends.
struct Seat {
    tally: Arc<Tally>,
    registration: Rc<Registration>,
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.tally.end();
    }
}

/// The next connection, as soon as there is room for it. Nothing is lost when this future is dropped.
async fn accept<L: Socket>(listener: &L, limits: &ListenerLimits) -> (L::Stream, Peer, Seat) {
    limits.registry.has_room().await;
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                limits.tally.accept();
                let registration = Rc::new(limits.registry.enter());
                let seat = Seat { tally: Arc::clone(&limits.tally), registration };
                return (stream, peer, seat);
            }
            Err(error) if is_the_callers(&error) => {}
            Err(error) => {
                limits.tally.fail_to_accept();
                tracing::warn!(%error, "cannot accept connections; idle ones are closed");
                limits.registry.relieve(EXHAUSTED_PAUSE).await;
            }
        }
    }
}

/// Errors of a connection that died while it was waiting; the next one may be well.
fn is_the_callers(error: &io::Error) -> bool {
    let transient = [Errno::CONNABORTED, Errno::CONNRESET, Errno::INTR, Errno::PROTO, Errno::PERM];
    Errno::from_io_error(error).is_some_and(|errno| transient.contains(&errno))
}

fn note(end: Result<(), JoinError>, tally: &Tally) {
    if end.is_err_and(|error| error.is_panic()) {
        tally.panic();
    }
}

async fn drain(mut open: JoinSet<()>, grace: Grace, tally: &Tally) -> Served {
    let all = open.len();
    let ends = async {
        while let Some(end) = open.join_next().await {
            note(end, tally);
        }
    };
    let ends = grace.hurry.run_until_cancelled(timeout(grace.at_most, ends));
    let in_time = matches!(ends.await, Some(Ok(())));
    let cut = if in_time { 0 } else { open.len() };
    (0..cut).for_each(|_| tally.cut(Cut::Grace));
    open.shutdown().await;
    Served { finished: all - cut, cut }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dead_connection_is_no_reason_to_pause_but_want_of_descriptors_is() {
        let error = |errno: Errno| io::Error::from_raw_os_error(errno.raw_os_error());
        assert!(is_the_callers(&error(Errno::CONNABORTED)));
        assert!(!is_the_callers(&error(Errno::MFILE)));
        assert!(!is_the_callers(&error(Errno::NFILE)));
        assert!(!is_the_callers(&io::Error::other("unknown")));
    }
}
