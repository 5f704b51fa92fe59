//! Ordinary callers: each asks, reads the answer, rests for a moment, and asks again.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinSet,
    time::{sleep, timeout},
};

use crate::{load, proxies::Running};

const CALLERS: usize = 8;
const REST: Duration = Duration::from_millis(10);
/// After so long a caller gives up, and asks anew.
const PATIENCE: Duration = Duration::from_secs(5);

/// What they saw.
#[derive(Default)]
pub(crate) struct Seen {
    latencies: Vec<Duration>,
    pub(crate) failed: usize,
    /// The slowest answer of `/livez`; None where there is none.
    pub(crate) livez: Option<Duration>,
}

impl Seen {
    pub(crate) fn asked(&self) -> usize {
        self.latencies.len()
    }

    /// A percentile, in milliseconds. A failure counts with the time it took.
    pub(crate) fn at(&self, percent: usize) -> f64 {
        let index = (self.latencies.len() * percent / 100).min(self.latencies.len().saturating_sub(1));
        self.latencies.get(index).map_or(f64::NAN, |latency| latency.as_secs_f64() * 1e3)
    }
}

/// Asks for so long.
pub(crate) async fn ask_for(running: &Running, time: Duration) -> Seen {
    let (end, mut callers, mut all) = (Instant::now() + time, JoinSet::new(), Seen::default());
    for _ in 0..CALLERS {
        callers.spawn_local(caller(running.address, format!("/api/{}", load::SMALL), end));
    }
    let mut prober = JoinSet::new();
    if let Some(admin) = running.admin {
        prober.spawn_local(caller(admin, "/livez".to_owned(), end));
    }
    while let Some(seen) = callers.join_next().await {
        let seen = seen.unwrap();
        all.latencies.extend(seen.latencies);
        all.failed += seen.failed;
    }
    all.latencies.sort();
    while let Some(seen) = prober.join_next().await {
        all.livez = seen.unwrap().latencies.into_iter().max();
    }
    all
}

async fn caller(to: SocketAddr, path: String, end: Instant) -> Seen {
    let (mut seen, mut connection) = (Seen::default(), None);
    while Instant::now() < end {
        let began = Instant::now();
        let outcome = timeout(PATIENCE, exchange(&mut connection, to, &path)).await;
        seen.latencies.push(began.elapsed());
        if !matches!(outcome, Ok(Some(()))) {
            (connection, seen.failed) = (None, seen.failed + 1);
        }
        sleep(REST).await;
    }
    seen
}

/// None: it was not answered with 200.
async fn exchange(connection: &mut Option<TcpStream>, to: SocketAddr, path: &str) -> Option<()> {
    if connection.is_none() {
        let stream = TcpStream::connect(to).await.ok()?;
        stream.set_nodelay(true).ok()?;
        *connection = Some(stream);
    }
    let stream = connection.as_mut()?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
    stream.write_all(request.as_bytes()).await.ok()?;
    let (mut answer, mut buffer) = (Vec::new(), [0; 4096]);
    loop {
        let read = stream.read(&mut buffer).await.ok().filter(|read| *read > 0)?;
        answer.extend_from_slice(&buffer[..read]);
        let text = String::from_utf8_lossy(&answer);
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let head = head.to_ascii_lowercase();
        let length = head.split("content-length: ").nth(1)?.split("\r\n").next()?.parse::<usize>().ok()?;
        if body.len() >= length {
            return head.starts_with("http/1.1 200").then_some(());
        }
    }
}
