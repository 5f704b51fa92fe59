//! How connections to an app's hosts are opened, where the app says so. The one rule: it travels with every URL of the app's, so
//! that requests, token calls and questions about a token all go one way.

use std::{fmt, net::IpAddr, path::PathBuf};

use http::HeaderName;

use crate::secret::Secret;

/// What one app says of its connections. The default leaves everything to `[upstream]`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Transport {
    /// HTTP/2 is not offered.
    pub http1_only: bool,
    /// The way out in place of `upstream.proxy_url`.
    pub way_out: Option<WayOut>,
    /// What is shown to servers that ask for a certificate (RFC 8446 §4.3.2, RFC 8705).
    pub client_certificate: Option<ClientCertificate>,
    /// Names of header fields as the vendor writes them, for HTTP/1.1; those in lower case are left out.
    pub spellings: Vec<(HeaderName, String)>,
}

impl Transport {
    /// A field's name as it goes out over HTTP/1.1.
    pub fn spelling<'a>(&'a self, name: &'a HeaderName) -> &'a str {
        let known = self.spellings.iter().find(|(known, _)| known == name);
        known.map_or(name.as_str(), |(_, spelling)| spelling)
    }
}

/// An app's own way out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WayOut {
    /// No forward proxy.
    Direct,
    /// This one.
    Proxy(ForwardProxy),
}

/// The files of a client certificate, both PEM.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ClientCertificate {
    /// The certificate, and those between it and an authority that the server knows.
    pub cert: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

/// An HTTP proxy on the way out: `http://[user:password@]host:port`.
#[derive(Clone)]
pub struct ForwardProxy {
    /// Its host, without brackets.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// The value of `Proxy-Authorization` (RFC 9110 §11.7.2), when the URL holds credentials.
    pub authorization: Option<Secret>,
    /// What is reached without it.
    pub except: Vec<Exception>,
}

impl ForwardProxy {
    /// Whether this host is reached without it.
    pub fn spares(&self, host: &str) -> bool {
        self.except.iter().any(|exception| exception.covers(host))
    }
}

impl PartialEq for ForwardProxy {
    fn eq(&self, other: &Self) -> bool {
        let authorization =
            |proxy: &Self| proxy.authorization.as_ref().map(|value| value.expose().to_owned());
        (&self.host, self.port, &self.except) == (&other.host, other.port, &other.except)
            && authorization(self) == authorization(other)
    }
}

impl Eq for ForwardProxy {}

impl fmt::Debug for ForwardProxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ForwardProxy({}:{})", self.host, self.port)
    }
}

/// Hosts that are reached without a forward proxy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Exception {
    /// A name, in lower case, and all below it.
    Domain(String),
    /// The addresses that begin with so many bits of this one.
    Network(IpAddr, u8),
}

impl Exception {
    /// Whether it holds for a host, a name or an address without brackets.
    pub fn covers(&self, host: &str) -> bool {
        match self {
            Self::Domain(domain) => {
                let host = host.trim_end_matches('.').to_ascii_lowercase();
                host.strip_suffix(domain).is_some_and(|above| above.is_empty() || above.ends_with('.'))
            }
            Self::Network(network, bits) => {
                host.parse::<IpAddr>().is_ok_and(|address| begins_alike(*network, address, *bits))
            }
        }
    }
}

fn begins_alike(network: IpAddr, address: IpAddr, bits: u8) -> bool {
    match (network, address) {
        (IpAddr::V4(network), IpAddr::V4(address)) => {
            let differing = u32::from(network) ^ u32::from(address);
            differing.leading_zeros() >= u32::from(bits)
        }
        (IpAddr::V6(network), IpAddr::V6(address)) => {
            let differing = u128::from(network) ^ u128::from(address);
            differing.leading_zeros() >= u32::from(bits)
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exception_covers_a_name_and_what_is_below_it_or_a_network() {
        let domain = Exception::Domain("corp.test".to_owned());
        for (host, covered) in [
            ("corp.test", true),
            ("API.corp.test", true),
            ("api.corp.test.", true),
            ("mycorp.test", false),
            ("corp.test.evil", false),
        ] {
            assert_eq!(domain.covers(host), covered, "{host}");
        }
        let network = Exception::Network("10.1.0.0".parse().unwrap(), 16);
        for (host, covered) in
            [("10.1.2.3", true), ("10.2.0.1", false), ("::1", false), ("10.1.2.3.test", false)]
        {
            assert_eq!(network.covers(host), covered, "{host}");
        }
        assert!(Exception::Network("fd00::".parse().unwrap(), 8).covers("fd12::1"));
        assert!(Exception::Network("127.0.0.1".parse().unwrap(), 32).covers("127.0.0.1"));
        assert!(Exception::Network("0.0.0.0".parse().unwrap(), 0).covers("9.9.9.9"));
    }

    #[test]
    fn a_name_that_nobody_spelled_goes_out_in_lower_case() {
        let name = HeaderName::from_static("wm_sec.access_token");
        let transport = Transport {
            spellings: vec![(name.clone(), "WM_SEC.ACCESS_TOKEN".to_owned())],
            ..Transport::default()
        };
        assert_eq!(transport.spelling(&name), "WM_SEC.ACCESS_TOKEN");
        assert_eq!(transport.spelling(&http::header::ACCEPT), "accept");
    }
}
