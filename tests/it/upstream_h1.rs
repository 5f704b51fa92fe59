//! HTTP/1.1 towards marketplaces, byte for byte: bodies both ways at once, answers in drips, and what an operating system
//! and TLS do between them. The one rule: what arrives is what was sent, or plainly not all of it.

use std::{
    cell::Cell,
    collections::VecDeque,
    convert::Infallible,
    future::Future,
    io::{Read, Write},
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use http::Request;
use http_body_util::BodyExt;
use hyper::body::{Body, Frame, SizeHint};
use marketgate::{
    config::settings::{Timeouts, UpstreamSettings},
    provider::HttpUrl,
    proxy::upstream::{Cause, Connector, Pool, Reply, SendFailure},
    tls,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf},
    net::{TcpListener, TcpStream},
    sync::Notify,
    task::{JoinHandle, spawn_local},
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use crate::{
    by_hand::{End, Peer, Upstream, trust},
    certificates::{Authority, Leaf},
    harness::{Time, gate},
    upstream_pool::{account, local, settings, settle},
    wire::{Wire, soon},
};

// ---- the caller's side -------------------------------------------------------------------------------------------

/// A request body in pieces of the test's choice, between which it may have to be waited.
#[derive(Default)]
struct Pieces {
    items: VecDeque<Item>,
    /// Whether it says how long it is.
    is_counted: bool,
    /// Counts, by its copies, the bodies that are not yet dropped.
    _alive: Rc<()>,
}

enum Item {
    Piece(Bytes),
    Wait(Pin<Box<dyn Future<Output = ()>>>),
}

impl Pieces {
    fn of(sizes: &[usize], is_counted: bool) -> Self {
        let whole = pattern(sizes.iter().sum());
        let mut rest = whole;
        let items = sizes.iter().map(|size| Item::Piece(rest.split_to(*size))).collect();
        Self { items, is_counted, ..Self::default() }
    }

    /// In chunks; ends when told to.
    fn held(sizes: &[usize]) -> (Self, Rc<Notify>) {
        let (mut body, end) = (Self::of(sizes, false), Rc::new(Notify::new()));
        let told = end.clone();
        body.items.push_back(Item::Wait(Box::pin(async move { told.notified().await })));
        (body, end)
    }
}

impl std::fmt::Debug for Pieces {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} pieces", self.items.len())
    }
}

impl Body for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        while let Some(Item::Wait(until)) = self.items.front_mut() {
            ready!(until.as_mut().poll(cx));
            self.items.pop_front();
        }
        let piece = self.items.pop_front();
        Poll::Ready(
            piece.and_then(
                |item| if let Item::Piece(piece) = item { Some(Ok(Frame::data(piece))) } else { None },
            ),
        )
    }

    fn is_end_stream(&self) -> bool {
        self.items.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        let length = |item: &Item| if let Item::Piece(piece) = item { piece.len() as u64 } else { 0 };
        if self.is_counted {
            SizeHint::with_exact(self.items.iter().map(length).sum())
        } else {
            SizeHint::default()
        }
    }
}

/// Bytes of which no stretch is like another.
fn pattern(length: usize) -> Bytes {
    let mut bytes = BytesMut::with_capacity(length + 8);
    let mut number: u64 = 0;
    while bytes.len() < length {
        number = number.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        bytes.extend_from_slice(&number.to_be_bytes());
    }
    bytes.truncate(length);
    bytes.freeze()
}

type Sent = Result<Reply, SendFailure<Pieces>>;

/// A pool before a marketplace that the test plays, with TLS or without.
struct Market {
    upstream: Upstream,
    url: HttpUrl,
    pool: Pool<Pieces>,
}

impl Market {
    fn new(is_secured: bool, settings: &UpstreamSettings) -> Self {
        let authority = Authority::new();
        let upstream =
            if is_secured { Upstream::secured(&authority, &["http/1.1"]) } else { Upstream::plain() };
        let url = url(is_secured, upstream.address);
        Self { upstream, url, pool: pool(&authority, settings) }
    }

    fn begin(&self, request: Request<Pieces>) -> JoinHandle<Sent> {
        begin(&self.pool, &self.url, request)
    }

