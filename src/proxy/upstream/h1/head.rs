//! The heads of requests and answers (RFC 9112 §2–5). The one rule: an answer's head is whole, unambiguous and within
//! bounds, or it is none.

use std::{mem::MaybeUninit, time::Duration};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Version,
    header::{CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING},
};
use hyper::ext::ReasonPhrase;

use super::{
    super::MAX_HEAD,
    framing::{Framing, number, settle},
};
use crate::provider::Transport;

/// Most fields of a head, as in hyper. More of them would cost an allocation for every answer; no marketplace sends half
/// as many.
const MAX_FIELDS: usize = 100;

const TOO_LONG: &str = "its answer's head is too long";

/// How a request's body is framed. None: there is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RequestFraming {
    None,
    Length(u64),
    Chunked,
}

/// Writes a request's head, with the fields that belong to its framing.
pub(super) fn write<B>(
    request: &Request<B>,
    framing: RequestFraming,
    transport: &Transport,
    out: &mut Vec<u8>,
) {
    // Most heads fit.
    out.reserve(1024);
    let target = request.uri().path_and_query().map_or("/", |target| target.as_str());
    out.put_slice(request.method().as_str().as_bytes());
    out.put_u8(b' ');
    out.put_slice(target.as_bytes());
    out.put_slice(b" HTTP/1.1\r\n");
    let mut is_framed = false;
    for (name, value) in request.headers() {
        match (framing, name) {
            (_, &TRANSFER_ENCODING) | (RequestFraming::Chunked, &CONTENT_LENGTH) => {}
            // It would have the upstream take the next request for this one's body.
            (RequestFraming::None, &CONTENT_LENGTH) if number(value.as_bytes()) != Some(0) => {}
            (RequestFraming::Length(length), &CONTENT_LENGTH) => {
                // As it came, leading zeros and all, if it says the same.
                if !is_framed && number(value.as_bytes()) == Some(length) {
                    write_field(transport.spelling(name), value, out);
                    is_framed = true;
                }
            }
            _ => write_field(transport.spelling(name), value, out),
        }
    }
    match framing {
        RequestFraming::Length(length) if !is_framed => {
            out.put_slice(format!("content-length: {length}\r\n").as_bytes());
        }
        RequestFraming::Chunked => out.put_slice(b"transfer-encoding: chunked\r\n"),
        RequestFraming::Length(_) | RequestFraming::None => {}
    }
    out.put_slice(b"\r\n");
}

fn write_field(name: &str, value: &HeaderValue, out: &mut Vec<u8>) {
    let (name, value) = (name.as_bytes(), value.as_bytes());
    out.reserve(name.len() + value.len() + 4);
    out.put_slice(name);
    out.put_slice(b": ");
    out.put_slice(value);
    out.put_slice(b"\r\n");
}

/// An answer's head.
#[derive(Debug)]
pub(super) struct Head {
    pub(super) response: Response<()>,
    pub(super) framing: Framing,
    /// Whether the connection may carry another exchange (RFC 9112 §9.3). Not after an answer in HTTP/1.0.
    pub(super) keeps_alive: bool,
    /// How long the upstream keeps the connection when nobody uses it, where it says so.
    pub(super) kept_for: Option<Duration>,
}

/// Reads the heads of answers as their bytes come in.
#[derive(Debug, Default)]
pub(super) struct Reader {
    /// How much was looked through in vain.
    looked: usize,
    /// How much was dropped before the final head: interim heads and empty lines.
    dropped: usize,
}

impl Reader {
    /// The head of the final answer, taken out of `received`, if all of it is there; those of interim answers (RFC 9110
    /// §15.2) are dropped. `fields` is used again for its own. An error says what is wrong.
    pub(super) fn read(
        &mut self,
        method: &Method,
        received: &mut BytesMut,
        fields: &mut HeaderMap,
    ) -> Result<Option<Head>, String> {
        loop {
            self.drop_empty_lines(received);
            if received.is_empty() || !self.may_be_whole(received) {
                break;
            }
            match parse(method, received, fields)? {
                Some((length, Some(head))) => {
                    received.advance(length);
                    return Ok(Some(head));
                }
                Some((length, None)) => self.drop(length, received),
                None => break,
            }
        }
        self.looked = received.len();
        // Whoever sends nothing but interim answers must not keep us reading for ever, either.
        if self.dropped + received.len() >= MAX_HEAD { Err(TOO_LONG.to_owned()) } else { Ok(None) }
    }

    /// Some upstreams send one behind a body (RFC 9112 §2.2 has servers forgive that; clients do it likewise).
    fn drop_empty_lines(&mut self, received: &mut BytesMut) {
        while self.looked == 0 && (received.starts_with(b"\r\n") || received.starts_with(b"\n")) {
            let length = if received[0] == b'\r' { 2 } else { 1 };
            self.drop(length, received);
        }
    }

