//! Addresses in the head of a reply. The one rule: one that leads to the upstream's own origin and base comes back through the
//! same route; every other one leads where the upstream meant it, and none is ever followed by us.
//!
//! A redirect, a `Link` to the next page (RFC 8288) or the place where a long operation is asked about would else lead a program
//! past the proxy, where it has no credential.

use http::{
    HeaderMap, HeaderName, HeaderValue,
    header::{CONTENT_LOCATION, HOST, LINK, LOCATION},
    request::Parts,
};

use crate::{dots, provider::HttpUrl};

/// Where a long operation is asked about, at APIs that follow Microsoft's guidelines.
const OPERATIONS: [&str; 2] = ["operation-location", "azure-asyncoperation"];

/// How a caller reaches an app.
#[derive(Debug, Clone, Copy)]
pub struct WayBack<'a> {
    /// Where the upstream's API is.
    pub api: &'a HttpUrl,
    /// What stands before the upstream's path: empty, or `/app` or `/app@account`.
    pub prefix: &'a str,
    /// What was asked for below the API, which relative addresses go on from.
    pub rest: &'a str,
    /// `http`, or `https` where whoever ends TLS in front of us says so.
    pub scheme: &'a str,
    /// Our own address as the caller wrote it, if he did.
    pub host: Option<&'a str>,
}

impl<'a> WayBack<'a> {
    /// The way by which this request came.
    pub fn of(request: &'a Parts, api: &'a HttpUrl, prefix: &'a str, rest: &'a str) -> Self {
        let text = |name: &HeaderName| request.headers.get(name).and_then(|value| value.to_str().ok());
        // Where several stand in front of us, the first of them speaks with the caller.
        let forwarded =
            text(&HeaderName::from_static("x-forwarded-proto")).and_then(|list| list.split(',').next());
        let behind_tls = forwarded.is_some_and(|scheme| scheme.trim().eq_ignore_ascii_case("https"));
        Self { api, prefix, rest, scheme: if behind_tls { "https" } else { "http" }, host: text(&HOST) }
    }

    /// Maps every address in the head of a reply. Most hold none, so the way is asked for where there is one.
    pub fn map_all(headers: &mut HeaderMap, way: impl Fn() -> Self) {
        for (name, value) in headers.iter_mut() {
            let mapped = match *name {
                LOCATION | CONTENT_LOCATION => way().map_value(value),
                LINK => way().map_links(value),
                ref name if OPERATIONS.contains(&name.as_str()) => way().map_value(value),
                _ => None,
            };
            if let Some(mapped) = mapped.and_then(|mapped| value_of(&mapped)) {
                *value = mapped;
            }
        }
    }

    fn map_value(&self, value: &HeaderValue) -> Option<String> {
        self.map(&text_of(value))
    }

    /// The targets of links, each between `<` and `>`. What stands in quotes is text.
    fn map_links(&self, value: &HeaderValue) -> Option<String> {
        let text = text_of(value);
        let mut rest = text.as_str();
        let mut links = String::with_capacity(rest.len());
        while let Some(start) = link_start(rest) {
            let Some(end) = rest[start..].find('>') else { break };
            let target = &rest[start..start + end];
            links.push_str(&rest[..start]);
            links.push_str(self.map(target.trim()).as_deref().unwrap_or(target));
            rest = &rest[start + end..];
        }
        links.push_str(rest);
        Some(links)
    }

    /// The address that a caller must see, when it is not the upstream's own. An absolute one stays absolute.
    pub fn map(&self, address: &str) -> Option<String> {
        // Readers leave them out (WHATWG URL Standard), wherever they stand.
        let address = &*address.replace('\t', "");
        let Some((scheme, authority, path)) = absolute(address) else { return self.map_relative(address) };
        if !self.is_upstream(scheme, authority) {
            return None;
        }
        match (self.host, scheme) {
            (None, _) => self.below_prefix(path, true),
            (Some(host), "") => Some(format!("//{host}{}", self.below_prefix(path, false)?)),
            (Some(host), _) => Some(format!("{}://{host}{}", self.scheme, self.below_prefix(path, false)?)),
        }
    }

    /// What is relative to the upstream's origin would be relative to ours. What does not lead below the base becomes absolute, or it
    /// might name another app.
    fn map_relative(&self, address: &str) -> Option<String> {
        let of_upstream = |path: &str| format!("{}{path}", self.api.origin());
        if address.starts_with('/') {
            return self.below_prefix(address, true).or_else(|| Some(of_upstream(address)));
        }
        let path = address.split(['?', '#']).next().unwrap_or_default();
        let climbs = dots::refuse(path).is_err() || path.contains('\\');
        if !climbs || path.contains(':') {
            return None;
        }
        let here = url::Url::parse(&of_upstream(&format!("{}{}", self.api.base_path(), self.rest))).ok()?;
        let there = here.join(address).ok()?.to_string();
        self.map(&there).or(Some(there))
    }