    /// The next request comes on this connection.
    async fn uses(&self, peer: &mut Peer) {
        let sent = self.begin(get());
        tokio::select! {
            biased;
            request = peer.head() => assert!(request.is_some(), "the connection ended"),
            _ = self.upstream.accept_whenever() => panic!("another connection was opened"),
        }
        peer.answer("again").await;
        assert_eq!(text(sent.await.unwrap().unwrap()).await, "again");
    }

    /// A request whose body has begun, and ends when told to.
    async fn half_asked(&self) -> (JoinHandle<Sent>, Peer, Rc<Notify>) {
        let (body, end) = Pieces::held(&[4]);
        let sent = self.begin(post(body));
        let mut peer = self.upstream.accept().await;
        peer.head().await.unwrap();
        peer.bytes(9).await.unwrap();
        (sent, peer, end)
    }

    /// An exchange, after which its connection lies idle.
    async fn idle(&self) -> Peer {
        let sent = self.begin(get());
        let mut peer = self.upstream.accept().await;
        peer.head().await.unwrap();
        peer.answer("ok").await;
        assert_eq!(text(sent.await.unwrap().unwrap()).await, "ok");
        peer
    }
}

fn url(is_secured: bool, address: std::net::SocketAddr) -> HttpUrl {
    format!("{}://{address}", if is_secured { "https" } else { "http" }).parse().unwrap()
}

fn pool(authority: &Authority, settings: &UpstreamSettings) -> Pool<Pieces> {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), &authority.pem).unwrap();
    Pool::new(Connector::new(tls::client_config(Some(file.path())).unwrap(), settings))
}

fn begin(pool: &Pool<Pieces>, url: &HttpUrl, request: Request<Pieces>) -> JoinHandle<Sent> {
    let (pool, url) = (pool.clone(), url.clone());
    spawn_local(async move { pool.send(&url, &account("a"), request).await })
}

fn get() -> Request<Pieces> {
    Request::get("/").body(Pieces::default()).unwrap()
}

fn post(body: Pieces) -> Request<Pieces> {
    Request::post("/").body(body).unwrap()
}

async fn text(reply: Reply) -> String {
    String::from_utf8(reply.response.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap()
}

/// Runs a test without TLS and with it.
fn both<F: Future<Output = ()>>(test: impl Fn(Market) -> F + Copy + Send + 'static) {
    for is_secured in [false, true] {
        local(move || async move { test(Market::new(is_secured, &settings())).await });
    }
}

/// Whatever has been written by now has been noticed on the other side.
async fn noticed() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut near = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (mut far, _) = listener.accept().await.unwrap();
    near.write_all(b"!").await.unwrap();
    far.read_u8().await.unwrap();
    settle().await;
}

// ---- the marketplace's side: sockets with all their options --------------------------------------------------------

trait Line: AsyncRead + AsyncWrite + Unpin {}

impl<T: AsyncRead + AsyncWrite + Unpin> Line for T {}

/// A marketplace whose sockets take little at once.
struct Narrow {
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    url: HttpUrl,
}

impl Narrow {
    fn new(authority: &Authority, is_secured: bool) -> Self {
        let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        rustix::net::sockopt::set_socket_recv_buffer_size(&socket, 4096).unwrap();
        rustix::net::sockopt::set_socket_send_buffer_size(&socket, 4096).unwrap();
        socket.set_nonblocking(true).unwrap();
        let tls = is_secured.then(|| TlsAcceptor::from(authority.server(Leaf::Good, &["http/1.1"])));
        let url = url(is_secured, socket.local_addr().unwrap());
        Self { listener: TcpListener::from_std(socket).unwrap(), tls, url }
    }

    async fn accept(&self) -> Box<dyn Line> {
        let (stream, _) = soon("a connection", self.listener.accept()).await.unwrap();
        stream.set_nodelay(true).unwrap();
        match &self.tls {
            None => Box::new(stream),
            Some(tls) => Box::new(soon("a handshake", tls.accept(stream)).await.unwrap()),
        }
    }
}

