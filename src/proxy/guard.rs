//! May this caller talk to us at all? The one rule: localhost is not a boundary.
//!
//! Any web page can make a browser send requests to localhost, and a name that resolves to 127.0.0.1 makes it look like
//! the page's own. So the `Host` must be one of ours, requests that a page caused are refused whatever their method, and
//! where callers have keys, every one must show his.

use std::collections::HashMap;

use base64::{Engine, prelude::BASE64_STANDARD};
use http::{HeaderMap, HeaderName, HeaderValue, Method, header};

use crate::{
    config::settings::{Caller, OWN_HOSTS, ProxySettings},
    http::problem::{Code, Problem},
    secret::sha256,
};

/// The header in which a caller shows his key.
pub static KEY_HEADER: HeaderName = HeaderName::from_static("marketgate-key");

static SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// What the guard lets pass.
#[derive(Debug)]
pub struct Guard {
    /// Names by which we may be called; None: by any.
    hosts: Option<Vec<String>>,
    origins: Vec<String>,
    /// By the SHA-256 of their keys.
    callers: HashMap<[u8; 32], KnownCaller>,
}

/// A caller who showed a key.
#[derive(Debug, PartialEq, Eq)]
pub struct KnownCaller {
    /// `[callers.NAME]`.
    pub name: String,
    /// Its place among the configured callers, from 1: cheaper to compare than names. 0 stands for all who need no key.
    pub number: u32,
}

/// What a request that may pass is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admitted<'a> {
    /// One to be passed on, and whose key it showed; None where callers need none.
    Request(Option<&'a KnownCaller>),
    /// The preflight (Fetch standard §3.2.2) of an allowed origin's page: answered here.
    Preflight,
}

impl Guard {
    /// A guard for these settings.
    pub fn new(proxy: &ProxySettings, callers: &[Caller]) -> Self {
        // A key is no less than a name: where every caller shows one, any name will do unless some are listed.
        let is_bound = callers.is_empty() || !proxy.allowed_hosts.is_empty();
        let names = || OWN_HOSTS.into_iter().chain(proxy.allowed_hosts.iter().map(String::as_str));
        let hosts = is_bound.then(|| names().map(str::to_owned).collect());
        let known = |(caller, number): (&Caller, u32)| {
            (caller.key_sha256, KnownCaller { name: caller.name.clone(), number })
        };
        let callers = callers.iter().zip(1..).map(known).collect();
        Self { hosts, origins: proxy.allowed_origins.clone(), callers }
    }

