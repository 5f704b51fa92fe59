//! URLs of APIs and token endpoints. The one rule: what stands in an [`HttpUrl`] can be asked without betraying a token, and
//! its path is the configured one, byte for byte.

use std::{fmt, str::FromStr, sync::Arc};

use http::uri::Authority;

use super::transport::Transport;
use crate::dots;

/// An `http` or `https` URL without userinfo, query or fragment; `http` on loopback only, unless an app says `plaintext`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpUrl {
    /// Whether the scheme is `https`.
    pub tls: bool,
    /// Host without brackets, and the port.
    pub host: String,
    /// The port, the scheme's own when none was written.
    pub port: u16,
    /// Host and port as a `Host` header writes them (RFC 9110 §7.2).
    pub authority: Authority,
    /// The path, byte for byte as configured, a final `/` included.
    pub path: String,
    /// How it is reached.
    pub transport: Arc<Transport>,
}

impl FromStr for HttpUrl {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        Self::read(text, false)
    }
}

impl HttpUrl {
    /// Reads a URL. `plaintext`: `http://` may lead to another machine.
    ///
    /// # Errors
    /// A sentence that names the mistake.
    pub fn read(text: &str, plaintext: bool) -> Result<Self, String> {
        check_spelling(text)?;
        let url: url::Url = text.parse().map_err(|e| format!("`{text}` is no URL: {e}"))?;
        let tls = match url.scheme() {
            "https" => true,
            "http" => false,
            other => return Err(format!("`{other}` is no scheme for an API: write https://")),
        };
        if !url.username().is_empty() || url.password().is_some() {
            return Err("a URL must not hold a user name or password".to_owned());
        }
        if url.query().is_some() || url.fragment().is_some() || text.contains(['?', '#']) {
            return Err(format!("`{text}` must end with its path: no query, no fragment"));
        }
        let host = url.host_str().ok_or_else(|| format!("`{text}` names no host"))?;
        let bare_host = host.trim_matches(['[', ']']).to_owned();
        if !tls && !plaintext && !is_loopback(&bare_host) {
            return Err(format!(
                "`{text}`: http:// is for loopback only, or tokens cross the network in the clear: write https://, or \
                 plaintext = true where nobody else can listen, as within one pod"
            ));
        }
        let authority_text = &url[url::Position::BeforeHost..url::Position::AfterPort];
        let authority = authority_text.parse().map_err(|_| format!("`{text}` names no host"))?;
        let port = url.port_or_known_default().unwrap_or(if tls { 443 } else { 80 });
        let transport = Arc::default();
        Ok(Self { tls, host: bare_host, port, authority, path: written_path(text), transport })
    }
}

/// What the URL standard would quietly repair would not be what goes out, so it is refused.
fn check_spelling(text: &str) -> Result<(), String> {
    if !text.contains("://") {
        return Err(format!("`{text}` is no URL: write https://host/path"));
    }
    if !text.bytes().all(|b| b.is_ascii_graphic() && b != b'\\') {
        return Err("a URL holds visible ASCII characters only, and no backslash".to_owned());
    }
    let path = written_path(text);
    dots::refuse(&path)?;
    if path.contains("//") {
        return Err(format!("`{text}` has an empty path segment: write single slashes"));
    }
    Ok(())
}

/// The path as it was written: the `url` crate resolves dots and encodes, which would not be byte for byte.
fn written_path(text: &str) -> String {
    let after_scheme = text.trim().split_once("://").map_or("", |(_, rest)| rest);
    after_scheme.find('/').map_or(String::new(), |slash| after_scheme[slash..].to_owned())
}

/// Whether a host, a name or an address without brackets, is this machine.
pub fn is_loopback(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost")
        || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

impl HttpUrl {
    /// The same, reached in this way.
    #[must_use]
    pub fn by(self, transport: &Arc<Transport>) -> Self {
        Self { transport: transport.clone(), ..self }
    }

    /// Whether it is on this machine.
    pub fn is_loopback(&self) -> bool {
        is_loopback(&self.host)
    }

    /// `scheme://authority`.
    pub fn origin(&self) -> String {
        format!("{}://{}", if self.tls { "https" } else { "http" }, self.authority)
    }

    /// The path without a final `/`: what a request's own path is appended to.
    pub fn base_path(&self) -> &str {
        self.path.trim_end_matches('/')
    }

    /// The URL of `path`, which begins with `/`, below this one's base path.
    #[must_use]
    pub fn below(&self, path: &str) -> Self {
        Self { path: format!("{}{path}", self.base_path()), ..self.clone() }
    }
}

impl fmt::Display for HttpUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.origin(), self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn http_is_for_loopback_only() {
        for good in
            ["http://127.0.0.1:8090/a/", "http://[::1]/", "http://localhost:1", "https://api.example.com"]
        {
            assert!(good.parse::<HttpUrl>().is_ok(), "{good}");
        }
        for bad in [
            "http://api.example.com",
            "ftp://x",
            "https://u:p@x/",
            "https://x/?a",
            "https://x/#a",
            "x",
            "https://",
            "https:/x.test/a",
            "https://x.test/a/../b",
            "https://x.test/%2e%2e/b",
            "https://x.test\\a",
            "https://x.test/a b",
            "https://x.test/a//b",
        ] {
            assert!(bad.parse::<HttpUrl>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_base_path_is_kept_byte_for_byte() {
        let url: HttpUrl = "https://x.test:8443/a%2Fb/c/".parse().unwrap();
        assert_eq!((url.path.as_str(), url.base_path(), url.port), ("/a%2Fb/c/", "/a%2Fb/c", 8443));
        assert_eq!(url.authority.as_str(), "x.test:8443");
        assert_eq!(url.below("/d/").to_string(), "https://x.test:8443/a%2Fb/c/d/");
    }
}
