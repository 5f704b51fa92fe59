//! What the documentation of the gate says about headers and fidelity (docs/http.md). The rule: every difference between
//! the direct way and the way through the gate is foretold here, by name, or it is a failure.
//!
//! Nothing is excused after the fact: from what the direct way showed follows exactly what the other way must show.

use crate::{
    echo::{Arrived, plain},
    request::{Request, Way},
    response::{Framing, Response},
};

/// The documented reasons for a difference.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Rule {
    /// Headers on the way out: credentials of the caller are dropped, in any spelling.
    Credentials,
    /// … headers that say who asks are dropped.
    Identity,
    /// … headers for one hop are dropped.
    OneHop,
    /// … and so are those that `Connection` names.
    Nominated,
    /// … and where the request came from.
    Whence,
    /// … and everything that begins with `Marketgate-`.
    Ours,
    /// … and trailers.
    RequestTrailers,
    /// … `Host` is set.
    HostSet,
    /// … the token is set last, once.
    TokenSet,
    /// Connections: the marketplace is spoken to in HTTP/1.1 even if the caller speaks HTTP/1.0.
    OldCaller,
    /// Headers on the way back: headers for one hop are dropped.
    ReplyOneHop,
    /// … and what would act on the caller's browser or client for our origin.
    ForUpstreamOnly,
    /// … and `Access-Control-*`.
    CrossOrigin,
    /// … and everything that begins with `Marketgate-`.
    ReplyOurs,
    /// … and a `Proxy-Status` in which somebody else calls himself `marketgate`.
    ForgedStatus,
    /// … what a browser would show as a page is confined.
    Confined,
    /// … an address below the API comes back through the same route.
    Location,
    /// Own answers: a 401 that is passed on says how old the token was.
    PassedOn401,
    /// … and what callers count on and nobody passes on is named.
    Dropped,
    /// Limits to know: informational answers are not passed on.
    Informational,
    /// … and `Expect: 100-continue` is answered by the gate itself.
    Expectation,
    /// Limits to know: trailers of an answer are not passed on.
    ReplyTrailers,
    /// Limits to know: a reason phrase beyond ASCII arrives empty, and HTTP/2 has none, so the usual one stands there.
    Reason,
    /// Limits to know: a 304 to anything but HEAD arrives without its `Content-Length`.
    NotModified,
    /// One hop only: an answer of unknown length is chunked for HTTP/1.1 and ends with the connection for HTTP/1.0.
    Framing,
}

impl Rule {
    pub(crate) const ALL: [Self; 25] = [
        Self::Credentials,
        Self::Identity,
        Self::OneHop,
        Self::Nominated,
        Self::Whence,
        Self::Ours,
        Self::RequestTrailers,
        Self::HostSet,
        Self::TokenSet,
        Self::OldCaller,
        Self::ReplyOneHop,
        Self::ForUpstreamOnly,
        Self::CrossOrigin,
        Self::ReplyOurs,
        Self::ForgedStatus,
        Self::Confined,
        Self::Location,
        Self::PassedOn401,
        Self::Dropped,
        Self::Informational,
        Self::Expectation,
        Self::ReplyTrailers,
        Self::Reason,
        Self::NotModified,
        Self::Framing,
    ];
}

/// What the way through the gate must show.
#[derive(Debug)]
pub(crate) struct Foretold {
    pub(crate) response: Response,
    /// What the upstream must have seen, where it tells.
    pub(crate) arrived: Option<Arrived>,
    /// The rules that made a difference.
    pub(crate) rules: Vec<Rule>,
}

/// What must come through the gate, after what came directly.
pub(crate) fn foretell(request: &Request, way: &Way, direct: &Response) -> Foretold {
    let mut rules = Vec::new();
    if request.http10 {
        rules.push(Rule::OldCaller);
    }
    let arrived = echoed(direct).map(|arrived| arriving(request, way, arrived, &mut rules));
    let response = returning(request, way, direct.clone(), &mut rules);
    Foretold { response, arrived, rules }
}

/// The echo in an answer, if it is one.
pub(crate) fn echoed(response: &Response) -> Option<Arrived> {
    Some(response)
        .filter(|response| response.has("x-echo"))
        .and_then(|response| Arrived::read(&response.body))
}

