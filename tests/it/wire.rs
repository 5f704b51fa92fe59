//! HTTP/1.1 by hand: a caller who writes what no client library would, and an upstream that answers what no server
//! library would. The one rule: whatever a test waits for here comes, or the test fails within [`PATIENCE`].

use std::{net::SocketAddr, time::Duration};

use http::HeaderMap;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
    sync::mpsc,
};

use crate::harness::{Answer, World};

/// Far longer than anything here takes.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// What must come soon.
pub(crate) async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(PATIENCE, future).await {
        Ok(value) => value,
        Err(_) => panic!("{what} did not come"),
    }
}

/// One connection of a caller.
pub(crate) struct Wire(BufReader<TcpStream>);

/// The head of an answer.
pub(crate) struct Head {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
}

impl Head {
    fn parse(head: &str) -> Self {
        let mut lines = head.lines();
        let status = lines.next().and_then(|line| line.split(' ').nth(1)?.parse().ok());
        let mut headers = HeaderMap::new();
        for (name, value) in lines.filter_map(|line| line.split_once(':')) {
            headers.append(
                http::HeaderName::from_bytes(name.as_bytes()).unwrap(),
                value.trim().parse().unwrap(),
            );
        }
        Self { status: status.unwrap_or_else(|| panic!("no status line: {head}")), headers }
    }

    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

impl Wire {
    pub(crate) async fn to(address: SocketAddr) -> Self {
        Self(BufReader::new(TcpStream::connect(address).await.unwrap()))
    }

    /// Goes away with a reset instead of an end.
    pub(crate) fn reset(self) {
        rustix::net::sockopt::set_socket_linger(self.0.get_ref(), Some(Duration::ZERO)).unwrap();
    }

    /// Writes bytes as they are; the other side may refuse before it has taken all of them.
    pub(crate) async fn write(&mut self, bytes: &[u8]) -> bool {
        soon("room to write", self.0.write_all(bytes)).await.is_ok()
    }

    /// The next answer's head; None when the connection ended without one.
    pub(crate) async fn head(&mut self) -> Option<Head> {
        let mut head = String::new();
        loop {
            let read = soon("an answer", self.0.read_line(&mut head)).await.unwrap_or(0);
            if read == 0 {
                assert!(head.is_empty(), "the answer broke off: {head}");
                return None;
            }
            if head.ends_with("\r\n\r\n") {
                return Some(Head::parse(&head));
            }
        }
    }

    /// The next answer, read to its end.
    pub(crate) async fn answer(&mut self) -> Option<Answer> {
        let head = self.head().await?;
        let body = match (head.status, head.text("content-length"), head.text("transfer-encoding")) {
            (100..=199 | 204 | 304, _, _) => Vec::new(),
            (_, _, Some("chunked")) => self.chunks().await.expect("the chunked answer ends properly"),
            (_, Some(length), _) => self.bytes(length.parse().unwrap()).await,
            _ => self.rest().await,
        };
        let body = String::from_utf8_lossy(&body).into_owned();
        Some(Answer { status: head.status, headers: head.headers, body })
    }

    pub(crate) async fn bytes(&mut self, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        soon("the body", self.0.read_exact(&mut bytes)).await.unwrap();
        bytes
    }

    /// Waits until something has come, and leaves it.
    pub(crate) async fn peek(&mut self) {
        soon("a beginning", self.0.fill_buf()).await.unwrap();
    }

    /// Everything until the connection ends, a reset being an end too.
    pub(crate) async fn rest(&mut self) -> Vec<u8> {
        self.rest_and_end().await.0
    }

    /// Everything until the connection ends, and how it did: an error is a reset.
    pub(crate) async fn rest_and_end(&mut self) -> (Vec<u8>, std::io::Result<()>) {
        let mut bytes = Vec::new();
        let end = soon("the end of the connection", self.0.read_to_end(&mut bytes)).await;
        (bytes, end.map(drop))
    }

    /// A chunked body, and what came of it when it broke off.
    pub(crate) async fn chunks(&mut self) -> Result<Vec<u8>, Vec<u8>> {
        let mut body = Vec::new();
        loop {
            let mut line = String::new();
            soon("a chunk", self.0.read_line(&mut line)).await.unwrap_or(0);
            let Ok(size) = usize::from_str_radix(line.trim_end(), 16) else { return Err(body) };
            let mut chunk = vec![0; size + 2];
            if soon("a chunk's data", self.0.read_exact(&mut chunk)).await.is_err() {
                return Err(body);
            }
            body.extend_from_slice(&chunk[..size]);
            if size == 0 {
                return Ok(body);
            }
        }
    }

    /// Whether the other side closes without saying more.
    pub(crate) async fn ends(&mut self) -> bool {
        self.rest().await.is_empty()
    }
}

/// Writes one request on a connection of its own and reads its answer; None when there is none.
pub(crate) async fn ask(address: SocketAddr, request: impl AsRef<[u8]>) -> Option<Answer> {
    let mut wire = Wire::to(address).await;
    wire.write(request.as_ref()).await;
    wire.answer().await
}

impl World {
    /// The answer to one request, byte for byte.
    pub(crate) async fn ask(&self, request: impl AsRef<[u8]>) -> Answer {
        let request = request.as_ref();
        let answer = ask(self.proxy, request).await;
        answer.unwrap_or_else(|| panic!("no answer to {}", String::from_utf8_lossy(request)))
    }

    /// How many requests of any kind reached the simulated marketplaces.
    pub(crate) fn arrived(&self) -> usize {
        self.sim.api_calls("*") + self.sim.token_calls("*")
    }
}

/// An upstream that answers every request with the same bytes, whatever they are.
pub(crate) struct Canned {
    pub(crate) address: SocketAddr,
    listener: std::net::TcpListener,
}

impl Canned {
    pub(crate) fn new() -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        Self { address: listener.local_addr().unwrap(), listener }
    }

    /// An app `canned` with a static key, whose API is this upstream.
    pub(crate) fn app(&self) -> String {
        format!(
            "[apps.canned]\nprovider = \"generic\"\ngrant = \"static\"\napi = \"http://{}\"\napi_key = \"key-canned\"\n",
            self.address
        )
    }

    /// Answers, on every connection, each request with `answer`; whether the connection stays open afterwards is said
    /// by `keep`. The heads that arrived can be read from what is returned.
    pub(crate) fn answer(self, answer: &'static [u8], keep: bool) -> mpsc::UnboundedReceiver<String> {
        let (seen, heads) = mpsc::unbounded_channel();
        let listener = TcpListener::from_std(self.listener).unwrap();
        tokio::task::spawn_local(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::task::spawn_local(converse(stream, answer, keep, seen.clone()));
            }
        });
        heads
    }
}

async fn converse(stream: TcpStream, answer: &'static [u8], keep: bool, seen: mpsc::UnboundedSender<String>) {
    let mut stream = BufReader::new(stream);
    let mut head = String::new();
    while stream.read_line(&mut head).await.is_ok_and(|read| read > 0) {
        if !head.ends_with("\r\n\r\n") {
            continue;
        }
        drop(seen.send(std::mem::take(&mut head)));
        if stream.write_all(answer).await.is_err() || !keep {
            return;
        }
    }
}
