//! Content codings (RFC 9110 §8.4) taken off a body. None is asked for; servers and proxies compress all the same, and what
//! they compressed may hold the only successor of a refresh token. What comes out is at most [`LONGEST`], whatever goes in.

use std::io::{self, Read};

use flate2::read::{DeflateDecoder, MultiGzDecoder, ZlibDecoder};
use http::{HeaderMap, header::CONTENT_ENCODING};
use ruzstd::decoding::StreamingDecoder;
use zeroize::Zeroizing;

/// The most that is kept of a body, before and after decoding.
pub(in crate::oauth) const LONGEST: usize = 1024 * 1024;

/// More codings in a row than this are an attack.
const MOST_CODINGS: usize = 5;

/// The zstd window that every decoder should support (RFC 8878 §3.1.1.1.2).
const ZSTD_WINDOW: u64 = 8 * 1024 * 1024;

const GZIP_MAGIC: &[u8] = &[0x1f, 0x8b];
const ZSTD_MAGIC: &[u8] = &[0x28, 0xb5, 0x2f, 0xfd];

/// A body without its codings.
pub(in crate::oauth) struct Decoded {
    pub(in crate::oauth) bytes: Zeroizing<Vec<u8>>,
    /// Why the bytes are not the whole body, or not decoded at all.
    pub(in crate::oauth) trouble: Option<String>,
}

#[derive(Clone, Copy)]
enum Coding {
    Gzip,
    Deflate,
    Brotli,
    Zstd,
}

impl Coding {
    fn named(name: &str) -> Option<Self> {
        Some(match name {
            "gzip" | "x-gzip" => Self::Gzip,
            "deflate" => Self::Deflate,
            "br" => Self::Brotli,
            "zstd" => Self::Zstd,
            _ => return None,
        })
    }

    /// The coding of a body whose header does not name one.
    fn evident(bytes: &[u8]) -> Option<Self> {
        let begins = |magic| bytes.starts_with(magic);
        begins(GZIP_MAGIC).then_some(Self::Gzip).or(begins(ZSTD_MAGIC).then_some(Self::Zstd))
    }

    /// What the bytes hold, and the error at which decoding ended.
    fn decode(self, bytes: &[u8]) -> (Zeroizing<Vec<u8>>, Option<io::Error>) {
        match self {
            Self::Gzip => drain(MultiGzDecoder::new(bytes)),
            Self::Deflate if is_zlib(bytes) => drain(ZlibDecoder::new(bytes)),
            // RFC 9110 §8.4.1.2: some send deflate without its zlib wrapping.
            Self::Deflate => drain(DeflateDecoder::new(bytes)),
            Self::Brotli => drain(brotli_decompressor::Decompressor::new(bytes, 4096)),
            Self::Zstd => decode_zstd(bytes),
        }
    }
}

/// Takes off what the header names, and gzip and zstd that it does not name. A body that is plain in spite of its header is
/// left as it is.
pub(in crate::oauth) fn decode(headers: &HeaderMap, raw: &[u8]) -> Decoded {
    let raw = &raw[..raw.len().min(LONGEST)];
    let mut decoded = Decoded { bytes: Zeroizing::new(raw.to_vec()), trouble: None };
    for name in named_codings(headers).iter().rev() {
        if decoded.trouble.is_some() || is_plain(&decoded.bytes) {
            break;
        }
        match Coding::named(name) {
            Some(coding) => decoded.take_off(coding),
            None => decoded.trouble = Some("in a content coding that is not known".to_owned()),
        }
    }
    for _ in 0..MOST_CODINGS {
        match Coding::evident(&decoded.bytes) {
            Some(coding) if decoded.trouble.is_none() => decoded.take_off(coding),
            _ => break,
        }
    }
    decoded
}

impl Decoded {
    fn take_off(&mut self, coding: Coding) {
        let (bytes, error) = coding.decode(&self.bytes);
        self.trouble = match error {
            Some(_) if bytes.is_empty() => Some("in a content coding that cannot be decoded".to_owned()),
            Some(_) => Some("compressed and not whole".to_owned()),
            None if bytes.len() == LONGEST => Some(format!("of more than {} KiB", LONGEST / 1024)),
            None => None,
        };
        if !bytes.is_empty() || self.trouble.is_none() {
            self.bytes = bytes;
        }
    }
}

/// In the order in which they were applied.
fn named_codings(headers: &HeaderMap) -> Vec<String> {
    let values = headers.get_all(CONTENT_ENCODING).iter();
    let values = values.map(|value| String::from_utf8_lossy(value.as_bytes()).to_ascii_lowercase());
    let joined = values.collect::<Vec<_>>().join(",");
    let codings = joined.split(',').map(str::trim);
    codings.filter(|c| !matches!(*c, "" | "identity")).take(MOST_CODINGS + 1).map(str::to_owned).collect()
}

/// Whether the body is text already: a proxy decoded it and left the header.
fn is_plain(bytes: &[u8]) -> bool {
    let is_document = matches!(bytes.trim_ascii_start().first(), Some(b'{' | b'[' | b'<'));
    // Of a form every byte is visible (application/x-www-form-urlencoded); of what is compressed hardly any is.
    let is_form = bytes.contains(&b'=') && bytes.trim_ascii().iter().all(u8::is_ascii_graphic);
    is_form || (is_document && std::str::from_utf8(bytes).is_ok())
}

/// RFC 1950 §2.2: method 8, and a check of the two bytes.
fn is_zlib(bytes: &[u8]) -> bool {
    matches!(bytes, [method, flags, ..]
        if method & 0x0f == 8 && u16::from_be_bytes([*method, *flags]).is_multiple_of(31))
}

fn drain(mut from: impl Read) -> (Zeroizing<Vec<u8>>, Option<io::Error>) {
    let mut bytes = Zeroizing::new(Vec::new());
    let mut piece = Zeroizing::new([0; 8192]);
    loop {
        match from.read(&mut *piece) {
            Ok(0) => return (bytes, None),
            Ok(read) => push(&mut bytes, &piece[..read]),
            Err(error) => return (bytes, Some(error)),
        }
        if bytes.len() == LONGEST {
            return (bytes, None);
        }
    }
}

/// As much as there is room for.
fn push(bytes: &mut Vec<u8>, piece: &[u8]) {
    let room = LONGEST - bytes.len();
    bytes.extend_from_slice(&piece[..piece.len().min(room)]);
}

/// Frame by frame (RFC 8878 §3.1), as a stream may have several.
fn decode_zstd(mut rest: &[u8]) -> (Zeroizing<Vec<u8>>, Option<io::Error>) {
    let mut bytes = Zeroizing::new(Vec::new());
    while !rest.is_empty() && bytes.len() < LONGEST {
        let frame = match StreamingDecoder::new_with_max_window_size(&mut rest, ZSTD_WINDOW) {
            Ok(frame) => frame,
            Err(error) => return (bytes, Some(io::Error::other(error.to_string()))),
        };
        let (piece, error) = drain(frame);
        push(&mut bytes, &piece);
        if error.is_some() {
            return (bytes, error);
        }
    }
    (bytes, None)
}
