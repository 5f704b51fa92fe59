//! The chunked coding (RFC 9112 §7.1). The one rule: a body ends with its last chunk's empty line and nowhere else.

use bytes::{Buf, Bytes, BytesMut};
use http::HeaderMap;
use http_body::Frame;

use super::{
    super::MAX_HEAD,
    head::{fill, has_empty_line},
};

/// Longest line before a chunk, extensions included, in bytes.
const MAX_LINE: usize = 16 * 1024;
/// Most trailer fields.
const MAX_TRAILERS: usize = 100;
/// Reads a chunked body as its bytes come in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Decoder {
    /// Before a chunk's size.
    Size,
    /// Within its data.
    Data {
        left: u64,
    },
    /// Behind its data.
    DataEnd,
    /// Behind the last chunk; so much was looked through in vain.
    Trailers {
        looked: usize,
    },
    Ended,
}

/// What came of the bytes so far.
#[derive(Debug)]
pub(super) enum Step {
    Frame(Frame<Bytes>),
    /// At least so many bytes are still to come.
    More(u64),
    End,
}

impl Decoder {
    /// Takes what it can out of `received`. An error says what is wrong.
    pub(super) fn step(&mut self, received: &mut BytesMut) -> Result<Step, &'static str> {
        loop {
            match *self {
                Self::Size => match line(received)? {
                    Some(line) => {
                        *self = match size(&received[..line])? {
                            0 => Self::Trailers { looked: 0 },
                            left => Self::Data { left },
                        };
                        received.advance(line);
                    }
                    None => return Ok(Step::More(1)),
                },
                Self::Data { left } if received.is_empty() => return Ok(Step::More(left)),
                Self::Data { left } => {
                    let taken = received.len().min(usize::try_from(left).unwrap_or(usize::MAX));
                    *self = match left - taken as u64 {
                        0 => Self::DataEnd,
                        left => Self::Data { left },
                    };
                    return Ok(Step::Frame(Frame::data(received.split_to(taken).freeze())));
                }
                Self::DataEnd if received.len() < 2 => return Ok(Step::More(2)),
                Self::DataEnd if received.starts_with(b"\r\n") => {
                    received.advance(2);
                    *self = Self::Size;
                }
                Self::DataEnd => return Err("a chunk is longer than its size says"),
                Self::Trailers { .. } if received.starts_with(b"\r\n") => {
                    received.advance(2);
                    *self = Self::Ended;
                }
                Self::Trailers { .. } if received.starts_with(b"\n") => return Err("a malformed end"),
                Self::Trailers { looked } => {
                    let from = looked.saturating_sub(2);
                    if !has_empty_line(&received[from..]) {
                        *self = Self::Trailers { looked: received.len() };
                        return if received.len() < MAX_HEAD { Ok(Step::More(1)) } else { Err(TOO_LONG) };
                    }
                    let trailers = trailers(received)?;
                    *self = Self::Ended;
                    return Ok(Step::Frame(Frame::trailers(trailers)));
                }
                Self::Ended => return Ok(Step::End),
            }
        }
    }
}

const TOO_LONG: &str = "the trailers of its answer are too long";

/// The length of the first line, its end included, if it is there.
fn line(received: &[u8]) -> Result<Option<usize>, &'static str> {
    match received.iter().take(MAX_LINE).position(|byte| *byte == b'\n') {
        Some(end) => Ok(Some(end + 1)),
        None if received.len() < MAX_LINE => Ok(None),
        None => Err("the line before a chunk is too long"),
    }
}

/// `1*HEXDIG [ chunk-ext ] CRLF`. Extensions say nothing to a proxy that ends the coding.
fn size(line: &[u8]) -> Result<u64, &'static str> {
    const MALFORMED: &str = "a malformed chunk size";
    let line = line.strip_suffix(b"\r\n").ok_or(MALFORMED)?;
    let digits = line.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
    let (digits, rest) = line.split_at(digits);
    let is_sound = matches!(rest.trim_ascii_start().first(), None | Some(b';')) && !rest.contains(&b'\r');
    let digits = str::from_utf8(digits).ok().filter(|_| is_sound).ok_or(MALFORMED)?;
    u64::from_str_radix(digits, 16).map_err(|_| MALFORMED)
}

