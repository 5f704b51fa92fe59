//! The pool over real sockets, against servers that say exactly what a test wants them to say.

use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    convert::Infallible,
    future::Future,
    io,
    pin::Pin,
    rc::Rc,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http::{Method, Request, Response, Version};
use http_body_util::{BodyExt, Collected, Full};
use hyper::{
    body::{Body, Frame, Incoming, SizeHint},
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use marketgate::{
    config::settings::{ForwardProxy, Timeouts, UpstreamLimits, UpstreamSettings},
    names::AccountId,
    net::TlsFault,
    provider::HttpUrl,
    proxy::upstream::{Cause, Connector, Exceeded, Pool, Reply, SendFailure, Side, UpstreamError},
    secret::Secret,
    tls,
};
use rand::{RngExt, SeedableRng};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::{Notify, oneshot},
    task::{JoinHandle, LocalSet, spawn_local},
    time::Instant,
};
use tokio_rustls::TlsAcceptor;

pub(crate) type TestPool = Pool<TestBody>;
pub(crate) type Sent = Result<Reply, SendFailure<TestBody>>;

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

// ---- the caller's side -------------------------------------------------------------------------------------------

/// Runs a test as a proxy worker runs: one thread, one `LocalSet`. A test that hangs fails.
pub(crate) fn local<F: Future<Output = ()>>(test: impl FnOnce() -> F + Send + 'static) {
    let (done, end) = std::sync::mpsc::channel();
    let thread = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        LocalSet::new().block_on(&runtime, test());
        let _ = done.send(());
    });
    if end.recv_timeout(Duration::from_secs(30)) == Err(std::sync::mpsc::RecvTimeoutError::Timeout) {
        panic!("the test hangs");
    }
    if let Err(panic) = thread.join() {
        std::panic::resume_unwind(panic);
    }
}

pub(crate) fn settings() -> UpstreamSettings {
    UpstreamSettings {
        ca_file: None,
        proxy_url: None,
        timeouts: Timeouts::default(),
        limits: UpstreamLimits::default(),
    }
}

pub(crate) fn capped(connections: usize, queue: usize) -> UpstreamSettings {
    let limits = UpstreamLimits { connections, queue, ..UpstreamLimits::default() };
    UpstreamSettings { limits, ..settings() }
}

/// Trusts nobody: for plain HTTP, and for certificates that must be refused.
fn distrustful(settings: &UpstreamSettings) -> Connector {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider);
    let builder = builder.with_safe_default_protocol_versions().unwrap();
    let roots = rustls::RootCertStore::empty();
    Connector::new(builder.with_root_certificates(roots).with_no_client_auth(), settings)
}

fn plain(settings: &UpstreamSettings) -> TestPool {
    Pool::new(distrustful(settings))
}

pub(crate) fn account(name: &str) -> AccountId {
    AccountId { app: "app".parse().unwrap(), account: name.parse().unwrap() }
}

/// A request body: some frames, then perhaps something to wait for, then the end. Not `Send`, as real ones.
#[derive(Default)]
pub(crate) struct TestBody {
    frames: VecDeque<Result<Frame<Bytes>, io::Error>>,
    then: Option<Pin<Box<dyn Future<Output = ()>>>>,
}

impl TestBody {
    pub(crate) fn text(text: &'static str) -> Self {
        let frame = Ok(Frame::data(Bytes::from_static(text.as_bytes())));
        Self { frames: (!text.is_empty()).then_some(frame).into_iter().collect(), then: None }
    }

    /// Many frames of 16 KiB.
    pub(crate) fn frames(count: usize) -> Self {
        let frame = || Ok(Frame::data(Bytes::from_static(&[b'x'; 16384])));
        Self { frames: (0..count).map(|_| frame()).collect(), then: None }
    }

    /// Ends when told to.
    pub(crate) fn held(text: &'static str) -> (Self, Rc<Notify>) {
        let end = Rc::new(Notify::new());
        let told = end.clone();
        let then: Pin<Box<dyn Future<Output = ()>>> = Box::pin(async move { told.notified().await });
        (Self { then: Some(then), ..Self::text(text) }, end)
    }
}

impl std::fmt::Debug for TestBody {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} frames", self.frames.len())
    }
}

impl Body for TestBody {
    type Data = Bytes;
    type Error = io::Error;
    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        if let Some(frame) = self.frames.pop_front() {
            return Poll::Ready(Some(frame));
        }
        if let Some(then) = &mut self.then {
            ready!(then.as_mut().poll(cx));
            self.then = None;
        }
        Poll::Ready(None)
    }
    fn is_end_stream(&self) -> bool {
        self.frames.is_empty() && self.then.is_none()
    }
    fn size_hint(&self) -> SizeHint {
        let length = |frame: &Result<Frame<Bytes>, io::Error>| {
            frame.as_ref().ok().and_then(Frame::data_ref).map(|data| data.len() as u64)
        };
        let lengths: Option<u64> = self.frames.iter().map(length).sum();
        match (lengths, &self.then) {
            (Some(length), None) => SizeHint::with_exact(length),
            _ => SizeHint::default(),
        }
    }
}

pub(crate) fn get(path: &str) -> Request<TestBody> {
    Request::get(path).body(TestBody::default()).unwrap()
}

pub(crate) fn post(body: TestBody) -> Request<TestBody> {
    Request::post("/").body(body).unwrap()
}

/// Sends in a task of its own, so that the test can act meanwhile.
pub(crate) fn begin(
    pool: &TestPool,
    url: &HttpUrl,
    who: &str,
    request: Request<TestBody>,
) -> JoinHandle<Sent> {
    let (pool, url, who) = (pool.clone(), url.clone(), account(who));
    spawn_local(async move { pool.send(&url, &who, request).await })
}