async fn head(line: &mut (impl AsyncRead + Unpin)) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(soon("a request", line.read_u8()).await.unwrap());
    }
    String::from_utf8(head).unwrap()
}

async fn exactly(line: &mut (impl AsyncRead + Unpin), length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    soon("bytes", line.read_exact(&mut bytes)).await.unwrap();
    bytes
}

// ---- idle connections --------------------------------------------------------------------------------------------

#[test]
fn an_upstream_that_closes_an_idle_connection_frees_it_though_nobody_asks() {
    for (is_secured, ends) in [(false, &[End::Fin][..]), (true, &[End::Farewell, End::Fin])] {
        local(move || async move {
            let market = Market::new(is_secured, &settings());
            for end in ends {
                // `part` waits for the program to hang up as well.
                market.idle().await.part(*end).await;
                // One that was used twice is no different.
                let mut peer = market.idle().await;
                market.uses(&mut peer).await;
                peer.part(*end).await;
            }
        });
    }
}

/// A TCP stream that keeps what TLS wants to say behind its handshake until it is told to let go.
struct Dam {
    tcp: TcpStream,
    has_spoken: bool,
    kept: Option<Vec<u8>>,
}

impl AsyncRead for Dam {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        ready!(Pin::new(&mut self.tcp).poll_read(cx, buf))?;
        // What comes after the first flight is the client's Finished; what is said after that, tickets.
        if self.has_spoken && self.kept.is_none() {
            self.kept = Some(Vec::new());
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Dam {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        self.has_spoken = true;
        match &mut self.kept {
            Some(kept) => {
                kept.extend_from_slice(bytes);
                Poll::Ready(Ok(bytes.len()))
            }
            None => Pin::new(&mut self.tcp).poll_write(cx, bytes),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.tcp).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.tcp).poll_shutdown(cx)
    }
}

#[test]
fn session_tickets_that_come_late_are_no_strays() {
    local(|| async {
        let authority = Authority::new();
        let (market, pool) = (Narrow::new(&authority, true), pool(&authority, &settings()));
        // Its request goes away while it connects, so that the connection lies idle without having been used.
        let gone = begin(&pool, &market.url, get());
        let (tcp, _) = market.listener.accept().await.unwrap();
        gone.abort();
        let acceptor = TlsAcceptor::from(authority.server(Leaf::Good, &["http/1.1"]));
        let mut line = acceptor.accept(Dam { tcp, has_spoken: false, kept: None }).await.unwrap();
        noticed().await;
        let dam = line.get_mut().0;
        let tickets = dam.kept.take().unwrap();
        dam.has_spoken = false;
        assert!(!tickets.is_empty());
        // In two parts: half a record is no stray either.
        let (first, second) = tickets.split_at(tickets.len() / 2);
        for part in [first, second] {
            dam.tcp.write_all(part).await.unwrap();
            noticed().await;
        }
        let sent = begin(&pool, &market.url, get());
        tokio::select! {
            biased;
            _ = head(&mut line) => {}
            _ = market.accept() => panic!("another connection was opened"),
        }
        line.get_mut().0.kept = None;
        line.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await.unwrap();
        line.get_mut().0.kept = None;
        assert_eq!(text(sent.await.unwrap().unwrap()).await, "ok");
    });
}

async fn change_keys(line: &mut TlsStream<TcpStream>) {
    line.get_mut().1.refresh_traffic_keys().unwrap();
    line.flush().await.unwrap();
}

#[test]
fn keys_that_change_on_an_idle_connection_and_within_an_exchange_are_tlss_own_concern() {
    local(|| async {
        let authority = Authority::new();
        let (market, pool) = (Narrow::new(&authority, true), pool(&authority, &settings()));
        let mut sent = begin(&pool, &market.url, get());
        let (tcp, _) = market.listener.accept().await.unwrap();
        let mut line = market.tls.as_ref().unwrap().accept(tcp).await.unwrap();
        for _ in 0..5 {
            tokio::select! {
                biased;
                _ = head(&mut line) => {}
                _ = market.accept() => panic!("another connection was opened"),
            }
            for part in ["HTTP/1.1 200 OK\r\nContent-", "Length: 4\r\n\r\no", "kok"] {
                change_keys(&mut line).await;
                line.write_all(part.as_bytes()).await.unwrap();
                line.flush().await.unwrap();
                noticed().await;
            }
            assert_eq!(text(sent.await.unwrap().unwrap()).await, "okok");
            change_keys(&mut line).await;
            noticed().await;
            sent = begin(&pool, &market.url, get());
        }
    });
}

