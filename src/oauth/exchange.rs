//! One HTTP exchange: a request sent once on a connection of its own, its answer read to its end or its bound. What was read
//! before an answer broke off is kept, whatever its framing says of it, and an exchange without an answer says whether the
//! server may have seen the request.

use std::{
    error::Error,
    fmt,
    pin::pin,
    time::{Duration, Instant, SystemTime},
};

use bytes::Bytes;
use http::{
    HeaderMap, HeaderValue, Method, Request, StatusCode, Uri,
    header::{HOST, TRANSFER_ENCODING, USER_AGENT},
};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use tokio::time::{Instant as Deadline, error::Elapsed, timeout, timeout_at};
use tokio_util::{io::InspectReader, task::AbortOnDropHandle};
use zeroize::Zeroizing;

use super::{
    answer::{Answer, coding::LONGEST, has_ended},
    detail,
    tape::Tape,
    token_error::{Class, TokenError},
};
use crate::{
    net::{
        Destination, DialError, Dialer, TlsFault,
        call::{self, Call, Sender},
        is_refused_certificate, speaks_h2,
    },
    provider::HttpUrl,
};

/// Name lookup, TCP, forward proxy and TLS together.
pub(super) const CONNECT_LIMIT: Duration = Duration::from_secs(5);

const PROXY_CREDENTIALS: &str = "the forward proxy wants credentials: write them into upstream.proxy_url";

const OUR_NAME: HeaderValue = HeaderValue::from_static(concat!("marketgate/", env!("CARGO_PKG_VERSION")));

/// Room for nearly every answer.
const USUAL_BODY: usize = 16 * 1024;

/// How long nothing comes behind an answer's end before nothing more is taken to come. A server that sends in pieces what it
/// has made sends the next at once.
const SILENCE: Duration = Duration::from_millis(250);

/// A process that stood still (stopped, frozen, starved) finds that its time is over before it has looked at what came
/// meanwhile: it is given as much to look.
const LAST_LOOK: Duration = Duration::from_millis(50);

/// So many pieces of a body are read in last looks.
const MOST_LATE_FRAMES: usize = 200;

/// A request.
pub(super) struct Exchange<'a> {
    pub method: Method,
    pub url: &'a HttpUrl,
    pub headers: HeaderMap,
    /// Wiped from memory when it was sent.
    pub body: Zeroizing<String>,
    /// From name lookup to the last byte.
    pub limit: Duration,
}

impl Exchange<'_> {
    pub(super) async fn run(self, dialer: &Dialer) -> Result<Received, NoAnswer> {
        let end = Deadline::now() + self.limit;
        let (place, late) = (self.place().to_owned(), self.late());
        let connected = dialer.connect(&Destination::new(self.url), CONNECT_LIMIT.min(self.limit)).await;
        let stream = connected.map_err(|error| NoAnswer::unconnected(&error, &place))?;
        let over_http_2 = speaks_h2(&stream);
        let request = self.request(over_http_2)?;
        let tape = Tape::new(over_http_2);
        let recorder = tape.clone();
        let stream = InspectReader::new(stream, move |piece: &[u8]| recorder.record(piece));
        let call = async {
            if over_http_2 {
                call::over_http_2(stream, request).await
            } else {
                call::over_http_1(stream, request).await
            }
        };
        let Call { response, connection, sender } = match by(end, call).await {
            Ok(Ok(call)) => call,
            Ok(Err(error)) => return Err(NoAnswer::broken(&error, &place, tape.content())),
            Err(_) => return Err(NoAnswer::late(late, tape.content())),
        };
        let mut wire = Wire { tape, connection, _sender: sender, end };
        match response {
            Ok(response) => Ok(Received::read(response, wire, &late).await),
            Err(error) => {
                wire.read_on().await;
                Err(NoAnswer::broken(&error, &place, wire.tape.content()))
            }
        }
    }

    fn place(&self) -> &str {
        self.url.authority.as_str()
    }

    fn late(&self) -> String {
        format!("no whole answer from {} within {} s", self.place(), self.limit.as_secs_f32())
    }

    /// HTTP/2 has scheme and authority beside the path, HTTP/1.1 only a `Host`.
    fn request(self, over_http_2: bool) -> Result<Request<Full<Bytes>>, NoAnswer> {
        let place = self.place().to_owned();
        let target = if over_http_2 { self.url.to_string() } else { self.url.path.clone() };
        let (Ok(uri), Ok(host)) = (target.parse::<Uri>(), HeaderValue::from_str(&place)) else {
            return Err(NoAnswer::unfit(&place));
        };
        // The buffer is wiped when the last reader lets go of it.
        let mut request = Request::new(Full::new(Bytes::from_owner(self.body)));
        (*request.method_mut(), *request.uri_mut(), *request.headers_mut()) =
            (self.method, uri, self.headers);
        request.headers_mut().entry(USER_AGENT).or_insert(OUR_NAME);
        if !over_http_2 {
            request.headers_mut().insert(HOST, host);
        }
        Ok(request)
    }
}

