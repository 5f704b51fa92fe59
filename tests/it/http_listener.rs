//! The listener from outside: how long callers may take, how many there may be, and how it ends.

use std::{
    cell::{Cell, RefCell},
    convert::Infallible,
    pin::Pin,
    rc::Rc,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body::{Body, Frame};
use http_body_util::{BodyExt, Empty, Full, combinators::UnsyncBoxBody};
use hyper::body::Incoming;
use marketgate::{
    config::settings,
    http::{
        listener::{ListenerLimits, Registry, Room, Served, serve},
        tally::{Cut, Tally},
    },
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::Notify,
    task::{JoinHandle, LocalSet, yield_now},
    time::{Instant, advance, sleep},
};
use tokio_util::sync::CancellationToken;

const SECOND: Duration = Duration::from_secs(1);
const GRACE: Duration = Duration::from_secs(20);

/// Runs a test with time in its own hands: tokio's clock is paused, and a parked blocking task keeps it from jumping
/// ahead while sockets work.
fn with_time_held(test: impl AsyncFnOnce()) {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    LocalSet::new().block_on(&runtime, async {
        let (release, parked) = std::sync::mpsc::channel::<Infallible>();
        let parking = tokio::task::spawn_blocking(move || parked.recv());
        test().await;
        drop(release);
        assert!(parking.await.unwrap().is_err());
    });
}

/// Lets time pass in small steps until `event`; says how much passed.
async fn pass_until<T>(event: impl Future<Output = T>) -> (T, Duration) {
    let start = Instant::now();
    let happened = tokio::select! {
        biased;
        happened = event => happened,
        () = async { while start.elapsed() < 1000 * SECOND { step(SECOND / 4).await } } => panic!("it never happened"),
    };
    (happened, start.elapsed())
}

async fn pass(time: Duration) {
    let end = Instant::now() + time;
    while Instant::now() < end {
        step(SECOND / 4).await;
    }
}

/// Moves the clock, and lets everything happen that sockets and timers then have ready.
async fn step(time: Duration) {
    settle().await;
    advance(time).await;
    settle().await;
}

async fn settle() {
    for _ in 0..20 {
        yield_now().await;
    }
}

type AnyBody = UnsyncBoxBody<Bytes, Infallible>;

fn text(status: StatusCode, text: &'static str) -> Response<AnyBody> {
    let mut response = Response::new(Full::from(text).boxed_unsync());
    *response.status_mut() = status;
    response
}

/// What the services below share with their test.
#[derive(Clone, Default)]
struct Scene {
    seen: Rc<RefCell<Vec<String>>>,
    dropped: Rc<Notify>,
    produced: Arc<std::sync::atomic::AtomicUsize>,
}

struct OnDrop(Rc<Notify>);

impl Drop for OnDrop {
    fn drop(&mut self) {
        self.0.notify_one();
    }
}

/// A body without end.
struct Endless(Arc<std::sync::atomic::AtomicUsize>);

impl Body for Endless {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        const PIECE: &[u8] = &[b'x'; 16 * 1024];
        self.0.fetch_add(PIECE.len(), std::sync::atomic::Ordering::Relaxed);
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(PIECE)))))
    }
}

/// A body of which the second half comes late, or which panics there.
struct Halves {
    pause: Option<Pin<Box<tokio::time::Sleep>>>,
    panics: bool,
    half: usize,
}

impl Body for Halves {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        assert!(!(self.panics && self.half == 1), "on purpose");
        if self.half == 1
            && let Some(pause) = &mut self.pause
        {
            std::task::ready!(pause.as_mut().poll(cx));
        }
        self.half += 1;
        Poll::Ready((self.half < 3).then(|| Ok(Frame::data(Bytes::from_static(b"half")))))
    }
}

