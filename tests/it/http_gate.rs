//! The gate before hyper, from outside: what is refused, what passes, and that a refused request reaches nobody.

use std::{
    cell::RefCell,
    collections::VecDeque,
    convert::Infallible,
    io,
    pin::Pin,
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    task::{Context, Poll, Wake, Waker},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use marketgate::{
    config::settings,
    http::{
        gate::{Framing, Gate, Limits, Refusal, Stage, Violation},
        listener::{ListenerLimits, serve},
        problem::Problem,
        socket::Stream,
        tally::Tally,
    },
};
use proptest::prelude::*;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf},
    net::{TcpListener, TcpStream},
    task::LocalSet,
};
use tokio_util::sync::CancellationToken;

use Violation::*;

const HEAD_LIMIT: usize = 16 * 1024;
const FIELD_LIMIT: usize = 100;
const LIMITS: Limits = Limits { head: HEAD_LIMIT, target: 8192, fields: FIELD_LIMIT };

// ---- what is sent ----------------------------------------------------------------------------------------------

const GOOD: &[u8] = b"GET /good HTTP/1.1\r\nHost: a\r\n\r\n";

/// A head with these lines after `Host`.
fn with(lines: &[u8]) -> Vec<u8> {
    [b"POST /bad HTTP/1.1\r\nHost: a\r\n", lines, b"\r\n\r\n"].concat()
}

/// A head with this request line.
fn line(line: &[u8]) -> Vec<u8> {
    [line, b"\r\nHost: a\r\n\r\n"].concat()
}

/// A head with this value of `Host`.
fn host(value: &[u8]) -> Vec<u8> {
    [b"GET /bad HTTP/1.1\r\nHost: ", value, b"\r\n\r\n"].concat()
}

/// A request with these bytes as its chunked body.
fn chunked(body: &[u8]) -> Vec<u8> {
    [b"POST /bad HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n", body].concat()
}

