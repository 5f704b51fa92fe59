//! One connection: the gate, hyper and the caller's patience on one task. The rule: whatever a service does, its
//! connection alone feels it.

use std::{
    convert::Infallible,
    future::{Future, poll_fn},
    panic::{AssertUnwindSafe, catch_unwind},
    pin::{Pin, pin},
    rc::Rc,
    sync::{Arc, atomic::Ordering},
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response, Version, header::CONNECTION};
use http_body::{Body, Frame, SizeHint};
use http_body_util::Full;
use hyper::{
    body::Incoming,
    ext::ReasonPhrase,
    server::conn::http1,
    service::{HttpService, service_fn},
};
use hyper_util::rt::TokioIo;
use tokio::task::yield_now;
use tokio_util::sync::CancellationToken;

use super::{
    absolute,
    gate::{Gate, InFlight, Progress, Violation},
    limits::ListenerLimits,
    patience::Patience,
    problem::{Code, Problem},
    registry::Registration,
    socket::{Peer, Stream},
    tally::{Cut, Tally},
};

/// Most bytes hyper holds of one connection in one direction, unless a head may be longer.
const BUFFER: usize = 64 * 1024;

/// The number of header fields for which hyper needs no allocation.
const FIELDS_ON_STACK: usize = 100;

/// Serves one connection until it ends, is cut, or, after `stop`, has finished what it had begun.
pub(super) async fn serve<I, S, F, B>(
    io: I,
    peer: Peer,
    service: S,
    limits: Rc<ListenerLimits>,
    registration: Rc<Registration>,
    stop: CancellationToken,
) where
    I: Stream + 'static,
    S: Fn(Request<Incoming>, Peer) -> F + 'static,
    F: Future<Output = Response<B>> + 'static,
    B: Body<Data = Bytes> + Unpin + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let gate = Gate::new(io, limits.gate(), limits.tally.clone());
    let progress = gate.progress();
    let caller = Caller {
        service,
        peer,
        limits: Rc::clone(&limits),
        progress: Rc::clone(&progress),
        registration: Rc::clone(&registration),
    };
    let service = service_fn(move |request| caller.ask(request));
    // Boxed: the task of an idle connection would have room for it twice.
    let mut connection = Box::pin(builder(&limits).serve_connection(TokioIo::new(gate), service));
    let time = if registration.is_reserved() { limits.time.when_crowded() } else { limits.time };
    match drive(connection.as_mut(), &stop, &progress, Patience::new(time), &registration).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(peer = %peer, %error, "connection ended early"),
        Err(why) => {
            limits.tally.cut(why);
            tracing::debug!(peer = %peer, why = why.label(), "connection cut");
        }
    }
}

/// Drives a connection to its end, to the end of patience, or until it is evicted.
async fn drive<C: Drainable>(
    mut connection: Pin<&mut C>,
    stop: &CancellationToken,
    progress: &Progress,
    mut patience: Patience,
    registration: &Registration,
) -> Result<C::Output, Cut> {
    // Requests that had already arrived are read before the connection is asked to end: the runtime looks at its
    // sockets during the pause, the connection is driven first below, and so none of them is lost.
    let mut stopped = pin!(async {
        stop.cancelled().await;
        yield_now().await;
    });
    let mut draining = false;
    poll_fn(|cx| {
        registration.wake_by(cx.waker());
        progress.begin();
        progress.hold_heads_back(registration.is_head_memory_used_up());
        let mut end = connection.as_mut().poll(cx);
        if end.is_pending() && !draining && stopped.as_mut().poll(cx).is_ready() {
            draining = true;
            progress.hurry();
            connection.as_mut().drain();
            end = connection.as_mut().poll(cx);
        }
        match end {
            Poll::Ready(end) => Poll::Ready(Ok(end)),
            Poll::Pending => {
                let due = patience.poll(cx, progress);
                registration.stand(patience.rest(), progress.head_memory());
                let evicted = || registration.is_evicted().map_or(Poll::Pending, Poll::Ready);
                if due.is_ready() { due } else { evicted() }.map(Err)
            }
        }
    })
    .await
}

/// A connection that can be asked to end after what it has begun.
trait Drainable: Future {
    fn drain(self: Pin<&mut Self>);
}

