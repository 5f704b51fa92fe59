//! An HTTP/2 upstream that a test plays frame by frame, so that nothing happens but what the test says.

use std::rc::Rc;

use marketgate::{config::settings::UpstreamSettings, provider::HttpUrl};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::{JoinHandle, spawn_local},
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use crate::{
    harness::{Time, World, gate},
    upstream_pool::{
        Authority, Peer as Http1Peer, Sent, TestPool, begin, frame, get, settings, settle, text,
    },
    wire::soon,
};

// Frame types (RFC 9113 §6).
pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const RST_STREAM: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const PING: u8 = 6;
pub(crate) const GOAWAY: u8 = 7;
pub(crate) const WINDOW_UPDATE: u8 = 8;

/// END_STREAM on DATA, ACK on SETTINGS.
pub(crate) const LAST: u8 = 1;

/// SETTINGS_INITIAL_WINDOW_SIZE (RFC 9113 §6.5.2).
pub(crate) const INITIAL_WINDOW: u16 = 4;
/// What a connection begins with, and the most that one who reads is allowed.
pub(crate) const SMALLEST: i64 = 64 << 10;
pub(crate) const LARGEST: i64 = 2 << 20;

/// A piece of a large answer.
pub(crate) static PIECE: [u8; 16 << 10] = [b'x'; 16 << 10];

/// An upstream whose connections the test plays itself.
pub(crate) struct Stage {
    pub(crate) listener: TcpListener,
    pub(crate) acceptor: TlsAcceptor,
    pub(crate) pool: TestPool,
    pub(crate) url: HttpUrl,
    _authority: Authority,
}

impl Stage {
    pub(crate) async fn set(settings: &UpstreamSettings) -> Self {
        Self::speaking(&["h2"], settings).await
    }

    pub(crate) async fn speaking(protocols: &[&str], settings: &UpstreamSettings) -> Self {
        let authority = Authority::new();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("https://localhost:{}", listener.local_addr().unwrap().port());
        let (acceptor, pool) = (authority.acceptor("localhost", protocols), authority.pool(settings));
        Self { listener, acceptor, pool, url: url.parse().unwrap(), _authority: authority }
    }

    /// The next connection, told how many streams it may have; None: nothing of that.
    pub(crate) async fn accept(&self, streams: Option<u8>) -> Peer {
        let stream = self.acceptor.accept(self.listener.accept().await.unwrap().0).await.unwrap();
        let mut peer = Peer { stream };
        peer.stream.read_exact(&mut [0; 24]).await.unwrap();
        peer.allow(streams).await;
        peer
    }

    /// The next connection, over HTTP/1.1.
    pub(crate) async fn accept_http1(&self) -> Http1Peer<TlsStream<TcpStream>> {
        let stream = self.acceptor.accept(self.listener.accept().await.unwrap().0).await.unwrap();
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
        Http1Peer { stream }
    }

    /// Asks for a path in a task of its own.
    pub(crate) fn ask(&self, path: &str) -> JoinHandle<Sent> {
        begin(&self.pool, &self.url, "a", get(path))
    }

    /// An answer that has begun, on a connection whose SETTINGS were acknowledged, and whoever reads it.
    pub(crate) async fn download(&self) -> (Peer, u32, JoinHandle<String>) {
        let asked = self.ask("/large");
        let mut peer = self.accept(Some(100)).await;
        let stream = peer.request().await;
        peer.say(&[frame(SETTINGS, LAST, 0, &[]), frame(HEADERS, 4, stream, &[0x88])]).await;
        (peer, stream, spawn_local(answer_of(asked)))
    }

    /// Nobody connects.
    pub(crate) async fn is_quiet(&self) -> bool {
        tokio::select! {
            biased;
            _ = self.listener.accept() => false,
            () = settle() => true,
        }
    }
}

/// One connection, from the upstream's end.
pub(crate) struct Peer {
    pub(crate) stream: TlsStream<TcpStream>,
}

/// What became of an answer that was sent as fast as it could be.
pub(crate) struct Poured {
    pub(crate) sent: usize,
    pub(crate) windows: Vec<i64>,
    /// What is left of the stream's window.
    pub(crate) credit: i64,
}

pub(crate) struct Frame {
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) stream: u32,
    pub(crate) payload: Vec<u8>,
}

impl Frame {
    /// The window for every stream that it sets.
    pub(crate) fn window(&self) -> Option<i64> {
        let settings = (self.kind == SETTINGS).then(|| self.payload.chunks(6))?;
        let mut windows = settings.filter(|setting| setting[..2] == INITIAL_WINDOW.to_be_bytes());
        windows.next().map(|setting| number(&setting[2..]))
    }
}

