//! Callers: keep-alive connections over which requests go one after another. The one rule: every answer is read to its end
//! and must be 200 with as many bytes as were asked for.

use std::{
    net::SocketAddr,
    rc::Rc,
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinSet,
    time::sleep_until,
};

/// Bytes of a small answer.
pub(crate) const SMALL: usize = 1024;
/// Bytes of a large one.
pub(crate) const LARGE: usize = 64 << 20;
/// Callers at once.
pub(crate) const CONNECTIONS: usize = 64;
const STREAMS: usize = 4;

/// Load and upstream on one core, whatever is measured on another.
pub(crate) fn keep_to_first_core() {
    let mut cores = rustix::thread::CpuSet::new();
    cores.set(0);
    // A system that does not allow it makes the figures worse for all alike.
    let _ = rustix::thread::sched_setaffinity(None, &cores);
}

/// One caller's connection.
pub(crate) struct Caller {
    stream: TcpStream,
    request: Vec<u8>,
    buffer: Vec<u8>,
    expected: usize,
}

impl Caller {
    pub(crate) async fn connect(to: SocketAddr, path: &str, expected: usize) -> Self {
        let stream = TcpStream::connect(to).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream, request: request(path), buffer: vec![0; 256 * 1024], expected }
    }

    /// One request and its answer.
    pub(crate) async fn ask(&mut self) {
        self.stream.write_all(&self.request).await.unwrap();
        self.answer().await;
    }

    /// An upload of so many bytes, and its answer.
    async fn upload(&mut self, path: &str, size: usize) {
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/octet-stream\r\nAuthorization: Bearer peers-direct\r\nContent-Length: {size}\r\n\r\n"
        );
        self.stream.write_all(head.as_bytes()).await.unwrap();
        let piece = vec![b'x'; 256 * 1024];
        for _ in 0..size / piece.len() {
            self.stream.write_all(&piece).await.unwrap();
        }
        self.answer().await;
    }

    async fn answer(&mut self) {
        let mut read = 0;
        let end = loop {
            let more = self.stream.read(&mut self.buffer[read..]).await.unwrap();
            assert!(more > 0, "the connection was closed: {}", String::from_utf8_lossy(&self.buffer[..read]));
            read += more;
            if let Some(at) = self.buffer[..read].windows(4).position(|four| four == b"\r\n\r\n") {
                break at + 4;
            }
        };
        let head = std::str::from_utf8(&self.buffer[..end]).unwrap();
        assert!(head.starts_with("HTTP/1.1 200"), "{head}");
        let length = head.lines().filter_map(|line| line.split_once(": "));
        let length = length.filter(|(name, _)| name.eq_ignore_ascii_case("content-length"));
        let length: usize = length.map(|(_, value)| value.parse().unwrap()).next().unwrap();
        assert_eq!(length, self.expected, "{head}");
        let mut left = length - (read - end);
        while left > 0 {
            let more = self.stream.read(&mut self.buffer).await.unwrap();
            assert!(more > 0, "the connection was closed in an answer");
            left -= more;
        }
    }
}

fn request(path: &str) -> Vec<u8> {
    let fields = "Host: localhost\r\nUser-Agent: peers/1\r\nAccept: application/json\r\nAuthorization: Bearer peers-direct\r\n";
    format!("GET {path} HTTP/1.1\r\n{fields}\r\n").into_bytes()
}

/// All connections, as fast as they go, for so long; how many requests were answered.
pub(crate) async fn flat_out(to: SocketAddr, path: &str, time: Duration) -> u64 {
    let until = Instant::now() + time;
    let mut callers = JoinSet::new();
    for _ in 0..CONNECTIONS {
        let path = format!("{path}/{SMALL}");
        callers.spawn_local(async move {
            let mut caller = Caller::connect(to, &path, SMALL).await;
            let mut answered = 0;
            while Instant::now() < until {
                caller.ask().await;
                answered += 1;
            }
            answered
        });
    }
    callers.join_all().await.into_iter().sum()
}