impl<I, S, B> Drainable for http1::Connection<I, S>
where
    S: HttpService<Incoming, ResBody = B>,
    S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    I: hyper::rt::Read + hyper::rt::Write + Unpin,
    B: Body + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    fn drain(self: Pin<&mut Self>) {
        self.graceful_shutdown();
    }
}

/// How hyper is used, and what of it is left off on purpose.
///
/// - `header_read_timeout` would bound the rest between requests too; [`Patience`] tells the two apart.
/// - `pipeline_flush` lifts the limit of the write buffer: a caller that stops reading would make us hold a whole answer.
/// - `half_close` would hide a caller that hung up, and an upstream request would go on for nobody.
/// - `Date` is the marketplace's to say.
fn builder(limits: &ListenerLimits) -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder
        .header_read_timeout(None)
        .pipeline_flush(false)
        .half_close(false)
        .keep_alive(true)
        .auto_date_header(false)
        .max_header_size(limits.head)
        .max_buf_size(BUFFER.max(limits.head));
    if limits.headers != FIELDS_ON_STACK {
        builder.max_headers(limits.headers);
    }
    builder
}

/// Whoever asks on one connection, and whom.
struct Caller<S> {
    service: S,
    peer: Peer,
    limits: Rc<ListenerLimits>,
    progress: Rc<Progress>,
    registration: Rc<Registration>,
}

impl<S> Caller<S> {
    /// The answer where the service is not asked at all.
    fn refusal(&self, request: &mut Request<Incoming>, violation: Option<Violation>) -> Option<Own> {
        let violation = violation.or_else(|| {
            let violation = absolute::to_origin_form(request).err()?;
            self.limits.tally.refuse(violation);
            Some(violation)
        });
        if let Some(violation) = violation {
            return Some(self.refuse(&Problem::refused(violation), request));
        }
        let place = &self.registration;
        let is_served =
            !place.is_reserved() || (self.limits.essential)(request.uri().path()) || place.take_place();
        if is_served {
            return None;
        }
        self.limits.tally.turn_away();
        Some(self.refuse(&crowded(place.connections()), request))
    }

    /// Says so to the caller and, unless there have been many such lines, in the log.
    fn refuse(&self, problem: &Problem, request: &Request<Incoming>) -> Own {
        let request_id = uuid::Uuid::new_v4().to_string();
        if let Some(left_out) = self.limits.tally.admit_line() {
            let unlogged = Some(left_out).filter(|left_out| *left_out > 0);
            let (code, status, peer) = (problem.code.as_str(), problem.code.status().as_u16(), &self.peer);
            tracing::info!(request_id, code, status, %peer, unlogged, "refused: {}", problem.detail);
        }
        problem.answer(request.headers(), &request_id)
    }

    /// One request to the service, and its answer made fit for the connection.
    fn ask<F, B>(
        &self,
        mut request: Request<Incoming>,
    ) -> impl Future<Output = Result<Response<Answer<B>>, Infallible>> + use<S, F, B>
    where
        S: Fn(Request<Incoming>, Peer) -> F,
        F: Future<Output = Response<B>>,
        B: Body<Data = Bytes>,
    {
        let exchange = self.progress.begin_exchange();
        let knows_chunks = request.version() != Version::HTTP_10;
        // Others wait for its place, or callers are to look for another server.
        let leaves = self.registration.is_reserved() || self.limits.leaving.load(Ordering::Relaxed);
        let call = match self.refusal(&mut request, exchange.refusal()) {
            Some(refusal) => Call::Refused(Box::new(refusal)),
            None => Call::begin(|| (self.service)(request, self.peer)),
        };
        let tally = Arc::clone(&self.limits.tally);
        async move {
            let outcome = call.outcome(&tally).await;
            // hyper closes after an answer that came before the request's end, but does not say so.
            let last = leaves || outcome.is_err() || exchange.is_incomplete();
            let response = Answer::response(outcome, exchange, last);
            response.body().mark_end(knows_chunks);
            Ok(response)
        }
    }
}

/// An answer of our own, whole in memory.
type Own = Response<Full<Bytes>>;

/// A service has panicked; its own log line is the panic's.
fn broken() -> Own {
    let action = "report it, with the lines that the log has at this moment; look whether the marketplace carried the request out \
                  before sending it again";
    let problem = Problem::new(Code::Internal, "a defect of Marketgate ended this request", action);
    problem.answer(&HeaderMap::new(), &uuid::Uuid::new_v4().to_string())
}