pub(crate) fn number(bytes: &[u8]) -> i64 {
    u32::from_be_bytes(bytes.try_into().unwrap()).into()
}

impl Peer {
    pub(crate) async fn say(&mut self, frames: &[Vec<u8>]) {
        self.stream.write_all(&frames.concat()).await.unwrap();
        self.stream.flush().await.unwrap();
    }

    pub(crate) async fn allow(&mut self, streams: Option<u8>) {
        let payload: &[u8] = &streams.map_or(Vec::new(), |streams| vec![0, 3, 0, 0, 0, streams]);
        self.say(&[frame(SETTINGS, 0, 0, payload)]).await;
    }

    /// The next frame; None at the connection's end.
    pub(crate) async fn frame(&mut self) -> Option<Frame> {
        let mut head = [0; 9];
        self.stream.read_exact(&mut head).await.ok()?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut payload = vec![0; length as usize];
        self.stream.read_exact(&mut payload).await.ok()?;
        let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
        Some(Frame { kind: head[3], flags: head[4], stream, payload })
    }

    /// Reads on to the next frame of a kind.
    pub(crate) async fn until(&mut self, kind: u8, flags: u8) -> Frame {
        loop {
            let frame = self.frame().await.expect("the connection ended");
            if (frame.kind, frame.flags & flags) == (kind, flags) {
                return frame;
            }
        }
    }

    /// The stream of the next request.
    pub(crate) async fn request(&mut self) -> u32 {
        self.until(HEADERS, 0).await.stream
    }

    pub(crate) async fn answer(&mut self, stream: u32, body: &str) {
        self.say(&[frame(HEADERS, 4, stream, &[0x88]), frame(DATA, LAST, stream, body.as_bytes())]).await;
    }

    /// Sends an answer as fast as the stream's window lets it, until it was told of `enough` windows, which it acknowledges.
    pub(crate) async fn pour(&mut self, stream: u32, enough: impl Fn(&[i64]) -> bool) -> Poured {
        let (mut credit, mut windows, mut sent) = (SMALLEST, Vec::new(), 0);
        while !enough(&windows) {
            if credit >= PIECE.len() as i64 {
                self.say(&[frame(DATA, 0, stream, &PIECE)]).await;
                credit -= PIECE.len() as i64;
                sent += PIECE.len();
                continue;
            }
            let frame = self.frame().await.expect("the connection ended");
            if let Some(window) = frame.window() {
                credit += window - windows.last().unwrap_or(&SMALLEST);
                windows.push(window);
                self.say(&[self::frame(SETTINGS, LAST, 0, &[])]).await;
            } else if (frame.kind, frame.stream) == (WINDOW_UPDATE, stream) {
                credit += number(&frame.payload);
            }
        }
        Poured { sent, windows, credit }
    }

    /// The highest stream that is still answered, and no error.
    pub(crate) async fn farewell(&mut self, last: u32) {
        self.say(&[frame(GOAWAY, 0, 0, &[last.to_be_bytes(), [0; 4]].concat())]).await;
    }

    /// What kinds of frames come until the connection ends.
    pub(crate) async fn see_the_end(&mut self) -> Vec<u8> {
        let mut kinds = Vec::new();
        while let Some(frame) = self.frame().await {
            kinds.push(frame.kind);
        }
        kinds
    }
}

pub(crate) async fn answer_of(sent: JoinHandle<Sent>) -> String {
    text(sent.await.unwrap().unwrap()).await
}

/// One request, answered; its connection then lies idle.
pub(crate) async fn idle(stage: &Stage) -> Peer {
    let sent = stage.ask("/");
    let mut peer = stage.accept(Some(10)).await;
    let stream = peer.request().await;
    peer.answer(stream, "yes").await;
    assert_eq!(answer_of(sent).await, "yes");
    peer
}

/// The whole program before a marketplace that the test plays.
pub(crate) fn program<F: Future<Output = ()>>(protocols: &[&str], test: impl FnOnce(Rc<World>, Stage) -> F) {
    let authority = Authority::new();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let url = format!("https://localhost:{}", listener.local_addr().unwrap().port());
    let configuration = format!(
        "[upstream]\nca_file = \"{}\"\n[apps.shop]\nprovider = \"generic\"\ngrant = \"static\"\n\
         api = \"{url}\"\napi_key = \"key-x\"\n",
        authority.file()
    );
    gate(Time::Runs, &configuration, |w| async move {
        let (acceptor, pool) = (authority.acceptor("localhost", protocols), authority.pool(&settings()));
        let listener = TcpListener::from_std(listener).unwrap();
        let url = url.parse().unwrap();
        let stage = Stage { listener, acceptor, pool, url, _authority: authority };
        soon("the end of the test", test(w, stage)).await;
    });
}