    fn drop(&mut self, length: usize, received: &mut BytesMut) {
        received.advance(length);
        self.dropped += length;
        self.looked = 0;
    }

    /// Whether the parser should look. A head that comes byte by byte would cost the square of its length otherwise.
    fn may_be_whole(&self, received: &[u8]) -> bool {
        self.looked == 0 || has_empty_line(&received[self.looked.saturating_sub(2)..])
    }
}

/// Whether a line ends here and an empty one follows. The parser takes a bare line feed for a line's end, too.
pub(super) fn has_empty_line(bytes: &[u8]) -> bool {
    bytes.windows(2).any(|two| two == b"\n\n") || bytes.windows(3).any(|three| three == b"\n\r\n")
}

/// A head and its length, if it is whole; no head where it is that of an interim answer. 101 is none: nothing in HTTP
/// follows it.
fn parse(
    method: &Method,
    received: &[u8],
    fields: &mut HeaderMap,
) -> Result<Option<(usize, Option<Head>)>, String> {
    let mut room = [MaybeUninit::uninit(); MAX_FIELDS];
    let mut parsed = httparse::Response::new(&mut []);
    let outcome = httparse::ParserConfig::default()
        .parse_response_with_uninit_headers(&mut parsed, received, &mut room)
        .map_err(|error| format!("its answer's head is malformed: {error}"))?;
    let httparse::Status::Complete(length) = outcome else { return Ok(None) };
    let status = parsed.code.and_then(|code| StatusCode::from_u16(code).ok());
    let status = status.ok_or_else(|| "its answer has an impossible status".to_owned())?;
    if length > MAX_HEAD {
        return Err(TOO_LONG.to_owned());
    }
    if status.is_informational() && status != StatusCode::SWITCHING_PROTOCOLS {
        return Ok(Some((length, None)));
    }
    let version = if parsed.version == Some(1) { Version::HTTP_11 } else { Version::HTTP_10 };
    fill(fields, &received[..length], parsed.headers)?;
    let framing = Framing::of(method, status, version, fields)?;
    // Beside a coding a length is wrong, and must not be passed on (RFC 9112 §6.3).
    let is_doubtful = !matches!(framing, Framing::Length(_)) && fields.remove(CONTENT_LENGTH).is_some();
    settle(fields);
    let keeps_alive = version == Version::HTTP_11 && !is_doubtful && !says_close(fields);
    let kept_for = kept_for(fields);
    let mut response = Response::new(());
    *response.status_mut() = status;
    *response.version_mut() = version;
    *response.headers_mut() = std::mem::take(fields);
    // Only a phrase of its own needs to be carried along.
    let own = parsed.reason.filter(|reason| Some(*reason) != status.canonical_reason());
    if let Some(reason) = own.and_then(|reason| ReasonPhrase::try_from(reason.as_bytes()).ok()) {
        response.extensions_mut().insert(reason);
    }
    Ok(Some((length, Some(Head { response, framing, keeps_alive, kept_for }))))
}

/// All values share one copy of the head's bytes.
pub(super) fn fill(
    fields: &mut HeaderMap,
    head: &[u8],
    parsed: &[httparse::Header<'_>],
) -> Result<(), String> {
    let bytes = Bytes::copy_from_slice(head);
    fields.clear();
    fields.reserve(parsed.len());
    for field in parsed {
        let malformed = || format!("its answer has a malformed field: {}", field.name);
        let start = field.value.as_ptr().addr() - head.as_ptr().addr();
        let value = bytes.slice(start..start + field.value.len());
        let name = HeaderName::from_bytes(field.name.as_bytes()).map_err(|_| malformed())?;
        fields.append(name, HeaderValue::from_maybe_shared(value).map_err(|_| malformed())?);
    }
    Ok(())
}

/// The `timeout` of `Keep-Alive` (RFC 2068 §19.7.1.1), which servers still send.
fn kept_for(fields: &HeaderMap) -> Option<Duration> {
    static KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
    let mut parameters = fields.get(&KEEP_ALIVE)?.to_str().ok()?.split([',', ';']);
    let timeout = parameters.find_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        let seconds = value.trim().trim_matches('"').parse::<u32>().ok()?;
        name.trim().eq_ignore_ascii_case("timeout").then_some(seconds)
    });
    timeout.map(|seconds| Duration::from_secs(seconds.into()))
}

fn says_close(fields: &HeaderMap) -> bool {
    if !fields.contains_key(CONNECTION) {
        return false;
    }
    let mut options =
        fields.get_all(CONNECTION).iter().flat_map(|value| value.as_bytes().split(|b| *b == b','));
    options.any(|option| option.trim_ascii().eq_ignore_ascii_case(b"close"))
}