    /// Judges a request by its head. `token_header`: where the API that it is for takes tokens, if it is for one. A program that has
    /// fetched its token here sends its key there.
    ///
    /// # Errors
    /// A problem that says which rule it broke.
    pub fn admit(
        &self,
        method: &Method,
        headers: &HeaderMap,
        token_header: Option<&HeaderName>,
    ) -> Result<Admitted<'_>, Problem> {
        self.check_host(headers)?;
        let origin = self.check_browser(headers)?;
        check_method(method)?;
        let asks_first = headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD);
        if origin.is_some() && method == Method::OPTIONS && asks_first {
            // A browser sends no credentials with a preflight.
            return Ok(Admitted::Preflight);
        }
        self.check_caller(headers, token_header).map(Admitted::Request)
    }

    /// The origin of a page that may read every answer, ours included; None for all that no allowed page sent.
    pub fn allowed_origin(&self, headers: &HeaderMap) -> Option<HeaderValue> {
        if self.origins.is_empty() {
            return None;
        }
        let mut origins = headers.get_all(header::ORIGIN).iter();
        let origin = origins.next().filter(|_| origins.next().is_none())?;
        self.origins.iter().any(|ours| ours.as_bytes() == origin.as_bytes()).then(|| origin.clone())
    }

    /// Whether this names a host that is certainly ours.
    pub fn is_own_host(&self, headers: &HeaderMap) -> bool {
        let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).and_then(host_name);
        let listed = self.hosts.iter().flatten().map(String::as_str);
        host.is_some_and(|host| {
            OWN_HOSTS.into_iter().chain(listed).any(|ours| ours.eq_ignore_ascii_case(host))
        })
    }

    fn check_host(&self, headers: &HeaderMap) -> Result<(), Problem> {
        let mut hosts = headers.get_all(header::HOST).iter();
        let (host, second) = (hosts.next(), hosts.next());
        if second.is_some() {
            return Err(host_refused("two Host fields"));
        }
        // HTTP/1.0 alone may leave it out, and no browser speaks that.
        let (Some(ours), Some(host)) = (&self.hosts, host) else { return Ok(()) };
        let host = Some(host).and_then(|host| host.to_str().ok()).and_then(host_name);
        let known = host.is_some_and(|host| ours.iter().any(|ours| ours.eq_ignore_ascii_case(host)));
        if known { Ok(()) } else { Err(host_refused(host.unwrap_or("no well-formed Host"))) }
    }

    /// Either mark alone gives a page away: `Sec-Fetch-Site` is absent on plain-http names that were rebound, `Origin` on
    /// what an `<img>` fetches.
    fn check_browser(&self, headers: &HeaderMap) -> Result<Option<HeaderValue>, Problem> {
        if let Some(why) = browser_mark(headers) {
            let action = "call from a program: what a browser loads by itself is refused even where no page is named, since \
                a page may have led it here";
            return Err(Problem::new(
                Code::BrowserRefused,
                format!("a browser sent this request: {why}"),
                action,
            ));
        }
        if headers.contains_key(header::ORIGIN) {
            let refused = || browser_refused("it carries an Origin that is not in proxy.allowed_origins");
            return self.allowed_origin(headers).map(Some).ok_or_else(refused);
        }
        let foreign = headers.get_all(&SEC_FETCH_SITE).iter().any(|site| site.as_bytes() != b"none");
        if foreign {
            Err(browser_refused("its Sec-Fetch-Site says that a web page caused it"))
        } else {
            Ok(None)
        }
    }

    /// The key by which this request was let in; None where callers need none.
    pub fn key_shown(&self, headers: &HeaderMap, token_header: &HeaderName) -> Option<String> {
        keys(headers, Some(token_header)).find(|key| self.is_key(key))
    }

    /// Whether this is a caller's key.
    pub fn is_key(&self, key: &str) -> bool {
        self.callers.contains_key(&sha256(key))
    }

    /// The first key that is a caller's tells who it is.
    fn check_caller(
        &self,
        headers: &HeaderMap,
        token_header: Option<&HeaderName>,
    ) -> Result<Option<&KnownCaller>, Problem> {
        if self.callers.is_empty() {
            return Ok(None);
        }
        if let Some(caller) = keys(headers, token_header).find_map(|key| self.callers.get(&sha256(&key))) {
            return Ok(Some(caller));
        }
        let detail = match keys(headers, token_header).next() {
            Some(_) => "the key is not a known caller's",
            None => "no key",
        };
        let action = "send your key as `Marketgate-Key: KEY`, as `Authorization: Bearer KEY` or as a Basic password; \
                          `marketgate caller NAME` makes one";
        Err(Problem::new(Code::CallerUnknown, detail, action))
    }
}

/// What only browsers say of requests that no program asks for: navigations, frames, web sockets, and what is loaded ahead.
/// A navigation that began outside of the browser says `Sec-Fetch-Site: none` wherever redirects have led it since.
fn browser_mark(headers: &HeaderMap) -> Option<&'static str> {
    // Most names are told by their first letter.
    let may_be_one =
        |name: &HeaderName| matches!(name.as_str().as_bytes().first(), Some(b's' | b'p' | b'u' | b'x'));
    let fields = headers.iter().filter(|(name, _)| may_be_one(name));
    let mut marks = fields.filter_map(|(name, value)| match (name.as_str(), value.as_bytes()) {
        // `fetch` of Node.js and Deno says `cors` as well.
        ("sec-fetch-mode", b"cors" | b"no-cors" | b"same-origin") => None,
        ("sec-fetch-mode", _) => Some("its Sec-Fetch-Mode is no program's"),
        ("sec-fetch-dest", b"document" | b"iframe" | b"frame" | b"fencedframe" | b"embed" | b"object") => {
            Some("its Sec-Fetch-Dest is a page")
        }
        ("sec-purpose", _) => Some("it has a Sec-Purpose"),
        ("purpose" | "x-purpose" | "x-moz", value) if is_ahead_of_need(value) => Some("it is a prefetch"),
        ("upgrade-insecure-requests", _) => Some("Upgrade-Insecure-Requests marks a navigation"),
        _ => None,
    });
    marks.next()
}