impl Scene {
    async fn answer(self, request: Request<Incoming>) -> Response<AnyBody> {
        self.seen.borrow_mut().push(request.uri().to_string());
        match request.uri().path() {
            "/upload" => match request.into_body().collect().await {
                Ok(_) => text(StatusCode::OK, "stored"),
                Err(_) => text(StatusCode::BAD_REQUEST, "broken"),
            },
            "/late-upload" => {
                sleep(100 * SECOND).await;
                let read = request.into_body().collect().await;
                text(if read.is_ok() { StatusCode::OK } else { StatusCode::BAD_REQUEST }, "late")
            }
            "/refuse" => text(StatusCode::FORBIDDEN, "no"),
            "/refuse-slowly" => {
                drop(request);
                let pause = Some(Box::pin(sleep(100 * SECOND)));
                Response::new(Halves { pause, panics: false, half: 0 }.boxed_unsync())
            }
            "/poll" => {
                sleep(300 * SECOND).await;
                text(StatusCode::OK, "news")
            }
            "/hang" => {
                let _dropped = OnDrop(self.dropped);
                std::future::pending().await
            }
            "/endless" => Response::new(Endless(self.produced).boxed_unsync()),
            "/panic" => panic!("on purpose"),
            "/panic-in-body" => Response::new(Halves { pause: None, panics: true, half: 0 }.boxed_unsync()),
            "/empty" => Response::new(Empty::new().boxed_unsync()),
            _ => text(StatusCode::OK, "hello"),
        }
    }
}

/// A running listener.
struct Door {
    address: std::net::SocketAddr,
    scene: Scene,
    tally: Arc<Tally>,
    stop: CancellationToken,
    workers: Vec<JoinHandle<Served>>,
}

impl Door {
    fn open() -> Self {
        Self::with_workers(1, 100)
    }

    fn with_workers(workers: usize, connections: usize) -> Self {
        let mut limits = ListenerLimits::new(&settings::Limits::default(), 30 * SECOND);
        limits.registry = Registry::new(Room { connections, unfinished_heads: 64 << 20 });
        Self::limited(workers, &limits)
    }

    fn limited(workers: usize, limits: &ListenerLimits) -> Self {
        let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        socket.set_nonblocking(true).unwrap();
        let address = socket.local_addr().unwrap();
        let (scene, stop, tally) = (Scene::default(), CancellationToken::new(), Arc::clone(&limits.tally));
        let workers = (0..workers).map(|_| {
            let listener = TcpListener::from_std(socket.try_clone().unwrap()).unwrap();
            let scene = scene.clone();
            let service = move |request, _| scene.clone().answer(request);
            tokio::task::spawn_local(serve(listener, service, limits.clone(), stop.clone(), GRACE))
        });
        Self { address, workers: workers.collect(), scene, tally, stop }
    }

    async fn caller(&self) -> Caller {
        Caller(TcpStream::connect(self.address).await.unwrap())
    }

    fn seen(&self) -> Vec<String> {
        self.scene.seen.borrow().clone()
    }

    async fn sees(&self, requests: usize) {
        while self.seen().len() < requests {
            yield_now().await;
        }
    }

    async fn ended(&mut self) -> Served {
        self.workers.pop().unwrap().await.unwrap()
    }
}

/// A caller with a raw socket.
struct Caller(TcpStream);

impl Caller {
    async fn send(&mut self, text: &str) {
        self.0.write_all(text.as_bytes()).await.unwrap();
    }

    async fn ask(&mut self, target: &str) {
        self.send(&format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n")).await;
    }

    /// Asks, and says whether an answer begins.
    async fn is_served(&mut self) -> bool {
        let request = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
        self.0.write_all(request).await.is_ok() && self.0.peek(&mut [0]).await.is_ok_and(|came| came > 0)
    }

    /// One answer with a `Content-Length`: status line and fields, then the body.
    async fn answer(&mut self) -> (String, String) {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(self.0.read_u8().await.expect("an answer"));
        }
        let head = String::from_utf8(head).unwrap().to_ascii_lowercase();
        let length = head.split("content-length: ").nth(1).and_then(|rest| rest.split("\r\n").next());
        let mut body = vec![0; length.map_or(0, |length| length.parse().unwrap())];
        self.0.read_exact(&mut body).await.unwrap();
        (head, String::from_utf8(body).unwrap())
    }

    async fn is_answered(&mut self, status: u16, body: &str) {
        let (head, answered) = self.answer().await;
        assert!(head.starts_with(&format!("http/1.1 {status} ")), "{head}");
        assert_eq!(answered, body);
    }

    /// Everything until the connection ends.
    async fn rest(&mut self) -> String {
        let mut rest = Vec::new();
        self.0.read_to_end(&mut rest).await.expect("an orderly end");
        String::from_utf8(rest).unwrap()
    }
}

// ---- how long callers may take ---------------------------------------------------------------------------------

