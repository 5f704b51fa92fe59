//! Large bodies through the built program. The one rule: every byte arrives in its place, and whoever stops reading stops
//! whoever writes, at the cost of little memory.
//!
//! `GIGABYTE=1 cargo test --test it gigabyte -- --nocapture` sends a gibibyte each time instead of 32 MiB.

use std::{
    convert::Infallible,
    pin::Pin,
    sync::{
        Arc, LazyLock,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    task::{Context, Poll},
    time::Instant,
};

use bytes::Bytes;
use http::{Method, Request, Response};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use hyper::{body::Incoming, client::conn, server, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch,
    task::{JoinHandle, LocalSet, spawn_local},
};
use tokio_rustls::TlsAcceptor;

use crate::{
    by_hand::trust,
    certificates::{Authority, Leaf},
    fidelity::noise,
    program::Alone,
    wire::soon,
};

const MIB: u64 = 1 << 20;

/// How much is sent in one body.
fn size() -> u64 {
    if std::env::var_os("GIGABYTE").is_some() { 1024 * MIB } else { 32 * MIB }
}

// ---- bodies whose bytes tell their place -------------------------------------------------------------------------

/// The body is made of blocks of this size: the number of the block, then always the same noise.
const BLOCK: usize = 64 * 1024;
const STAMP: usize = size_of::<u64>();

static NOISE: LazyLock<Bytes> = LazyLock::new(|| noise(BLOCK).into());

/// What stands at a place, to the end of the stamp or of the noise.
fn piece_at(at: u64) -> Bytes {
    let (block, within) = (at / BLOCK as u64, (at % BLOCK as u64) as usize);
    if within < STAMP {
        Bytes::copy_from_slice(&block.to_le_bytes()[within..])
    } else {
        NOISE.slice(within..)
    }
}

/// A body on its way out, in pieces of changing sizes.
struct Pattern {
    at: u64,
    length: u64,
    tells_length: bool,
    /// Counts what was taken of it.
    taken: Arc<AtomicU64>,
}

impl Pattern {
    fn new(length: u64, tells_length: bool) -> Self {
        Self { at: 0, length, tells_length, taken: Arc::default() }
    }

    fn counted_by(self, taken: &Arc<AtomicU64>) -> Self {
        Self { taken: taken.clone(), ..self }
    }
}

impl Body for Pattern {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.at == self.length {
            return Poll::Ready(None);
        }
        let mut piece = piece_at(self.at);
        let most = (self.at.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 49).max(1).min(self.length - self.at);
        piece.truncate(most as usize);
        self.at += piece.len() as u64;
        self.taken.fetch_add(piece.len() as u64, Relaxed);
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.at == self.length
    }

    fn size_hint(&self) -> SizeHint {
        let left = self.length - self.at;
        if self.tells_length || left == 0 { SizeHint::with_exact(left) } else { SizeHint::default() }
    }
}

/// How many bytes come, each of them compared with what belongs in its place.
async fn arrives(body: &mut Incoming) -> hyper::Result<u64> {
    let mut at = 0;
    while let Some(frame) = soon("more of a body", body.frame()).await {
        at = compare(&frame?.into_data().unwrap(), at);
    }
    Ok(at)
}

fn compare(mut data: &[u8], mut at: u64) -> u64 {
    while !data.is_empty() {
        let mut expected = piece_at(at);
        expected.truncate(data.len());
        assert!(data.starts_with(&expected), "wrong bytes at {at}");
        at += expected.len() as u64;
        data = &data[expected.len()..];
    }
    at
}

// ---- the marketplace ---------------------------------------------------------------------------------------------

/// What the test and its marketplaces share.
#[derive(Clone)]
struct Works {
    /// Bytes that were taken of answers to `/held/`.
    taken: Arc<AtomicU64>,
    /// Whether requests to `/held/` are read.
    reads: watch::Sender<bool>,
}

/// `/down/LENGTH/told` and `/down/LENGTH/untold` are bodies; whatever is uploaded is compared and its length answered. Below
/// `/held/` the same, but counted and read only when the test says so.
async fn answer(works: Works, request: Request<Incoming>) -> Result<Response<Pattern>, Infallible> {
    let path = request.uri().path().to_owned();
    let (is_held, path) = path.strip_prefix("/held").map_or((false, path.as_str()), |rest| (true, rest));
    if let Some(wanted) = path.strip_prefix("/down/") {
        let (length, told) = wanted.split_once('/').unwrap();
        let body = Pattern::new(length.parse().unwrap(), told == "told");
        return Ok(Response::new(if is_held { body.counted_by(&works.taken) } else { body }));
    }
    if is_held {
        works.reads.subscribe().wait_for(|reads| *reads).await.unwrap();
    }
    // Nobody sees what is answered to a body that breaks off.
    let length = arrives(&mut request.into_body()).await.unwrap_or_default();
    Ok(Response::builder().header("x-length", length).body(Pattern::new(0, true)).unwrap())
}