/// The whole answer as text.
pub(crate) async fn text(reply: Reply) -> String {
    String::from_utf8(reply.response.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap()
}

/// GET / from start to end.
pub(crate) async fn fetch(pool: &TestPool, url: &HttpUrl, who: &str) -> String {
    text(pool.send(url, &account(who), get("/")).await.unwrap()).await
}

pub(crate) async fn failure(pool: &TestPool, url: &HttpUrl) -> UpstreamError {
    pool.send(url, &account("a"), get("/")).await.unwrap_err().error
}

/// Time that stands still until it is told to go on.
struct StillTime {
    _blocks: std::sync::mpsc::Sender<()>,
}

impl StillTime {
    fn new() -> Self {
        tokio::time::pause();
        let (blocks, end) = std::sync::mpsc::channel::<()>();
        // Paused time jumps to the next timer when nothing else is to be done, but not while a thread is at work.
        tokio::task::spawn_blocking(move || end.recv());
        Self { _blocks: blocks }
    }
}

/// Lets every other task run until none of them can go on without the network.
pub(crate) async fn settle() {
    for _ in 0..50 {
        tokio::task::yield_now().await;
    }
}

// ---- the upstream's side: plain sockets ------------------------------------------------------------------------------

struct Server {
    listener: TcpListener,
    url: HttpUrl,
}

impl Server {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/base", listener.local_addr().unwrap()).parse().unwrap();
        Self { listener, url }
    }

    /// The same place under another scheme: TCP accepts, TLS never answers.
    async fn black_hole() -> Self {
        let mut server = Self::start().await;
        server.url = format!("https://{}/", server.listener.local_addr().unwrap()).parse().unwrap();
        server
    }

    async fn accept(&self) -> Peer<TcpStream> {
        Peer { stream: self.listener.accept().await.unwrap().0 }
    }

    /// Nobody else has connected.
    async fn is_quiet(&self) -> bool {
        settle().await;
        futures_now(self.listener.accept()).await.is_none()
    }

    /// Answers each request with the number of the connection on which it came.
    fn number_connections(self) -> (HttpUrl, Rc<Cell<usize>>) {
        let connections = Rc::new(Cell::new(0));
        let (url, count) = (self.url.clone(), connections.clone());
        spawn_local(async move {
            loop {
                let mut peer = self.accept().await;
                count.set(count.get() + 1);
                let number = count.get().to_string();
                spawn_local(async move {
                    while peer.request().await.is_some() {
                        let length = number.len();
                        peer.say(&format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{number}"))
                            .await;
                    }
                });
            }
        });
        (url, connections)
    }
}

/// The output of a future that is ready now.
async fn futures_now<F: Future>(future: F) -> Option<F::Output> {
    let mut future = std::pin::pin!(future);
    std::future::poll_fn(|cx| {
        Poll::Ready(match future.as_mut().poll(cx) {
            Poll::Ready(output) => Some(output),
            Poll::Pending => None,
        })
    })
    .await
}

pub(crate) struct Peer<S> {
    pub(crate) stream: S,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Peer<S> {
    /// One request's head; its body, if it says how long it is, is read too. None at the connection's end.
    pub(crate) async fn request(&mut self) -> Option<String> {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(self.stream.read_u8().await.ok()?);
        }
        let head = String::from_utf8(head).unwrap();
        let length =
            head.lines().find_map(|line| line.to_lowercase().strip_prefix("content-length: ")?.parse().ok());
        let mut body = vec![0; length.unwrap_or(0)];
        self.stream.read_exact(&mut body).await.ok()?;
        Some(head + std::str::from_utf8(&body).unwrap())
    }

    pub(crate) async fn say(&mut self, text: &str) {
        self.stream.write_all(text.as_bytes()).await.unwrap();
    }

    /// Reads to the end of the connection; a reset is an end too.
    async fn see_the_end(&mut self) -> Vec<u8> {
        let mut rest = Vec::new();
        let _ = self.stream.read_to_end(&mut rest).await;
        rest
    }
}

// ---- the upstream's side: TLS ------------------------------------------------------------------------------------------

/// A certificate authority, its PEM file, and servers with its certificates.
pub(crate) struct Authority {
    file: tempfile::NamedTempFile,
    issuer: rcgen::Issuer<'static, rcgen::KeyPair>,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), params.self_signed(&key).unwrap().pem()).unwrap();
        Self { file, issuer: rcgen::Issuer::new(params, key) }
    }

    pub(crate) fn connector(&self, settings: &UpstreamSettings) -> Connector {
        Connector::new(self.trusted(), settings)
    }

    pub(crate) fn file(&self) -> std::path::Display<'_> {
        self.file.path().display()
    }

    pub(crate) fn trusted(&self) -> rustls::ClientConfig {
        tls::client_config(Some(self.file.path())).unwrap()
    }

    pub(crate) fn pool(&self, settings: &UpstreamSettings) -> TestPool {
        Pool::new(self.connector(settings))
    }

    pub(crate) fn acceptor(&self, name: &str, protocols: &[&str]) -> TlsAcceptor {
        let key = rcgen::KeyPair::generate().unwrap();
        let params = rcgen::CertificateParams::new(vec![name.to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = rustls::ServerConfig::builder_with_provider(provider);
        let builder = builder.with_safe_default_protocol_versions().unwrap().with_no_client_auth();
        let key = rustls_pki_types::PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let mut config = builder.with_single_cert(vec![certificate.der().clone()], key).unwrap();
        config.alpn_protocols = protocols.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
        TlsAcceptor::from(Arc::new(config))
    }
}

/// A TLS server by hyper. It answers each request with the number of its connection, and holds answers back while asked to.
pub(crate) struct TlsServer {
    pub(crate) url: HttpUrl,
    pub(crate) port: u16,
    pub(crate) connections: Rc<Cell<usize>>,
    pub(crate) requests: Rc<RefCell<Vec<http::request::Parts>>>,
    pub(crate) held: Rc<Cell<bool>>,
    pub(crate) go: Rc<Notify>,
}

#[derive(Clone, Copy)]
pub(crate) struct Http2 {
    pub(crate) streams: u32,
}

impl TlsServer {
    pub(crate) async fn start(acceptor: TlsAcceptor, http2: Option<Http2>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = Self {
            url: format!("https://localhost:{port}").parse().unwrap(),
            port,
            connections: Rc::default(),
            requests: Rc::default(),
            held: Rc::default(),
            go: Rc::default(),
        };
        let (connections, requests) = (server.connections.clone(), server.requests.clone());
        let (held, go) = (server.held.clone(), server.go.clone());
        spawn_local(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let acceptor = acceptor.clone();
                let (connections, requests) = (connections.clone(), requests.clone());
                let (held, go) = (held.clone(), go.clone());
                spawn_local(async move {
                    let Ok(stream) = acceptor.accept(stream).await else { return };
                    connections.set(connections.get() + 1);
                    let number = connections.get().to_string();
                    let service = service_fn(move |request: Request<Incoming>| {
                        let (parts, body) = request.into_parts();
                        requests.borrow_mut().push(parts);
                        let (number, held, go) = (number.clone(), held.clone(), go.clone());
                        async move {
                            let _ = body.collect().await;
                            if held.get() {
                                go.notified().await;
                            }
                            Ok::<_, Infallible>(Response::new(Full::new(Bytes::from(number))))
                        }
                    });
                    let stream = TokioIo::new(stream);
                    match http2 {
                        Some(Http2 { streams }) => {
                            let mut builder = hyper::server::conn::http2::Builder::new(Local);
                            builder.max_concurrent_streams(streams);
                            let _ = builder.serve_connection(stream, service).await;
                        }
                        None => {
                            let builder = hyper::server::conn::http1::Builder::new();
                            let _ = builder.serve_connection(stream, service).await;
                        }
                    }
                });
            }
        });
        server
    }

    pub(crate) async fn has_seen(&self, requests: usize) {
        while self.requests.borrow().len() < requests {
            tokio::task::yield_now().await;
        }
    }
}

#[derive(Clone)]
struct Local;

impl<F: Future<Output: 'static> + 'static> hyper::rt::Executor<F> for Local {
    fn execute(&self, task: F) {
        spawn_local(task);
    }
}

// ---- HTTP/1.1: which connection ----------------------------------------------------------------------------------------

#[test]
fn a_connection_is_used_again_by_its_account_and_by_no_other() {
    local(|| async {
        let (url, connections) = Server::start().await.number_connections();
        let pool = plain(&settings());
        let mut used = Vec::new();
        for who in ["a", "a", "b", "a", "b", "c"] {
            used.push(fetch(&pool, &url, who).await);
        }
        assert_eq!(used, ["1", "1", "2", "1", "2", "3"]);
        assert_eq!(connections.get(), 3);
        let reply = pool.send(&url, &account("a"), get("/")).await.unwrap();
        assert_eq!((reply.reused, reply.protocol), (true, Version::HTTP_11));
        assert_eq!(reply.peer.unwrap().port(), url.port);
    });
}

#[test]
fn the_connection_used_last_is_used_next() {
    local(|| async {
        let server = Server::start().await;
        let pool = plain(&settings());
        let first = begin(&pool, &server.url, "a", get("/1"));
        let mut one = server.accept().await;
        one.request().await.unwrap();
        let second = begin(&pool, &server.url, "a", get("/2"));
        let mut two = server.accept().await;
        two.request().await.unwrap();
        two.say(OK).await;
        text(second.await.unwrap().unwrap()).await;
        one.say(OK).await;
        text(first.await.unwrap().unwrap()).await;
        let _third = begin(&pool, &server.url, "a", get("/3"));
        assert!(one.request().await.unwrap().starts_with("GET /3 "));
        let _fourth = begin(&pool, &server.url, "a", get("/4"));
        assert!(two.request().await.unwrap().starts_with("GET /4 "));
    });
}

#[test]
fn the_request_arrives_as_it_was_with_our_host_first() {
    local(|| async {
        let server = Server::start().await;
        let pool = plain(&settings());
        let host = server.url.authority.to_string();
        let request = Request::get("/a%2Fb/../c?x=%41&&y=?")
            .header("x-one", "1")
            .header("host", "evil.example")
            .header("host", "worse.example")
            .header("x-two", "2")
            .header("x-one", "3")
            .body(TestBody::default())
            .unwrap();
        let _sent = begin(&pool, &server.url, "a", request);
        let mut peer = server.accept().await;
        let expected = format!(
            "GET /a%2Fb/../c?x=%41&&y=? HTTP/1.1\r\nhost: {host}\r\nx-one: 1\r\nx-one: 3\r\nx-two: 2\r\n\r\n"
        );
        assert_eq!(peer.request().await.unwrap(), expected);
    });
}

#[test]
fn a_url_in_the_request_does_not_choose_the_destination() {
    local(|| async {
        let server = Server::start().await;
        let pool = plain(&settings());
        let request = Request::post("https://evil.example/x").header("host", "evil.example");
        let _sent = begin(&pool, &server.url, "a", request.body(TestBody::text("hello")).unwrap());
        let expected =
            format!("POST /x HTTP/1.1\r\nhost: {}\r\ncontent-length: 5\r\n\r\nhello", server.url.authority);
        assert_eq!(server.accept().await.request().await.unwrap(), expected);
    });
}

/// A connection to `server` that lies idle in the pool, and the server's end of it.
async fn idle(pool: &TestPool, server: &Server) -> Peer<TcpStream> {
    let sent = begin(pool, &server.url, "a", get("/"));
    let mut peer = server.accept().await;
    peer.request().await.unwrap();
    peer.say(OK).await;
    text(sent.await.unwrap().unwrap()).await;
    peer
}

#[test]
fn a_connection_that_was_closed_while_idle_is_replaced_without_an_error() {
    local(|| async {
        let server = Server::start().await;
        let pool = plain(&settings());
        drop(idle(&pool, &server).await);
        settle().await;
        drop(idle(&pool, &server).await);
        settle().await;
        assert!(server.is_quiet().await);
    });
}

#[test]
fn a_request_put_on_a_connection_that_has_just_died_is_sent_on_another() {
    local(|| async {
        let server = Server::start().await;
        let pool = plain(&settings());
        let peer = idle(&pool, &server).await;
        // The caller wakes from the same look at the network that brings the farewell, and before it.
        let (mut bell, mut caller) =
            (TcpStream::connect(server.listener.local_addr().unwrap()).await.unwrap(), server.accept().await);
        let (at, who, from) = (server.url.clone(), account("a"), pool.clone());
        let sent = spawn_local(async move {
            caller.stream.read_u8().await.unwrap();
            from.send(&at, &who, post(TestBody::text("once"))).await
        });
        settle().await;
        bell.write_all(b"!").await.unwrap();
        drop(peer);
        let mut peer = server.accept().await;
        assert!(peer.request().await.unwrap().ends_with("once"));
        peer.say(OK).await;
        assert!(!sent.await.unwrap().unwrap().reused);
    });
}