#[test]
fn a_stray_that_comes_as_a_busy_callers_next_request_goes_out_is_not_its_answer() {
    local(|| async {
        let market = Market::new(false, &settings());
        let mut peer = market.idle().await;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut bell = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (mut caller, _) = listener.accept().await.unwrap();
        let (pool, url) = (market.pool.clone(), market.url.clone());
        let mut sent = spawn_local(async move {
            caller.read_u8().await.unwrap();
            // It has done all that tokio lets a task do in one go.
            while tokio::task::coop::has_budget_remaining() {
                tokio::task::coop::consume_budget().await;
            }
            pool.send(&url, &account("a"), get()).await
        });
        settle().await;
        // The caller wakes from the same look at the network that brings the stray, and before whoever watches for it.
        bell.write_all(b"!").await.unwrap();
        peer.say("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil").await;
        let mut fresh = tokio::select! {
            biased;
            sent = &mut sent => panic!("it was answered with: {}", text(sent.unwrap().unwrap()).await),
            fresh = market.upstream.accept() => fresh,
        };
        fresh.head().await.unwrap();
        fresh.answer("own").await;
        assert_eq!(text(sent.await.unwrap().unwrap()).await, "own");
    });
}

// ---- requests ----------------------------------------------------------------------------------------------------

/// Smaller and larger than whatever is copied, and than whatever TLS and the operating system take at once.
const SIZES: [usize; 12] =
    [1, 16_383, 16_384, 16_385, 1, 65_535, 65_536, 65_537, 200_001, 1 << 20, 3 << 20, 1];

#[test]
fn an_upload_arrives_byte_for_byte_at_an_upstream_that_takes_it_in_sips() {
    for (is_secured, is_counted) in [(false, false), (false, true), (true, false), (true, true)] {
        local(move || async move {
            let authority = Authority::new();
            let (market, pool) = (Narrow::new(&authority, is_secured), pool(&authority, &settings()));
            let sent = begin(&pool, &market.url, post(Pieces::of(&SIZES, is_counted)));
            let mut line = market.accept().await;
            let asked = head(&mut line).await;
            let whole = pattern(SIZES.iter().sum());
            let expected = if is_counted {
                assert!(asked.contains(&format!("content-length: {}\r\n", whole.len())), "{asked}");
                whole.to_vec()
            } else {
                assert!(asked.contains("transfer-encoding: chunked\r\n"), "{asked}");
                let mut rest = whole;
                let mut chunks = Vec::new();
                for size in SIZES {
                    chunks.extend_from_slice(format!("{size:x}\r\n").as_bytes());
                    chunks.extend_from_slice(&rest.split_to(size));
                    chunks.extend_from_slice(b"\r\n");
                }
                chunks.extend_from_slice(b"0\r\n\r\n");
                chunks
            };
            let mut seen = 0;
            let mut sip = vec![0; 7001];
            while seen < expected.len() {
                let read = soon("more", line.read(&mut sip)).await.unwrap();
                assert!(read > 0, "it ended after {seen} bytes");
                assert!(expected[seen..].starts_with(&sip[..read]), "not what was sent, after {seen} bytes");
                seen += read;
            }
            line.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await.unwrap();
            line.flush().await.unwrap();
            assert_eq!(text(sent.await.unwrap().unwrap()).await, "ok");
            // It was clean to its last byte.
            let _next = begin(&pool, &market.url, get());
            tokio::select! {
                biased;
                _ = head(&mut line) => {}
                _ = market.accept() => panic!("another connection was opened"),
            }
        });
    }
}

