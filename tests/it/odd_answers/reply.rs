//! An answer as bytes: status, fields, coding, framing, and how the connection ends after it.

use std::io::Write;

use flate2::{
    Compression,
    write::{DeflateEncoder, GzEncoder, ZlibEncoder},
};

/// What the server granted, and the refresh token that was shown for it.
pub(super) struct Tokens {
    pub(super) access: String,
    pub(super) refresh: String,
    pub(super) shown: String,
}

impl Tokens {
    /// `text` with `ACCESS`, `REFRESH` and `SHOWN` replaced. The simulator's tokens hold no such words in capitals before
    /// their first underscore, and each is put in once.
    pub(super) fn fill(&self, text: &str) -> Vec<u8> {
        let values = [("ACCESS", &*self.access), ("REFRESH", &*self.refresh), ("SHOWN", &*self.shown)];
        crate::placeholder::fill(text, &values).into_bytes()
    }
}

/// How the body's end is told.
#[derive(Debug, Clone, Copy)]
pub(super) enum Framing {
    /// `Content-Length`, and so much more or less than the truth.
    Length(isize),
    /// Chunks of this size; with a last chunk or without, and with what follows its size.
    Chunked { size: usize, last: &'static str, extension: &'static str },
    /// The end of the connection.
    Close,
    /// Chunked, beside a `Content-Length` that says something else.
    Both,
}

/// How the connection ends after the answer.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Ending {
    /// In order; over TLS with close_notify.
    Close,
    /// TCP ends; over TLS without close_notify.
    Vanish,
    /// With a reset.
    Reset,
}

/// One answer.
pub(super) struct Reply {
    /// What comes before the status line.
    pub(super) before: &'static str,
    pub(super) version: &'static str,
    pub(super) status: u16,
    pub(super) fields: Vec<(&'static str, String)>,
    pub(super) body: Vec<u8>,
    pub(super) framing: Framing,
    pub(super) ending: Ending,
    /// Nothing but the first so many bytes is sent.
    pub(super) cut: Option<usize>,
    /// Bytes before the body.
    head: usize,
    bytes: Vec<u8>,
}

/// Chunks with a last one.
pub(super) const WHOLE_CHUNKS: Framing = Framing::Chunked { size: 4096, last: "0\r\n\r\n", extension: "" };

impl Reply {
    pub(super) fn json(status: u16, body: Vec<u8>) -> Self {
        let fields = vec![("Content-Type", "application/json".to_owned())];
        Self {
            before: "",
            version: "HTTP/1.1",
            status,
            fields,
            body,
            framing: Framing::Length(0),
            ending: Ending::Close,
            cut: None,
            head: 0,
            bytes: Vec::new(),
        }
        .written()
    }

    /// Changed, and written anew.
    pub(super) fn with(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self.written()
    }

    fn written(mut self) -> Self {
        let mut head = format!("{}{} {} X\r\n", self.before, self.version, self.status);
        for (name, value) in &self.fields {
            head += &format!("{name}: {value}\r\n");
        }
        let length = self.body.len();
        let body = match self.framing {
            Framing::Length(off) => {
                head += &format!("Content-Length: {}\r\n", length.saturating_add_signed(off));
                self.body.clone()
            }
            Framing::Chunked { size, last, extension } => {
                head += "Transfer-Encoding: chunked\r\n";
                chunked(&self.body, size, last, extension)
            }
            Framing::Close => self.body.clone(),
            Framing::Both => {
                head += &format!("Content-Length: {}\r\nTransfer-Encoding: chunked\r\n", length / 2);
                chunked(&self.body, 4096, "0\r\n\r\n", "")
            }
        };
        head += "Connection: close\r\n\r\n";
        self.head = head.len();
        let mut bytes = [head.as_bytes(), &body].concat();
        bytes.truncate(self.cut.unwrap_or(bytes.len()));
        self.bytes = bytes;
        self
    }

    /// As it is written, in one piece or in several.
    pub(super) fn pieces(&self) -> impl Iterator<Item = &[u8]> {
        self.bytes.chunks(16 * 1024)
    }

    /// The part of the body that was sent, as far as a client can know that it belongs to the answer.
    pub(super) fn sent(&self) -> &[u8] {
        let told = match self.framing {
            Framing::Length(off) => self.body.len().saturating_add_signed(off.min(0)),
            _ => self.body.len(),
        };
        let sent = self.cut.map_or(told, |cut| cut.saturating_sub(self.head_length()));
        &self.body[..told.min(sent)]
    }

    /// Bytes before the body.
    pub(super) fn head_length(&self) -> usize {
        self.head
    }
}

fn chunked(body: &[u8], size: usize, last: &str, extension: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    for chunk in body.chunks(size) {
        bytes.extend_from_slice(format!("{:x}{extension}\r\n", chunk.len()).as_bytes());
        bytes.extend_from_slice(chunk);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes.extend_from_slice(last.as_bytes());
    bytes
}

pub(super) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// The zlib format, as RFC 9110 means "deflate".
pub(super) fn deflate(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// Without the zlib format around it, as some servers send it.
pub(super) fn raw_deflate(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// RFC 7932, in meta-blocks that are not compressed.
pub(super) fn brotli(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    for (number, block) in bytes.chunks(1 << 16).enumerate() {
        // The first block begins with WBITS (one bit, a window of 64 KiB); ISLAST and MNIBBLES are zero, MLEN - 1 has 16
        // bits, ISUNCOMPRESSED is one.
        let before = u32::from(number == 0);
        let header = ((block.len() as u32 - 1) << (3 + before)) | (1 << (19 + before));
        out.extend_from_slice(&header.to_le_bytes()[..3]);
        out.extend_from_slice(block);
    }
    // ISLAST and ISLASTEMPTY.
    out.push(3);
    out
}

/// RFC 8878, in raw blocks.
pub(super) fn zstd(bytes: &[u8]) -> Vec<u8> {
    let mut out = vec![0x28, 0xb5, 0x2f, 0xfd, 0xa0];
    out.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
    let blocks = bytes.chunks(1 << 16);
    let count = blocks.len();
    for (number, block) in blocks.enumerate() {
        let header = u32::from(number + 1 == count) | (block.len() as u32) << 3;
        out.extend_from_slice(&header.to_le_bytes()[..3]);
        out.extend_from_slice(block);
    }
    out
}