#[test]
fn a_request_that_may_have_been_written_is_never_repeated() {
    local(|| async {
        let server = Server::start().await;
        let pool = plain(&settings());
        let mut peer = idle(&pool, &server).await;
        let sent = begin(&pool, &server.url, "a", post(TestBody::text("pay")));
        assert!(peer.request().await.unwrap().ends_with("pay"));
        drop(peer);
        let failure = sent.await.unwrap().unwrap_err();
        assert!(matches!(failure.error.cause(), Cause::Closed { .. }), "{}", failure.error);
        assert!(failure.error.may_have_arrived() && failure.request.is_none() && failure.reused);
        assert_eq!(failure.error.proxy_status_error(), "connection_terminated");
        assert!(server.is_quiet().await);
    });
}

#[test]
fn a_connection_is_not_used_when_the_time_that_its_upstream_announced_is_nearly_over() {
    local(|| async {
        let answer = "HTTP/1.1 200 OK\r\nKeep-Alive: timeout=5, max=100\r\ncontent-length: 2\r\n\r\nok";
        let server = Server::start().await;
        let pool = plain(&settings());
        let rest = async |time: Duration| {
            tokio::time::pause();
            tokio::time::advance(time).await;
            tokio::time::resume();
        };
        let mut kept = None;
        for wait in [Duration::ZERO, Duration::from_millis(3900)] {
            rest(wait).await;
            let sent = begin(&pool, &server.url, "a", get("/"));
            let mut peer = match kept.take() {
                Some(peer) => peer,
                None => server.accept().await,
            };
            peer.request().await.unwrap();
            peer.say(answer).await;
            text(sent.await.unwrap().unwrap()).await;
            kept = Some(peer);
        }
        rest(Duration::from_millis(4100)).await;
        let sent = begin(&pool, &server.url, "a", post(TestBody::text("pay")));
        let mut fresh = server.accept().await;
        assert!(fresh.request().await.unwrap().ends_with("pay"));
        fresh.say(answer).await;
        assert!(!sent.await.unwrap().unwrap().reused);
    });
}

#[test]
fn a_connection_that_died_idle_casts_doubt_on_those_that_lay_idle_for_as_long() {
    local(|| async {
        let server = Server::start().await;
        let pool = plain(&settings());
        let first = begin(&pool, &server.url, "a", get("/"));
        let mut older = server.accept().await;
        older.request().await.unwrap();
        let mut newer = idle(&pool, &server).await;
        older.say(OK).await;
        text(first.await.unwrap().unwrap()).await;
        // The one that was answered last is used first.
        std::mem::swap(&mut older, &mut newer);
        let sent = begin(&pool, &server.url, "a", post(TestBody::text("pay")));
        assert!(newer.request().await.unwrap().ends_with("pay"));
        drop(newer);
        assert!(sent.await.unwrap().is_err());
        let sent = begin(&pool, &server.url, "a", post(TestBody::text("again")));
        let mut fresh = server.accept().await;
        assert!(fresh.request().await.unwrap().ends_with("again"));
        fresh.say(OK).await;
        assert!(!sent.await.unwrap().unwrap().reused);
        assert_eq!(older.see_the_end().await, b"");
    });
}

// ---- HTTP/1.1: ends of answers -----------------------------------------------------------------------------------------

/// What becomes of this answer to a request, after which the server may close its side, and whether the connection is
/// used again.
async fn answered(answer: &str, closes: bool) -> (Result<Bytes, UpstreamError>, bool) {
    let server = Server::start().await;
    let pool = plain(&settings());
    let sent = begin(&pool, &server.url, "a", get("/"));
    let mut peer = server.accept().await;
    peer.request().await.unwrap();
    peer.say(answer).await;
    if closes {
        peer.stream.shutdown().await.unwrap();
    }
    let body = match sent.await.unwrap() {
        Ok(reply) => reply.response.into_body().collect().await.map(Collected::to_bytes),
        Err(failure) => Err(failure.error),
    };
    let _next = begin(&pool, &server.url, "a", get("/next"));
    let again = tokio::select! {
        biased;
        _ = server.accept() => false,
        request = peer.request() => request.is_some(),
    };
    (body, again)
}

#[test]
fn an_answer_that_ends_early_is_an_error_and_ends_its_connection() {
    local(|| async {
        for (answer, cause) in [
            ("", "Closed"),
            ("HTTP/1.1 200 OK\r\nContent-Le", "Closed"),
            ("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nshort", "Incomplete"),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", "Incomplete"),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel", "Incomplete"),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nhello\r\n", "Incomplete"),
            ("HTTP/9.9 200 OK\r\n\r\n", "Protocol"),
            ("SSH-2.0-OpenSSH_9.2\r\n\r\n", "Protocol"),
            ("HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n", "Protocol"),
            ("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab", "Protocol"),
        ] {
            let (body, again) = answered(answer, true).await;
            let error = body.expect_err(answer);
            assert!(format!("{:?}", error.cause()).starts_with(cause), "{answer:?}: {error:?}");
            assert!(error.may_have_arrived() && !again, "{answer:?}");
        }
    });
}

#[test]
fn a_head_beyond_all_measure_is_refused() {
    local(|| async {
        let head = |fields: &str| format!("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n{fields}\r\n");
        let (body, _) = answered(&head(&"x: y\r\n".repeat(99)), true).await;
        assert_eq!(body.unwrap(), "");
        for fields in ["x: y\r\n".repeat(101), format!("x: {}\r\n", "y".repeat(300_000))] {
            let (body, _) = answered(&head(&fields), true).await;
            assert!(matches!(body.unwrap_err().cause(), Cause::Protocol { .. }));
        }
    });
}

#[test]
fn bytes_that_nobody_asked_for_end_a_connection() {
    local(|| async {
        let (body, again) = answered(&format!("{OK}{OK}"), false).await;
        assert_eq!(body.unwrap(), "ok");
        assert!(!again);

        let server = Server::start().await;
        let pool = plain(&settings());
        let mut peer = idle(&pool, &server).await;
        peer.say(OK).await;
        peer.see_the_end().await;
        let _next = begin(&pool, &server.url, "a", get("/"));
        assert!(server.accept().await.request().await.is_some());
    });
}

#[test]
fn a_connection_outlives_answers_that_end_well_and_only_those() {
    local(|| async {
        for (answer, closes, again) in [
            ("HTTP/1.1 204 No Content\r\n\r\n", false, true),
            ("HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n", false, true),
            ("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", false, true),
            ("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok", false, false),
            ("HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nok", false, false),
            ("HTTP/1.1 200 OK\r\n\r\nto the end", true, false),
        ] {
            let (body, used) = answered(answer, closes).await;
            assert!(body.is_ok(), "{answer:?}: {body:?}");
            assert_eq!(used, again, "{answer:?}");
        }
    });
}

#[test]
fn trailers_of_an_answer_pass() {
    local(|| async {
        let server = Server::start().await;
        let pool = plain(&settings());
        let sent = begin(&pool, &server.url, "a", get("/"));
        let mut peer = server.accept().await;
        peer.request().await.unwrap();
        peer.say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX-Sum: 7\r\n\r\n")
            .await;
        let body = sent.await.unwrap().unwrap().response.into_body().collect().await.unwrap();
        assert_eq!(body.trailers().unwrap()["x-sum"], "7");
        assert_eq!(body.to_bytes(), "ok");
        let _next = begin(&pool, &server.url, "a", get("/"));
        assert!(peer.request().await.is_some());
    });
}

#[test]
fn an_answer_before_the_requests_end_passes_and_its_connection_ends() {
    local(|| async {
        let server = Server::start().await;
        let pool = plain(&settings());
        let (body, end) = TestBody::held("part");
        let sent = begin(&pool, &server.url, "a", post(body));
        let mut peer = server.accept().await;
        peer.request().await.unwrap();
        peer.say("HTTP/1.1 413 Content Too Large\r\nContent-Length: 2\r\n\r\nno").await;
        let reply = sent.await.unwrap().unwrap();
        assert_eq!(reply.response.status(), 413);
        assert_eq!(text(reply).await, "no");
        end.notify_one();
        peer.see_the_end().await;
        let _next = begin(&pool, &server.url, "a", get("/"));
        assert!(server.accept().await.request().await.is_some());
    });
}

#[test]
fn an_answer_that_is_dropped_halfway_ends_its_connection() {
    local(|| async {
        let server = Server::start().await;
        let pool = plain(&settings());
        let sent = begin(&pool, &server.url, "a", get("/"));
        let mut peer = server.accept().await;
        peer.request().await.unwrap();
        peer.say("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf").await;
        drop(sent.await.unwrap().unwrap());
        peer.see_the_end().await;
    });
}