const NO_WEBSOCKET: &[u8] = b"marketgate; details=\"Upgrade is not passed on: there is no WebSocket here\"";
const NO_COOKIE: &[u8] =
    b"marketgate; details=\"Cookie is not passed on: it would be a credential of the caller's\"";

/// Fields for one hop only. The coding of the body is of one hop too, but it is put on again.
const ONE_HOP: [&str; 10] = [
    "connection",
    "keep-alive",
    "te",
    "trailer",
    "upgrade",
    "proxy-connection",
    "proxy-authenticate",
    "proxy-authentication-info",
    "http2-settings",
    "expect",
];

/// Headers on the way out.
fn arriving(request: &Request, way: &Way, mut arrived: Arrived, rules: &mut Vec<Rule>) -> Arrived {
    let token = plain(way.credential.0);
    let nominated = nominated(request.values("connection"));
    arrived.fields.retain(|(name, _)| {
        let rule = held_back(name, &token, &nominated);
        rules.extend(rule);
        rule.is_none()
    });
    for (_, value) in arrived.fields.iter_mut().filter(|(name, _)| name == "host") {
        if value.as_slice() != way.authority().as_bytes() {
            *value = way.authority().as_bytes().to_vec();
            rules.push(Rule::HostSet);
        }
    }
    if way.is_http2 {
        // Frames say where a body ends (RFC 9113 §8.2.2).
        arrived.fields.retain(|(name, _)| name != "transfer-encoding");
    }
    for (_, value) in arrived.fields.iter_mut().filter(|(name, _)| name == "transfer-encoding") {
        // However the caller spelt it, the next hop's is written anew.
        if value.as_slice() != b"chunked" {
            *value = b"chunked".to_vec();
            rules.push(Rule::OneHop);
        }
    }
    if !arrived.trailers.is_empty() {
        arrived.trailers.clear();
        rules.push(Rule::RequestTrailers);
    }
    // Apache keeps `Authorization` from its applications; no other server keeps the key back.
    arrived.fields.push((way.credential.0.to_ascii_lowercase(), way.credential.1.clone().into_bytes()));
    rules.push(Rule::TokenSet);
    arrived
}

fn held_back(name: &str, token: &str, nominated: &[String]) -> Option<Rule> {
    // "In any spelling: names are the same that differ only in what is neither letter nor digit, also with more of that at
    // either end."
    let name = plain(name);
    let (name, bare) = (name.as_str(), name.trim_matches('-'));
    match bare {
        _ if ONE_HOP.contains(&bare) => Some(Rule::OneHop),
        "authorization" | "proxy-authorization" | "cookie" | "cookie2" | "authentication" | "proxy" => {
            Some(Rule::Credentials)
        }
        "wm-sec-access-token" | "wm-sec-auth-signature" => Some(Rule::Credentials),
        _ if bare == token => Some(Rule::Credentials),
        "wm-partner-id" | "wm-consumer-id" => Some(Rule::Identity),
        "forwarded" | "x-real-ip" | "x-original-url" | "x-original-host" | "x-rewrite-url" => {
            Some(Rule::Whence)
        }
        _ if bare.starts_with("x-forwarded-") => Some(Rule::Whence),
        _ if bare.starts_with("marketgate-") => Some(Rule::Ours),
        _ if nominated.iter().any(|nominated| nominated == name) => Some(Rule::Nominated),
        _ => None,
    }
}

/// What `Connection` names, beside its own options and what frames the message.
fn nominated<'a>(connection: impl Iterator<Item = &'a [u8]>) -> Vec<String> {
    let lists = connection.map(|list| String::from_utf8_lossy(list).into_owned());
    let names = lists.flat_map(|list| list.split(',').map(|name| plain(name.trim())).collect::<Vec<_>>());
    names.filter(|name| !matches!(name.as_str(), "" | "close" | "keep-alive" | "content-length")).collect()
}