#[test]
fn an_idle_caller_may_rest_a_minute_but_not_two() {
    with_time_held(async || {
        let door = Door::open();
        let mut caller = door.caller().await;
        for _ in 0..3 {
            pass(60 * SECOND).await;
            caller.ask("/").await;
            caller.is_answered(200, "hello").await;
        }
        let (rest, time) = pass_until(caller.rest()).await;
        assert_eq!(rest, "");
        assert!((74 * SECOND..77 * SECOND).contains(&time), "{time:?}");
        assert_eq!(door.tally.cuts(Cut::Idle), 1);
    });
}

#[test]
fn a_head_that_trickles_in_is_cut_ten_seconds_after_its_first_byte() {
    with_time_held(async || {
        let door = Door::open();
        let mut caller = door.caller().await;
        caller.ask("/").await;
        caller.is_answered(200, "hello").await;
        pass(30 * SECOND).await;
        let (mut reader, mut writer) = caller.0.into_split();
        let trickle = async {
            for byte in b"GET / HTTP/1.1\r\nHost: a\r\nX: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa" {
                if writer.write_all(&[*byte]).await.is_err() {
                    break;
                }
                sleep(SECOND).await;
            }
            std::future::pending::<()>().await;
        };
        let mut rest = Vec::new();
        let cut = async {
            tokio::select! {
                () = trickle => {}
                _ = reader.read_to_end(&mut rest) => {}
            }
        };
        let ((), time) = pass_until(cut).await;
        assert!((9 * SECOND..13 * SECOND).contains(&time), "{time:?}");
        assert_eq!(door.tally.cuts(Cut::SlowHead), 1);
        assert_eq!(door.seen().len(), 1);
    });
}

#[test]
fn an_upload_that_stops_is_cut_and_one_that_moves_is_not() {
    with_time_held(async || {
        let door = Door::open();
        let (mut moving, mut stopping) = (door.caller().await, door.caller().await);
        for caller in [&mut moving, &mut stopping] {
            caller.send("POST /upload HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nabcde").await;
        }
        door.sees(2).await;
        for byte in ["f", "g", "h", "i", "j"] {
            pass(20 * SECOND).await;
            moving.send(byte).await;
        }
        moving.is_answered(200, "stored").await;
        assert_eq!(stopping.rest().await, "");
        assert_eq!(door.tally.cuts(Cut::StalledUpload), 1);
    });
}

#[test]
fn a_service_that_is_slow_to_read_does_not_count_against_its_caller() {
    with_time_held(async || {
        let door = Door::open();
        let mut caller = door.caller().await;
        caller.send("POST /late-upload HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n").await;
        door.sees(1).await;
        caller.send(&"x".repeat(50_000)).await;
        pass(95 * SECOND).await;
        caller.send(&"x".repeat(50_000)).await;
        let ((), _) = pass_until(caller.is_answered(200, "late")).await;
    });
}

#[test]
fn a_long_poll_is_waited_for() {
    with_time_held(async || {
        let door = Door::open();
        let mut caller = door.caller().await;
        caller.ask("/poll").await;
        let ((), time) = pass_until(caller.is_answered(200, "news")).await;
        assert!(time >= 300 * SECOND);
        // The rest that follows is counted from the answer.
        pass(60 * SECOND).await;
        caller.ask("/").await;
        caller.is_answered(200, "hello").await;
    });
}

#[test]
fn a_body_nobody_wants_does_not_cut_its_answer_short() {
    with_time_held(async || {
        let door = Door::open();
        let mut caller = door.caller().await;
        caller.send("POST /refuse-slowly HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nabc").await;
        let (answer, time) = pass_until(caller.rest()).await;
        assert!(answer.contains("4\r\nhalf\r\n4\r\nhalf\r\n0\r\n\r\n"), "{answer}");
        assert!(time >= 100 * SECOND);
        assert_eq!(door.tally.cuts(Cut::StalledUpload), 0);
    });
}

#[test]
fn a_caller_that_stops_reading_is_cut_and_holds_little_memory() {
    with_time_held(async || {
        let door = Door::open();
        let mut caller = door.caller().await;
        caller.ask("/endless").await;
        door.sees(1).await;
        let cut = async {
            while door.tally.cuts(Cut::StalledDownload) == 0 {
                yield_now().await;
            }
        };
        let ((), time) = pass_until(cut).await;
        assert!((29 * SECOND..33 * SECOND).contains(&time), "{time:?}");
        // What the kernel buffers on both sides, and a little of ours.
        let produced = door.scene.produced.load(std::sync::atomic::Ordering::Relaxed);
        assert!(produced < 16 * 1024 * 1024, "{produced}");
    });
}