// ---- time ----------------------------------------------------------------------------------------------------------------

/// What a request fails with when from now on nothing happens but time, and after how long.
pub(crate) async fn outwaited<T: std::fmt::Debug, E>(
    waiting: impl Future<Output = Result<T, E>>,
) -> (E, Duration) {
    tokio::time::pause();
    let start = Instant::now();
    let error = waiting.await.map(|_| ()).unwrap_err();
    let elapsed = start.elapsed();
    tokio::time::resume();
    // Some of it passed before the clock stood still, and a timer rings up to a millisecond late.
    (error, Duration::from_secs(elapsed.as_secs_f64().round() as u64))
}

#[test]
fn an_answer_has_its_time_from_the_requests_end() {
    local(|| async {
        let server = Server::start().await;
        let pool = plain(&settings());
        for body in [TestBody::default(), TestBody::text("whole")] {
            let sent = begin(&pool, &server.url, "a", post(body));
            let mut peer = server.accept().await;
            peer.request().await.unwrap();
            let (failure, after) = outwaited(async { sent.await.unwrap() }).await;
            assert!(matches!(failure.error.cause(), Cause::HeadTimeout { .. }), "{}", failure.error);
            assert!(failure.error.may_have_arrived() && failure.error.is_timeout());
            assert_eq!((failure.error.proxy_status_error(), after.as_secs()), ("http_response_timeout", 60));
            peer.see_the_end().await;
        }
    });
}

#[test]
fn a_body_that_stands_still_is_given_up_and_whose_fault_it_is_is_said() {
    local(|| async {
        let server = Server::start().await;
        let pool = plain(&settings());

        let (body, _end) = TestBody::held("part");
        let sent = begin(&pool, &server.url, "a", post(body));
        let mut peer = server.accept().await;
        peer.request().await.unwrap();
        let (failure, after) = outwaited(async { sent.await.unwrap() }).await;
        assert!(
            matches!(failure.error.cause(), Cause::Stall { side: Side::Caller, .. }),
            "{}",
            failure.error
        );
        assert!(failure.error.is_by_caller());
        // The door has had its 30 s by then.
        assert_eq!(after.as_secs(), 31);

        let megabyte: &'static str = "x".repeat(1 << 20).leak();
        let mut body = TestBody::default();
        body.frames.extend((0..64).map(|_| Ok(Frame::data(Bytes::from_static(megabyte.as_bytes())))));
        let sent = begin(&pool, &server.url, "a", post(body));
        let _never_reads = server.accept().await;
        settle().await;
        let (failure, after) = outwaited(async { sent.await.unwrap() }).await;
        assert!(
            matches!(failure.error.cause(), Cause::Stall { side: Side::UpstreamTaking, .. }),
            "{}",
            failure.error
        );
        assert_eq!((failure.error.proxy_status_error(), after.as_secs()), ("connection_write_timeout", 30));

        let sent = begin(&pool, &server.url, "a", get("/"));
        let mut peer = server.accept().await;
        peer.request().await.unwrap();
        peer.say("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf").await;
        let body = sent.await.unwrap().unwrap().response.into_body();
        let (error, after) = outwaited(body.collect()).await;
        assert!(matches!(error.cause(), Cause::Stall { side: Side::UpstreamSending, .. }), "{error}");
        assert_eq!((error.proxy_status_error(), after.as_secs()), ("connection_read_timeout", 30));
        peer.see_the_end().await;
    });
}

#[test]
fn a_slow_body_is_no_stall_and_the_heads_time_starts_behind_it() {
    local(|| async {
        let server = Server::start().await;
        let timeouts = Timeouts { head: Duration::from_secs(5), ..Timeouts::default() };
        let pool = plain(&UpstreamSettings { timeouts, ..settings() });
        let (body, end) = TestBody::held("part");
        let sent = begin(&pool, &server.url, "a", post(body));
        let mut peer = server.accept().await;
        peer.request().await.unwrap();
        tokio::time::pause();
        let start = Instant::now();
        tokio::time::sleep(Duration::from_secs(22)).await;
        assert!(!sent.is_finished(), "the head's time ran during the body");
        end.notify_one();
        let error = sent.await.unwrap().unwrap_err().error;
        assert!(matches!(error.cause(), Cause::HeadTimeout { .. }), "{error}");
        assert_eq!(start.elapsed().as_secs(), 27);
    });
}

#[test]
fn a_caller_who_breaks_off_its_body_breaks_off_the_exchange() {
    local(|| async {
        let server = Server::start().await;
        let pool = plain(&settings());
        let mut body = TestBody::text("part");
        body.frames.push_back(Err(io::Error::other("gone")));
        let sent = begin(&pool, &server.url, "a", post(body));
        let mut peer = server.accept().await;
        let error = sent.await.unwrap().unwrap_err().error;
        assert_eq!((error.cause(), error.is_by_caller()), (&Cause::RequestBody, true));
        let seen = String::from_utf8(peer.see_the_end().await).unwrap();
        assert!(!seen.contains("0\r\n\r\n"), "the upstream took a part for the whole: {seen:?}");
    });
}

#[test]
fn idle_connections_are_closed_before_the_upstream_would() {
    local(|| async {
        let server = Server::start().await;
        let pool = plain(&settings());
        let mut peer = idle(&pool, &server).await;
        tokio::time::pause();
        let start = Instant::now();
        assert_eq!(peer.see_the_end().await, b"");
        assert_eq!(start.elapsed().as_secs(), 55);
    });
}

#[test]
fn a_connection_grows_no_older_than_five_minutes() {
    local(|| async {
        let (url, connections) = Server::start().await.number_connections();
        let pool = plain(&settings());
        for _ in 0..7 {
            assert_eq!(fetch(&pool, &url, "a").await, "1");
            tokio::time::pause();
            tokio::time::advance(Duration::from_secs(49)).await;
            tokio::time::resume();
        }
        assert_eq!(fetch(&pool, &url, "a").await, "2");
        assert_eq!(connections.get(), 2);
    });
}

#[test]
fn a_pool_that_is_dropped_closes_its_connections() {
    local(|| async {
        let server = Server::start().await;
        let pool = plain(&settings());
        let mut peer = idle(&pool, &server).await;
        drop(pool);
        peer.see_the_end().await;
    });
}

// ---- connecting ------------------------------------------------------------------------------------------------------------

#[test]
fn an_upstream_that_refuses_is_named_and_the_request_comes_back() {
    local(|| async {
        let url = Server::start().await.url;
        let pool = plain(&settings());
        let failure = pool.send(&url, &account("a"), post(TestBody::text("all"))).await.unwrap_err();
        assert_eq!(failure.error.cause(), &Cause::Refused);
        assert_eq!(failure.error.proxy_status_error(), "connection_refused");
        assert!(failure.error.sentence().contains(&format!("127.0.0.1:{}", url.port)));
        assert!(!failure.error.may_have_arrived());
        let mut request = failure.request.unwrap();
        assert_eq!((request.method(), request.uri().path()), (&Method::POST, "/"));
        assert_eq!(request.body_mut().collect().await.unwrap().to_bytes(), "all");
    });
}

#[test]
fn a_name_that_does_not_exist_is_a_dns_error() {
    local(|| async {
        let error = failure(&plain(&settings()), &"https://no-such-host.invalid".parse().unwrap()).await;
        assert!(matches!(error.cause(), Cause::Dns { .. }), "{error}");
        assert!(error.sentence().contains("no-such-host.invalid:443"));
    });
}

#[test]
fn certificates_of_strangers_and_for_other_names_are_refused() {
    local(|| async {
        let authority = Authority::new();
        let server = TlsServer::start(authority.acceptor("localhost", &[]), None).await;
        let error = failure(&plain(&settings()), &server.url).await;
        assert!(matches!(error.cause(), Cause::Tls { fault: TlsFault::UnknownIssuer, .. }), "{error}");
        assert_eq!(error.proxy_status_error(), "tls_certificate_error");
        assert!(error.sentence().contains("upstream.ca_file"));

        let server = TlsServer::start(authority.acceptor("other.test", &[]), None).await;
        let error = failure(&authority.pool(&settings()), &server.url).await;
        assert!(matches!(error.cause(), Cause::Tls { fault: TlsFault::WrongName, .. }), "{error}");
        assert!(server.requests.borrow().is_empty() && !error.may_have_arrived());
    });
}

#[test]
fn a_server_without_tls_gives_a_tls_error() {
    local(|| async {
        let server = Server::black_hole().await;
        let pool = plain(&settings());
        let (error, ()) = tokio::join!(failure(&pool, &server.url), async {
            server.accept().await.say("HTTP/1.1 400 Bad Request\r\n\r\n").await;
        });
        assert!(matches!(error.cause(), Cause::Tls { fault: TlsFault::Protocol, .. }), "{error}");
    });
}