fn is_ahead_of_need(purpose: &[u8]) -> bool {
    let begins = |word: &str| {
        purpose.get(..word.len()).is_some_and(|start| start.eq_ignore_ascii_case(word.as_bytes()))
    };
    ["prefetch", "preview", "prerender", "instant"].into_iter().any(begins)
}

/// A TRACE shows the request to whoever sent it (RFC 9110 §9.3.8), and with it the token we put on.
fn check_method(method: &Method) -> Result<(), Problem> {
    if *method != Method::TRACE {
        return Ok(());
    }
    let detail = "TRACE would show the access token to the caller";
    Err(Problem::new(Code::NotAllowed, detail, "use `marketgate explain` to see what would be sent"))
}

/// Every key a request to such an API shows.
fn keys<'a>(
    headers: &'a HeaderMap,
    token_header: Option<&'a HeaderName>,
) -> impl Iterator<Item = String> + 'a {
    // `Authorization` says by its scheme what stands there.
    let token_header = token_header.filter(|name| *name != header::AUTHORIZATION);
    let tokens = token_header.into_iter().flat_map(|name| headers.get_all(name));
    // A prefix may stand before the token.
    let tokens = tokens.filter_map(|value| value.to_str().ok()?.rsplit(' ').next().map(str::to_owned));
    shown_keys(headers).chain(tokens)
}

/// Every key a request shows: HTTP clients differ in which header they can set.
pub fn shown_keys(headers: &HeaderMap) -> impl Iterator<Item = String> {
    let own =
        headers.get_all(&KEY_HEADER).iter().filter_map(|v| v.to_str().ok()).map(|v| v.trim().to_owned());
    let fields = headers.get_all(header::AUTHORIZATION).iter().filter_map(|v| v.to_str().ok());
    own.chain(fields.filter_map(key_in_authorization))
}

fn key_in_authorization(field: &str) -> Option<String> {
    let (scheme, value) = field.split_once(' ')?;
    if scheme.eq_ignore_ascii_case("bearer") {
        return Some(value.trim().to_owned());
    }
    let decoded =
        BASE64_STANDARD.decode(value.trim()).ok().filter(|_| scheme.eq_ignore_ascii_case("basic"))?;
    let (_, password) = std::str::from_utf8(&decoded).ok()?.split_once(':')?;
    Some(password.to_owned())
}

/// The name in a `Host` field (RFC 9110 §7.2) as it is written, without brackets and port. Its case means nothing.
pub fn host_name(host: &str) -> Option<&str> {
    let (name, port) = match host.strip_prefix('[') {
        Some(bracketed) => bracketed.split_once(']')?,
        None => host.bytes().position(|b| b == b':').map_or((host, ""), |colon| host.split_at(colon)),
    };
    let port = port.strip_prefix(':').unwrap_or(port);
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_' | b':');
    let well_formed = !name.is_empty() && name.bytes().all(plain) && port.bytes().all(|b| b.is_ascii_digit());
    well_formed.then(|| name.trim_end_matches('.'))
}

fn host_refused(what: &str) -> Problem {
    let detail = format!("the Host of this request is refused: {what}");
    Problem::new(
        Code::HostRefused,
        detail,
        "call by localhost or 127.0.0.1; for another name give every caller a key ([callers.NAME]), and if \
         proxy.allowed_hosts is written, list the name there",
    )
}