#[test]
fn a_caller_that_reads_slowly_is_not_cut() {
    with_time_held(async || {
        let door = Door::open();
        let mut caller = door.caller().await;
        caller.ask("/endless").await;
        let mut piece = vec![0; 8 * 1024 * 1024];
        for _ in 0..6 {
            pass(20 * SECOND).await;
            caller.0.read_exact(&mut piece).await.unwrap();
        }
        assert_eq!(door.tally.cuts(Cut::StalledDownload), 0);
    });
}

// ---- how many ---------------------------------------------------------------------------------------------------

#[test]
fn at_the_cap_the_connection_idle_longest_is_closed_for_a_new_one_whichever_worker_has_it() {
    with_time_held(async || {
        let door = Door::with_workers(2, 2);
        let (mut first, mut second) = (door.caller().await, door.caller().await);
        for caller in [&mut second, &mut first] {
            caller.ask("/").await;
            caller.is_answered(200, "hello").await;
            pass(SECOND).await;
        }
        let mut third = door.caller().await;
        third.ask("/third").await;
        third.is_answered(200, "hello").await;
        assert_eq!(second.rest().await, "");
        assert_eq!((door.tally.accepted(), door.tally.open(), door.tally.cuts(Cut::Crowded)), (3, 2, 1));
        first.ask("/again").await;
        first.is_answered(200, "hello").await;
    });
}

#[test]
fn an_unfinished_head_gives_way_when_nobody_is_idle_and_a_request_in_flight_never_does() {
    with_time_held(async || {
        let door = Door::with_workers(1, 3);
        let (mut polling, mut eldest, mut slow) =
            (door.caller().await, door.caller().await, door.caller().await);
        polling.ask("/poll").await;
        door.sees(1).await;
        eldest.send("GET / HTTP/1.1\r\n").await;
        pass(SECOND).await;
        slow.send("GET / HTTP/1.1\r\n").await;
        pass(SECOND).await;
        let mut in_flight = Vec::new();
        for gone in [&mut eldest, &mut slow] {
            let mut guest = door.caller().await;
            guest.ask("/hang").await;
            assert_eq!(gone.rest().await, "");
            in_flight.push(guest);
        }
        assert_eq!(door.tally.cuts(Cut::Crowded), 2);
        let ((), _) = pass_until(polling.is_answered(200, "news")).await;
    });
}

#[test]
fn while_every_connection_has_a_request_in_flight_a_new_one_is_refused_at_once_and_served_as_soon_as_one_ends()
 {
    with_time_held(async || {
        let door = Door::with_workers(2, 2);
        let (mut first, mut second) = (door.caller().await, door.caller().await);
        for caller in [&mut first, &mut second] {
            caller.ask("/hang").await;
        }
        door.sees(2).await;
        for _ in 0..3 {
            let mut refused = door.caller().await;
            refused.ask("/").await;
            let answer = refused.rest().await.to_ascii_lowercase();
            assert!(answer.starts_with("http/1.1 503 "), "{answer}");
            for part in
                ["retry-after: 1\r\n", "connection: close\r\n", "\"overloaded\"", "proxy-status: marketgate;"]
            {
                assert!(answer.contains(part), "{part}: {answer}");
            }
        }
        assert_eq!((door.seen().len(), door.tally.turned_away()), (2, 3));
        let mut early = door.caller().await;
        settle().await;
        drop(second);
        early.ask("/").await;
        let answer = early.rest().await;
        assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("hello"), "{answer}");
    });
}

#[test]
fn a_connection_without_a_place_has_a_second_for_its_head() {
    with_time_held(async || {
        let door = Door::with_workers(1, 1);
        let mut busy = door.caller().await;
        busy.ask("/hang").await;
        door.sees(1).await;
        let mut dripping = door.caller().await;
        dripping.send("GET / HTTP/1.1\r\n").await;
        let (rest, time) = pass_until(dripping.rest()).await;
        assert_eq!(rest, "");
        assert!(time < 3 * SECOND, "{time:?}");
    });
}