#[test]
fn a_black_hole_costs_the_connect_limit_once_for_all_who_wait_and_wedges_nothing() {
    local(|| async {
        let server = Server::black_hole().await;
        let pool = plain(&settings());
        for _ in 0..2 {
            let sent: Vec<_> = ["a", "b", "c"].map(|who| begin(&pool, &server.url, who, get("/"))).into();
            let _silent = server.accept().await;
            assert!(server.is_quiet().await, "several connects although the protocol is unknown");
            let all = async {
                for one in sent {
                    let error = one.await.unwrap().unwrap_err().error;
                    assert!(matches!(error.cause(), Cause::ConnectTimeout { .. }), "{error}");
                }
                Err::<(), _>(())
            };
            assert_eq!(outwaited(all).await.1.as_secs(), 5);
        }
    });
}

#[test]
fn a_connect_goes_on_when_its_request_has_gone_away() {
    local(|| async {
        let authority = Authority::new();
        let acceptor = authority.acceptor("127.0.0.1", &[]);
        let server = Server::black_hole().await;
        let pool = authority.pool(&settings());
        let sent = begin(&pool, &server.url, "a", get("/1"));
        let unanswered = server.accept().await.stream;
        abort(sent).await;
        let mut peer = Peer { stream: acceptor.accept(unanswered).await.unwrap() };
        let sent = begin(&pool, &server.url, "a", get("/2"));
        assert!(peer.request().await.unwrap().starts_with("GET /2 "));
        peer.say(OK).await;
        text(sent.await.unwrap().unwrap()).await;
        assert!(server.is_quiet().await);
    });
}

// ---- attempts that are left over -------------------------------------------------------------------------------------------

/// An HTTP/1.1 upstream that shakes hands when the test says so.
struct Slow {
    server: Server,
    acceptor: TlsAcceptor,
    pool: TestPool,
}

/// An attempt on which the upstream keeps silent until the test takes it up.
struct Unanswered {
    stream: TcpStream,
    acceptor: TlsAcceptor,
}

impl Unanswered {
    async fn shake_hands(self) -> Peer<impl AsyncRead + AsyncWrite + Unpin> {
        Peer { stream: self.acceptor.accept(self.stream).await.unwrap() }
    }
}

impl Slow {
    async fn start(settings: &UpstreamSettings) -> Self {
        let authority = Authority::new();
        let acceptor = authority.acceptor("127.0.0.1", &[]);
        Self { server: Server::black_hole().await, acceptor, pool: authority.pool(settings) }
    }

    fn begin(&self, who: &str, path: &str) -> JoinHandle<Sent> {
        begin(&self.pool, &self.server.url, who, get(path))
    }

    async fn accept(&self) -> Unanswered {
        Unanswered { stream: self.server.accept().await.stream, acceptor: self.acceptor.clone() }
    }

    /// Answers requests at once, but shakes hands so late that others come and go meanwhile. Counts what connects.
    fn take_its_time(self) -> Rc<Cell<usize>> {
        let connections = Rc::new(Cell::new(0));
        let count = connections.clone();
        spawn_local(async move {
            loop {
                let unanswered = self.accept().await;
                count.set(count.get() + 1);
                spawn_local(async move {
                    for _ in 0..10 {
                        settle().await;
                    }
                    let mut peer = unanswered.shake_hands().await;
                    while peer.request().await.is_some() {
                        peer.say(OK).await;
                    }
                });
            }
        });
        connections
    }

    /// A request of this account that has arrived and waits for its answer.
    async fn busy(&self, who: &str) -> (JoinHandle<Sent>, Peer<impl AsyncRead + AsyncWrite + Unpin + use<>>) {
        let sent = self.begin(who, "/busy");
        let mut peer = self.accept().await.shake_hands().await;
        peer.request().await.unwrap();
        (sent, peer)
    }

    /// As [`Slow::busy`], and beside it an attempt of the same account whose request was served on that connection.
    async fn left_over(
        &self,
        who: &str,
    ) -> (JoinHandle<Sent>, Peer<impl AsyncRead + AsyncWrite + Unpin + use<>>, Unanswered) {
        let (first, mut peer) = self.busy(who).await;
        let second = self.begin(who, "/second");
        let unanswered = self.accept().await;
        peer.say(OK).await;
        text(first.await.unwrap().unwrap()).await;
        assert!(peer.request().await.unwrap().starts_with("GET /second "));
        (second, peer, unanswered)
    }
}

#[test]
fn requests_that_find_none_idle_adopt_an_attempt_nobody_waits_for_any_more() {
    local(|| async {
        let slow = Slow::start(&settings()).await;
        let (second, mut one, unanswered) = slow.left_over("a").await;
        // One adopts it and goes away; the next one wants a fresh connection, and this one is.
        let sent = slow.begin("a", "/third");
        settle().await;
        abort(sent).await;
        let lane = slow.pool.lane(&slow.server.url, &account("a"));
        let fourth = spawn_local(async move {
            let lost = Cause::Closed { reason: String::new() };
            lane.send_anew(&lost, get("/fourth"), |_| true).await
        });
        settle().await;
        let mut two = unanswered.shake_hands().await;
        let request = tokio::select! {
            request = two.request() => request.unwrap(),
            _ = slow.accept() => panic!("more than two connections for two requests at once"),
        };
        assert!(request.starts_with("GET /fourth "));
        two.say(OK).await;
        one.say(OK).await;
        let fourth = fourth.await.unwrap().unwrap();
        assert!(!fourth.reused);
        text(fourth).await;
        text(second.await.unwrap().unwrap()).await;
        assert!(slow.server.is_quiet().await);
    });
}

#[test]
fn an_attempt_left_over_by_one_account_is_not_adopted_by_another() {
    local(|| async {
        let slow = Slow::start(&settings()).await;
        let (_second, _one, _unanswered) = slow.left_over("a").await;
        let _other = slow.begin("b", "/other");
        let mut peer = slow.accept().await.shake_hands().await;
        assert!(peer.request().await.unwrap().starts_with("GET /other "));
    });
}

#[test]
fn whoever_adopts_an_attempt_that_fails_gets_its_error_and_the_next_one_starts_anew() {
    local(|| async {
        let slow = Slow::start(&settings()).await;
        let (_second, _one, unanswered) = slow.left_over("a").await;
        let third = slow.begin("a", "/third");
        settle().await;
        drop(unanswered);
        let failure = tokio::select! {
            sent = third => sent.unwrap().unwrap_err(),
            _ = slow.accept() => panic!("it started an attempt of its own"),
        };
        assert!(failure.request.is_some(), "{}", failure.error);
        assert!(matches!(failure.error.cause(), Cause::Tls { .. }), "{}", failure.error);
        let _fourth = slow.begin("a", "/fourth");
        let mut peer = slow.accept().await.shake_hands().await;
        assert!(peer.request().await.unwrap().starts_with("GET /fourth "));
    });
}

#[test]
fn a_newcomer_adopts_nothing_while_another_waits_for_a_permit() {
    local(|| async {
        let slow = Slow::start(&capped(2, 10)).await;
        let (_second, _one, unanswered) = slow.left_over("a").await;
        let _other = slow.begin("b", "/other");
        settle().await;
        let newcomer = slow.begin("a", "/newcomer");
        settle().await;
        let _still = StillTime::new();
        tokio::time::advance(Duration::from_millis(50)).await;
        let mut left_over = unanswered.shake_hands().await;
        assert_eq!(left_over.request().await, None, "the newcomer overtook the other");
        let mut peer = slow.accept().await.shake_hands().await;
        assert!(peer.request().await.unwrap().starts_with("GET /other "));
        assert!(!newcomer.is_finished());
    });
}

#[test]
fn whoever_adopts_an_attempt_in_its_turn_passes_its_permit_on() {
    local(|| async {
        let slow = Slow::start(&capped(2, 10)).await;
        let (busy, mut one) = slow.busy("b").await;
        let first = slow.begin("a", "/first");
        let unanswered = slow.accept().await;
        let _second = slow.begin("a", "/second");
        settle().await;
        let _third = slow.begin("c", "/third");
        settle().await;
        abort(first).await;
        one.say(OK).await;
        text(busy.await.unwrap().unwrap()).await;
        // b's connection made room for a's second request, which needs none: so it is c's.
        let mut three = slow.accept().await.shake_hands().await;
        assert!(three.request().await.unwrap().starts_with("GET /third "));
        let mut two = unanswered.shake_hands().await;
        assert!(two.request().await.unwrap().starts_with("GET /second "));
    });
}

#[test]
fn sixty_four_callers_over_an_empty_pool_open_no_more_than_sixty_four_connections() {
    const CALLERS: usize = 64;
    local(|| async {
        let slow = Slow::start(&settings()).await;
        let (pool, url) = (slow.pool.clone(), slow.server.url.clone());
        let connections = slow.take_its_time();
        let left = Rc::new(Cell::new(2_000_usize));
        let callers: Vec<_> = (0..CALLERS)
            .map(|_| {
                let (pool, url, left) = (pool.clone(), url.clone(), left.clone());
                spawn_local(async move {
                    while let Some(fewer) = left.get().checked_sub(1) {
                        left.set(fewer);
                        assert_eq!(fetch(&pool, &url, "a").await, "ok");
                    }
                })
            })
            .collect();
        for caller in callers {
            caller.await.unwrap();
        }
        let connections = connections.get();
        assert!((2..=CALLERS).contains(&connections), "{connections} connections");
    });
}