fn crowded(connections: usize) -> Problem {
    let detail =
        format!("this listener has {connections} connections, and none can be closed for another one");
    let action = "ask again; where that goes on, send less at once or raise the limit on connections";
    Problem::new(Code::Overloaded, detail, action).retry_after(Duration::from_secs(1))
}

/// A service's future, or what became of it before there was one.
enum Call<F> {
    /// Boxed: it is handed on from future to future, and moving it each time would cost more.
    Begun(Pin<Box<F>>),
    Refused(Box<Own>),
    Panicked,
}

impl<F> Call<F> {
    fn begin(service: impl FnOnce() -> F) -> Self {
        let begun = catch_unwind(AssertUnwindSafe(|| Box::pin(service())));
        begun.map_or(Self::Panicked, Self::Begun)
    }

    async fn outcome<B>(self, tally: &Tally) -> Result<Response<B>, Own>
    where
        F: Future<Output = Response<B>>,
    {
        let response = match self {
            Self::Begun(future) => contained(future).await,
            Self::Refused(refusal) => return Err(*refusal),
            Self::Panicked => None,
        };
        response.ok_or_else(|| {
            tally.panic();
            broken()
        })
    }
}

/// Runs a service; None when it panicked. What it shared with others must survive that: they go on.
async fn contained<F: Future>(mut future: Pin<Box<F>>) -> Option<F::Output> {
    poll_fn(|cx| match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(cx))) {
        Ok(poll) => poll.map(Some),
        Err(_) => Poll::Ready(None),
    })
    .await
}

/// A service's body, which keeps its request in flight until it was passed on whole.
struct Answer<B: Body> {
    body: Content<B>,
    exchange: InFlight,
    /// What the body failed with. hyper drops what it has not written yet when it hears of that, so it hears of it a
    /// turn later.
    failed: Option<B::Error>,
}

enum Content<B> {
    Service(B),
    Own(Full<Bytes>),
}

impl<B: Body> Answer<B> {
    fn response(outcome: Result<Response<B>, Own>, exchange: InFlight, last: bool) -> Response<Self> {
        let (mut head, body) = match outcome {
            Ok(response) => response.map(Content::Service).into_parts(),
            Err(own) => own.map(Content::Own).into_parts(),
        };
        // A version is one hop's (RFC 9110 §2.5); with the marketplace's own hyper would misjudge what our caller understands.
        head.version = Version::HTTP_11;
        if head.status.canonical_reason().is_none() && head.extensions.get::<ReasonPhrase>().is_none() {
            // HTTP/2 has none. hyper would write `<none>`.
            head.extensions.insert(ReasonPhrase::from_static(b""));
        }
        if last {
            head.headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        Response::from_parts(head, Self { body, exchange, failed: None })
    }
}

impl<B: Body<Data = Bytes>> Answer<B> {
    fn length(&self) -> SizeHint {
        match &self.body {
            Content::Service(body) => body.size_hint(),
            Content::Own(body) => body.size_hint(),
        }
    }

    fn has_ended(&self) -> bool {
        match &self.body {
            Content::Service(body) => body.is_end_stream(),
            Content::Own(body) => body.is_end_stream(),
        }
    }

    /// Without a length and without chunks an answer ends with its connection.
    fn mark_end(&self, knows_chunks: bool) {
        self.exchange.owe_end(!knows_chunks && !self.has_ended() && self.length().exact().is_none());
    }
}

/// Nothing in it is pinned.
impl<B: Body + Unpin> Unpin for Answer<B> {}

impl<B: Body<Data = Bytes> + Unpin> Body for Answer<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        if let Some(error) = self.failed.take() {
            return Poll::Ready(Some(Err(error)));
        }
        let polled = match &mut self.body {
            Content::Service(body) => Pin::new(body).poll_frame(cx),
            Content::Own(body) => Pin::new(body).poll_frame(cx).map_err(|never| match never {}),
        };
        if let Poll::Ready(Some(Err(error))) = polled {
            self.failed = Some(error);
            // It writes when there is nothing to take for the moment.
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        match &polled {
            Poll::Ready(None) => self.exchange.owe_end(false),
            Poll::Ready(Some(Ok(_))) if self.has_ended() => self.exchange.owe_end(false),
            _ => {}
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.has_ended()
    }

    fn size_hint(&self) -> SizeHint {
        self.length()
    }
}
