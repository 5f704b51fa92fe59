//! One marketplace and several who want its connections. The one rule: the marketplace lies in the test's hands, so that a
//! request that arrives there was let through, and one that does not was not.

use std::{
    convert::Infallible,
    io::Write,
    net::{SocketAddr, TcpStream},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    task::{Context, Poll},
    time::{Duration, Instant},
};

use bytes::Bytes;
use hyper::{
    Response,
    body::{Body, Frame},
    service::service_fn,
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use crate::{
    by_hand::{Peer, Upstream, trust},
    certificates::{Authority, Leaf},
    harness::{Answer, Time, World, gate},
    program::{Alone, PATIENCE, get},
    wire::Wire,
};

/// A caller who asks for a path, with a key if he has one.
async fn asking(proxy: SocketAddr, path: &str, key: &str) -> Wire {
    let mut wire = Wire::to(proxy).await;
    wire.write(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nMarketgate-Key: {key}\r\n\r\n").as_bytes())
        .await;
    wire
}

/// A caller who begins an upload and does not go on with it.
async fn trickling(proxy: SocketAddr, account: &str) -> Wire {
    let mut wire = Wire::to(proxy).await;
    let head = format!(
        "POST /{account}/x HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n"
    );
    wire.write(head.as_bytes()).await;
    wire
}

async fn answered(mut wire: Wire) -> Answer {
    wire.answer().await.unwrap()
}

/// The next request on a connection must be one for this path.
async fn serve(peer: &mut Peer, path: &str) {
    let head = peer.head().await.unwrap();
    assert!(head.starts_with(&format!("GET {path} ")), "{head}");
    peer.answer("ok").await;
}

#[test]
fn uploads_that_stand_still_on_one_account_leave_connections_to_the_others() {
    let upstream = Upstream::plain();
    let apps: String = ["a", "b", "c"].iter().map(|name| upstream.app(name)).collect();
    let configuration = format!("[upstream]\nlimits = {{ connections = 8, queue = 4 }}\n{apps}");
    gate(Time::Runs, &configuration, |w| async move {
        let (mut callers, mut peers) = (Vec::new(), Vec::new());
        for _ in 0..8 {
            callers.push(trickling(w.proxy, "a").await);
            let mut peer = upstream.accept().await;
            assert!(peer.head().await.unwrap().starts_with("POST /x "));
            peers.push(peer);
        }
        let mut more = JoinSet::new();
        for _ in 0..9 {
            let one = trickling(w.proxy, "a").await;
            more.spawn_local(answered(one));
        }
        for _ in 0..5 {
            let refusal = more.join_next().await.unwrap().unwrap();
            assert_eq!((refusal.status, refusal.code().as_str()), (503, "overloaded"), "{}", refusal.body);
            assert_eq!(refusal.headers["retry-after"], "1");
        }
        // Four more of them wait all the time.
        for account in ["b", "c"] {
            let first = asking(w.proxy, &format!("/{account}/1"), "").await;
            let mut peer = upstream.accept().await;
            serve(&mut peer, "/1").await;
            assert_eq!(answered(first).await.body, "ok");
            let second = asking(w.proxy, &format!("/{account}/2"), "").await;
            serve(&mut peer, "/2").await;
            assert_eq!(answered(second).await.body, "ok", "on the same connection");
            peers.push(peer);
        }
        let metrics = w.admin("/metrics").await.body;
        assert!(metrics.contains("marketgate_upstream_overloads_total{limit=\"queue\"} 5\n"), "{metrics}");
        drop((callers, more));
    });
}

#[test]
fn of_two_callers_on_one_account_the_one_with_few_requests_does_not_wait_for_all_of_the_others() {
    const BIG: &str = "big-key-0123456789abcdef0123456789";
    const SMALL: &str = "small-key-0123456789abcdef0123456789";
    let upstream = Upstream::plain();
    let callers = format!("[callers.big]\nkey = \"{BIG}\"\n[callers.small]\nkey = \"{SMALL}\"\n");
    let limits = "[upstream]\nlimits = { connections = 1, queue = 16 }\n";
    gate(Time::Runs, &(limits.to_owned() + &upstream.app("a") + &callers), |w| async move {
        let first = asking(w.proxy, "/a/big", BIG).await;
        let mut peer = upstream.accept().await;
        let head = peer.head().await.unwrap();
        assert!(head.starts_with("GET /big "), "{head}");
        // As many as may wait, and one more; then the same for the other. Who is refused tells that all of them were seen.
        let mut big = waiting(&w, "/a/big", BIG, 17).await;
        let mut small = waiting(&w, "/a/small", SMALL, 3).await;
        peer.answer("ok").await;
        assert_eq!(answered(first).await.body, "ok");
        let by_turns = ["/small", "/big", "/small"].into_iter().chain(["/big"; 15]);
        for path in by_turns {
            serve(&mut peer, path).await;
        }
        while let Some(answer) = big.join_next().await {
            assert_eq!(answer.unwrap().body, "ok");
        }
        while let Some(answer) = small.join_next().await {
            assert_eq!(answer.unwrap().body, "ok");
        }
    });
}

/// Asks so many times that the last one is refused: the others wait.
async fn waiting(w: &World, path: &'static str, key: &'static str, count: usize) -> JoinSet<Answer> {
    let (mut all, proxy) = (JoinSet::new(), w.proxy);
    for _ in 0..count {
        all.spawn_local(async move { answered(asking(proxy, path, key).await).await });
    }
    assert_eq!(all.join_next().await.unwrap().unwrap().status, 503);
    all
}

/// An answer without end, whose bytes are counted.
struct Endless(Arc<AtomicU64>);

impl Body for Endless {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        static PIECE: [u8; 16 * 1024] = [b'x'; 16 * 1024];
        self.0.fetch_add(PIECE.len() as u64, Relaxed);
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(&PIECE)))))
    }
}