// ---- HTTP/2 --------------------------------------------------------------------------------------------------------------

#[test]
fn a_hundred_requests_of_many_accounts_share_one_http2_connection() {
    local(|| async {
        let authority = Authority::new();
        let acceptor = authority.acceptor("localhost", &["h2", "http/1.1"]);
        let server = TlsServer::start(acceptor, Some(Http2 { streams: 200 })).await;
        let pool = authority.pool(&settings());
        server.held.set(true);
        let sent: Vec<_> =
            (0..100).map(|n| begin(&pool, &server.url, &format!("a{}", n % 10), get("/p?q"))).collect();
        server.has_seen(100).await;
        server.held.set(false);
        server.go.notify_waiters();
        for one in sent {
            let reply = one.await.unwrap().unwrap();
            assert_eq!(reply.protocol, Version::HTTP_2);
            assert_eq!(text(reply).await, "1");
        }
        let requests = server.requests.borrow();
        assert_eq!(
            requests[0].uri,
            format!("https://localhost:{}/p?q", server.port).parse::<http::Uri>().unwrap()
        );
        assert!(requests[0].headers.is_empty(), "{:?}", requests[0].headers);
    });
}

#[test]
fn when_the_streams_of_a_connection_are_used_up_another_is_opened() {
    local(|| async {
        let authority = Authority::new();
        let server =
            TlsServer::start(authority.acceptor("localhost", &["h2"]), Some(Http2 { streams: 10 })).await;
        let pool = authority.pool(&capped(3, 100));
        server.held.set(true);
        let sent: Vec<_> = (0..35).map(|_| begin(&pool, &server.url, "a", get("/"))).collect();
        server.has_seen(30).await;
        settle().await;
        assert_eq!((server.connections.get(), server.requests.borrow().len()), (3, 30));
        server.held.set(false);
        server.go.notify_waiters();
        for one in sent {
            text(one.await.unwrap().unwrap()).await;
        }
        assert_eq!(server.connections.get(), 3);
    });
}

#[test]
fn where_http2_is_not_spoken_every_account_gets_its_own_connections() {
    local(|| async {
        let authority = Authority::new();
        let server = TlsServer::start(authority.acceptor("localhost", &["http/1.1"]), None).await;
        let pool = authority.pool(&settings());
        let sent: Vec<_> = ["a", "b", "c"].map(|who| begin(&pool, &server.url, who, get("/"))).into();
        for one in sent {
            let reply = one.await.unwrap().unwrap();
            assert_eq!(reply.protocol, Version::HTTP_11);
            text(reply).await;
        }
        assert_eq!(server.connections.get(), 3);
        // Each has gone back by then.
        settle().await;
        let numbers = [fetch(&pool, &server.url, "b").await, fetch(&pool, &server.url, "b").await];
        assert_eq!((numbers[0] == numbers[1], server.connections.get()), (true, 3));
    });
}

/// An HTTP/2 server by hand: SETTINGS, then these frames for the first request of each connection.
struct ByHand {
    _authority: Authority,
    url: HttpUrl,
    pool: TestPool,
    connections: Rc<Cell<usize>>,
    asked: Rc<Notify>,
}

impl ByHand {
    async fn start(answer: &[u8]) -> Self {
        let authority = Authority::new();
        let acceptor = authority.acceptor("localhost", &["h2"]);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = Self {
            url: format!("https://localhost:{port}").parse().unwrap(),
            pool: authority.pool(&settings()),
            _authority: authority,
            connections: Rc::default(),
            asked: Rc::default(),
        };
        let (answer, count, asked) = (answer.to_vec(), server.connections.clone(), server.asked.clone());
        spawn_local(async move {
            loop {
                let stream = acceptor.accept(listener.accept().await.unwrap().0).await.unwrap();
                count.set(count.get() + 1);
                spawn_local(serve_by_hand(stream, answer.clone(), asked.clone()));
            }
        });
        server
    }

    async fn get(&self) -> Result<Bytes, UpstreamError> {
        match self.pool.send(&self.url, &account("a"), get("/")).await {
            Ok(reply) => reply.response.into_body().collect().await.map(Collected::to_bytes),
            Err(failure) => Err(failure.error),
        }
    }
}

async fn serve_by_hand(mut stream: impl AsyncRead + AsyncWrite + Unpin, answer: Vec<u8>, asked: Rc<Notify>) {
    let mut preface = [0; 24];
    stream.read_exact(&mut preface).await.unwrap();
    stream.write_all(&frame(4, 0, 0, &[0, 3, 0, 0, 0, 10])).await.unwrap();
    let mut head = [0; 9];
    while stream.read_exact(&mut head).await.is_ok() {
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        stream.read_exact(&mut vec![0; length as usize]).await.unwrap();
        if head[3] == 1 {
            stream.write_all(&answer).await.unwrap();
            asked.notify_one();
        }
    }
}

async fn by_hand(answer: &[u8]) -> Result<Bytes, UpstreamError> {
    ByHand::start(answer).await.get().await
}

