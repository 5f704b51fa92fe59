//! A marketplace by hand: its connections lie in the test's hands, byte for byte and frame for frame, with TLS or without.
//! The one rule: nothing is said and no connection ends but as the test says.

use std::{cell::OnceCell, net::SocketAddr, time::Duration};

use tokio::{
    io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use crate::{
    certificates::{Authority, Leaf},
    upstream_pool::frame,
    wire::soon,
};

/// Where the program's connections arrive.
pub(crate) struct Upstream {
    pub(crate) address: SocketAddr,
    socket: std::net::TcpListener,
    listener: OnceCell<TcpListener>,
    tls: Option<TlsAcceptor>,
}

/// How a connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// In order: over TLS a close_notify, then FIN.
    Farewell,
    /// FIN alone.
    Fin,
    /// RST.
    Reset,
}

impl Upstream {
    pub(crate) fn plain() -> Self {
        let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        socket.set_nonblocking(true).unwrap();
        Self { address: socket.local_addr().unwrap(), socket, listener: OnceCell::new(), tls: None }
    }

    /// With a certificate of `authority`.
    pub(crate) fn secured(authority: &Authority, protocols: &[&str]) -> Self {
        let tls = TlsAcceptor::from(authority.server(Leaf::Good, protocols));
        Self { tls: Some(tls), ..Self::plain() }
    }

    /// An app with a static key, whose API is this upstream.
    pub(crate) fn app(&self, name: &str) -> String {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        format!(
            "[apps.{name}]\nprovider = \"generic\"\ngrant = \"static\"\napi = \"{scheme}://{}\"\napi_key = \"key-{name}\"\n",
            self.address
        )
    }

    /// The next connection, its TLS handshake done.
    pub(crate) async fn accept(&self) -> Peer {
        soon("a connection", self.accept_whenever()).await
    }

    /// The same when it is well if none comes.
    pub(crate) async fn accept_whenever(&self) -> Peer {
        loop {
            let stream = self.arrival().await;
            let line: Box<dyn Line> = match &self.tls {
                None => Box::new(stream),
                Some(tls) => match soon("a TLS handshake", tls.accept(stream)).await {
                    Ok(secured) => Box::new(secured),
                    // HTTP/1.1, where HTTP/2 alone is spoken.
                    Err(_) => continue,
                },
            };
            return Peer(BufReader::new(line));
        }
    }

    async fn arrival(&self) -> TcpStream {
        let listening = || TcpListener::from_std(self.socket.try_clone().unwrap()).unwrap();
        let (stream, _) = self.listener.get_or_init(listening).accept().await.unwrap();
        stream.set_nodelay(true).unwrap();
        stream
    }
}

/// The configuration that has `authority` trusted; to stand before the apps.
pub(crate) fn trust(authority: &Authority, folder: &std::path::Path) -> String {
    let file = folder.join("authority.pem");
    std::fs::write(&file, &authority.pem).unwrap();
    format!("[upstream]\nca_file = \"{}\"\n", file.display())
}

/// Bytes both ways, and the TCP connection beneath them.
trait Line: AsyncRead + AsyncWrite + Unpin {
    fn tcp(&self) -> &TcpStream;
}

impl Line for TcpStream {
    fn tcp(&self) -> &TcpStream {
        self
    }
}

impl Line for TlsStream<TcpStream> {
    fn tcp(&self) -> &TcpStream {
        self.get_ref().0
    }
}

/// The marketplace's end of one connection.
pub(crate) struct Peer(BufReader<Box<dyn Line>>);

impl Peer {
    /// The head of the next request; None when the connection ends without a whole one.
    pub(crate) async fn head(&mut self) -> Option<String> {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if soon("a request", self.0.read_line(&mut head)).await.unwrap_or(0) == 0 {
                return None;
            }
        }
        Some(head)
    }

    /// So many bytes; None if they do not all come.
    pub(crate) async fn bytes(&mut self, length: usize) -> Option<Vec<u8>> {
        let mut bytes = vec![0; length];
        soon("bytes", self.0.read_exact(&mut bytes)).await.ok().map(|_| bytes)
    }

    /// Everything until the connection ends, a reset being an end too.
    pub(crate) async fn rest(&mut self) -> Vec<u8> {
        let mut rest = Vec::new();
        drop(soon("the connection's end", self.0.read_to_end(&mut rest)).await);
        rest
    }

    /// Whether all of it could be written.
    pub(crate) async fn say(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        let written = async {
            self.0.write_all(bytes.as_ref()).await?;
            self.0.flush().await
        };
        soon("room to write", written).await.is_ok()
    }

    /// The target of the next request, its body read to the end; None when there is no such request.
    pub(crate) async fn request(&mut self) -> Option<String> {
        let head = self.head().await?;
        let field = |name: &str| {
            head.lines().find_map(|line| line.split_once(": ").filter(|(n, _)| *n == name)).map(|(_, v)| v)
        };
        match (field("content-length"), field("transfer-encoding")) {
            (Some(length), _) => drop(self.bytes(length.parse().unwrap()).await?),
            (None, Some(_)) => self.chunks().await?,
            (None, None) => {}
        }
        Some(head.split(' ').nth(1).unwrap().to_owned())
    }

    async fn chunks(&mut self) -> Option<()> {
        loop {
            let mut line = String::new();
            soon("a chunk", self.0.read_line(&mut line)).await.ok()?;
            let size = usize::from_str_radix(line.trim_end(), 16).ok()?;
            self.bytes(size + 2).await?;
            if size == 0 {
                return Some(());
            }
        }
    }

    /// A whole answer with this body, after which the connection stays.
    pub(crate) async fn answer(&mut self, body: &str) -> bool {
        let length = body.len();
        self.say(format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{body}")).await
    }

    /// Ends the connection from this side only.
    pub(crate) async fn end(&mut self, how: End) {
        let tcp = self.0.get_ref().tcp();
        match how {
            End::Farewell => drop(self.0.shutdown().await),
            End::Fin => drop(rustix::net::shutdown(tcp, rustix::net::Shutdown::Write)),
            End::Reset => rustix::net::sockopt::set_socket_linger(tcp, Some(Duration::ZERO)).unwrap(),
        }
    }

    /// Ends the connection and holds the program to doing the same without another word.
    pub(crate) async fn part(mut self, how: End) {
        self.end(how).await;
        if how != End::Reset {
            assert_eq!(self.rest().await, b"", "more was said on a connection that had ended");
        }
    }

    /// From now on in frames of HTTP/2.
    pub(crate) async fn greet(mut self) -> Frames {
        let preface = self.bytes(24).await.unwrap();
        assert!(preface.starts_with(b"PRI * HTTP/2.0"));
        // A hundred streams at once.
        self.say(frame(4, 0, 0, &[0, 3, 0, 0, 0, 100])).await;
        Frames(self)
    }
}