/// Headers on the way back, and the body's framing.
fn returning(request: &Request, way: &Way, mut response: Response, rules: &mut Vec<Rule>) -> Response {
    let nominated =
        nominated(response.fields.iter().filter(|(n, _)| n == "connection").map(|(_, v)| v.as_slice()));
    response.fields.retain(|(name, value)| {
        let rule = kept_back(name, value, &nominated);
        rules.extend(rule);
        rule.is_none()
    });
    for (name, value) in &mut response.fields {
        let mapped = match name.as_str() {
            "location" | "content-location" | "operation-location" => mapped(value, request, way),
            "link" => mapped_links(value, request, way),
            _ => None,
        };
        if let Some(mapped) = mapped.filter(|mapped| mapped != value) {
            *value = mapped;
            rules.push(Rule::Location);
        }
    }
    if may_be_a_page(&response) {
        response.fields.retain(|(name, _)| name != "x-content-type-options");
        response.fields.push(("x-content-type-options".to_owned(), b"nosniff".to_vec()));
        response.fields.push(("content-security-policy".to_owned(), b"sandbox".to_vec()));
        rules.push(Rule::Confined);
    }
    if response.status == 401 {
        let details = format!("token 0 s old; account {}@default; environment production", way.app);
        let status = format!("marketgate; received-status=401; details=\"{details}\"");
        response.fields.push(("proxy-status".to_owned(), status.into_bytes()));
        rules.push(Rule::PassedOn401);
    }
    if request
        .values("upgrade")
        .next()
        .is_some_and(|value| value.trim_ascii().eq_ignore_ascii_case(b"websocket"))
    {
        response.fields.push(("proxy-status".to_owned(), NO_WEBSOCKET.to_vec()));
        rules.push(Rule::Dropped);
    }
    if request.has("cookie") {
        response.fields.push(("proxy-status".to_owned(), NO_COOKIE.to_vec()));
        rules.push(Rule::Dropped);
    }
    if !std::mem::take(&mut response.informational).is_empty() {
        rules.push(Rule::Informational);
    }
    if request.has("expect") && !request.wire_body.is_empty() {
        response.informational.push(100);
        rules.push(Rule::Expectation);
    }
    if !std::mem::take(&mut response.trailers).is_empty() {
        rules.push(Rule::ReplyTrailers);
    }
    let reason = reason(&response, way.is_http2);
    if response.reason != reason {
        response.reason = reason;
        rules.push(Rule::Reason);
    }
    if response.status == 304 && request.method != "HEAD" && response.has("content-length") {
        response.fields.retain(|(name, _)| name != "content-length");
        rules.push(Rule::NotModified);
    }
    let framing = framing(response.framing, request.http10);
    if framing != response.framing {
        response.framing = framing;
        rules.push(Rule::Framing);
    }
    response
}

fn reason(direct: &Response, is_http2: bool) -> Vec<u8> {
    let usual =
        || http::StatusCode::from_u16(direct.status).ok().and_then(|status| status.canonical_reason());
    match is_http2 {
        true => usual().unwrap_or_default().as_bytes().to_vec(),
        false if direct.reason.is_ascii() => direct.reason.clone(),
        false => Vec::new(),
    }
}

fn kept_back(name: &str, value: &[u8], nominated: &[String]) -> Option<Rule> {
    match name {
        "connection"
        | "keep-alive"
        | "te"
        | "trailer"
        | "transfer-encoding"
        | "upgrade"
        | "proxy-connection"
        | "http2-settings"
        | "proxy-authenticate"
        | "proxy-authentication-info" => Some(Rule::ReplyOneHop),
        "set-cookie"
        | "set-cookie2"
        | "alt-svc"
        | "strict-transport-security"
        | "clear-site-data"
        | "nel"
        | "report-to" => Some(Rule::ForUpstreamOnly),
        _ if name.starts_with("access-control-") => Some(Rule::CrossOrigin),
        _ if name.starts_with("marketgate-") => Some(Rule::ReplyOurs),
        "proxy-status" if speaks_as_us(value) => Some(Rule::ForgedStatus),
        _ if nominated.iter().any(|nominated| nominated == name) => Some(Rule::ReplyOneHop),
        _ => None,
    }
}

