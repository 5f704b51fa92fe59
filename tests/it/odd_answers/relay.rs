//! What stands before the token endpoint and rewrites its answers: it reads a call whole, has the server answer it, and says
//! what the row of the table says. It remembers what every seller's calls showed and what they were told.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use serde_json::Value;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use tokio_rustls::TlsAcceptor;

use super::{
    reply::{Ending, Reply, Tokens},
    rows::Row,
};

/// What was seen of one row's seller.
#[derive(Debug, Default, Clone)]
pub(super) struct Seen {
    pub(super) calls: usize,
    /// The odd answer said the whole successor.
    pub(super) successor: bool,
    /// Calls that showed an older refresh token than one that had been said whole.
    pub(super) outdated: usize,
    /// The refresh token that was said last.
    newest: Option<String>,
    armed: bool,
}

#[derive(Clone)]
pub(super) struct Relay(Arc<Inner>);

struct Inner {
    rows: Arc<Vec<Row>>,
    server: SocketAddr,
    seen: Mutex<HashMap<usize, Seen>>,
}

impl Relay {
    pub(super) fn new(rows: Arc<Vec<Row>>, server: SocketAddr) -> Self {
        Self(Arc::new(Inner { rows, server, seen: Mutex::default() }))
    }

    pub(super) fn row(&self, number: usize) -> &Row {
        &self.0.rows[number]
    }

    fn all_seen(&self) -> MutexGuard<'_, HashMap<usize, Seen>> {
        self.0.seen.lock().unwrap()
    }

    pub(super) fn seen(&self, number: usize) -> Seen {
        self.all_seen().get(&number).cloned().unwrap_or_default()
    }

    /// The next answer to this row's seller is the odd one.
    pub(super) fn arm(&self, number: usize) {
        self.all_seen().entry(number).or_default().armed = true;
    }

    pub(super) fn serve(&self, socket: std::net::TcpListener, tls: Option<Arc<rustls::ServerConfig>>) {
        let (listener, relay) = (TcpListener::from_std(socket).unwrap(), self.clone());
        let acceptor = tls.map(TlsAcceptor::from);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                stream.set_nodelay(true).unwrap();
                tokio::spawn(relay.clone().converse(stream, acceptor.clone()));
            }
        });
    }

    async fn converse(self, mut stream: TcpStream, acceptor: Option<TlsAcceptor>) -> Option<()> {
        let Some(acceptor) = acceptor else {
            let reply = self.answer(&mut stream).await?;
            send(&mut stream, &reply).await?;
            match reply.ending {
                Ending::Reset => reset(&stream),
                Ending::Close | Ending::Vanish => end(&mut stream).await,
            }
            return Some(());
        };
        let mut stream = acceptor.accept(stream).await.ok()?;
        let reply = self.answer(&mut stream).await?;
        send(&mut stream, &reply).await?;
        match reply.ending {
            // `shutdown` of a TLS stream is close_notify.
            Ending::Close => {
                stream.shutdown().await.ok()?;
                end(stream.get_mut().0).await;
            }
            Ending::Vanish => end(stream.get_mut().0).await,
            Ending::Reset => reset(stream.get_ref().0),
        }
        Some(())
    }

    async fn answer(&self, stream: &mut (impl AsyncRead + Unpin)) -> Option<Reply> {
        let request = Request::read(stream).await?;
        let number: usize = request.path.split('/').nth(1)?.parse().ok()?;
        let shown = form_value(&request.body, "refresh_token")?;
        {
            let mut all = self.all_seen();
            let seen = all.entry(number).or_default();
            seen.calls += 1;
            seen.outdated += usize::from(seen.newest.as_ref().is_some_and(|newest| *newest != shown));
        }
        let (status, body) = self.ask(&request, number).await?;
        let granted: Value = serde_json::from_slice(&body).unwrap_or_default();
        let (access, refresh) = (granted["access_token"].as_str(), granted["refresh_token"].as_str());
        let mut all = self.all_seen();
        let seen = all.entry(number).or_default();
        let (Some(access), Some(refresh)) = (access, refresh) else { return Some(Reply::json(status, body)) };
        if !std::mem::take(&mut seen.armed) {
            seen.newest = Some(refresh.to_owned());
            return Some(Reply::json(status, body));
        }
        let tokens = Tokens { access: access.to_owned(), refresh: refresh.to_owned(), shown };
        let row = &self.0.rows[number];
        let reply = (row.reply)(&tokens);
        if row.says_successor(&reply, &tokens) {
            (seen.successor, seen.newest) = (true, Some(refresh.to_owned()));
        } else {
            seen.newest = None;
        }
        Some(reply)
    }

    /// The server's own answer.
    async fn ask(&self, request: &Request, number: usize) -> Option<(u16, Vec<u8>)> {
        let path = request.path.strip_prefix(&format!("/{number}"))?;
        let mut head = format!("POST {path} HTTP/1.1\r\nhost: sim\r\nconnection: close\r\n");
        for name in ["content-type", "authorization", "content-length"] {
            if let Some(value) = request.headers.get(name) {
                head += &format!("{name}: {value}\r\n");
            }
        }
        let mut server = TcpStream::connect(self.0.server).await.ok()?;
        server.write_all(&[head.as_bytes(), b"\r\n", &request.body].concat()).await.ok()?;
        let mut answer = Vec::new();
        server.read_to_end(&mut answer).await.ok()?;
        let end = answer.windows(4).position(|four| four == b"\r\n\r\n")?;
        let status = std::str::from_utf8(&answer[9..12]).ok()?.parse().ok()?;
        Some((status, answer[end + 4..].to_vec()))
    }
}