#[test]
fn a_length_without_a_body_promises_none() {
    local(|| async {
        let market = Market::new(false, &settings());
        for (method, field) in [("GET", "5"), ("POST", "5"), ("DELETE", "00007")] {
            let request = Request::builder().method(method).uri("/").header("content-length", field);
            let sent = market.begin(request.body(Pieces::default()).unwrap());
            let mut peer = market.upstream.accept().await;
            let head = peer.head().await.unwrap();
            assert!(
                !head.contains(&format!("content-length: {field}")),
                "five bytes that never come: {head}"
            );
            peer.answer("ok").await;
            assert_eq!(text(sent.await.unwrap().unwrap()).await, "ok");
            peer.part(End::Fin).await;
        }
    });
}

#[test]
fn a_length_that_is_not_the_bodys_is_replaced_and_said_once() {
    local(|| async {
        let market = Market::new(false, &settings());
        for wrong in [&["5"][..], &["4", "4"], &["5", "4"], &["4, 4"], &["+4"], &["-1"], &[""]] {
            let mut request = Request::post("/").header("transfer-encoding", "identity");
            for value in wrong {
                request = request.header("content-length", *value);
            }
            let sent = market.begin(request.body(Pieces::of(&[3, 1], true)).unwrap());
            let mut peer = market.upstream.accept().await;
            let head = peer.head().await.unwrap();
            let lengths: Vec<&str> = head.lines().filter(|line| line.starts_with("content-length")).collect();
            assert_eq!(lengths, ["content-length: 4"], "{wrong:?}");
            assert!(!head.contains("transfer-encoding"), "{head}");
            assert_eq!(peer.bytes(4).await.unwrap(), pattern(4));
            peer.answer("ok").await;
            assert_eq!(text(sent.await.unwrap().unwrap()).await, "ok");
            peer.part(End::Fin).await;
        }
    });
}

// ---- answers before the request's end ----------------------------------------------------------------------------

#[test]
fn an_early_refusal_is_seen_though_a_reset_follows_at_once() {
    both(|market| async move {
        for (round, is_counted) in (0..10).flat_map(|round| [(round, true), (round, false)]) {
            let sent = market.begin(post(Pieces::of(&[1 << 16; 192], is_counted)));
            let mut peer = market.upstream.accept().await;
            peer.head().await.unwrap();
            // Now and then within the body.
            peer.bytes(round * 80_000).await.unwrap();
            peer.say("HTTP/1.1 413 Content Too Large\r\nConnection: close\r\nContent-Length: 2\r\n\r\nno")
                .await;
            peer.end(End::Reset).await;
            drop(peer);
            let reply = sent.await.unwrap().unwrap_or_else(|failure| panic!("{round}: {}", failure.error));
            assert_eq!(reply.response.status(), 413);
            assert_eq!(text(reply).await, "no");
        }
    });
}

#[test]
fn an_answer_cut_by_a_reset_that_only_the_upload_notices_looks_whole_to_nobody() {
    both(|market| async move {
        let (sent, mut peer, end) = market.half_asked().await;
        peer.say("HTTP/1.1 200 OK\r\n\r\nhalf!").await;
        // The caller has the head, and does not read on for now.
        let reply = sent.await.unwrap().unwrap();
        peer.end(End::Reset).await;
        drop(peer);
        end.notify_one();
        noticed().await;
        let body = reply.response.into_body().collect().await;
        assert!(body.is_err(), "half an answer looks whole: {:?}", body.unwrap().to_bytes());
    });
}

#[test]
fn an_answer_cut_by_a_reset_that_the_request_notices_first_looks_whole_to_nobody() {
    both(|market| async move {
        let (sent, mut peer, end) = market.half_asked().await;
        settle().await;
        // All at once: the body goes on, and finds the reset, before anybody reads.
        end.notify_one();
        peer.say("HTTP/1.1 200 OK\r\n\r\nhalf!").await;
        peer.end(End::Reset).await;
        drop(peer);
        let Ok(reply) = sent.await.unwrap() else { return };
        let body = reply.response.into_body().collect().await;
        assert!(body.is_err(), "half an answer looks whole: {:?}", body.unwrap().to_bytes());
    });
}

