//! One generated request and the bytes it is sent as. The rule: both ways it is sent are written from the same value, and
//! differ only in what names the way: target, `Host`, the fields of the route, and the version.

use std::net::SocketAddr;

/// White space around a value (RFC 9112 §5.1). The gate takes it away; not every server does, so only the gate gets it.
const SPACINGS: [(&[u8], &[u8]); 5] = [(b" ", b""), (b"", b""), (b" \t ", b""), (b"", b"  "), (b" ", b"\t")];

/// How a request names its app.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Route {
    /// `/APP/…`
    Prefix,
    /// `/APP@default/…`
    Account,
    /// `/APP%40default/…`
    EncodedAccount,
    /// `Marketgate-App: APP`
    Header,
    /// A listener that stands for the app.
    Listener,
    /// Not at all.
    Missing,
}

/// A request as the generator made it.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) method: String,
    /// Path and query below the API's base.
    pub(crate) rest: String,
    pub(crate) route: Route,
    pub(crate) http10: bool,
    /// The `Host` a caller of the gate sends.
    pub(crate) host: &'static str,
    /// All fields but `Host` and the route's, framing included.
    pub(crate) fields: Vec<(String, Vec<u8>)>,
    /// The body as it goes over the wire, coded.
    pub(crate) wire_body: Vec<u8>,
    /// Into so many pieces the bytes are cut when they are written.
    pub(crate) pieces: usize,
    /// How odd the white space around values is; 0: not at all.
    pub(crate) spacing: usize,
    /// An empty line comes first, which a server should ignore (RFC 9112 §2.2). Not all do, so only the gate gets it.
    pub(crate) is_late: bool,
    /// What the gate must answer by itself.
    pub(crate) refusal: Option<Refusal>,
}

/// An answer of the gate's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) status: u16,
    pub(crate) code: &'static str,
    /// Whether the connection ends with it: no more can be told of where a next request begins.
    pub(crate) ends: bool,
}

/// Where an upstream is reached, directly and through the gate.
#[derive(Debug, Clone)]
pub(crate) struct Way {
    /// The app's name.
    pub(crate) app: &'static str,
    /// Where the upstream is asked directly.
    pub(crate) upstream: SocketAddr,
    /// Where the gate asks it: scheme and authority.
    pub(crate) origin: String,
    /// The gate speaks HTTP/2 with it.
    pub(crate) is_http2: bool,
    /// The path of its `api`.
    pub(crate) base: &'static str,
    /// The gate's door with prefixes.
    pub(crate) door: SocketAddr,
    /// The gate's door that stands for this app alone.
    pub(crate) listener: SocketAddr,
    /// The header with which the gate shows the key of the API.
    pub(crate) credential: (&'static str, String),
}

/// A head and a body, ready to be written.
#[derive(Debug, Clone)]
pub(crate) struct Written {
    pub(crate) head: Vec<u8>,
    pub(crate) body: Vec<u8>,
    pub(crate) pieces: usize,
    /// The body waits for a `100` or for another answer.
    pub(crate) expects: bool,
    pub(crate) is_head: bool,
}

impl Way {
    /// Host and port of the API, as the gate names them.
    pub(crate) fn authority(&self) -> &str {
        self.origin.split("://").nth(1).unwrap_or_default()
    }
}

impl Request {
    /// Every value of a field.
    pub(crate) fn values<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
        self.fields
            .iter()
            .filter(move |(n, _)| n.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_slice())
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.values(name).next().is_some()
    }

    /// Whether it asks for its connection to end.
    pub(crate) fn closes(&self) -> bool {
        let mut options = self.values("connection").flat_map(|list| list.split(|&octet| octet == b','));
        options.any(|option| option.trim_ascii().eq_ignore_ascii_case(b"close"))
    }

    /// As the upstream gets it directly. Callers may speak HTTP/1.0, marketplaces are spoken to in HTTP/1.1
    /// (docs/http.md, "Connections"), so that is what the gate's request is compared with.
    pub(crate) fn direct(&self, way: &Way) -> Written {
        let plain =
            self.fields.iter().filter(|(name, _)| !(self.http10 && name.eq_ignore_ascii_case("connection")));
        let target = target(way.base, &self.rest);
        self.write(&target, "HTTP/1.1", &way.upstream.to_string(), 0, plain)
    }

    /// As the gate gets it.
    pub(crate) fn through(&self, way: &Way) -> Written {
        let named = ("Marketgate-App".to_owned(), way.app.as_bytes().to_vec());
        let named = Some(&named).filter(|_| self.route == Route::Header);
        let version = if self.http10 { "HTTP/1.0" } else { "HTTP/1.1" };
        let target = target(&self.prefix(way), &self.rest);
        let fields = named.into_iter().chain(&self.fields);
        let mut written = self.write(&target, version, self.host, self.spacing, fields);
        if self.is_late {
            written.head.splice(..0, *b"\r\n");
        }
        written
    }

    /// What stands before the rest of the target at the gate.
    pub(crate) fn prefix(&self, way: &Way) -> String {
        match self.route {
            Route::Prefix => format!("/{}", way.app),
            Route::Account => format!("/{}@default", way.app),
            Route::EncodedAccount => format!("/{}%40default", way.app),
            Route::Header | Route::Listener | Route::Missing => String::new(),
        }
    }

    /// The gate's door for this request.
    pub(crate) fn door(&self, way: &Way) -> SocketAddr {
        if self.route == Route::Listener { way.listener } else { way.door }
    }

    fn write<'a>(
        &self,
        target: &str,
        version: &str,
        host: &str,
        spacing: usize,
        fields: impl Iterator<Item = &'a (String, Vec<u8>)>,
    ) -> Written {
        let mut head = format!("{} {target} {version}\r\nHost: {host}\r\n", self.method).into_bytes();
        for (at, (name, value)) in fields.enumerate() {
            let odd = if spacing == 0 { 0 } else { at + spacing };
            let (before, after) = SPACINGS[odd % SPACINGS.len()];
            head.extend([name.as_bytes(), b":", before, value, after, b"\r\n"].concat());
        }
        head.extend_from_slice(b"\r\n");
        Written {
            head,
            body: self.wire_body.clone(),
            pieces: self.pieces,
            expects: self.has("expect"),
            is_head: self.method == "HEAD",
        }
    }
}

/// The target of a request line: a path is never empty there (RFC 9112 §3.2.1).
fn target(base: &str, rest: &str) -> String {
    let joined = format!("{base}{rest}");
    if joined.starts_with('/') { joined } else { format!("/{joined}") }
}
