//! Callers at work. The one rule: an answer counts as whole when HTTP says that it ended; whether it then was is the check.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, StreamBody, combinators::UnsyncBoxBody};
use hyper::{
    body::{Frame, Incoming},
    client::conn::{http1, http2},
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::Mutex,
    task::{AbortHandle, JoinSet},
};
use tokio_util::sync::CancellationToken;

use super::{
    Plan,
    body::{Check, Pattern},
    errand::{Errand, Kind},
    market::{Left, SELLER},
    report::Counts,
    sellers::{APP, Sellers},
};

/// Longer than any errand takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(45);
/// A credential of the caller's own, which must not get through.
const DECOY: &str = "Bearer of-the-caller";

type Body = UnsyncBoxBody<Bytes, Left>;

/// The door that is knocked at.
#[derive(Clone, Copy)]
pub(super) struct Door {
    address: SocketAddr,
    /// Whether it takes HTTP/2 from the first byte (RFC 9113 §3.3).
    pub(super) speaks_h2: bool,
}

impl Door {
    pub(super) async fn find(address: SocketAddr) -> Self {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await.unwrap();
        let mut frame = [0; 9];
        // SETTINGS come first; whoever does not speak it says so in HTTP/1.1 or closes.
        let speaks_h2 = stream.read_exact(&mut frame).await.is_ok() && frame[3] == 4;
        Self { address, speaks_h2 }
    }
}

/// All callers.
pub(super) struct Callers(JoinSet<()>);

impl Callers {
    pub(super) fn begin(
        plan: &Plan,
        door: &Door,
        sellers: &Arc<Sellers>,
        counts: &Arc<Mutex<Counts>>,
        stop: &CancellationToken,
    ) -> Self {
        let mut callers = JoinSet::new();
        for number in 0..plan.callers as u64 {
            let caller = Caller {
                door: *door,
                over_h2: door.speaks_h2 && number % 2 == 1,
                line: None,
                dice: StdRng::seed_from_u64(plan.seed << 32 | number),
                // Numbers that no other caller gives.
                next: number << 40,
                sellers: sellers.clone(),
            };
            callers.spawn(caller.work(counts.clone(), stop.clone()));
        }
        Self(callers)
    }

    pub(super) async fn end(self) {
        self.0.join_all().await;
    }
}

/// One caller, with a connection that is kept as long as it holds.
struct Caller {
    door: Door,
    over_h2: bool,
    line: Option<Line>,
    dice: StdRng,
    next: u64,
    sellers: Arc<Sellers>,
}

/// A connection to the door. It is cut when it is dropped.
struct Line {
    sender: Sender,
    driver: AbortHandle,
}

enum Sender {
    H1(http1::SendRequest<Body>),
    H2(http2::SendRequest<Body>),
}

impl Drop for Line {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

/// What came of an errand.
pub(super) enum Outcome {
    /// The answer ended well, and so much of it was right.
    Ended { status: u16, is_whole: bool, is_sellers: bool, bytes: u64 },
    /// A refusal, ours or the marketplace's.
    Refused { status: u16, code: String, detail: String },
    /// The answer was broken off.
    Broken { status: u16 },
    /// The caller left, as it was to.
    Left,
    /// The connection ended before an answer.
    NoAnswer,
    /// Nothing happened any more.
    Stuck,
}

impl Caller {
    async fn work(mut self, counts: Arc<Mutex<Counts>>, stop: CancellationToken) {
        while !stop.is_cancelled() {
            self.next += 1;
            let seller = &self.sellers.names[self.dice.random_range(0..self.sellers.names.len())];
            let errand = Errand::draw(&mut self.dice, seller, self.next);
            let outcome = tokio::time::timeout(PATIENCE, self.run(&errand)).await.unwrap_or(Outcome::Stuck);
            if !matches!(outcome, Outcome::Ended { .. } | Outcome::Refused { .. }) {
                self.line = None;
            }
            counts.lock().await.count(&errand, self.over_h2, &outcome);
        }
    }

    async fn run(&mut self, errand: &Errand) -> Outcome {
        let Some(response) = self.ask(errand).await else {
            return if errand.is_by_caller() { Outcome::Left } else { Outcome::NoAnswer };
        };
        let status = response.status().as_u16();
        if status != 200 {
            return refused(response).await;
        }
        let is_sellers = response.headers().get(SELLER).is_some_and(|seller| *seller == *errand.seller);
        read(errand, response.into_body(), is_sellers).await
    }