#[test]
fn a_caller_who_reads_nothing_before_he_has_written_all_gets_all_of_an_early_answer() {
    const LENGTH: usize = 24 << 20;
    for is_secured in [false, true] {
        let (authority, folder) = (Authority::new(), tempfile::tempdir().unwrap());
        let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        socket.set_nonblocking(true).unwrap();
        let origin = url(is_secured, socket.local_addr().unwrap());
        let scheme = if is_secured { "https" } else { "http" };
        let configuration = trust(&authority, folder.path())
            + &format!(
                "[apps.hand]\nprovider = \"generic\"\ngrant = \"static\"\napi = \"{scheme}://127.0.0.1:{}\"\napi_key = \"key\"\n",
                origin.port
            );
        let tls = is_secured.then(|| TlsAcceptor::from(authority.server(Leaf::Good, &["http/1.1"])));
        gate(Time::Runs, &configuration, |w| async move {
            let market = Narrow { listener: TcpListener::from_std(socket).unwrap(), tls, url: origin };
            let body = pattern(LENGTH);
            let caller = async {
                let mut wire = Wire::to(w.proxy).await;
                let request =
                    format!("POST /hand/x HTTP/1.1\r\nHost: localhost\r\nContent-Length: {LENGTH}\r\n\r\n");
                assert!(wire.write(request.as_bytes()).await);
                assert!(wire.write(&body).await, "it was not let write all");
                assert_eq!(wire.head().await.unwrap().status, 200);
                assert!(wire.bytes(LENGTH).await == body, "another answer");
            };
            let seller = async {
                let mut line = market.accept().await;
                head(&mut line).await;
                let (mut reading, mut writing) = tokio::io::split(line);
                let all_read = Notify::new();
                let read = async {
                    assert!(exactly(&mut reading, LENGTH).await == body, "another body");
                    all_read.notify_one();
                };
                let write = async {
                    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {LENGTH}\r\n\r\n");
                    writing.write_all(head.as_bytes()).await.unwrap();
                    writing.write_all(&body[..LENGTH - 1]).await.unwrap();
                    all_read.notified().await;
                    writing.write_all(&body[LENGTH - 1..]).await.unwrap();
                    writing.flush().await.unwrap();
                };
                tokio::join!(read, write);
                (reading, writing)
            };
            soon("both bodies", async { tokio::join!(caller, seller) }).await;
        });
    }
}

#[test]
fn a_body_that_was_all_taken_arrives_whole_though_the_answer_came_first() {
    both(|market| async move {
        let sent = market.begin(post(Pieces::of(&[16 << 20], true)));
        let mut peer = market.upstream.accept().await;
        peer.head().await.unwrap();
        peer.answer("early").await;
        assert_eq!(text(sent.await.unwrap().unwrap()).await, "early");
        let body = peer.bytes(16 << 20).await;
        assert!(
            body.is_some_and(|body| body == pattern(16 << 20)),
            "after a good answer the request was cut off"
        );
    });
}

#[test]
fn an_upload_nobody_can_use_any_more_is_dropped_with_its_answer() {
    both(|market| async move {
        for early in ["Content-Length: 2\r\n\r\nok", "Content-Length: 9\r\n\r\nok"] {
            let alive = Rc::new(());
            let (body, _never) = Pieces::held(&[1 << 20, 1 << 20, 1 << 23]);
            let sent = market.begin(post(Pieces { _alive: alive.clone(), ..body }));
            let mut peer = market.upstream.accept().await;
            peer.head().await.unwrap();
            peer.say(format!("HTTP/1.1 200 OK\r\n{early}")).await;
            let mut reply = sent.await.unwrap().unwrap();
            reply.response.body_mut().frame().await.unwrap().unwrap();
            drop(reply);
            settle().await;
            assert_eq!(Rc::strong_count(&alive), 1, "something still sends");
            assert!(peer.rest().await.len() < 10 << 20);
        }
    });
}

// ---- answers -----------------------------------------------------------------------------------------------------

const DRIPPED: &str = "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\nHTTP/1.1 200 In Drips\r\nX-One: 1\r\nx-two:  2 \r\n\
    Transfer-Encoding: chunked\r\n\r\n3;a=\"b\"\r\nabc\r\n00A\r\n0123456789\r\n1 \r\n\n\r\n0;last\r\nX-Sum: 1\r\nx-sum: 2\r\n\r\n";

