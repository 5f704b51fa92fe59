//! Redirect addresses: which are registered, and how a seller is sent back to one. The one rule: addresses are compared
//! byte for byte (RFC 9700 §2.1), and nothing about them is repaired.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use std::collections::HashMap;
use std::fmt::Write;
use std::sync::Mutex;

use crate::sim::answer::Answer;
use crate::sim::arrival::Arrival;
use crate::sim::lock::locked;
use crate::sim::marketplace::Marketplace;

const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// The addresses that clients registered. A client without any may use every `https` address and every loopback one.
#[derive(Default)]
pub(in crate::sim) struct Redirects(Mutex<HashMap<(Marketplace, String), Vec<String>>>);

impl Redirects {
    /// From now on the client has exactly these; with none, it has none registered again.
    pub(in crate::sim) fn pin(&self, marketplace: Marketplace, client: &str, addresses: Vec<String>) {
        let (mut pinned, key) = (locked(&self.0), (marketplace, client.to_owned()));
        if addresses.is_empty() {
            pinned.remove(&key);
        } else {
            pinned.insert(key, addresses);
        }
    }

    pub(super) fn has(&self, marketplace: Marketplace, client: &str, address: &str) -> bool {
        match locked(&self.0).get(&(marketplace, client.to_owned())) {
            Some(pinned) => pinned.iter().any(|known| known == address),
            None => may_be_registered(address),
        }
    }

    /// Every client with pinned addresses, in order.
    pub(in crate::sim) fn all(&self) -> Vec<(Marketplace, String, Vec<String>)> {
        let pinned = locked(&self.0);
        let mut all: Vec<_> = pinned
            .iter()
            .map(|((marketplace, client), addresses)| (*marketplace, client.clone(), addresses.clone()))
            .collect();
        all.sort();
        all
    }

    pub(in crate::sim) fn forget(&self) {
        locked(&self.0).clear();
    }
}

/// An absolute address without fragment (RFC 6749 §3.1.2), `https` or on this very machine.
pub(in crate::sim) fn may_be_registered(address: &str) -> bool {
    let plain = address.bytes().all(|byte| (0x21..0x7f).contains(&byte) && !b"\"#<>\\^`{|}".contains(&byte));
    let Some((scheme, rest)) = address.split_once("://").filter(|_| plain) else { return false };
    let authority = rest.split(['/', '?']).next().unwrap_or_default();
    let host = match authority.strip_prefix('[') {
        Some(literal) => literal.split_once(']').map_or("", |(host, _)| host),
        None => authority.split(':').next().unwrap_or_default(),
    };
    let port = authority.rsplit_once(':').filter(|(_, after)| !after.contains(']')).map(|(_, port)| port);
    let numbered = port.is_none_or(|port| port.parse::<u16>().is_ok_and(|port| port > 0));
    let local = matches!(host, "localhost" | "127.0.0.1" | "::1");
    !host.is_empty()
        && !authority.contains('@')
        && numbered
        && (scheme == "https" || scheme == "http" && local)
}

/// The way back to a client, parameter by parameter.
pub(super) struct Callback(String);

impl Callback {
    /// RFC 9207: who answers is part of the answer, where the authorization server says so.
    pub(super) fn to(arrival: &Arrival, address: &str) -> Self {
        let callback = Self(address.to_owned());
        match arrival.marketplace {
            Marketplace::Wallapop => callback.with("iss", &issuer(arrival)),
            _ => callback,
        }
    }

    pub(super) fn error(arrival: &Arrival, address: &str, error: &str, description: &str) -> Self {
        Self::to(arrival, address).with("error", error).with("error_description", description)
    }

    pub(super) fn with(mut self, name: &str, value: &str) -> Self {
        let mark = match self.0.split_once('?') {
            None => "?",
            Some((_, "")) => "",
            Some(_) => "&",
        };
        let _ = write!(self.0, "{mark}{name}={}", utf8_percent_encode(value, ENCODED));
        self
    }

    pub(super) fn answer(&self, status: u16) -> Answer {
        Answer::empty(status).headers(&[
            ("location", &self.0),
            ("cache-control", "no-store"),
            ("referrer-policy", "no-referrer"),
        ])
    }
}

/// The issuer identifier of Wallapop's realm (RFC 8414 §2).
pub(super) fn issuer(arrival: &Arrival) -> String {
    format!("{}/wallapop/realms/wallapop-connect", arrival.origin)
}

#[cfg(test)]
mod tests {
    use super::{Callback, may_be_registered};

    #[test]
    fn only_https_and_this_machine_can_be_registered() {
        for good in [
            "https://example.com/cb",
            "https://example.com:8443/cb?tenant=1",
            "https://example.com",
            "http://localhost:8081/callback",
            "http://127.0.0.1/callback",
            "http://[::1]:8081/callback",
        ] {
            assert!(may_be_registered(good), "{good}");
        }
        for bad in [
            "",
            "/callback",
            "http://example.com/cb",
            "http://localhost.example.com/cb",
            "http://127.0.0.1.example.com/cb",
            "http://localhost@example.com/cb",
            "https://user@example.com/cb",
            "https:///cb",
            "https://example.com/cb#x",
            "https://example.com/c b",
            "http://localhost:x/cb",
            "http://localhost:0/cb",
            "http://[::1/cb",
            "http://[::2]/cb",
            "javascript:alert(1)",
            "HTTPS://example.com/cb",
            "myapp://cb",
        ] {
            assert!(!may_be_registered(bad), "{bad}");
        }
    }

    #[test]
    fn a_callback_keeps_the_query_its_address_has_and_encodes_what_it_adds() {
        let with = |address: &str| Callback(address.to_owned()).with("state", "a&b+c d").with("x", "1").0;
        assert_eq!(with("https://x/cb"), "https://x/cb?state=a%26b%2Bc%20d&x=1");
        assert_eq!(with("https://x/cb?y=2"), "https://x/cb?y=2&state=a%26b%2Bc%20d&x=1");
        assert_eq!(with("https://x/cb?"), "https://x/cb?state=a%26b%2Bc%20d&x=1");
    }
}