/// Heads that must be answered 400 and reach nobody.
fn refused_heads() -> Vec<(Vec<u8>, Violation)> {
    let mut cases = Vec::new();
    let mut refuse = |violation, streams: Vec<Vec<u8>>| {
        cases.extend(streams.into_iter().map(|stream| (stream, violation)));
    };
    refuse(
        BareLf,
        vec![
            b"GET /bad HTTP/1.1\nHost: a\r\n\r\n".into(),
            b"GET /bad HTTP/1.1\r\nHost: a\n\r\n".into(),
            b"GET /bad HTTP/1.1\r\nHost: a\r\n\n".into(),
            b"GET /bad HTTP/1.1\nHost: a\n\n".into(),
            b"\nGET /bad HTTP/1.1\r\nHost: a\r\n\r\n".into(),
            b"GET /bad\nHost: a\r\n\r\n".into(),
            b"GET\n/bad HTTP/1.1\r\nHost: a\r\n\r\n".into(),
            with(b"X: a\nTransfer-Encoding: chunked"),
            with(b"X: a\n"),
            with(b"X\nY: a"),
            with(b"Content-Length: 5\n"),
        ],
    );
    refuse(
        BareCr,
        vec![
            b"GET /bad HTTP/1.1\rHost: a\r\n\r\n".into(),
            b"GET /bad HTTP/1.1\r\rHost: a\r\n\r\n".into(),
            with(b"X: a\rb"),
            with(b"X: a\r\rb"),
            with(b"X: a\rTransfer-Encoding: chunked"),
            b"GET /bad HTTP/1.1\r\nHost: a\r\n\rX".into(),
            b"GET /bad HTTP/1.1\r\nHost: a\r\n\r\r\n".into(),
            b"\rGET /bad HTTP/1.1\r\nHost: a\r\n\r\n".into(),
        ],
    );
    refuse(
        LeadingBlank,
        vec![
            b" GET /bad HTTP/1.1\r\nHost: a\r\n\r\n".into(),
            b"\tGET /bad HTTP/1.1\r\nHost: a\r\n\r\n".into(),
            b"\r\n\r\nGET /bad HTTP/1.1\r\nHost: a\r\n\r\n".into(),
            b"\r\n GET /bad HTTP/1.1\r\nHost: a\r\n\r\n".into(),
        ],
    );
    refuse(
        Method,
        vec![
            line(b"G@T /bad HTTP/1.1"),
            line(b"GET\t/bad HTTP/1.1"),
            line(b"G\0T /bad HTTP/1.1"),
            line(b"G\xc3\xa9T /bad HTTP/1.1"),
            line(b"GET: /bad HTTP/1.1"),
            line(b"{} /bad HTTP/1.1"),
            line(b"ABCDEFGHIJKLMNOPQRSTUVWXYZABCDEFG /bad HTTP/1.1"),
            b"GET\r\nHost: a\r\n\r\n".into(),
        ],
    );
    refuse(Tls, vec![b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".into()]);
    refuse(Http2, vec![b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".into()]);
    refuse(
        Connect,
        vec![
            line(b"CONNECT a.example:443 HTTP/1.1"),
            line(b"CONNECT / HTTP/1.1"),
            line(b"CONNECT /a HTTP/1.0"),
        ],
    );
    refuse(
        TargetForm,
        vec![
            line(b"GET https://a.example/ HTTP/1.1"),
            line(b"GET http://u:p@a.example/ HTTP/1.1"),
            line(b"GET http:///x HTTP/1.1"),
            line(b"GET http://a.example HTTP/1.1"),
            line(b"GET http://a.example:x/ HTTP/1.1"),
            line(b"GET http//a.example/ HTTP/1.1"),
            line(b"PRIX * HTTP/1.1"),
            line(b"GET a.example:80 HTTP/1.1"),
            line(b"OPTIONS * HTTP/1.1"),
            line(b"GET bad HTTP/1.1"),
            line(b"GET ?q HTTP/1.1"),
            line(b"GET \\bad HTTP/1.1"),
            line(b"GET  /bad HTTP/1.1"),
            line(b"GET HTTP/1.1"),
        ],
    );
    refuse(
        TargetCharacter,
        vec![
            line(b"GET /bad#part HTTP/1.1"),
            line(b"GET /bad# HTTP/1.1"),
            line(b"GET /#@evil/ HTTP/1.1"),
            line(b"GET /b\xc3\xa4d HTTP/1.1"),
            line(b"GET /\xff HTTP/1.1"),
            line(b"GET /b\0d HTTP/1.1"),
            line(b"GET /b\td HTTP/1.1"),
            line(b"GET /b\x7fd HTTP/1.1"),
            line(b"GET /b\x0bd HTTP/1.1"),
        ],
    );
    refuse(
        Version,
        vec![
            line(b"GET /bad"),
            line(b"GET /bad "),
            line(b"GET /bad HTTP/1.2"),
            line(b"GET /bad HTTP/0.9"),
            line(b"GET /bad HTTP/2.0"),
            line(b"GET /bad HTTP/1"),
            line(b"GET /bad HTTP/1."),
            line(b"GET /bad HTTP/1.10"),
            line(b"GET /bad HTTP/1.1 "),
            line(b"GET /bad  HTTP/1.1"),
            line(b"GET /bad http/1.1"),
            line(b"GET /bad HTTPS/1.1"),
            line(b"GET /bad bad HTTP/1.1"),
            line(b"GET /bad HTTP/1.1\t"),
            line(b"GET /bad \xff"),
        ],
    );
    refuse(
        Folding,
        vec![
            with(b"X: a\r\n b"),
            with(b"X: a\r\n\tb"),
            with(b"Transfer-Encoding: chunked\r\n , gzip"),
            with(b" X: a"),
            b"GET /bad HTTP/1.1\r\n Host: a\r\n\r\n".into(),
            b"GET /bad HTTP/1.1\r\n\tX: b\r\nHost: a\r\n\r\n".into(),
            with(b"X: a\r\n "),
        ],
    );
    refuse(
        FieldName,
        vec![
            with(b": a"),
            with(b"X : a"),
            with(b"X\t: a"),
            with(b"Content-Length : 5"),
            with(b"Transfer-Encoding : chunked"),
            with(b"X"),
            with(b"X a: b"),
            with(b"X\0: a"),
            with(b"X\xff: a"),
            with(b"X@y: a"),
            with(b"(x): a"),
            with(b"\"x\": a"),
            with(b"\x0bTransfer-Encoding: chunked"),
            with(&[&[b'x'; 257][..], b": a"].concat()),
        ],
    );
    refuse(
        DisguisedFraming,
        vec![
            with(b"Transfer_Encoding: chunked"),
            with(b"transfer.encoding: chunked"),
            with(b"Content_Length: 5"),
            with(b"CONTENT.LENGTH: 5"),
        ],
    );
    refuse(
        FieldValue,
        vec![
            with(b"X: a\0b"),
            with(b"X: \x01"),
            with(b"X: a\x0bb"),
            with(b"X: a\x0cb"),
            with(b"X: a\x1fb"),
            with(b"X: a\x7fb"),
            with(b"X:\x08"),
            with(b"Content-Length: \x005"),
            with(b"Transfer-Encoding: \x0bchunked"),
            with(b"Transfer-Encoding: chunked\x00"),
        ],
    );
    refuse(
        HostMissing,
        vec![
            b"GET /bad HTTP/1.1\r\n\r\n".into(),
            b"GET /bad HTTP/1.1\r\nHosts: a\r\nX-Host: a\r\n\r\n".into(),
        ],
    );
    refuse(HostRepeated, vec![with(b"Host: a"), with(b"host: b"), with(b"X: y\r\nHOST: a")]);
    refuse(
        Host,
        vec![
            host(b""),
            host(b"  "),
            host(b"a,b"),
            host(b"a b"),
            host(b"user@a"),
            host(b"user:pass@a"),
            host(b"a:80@b"),
            host(b"a/b"),
            host(b"http://a"),
            host(b"a:"),
            host(b"a:x"),
            host(b"a:123456"),
            host(b"a?b"),
            host(b"a#b"),
            host(b"a\\b"),
            host(b"a%2fb"),
            host(b"[::1"),
            host(b"[::1]x"),
            host(b"::1"),
            host(b"\xc3\xa4"),
        ],
    );
    refuse(
        TwoFramings,
        vec![
            with(b"Content-Length: 5\r\nTransfer-Encoding: chunked"),
            with(b"Transfer-Encoding: chunked\r\nContent-Length: 5"),
            with(b"content-length: 0\r\nX: y\r\ntransfer-encoding: chunked"),
            with(b"Transfer-Encoding: chunked\r\nContent-Length: 0"),
            with(b"Content-Length: 5\r\nTransfer-Encoding: identity"),
        ],
    );
    refuse(
        LengthRepeated,
        vec![
            with(b"Content-Length: 5\r\nContent-Length: 5"),
            with(b"Content-Length: 5\r\nContent-Length: 6"),
            with(b"Content-Length: 0\r\ncontent-length: 44"),
        ],
    );
    refuse(
        Length,
        vec![
            with(b"Content-Length: +5"),
            with(b"Content-Length: -5"),
            with(b"Content-Length: 0x5"),
            with(b"Content-Length: 5, 5"),
            with(b"Content-Length: 5,5"),
            with(b"Content-Length: 5 5"),
            with(b"Content-Length:"),
            with(b"Content-Length:  "),
            with(b"Content-Length: 5a"),
            with(b"Content-Length: 5.0"),
            with(b"Content-Length: 1e1"),
            with(b"Content-Length: \"5\""),
            with(b"Content-Length: \xd9\xa5"),
            with(b"Content-Length: 9223372036854775808"),
            with(b"Content-Length: 18446744073709551617"),
            with(b"Content-Length: 99999999999999999999999999"),
        ],
    );
    refuse(
        TransferCoding,
        vec![
            with(b"Transfer-Encoding: gzip, chunked"),
            with(b"Transfer-Encoding: chunked, chunked"),
            with(b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked"),
            with(b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity"),
            with(b"Transfer-Encoding: identity"),
            with(b"Transfer-Encoding: xchunked"),
            with(b"Transfer-Encoding: chunkedx"),
            with(b"Transfer-Encoding: chunked;a=b"),
            with(b"Transfer-Encoding: chunked,"),
            with(b"Transfer-Encoding: ,chunked"),
            with(b"Transfer-Encoding: chunked, gzip"),
            with(b"Transfer-Encoding: chunk ed"),
            with(b"Transfer-Encoding: \"chunked\""),
            with(b"Transfer-Encoding:"),
            with(b"Transfer-Encoding:\r\n chunked"),
            with(b"Transfer-Encoding: cow"),
            with(b"Transfer-Encoding: \xffchunked"),
        ],
    );
    refuse(
        TransferCodingOnHttp10,
        vec![
            b"POST /bad HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n".into(),
            b"POST /bad HTTP/1.0\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n"
                .into(),
        ],
    );
    refuse(
        Expect,
        vec![
            with(b"Expect: 200-ok"),
            with(b"Expect: 100-continue, x"),
            with(b"Expect:"),
            with(b"Expect: 100-continue\r\nExpect: 100-continue"),
            with(b"Expect: 100 continue"),
            with(b"Expect: y 100-continue"),
        ],
    );
    cases
}

/// Bodies that must break off.
fn refused_bodies() -> Vec<(Vec<u8>, Violation)> {
    let long_extension = [b"5;", &[b'x'; 257][..], b"\r\nhello\r\n0\r\n\r\n"].concat();
    let long_trailer = [b"0\r\nX: ", &[b'x'; 8192][..], b"\r\n\r\n"].concat();
    let cases: Vec<(&[u8], Violation)> = vec![
        (b"x\r\n", ChunkSize),
        (b"\r\n", ChunkSize),
        (b"-5\r\nhello\r\n", ChunkSize),
        (b"+5\r\nhello\r\n", ChunkSize),
        (b" 5\r\nhello\r\n", ChunkSize),
        (b"5 \r\nhello\r\n0\r\n\r\n", ChunkSize),
        (b"5 ;a\r\nhello\r\n0\r\n\r\n", ChunkSize),
        (b"0x5\r\nhello\r\n", ChunkSize),
        (b"0_2e\r\n", ChunkSize),
        (b"5\nhello\r\n", ChunkSize),
        (b"5\0\r\nhello\r\n", ChunkSize),
        (b"5,5\r\nhello\r\n", ChunkSize),
        (b"8000000000000000\r\nhello", ChunkSize),
        (b"ffffffffffffffff\r\nhello", ChunkSize),
        (b"00000000000000005\r\nhello\r\n", ChunkSize),
        (b"10000000000000005\r\nhello\r\n", ChunkSize),
        (b"5\rhello\r\n", BareCr),
        (b"5\r\rhello\r\n", BareCr),
        (b"5;a\rb\r\nhello\r\n", BareCr),
        (b"5;a\nb\r\nhello\r\n", ChunkExtension),
        (b"5;\nGET /smuggled HTTP/1.1\r\n", ChunkExtension),
        (b"5;a\0\r\nhello\r\n", ChunkExtension),
        (b"5;a=\x7f\r\nhello\r\n", ChunkExtension),
        (&long_extension, ChunkExtension),
        (b"5\r\nhelloX\r\n0\r\n\r\n", ChunkEnd),
        (b"5\r\nhello\n0\r\n\r\n", ChunkEnd),
        (b"5\r\nhello\r0\r\n\r\n", ChunkEnd),
        (b"5\r\nhello0\r\n\r\n", ChunkEnd),
        (b"5\r\nhell\r\n0\r\n\r\n", ChunkEnd),
        (b"0\r\nX\r\n\r\n", Trailer),
        (b"0\r\n: a\r\n\r\n", Trailer),
        (b"0\r\nX : a\r\n\r\n", Trailer),
        (b"0\r\n X: a\r\n\r\n", Trailer),
        (b"0\r\nX: a\r\n b\r\n\r\n", Trailer),
        (b"0\r\nX: a\n\r\n", Trailer),
        (b"0\r\nX: a\0\r\n\r\n", Trailer),
        (b"0\r\nX: a\r\n\n", Trailer),
        (b"0\r\n\n", Trailer),
        (b"0\r\n\rX", Trailer),
        (b"0\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n", Trailer),
        (&long_trailer, Trailer),
    ];
    cases.into_iter().map(|(body, violation)| (chunked(body), violation)).collect()
}

/// A request as the service sees it: target and body.
type Served = (&'static str, &'static [u8]);

/// Streams that pass, with the requests in them.
fn accepted() -> Vec<(Vec<u8>, Vec<Served>)> {
    let long = [b"M".repeat(32), b" /long HTTP/1.1\r\nHost: a\r\n\r\n".to_vec()].concat();
    vec![
        (GOOD.into(), vec![("/good", b"")]),
        ([b"\r\n", GOOD].concat(), vec![("/good", b"")]),
        ([GOOD, b"\r\n", GOOD].concat(), vec![("/good", b""), ("/good", b"")]),
        (GOOD.repeat(5), vec![("/good", b""); 5]),
        (b"GET / HTTP/1.0\r\n\r\n".into(), vec![("/", b"")]),
        (
            b"GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\nGET /2 HTTP/1.0\r\n\r\n".into(),
            vec![("/", b""), ("/2", b"")],
        ),
        (line(b"GET /a%2Fb;c=d/?q=[1]&r=%23|~ HTTP/1.1"), vec![("/a%2Fb;c=d/?q=[1]&r=%23|~", b"")]),
        (line(b"GET //evil.example/x HTTP/1.1"), vec![("//evil.example/x", b"")]),
        (line(b"OPTIONS /x HTTP/1.1"), vec![("/x", b"")]),
        (line(b"CONNECTED /x HTTP/1.1"), vec![("/x", b"")]),
        (line(b"!#$%&'*+-.^_`|~ /x HTTP/1.1"), vec![("/x", b"")]),
        (long, vec![("/long", b"")]),
        (host(b"\t a.example:8080 \t"), vec![("/bad", b"")]),
        (host(b"[::1]:80"), vec![("/bad", b"")]),
        (with(b"X:"), vec![("/bad", b"")]),
        (with(b"X:a"), vec![("/bad", b"")]),
        (with(b"X: \xff\x80 \t\"quoted, (stuff)\" "), vec![("/bad", b"")]),
        (with(b"Content-Length: 0"), vec![("/bad", b"")]),
        (with(b"Expect: 100-Continue"), vec![("/bad", b"")]),
        ([with(b"Content-Length: 5"), b"hello".to_vec()].concat(), vec![("/bad", b"hello")]),
        (
            [with(b"content-length: \t005 "), b"hello".to_vec(), GOOD.to_vec()].concat(),
            vec![("/bad", b"hello"), ("/good", b"")],
        ),
        (
            [with(b"Content-Length: 31"), GOOD.to_vec(), GOOD.to_vec()].concat(),
            vec![("/bad", GOOD), ("/good", b"")],
        ),
        (chunked(b"0\r\n\r\n"), vec![("/bad", b"")]),
        (chunked(b"5\r\nhello\r\n0\r\n\r\n"), vec![("/bad", b"hello")]),
        (
            [chunked(b"2\r\nhe\r\n00a\r\nllo, world\r\n000\r\n\r\n"), GOOD.to_vec()].concat(),
            vec![("/bad", b"hello, world"), ("/good", b"")],
        ),
        (
            [chunked(b"5;a=\"b c\"\r\n\r\n\r\n\n\r\n0;x\r\nX-Sum: 1\r\nY:\r\n\r\n"), GOOD.to_vec()].concat(),
            vec![("/bad", b"\r\n\r\n\n"), ("/good", b"")],
        ),
        (
            b"POST /te HTTP/1.1\r\nhost: a\r\ntransfer-encoding:CHUNKED \r\n\r\n1\r\nx\r\n0\r\n\r\n".into(),
            vec![("/te", b"x")],
        ),
    ]
}

// ---- hyper behind the gate, fed from memory --------------------------------------------------------------------

/// A connection that delivers one piece at a read, with a pause before each.
struct Pieces {
    pieces: VecDeque<Vec<u8>>,
    pauses: usize,
    sent: Rc<RefCell<Vec<u8>>>,
}

impl Pieces {
    fn new(pieces: impl IntoIterator<Item = Vec<u8>>) -> Self {
        Self { pieces: pieces.into_iter().collect(), pauses: 1, sent: Rc::default() }
    }
}

impl AsyncRead for Pieces {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.pauses > 0 {
            self.pauses -= 1;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        if let Some(mut piece) = self.pieces.pop_front() {
            let rest = piece.split_off(piece.len().min(buf.remaining()));
            buf.put_slice(&piece);
            if !rest.is_empty() {
                self.pieces.push_front(rest);
            }
            // hyper drops a request whose caller hangs up, so the end leaves the service time to answer.
            self.pauses = if self.pieces.is_empty() { 8 } else { 1 };
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Pieces {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.sent.borrow_mut().extend_from_slice(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

impl Stream for Pieces {
    fn end_with_reset(&self, _reset: bool) {}
}

/// A request as a service saw it: target, and the body or that it broke off.
type Seen = (String, Option<Vec<u8>>);

async fn record(
    request: Request<Incoming>,
    seen: Rc<RefCell<Vec<Seen>>>,
    refused: Option<Violation>,
) -> Response<Full<Bytes>> {
    if let Some(violation) = refused {
        return refusal(violation);
    }
    let target = request.uri().to_string();
    let index = seen.borrow().len();
    seen.borrow_mut().push((target, None));
    match request.into_body().collect().await {
        Ok(body) => {
            seen.borrow_mut()[index].1 = Some(body.to_bytes().into());
            Response::new(Full::from("ok"))
        }
        Err(_) => {
            let mut response = Response::new(Full::from("broken"));
            *response.status_mut() = StatusCode::BAD_REQUEST;
            response
        }
    }
}

/// What became of a stream: what the service saw, the answers' bytes, and what was counted.
struct Outcome {
    seen: Vec<Seen>,
    sent: Vec<u8>,
    tally: Arc<Tally>,
}

impl Outcome {
    fn statuses(&self) -> Vec<u16> {
        statuses(&self.sent)
    }
}

fn statuses(sent: &[u8]) -> Vec<u16> {
    let text = String::from_utf8_lossy(sent);
    text.split("HTTP/1.").skip(1).filter_map(|rest| rest.get(2..5)?.parse().ok()).collect()
}

/// What the listener answers in the place of a refused head.
fn refusal(violation: Violation) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::default());
    *response.status_mut() = Problem::refused(violation).code.status();
    response.headers_mut().insert("connection", HeaderValue::from_static("close"));
    response
}

fn through_hyper(pieces: impl IntoIterator<Item = Vec<u8>>) -> Outcome {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let io = Pieces::new(pieces);
    let sent = Rc::clone(&io.sent);
    let tally = Arc::<Tally>::default();
    let seen = Rc::<RefCell<Vec<Seen>>>::default();
    let gate = Gate::new(io, LIMITS, Arc::clone(&tally));
    let progress = gate.progress();
    let service = service_fn(|request| {
        let exchange = progress.begin_exchange();
        let answer = record(request, Rc::clone(&seen), exchange.refusal());
        async move {
            let answer = answer.await;
            drop(exchange);
            Ok::<_, Infallible>(answer)
        }
    });
    let mut builder = http1::Builder::new();
    builder.header_read_timeout(None).max_header_size(HEAD_LIMIT).max_headers(FIELD_LIMIT);
    let _ = runtime.block_on(builder.serve_connection(TokioIo::new(gate), service));
    Outcome { seen: seen.take(), sent: sent.take(), tally }
}

fn bytewise(stream: &[u8]) -> Vec<Vec<u8>> {
    stream.chunks(1).map(<[u8]>::to_vec).collect()
}

fn show(stream: &[u8]) -> String {
    stream[..stream.len().min(200)].escape_ascii().to_string()
}

// ---- tests -----------------------------------------------------------------------------------------------------

#[test]
fn a_malformed_head_is_answered_400_and_reaches_no_service() {
    let cases = refused_heads();
    assert!(cases.len() >= 120, "{} cases", cases.len());
    for (stream, violation) in cases {
        let smuggling = [&stream[..], GOOD].concat();
        for pieces in [vec![stream.clone()], vec![smuggling.clone()], bytewise(&smuggling)] {
            let outcome = through_hyper(pieces);
            assert_eq!(outcome.statuses(), [400], "{}", show(&stream));
            assert_eq!(outcome.seen, [], "{}", show(&stream));
            assert_eq!(outcome.tally.refusals(violation), 1, "{violation:?}: {}", show(&stream));
        }
    }
}

#[test]
fn a_malformed_body_breaks_off_and_nothing_after_it_is_a_request() {
    for (stream, violation) in refused_bodies() {
        let smuggling = [&stream[..], GOOD].concat();
        for pieces in [vec![stream.clone()], vec![smuggling.clone()], bytewise(&smuggling)] {
            let outcome = through_hyper(pieces);
            assert_eq!(outcome.statuses(), [400], "{}", show(&stream));
            assert_eq!(outcome.seen, [("/bad".to_owned(), None)], "{}", show(&stream));
            assert_eq!(outcome.tally.refusals(violation), 1, "{violation:?}: {}", show(&stream));
        }
    }
}

#[test]
fn well_formed_requests_arrive_whole_however_they_are_cut() {
    for (stream, expected) in accepted() {
        let expected: Vec<Seen> =
            expected.into_iter().map(|(target, body)| (target.to_owned(), Some(body.to_vec()))).collect();
        for pieces in [vec![stream.clone()], bytewise(&stream)] {
            let outcome = through_hyper(pieces);
            assert_eq!(outcome.seen, expected, "{}", show(&stream));
            let answered = outcome.statuses().iter().filter(|&&status| status == 200).count();
            assert_eq!(answered, expected.len(), "{}", show(&stream));
        }
    }
}

#[test]
fn requests_before_a_refused_one_are_answered_in_their_turn() {
    for (bad, _) in refused_heads().into_iter().chain(refused_bodies()) {
        let stream = [GOOD, GOOD, &bad, GOOD].concat();
        for pieces in [vec![stream.clone()], bytewise(&stream)] {
            let outcome = through_hyper(pieces);
            assert_eq!(outcome.statuses(), [200, 200, 400], "{}", show(&bad));
            let good: Vec<_> = outcome.seen.iter().filter(|(target, _)| target == "/good").collect();
            assert_eq!(good.len(), 2, "{}", show(&bad));
        }
    }
}

#[test]
fn a_stream_cut_anywhere_meets_the_same_fate() {
    let samples: [&[u8]; 4] = [
        b"POST /bad HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\nhello",
        b"GET /bad HTTP/1.1\r\nHost: a\r\nX: y\n\r\n",
        b"POST /bad HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2;x\r\nhi\r\n0\r\nA: b\r\n\r\nGET / HTTP/1.1\r\n\r\n",
        b"POST /bad HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nA b\r\n\r\n",
    ];
    for stream in samples {
        let whole = through_hyper([stream.to_vec()]);
        for at in 1..stream.len() {
            let (first, second) = stream.split_at(at);
            let cut = through_hyper([first.to_vec(), second.to_vec()]);
            assert_eq!(cut.statuses(), whole.statuses(), "cut at {at}: {}", show(stream));
            assert_eq!(cut.seen, whole.seen, "cut at {at}: {}", show(stream));
        }
    }
}

#[test]
fn limits_of_the_head_are_answered_431() {
    let fields = |count: usize| with(b"X: y\r\n".repeat(count).strip_suffix(b"\r\n").unwrap());
    let length = |length: usize| {
        let empty = with(b"X: ").len();
        with(&[b"X: ", &vec![b'x'; length - empty][..]].concat())
    };
    let fitting = [fields(FIELD_LIMIT - 1), length(HEAD_LIMIT)];
    let beyond = [(fields(FIELD_LIMIT), TooManyFields), (length(HEAD_LIMIT + 1), HeadTooLong)];
    for stream in fitting {
        for pieces in [vec![stream.clone()], bytewise(&stream)] {
            assert_eq!(through_hyper(pieces).statuses(), [200]);
        }
    }
    for (stream, violation) in beyond {
        let stream = [&stream[..], GOOD].concat();
        for pieces in [vec![stream.clone()], bytewise(&stream)] {
            let outcome = through_hyper(pieces);
            assert_eq!(outcome.statuses(), [431], "{violation:?}");
            assert_eq!(outcome.seen, []);
            assert_eq!(outcome.tally.refusals(violation), 1);
        }
    }
}

#[test]
fn nothing_follows_a_request_that_closes_the_connection() {
    for (first, answers) in [
        (with(b"Connection: close"), 1),
        (with(b"Connection: x, Close\r\nConnection: keep-alive"), 1),
        (b"GET /bad HTTP/1.0\r\n\r\n".to_vec(), 1),
        (b"GET /bad HTTP/1.0\r\nConnection: keep-alive, close\r\n\r\n".to_vec(), 1),
    ] {
        let stream = [&first[..], GOOD].concat();
        for pieces in [vec![stream.clone()], bytewise(&stream)] {
            let outcome = through_hyper(pieces);
            assert_eq!(outcome.statuses(), vec![200; answers], "{}", show(&first));
            assert_eq!(outcome.seen.len(), 1, "{}", show(&first));
        }
    }
}

#[test]
fn bytes_sent_together_with_an_upgrade_are_no_request() {
    for upgrade in [
        with(b"Connection: Upgrade\r\nUpgrade: websocket"),
        with(b"Upgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AA"),
        [with(b"Upgrade: h2c\r\nContent-Length: 5"), b"hello".to_vec()].concat(),
    ] {
        let outcome = through_hyper([[&upgrade[..], GOOD].concat()]);
        assert_eq!(outcome.statuses(), [200, 400], "{}", show(&upgrade));
        assert_eq!(outcome.seen.len(), 1, "{}", show(&upgrade));
        assert_eq!(outcome.tally.refusals(AfterLast), 1);
    }
}

fn unsplit(stream: &[u8]) -> Result<Framing, Refusal> {
    split(stream, &[])
}

/// The verdict on a stream judged in pieces, its offset counted from the start.
fn split(stream: &[u8], pieces: &[usize]) -> Result<Framing, Refusal> {
    judge(stream, pieces, |_| {})
}

/// The same, each request answered before the next piece comes.
fn split_and_answered(stream: &[u8], pieces: &[usize]) -> Result<Framing, Refusal> {
    judge(stream, pieces, Framing::all_answered)
}

fn judge(stream: &[u8], pieces: &[usize], between: impl Fn(&mut Framing)) -> Result<Framing, Refusal> {
    let mut framing = Framing::new(LIMITS);
    let mut start = 0usize;
    for size in pieces.iter().chain([&usize::MAX]) {
        let end = start.saturating_add(*size).min(stream.len());
        between(&mut framing);
        let judgement = framing.judge(&stream[start..end]);
        judgement.map_err(|refusal| {
            // Where a body is refused, a phase of it begins with each piece.
            let is_body = refusal.stage == Stage::Body;
            let begins = if is_body { 0 } else { refusal.begins + start - framing.head_length() };
            Refusal { at: refusal.at + start, begins, ..refusal }
        })?;
        start = end;
    }
    Ok(framing)
}

/// Bytes put together from what matters to the grammar, so that many streams get far and some get through.
fn streams() -> impl Strategy<Value = Vec<u8>> {
    let requests = accepted().into_iter().map(|(stream, _)| stream);
    let broken = refused_heads().into_iter().chain(refused_bodies()).map(|(stream, _)| stream);
    let words: Vec<Vec<u8>> = [
        "GET / HTTP/1.1\r\n",
        "POST /x HTTP/1.1\r\n",
        "Host: a\r\n",
        "Content-Length: 3\r\n",
        "abc",
        "Transfer-Encoding: chunked\r\n",
        "Connection: close\r\n",
        "Upgrade: x\r\n",
        "Expect: 100-continue\r\n",
        "\r\n",
        "\r",
        "\n",
        " ",
        ":",
        "3\r\nabc\r\n",
        "0\r\n\r\n",
        "X: y\r\n",
        "5;e\r\n",
        "\0",
        "\u{e9}",
    ]
    .iter()
    .map(|word| word.as_bytes().to_vec())
    .collect();
    let words = prop::sample::select(words);
    let whole = prop::sample::select(requests.chain(broken).collect::<Vec<_>>());
    let noise = prop::collection::vec(any::<u8>(), 0..8);
    prop::collection::vec(prop_oneof![4 => words, 3 => whole, 1 => noise], 0..12)
        .prop_map(|parts| parts.concat())
}

const STAND_IN: &[u8] = b"GET / HTTP/1.1\r\nHost: refused\r\n\r\n";

/// A reader's view of what comes through a gate: bytes until end of file or error, or until a refusal waits for its answer.
fn through_gate(pieces: Vec<Vec<u8>>) -> (Vec<u8>, bool) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let mut gate = Gate::new(Pieces::new(pieces), LIMITS, Arc::default());
        let mut passed = Vec::new();
        let broken = loop {
            match gate.read_buf(&mut passed).await {
                Ok(0) => break false,
                Ok(_) if passed.ends_with(STAND_IN) => break false,
                Ok(_) => {}
                Err(_) => break true,
            }
        };
        (passed, broken)
    })
}

proptest! {
    #[test]
    fn the_verdict_does_not_depend_on_how_a_stream_is_cut(
        stream in streams(),
        pieces in prop::collection::vec(1usize..40, 0..60),
    ) {
        let (whole, cut) = (unsplit(&stream), split(&stream, &pieces));
        prop_assert_eq!(whole.as_ref().err(), cut.as_ref().err());
        if let (Ok(whole), Ok(cut)) = (whole, cut) {
            prop_assert_eq!(whole.stage(), cut.stage());
            prop_assert_eq!(whole.messages(), cut.messages());
        }
    }

    #[test]
    fn whole_heads_and_what_follows_them_pass_unchanged(stream in streams(), size in 1usize..50) {
        let (passed, broken) = through_gate(stream.chunks(size).map(<[u8]>::to_vec).collect());
        match split_and_answered(&stream, &vec![size; stream.len()]) {
            Ok(framing) => prop_assert_eq!(&passed[..], &stream[..stream.len() - framing.head_length()]),
            Err(Refusal { at, stage: Stage::Body, .. }) => {
                prop_assert_eq!(&passed[..], &stream[..at]);
                prop_assert!(broken);
            }
            Err(Refusal { at, .. }) => {
                let good = passed.strip_suffix(STAND_IN).expect("nothing stands for what was refused");
                prop_assert!(stream.starts_with(good) && good.len() <= at);
                prop_assert!(unsplit(good).is_ok_and(|framing| framing.head_length() == 0));
            }
        }
    }

    #[test]
    fn hyper_and_the_gate_see_the_same_requests(stream in streams()) {
        let outcome = through_hyper([stream.clone()]);
        let mut framing = Framing::new(LIMITS);
        let refusal = framing.judge(&stream).err();
        // hyper refuses nothing that the gate lets pass.
        prop_assert_eq!(outcome.seen.len() as u64, framing.messages(), "{:?} {:?}", outcome.statuses(), refusal);
    }
}

/// Asks for bytes so often that everything at hand would have come.
fn read_on(gate: &mut Gate<Pieces>) -> Vec<u8> {
    let mut passed = Vec::new();
    for _ in 0..200 {
        let mut piece = [0; 4096];
        let mut buf = ReadBuf::new(&mut piece);
        let read = Pin::new(&mut *gate).poll_read(&mut Context::from_waker(Waker::noop()), &mut buf);
        if let Poll::Ready(read) = read {
            read.unwrap();
            passed.extend_from_slice(buf.filled());
        }
    }
    passed
}

#[test]
fn of_a_head_behind_a_request_in_flight_one_piece_is_read_until_that_is_answered() {
    let begun = [GOOD, b"GET /next HTTP/1.1\r\nX: "].concat();
    let more = vec![b'a'; 4096];
    let end = b"\r\nHost: a\r\n\r\n".to_vec();
    let mut gate = Gate::new(Pieces::new(vec![begun, more.clone(), end]), LIMITS, Arc::default());
    let mut piece = [0; 256];
    let mut buf = ReadBuf::new(&mut piece);
    let mut context = Context::from_waker(Waker::noop());
    while Pin::new(&mut gate).poll_read(&mut context, &mut buf).is_pending() {}
    assert_eq!(buf.filled(), GOOD);
    let exchange = gate.progress().begin_exchange();
    assert_eq!(read_on(&mut gate), b"");
    assert!(gate.progress().head_memory() < 256, "{}", gate.progress().head_memory());
    let woken = Arc::new(Woken::default());
    let waker = Waker::from(Arc::clone(&woken));
    let read =
        Pin::new(&mut gate).poll_read(&mut Context::from_waker(&waker), &mut ReadBuf::new(&mut [0; 256]));
    assert!(read.is_pending() && !woken.0.load(Relaxed));
    drop(exchange);
    assert!(woken.0.load(Relaxed), "nobody asks for the rest of the head");
    assert_eq!(read_on(&mut gate).len(), "GET /next HTTP/1.1\r\nX: \r\nHost: a\r\n\r\n".len() + more.len());
}

/// Whether a waker was used.
#[derive(Default)]
struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Relaxed);
    }
}

#[test]
fn nothing_is_kept_of_a_head_that_was_refused() {
    let pieces =
        vec![b"GET / HTTP/1.1\r\nX: ".to_vec(), vec![b'a'; 4096], vec![b'a'; 4096], b"\x01".to_vec()];
    let mut gate = Gate::new(Pieces::new(pieces), LIMITS, Arc::default());
    assert_eq!(read_on(&mut gate), STAND_IN);
    assert_eq!(gate.progress().head_memory(), 0);
}

// ---- over sockets ----------------------------------------------------------------------------------------------

#[test]
fn over_sockets_a_refused_stream_is_answered_once_and_the_connection_ends() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    LocalSet::new().block_on(&runtime, async {
        let limits =
            settings::Limits { head: HEAD_LIMIT, headers: FIELD_LIMIT, ..settings::Limits::default() };
        let limits = ListenerLimits::new(&limits, Duration::from_secs(30));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Rc::<RefCell<Vec<Seen>>>::default();
        let recorded = Rc::clone(&seen);
        let service = move |request, _| record(request, Rc::clone(&recorded), None);
        let stop = CancellationToken::new();
        tokio::task::spawn_local(serve(listener, service, limits, stop, Duration::ZERO));
        for (bad, _) in refused_heads() {
            let mut caller = TcpStream::connect(address).await.unwrap();
            caller.write_all(&[GOOD, &bad, GOOD].concat()).await.unwrap();
            let mut answers = Vec::new();
            caller.read_to_end(&mut answers).await.unwrap();
            assert_eq!(statuses(&answers), [200, 400], "{}", show(&bad));
            assert_eq!(seen.take().len(), 1, "{}", show(&bad));
        }
    });
}