#[test]
fn an_answer_in_single_bytes_is_the_same_answer_and_keeps_its_connection() {
    both(|market| async move {
        let mut peer = market.idle().await;
        for _ in 0..2 {
            let sent = market.begin(get());
            peer.head().await.unwrap();
            for byte in DRIPPED.as_bytes() {
                peer.say([*byte]).await;
                tokio::task::yield_now().await;
                tokio::task::yield_now().await;
            }
            let reply = sent.await.unwrap().unwrap();
            assert_eq!(
                (&reply.response.headers()["x-one"], &reply.response.headers()["x-two"]),
                (&"1".parse().unwrap(), &"2".parse().unwrap())
            );
            let body = reply.response.into_body().collect().await.unwrap();
            let sums: Vec<_> = body.trailers().unwrap().get_all("x-sum").iter().cloned().collect();
            assert_eq!(sums, ["1", "2"]);
            assert_eq!(body.to_bytes(), "abc0123456789\n");
        }
        market.uses(&mut peer).await;
    });
}

#[test]
fn a_head_and_trailers_in_drips_cost_no_square_of_their_length() {
    local(|| async {
        let market = Market::new(false, &settings());
        let sent = market.begin(get());
        let mut peer = market.upstream.accept().await;
        peer.head().await.unwrap();
        let field = format!("X-Long: {}\r\n", "y".repeat(200_000));
        for part in ["HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n", &field, "\r\n0\r\n", &field, "\r\n"]
        {
            for few in part.as_bytes().chunks(40) {
                peer.say(few).await;
                tokio::task::yield_now().await;
            }
        }
        let reply = soon("the head", sent).await.unwrap().unwrap();
        assert_eq!(reply.response.headers()["x-long"].len(), 200_000);
        let body = reply.response.into_body().collect().await.unwrap();
        assert_eq!(body.trailers().unwrap()["x-long"].len(), 200_000);
    });
}

#[test]
fn an_answer_in_many_small_writes_is_the_same_answer_whoever_is_slow() {
    both(|market| async move {
        let whole = pattern(600_000);
        for is_chunked in [false, true] {
            let sent = market.begin(get());
            let mut peer = market.upstream.accept().await;
            peer.head().await.unwrap();
            let answered = whole.clone();
            let saying = spawn_local(async move {
                let framing =
                    if is_chunked { "Transfer-Encoding: chunked" } else { "Content-Length: 600000" };
                peer.say(format!("HTTP/1.1 200 OK\r\n{framing}\r\n\r\n")).await;
                let mut rest = &answered[..];
                for size in (1..2000).cycle() {
                    if rest.is_empty() {
                        break;
                    }
                    let (piece, left) = rest.split_at(size.min(rest.len()));
                    if is_chunked {
                        peer.say([format!("{:X}\r\n", piece.len()).as_bytes(), piece, b"\r\n"].concat())
                            .await;
                    } else {
                        peer.say(piece).await;
                    }
                    rest = left;
                    if size % 7 == 0 {
                        tokio::task::yield_now().await;
                    }
                }
                if is_chunked {
                    peer.say("0\r\n\r\n").await;
                }
                peer
            });
            let mut body = sent.await.unwrap().unwrap().response.into_body();
            let mut seen = BytesMut::new();
            while let Some(frame) = soon("a frame", body.frame()).await {
                seen.extend_from_slice(&frame.unwrap().into_data().unwrap());
                tokio::task::yield_now().await;
            }
            assert!(seen == whole, "another body");
            drop(body);
            let mut peer = saying.await.unwrap();
            market.uses(&mut peer).await;
            peer.part(End::Fin).await;
        }
    });
}

