//! Bodies of requests and how they are framed. The rule: each is complete and rightly framed (RFC 9112 §6, §7); how odd
//! it is beyond that is the point.

use std::io::Write;

use flate2::{Compression, write::GzEncoder};

use crate::{dice::Dice, request::Request};

/// Adds a body and the fields that frame and describe it.
pub(super) fn add(dice: &mut Dice, request: &mut Request, trailers: bool) {
    let content = content(dice, request);
    let framing = dice.below(10);
    let (name, value) = match framing {
        0..=5 => {
            request.wire_body = content;
            let zeros = if dice.one_in(30) { "000" } else { "" };
            ("Content-Length", format!("{zeros}{}", request.wire_body.len()))
        }
        _ => {
            let trailers = trailers || dice.one_in(3);
            request.wire_body = chunked(dice, &content, trailers);
            ("Transfer-Encoding", dice.pick(&["chunked", "chunked", "Chunked", "CHUNKED"]).to_owned())
        }
    };
    let name = if dice.one_in(3) { name.to_ascii_lowercase() } else { name.to_owned() };
    let at = dice.below(request.fields.len() + 1);
    request.fields.insert(at, (name, value.into_bytes()));
    if dice.one_in(12) && !request.wire_body.is_empty() {
        request.fields.push(("Expect".to_owned(), dice.pick(&["100-continue", "100-Continue"]).into()));
    }
}

fn content(dice: &mut Dice, request: &mut Request) -> Vec<u8> {
    let mut describe = |name: &str, value: &str| request.fields.push((name.to_owned(), value.into()));
    match dice.below(300) {
        0 => return dice.bytes(1 << 20),
        1..=6 => {
            let length = dice.between(65_534, 65_538);
            return dice.bytes(length);
        }
        7..=40 => return Vec::new(),
        41..=70 => {
            let (boundary, parameter) = dice.pick(&BOUNDARIES);
            describe("Content-Type", &format!("multipart/form-data; boundary={parameter}"));
            return multipart(dice, boundary);
        }
        71..=90 => {
            describe("Content-Type", "application/json");
            describe("Content-Encoding", "gzip");
            let length = dice.between(0, 5000);
            return gzip(&dice.text(b"{}[]\":,0123456789abc", length));
        }
        91..=200 => {
            describe(
                "Content-Type",
                dice.pick(&["application/json", "text/plain; charset=utf-8", "a/b", ""]),
            );
        }
        _ => {}
    }
    let length = if dice.one_in(10) { dice.between(1000, 20_000) } else { dice.between(1, 300) };
    dice.bytes(length)
}

/// Boundaries (RFC 2046 §5.1.1) and how the parameter spells them.
const BOUNDARIES: [(&str, &str); 4] = [
    ("x", "x"),
    ("----=_Part:1 '()+_,-./:=?", "\"----=_Part:1 '()+_,-./:=?\""),
    (
        "0123456789012345678901234567890123456789012345678901234567890123456789",
        "\"0123456789012345678901234567890123456789012345678901234567890123456789\"",
    ),
    ("--", "\"--\""),
];

fn multipart(dice: &mut Dice, boundary: &str) -> Vec<u8> {
    let mut body = b"a preamble\r\n".to_vec();
    for _ in 0..dice.between(1, 3) {
        let length = dice.below(400);
        let head = format!(
            "--{boundary}\r\nContent-Disposition: form-data; name=\"f\"; filename=\"\u{e9}.bin\"\r\n\r\n"
        );
        body.extend([head.as_bytes(), &dice.bytes(length), b"\r\n"].concat());
    }
    body.extend(format!("--{boundary}--\r\nan epilogue").into_bytes());
    body
}

fn gzip(text: &str) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(text.as_bytes()).unwrap();
    encoder.finish().unwrap()
}

/// The chunked coding with odd sizes, sizes spelt oddly, extensions and trailers.
fn chunked(dice: &mut Dice, content: &[u8], trailers: bool) -> Vec<u8> {
    let most = dice.pick(&[1, 2, 7, 100, 1000, 4096, 65_536]).max(content.len() / 500);
    let mut wire = Vec::new();
    let mut rest = content;
    while !rest.is_empty() {
        let size = dice.between(1, most.min(rest.len()));
        let line = match dice.below(8) {
            0 => format!("{size:X}"),
            1 => format!("{size:08x}"),
            2 => format!("{size:x};a=b"),
            3 => format!("{size:x};name=\"a quoted \\\" value\";flag"),
            _ => format!("{size:x}"),
        };
        wire.extend([line.as_bytes(), b"\r\n", &rest[..size], b"\r\n"].concat());
        rest = &rest[size..];
    }
    wire.extend_from_slice(dice.pick(&["0\r\n", "0\r\n", "000\r\n", "0;last\r\n"]).as_bytes());
    if trailers {
        let trailers = [
            "",
            "X-Sum: 1\r\n",
            "X-Sum: 1\r\nx-sum: 2\r\n",
            "Authorization: Bearer mine\r\n",
            "X-Empty:\r\n",
        ];
        wire.extend_from_slice(dice.pick(&trailers).as_bytes());
    }
    wire.extend_from_slice(b"\r\n");
    wire
}