/// An answer read as far as it will be.
pub(super) struct Received {
    pub status: StatusCode,
    pub headers: HeaderMap,
    /// In its content coding.
    pub body: Zeroizing<Vec<u8>>,
    /// Why the body is not whole.
    pub cut: Option<String>,
    /// When its last byte was read.
    pub at: Instant,
    wire: Wire,
}

impl Received {
    /// Reads on only while there is room, so that an endless body costs its bound and the connection.
    async fn read(response: http::Response<Incoming>, wire: Wire, late: &str) -> Self {
        let (head, mut incoming) = response.into_parts();
        let mut body = Zeroizing::new(Vec::with_capacity(USUAL_BODY));
        let mut late_frames = 0;
        let cut = loop {
            let silence = Deadline::now() + SILENCE;
            match by(silence.min(wire.end), incoming.frame()).await {
                Ok(Some(Ok(frame))) => {
                    let Ok(piece) = frame.into_data() else { continue };
                    let room = LONGEST - body.len();
                    push(&mut body, &piece[..piece.len().min(room)]);
                    if piece.len() > room {
                        break Some(format!("a body of more than {} KiB", LONGEST / 1024));
                    }
                }
                Ok(None) => break None,
                Ok(Some(Err(error))) => break Some(format!("a body that broke off ({})", reason(&error))),
                Err(_) if Deadline::now() >= wire.end => {
                    break Some(format!("a body that did not end ({late})"));
                }
                Err(_) if has_ended(&head.headers, &body) => {
                    break Some("a body that has come to its end before that of its framing".to_owned());
                }
                Err(_) => {}
            }
            late_frames += usize::from(Deadline::now() >= wire.end);
            if late_frames > MOST_LATE_FRAMES {
                break Some(format!("a body that did not end ({late})"));
            }
        };
        Self { status: head.status, headers: head.headers, body, cut, at: Instant::now(), wire }
    }

    /// As it is judged; `received` by the wall clock.
    pub(super) fn as_answer(&self, received: SystemTime) -> Answer<'_> {
        let Self { status, headers, body, cut, .. } = self;
        Answer { status: *status, headers, body, cut: cut.as_deref(), received }
    }

    /// All that came behind the head, where that is more than the body: then the framing is wrong. `reading_on`: what else
    /// comes is waited for.
    ///
    /// Chunks whose framing is wrong are put together without the lines that tell their sizes.
    pub(super) async fn beyond(&mut self, reading_on: bool) -> Option<Zeroizing<Vec<u8>>> {
        if reading_on {
            self.wire.read_on().await;
        }
        let behind = self.wire.tape.content();
        if !self.headers.contains_key(TRANSFER_ENCODING) {
            return Some(behind).filter(|behind| behind.len() > self.body.len());
        }
        Some(without_chunk_sizes(&behind)).filter(|text| text.len() > self.body.len())
    }
}

/// The connection of an answer that has ended, by its own account.
struct Wire {
    tape: Tape,
    connection: AbortOnDropHandle<()>,
    /// Over HTTP/2 the connection ends without it.
    _sender: Option<Sender>,
    end: Deadline,
}

impl Wire {
    /// Until the connection ends, nothing came for a moment, or the tape is full.
    async fn read_on(&mut self) {
        let mut known = usize::MAX;
        while known != self.tape.length() {
            known = self.tape.length();
            let silence = Deadline::now() + SILENCE;
            if by(silence.min(self.end), &mut self.connection).await.is_ok() {
                return;
            }
        }
    }
}

/// The outcome by `end`, or at a last look.
async fn by<T>(end: Deadline, outcome: impl Future<Output = T>) -> Result<T, Elapsed> {
    let mut outcome = pin!(outcome);
    match timeout_at(end, &mut outcome).await {
        Ok(outcome) => Ok(outcome),
        Err(_) => timeout(LAST_LOOK, outcome).await,
    }
}