#[test]
fn paths_that_are_essential_are_answered_though_every_connection_has_a_request_in_flight() {
    with_time_held(async || {
        let mut limits = ListenerLimits::new(&settings::Limits::default(), 30 * SECOND);
        limits.registry = Registry::new(Room { connections: 2, unfinished_heads: 64 << 20 });
        limits.essential = |path| path == "/well";
        let door = Door::limited(1, &limits);
        let mut busy = Vec::new();
        for number in 1..=2 {
            let mut caller = door.caller().await;
            caller.ask("/hang").await;
            door.sees(number).await;
            busy.push(caller);
        }
        // Connections that say nothing fill the reserve, and more.
        for _ in 0..100 {
            busy.push(door.caller().await);
        }
        for _ in 0..3 {
            let mut probe = door.caller().await;
            probe.ask("/well").await;
            let (answer, _) = pass_until(probe.rest()).await;
            assert!(answer.starts_with("HTTP/1.1 200 ") && answer.contains("close"), "{answer}");
        }
    });
}

#[test]
fn beyond_the_memory_for_unfinished_heads_the_eldest_are_cut_and_a_large_head_that_comes_is_served() {
    with_time_held(async || {
        let mut limits = ListenerLimits::new(&settings::Limits::default(), 30 * SECOND);
        limits.registry = Registry::new(Room { connections: 1000, unfinished_heads: 1 << 20 });
        let door = Door::limited(1, &limits);
        let head = format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}", "a".repeat(30_000));
        let mut callers = Vec::new();
        for _ in 0..60 {
            let mut caller = door.caller().await;
            caller.send(&head).await;
            step(SECOND / 100).await;
            callers.push(caller);
        }
        let mut well = door.caller().await;
        well.send(&head).await;
        step(SECOND / 100).await;
        well.send("\r\n\r\n").await;
        well.is_answered(200, "hello").await;
        let cut = door.tally.cuts(Cut::HeadMemory);
        assert!((20..60).contains(&cut), "{cut} were cut");
        assert_eq!(callers[0].rest().await, "");
        let youngest = callers.last_mut().unwrap();
        youngest.send("\r\n\r\n").await;
        youngest.is_answered(200, "hello").await;
    });
}

#[test]
fn workers_on_threads_of_their_own_share_one_socket_and_one_cap() {
    let mut limits = ListenerLimits::new(&settings::Limits::default(), 30 * SECOND);
    limits.registry = Registry::new(Room { connections: 8, unfinished_heads: 64 << 20 });
    let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    socket.set_nonblocking(true).unwrap();
    let address = socket.local_addr().unwrap();
    let (stop, tally) = (CancellationToken::new(), Arc::clone(&limits.tally));
    let worker = |_| {
        let (socket, limits, stop) = (socket.try_clone().unwrap(), limits.clone(), stop.clone());
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            LocalSet::new().block_on(&runtime, async {
                let listener = TcpListener::from_std(socket).unwrap();
                let scene = Scene::default();
                let service = move |request, _| scene.clone().answer(request);
                serve(listener, service, limits, stop, GRACE).await
            })
        })
    };
    let workers: Vec<_> = (0..3).map(worker).collect();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    LocalSet::new().block_on(&runtime, async {
        let callers: Vec<_> = (0..200)
            .map(|_| {
                // One whose request comes late is closed for another, and asks again like every HTTP client.
                tokio::task::spawn_local(async move {
                    let mut caller = Caller(TcpStream::connect(address).await.unwrap());
                    while !caller.is_served().await {
                        caller = Caller(TcpStream::connect(address).await.unwrap());
                    }
                    caller.is_answered(200, "hello").await;
                })
            })
            .collect();
        for caller in callers {
            caller.await.unwrap();
        }
    });
    stop.cancel();
    for worker in workers {
        assert_eq!(worker.join().unwrap().cut, 0);
    }
    assert!(tally.accepted() >= 200 && tally.open() == 0, "{} of {}", tally.open(), tally.accepted());
}

// ---- how it ends ------------------------------------------------------------------------------------------------

#[test]
fn a_drain_finishes_what_was_begun_and_closes_the_rest_at_once() {
    with_time_held(async || {
        let mut door = Door::open();
        let (mut busy, mut idle, mut silent) =
            (door.caller().await, door.caller().await, door.caller().await);
        busy.send("POST /upload HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nabcde").await;
        idle.ask("/").await;
        idle.is_answered(200, "hello").await;
        door.sees(2).await;
        while door.tally.open() < 3 {
            yield_now().await;
        }
        let start = Instant::now();
        door.stop.cancel();
        assert_eq!(idle.rest().await, "");
        assert_eq!(silent.rest().await, "");
        assert_eq!(start.elapsed(), Duration::ZERO);
        assert!(TcpStream::connect(door.address).await.is_err());
        pass(10 * SECOND).await;
        busy.send("fghij").await;
        let (head, body) = busy.answer().await;
        assert!(head.contains("connection: close") && body == "stored", "{head}");
        assert_eq!(busy.rest().await, "");
        assert_eq!(door.ended().await, Served { finished: 3, cut: 0 });
        assert_eq!(door.tally.open(), 0);
    });
}