#[test]
fn an_answer_nobody_reads_stays_with_the_upstream() {
    const LENGTH: usize = 64 << 20;
    both(|market| async move {
        let sent = market.begin(get());
        let mut peer = market.upstream.accept().await;
        peer.head().await.unwrap();
        let written = Rc::new(Cell::new(0));
        let count = written.clone();
        let saying = spawn_local(async move {
            peer.say(format!("HTTP/1.1 200 OK\r\nContent-Length: {LENGTH}\r\n\r\n")).await;
            let piece = vec![b'x'; 1 << 16];
            while count.get() < LENGTH {
                peer.say(&piece).await;
                count.set(count.get() + piece.len());
            }
            peer
        });
        let body = sent.await.unwrap().unwrap().response.into_body();
        let mut before = usize::MAX;
        while written.get() != before {
            before = written.get();
            noticed().await;
        }
        assert!(written.get() < LENGTH / 2, "{} bytes were taken for nobody", written.get());
        assert_eq!(body.collect().await.unwrap().to_bytes().len(), LENGTH);
        drop(saying.await.unwrap());
    });
}

#[test]
fn an_answer_that_is_kept_after_its_end_keeps_no_hold_of_its_connection() {
    both(|market| async move {
        let sent = market.begin(get());
        let mut peer = market.upstream.accept().await;
        peer.head().await.unwrap();
        peer.answer("ok").await;
        let mut kept = sent.await.unwrap().unwrap().response.into_body();
        while kept.frame().await.is_some() {}
        // Another exchange on the same connection, which is broken off: that cuts it off.
        let sent = market.begin(get());
        peer.head().await.unwrap();
        sent.abort();
        assert_eq!(peer.rest().await, b"");
        drop(kept);
    });
}

#[test]
fn a_length_beside_a_coding_that_ends_with_the_connection_does_not_cut_the_answer_short() {
    let upstream = Upstream::plain();
    gate(Time::Runs, &upstream.app("hand"), |w| async move {
        let mut wire = Wire::to(w.proxy).await;
        wire.write(b"GET /hand/x HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
        let mut peer = upstream.accept().await;
        peer.head().await.unwrap();
        peer.say("HTTP/1.1 200 OK\r\nTransfer-Encoding: identity\r\nContent-Length: 5\r\n\r\nhello, world")
            .await;
        peer.end(End::Fin).await;
        let answer = wire.answer().await.unwrap();
        // RFC 9112 §6.3: the coding overrides the length. A refusal is as good.
        assert!(answer.status == 502 || answer.body == "hello, world", "{} {:?}", answer.status, answer.body);
    });
}

#[test]
fn interim_answers_without_end_are_given_up_after_the_heads_time() {
    local(|| async {
        let timeouts = Timeouts { head: Duration::from_millis(300), ..Timeouts::default() };
        let market = Market::new(false, &UpstreamSettings { timeouts, ..settings() });
        let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let url = url(false, socket.local_addr().unwrap());
        let flood = std::thread::spawn(move || {
            let (mut stream, _) = socket.accept().unwrap();
            assert!(stream.read(&mut [0; 4096]).unwrap() > 0);
            let interim = b"HTTP/1.1 100 Continue\r\n\r\n".repeat(20_000);
            while stream.write_all(&interim).is_ok() {}
        });
        let sent = begin(&market.pool, &url, get());
        let failure = soon("the end of patience", sent).await.unwrap().unwrap_err();
        assert!(
            matches!(failure.error.cause(), Cause::HeadTimeout { .. } | Cause::Protocol { .. }),
            "{}",
            failure.error
        );
        flood.join().unwrap();
    });
}

#[test]
fn bytes_behind_an_answer_that_came_in_one_record_with_it_end_the_connection() {
    both(|market| async move {
        for junk in [1, 3, 16_384, 70_000] {
            for length in [0, 1, 20_000, 16_384 - 60, 65_536] {
                let sent = market.begin(get());
                let mut peer = market.upstream.accept().await;
                peer.head().await.unwrap();
                let body = pattern(length);
                let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n");
                peer.say([answer.as_bytes(), &body, &vec![b'j'; junk]].concat()).await;
                let reply = sent.await.unwrap().unwrap();
                assert!(reply.response.into_body().collect().await.unwrap().to_bytes() == body);
                assert_eq!(peer.rest().await, b"", "{length} and {junk}");
            }
        }
    });
}