    /// A path below the base as the caller's route names it; None where some reader would leave the route.
    fn below_prefix(&self, path: &str, alone: bool) -> Option<String> {
        let rest = path.strip_prefix(self.api.base_path())?;
        let fits = rest.is_empty() || rest.starts_with(['/', '?', '#']);
        // Octets that no UTF-8 has may be a dot or a slash in disguise.
        let is_disguised = rest.contains(['\u{c0}', '\u{c1}', '\u{e0}', '\u{f0}']);
        if !fits || is_disguised || dots::refuse(rest.split('#').next().unwrap_or_default()).is_err() {
            return None;
        }
        let local = format!("{}{rest}", self.prefix);
        let local = if local.starts_with('/') { local } else { format!("/{local}") };
        // A network-path reference (RFC 3986 §4.2) would name another host.
        (!alone || !local.starts_with("//") && !local.starts_with("/\\")).then_some(local)
    }

    /// Whether this is the upstream's own host, at its port, or at the usual port of either scheme where it has the usual one.
    /// No scheme is the one by which the reply came.
    fn is_upstream(&self, scheme: &str, authority: &str) -> bool {
        let api = self.api;
        let usual = |tls: bool| if tls { 443 } else { 80 };
        let tls = match scheme {
            "" => api.tls,
            scheme if scheme.eq_ignore_ascii_case("https") => true,
            scheme if scheme.eq_ignore_ascii_case("http") => false,
            _ => return false,
        };
        let bare = if api.host.contains(':') { format!("[{}]", api.host) } else { api.host.clone() };
        let Some(port) = authority.get(..bare.len()).filter(|host| host.eq_ignore_ascii_case(&bare)) else {
            return false;
        };
        let port = match &authority[port.len()..] {
            "" | ":" => Some(usual(tls)),
            port => port.strip_prefix(':').and_then(|port| port.parse().ok()),
        };
        port == Some(api.port) || (api.port == usual(api.tls) && port == Some(usual(tls)))
    }
}

/// A value as text, each octet a character: what is not ASCII stays as it is, whatever it means.
fn text_of(value: &HeaderValue) -> String {
    value.as_bytes().iter().copied().map(char::from).collect()
}

fn value_of(text: &str) -> Option<HeaderValue> {
    let octets: Option<Vec<u8>> = text.chars().map(|c| u8::try_from(c).ok()).collect();
    HeaderValue::from_bytes(&octets?).ok()
}

/// Scheme, authority and the rest; the scheme is empty where the address begins with `//`.
fn absolute(address: &str) -> Option<(&str, &str, &str)> {
    let (scheme, rest) = address.split_once("//")?;
    let scheme = if scheme.is_empty() { scheme } else { scheme.strip_suffix(':')? };
    let end = rest.find(['/', '?', '#', '\\']).unwrap_or(rest.len());
    scheme.bytes().all(|byte| byte.is_ascii_alphabetic()).then_some((scheme, &rest[..end], &rest[end..]))
}

