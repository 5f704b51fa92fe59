//! The API that the tokens are for: TLS, in turn over HTTP/2 with few streams and over HTTP/1.1. The one rule: whom an answer is for is what the books say of the token that was presented, never what was asked.

use std::{
    collections::HashSet,
    net::TcpListener,
    sync::{Arc, Mutex, MutexGuard},
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode, Version};
use http_body_util::{BodyExt, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::{
    body::{Frame, Incoming},
    server::conn::{http1, http2},
    service::service_fn,
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use marketgate::sim::{Simulator, TokenHolder};
use rand::{RngExt, rngs::StdRng};
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::{net::TcpStream, task::AbortHandle};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use super::{
    body::{Check, Pattern},
    errand::Order,
    sellers::{MARKETPLACE, Sellers},
};

/// Says whose token was presented.
pub(super) const SELLER: &str = "x-seller";
/// So few that connections run out of them.
const STREAMS: u32 = 4;
/// How long one protocol is spoken before the other.
const TURN: Duration = Duration::from_secs(4);

type Body = UnsyncBoxBody<Bytes, Left>;

/// The marketplace breaks off, on purpose or because the other side did.
#[derive(Debug, thiserror::Error)]
#[error("broken off")]
pub(super) struct Left;

/// The API.
#[derive(Clone)]
pub(super) struct Market {
    pub(super) url: String,
    /// PEM of the authority that vouches for it.
    pub(super) authority: String,
    books: Simulator,
    opened: Instant,
    seen: Arc<Mutex<Seen>>,
    connections: Arc<Mutex<Vec<AbortHandle>>>,
}

/// What it saw.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen {
    pub(super) over_h1: u64,
    pub(super) over_h2: u64,
    pub(super) connections_h1: u64,
    pub(super) connections_h2: u64,
    pub(super) connections_broken: u64,
    /// Requests whose token belongs to another seller than the one that was asked for.
    pub(super) mismatches: u64,
    /// Requests without a credential, with several, or with one that nobody was given.
    pub(super) without_credential: u64,
    /// Requests whose token had expired or was revoked.
    pub(super) refused: u64,
    /// Of these, errands that came again with a good token.
    pub(super) repeated: u64,
    /// Errands that are not idempotent and were carried out more than once.
    pub(super) carried_out_twice: u64,
    pub(super) whole_uploads: u64,
    pub(super) broken_uploads: u64,
    /// Bodies that ended as if whole and were not.
    pub(super) truncated_uploads: u64,
    pub(super) bytes_up: u64,
    refused_errands: HashSet<u64>,
    carried_out: HashSet<u64>,
}

impl Market {
    pub(super) fn open(sellers: &Sellers) -> Self {
        let (tls, authority) = certified();
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        socket.set_nonblocking(true).unwrap();
        let market = Self {
            url: format!("https://localhost:{}", socket.local_addr().unwrap().port()),
            authority,
            books: sellers.simulator.clone(),
            opened: Instant::now(),
            seen: Arc::default(),
            connections: Arc::default(),
        };
        let serving = market.clone();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(serving.serve(socket, tls));
        });
        market
    }

    pub(super) fn seen(&self) -> Seen {
        self.sees().clone()
    }

    fn sees(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap()
    }

    /// Cuts whole connections, with whatever is under way on them: one of them, and all when protocols change.
    pub(super) async fn break_connections_now_and_then(self, mut dice: StdRng) {
        let mut was_h2 = self.speaks_h2();
        loop {
            tokio::time::sleep(Duration::from_millis(dice.random_range(200..800))).await;
            let mut connections = self.connections.lock().unwrap();
            connections.retain(|connection| !connection.is_finished());
            let turns = was_h2 != self.speaks_h2();
            was_h2 = self.speaks_h2();
            let unlucky = dice.random_range(0..connections.len().max(1));
            let doomed =
                if turns { 0..connections.len() } else { unlucky..connections.len().min(unlucky + 1) };
            let cut = connections.drain(doomed).map(|connection| connection.abort()).count();
            self.sees().connections_broken += cut as u64;
        }
    }

    fn speaks_h2(&self) -> bool {
        (self.opened.elapsed().as_secs() / TURN.as_secs()).is_multiple_of(2)
    }

    async fn serve(self, socket: TcpListener, [h1, h2]: [TlsAcceptor; 2]) {
        let socket = tokio::net::TcpListener::from_std(socket).unwrap();
        for number in 0_u64.. {
            let (stream, _) = socket.accept().await.unwrap();
            stream.set_nodelay(true).unwrap();
            // Of those that end early, some end with a FIN and some with an RST.
            if number % 3 == 0 {
                stream.set_zero_linger().unwrap();
            }
            let tls = if self.speaks_h2() { h2.clone() } else { h1.clone() };
            tokio::spawn(self.clone().greet(stream, tls));
        }
    }

    async fn greet(self, stream: TcpStream, tls: TlsAcceptor) {
        // A program that breaks a handshake off has its own log.
        let Ok(stream) = tls.accept(stream).await else { return };
        let connections = self.connections.clone();
        let connection = tokio::spawn(self.speak(stream));
        // Only now it may be cut: what breaks within a handshake has another name than what breaks within an exchange.
        connections.lock().unwrap().push(connection.abort_handle());
    }

    async fn speak(self, stream: TlsStream<TcpStream>) {
        let is_h2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
        let stream = TokioIo::new(stream);
        let market = self.clone();
        let service = service_fn(move |request| market.clone().answer(request));
        // How a connection ends is seen by the errands on it.
        if is_h2 {
            self.sees().connections_h2 += 1;
            let mut builder = http2::Builder::new(TokioExecutor::new());
            builder.max_concurrent_streams(STREAMS);
            let _ = builder.serve_connection(stream, service).await;
        } else {
            self.sees().connections_h1 += 1;
            let _ = http1::Builder::new().serve_connection(stream, service).await;
        }
    }

    async fn answer(self, request: Request<Incoming>) -> Result<Response<Body>, Left> {
        match request.version() {
            Version::HTTP_2 => self.sees().over_h2 += 1,
            _ => self.sees().over_h1 += 1,
        }
        let (head, mut body) = request.into_parts();
        let order = Order::read(&head.uri).ok_or(Left)?;
        let Some(holder) = self.holder(&head.headers) else {
            self.sees().without_credential += 1;
            return Ok(empty(StatusCode::FORBIDDEN));
        };
        if holder.account != order.asked {
            self.sees().mismatches += 1;
        }
        if !holder.is_good {
            self.refuse(&order);
            // Small ones are read first, as servers do; others are answered at once.
            let _ = http_body_util::Limited::new(&mut body, 64 * 1024).collect().await;
            return Ok(empty(StatusCode::UNAUTHORIZED));
        }
        self.carry_out(&head.method, &order);
        let pattern = Pattern::of(&holder.account, order.number);
        self.take(&order, pattern, body).await?;
        Ok(give(&order, &holder.account, pattern))
    }

    /// Whose the presented token is.
    fn holder(&self, headers: &HeaderMap) -> Option<TokenHolder> {
        let mut presented = headers.get_all("authorization").iter();
        let (Some(only), None) = (presented.next(), presented.next()) else { return None };
        self.books.holder(MARKETPLACE, only.to_str().ok()?.strip_prefix("Bearer ")?)
    }

    fn refuse(&self, order: &Order) {
        let mut seen = self.sees();
        seen.refused += 1;
        seen.refused_errands.insert(order.number);
    }

    fn carry_out(&self, method: &Method, order: &Order) {
        let mut seen = self.sees();
        if seen.refused_errands.remove(&order.number) {
            seen.repeated += 1;
        }
        if !seen.carried_out.insert(order.number) && !method.is_idempotent() {
            seen.carried_out_twice += 1;
        }
    }

    /// Reads the request's body, to its end or to where it is to break off.
    async fn take(&self, order: &Order, pattern: Pattern, mut body: Incoming) -> Result<(), Left> {
        let mut check = Check::new(pattern);
        while let Some(frame) = body.frame().await {
            let Ok(frame) = frame else {
                self.sees().broken_uploads += 1;
                return Err(Left);
            };
            if let Some(piece) = frame.data_ref() {
                check.take(piece);
                self.sees().bytes_up += piece.len() as u64;
            }
            if order.reads.is_some_and(|reads| check.read > reads) {
                return Err(Left);
            }
        }
        let mut seen = self.sees();
        match check.is_whole(order.upload) {
            true => seen.whole_uploads += u64::from(order.upload > 0),
            false => seen.truncated_uploads += 1,
        }
        Ok(())
    }
}

