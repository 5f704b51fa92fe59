//! One request and its answer on one connection. The one rule: a request is repeated only when the connection gives it
//! back untouched; whatever may have been written stays written once.

use std::{
    future::{Future, poll_fn},
    mem,
    net::SocketAddr,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
};

use http::{
    HeaderMap, Request, Response, StatusCode, Uri, Version,
    header::HOST,
    uri::{PathAndQuery, Scheme},
};
use tokio::time::Instant;

use super::{
    RequestBody,
    alarm::{Alarm, Alarms},
    body::{Circumstances, Inbound, UpstreamBody},
    error::{Cause, UpstreamError},
    h1, h2,
    lease::{Connection, Hold},
    outgoing::{Outgoing, Patience, Progress},
    share::{InUse, Share},
};
use crate::{config::settings::Timeouts, net::Destination};

/// An upstream's answer.
#[derive(Debug)]
pub struct Reply {
    /// Head and body, as the upstream sent them.
    pub response: Response<UpstreamBody>,
    /// The address that answered; None behind a forward proxy.
    pub peer: Option<SocketAddr>,
    /// HTTP/1.1 or HTTP/2.
    pub protocol: Version,
    /// Whether the connection had carried a request before.
    pub reused: bool,
}

/// Why there is no answer.
pub(super) enum Broken<B> {
    /// Not a byte was written: the request as it was.
    Unsent(Box<Request<Outgoing<B>>>),
    Failed {
        error: UpstreamError,
        reused: bool,
    },
}

/// What an exchange needs beside its connection and request.
pub(super) struct Terms<'a> {
    pub(super) to: &'a Destination,
    pub(super) timeouts: &'a Timeouts,
    pub(super) alarms: &'a Rc<Alarms>,
    pub(super) share: &'a Rc<Share>,
}

impl Terms<'_> {
    /// Sends a request on a connection and waits for the head of its answer.
    pub(super) async fn exchange<B: RequestBody>(
        &self,
        connection: Connection<B>,
        request: Box<Request<Outgoing<B>>>,
        now: Instant,
    ) -> Result<Reply, Broken<B>> {
        let Timeouts { head, stall, .. } = *self.timeouts;
        let (mut answer, carried) = self.begin(connection, request);
        let patience = Patience { head, stall, start: now };
        let mut alarm = Alarm::new(self.alarms);
        let reused = carried.reused;
        let failed = |cause| Broken::Failed { error: UpstreamError::sent(&self.to.place, cause), reused };
        let upload = carried.upload.as_deref();
        match in_time(&mut answer, patience, upload, &mut alarm).await {
            Ok(Ok(response)) => reply(response, carried, stall, alarm).map_err(failed),
            Ok(Err(NoAnswer::Unsent(request))) => {
                carried.hold.decline();
                Err(Broken::Unsent(request))
            }
            Ok(Err(NoAnswer::Failed(cause))) | Err(cause) => Err(failed(cause)),
        }
    }

    /// Hands the request to the connection.
    fn begin<B: RequestBody>(
        &self,
        connection: Connection<B>,
        mut request: Box<Request<Outgoing<B>>>,
    ) -> (Answer<B>, Carried) {
        let upload = request.body().progress();
        let in_use = InUse::begin(self.share);
        match connection {
            Connection::H1(connection) => {
                address_h1(&mut request, self.to);
                let (peer, reused) = (connection.peer, connection.mark_used());
                let answer = Answer::H1(connection.send(request));
                (answer, Carried { hold: Hold::new(connection, in_use), upload, peer, reused, is_h2: false })
            }
            Connection::H2(connection) => {
                address_h2(&mut request, self.to);
                let (peer, reused) = (connection.peer, connection.mark_used());
                let answer = Answer::H2(connection.send(request));
                (answer, Carried { hold: Hold::new(connection, in_use), upload, peer, reused, is_h2: true })
            }
        }
    }
}