/// Without the lines that tell the sizes of chunks (RFC 9112 §7.1), wherever they stand. A line end that belongs to none of
/// them stays: within a token it shows that what stands beside it may be framing. JSON that holds such a line of its own is a
/// number alone between two line ends.
fn without_chunk_sizes(text: &[u8]) -> Zeroizing<Vec<u8>> {
    let mut joined = Zeroizing::new(Vec::with_capacity(text.len()));
    let mut rest = text;
    let mut is_framing = true;
    while !rest.is_empty() {
        let end = rest.windows(2).position(|end| end == b"\r\n");
        let (line, behind) = end.map_or((rest, &rest[rest.len()..]), |end| (&rest[..end], &rest[end + 2..]));
        if is_chunk_size(line) {
            is_framing = true;
        } else if !line.is_empty() {
            push(&mut joined, if is_framing { b"" } else { b"\r\n" });
            push(&mut joined, line);
            is_framing = false;
        }
        rest = behind;
    }
    joined
}

fn is_chunk_size(line: &[u8]) -> bool {
    // Behind the semicolon there are extensions.
    let size = line.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
    (1..=16).contains(&size.len()) && size.iter().all(u8::is_ascii_hexdigit)
}

/// Grows the buffer without leaving a copy of what it holds behind.
pub(super) fn push(body: &mut Zeroizing<Vec<u8>>, piece: &[u8]) {
    let length = body.len() + piece.len();
    if length > body.capacity() {
        let mut larger = Zeroizing::new(Vec::with_capacity(length.max(2 * body.capacity())));
        larger.extend_from_slice(body);
        *body = larger;
    }
    body.extend_from_slice(piece);
}

/// An exchange that brought no answer.
#[derive(Clone)]
pub struct NoAnswer {
    /// `NotSent` or `Misconfigured`: nothing reached the server; `Ambiguous`: something may have.
    pub class: Class,
    /// What happened, for a person.
    pub detail: String,
    /// What helps, where that is known.
    pub advice: Option<&'static str>,
    /// What came though it was no answer of HTTP.
    pub beyond: Zeroizing<Vec<u8>>,
}

/// What came may hold tokens.
impl fmt::Debug for NoAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NoAnswer")
            .field("class", &self.class)
            .field("detail", &self.detail)
            .finish_non_exhaustive()
    }
}

impl NoAnswer {
    /// Nothing was sent.
    pub(super) fn unsent(detail: String) -> Self {
        Self { class: Class::NotSent, detail, advice: None, beyond: Zeroizing::default() }
    }

    fn unfit(place: &str) -> Self {
        let detail = format!("{place} cannot be called: its address fits into no request");
        Self { class: Class::Misconfigured, ..Self::unsent(detail) }
    }

    /// Only a connection that never stood is proof that nothing was sent.
    fn unconnected(error: &DialError, place: &str) -> Self {
        let why = detail::plain(&error.to_string());
        let advice = match error {
            DialError::ForwardProxy { status: Some(407), .. } => Some(PROXY_CREDENTIALS),
            DialError::Tls { fault, .. } => Some(fault.help()),
            _ => None,
        };
        Self { advice, ..Self::unsent(format!("no connection to {place}: {why}")) }
    }

    fn broken(error: &hyper::Error, place: &str, beyond: Zeroizing<Vec<u8>>) -> Self {
        let why = reason(error);
        if beyond.is_empty() && is_refused_certificate(&why) {
            let advice = Some(TlsFault::ClientCertificate.help());
            return Self {
                advice,
                ..Self::unsent(format!("{place} wants a client certificate, or another one: {why}"))
            };
        }
        Self::late(format!("the connection to {place} broke before an answer came: {why}"), beyond)
    }

    fn late(detail: String, beyond: Zeroizing<Vec<u8>>) -> Self {
        Self { class: Class::Ambiguous, beyond, ..Self::unsent(detail) }
    }
}

impl fmt::Display for NoAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.detail)
    }
}

impl Error for NoAnswer {}

impl From<NoAnswer> for TokenError {
    fn from(none: NoAnswer) -> Self {
        Self { advice: none.advice.map(Into::into), ..Self::new(none.class, none.detail) }
    }
}

fn reason(error: &hyper::Error) -> String {
    detail::clean(&call::innermost(error), &[])
}