/// Takes the trailer section out of `received`, which holds all of it.
fn trailers(received: &mut BytesMut) -> Result<HeaderMap, &'static str> {
    const MALFORMED: &str = "malformed trailers";
    let mut room = [httparse::EMPTY_HEADER; MAX_TRAILERS];
    let parsed = httparse::parse_headers(received, &mut room).map_err(|_| MALFORMED)?;
    let httparse::Status::Complete((length, parsed)) = parsed else { return Err(MALFORMED) };
    // The parser takes a bare line feed for a line's end; within this coding nothing else does.
    if received[..length].windows(2).any(|two| two[1] == b'\n' && two[0] != b'\r') {
        return Err(MALFORMED);
    }
    let mut trailers = HeaderMap::new();
    fill(&mut trailers, &received[..length], parsed).map_err(|_| MALFORMED)?;
    received.advance(length);
    Ok(trailers)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Body, trailers, and what is left over.
    type Decoded = (Vec<u8>, Option<HeaderMap>, Vec<u8>);

    /// What comes of an input fed in pieces of this size.
    fn decoded(input: &[u8], piece: usize) -> Result<Decoded, &'static str> {
        let (mut decoder, mut received) = (Decoder::Size, BytesMut::new());
        let (mut body, mut trailers) = (Vec::new(), None);
        let mut pieces = input.chunks(piece);
        loop {
            match decoder.step(&mut received)? {
                Step::Frame(frame) => match frame.into_data() {
                    Ok(data) => body.extend_from_slice(&data),
                    Err(frame) => trailers = frame.into_trailers().ok(),
                },
                Step::More(_) => received.extend_from_slice(pieces.next().ok_or("cut off")?),
                Step::End => {
                    let rest = pieces.flatten().copied();
                    return Ok((body, trailers, received.iter().copied().chain(rest).collect()));
                }
            }
        }
    }

    #[test]
    fn chunks_come_together_however_they_are_cut() {
        let input = b"5\r\nhello\r\n1;x=\"y;\"\r\n \r\n00a \r\nworld\r\n\r\n!\r\n0\r\nX-Sum: 1\r\nx-sum: 2\r\n\r\nHTTP";
        for piece in 1..=input.len() {
            let (body, trailers, rest) = decoded(input, piece).unwrap();
            assert_eq!(body, b"hello world\r\n\r\n!", "{piece}");
            let sums: Vec<_> = trailers.as_ref().unwrap().get_all("x-sum").iter().cloned().collect();
            assert_eq!(sums, ["1", "2"], "{piece}");
            assert_eq!(rest, b"HTTP", "{piece}");
        }
        assert_eq!(decoded(b"0\r\n\r\n", 1), Ok((vec![], None, vec![])));
    }

    #[test]
    fn a_body_cut_off_anywhere_has_no_end() {
        let input = b"3\r\nabc\r\n0\r\nx: y\r\n\r\n";
        for end in 0..input.len() {
            assert_eq!(decoded(&input[..end], 1), Err("cut off"), "{end}");
        }
    }

    #[test]
    fn what_is_no_chunk_is_an_error() {
        for bad in [
            "\r\n\r\n",
            "\n",
            "g\r\n",
            "-1\r\n",
            "+1\r\na\r\n",
            "0x1\r\na\r\n",
            " 1\r\na\r\n",
            "1\na\r\n",
            "1 2\r\na\r\n",
            "1;\rx\r\na\r\n",
            "1\r\nab\r\n",
            "1\r\na\n0\r\n\r\n",
            "1\r\na0\r\n\r\n",
            "ffffffffffffffff0\r\n",
            "0\r\n\n",
            "0\r\nx\r\n\r\n",
            "0\r\n y\r\n\r\n",
            "0\r\na b: c\r\n\r\n",
            "0\r\na: b\n\r\n",
        ] {
            for piece in [1, bad.len()] {
                let outcome = decoded(bad.as_bytes(), piece);
                assert!(outcome.is_err_and(|error| error != "cut off"), "{bad:?}");
            }
        }
        let endless = [b"1;".as_slice(), &[b'x'; 2 * MAX_LINE]].concat();
        assert_eq!(decoded(&endless, 100), Err("the line before a chunk is too long"));
        let trailers = [b"0\r\nx: ".as_slice(), &vec![b'x'; 2 * MAX_HEAD]].concat();
        assert_eq!(decoded(&trailers, 4096), Err(TOO_LONG));
    }
}
