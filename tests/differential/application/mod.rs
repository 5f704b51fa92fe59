//! The application behind nginx, Apache httpd and lighttpd. The rule: it adds nothing of its own.
//!
//! `/echo/…` answers with what arrived and its length, `/flow/…` with the same in an unknown length, `/reply/HEX` with
//! what the hexadecimal digits spell: `STATUS REASON`, a line `NAME: VALUE` for each field, an empty line, and a last line
//! of `length N`, `chunked N` or `none 0` for the body, whose bytes count from 0 to 255 again and again. More lines may
//! follow, which only Node's application takes: `early`, `processing`, `trailer NAME: VALUE`. Text is Latin-1.

use std::{
    net::{SocketAddr, TcpListener, TcpStream},
    thread,
};

mod fastcgi;
mod scgi;

/// How a server reaches its application.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Interface {
    Scgi,
    FastCgi,
}

/// A request as a server hands it over.
#[derive(Debug, Default)]
struct Handed {
    variables: Vec<(String, Vec<u8>)>,
    body: Vec<u8>,
}

/// Serves until the process ends.
pub(crate) fn start(interface: Interface) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let serve: fn(TcpStream) -> Option<()> = match interface {
        Interface::Scgi => scgi::serve,
        Interface::FastCgi => fastcgi::serve,
    };
    thread::spawn(move || {
        for stream in listener.incoming().filter_map(Result::ok) {
            // A server that hangs up wants no answer.
            thread::spawn(move || serve(stream).unwrap_or_default());
        }
    });
    address
}

impl Handed {
    fn text(&self, name: &str) -> String {
        let found = self.variables.iter().find(|(n, _)| n == name);
        found.map(|(_, value)| String::from_utf8_lossy(value).into_owned()).unwrap_or_default()
    }

    /// The answer in the form of RFC 3875 §6.
    fn answer(&self) -> Option<Vec<u8>> {
        let target = self.text("REQUEST_URI");
        let path = target.split('?').next().unwrap_or_default();
        match path.strip_prefix("/reply/") {
            Some(hex) => reply(hex),
            None => Some(self.echo(&target, path.starts_with("/flow"))),
        }
    }

    fn echo(&self, target: &str, streamed: bool) -> Vec<u8> {
        let (method, version) = (self.text("REQUEST_METHOD"), self.text("SERVER_PROTOCOL"));
        let mut shown = format!("{method} {target} {version}\n").into_bytes();
        let length = self.text("CONTENT_LENGTH").parse::<usize>().ok().map(|length| length.to_string());
        for (name, value) in &self.variables {
            // Apache spells it anew when it has counted the body itself, which is a matter of chance.
            let value = length
                .as_ref()
                .filter(|_| name == "CONTENT_LENGTH")
                .map_or(value.as_slice(), String::as_bytes);
            let field = match name.strip_prefix("HTTP_") {
                Some(field) => field,
                None if name == "CONTENT_TYPE" && !value.is_empty() => name,
                None if name == "CONTENT_LENGTH" => name,
                None => continue,
            };
            let field = field.to_ascii_lowercase().replace('_', "-");
            shown.extend([field.as_bytes(), b": ", value, b"\n"].concat());
        }
        shown.extend([b"\n\n", self.body.as_slice()].concat());
        let length = if streamed { String::new() } else { format!("Content-Length: {}\r\n", shown.len()) };
        let head =
            format!("Status: 200 OK\r\nX-Echo: 1\r\nContent-Type: application/octet-stream\r\n{length}\r\n");
        [head.as_bytes(), &shown].concat()
    }
}

fn reply(hex: &str) -> Option<Vec<u8>> {
    let digits = hex.as_bytes().chunks_exact(2);
    let script: Option<Vec<u8>> =
        digits.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()).collect();
    let script = script?;
    let end = script.windows(2).position(|pair| pair == b"\n\n")?;
    let (head, tail) = (&script[..end], String::from_utf8_lossy(&script[end + 2..]).into_owned());
    let (kind, length) = tail.lines().next()?.split_once(' ')?;
    let length: usize = length.parse().ok()?;
    let mut answer = b"Status: ".to_vec();
    for line in head.split(|&octet| octet == b'\n') {
        answer.extend([line, b"\r\n"].concat());
    }
    if kind == "length" {
        answer.extend(format!("Content-Length: {length}\r\n").into_bytes());
    }
    answer.extend(b"\r\n");
    answer.extend((0..length).map(|at| (at % 256) as u8));
    Some(answer)
}