/// Each path is asked for once, over all connections.
pub(crate) async fn once_each(to: SocketAddr, paths: &Rc<[String]>) {
    let mut callers = JoinSet::new();
    for number in 0..CONNECTIONS {
        let paths = Rc::clone(paths);
        callers.spawn_local(async move {
            let mut caller = Caller::connect(to, "/", SMALL).await;
            for path in paths.iter().skip(number).step_by(CONNECTIONS) {
                caller.request = request(path);
                caller.ask().await;
            }
        });
    }
    callers.join_all().await;
}

/// All connections, as fast as they go, for so long, over all paths in turn: with as many paths as connections, each
/// connection keeps to its own. How many requests were answered.
pub(crate) async fn in_turn(to: SocketAddr, paths: &Rc<[String]>, time: Duration) -> u64 {
    let until = Instant::now() + time;
    let mut callers = JoinSet::new();
    for number in 0..CONNECTIONS {
        let paths = Rc::clone(paths);
        callers.spawn_local(async move {
            let mut caller = Caller::connect(to, "/", SMALL).await;
            let (mut turn, mut answered) = (number, 0);
            while Instant::now() < until {
                caller.request = request(&paths[turn % paths.len()]);
                caller.ask().await;
                turn += CONNECTIONS;
                answered += 1;
            }
            answered
        });
    }
    callers.join_all().await.into_iter().sum()
}

/// Requests at a fixed rate; how long each took from the moment it was due.
pub(crate) async fn at_rate(to: SocketAddr, path: &str, per_second: u32, time: Duration) -> Vec<Duration> {
    let (mut callers, begun) = (JoinSet::new(), Instant::now() + Duration::from_millis(50));
    let gap = Duration::from_secs(1) / per_second;
    for number in 0..CONNECTIONS {
        let path = format!("{path}/{SMALL}");
        callers.spawn_local(async move {
            let mut caller = Caller::connect(to, &path, SMALL).await;
            caller.ask().await;
            let mut took = Vec::new();
            let mut due = begun + gap * u32::try_from(number).unwrap();
            while due < begun + time {
                sleep_until(due.into()).await;
                caller.ask().await;
                took.push(due.elapsed());
                due += gap * u32::try_from(CONNECTIONS).unwrap();
            }
            took
        });
    }
    callers.join_all().await.concat()
}

/// Downloads, a few at once; how many bytes.
pub(crate) async fn download(to: SocketAddr, path: &str, times: usize) -> u64 {
    let mut callers = JoinSet::new();
    for _ in 0..STREAMS {
        let path = format!("{path}/{LARGE}");
        callers.spawn_local(async move {
            let mut caller = Caller::connect(to, &path, LARGE).await;
            for _ in 0..times {
                caller.ask().await;
            }
        });
    }
    callers.join_all().await;
    (STREAMS * times * LARGE) as u64
}

/// Uploads, a few at once; how many bytes.
pub(crate) async fn upload(to: SocketAddr, path: &str, times: usize) -> u64 {
    let mut callers = JoinSet::new();
    for _ in 0..STREAMS {
        let path = format!("{path}/{SMALL}");
        callers.spawn_local(async move {
            let mut caller = Caller::connect(to, &path, SMALL).await;
            for _ in 0..times {
                caller.upload(&path, LARGE).await;
            }
        });
    }
    callers.join_all().await;
    (STREAMS * times * LARGE) as u64
}

/// Connections that have asked once and now lie idle.
pub(crate) async fn idle(to: SocketAddr, path: &str, count: usize) -> Vec<Caller> {
    let mut callers = Vec::new();
    for _ in 0..count {
        let mut caller = Caller::connect(to, &format!("{path}/{SMALL}"), SMALL).await;
        caller.buffer = vec![0; 4096];
        caller.ask().await;
        callers.push(caller);
    }
    callers
}