/// A call, read to its end.
struct Request {
    path: String,
    headers: HashMap<String, String>,
    body: Vec<u8>,
}

impl Request {
    async fn read(stream: &mut (impl AsyncRead + Unpin)) -> Option<Self> {
        let mut bytes = Vec::new();
        let end = loop {
            if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
                break end;
            }
            if stream.read_buf(&mut bytes).await.ok()? == 0 {
                return None;
            }
        };
        let head = String::from_utf8(bytes[..end].to_vec()).ok()?;
        let mut lines = head.lines();
        let path = lines.next()?.split(' ').nth(1)?.to_owned();
        let field = |line: &str| {
            let (name, value) = line.split_once(':')?;
            Some((name.to_ascii_lowercase(), value.trim().to_owned()))
        };
        let headers: HashMap<String, String> = lines.filter_map(field).collect();
        let length: usize = headers.get("content-length")?.parse().ok()?;
        let mut body = bytes.split_off(end + 4);
        while body.len() < length {
            if stream.read_buf(&mut body).await.ok()? == 0 {
                return None;
            }
        }
        Some(Self { path, headers, body })
    }
}

fn form_value(body: &[u8], name: &str) -> Option<String> {
    let mut pairs = url::form_urlencoded::parse(body);
    pairs.find(|(known, _)| known == name).map(|(_, value)| value.into_owned())
}

async fn send(stream: &mut (impl AsyncWrite + Unpin), reply: &Reply) -> Option<()> {
    for piece in reply.pieces() {
        stream.write_all(piece).await.ok()?;
        stream.flush().await.ok()?;
    }
    Some(())
}

/// Ends the connection in TCP's order: what was written arrives.
async fn end(stream: &mut TcpStream) {
    let _ = stream.shutdown().await;
    let mut rest = [0; 1024];
    while stream.read(&mut rest).await.is_ok_and(|read| read > 0) {}
}

/// Ends it with a reset. On Linux what has arrived before a reset can still be read.
fn reset(stream: &TcpStream) {
    rustix::net::sockopt::set_socket_linger(stream, Some(Duration::ZERO)).unwrap();
}