/// Where the next link's target begins.
fn link_start(links: &str) -> Option<usize> {
    let (mut quoted, mut escaped) = (false, false);
    for (at, byte) in links.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b'<' if !quoted => return Some(at + 1),
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mapped(address: &str, api: &str, prefix: &str) -> Option<String> {
        let api = api.parse().unwrap();
        WayBack { api: &api, prefix, rest: "/orders/7", scheme: "http", host: Some("gate:8080") }.map(address)
    }

    #[test]
    fn an_address_below_the_base_comes_back_through_the_route() {
        let api = "https://api.test/v2";
        for (address, expected) in [
            ("https://api.test/v2/x?y#z", Some("http://gate:8080/shop@a/x?y#z")),
            ("HTTPS://API.TEST:443/v2/x", Some("http://gate:8080/shop@a/x")),
            ("https://api.test/v2", Some("http://gate:8080/shop@a")),
            ("http://api.test/v2/x", Some("http://gate:8080/shop@a/x")),
            ("http://api.test:80/v2/x", Some("http://gate:8080/shop@a/x")),
            ("http://api.test:443/v2/x", Some("http://gate:8080/shop@a/x")),
            ("//api.test/v2/x", Some("//gate:8080/shop@a/x")),
            ("/v2/x%2Fy", Some("/shop@a/x%2Fy")),
            ("https://api.test/v20/x", None),
            ("/v1/x", Some("https://api.test/v1/x")),
            ("/v2;p=1/x", Some("https://api.test/v2;p=1/x")),
            ("../items", Some("http://gate:8080/shop@a/items")),
            ("../../../shop@b/x", Some("https://api.test/shop@b/x")),
            ("./8", Some("http://gate:8080/shop@a/orders/8")),
            ("/v2/\t/evil.test/x", Some("/shop@a//evil.test/x")),
            ("/v2/.\t./.\t./b/x", Some("https://api.test/v2/../../b/x")),
            ("/v2/gr\u{f6}\u{df}e", Some("/shop@a/gr\u{f6}\u{df}e")),
            ("mailto:a/../b", None),
            ("x/y", None),
            ("?page=2", None),
            ("x?next=https://api.test/v2/x", None),
            ("https://api.test/v2/../other", None),
            ("/v2/%2e%2e/other", Some("https://api.test/v2/%2e%2e/other")),
            ("/v2/\u{c0}\u{ae}./x", Some("https://api.test/v2/\u{c0}\u{ae}./x")),
            ("//evil/v2/x", None),
            ("ftp://api.test/v2/x", None),
            ("https://api.test:444/v2/x", None),
            ("https://api.test:80/v2/x", None),
            ("https://api.test@evil/v2/x", None),
            ("https://evil\\@api.test/v2/x", None),
            ("https://api.test.evil/v2/x", None),
            ("", None),
        ] {
            assert_eq!(mapped(address, api, "/shop@a").as_deref(), expected, "{address}");
        }
        let other_port = "http://127.0.0.1:8000/v2";
        assert_eq!(mapped("http://127.0.0.1/v2/x", other_port, "/a"), None);
        assert_eq!(
            mapped("https://127.0.0.1:8000/v2/x", other_port, "/a").as_deref(),
            Some("http://gate:8080/a/x")
        );
        assert_eq!(
            mapped("http://[::1]:1/x", "http://[::1]:1", "/a").as_deref(),
            Some("http://gate:8080/a/x")
        );
    }

    #[test]
    fn without_a_prefix_the_path_stays_a_path() {
        let at_gate = |rest: &str| Some(format!("http://gate:8080{rest}"));
        assert_eq!(mapped("https://api.test", "https://api.test", ""), at_gate("/"));
        assert_eq!(mapped("https://api.test//evil.test/x", "https://api.test", ""), at_gate("//evil.test/x"));
        assert_eq!(mapped("https://api.test?x", "https://api.test/", "/a"), at_gate("/a?x"));
        let api = "https://api.test/v2".parse().unwrap();
        let nameless = WayBack { api: &api, prefix: "", rest: "/", scheme: "http", host: None };
        assert_eq!(nameless.map("https://api.test/v2/x").as_deref(), Some("/x"));
        assert_eq!(nameless.map("https://api.test/v2//evil.test/x"), None);
        assert_eq!(nameless.map("/v2//evil.test/x").as_deref(), Some("https://api.test/v2//evil.test/x"));
    }

    #[test]
    fn of_a_reply_every_field_that_holds_an_address_is_mapped_and_no_other() {
        let api = "https://api.test/v2".parse().unwrap();
        let way = WayBack { api: &api, prefix: "/shop", rest: "/", scheme: "https", host: Some("gate") };
        let mut headers = HeaderMap::new();
        let fields = [
            ("location", "/v2/a", "/shop/a"),
            ("location", "https://api.test/v2/b", "https://gate/shop/b"),
            ("content-location", "https://api.test/v2/c", "https://gate/shop/c"),
            ("operation-location", "https://api.test/v2/d", "https://gate/shop/d"),
            ("x-other", "https://api.test/v2/e", "https://api.test/v2/e"),
            (
                "link",
                "<https://api.test/v2/items?page=2>; rel=next; title=\"a \\\"<https://api.test/v2/>\", </v2/x,y>;rel=\"last\"",
                "<https://gate/shop/items?page=2>; rel=next; title=\"a \\\"<https://api.test/v2/>\", </shop/x,y>;rel=\"last\"",
            ),
            ("link", "<https://else.test/v2/>; rel=help", "<https://else.test/v2/>; rel=help"),
            ("link", "< /v2/x >; rel=help; title=Gr\u{f6}", "</shop/x>; rel=help; title=Gr\u{f6}"),
            ("link", "<https://api.test/v2/unfinished", "<https://api.test/v2/unfinished"),
        ];
        for (name, value, _) in fields {
            headers.append(name, value_of(value).unwrap());
        }
        WayBack::map_all(&mut headers, || way);
        for name in ["location", "content-location", "operation-location", "x-other", "link"] {
            let found: Vec<_> = headers.get_all(name).iter().map(text_of).collect();
            let expected: Vec<_> =
                fields.iter().filter(|(field, ..)| *field == name).map(|(_, _, mapped)| *mapped).collect();
            assert_eq!(found, expected);
        }
    }
}