/// One HTTP/2 frame (RFC 9113 §4.1).
pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut frame = (payload.len() as u32).to_be_bytes()[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

#[test]
fn an_http2_answer_ends_with_its_end_and_with_nothing_else() {
    let head = frame(1, 4, 1, &[0x88]);
    let data = |flags| frame(0, flags, 1, b"hello");
    let reset = |code: u8| frame(3, 0, 1, &[0, 0, 0, code]);
    let goaway = frame(7, 0, 0, &[0, 0, 0, 0, 0, 0, 0, 0]);
    local(move || async move {
        let whole = by_hand(&[head.clone(), data(1)].concat()).await;
        assert_eq!(whole.unwrap(), "hello");
        let after_the_end = by_hand(&[head.clone(), data(1), reset(0)].concat()).await;
        assert_eq!(after_the_end.unwrap(), "hello");
        let promised = frame(1, 4, 1, &[0x88, 0x0f, 0x0d, 2, b'1', b'0']);
        let error = by_hand(&[promised, data(1)].concat()).await.expect_err("half of what was promised");
        assert!(matches!(error.cause(), Cause::Incomplete { .. }), "{error:?}");
        for cut in [reset(0), reset(8), goaway] {
            let body = by_hand(&[head.clone(), data(0), cut.clone()].concat()).await;
            let error = body.expect_err("cut off, yet complete");
            assert!(matches!(error.cause(), Cause::Incomplete { .. }), "{cut:?}: {error:?}");
        }
    });
}

#[test]
fn a_refused_http2_request_has_not_arrived_and_any_other_may_have() {
    local(|| async {
        let refused = by_hand(&frame(3, 0, 1, &[0, 0, 0, 7])).await.unwrap_err();
        assert_eq!((refused.cause(), refused.may_have_arrived()), (&Cause::RefusedStream, false));
        let shut = by_hand(&frame(7, 0, 0, &[0; 8])).await.unwrap_err();
        assert_eq!((shut.cause(), shut.may_have_arrived()), (&Cause::RefusedStream, false));
        let cancelled = by_hand(&frame(3, 0, 1, &[0, 0, 0, 8])).await.unwrap_err();
        assert!(matches!(cancelled.cause(), Cause::Closed { .. }) && cancelled.may_have_arrived());
    });
}

#[test]
fn an_http2_connection_whose_upstream_says_goodbye_is_replaced() {
    local(|| async {
        let answer =
            [frame(1, 4, 1, &[0x88]), frame(0, 1, 1, b"hello"), frame(7, 0, 0, &[0, 0, 0, 1, 0, 0, 0, 0])];
        let server = ByHand::start(&answer.concat()).await;
        for connections in 1..4 {
            assert_eq!(server.get().await.unwrap(), "hello");
            assert_eq!(server.connections.get(), connections);
        }
    });
}

#[test]
fn an_http2_upstream_that_answers_no_ping_is_given_up() {
    local(|| async {
        let server = Rc::new(ByHand::start(&[]).await);
        let asking = server.clone();
        let sent = spawn_local(async move { asking.get().await });
        server.asked.notified().await;
        let (error, after) = outwaited(async { sent.await.unwrap() }).await;
        assert!(
            matches!(error.cause(), Cause::ConnectionError { .. }) && error.may_have_arrived(),
            "{error:?}"
        );
        assert_eq!(after.as_secs(), 30);
    });
}

#[test]
fn an_http2_connection_that_lies_idle_is_closed() {
    local(|| async {
        let authority = Authority::new();
        let server =
            TlsServer::start(authority.acceptor("localhost", &["h2"]), Some(Http2 { streams: 10 })).await;
        let pool = authority.pool(&settings());
        for expected in ["1", "1", "2"] {
            assert_eq!(fetch(&pool, &server.url, "a").await, expected);
            if server.requests.borrow().len() > 1 {
                tokio::time::pause();
                tokio::time::advance(Duration::from_secs(56)).await;
                settle().await;
                tokio::time::resume();
            }
        }
    });
}

// ---- the cap -------------------------------------------------------------------------------------------------------------

#[test]
fn at_the_cap_requests_queue_and_beyond_the_queue_they_fail_at_once() {
    local(|| async {
        let server = Server::start().await;
        let pool = plain(&capped(1, 1));
        let first = begin(&pool, &server.url, "a", get("/1"));
        let mut peer = server.accept().await;
        peer.request().await.unwrap();
        let second = begin(&pool, &server.url, "a", get("/2"));
        settle().await;
        let third = begin(&pool, &server.url, "a", get("/3")).await.unwrap().unwrap_err();
        assert_eq!(third.error.cause(), &Cause::Overloaded { limit: Exceeded::Queue { places: 1 } });
        assert_eq!(third.error.proxy_status_error(), "connection_limit_reached");
        assert!(third.request.is_some() && third.error.is_overload());
        peer.say(OK).await;
        text(first.await.unwrap().unwrap()).await;
        assert!(peer.request().await.unwrap().starts_with("GET /2 "));
        peer.say(OK).await;
        assert!(second.await.unwrap().unwrap().reused);
        assert!(server.is_quiet().await);
    });
}

#[test]
fn nobody_waits_for_ever_for_a_connection() {
    local(|| async {
        let server = Server::start().await;
        let pool = plain(&capped(1, 1));
        let first = begin(&pool, &server.url, "a", get("/1"));
        let mut peer = server.accept().await;
        peer.request().await.unwrap();
        peer.say("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf").await;
        let _held = first.await.unwrap().unwrap();
        let second = begin(&pool, &server.url, "b", get("/2"));
        settle().await;
        let (failure, after) = outwaited(async { second.await.unwrap() }).await;
        assert!(failure.error.is_overload());
        assert_eq!(after.as_secs(), 60);
    });
}

#[test]
fn an_idle_connection_of_another_account_makes_room() {
    local(|| async {
        let (url, connections) = Server::start().await.number_connections();
        let pool = plain(&capped(2, 10));
        for (round, who) in ["a", "b", "c", "d", "c", "d", "e"].into_iter().enumerate() {
            let expected = [1, 2, 3, 4, 3, 4, 5][round].to_string();
            assert_eq!(fetch(&pool, &url, who).await, expected, "{who}");
        }
        assert_eq!(connections.get(), 5);
    });
}

#[test]
fn an_idle_connection_of_another_worker_makes_room() {
    local(|| async {
        let (url, connections) = Server::start().await.number_connections();
        let connector = distrustful(&capped(1, 10));
        let pool: TestPool = Pool::new(connector.clone());
        assert_eq!(fetch(&pool, &url, "a").await, "1");
        let (there, theirs) = oneshot::channel();
        let thread = std::thread::spawn({
            let url = url.clone();
            move || {
                local(move || async move {
                    let pool: TestPool = Pool::new(connector);
                    there.send(fetch(&pool, &url, "a").await).unwrap();
                });
            }
        });
        assert_eq!(theirs.await.unwrap(), "2");
        thread.join().unwrap();
        assert_eq!(fetch(&pool, &url, "a").await, "3");
        assert_eq!(connections.get(), 3);
    });
}

/// The only connection there may be is at work for one account; another account waits for it, and then the first once more.
struct Contested {
    server: Server,
    peer: Peer<TcpStream>,
    first: JoinHandle<Sent>,
    other: JoinHandle<Sent>,
    same: JoinHandle<Sent>,
}

impl Contested {
    async fn new() -> Self {
        let server = Server::start().await;
        let pool = plain(&capped(1, 10));
        let first = begin(&pool, &server.url, "a", get("/1"));
        let mut peer = server.accept().await;
        peer.request().await.unwrap();
        let other = begin(&pool, &server.url, "b", get("/2"));
        settle().await;
        let same = begin(&pool, &server.url, "a", get("/3"));
        settle().await;
        Self { server, peer, first, other, same }
    }
}

#[test]
fn whoever_has_waited_noticeably_is_served_first_whatever_the_account() {
    local(|| async {
        let Contested { server, mut peer, first, other, same } = Contested::new().await;
        let _still = StillTime::new();
        tokio::time::advance(Duration::from_millis(50)).await;
        peer.say(OK).await;
        text(first.await.unwrap().unwrap()).await;
        assert_eq!(peer.see_the_end().await, b"", "a's connection went to a's later request");
        let mut peer = server.accept().await;
        assert!(peer.request().await.unwrap().starts_with("GET /2 "));
        peer.say(OK).await;
        text(other.await.unwrap().unwrap()).await;
        let mut peer = server.accept().await;
        assert!(peer.request().await.unwrap().starts_with("GET /3 "));
        peer.say(OK).await;
        text(same.await.unwrap().unwrap()).await;
    });
}

#[test]
fn an_account_that_has_use_for_its_connections_keeps_them_while_others_hardly_wait() {
    local(|| async {
        let _still = StillTime::new();
        let Contested { server, mut peer, first, other, same } = Contested::new().await;
        peer.say(OK).await;
        text(first.await.unwrap().unwrap()).await;
        assert!(peer.request().await.unwrap().starts_with("GET /3 "), "on the connection of /1");
        peer.say(OK).await;
        text(same.await.unwrap().unwrap()).await;
        assert_eq!(peer.see_the_end().await, b"", "nobody of a waits any more, but b does");
        let mut peer = server.accept().await;
        assert!(peer.request().await.unwrap().starts_with("GET /2 "));
        peer.say(OK).await;
        text(other.await.unwrap().unwrap()).await;
    });
}

#[test]
fn connections_that_come_free_at_the_same_time_all_go_to_those_who_wait() {
    local(|| async {
        let server = Server::start().await;
        let pool = plain(&capped(4, 10));
        let served: Vec<_> = (0..4).map(|_| begin(&pool, &server.url, "a", get("/"))).collect();
        let mut peers = Vec::new();
        for _ in 0..4 {
            let mut peer = server.accept().await;
            peer.request().await.unwrap();
            peers.push(peer);
        }
        let waiting: Vec<_> = (0..4).map(|_| begin(&pool, &server.url, "a", get("/next"))).collect();
        settle().await;
        // So long that their turn would count against others' connections.
        let _still = StillTime::new();
        tokio::time::advance(Duration::from_millis(50)).await;
        let mut bodies = Vec::new();
        for (peer, sent) in peers.iter_mut().zip(served) {
            peer.say(OK).await;
            bodies.push(sent.await.unwrap().unwrap());
        }
        // Without a pause in which those who wait could look.
        let ends: Vec<_> = bodies.into_iter().map(|reply| spawn_local(text(reply))).collect();
        for end in ends {
            end.await.unwrap();
        }
        for peer in &mut peers {
            assert!(peer.request().await.unwrap().starts_with("GET /next "));
            peer.say(OK).await;
        }
        for sent in waiting {
            text(sent.await.unwrap().unwrap()).await;
        }
    });
}

/// Both permits of a cap of two can be had.
async fn is_whole(pool: &TestPool, server: &Server) {
    let (one, two) = (begin(pool, &server.url, "x", get("/")), begin(pool, &server.url, "y", get("/")));
    let (mut first, mut second) = (server.accept().await, server.accept().await);
    for peer in [&mut first, &mut second] {
        peer.request().await.unwrap();
        peer.say(OK).await;
    }
    for sent in [one, two] {
        text(sent.await.unwrap().unwrap()).await;
    }
}

async fn abort(sent: JoinHandle<Sent>) {
    sent.abort();
    assert!(sent.await.unwrap_err().is_cancelled());
}

#[test]
fn a_request_dropped_in_any_phase_leaks_no_permit() {
    local(|| async {
        let server = Server::start().await;
        let pool = plain(&capped(2, 2));
        // At its first step, and while it connects.
        abort(begin(&pool, &server.url, "a", get("/"))).await;
        let sent = begin(&pool, &server.url, "a", get("/"));
        tokio::task::yield_now().await;
        abort(sent).await;
        let _unused = futures_now(server.accept()).await;
        settle().await;
        while futures_now(server.listener.accept()).await.is_some() {}
        is_whole(&pool, &server).await;
        // While it waits for the head, and within the body.
        let sent = begin(&pool, &server.url, "a", get("/"));
        server.accept().await.request().await.unwrap();
        abort(sent).await;
        let sent = begin(&pool, &server.url, "a", get("/"));
        let mut peer = server.accept().await;
        peer.request().await.unwrap();
        peer.say("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf").await;
        drop(sent.await.unwrap().unwrap());
        is_whole(&pool, &server).await;
        // While it sends its body to somebody who does not read.
        let megabyte: &'static str = "x".repeat(1 << 20).leak();
        let mut body = TestBody::default();
        body.frames.extend((0..64).map(|_| Ok(Frame::data(Bytes::from_static(megabyte.as_bytes())))));
        let sent = begin(&pool, &server.url, "a", post(body));
        let _never_reads = server.accept().await;
        settle().await;
        abort(sent).await;
        is_whole(&pool, &server).await;
        // While it waits in the queue, whose places come back too.
        let held = [begin(&pool, &server.url, "a", get("/")), begin(&pool, &server.url, "b", get("/"))];
        let mut peers = [server.accept().await, server.accept().await];
        for _ in 0..3 {
            let queued = [begin(&pool, &server.url, "c", get("/")), begin(&pool, &server.url, "a", get("/"))];
            settle().await;
            for sent in queued {
                abort(sent).await;
            }
        }
        for peer in &mut peers {
            peer.request().await.unwrap();
            peer.say(OK).await;
        }
        for sent in held {
            text(sent.await.unwrap().unwrap()).await;
        }
        is_whole(&pool, &server).await;
    });
}

#[test]
fn requests_dropped_while_one_connects_for_all_wedge_nothing() {
    local(|| async {
        let authority = Authority::new();
        let acceptor = authority.acceptor("localhost", &["h2"]);
        let server = TlsServer::start(acceptor, Some(Http2 { streams: 1 })).await;
        let pool = authority.pool(&capped(2, 10));
        let sent: Vec<_> = (0..8).map(|_| begin(&pool, &server.url, "a", get("/"))).collect();
        settle().await;
        for one in sent {
            one.abort();
        }
        server.held.set(true);
        let sent: Vec<_> = (0..2).map(|_| begin(&pool, &server.url, "b", get("/"))).collect();
        server.has_seen(2).await;
        abort(begin(&pool, &server.url, "c", get("/"))).await;
        server.held.set(false);
        server.go.notify_waiters();
        for one in sent {
            text(one.await.unwrap().unwrap()).await;
        }
        assert!(server.connections.get() <= 2);
    });
}

/// A server of every vice: it does what the path says, and notes any connection that carried two accounts.
fn vicious(server: Server) -> Rc<Cell<usize>> {
    let mixed = Rc::new(Cell::new(0));
    let count = mixed.clone();
    spawn_local(async move {
        loop {
            let (mut peer, count) = (server.accept().await, count.clone());
            spawn_local(async move {
                let mut owner = None;
                while let Some(request) = peer.request().await {
                    let name =
                        request.split("x-account: ").nth(1).unwrap().lines().next().unwrap().to_owned();
                    if *owner.get_or_insert_with(|| name.clone()) != name {
                        count.set(count.get() + 1);
                    }
                    let vice = request.split(' ').nth(1).unwrap().trim_start_matches('/');
                    let (ok, whole) =
                        ("HTTP/1.1 200 OK\r\nContent-Length: ", format!("{}\r\n\r\n{name}", name.len()));
                    let answer = match vice {
                        "silence" => return,
                        "cut" => format!("{ok}100\r\n\r\n{name}"),
                        "close" => format!("{ok}{}", whole.replacen("\r\n", "\r\nConnection: close\r\n", 1)),
                        "stray" => format!("{ok}{whole}{ok}{whole}"),
                        _ => format!("{ok}{whole}"),
                    };
                    if vice == "slow" {
                        settle().await;
                    }
                    if peer.stream.write_all(answer.as_bytes()).await.is_err() || vice == "cut" {
                        return;
                    }
                }
            });
        }
    });
    mixed
}

#[test]
fn in_a_storm_no_account_gets_anothers_answer_and_no_permit_is_lost() {
    local(|| async {
        let server = Server::start().await;
        let url = server.url.clone();
        let pool = plain(&capped(8, 1024));
        let mixed = vicious(server);
        let complete = Rc::new(Cell::new(0));
        let clients: Vec<_> = (0..48u64)
            .map(|seed| {
                let (pool, url, complete) = (pool.clone(), url.clone(), complete.clone());
                spawn_local(async move {
                    let mut dice = rand::rngs::StdRng::seed_from_u64(seed);
                    for _ in 0..60 {
                        let name = format!("a{}", dice.random_range(0..20));
                        let vices =
                            ["none", "none", "none", "slow", "slow", "silence", "cut", "close", "stray"];
                        let path = format!("/{}", vices[dice.random_range(0..vices.len())]);
                        let request =
                            Request::get(path).header("x-account", &name).body(TestBody::default()).unwrap();
                        let sent = begin(&pool, &url, &name, request);
                        if dice.random_ratio(1, 4) {
                            for _ in 0..dice.random_range(0..60) {
                                tokio::task::yield_now().await;
                            }
                            sent.abort();
                        }
                        let Ok(Ok(reply)) = sent.await else { continue };
                        if dice.random_ratio(1, 8) {
                            continue;
                        }
                        if let Ok(body) = reply.response.into_body().collect().await {
                            assert_eq!(body.to_bytes(), name);
                            complete.set(complete.get() + 1);
                        }
                    }
                })
            })
            .collect();
        for client in clients {
            client.await.unwrap();
        }
        assert_eq!(mixed.get(), 0);
        assert!(complete.get() > 500, "only {} answers came through", complete.get());
        // Every permit is there and none twice: eight connections can be held, two more by those who have none, and not one
        // more.
        let mut held = Vec::new();
        for number in 0..10 {
            held.push(hold(&pool, &url, number).await.unwrap());
        }
        let eleventh = spawn_local({
            let (pool, url) = (pool.clone(), url.clone());
            async move { hold(&pool, &url, 10).await.is_ok() }
        });
        settle().await;
        assert!(!eleventh.is_finished());
        held.pop();
        assert!(eleventh.await.unwrap());
    });
}

/// An answer whose body is not read keeps its connection.
async fn hold(pool: &TestPool, url: &HttpUrl, number: usize) -> Sent {
    let name = format!("new{number}");
    let request = Request::get("/none").header("x-account", &name).body(TestBody::default()).unwrap();
    pool.send(url, &account(&name), request).await
}

// ---- the forward proxy ----------------------------------------------------------------------------------------------------

/// A forward proxy that opens the way to `port` whatever it is asked for, if it is shown these credentials.
async fn forward_proxy(
    port: u16,
    credentials: Option<&'static str>,
) -> (ForwardProxy, Rc<RefCell<Vec<String>>>) {
    let server = Server::start().await;
    let seen = Rc::new(RefCell::new(Vec::new()));
    let heads = seen.clone();
    let proxy = ForwardProxy {
        host: "127.0.0.1".into(),
        port: server.url.port,
        authorization: None,
        except: Vec::new(),
    };
    spawn_local(async move {
        loop {
            let mut peer = server.accept().await;
            let head = peer.request().await.unwrap();
            let known =
                credentials.is_none_or(|value| head.contains(&format!("Proxy-Authorization: {value}\r\n")));
            heads.borrow_mut().push(head);
            if !known {
                peer.say("HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n").await;
                continue;
            }
            peer.say("HTTP/1.1 200 Connection established\r\nVia: test\r\n\r\n").await;
            let mut upstream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
            spawn_local(async move { tokio::io::copy_bidirectional(&mut peer.stream, &mut upstream).await });
        }
    });
    (proxy, seen)
}

#[test]
fn a_forward_proxy_opens_the_way_and_is_shown_its_credentials() {
    local(|| async {
        let authority = Authority::new();
        let acceptor = authority.acceptor("api.shop.test", &["h2"]);
        let server = TlsServer::start(acceptor, Some(Http2 { streams: 10 })).await;
        let url: HttpUrl = "https://api.shop.test/v1".parse().unwrap();
        let (mut proxy, seen) = forward_proxy(server.port, Some("Basic b3BzOnNlY3JldA==")).await;

        let pool = authority.pool(&UpstreamSettings { proxy_url: Some(proxy.clone()), ..settings() });
        let error = failure(&pool, &url).await;
        assert!(matches!(error.cause(), Cause::ForwardProxy { status: Some(407), .. }), "{error}");
        assert!(error.sentence().contains("upstream.proxy_url") && !error.may_have_arrived());

        proxy.authorization = Some(Secret::new("Basic b3BzOnNlY3JldA=="));
        let pool = authority.pool(&UpstreamSettings { proxy_url: Some(proxy), ..settings() });
        let reply = pool.send(&url, &account("a"), get("/x")).await.unwrap();
        assert_eq!(reply.peer, None);
        assert_eq!(text(reply).await, "1");
        let expected = "CONNECT api.shop.test:443 HTTP/1.1\r\nHost: api.shop.test:443\r\nProxy-Authorization: Basic b3BzOnNlY3JldA==\r\n\r\n";
        assert_eq!(seen.borrow()[1], expected);
        assert_eq!(server.requests.borrow()[0].uri.authority().unwrap(), "api.shop.test");
    });
}

#[test]
fn loopback_needs_no_forward_proxy_and_a_dead_one_is_named() {
    local(|| async {
        let (url, _) = Server::start().await.number_connections();
        let port = Server::start().await.url.port;
        let proxy = ForwardProxy { host: "127.0.0.1".into(), port, authorization: None, except: Vec::new() };
        let pool = plain(&UpstreamSettings { proxy_url: Some(proxy), ..settings() });
        assert_eq!(fetch(&pool, &url, "a").await, "1");
        let error = failure(&pool, &"https://api.shop.test".parse().unwrap()).await;
        assert!(matches!(error.cause(), Cause::ForwardProxy { status: None, .. }), "{error}");
        assert!(error.sentence().contains(&format!("127.0.0.1:{port}")));
        assert_eq!(error.proxy_status_error(), "destination_unavailable");
    });
}