/// Serves endless answers over HTTP/2 in a thread of its own, for as long as the test runs.
fn endless(authority: &Authority) -> (SocketAddr, Arc<AtomicU64>) {
    let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    socket.set_nonblocking(true).unwrap();
    let (address, sent) = (socket.local_addr().unwrap(), Arc::new(AtomicU64::new(0)));
    let (tls, counted) = (TlsAcceptor::from(authority.server(Leaf::Good, &["h2"])), sent.clone());
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let listener = tokio::net::TcpListener::from_std(socket).unwrap();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (tls, sent) = (tls.clone(), counted.clone());
                tokio::spawn(async move {
                    let stream = TokioIo::new(tls.accept(stream).await.unwrap());
                    let answer = move |_| {
                        let body = Endless(sent.clone());
                        async move { Ok::<_, Infallible>(Response::new(body)) }
                    };
                    let builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
                    let _ = builder.serve_connection(stream, service_fn(answer)).await;
                });
            }
        });
    });
    (address, sent)
}

/// Until nothing has moved for half a second.
fn come_to_rest(sent: &AtomicU64) {
    let (mut last, mut since, begun) = (sent.load(Relaxed), Instant::now(), Instant::now());
    while since.elapsed() < Duration::from_millis(500) {
        assert!(begun.elapsed() < PATIENCE, "it goes on and on");
        std::thread::yield_now();
        let now = sent.load(Relaxed);
        if now != last {
            (last, since) = (now, Instant::now());
        }
    }
}

/// KiB in memory.
fn resident(process: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

#[test]
fn callers_who_read_nothing_of_an_http2_answer_hold_little_and_leave_room_when_they_go() {
    const CALLERS: u64 = 200;
    const CROWDS: u32 = 6;
    let (authority, folder) = (Authority::new(), tempfile::tempdir().unwrap());
    let (address, sent) = endless(&authority);
    let app = format!(
        "[apps.a]\nprovider = \"generic\"\ngrant = \"static\"\napi = \"https://{address}\"\napi_key = \"key-a\"\n"
    );
    let alone = Alone::start(&(trust(&authority, folder.path()) + &app));
    let ask = || {
        let mut stream = TcpStream::connect(alone.proxy).unwrap();
        stream.write_all(b"GET /a/x HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
        stream
    };
    let process = alone.program.id();
    drop(ask());
    come_to_rest(&sent);
    let (idle, before) = (resident(process), sent.load(Relaxed));
    let each = || resident(process).saturating_sub(idle) / CALLERS;
    // The allocator keeps a part of what they leave for each thread. A crowd that left something behind would show by the last.
    for crowd in 1..=CROWDS {
        let callers: Vec<TcpStream> = (0..CALLERS).map(|_| ask()).collect();
        come_to_rest(&sent);
        println!("{} KiB for each of crowd {crowd} who do not read", each());
        assert!(each() <= if crowd == 1 { 256 } else { 512 }, "{} KiB for each of crowd {crowd}", each());
        if crowd == 1 {
            // What is in no process's memory lies in the kernel's, here and at both ends.
            let taken = ((sent.load(Relaxed) - before) / CALLERS) >> 10;
            println!("{taken} KiB taken from the upstream for each of them");
            assert!(taken <= 1024, "{taken} KiB for each of them");
        }
        drop(callers);
        until_all_have_left(&alone);
    }
}

fn until_all_have_left(alone: &Alone) {
    let begun = Instant::now();
    while !get(alone.admin, "/metrics", "").contains("marketgate_caller_connections 0\n") {
        assert!(begun.elapsed() < PATIENCE, "connections stay whose callers have left");
    }
}