#[test]
fn a_request_already_sent_when_the_drain_begins_is_answered() {
    with_time_held(async || {
        let mut door = Door::open();
        let mut caller = door.caller().await;
        caller.ask("/").await;
        caller.is_answered(200, "hello").await;
        // Nothing runs between these two lines: the request lies unread in the socket.
        assert!(caller.0.try_write(b"GET /last HTTP/1.1\r\nHost: a\r\n\r\n").is_ok());
        door.stop.cancel();
        caller.is_answered(200, "hello").await;
        assert_eq!(caller.rest().await, "");
        assert_eq!(door.ended().await, Served { finished: 1, cut: 0 });
        assert_eq!(door.seen(), ["/", "/last"]);
    });
}

#[test]
fn what_does_not_finish_in_time_is_cut() {
    with_time_held(async || {
        let mut door = Door::open();
        let mut caller = door.caller().await;
        caller.ask("/hang").await;
        door.sees(1).await;
        door.stop.cancel();
        let dropped = Rc::clone(&door.scene.dropped);
        let (served, time) = pass_until(door.ended()).await;
        assert_eq!(served, Served { finished: 0, cut: 1 });
        assert!((GRACE..GRACE + 2 * SECOND).contains(&time), "{time:?}");
        dropped.notified().await;
        assert_eq!(door.tally.cuts(Cut::Grace), 1);
    });
}

#[test]
fn a_caller_that_hangs_up_ends_its_request() {
    with_time_held(async || {
        let door = Door::open();
        let mut caller = door.caller().await;
        caller.ask("/hang").await;
        door.sees(1).await;
        drop(caller);
        door.scene.dropped.notified().await;
    });
}

#[test]
fn a_panic_costs_one_request_its_connection_and_nobody_else() {
    with_time_held(async || {
        let door = Door::open();
        let (mut victim, mut other) = (door.caller().await, door.caller().await);
        other.ask("/").await;
        other.is_answered(200, "hello").await;
        victim.ask("/panic").await;
        let (head, _) = victim.answer().await;
        assert!(head.starts_with("http/1.1 500 ") && head.contains("connection: close"), "{head}");
        assert_eq!(victim.rest().await, "");
        let mut victim = door.caller().await;
        victim.ask("/panic-in-body").await;
        while victim.0.read_u8().await.is_ok() {}
        other.ask("/").await;
        other.is_answered(200, "hello").await;
        assert_eq!(door.tally.panics(), 2);
        assert_eq!(door.tally.open(), 1);
    });
}

// ---- answers before the end of a request -------------------------------------------------------------------------

#[test]
fn an_early_answer_arrives_and_the_unread_body_is_never_a_request() {
    with_time_held(async || {
        let door = Door::open();
        let mut caller = door.caller().await;
        let smuggled = "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n".repeat(1000);
        caller.send("POST /refuse HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n").await;
        door.sees(1).await;
        caller.send(&smuggled).await;
        let (head, body) = caller.answer().await;
        assert!(head.starts_with("http/1.1 403 ") && head.contains("connection: close"), "{head}");
        assert_eq!(body, "no");
        let (rest, _) = pass_until(caller.rest()).await;
        assert_eq!(rest, "");
        settle().await;
        assert_eq!(door.seen(), ["/refuse"]);
    });
}

#[test]
fn a_small_unread_body_is_skipped_and_the_connection_goes_on() {
    with_time_held(async || {
        let door = Door::open();
        let mut caller = door.caller().await;
        let body = "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";
        let length = body.len();
        caller
            .send(&format!("POST /refuse HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n{body}"))
            .await;
        caller.is_answered(403, "no").await;
        caller.ask("/next").await;
        caller.is_answered(200, "hello").await;
        assert_eq!(door.seen(), ["/refuse", "/next"]);
    });
}