/// HTTP/2 by hand.
pub(crate) struct Frames(pub(crate) Peer);

/// One frame (RFC 9113 §4.1).
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) stream: u32,
    pub(crate) payload: Vec<u8>,
}

impl Frame {
    pub(crate) const DATA: u8 = 0;
    pub(crate) const HEADERS: u8 = 1;
    pub(crate) const RST_STREAM: u8 = 3;
    const SETTINGS: u8 = 4;
    const PING: u8 = 6;
    const ACK: u8 = 1;

    /// Whether it is the last one of its stream's direction.
    pub(crate) fn ends_stream(&self) -> bool {
        matches!(self.kind, Self::DATA | Self::HEADERS) && self.flags & 1 == 1
    }

    /// The code of a RST_STREAM.
    pub(crate) fn code(&self) -> Option<u8> {
        (self.kind == Self::RST_STREAM).then(|| self.payload[3])
    }
}

impl Frames {
    /// The next frame of a stream; None at the connection's end. What concerns the connection alone is seen to.
    pub(crate) async fn next(&mut self) -> Option<Frame> {
        loop {
            let head = self.0.bytes(9).await?;
            let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
            let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
            let payload = self.0.bytes(length).await?;
            let frame = Frame { kind: head[3], flags: head[4], stream, payload };
            match frame.kind {
                Frame::SETTINGS | Frame::PING if frame.flags & Frame::ACK == 0 => {
                    self.acknowledge(frame).await;
                }
                Frame::DATA | Frame::HEADERS | Frame::RST_STREAM => return Some(frame),
                _ => {}
            }
        }
    }

    async fn acknowledge(&mut self, Frame { kind, payload, .. }: Frame) {
        let payload = if kind == Frame::PING { payload } else { Vec::new() };
        self.0.say(frame(kind, Frame::ACK, 0, &payload)).await;
    }

    /// The stream of the next request, which must be the next thing that happens to any stream.
    pub(crate) async fn request(&mut self) -> u32 {
        let frame = self.next().await.expect("the connection goes on");
        assert_eq!(frame.kind, Frame::HEADERS, "{frame:?}");
        frame.stream
    }

    /// The head of an answer, with a length below a hundred or none.
    pub(crate) async fn head(&mut self, stream: u32, length: Option<usize>) {
        // RFC 7541: `:status: 200` is entry 8, `content-length` the name of entry 28.
        let mut block = vec![0x88];
        if let Some(length) = length {
            let digits = length.to_string();
            block.extend([0x0f, 28 - 15, digits.len() as u8]);
            block.extend(digits.as_bytes());
        }
        self.0.say(frame(Frame::HEADERS, 4, stream, &block)).await;
    }

    pub(crate) async fn data(&mut self, stream: u32, data: &str, last: bool) {
        self.0.say(frame(Frame::DATA, u8::from(last), stream, data.as_bytes())).await;
    }

    pub(crate) async fn answer(&mut self, stream: u32, body: &str) {
        self.head(stream, Some(body.len())).await;
        self.data(stream, body, true).await;
    }

    pub(crate) async fn reset(&mut self, stream: u32, code: u8) {
        self.0.say(frame(Frame::RST_STREAM, 0, stream, &[0, 0, 0, code])).await;
    }

    /// PUSH_PROMISE of another answer.
    pub(crate) async fn push(&mut self, stream: u32, promised: u32) {
        self.0.say(frame(5, 4, stream, &[&promised.to_be_bytes()[..], &[0x82, 0x84, 0x86]].concat())).await;
    }

    /// GOAWAY without error: streams up to `last` will be answered.
    pub(crate) async fn goaway(&mut self, last: u32) {
        self.0.say(frame(7, 0, 0, &[last.to_be_bytes(), [0; 4]].concat())).await;
    }
}