/// The answer, to its end or to where it is to break off.
fn give(order: &Order, seller: &str, pattern: Pattern) -> Response<Body> {
    let mut pieces: Vec<_> = match order.writes {
        None => pattern.pieces(order.download).map(|piece| Ok(Frame::data(piece))).collect(),
        Some(writes) => pattern.pieces(writes).map(|piece| Ok(Frame::data(piece))).collect(),
    };
    pieces.extend(order.writes.map(|_| Err(Left)));
    // Handed over one by one, so that what is before a break leaves.
    let body = StreamBody::new(futures_util::stream::unfold(pieces.into_iter(), |mut pieces| async move {
        tokio::task::yield_now().await;
        pieces.next().map(|piece| (piece, pieces))
    }));
    let mut response = Response::builder().header(SELLER, seller);
    if !order.in_chunks {
        response = response.header("content-length", order.download);
    }
    response.body(body.boxed_unsync()).unwrap()
}

fn empty(status: StatusCode) -> Response<Body> {
    let body = Full::default().map_err(|never| match never {}).boxed_unsync();
    Response::builder().status(status).body(body).unwrap()
}

/// How to speak HTTP/1.1 and HTTP/2 as `localhost`, and the authority that vouches for it.
fn certified() -> ([TlsAcceptor; 2], String) {
    let mut parameters = rcgen::CertificateParams::new(Vec::new()).unwrap();
    parameters.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let key = rcgen::KeyPair::generate().unwrap();
    let authority = parameters.self_signed(&key).unwrap().pem();
    let issuer = rcgen::Issuer::new(parameters, key);
    let own = rcgen::KeyPair::generate().unwrap();
    let leaf = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    let leaf = leaf.signed_by(&own, &issuer).unwrap();
    let acceptor = |protocol: &str| {
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(own.serialize_der()));
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = rustls::ServerConfig::builder_with_provider(provider);
        let builder = builder.with_safe_default_protocol_versions().unwrap().with_no_client_auth();
        let mut config = builder.with_single_cert(vec![leaf.der().clone()], key).unwrap();
        config.alpn_protocols = vec![protocol.as_bytes().to_vec()];
        TlsAcceptor::from(Arc::new(config))
    };
    (["http/1.1", "h2"].map(acceptor), authority)
}