    async fn ask(&mut self, errand: &Errand) -> Option<Response<Incoming>> {
        let request = self.request(errand);
        let mut line = match self.line.take() {
            Some(line) if line.is_open() => line,
            _ => self.connect().await,
        };
        let response = line.send(request).await;
        self.line = Some(line);
        response
    }

    async fn connect(&mut self) -> Line {
        let stream = TcpStream::connect(self.door.address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        // Half of them leave with an RST, half with a FIN.
        if self.dice.random_bool(0.5) {
            stream.set_zero_linger().unwrap();
        }
        let stream = TokioIo::new(stream);
        if self.over_h2 {
            let (sender, connection) = http2::handshake(TokioExecutor::new(), stream).await.unwrap();
            let driver = tokio::spawn(async move { drop(connection.await) }).abort_handle();
            return Line { sender: Sender::H2(sender), driver };
        }
        let (sender, connection) = http1::handshake(stream).await.unwrap();
        let driver = tokio::spawn(async move { drop(connection.await) }).abort_handle();
        Line { sender: Sender::H1(sender), driver }
    }

    fn request(&mut self, errand: &Errand) -> Request<Body> {
        let target = errand.target(APP);
        let target = if self.over_h2 { format!("http://localhost{target}") } else { target };
        let method = if errand.upload > 0 { "POST" } else { "GET" };
        let mut request =
            Request::builder().method(method).uri(target).header("marketgate-account", &errand.seller);
        if !self.over_h2 {
            request = request.header("host", "localhost");
        }
        if self.dice.random_bool(0.3) {
            request = request.header("authorization", DECOY);
        }
        if errand.upload > 0 && errand.tells_length() {
            request = request.header("content-length", errand.upload);
        }
        request.body(upload(errand)).unwrap()
    }
}

impl Line {
    fn is_open(&self) -> bool {
        match &self.sender {
            Sender::H1(sender) => !sender.is_closed(),
            Sender::H2(sender) => !sender.is_closed(),
        }
    }

    async fn send(&mut self, request: Request<Body>) -> Option<Response<Incoming>> {
        match &mut self.sender {
            Sender::H1(sender) => {
                sender.ready().await.ok()?;
                sender.send_request(request).await.ok()
            }
            Sender::H2(sender) => {
                sender.ready().await.ok()?;
                sender.send_request(request).await.ok()
            }
        }
    }
}

fn upload(errand: &Errand) -> Body {
    let pattern = Pattern::of(&errand.seller, errand.number);
    let leaves = errand.breaks_at.filter(|_| errand.kind == Kind::CallerLeavesUpload);
    let pieces = pattern.pieces(leaves.unwrap_or(errand.upload)).map(|piece| Ok(Frame::data(piece)));
    let pieces = pieces.chain(leaves.map(|_| Err(Left)));
    // Handed over one by one, so that what is before a break leaves.
    let body = StreamBody::new(futures_util::stream::unfold(pieces, |mut pieces| async move {
        tokio::task::yield_now().await;
        pieces.next().map(|piece| (piece, pieces))
    }));
    if errand.upload == 0 {
        return http_body_util::Empty::new().map_err(|never| match never {}).boxed_unsync();
    }
    body.boxed_unsync()
}

async fn read(errand: &Errand, mut body: Incoming, is_sellers: bool) -> Outcome {
    let mut check = Check::new(Pattern::of(&errand.seller, errand.number));
    let leaves = errand.breaks_at.filter(|_| errand.kind == Kind::CallerLeavesDownload);
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame else { return Outcome::Broken { status: 200 } };
        if let Some(piece) = frame.data_ref() {
            check.take(piece);
        }
        if leaves.is_some_and(|leaves| check.read > leaves) {
            return Outcome::Left;
        }
    }
    let is_whole = check.is_whole(errand.download);
    Outcome::Ended { status: 200, is_whole, is_sellers, bytes: check.read }
}

/// The code of a problem of ours; the marketplace's own refusals have none.
async fn refused(response: Response<Incoming>) -> Outcome {
    let status = response.status().as_u16();
    let Ok(body) = response.into_body().collect().await else { return Outcome::Broken { status } };
    let problem: serde_json::Value = serde_json::from_slice(&body.to_bytes()).unwrap_or_default();
    let code = problem["code"].as_str().unwrap_or("the marketplace's").to_owned();
    let detail = problem["detail"].as_str().unwrap_or_default().to_owned();
    Outcome::Refused { status, code, detail }
}