/// Serves on loopback, over TLS and HTTP/2 where there is an acceptor; an app that leads there.
async fn market(name: &str, works: &Works, tls: Option<TlsAcceptor>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let scheme = if tls.is_some() { "https" } else { "http" };
    let origin = format!("{scheme}://{}", listener.local_addr().unwrap());
    let works = works.clone();
    spawn_local(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            stream.set_nodelay(true).unwrap();
            spawn_local(serve(stream, works.clone(), tls.clone()));
        }
    });
    format!(
        "[apps.{name}]\nprovider = \"generic\"\ngrant = \"static\"\napi = \"{origin}\"\napi_key = \"key-{name}\"\n"
    )
}

async fn serve(stream: TcpStream, works: Works, tls: Option<TlsAcceptor>) {
    let service = service_fn(move |request| answer(works.clone(), request));
    // Connections that the program drops end with an error, which concerns nobody.
    match tls {
        None => {
            let builder = server::conn::http1::Builder::new();
            drop(builder.serve_connection(TokioIo::new(stream), service).await);
        }
        Some(tls) => {
            let stream = TokioIo::new(tls.accept(stream).await.unwrap());
            let mut builder = server::conn::http2::Builder::new(TokioExecutor::new());
            // So that an upload that is not read holds up no other: a marketplace's own matter.
            builder.initial_connection_window_size(1 << 30);
            drop(builder.serve_connection(stream, service).await);
        }
    }
}

// ---- the caller --------------------------------------------------------------------------------------------------

/// The program between a caller and marketplaces of both versions, `h1` and `h2`.
struct Between {
    alone: Alone,
    works: Works,
}

const APPS: [&str; 2] = ["h1", "h2"];

fn between<F: Future<Output = ()>>(test: impl FnOnce(Between) -> F) {
    let (authority, folder) = (Authority::new(), tempfile::tempdir().unwrap());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    LocalSet::new().block_on(&runtime, async {
        let works = Works { taken: Arc::default(), reads: watch::Sender::new(false) };
        let tls = TlsAcceptor::from(authority.server(Leaf::Good, &["h2"]));
        let apps = [market("h1", &works, None).await, market("h2", &works, Some(tls)).await].concat();
        let alone = Alone::start(&(trust(&authority, folder.path()) + &apps));
        test(Between { alone, works }).await;
    });
}

impl Between {
    /// Sends a request on a connection of its own.
    async fn send(&self, method: Method, path: &str, body: Pattern) -> Response<Incoming> {
        let stream = TcpStream::connect(self.alone.proxy).await.unwrap();
        let (mut sender, connection) = conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
        // It ends with the answer, or with whoever drops that.
        spawn_local(async { drop(connection.await) });
        let request = Request::builder().method(method).uri(path).header("host", "localhost");
        let answer = sender.send_request(request.body(body).unwrap()).await.unwrap();
        assert_eq!(answer.status(), 200, "{path}");
        answer
    }

    async fn download(&self, app: &str, length: u64, is_told: bool) {
        let told = if is_told { "told" } else { "untold" };
        let path = format!("/{app}/down/{length}/{told}");
        let mut answer = self.send(Method::GET, &path, Pattern::new(0, true)).await;
        assert_eq!(answer.headers().contains_key("content-length"), is_told, "{path}");
        assert_eq!(arrives(answer.body_mut()).await.unwrap(), length, "{path}");
    }

    async fn upload(&self, app: &str, length: u64, is_told: bool) {
        let answer = self.send(Method::PUT, &format!("/{app}/up"), Pattern::new(length, is_told)).await;
        assert_eq!(answer.headers()["x-length"], length.to_string());
    }

    /// Memory in use by the program's process: `VmRSS` in bytes, or `VmHWM`, the most there ever was.
    fn memory(&self, field: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.alone.program.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(field)).unwrap();
        line.trim_start_matches(':').trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
    }
}