/// "HTML, XHTML, SVG, and a body without a proper `Content-Type`."
fn may_be_a_page(response: &Response) -> bool {
    let kinds: Vec<String> = response
        .values("content-type")
        .map(|kind| String::from_utf8_lossy(kind).to_ascii_lowercase())
        .collect();
    let is_empty = response.values("content-length").any(|length| length == b"0");
    match kinds.first().map(|kind| kind.split(';').next().unwrap_or_default().trim()) {
        None => !is_empty && !matches!(response.status, 204 | 304),
        Some(kind) => {
            kind.ends_with("html")
                || kind == "application/xhtml+xml"
                || kind == "image/svg+xml"
                || !kind.contains('/')
        }
    }
}

fn speaks_as_us(value: &[u8]) -> bool {
    let members = String::from_utf8_lossy(value).to_ascii_lowercase();
    members.split(',').any(|member| member.trim().trim_start_matches('"').starts_with("marketgate"))
}

/// Length and absence are kept; an unknown length is told as the version of the caller allows (RFC 9112 §6.3).
fn framing(direct: Framing, http10: bool) -> Framing {
    match direct {
        Framing::Chunked | Framing::UntilClose if http10 => Framing::UntilClose,
        Framing::Chunked | Framing::UntilClose => Framing::Chunked,
        known => known,
    }
}

/// "An address below the app's own `api` comes back through the same route, unless some reader would take the result for a
/// place outside the route. An absolute one stays absolute."
fn mapped(address: &[u8], request: &Request, way: &Way) -> Option<Vec<u8>> {
    // Each octet a character, whatever it means.
    let address: String = address.iter().copied().map(char::from).collect();
    let (_, authority) = way.origin.split_once("://")?;
    let absolute = ["http://", "https://"]
        .iter()
        .find_map(|scheme| address.strip_prefix(scheme)?.strip_prefix(authority));
    let path = match absolute {
        Some(path) => path,
        None if address.starts_with('/') && !address.starts_with("//") => &address,
        None => return None,
    };
    let local = below(path, request, way).map(|local| match absolute {
        Some(_) => format!("{}://{}{local}", scheme(request), request.host),
        None => local,
    });
    // What is relative to the upstream would be relative to the gate.
    let outside = || absolute.is_none().then(|| format!("{}{address}", way.origin));
    local.or_else(outside)?.chars().map(|c| u8::try_from(c).ok()).collect()
}

fn below(path: &str, request: &Request, way: &Way) -> Option<String> {
    let rest = path.strip_prefix(way.base)?;
    let ends_a_segment = rest.is_empty() || rest.starts_with(['/', '?', '#']);
    let plain_path =
        rest.split(['?', '#']).next().unwrap_or_default().to_ascii_lowercase().replace("%2e", ".");
    let climbs = plain_path.split('/').any(|segment| segment == "." || segment == "..");
    let local = format!("{}{rest}", request.prefix(way));
    let local = if local.starts_with('/') { local } else { format!("/{local}") };
    (ends_a_segment && !climbs && !local.starts_with("//")).then_some(local)
}

/// Each target of a `Link`, which stands between angle brackets. The generator writes none within quotes.
fn mapped_links(links: &[u8], request: &Request, way: &Way) -> Option<Vec<u8>> {
    let links = std::str::from_utf8(links).ok()?;
    let part = |(number, part): (usize, &str)| match part.split_once('>').filter(|_| number > 0) {
        Some((target, rest)) => {
            let mapped =
                mapped(target.as_bytes(), request, way).and_then(|mapped| String::from_utf8(mapped).ok());
            format!("{}>{rest}", mapped.as_deref().unwrap_or(target))
        }
        None => part.to_owned(),
    };
    Some(links.split('<').enumerate().map(part).collect::<Vec<_>>().join("<").into_bytes())
}

/// Whoever ends TLS before the gate says so.
fn scheme(request: &Request) -> &'static str {
    let told = request.fields.iter().find(|(name, _)| name.eq_ignore_ascii_case("x-forwarded-proto"));
    match told {
        Some((_, value)) if value.trim_ascii().eq_ignore_ascii_case(b"https") => "https",
        _ => "http",
    }
}
