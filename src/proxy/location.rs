//! `Location` of a reply. The one rule: a redirect within the upstream's own origin and base comes back through the same
//! route; every other one passes as it is, and none is ever followed by us.

use http::HeaderValue;

use crate::{dots, provider::HttpUrl};

/// The `Location` a caller must see, when it is not the upstream's own: `prefix` is the route he came by.
pub fn map(location: &HeaderValue, api: &HttpUrl, prefix: &str) -> Option<HeaderValue> {
    let location = location.to_str().ok()?;
    let path = match below_origin(location, api) {
        Some(path) => path,
        None if location.starts_with('/') && !location.starts_with("//") => location,
        None => return None,
    };
    HeaderValue::from_str(&below_base(path, api, prefix)?).ok()
}

/// A path below the base as the caller's route names it; None where some reader would leave the route.
fn below_base(path: &str, api: &HttpUrl, prefix: &str) -> Option<String> {
    let rest = path.strip_prefix(api.base_path())?;
    let fits = rest.is_empty() || rest.starts_with(['/', '?', '#']);
    if !fits || dots::refuse(rest.split('#').next().unwrap_or_default()).is_err() {
        return None;
    }
    let local = format!("{prefix}{rest}");
    let local = if local.starts_with('/') { local } else { format!("/{local}") };
    // A network-path reference (RFC 3986 §4.2) would name another host.
    (!local.starts_with("//") && !local.starts_with("/\\")).then_some(local)
}

/// The path of an absolute URL of this very origin; the scheme's own port may be written or not.
fn below_origin<'a>(location: &'a str, api: &HttpUrl) -> Option<&'a str> {
    let (scheme, rest) = location.split_once("://")?;
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    let same_scheme = scheme.eq_ignore_ascii_case(if api.tls { "https" } else { "http" });
    let bare = if api.host.contains(':') { format!("[{}]", api.host) } else { api.host.clone() };
    let with_port = format!("{bare}:{}", api.port);
    let default_port = api.port == if api.tls { 443 } else { 80 };
    let same_authority =
        authority.eq_ignore_ascii_case(&with_port) || (default_port && authority.eq_ignore_ascii_case(&bare));
    (same_scheme && same_authority).then_some(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mapped(location: &str, api: &str, prefix: &str) -> Option<String> {
        let value = map(&HeaderValue::from_str(location).unwrap(), &api.parse().unwrap(), prefix)?;
        Some(value.to_str().unwrap().to_owned())
    }

    #[test]
    fn a_redirect_below_the_base_comes_back_through_the_route() {
        let api = "https://api.test/v2";
        for (location, expected) in [
            ("https://api.test/v2/x?y#z", Some("/shop@a/x?y#z")),
            ("HTTPS://API.TEST:443/v2/x", Some("/shop@a/x")),
            ("https://api.test/v2", Some("/shop@a")),
            ("/v2/x%2Fy", Some("/shop@a/x%2Fy")),
            ("https://api.test/v20/x", None),
            ("/v1/x", None),
            ("x/y", None),
            ("?page=2", None),
            ("https://api.test/v2/../other", None),
            ("/v2/%2e%2e/other", None),
            ("//evil/v2/x", None),
            ("http://api.test/v2/x", None),
            ("https://api.test:444/v2/x", None),
            ("https://api.test@evil/v2/x", None),
        ] {
            assert_eq!(mapped(location, api, "/shop@a").as_deref(), expected, "{location}");
        }
    }

    #[test]
    fn without_a_prefix_the_path_stays_a_path() {
        assert_eq!(mapped("https://api.test", "https://api.test", "").as_deref(), Some("/"));
        assert_eq!(mapped("https://api.test//evil.test/x", "https://api.test", ""), None);
        assert_eq!(mapped("https://api.test?x", "https://api.test/", "/a").as_deref(), Some("/a?x"));
    }
}