/// What comes of a request in a connection's hands.
enum Answer<B: RequestBody> {
    H1(h1::Sending<B>),
    H2(h2::Sending<B>),
}

/// Why a connection has no answer.
pub(super) enum NoAnswer<B> {
    /// Not a byte was written: the request as it was.
    Unsent(Box<Request<Outgoing<B>>>),
    Failed(Cause),
}

impl<B: RequestBody> Future for Answer<B> {
    type Output = Result<Response<Inbound>, NoAnswer<B>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut *self {
            Self::H1(sending) => Pin::new(sending).poll(cx).map_ok(|response| response.map(Inbound::H1)),
            Self::H2(sending) => Pin::new(sending).poll(cx).map_ok(|response| response.map(Inbound::H2)),
        }
    }
}

struct Carried {
    hold: Hold,
    upload: Option<Rc<Progress>>,
    peer: Option<SocketAddr>,
    reused: bool,
    is_h2: bool,
}

/// `Host` (RFC 9112 §3.2), and that first (RFC 9110 §7.2). Free when the request's fields begin with a
/// `Host`, whose value is replaced; else the fields are laid out anew.
fn address_h1<B>(request: &mut Request<B>, to: &Destination) {
    let headers = request.headers_mut();
    if headers.keys().next().is_some_and(|name| name != HOST) {
        let mut rest = mem::replace(headers, HeaderMap::with_capacity(headers.len() + 1));
        rest.remove(HOST);
        headers.insert(HOST, to.host_field.clone());
        headers.extend(rest);
    } else {
        headers.insert(HOST, to.host_field.clone());
    }
}

/// `:scheme`, `:authority` and `:path` (RFC 9113 §8.3.1); no `Host` beside them.
fn address_h2<B>(request: &mut Request<B>, to: &Destination) {
    *request.version_mut() = Version::HTTP_2;
    request.headers_mut().remove(HOST);
    let mut parts = http::uri::Parts::default();
    parts.scheme = Some(if to.tls { Scheme::HTTPS } else { Scheme::HTTP });
    parts.authority = Some(to.authority.clone());
    parts.path_and_query = Some(path(request.uri()));
    // With all three parts present there is nothing to refuse.
    if let Ok(uri) = Uri::from_parts(parts) {
        *request.uri_mut() = uri;
    }
}

fn path(uri: &Uri) -> PathAndQuery {
    uri.path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/"))
}

/// The answer's head, unless patience ends first.
async fn in_time<F: Future + Unpin>(
    answer: &mut F,
    patience: Patience,
    upload: Option<&Progress>,
    alarm: &mut Alarm,
) -> Result<F::Output, Cause> {
    let mut looked = patience.start;
    poll_fn(|cx| {
        if let Poll::Ready(answer) = Pin::new(&mut *answer).poll(cx) {
            return Poll::Ready(Ok(answer));
        }
        loop {
            let (deadline, cause) = patience.deadline(upload);
            let is_moving = upload.is_some_and(|upload| !upload.has_ended());
            let ring = if is_moving { deadline.min(looked + patience.nap()) } else { deadline };
            ready!(alarm.poll_until(ring, cx));
            if ring == deadline {
                return Poll::Ready(Err(cause));
            }
            looked = ring;
        }
    })
    .await
}

fn reply(
    response: Response<Inbound>,
    carried: Carried,
    stall: std::time::Duration,
    alarm: Alarm,
) -> Result<Reply, Cause> {
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        // Nobody asked for it (RFC 9110 §15.2.2); what follows on this connection is no HTTP.
        return Err(Cause::Protocol { reason: "101 without an Upgrade".to_owned() });
    }
    let Carried { hold, upload, peer, reused, is_h2 } = carried;
    let protocol = if is_h2 { Version::HTTP_2 } else { Version::HTTP_11 };
    let so_far = Circumstances { hold, upload, stall, alarm };
    let response = response.map(|inbound| UpstreamBody::new(inbound, so_far));
    Ok(Reply { response, peer, protocol, reused })
}