fn browser_refused(why: &str) -> Problem {
    let detail = format!("a web page caused this request: {why}");
    Problem::new(
        Code::BrowserRefused,
        detail,
        "call from a program, or add the page's origin to proxy.allowed_origins",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_compared_by_name_not_by_port() {
        assert_eq!(host_name("LOCALHOST:8080"), Some("LOCALHOST"));
        assert_eq!(host_name("localhost."), Some("localhost"));
        assert_eq!(host_name("[::1]:80"), Some("::1"));
        for bad in [
            "",
            ":80",
            "a:x@evil",
            "localhost:80@evil",
            "a,b",
            "a b",
            "localhost:8x",
            "[::1",
            "user@localhost",
        ] {
            assert_eq!(host_name(bad), None, "{bad}");
        }
    }

    #[test]
    fn whoever_shows_a_key_is_told_by_name_whatever_else_is_shown() {
        let caller = |name: &str| Caller { name: name.to_owned(), key_sha256: sha256(name) };
        let (listeners, allowed_hosts, allowed_origins) = (Vec::new(), Vec::new(), Vec::new());
        let proxy = ProxySettings {
            listeners,
            allowed_hosts,
            allowed_origins,
            access_log: false,
            drain_delay: std::time::Duration::ZERO,
        };
        let guard = Guard::new(&proxy, &[caller("books"), caller("stock")]);
        let mut headers = HeaderMap::new();
        assert!(guard.admit(&Method::GET, &headers, None).is_err());
        headers.insert(&KEY_HEADER, HeaderValue::from_static("nobody's"));
        headers.append(header::AUTHORIZATION, HeaderValue::from_static("Bearer stock"));
        let stock = KnownCaller { name: "stock".to_owned(), number: 2 };
        let admitted = guard.admit(&Method::GET, &headers, None).unwrap();
        assert_eq!(admitted, Admitted::Request(Some(&stock)));
        let own = HeaderName::from_static("wm_sec.access_token");
        for value in ["stock", "Token stock"] {
            let headers = HeaderMap::from_iter([(own.clone(), HeaderValue::from_static(value))]);
            let admitted = guard.admit(&Method::GET, &headers, Some(&own)).unwrap();
            assert_eq!(admitted, Admitted::Request(Some(&stock)));
            assert!(guard.admit(&Method::GET, &headers, Some(&header::AUTHORIZATION)).is_err());
        }
    }

    #[test]
    fn what_a_browser_loads_by_itself_is_told_from_what_a_program_asks_for() {
        let marked = |name: &'static str, value: &'static str| {
            let headers =
                HeaderMap::from_iter([(HeaderName::from_static(name), HeaderValue::from_static(value))]);
            browser_mark(&headers).is_some()
        };
        for (name, value) in [
            ("sec-fetch-mode", "navigate"),
            ("sec-fetch-mode", "NAVIGATE"),
            ("sec-fetch-mode", "nested-navigate"),
            ("sec-fetch-mode", "websocket"),
            ("sec-fetch-mode", "webtransport"),
            ("sec-fetch-mode", "cors, navigate"),
            ("sec-fetch-mode", ""),
            ("sec-fetch-dest", "iframe"),
            ("sec-purpose", "prefetch;prerender"),
            ("purpose", "Prefetch"),
            ("x-moz", "prefetch"),
            ("x-purpose", "preview"),
            ("upgrade-insecure-requests", "1"),
        ] {
            assert!(marked(name, value), "{name}: {value}");
        }
        for (name, value) in
            [("sec-fetch-mode", "cors"), ("sec-fetch-dest", "empty"), ("purpose", "refund"), ("x-moz", "")]
        {
            assert!(!marked(name, value), "{name}: {value}");
        }
    }

    #[test]
    fn a_key_is_found_in_each_of_its_three_places() {
        let mut headers = HeaderMap::new();
        headers.insert(&KEY_HEADER, HeaderValue::from_static("k1"));
        headers.append(header::AUTHORIZATION, HeaderValue::from_static("bearer k2"));
        headers.append(header::AUTHORIZATION, HeaderValue::from_static("Basic YW55OmszOng="));
        assert_eq!(shown_keys(&headers).collect::<Vec<_>>(), ["k1", "k2", "k3:x"]);
    }
}