#[test]
fn large_bodies_pass_byte_for_byte_in_both_directions_and_framings_and_are_not_kept() {
    between(|b| async move {
        for (app, is_told) in APPS.into_iter().flat_map(|app| [(app, true), (app, false)]) {
            b.until_still(app, &AtomicU64::new(0)).await;
            let (before, began) = (b.memory("VmHWM"), Instant::now());
            b.download(app, size(), is_told).await;
            let (between, down) = (b.memory("VmHWM"), began.elapsed());
            b.upload(app, size(), is_told).await;
            let (after, up) = (b.memory("VmHWM"), began.elapsed() - down);
            let [down, up] = [down, up].map(|time| (size() / MIB) as f64 / time.as_secs_f64());
            println!(
                "{app}, length told: {is_told}: {down:.0} MiB/s down, {up:.0} MiB/s up, at most {} KiB in memory",
                after / 1024
            );
            // What passes quickly leaves the allocator some pages it has not yet given back, whatever the body's length.
            // The kernel's mark is an estimate, and may come out lower the next time.
            let most = between.saturating_sub(before).max(after.saturating_sub(between));
            assert!(most < size() / 2, "{app}: {most} bytes more for a body of {}", size());
        }
    });
}

// ---- standing still ----------------------------------------------------------------------------------------------

/// How many streams stand still at once, and how much each of them would carry: more than any buffer on its way.
const STREAMS: u64 = 8;
const LONG: u64 = 64 * MIB;

/// What one stream that stands still may cost.
const COST: u64 = 8 * MIB;

impl Between {
    /// Lets others pass until meanwhile nothing moves any more; `moved` counts what did.
    async fn until_still(&self, app: &str, moved: &AtomicU64) -> u64 {
        for _ in 0..100 {
            let before = moved.load(Relaxed);
            tokio::join!(self.download(app, 4 * MIB, true), self.upload(app, 4 * MIB, false));
            if moved.load(Relaxed) == before {
                return before;
            }
        }
        panic!("who does not read does not stop who writes");
    }

    fn judge(&self, case: &str, before: u64, moved: u64) {
        let grown = self.memory("VmRSS").saturating_sub(before);
        println!(
            "{case}: {STREAMS} streams stand still after {} MiB, memory grew from {} by {} MiB",
            moved / MIB,
            before / MIB,
            grown / MIB
        );
        assert!(moved < STREAMS * LONG / 2, "{case}: {moved} bytes were written for nobody");
        assert!(grown <= STREAMS * COST, "{case}: {grown} bytes for {STREAMS} streams");
    }
}

#[test]
fn a_caller_who_stops_reading_stops_the_marketplace_and_nobody_else() {
    between(|b| async move {
        for (app, told) in APPS.into_iter().flat_map(|app| [(app, "told"), (app, "untold")]) {
            b.until_still(app, &AtomicU64::new(0)).await;
            let (before, path) = (b.memory("VmRSS"), format!("/{app}/held/down/{LONG}/{told}"));
            b.works.taken.store(0, Relaxed);
            let mut held = Vec::new();
            for _ in 0..STREAMS {
                held.push(b.send(Method::GET, &path, Pattern::new(0, true)).await);
            }
            let moved = b.until_still(app, &b.works.taken).await;
            b.judge(&format!("{app}, down, {told}"), before, moved);
            // One goes on and misses nothing; the others leave.
            let mut one = held.pop().unwrap();
            drop(held);
            assert_eq!(arrives(one.body_mut()).await.unwrap(), LONG, "{app}");
        }
    });
}

#[test]
fn a_marketplace_that_does_not_read_stops_the_caller_and_nobody_else() {
    between(|b| async move {
        let b = Arc::new(b);
        for (app, is_told) in APPS.into_iter().flat_map(|app| [(app, true), (app, false)]) {
            b.until_still(app, &AtomicU64::new(0)).await;
            let (before, taken) = (b.memory("VmRSS"), Arc::<AtomicU64>::default());
            b.works.reads.send_replace(false);
            let hold = || {
                let (b, body) = (b.clone(), Pattern::new(LONG, is_told).counted_by(&taken));
                let path = format!("/{app}/held/up");
                spawn_local(async move { b.send(Method::PUT, &path, body).await })
            };
            let mut held: Vec<JoinHandle<Response<Incoming>>> = (0..STREAMS).map(|_| hold()).collect();
            let moved = b.until_still(app, &taken).await;
            b.judge(&format!("{app}, up, told: {is_told}"), before, moved);
            let one = held.pop().unwrap();
            for left in held {
                left.abort();
                drop(left.await);
            }
            b.works.reads.send_replace(true);
            assert_eq!(one.await.unwrap().headers()["x-length"], LONG.to_string(), "{app}");
        }
    });
}