#[test]
fn a_caller_who_sends_his_whole_request_before_he_reads_gets_his_answer() {
    with_time_held(async || {
        let door = Door::open();
        let mut caller = door.caller().await;
        let length = 20 << 20;
        caller.send(&format!("POST /refuse HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n")).await;
        caller.send(&"x".repeat(length)).await;
        caller.is_answered(403, "no").await;
        // Its end was seen, so nobody waits for more.
        assert_eq!(caller.rest().await, "");
        assert_eq!(door.seen(), ["/refuse"]);
    });
}

/// How long it took until the door had no connection.
async fn until_gone(door: &Door) -> Duration {
    let gone = async {
        while door.tally.open() > 0 {
            yield_now().await;
        }
    };
    pass_until(gone).await.1
}

#[test]
fn a_caller_who_falls_silent_after_his_answer_is_waited_for_five_seconds() {
    with_time_held(async || {
        let door = Door::open();
        let mut caller = door.caller().await;
        caller.send("POST /refuse HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab").await;
        let (rest, _) = pass_until(caller.rest()).await;
        assert!(rest.starts_with("HTTP/1.1 403 "), "{rest}");
        let time = until_gone(&door).await;
        assert!(time <= 6 * SECOND, "{time:?}");
        assert_eq!(door.tally.cuts(Cut::Leftovers), 1);
        assert_eq!(door.seen(), ["/refuse"]);
    });
}

#[test]
fn a_body_is_asked_for_only_when_the_service_wants_it() {
    with_time_held(async || {
        let door = Door::open();
        let head = |target| {
            format!("POST {target} HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n")
        };
        let mut wanted = door.caller().await;
        wanted.send(&head("/upload")).await;
        wanted.is_answered(100, "").await;
        wanted.send("hello").await;
        wanted.is_answered(200, "stored").await;
        wanted.ask("/").await;
        wanted.is_answered(200, "hello").await;
        let mut unwanted = door.caller().await;
        unwanted.send(&head("/refuse")).await;
        let (head, _) = unwanted.answer().await;
        assert!(head.starts_with("http/1.1 403 ") && head.contains("connection: close"), "{head}");
        unwanted.0.shutdown().await.unwrap();
        assert_eq!(unwanted.rest().await, "");
    });
}

#[test]
fn a_request_after_an_unanswered_wish_to_upgrade_is_served() {
    with_time_held(async || {
        let door = Door::open();
        let mut caller = door.caller().await;
        for _ in 0..3 {
            caller.send("GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n").await;
            caller.is_answered(200, "hello").await;
        }
        caller.ask("/empty").await;
        caller.is_answered(200, "").await;
    });
}

#[test]
fn a_long_target_is_answered_414() {
    with_time_held(async || {
        let door = Door::open();
        let mut caller = door.caller().await;
        caller.ask(&format!("/{}", "a".repeat(8 * 1024 - 1))).await;
        caller.is_answered(200, "hello").await;
        caller.ask(&format!("/{}", "a".repeat(8 * 1024))).await;
        let (head, body) = caller.answer().await;
        assert!(head.starts_with("http/1.1 414 ") && head.contains("connection: close"), "{head}");
        assert!(body.contains("\"code\":\"target_too_long\"") && body.ends_with("}\n"), "{body}");
        assert_eq!(caller.rest().await, "");
        assert_eq!(door.seen().len(), 1);
    });
}

#[test]
fn requests_sent_together_are_answered_in_order() {
    with_time_held(async || {
        let door = Door::open();
        let mut caller = door.caller().await;
        let count = Cell::new(0);
        let request = |_| {
            count.set(count.get() + 1);
            format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", count.get())
        };
        caller.send(&(0..50).map(request).collect::<String>()).await;
        for _ in 0..50 {
            caller.is_answered(200, "hello").await;
        }
        let expected: Vec<_> = (1..=50).map(|number| format!("/{number}")).collect();
        assert_eq!(door.seen(), expected);
    });
}

#[test]
fn a_body_that_arrives_behind_another_request_does_not_end_the_connection() {
    with_time_held(async || {
        let door = Door::open();
        let mut caller = door.caller().await;
        let upload = "POST /upload HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n";
        caller.send(&format!("GET / HTTP/1.1\r\nHost: a\r\n\r\n{upload}hello")).await;
        let (head, _) = caller.answer().await;
        assert!(head.starts_with("http/1.1 200 ") && !head.contains("connection: close"), "{head}");
        caller.send("world").await;
        caller.is_answered(200, "stored").await;
        assert_eq!(door.seen(), ["/", "/upload"]);
    });
}
