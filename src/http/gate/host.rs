//! The value of `Host`, octet by octet. The rule: only what is certainly `host [":" port]` passes (RFC 9110 §7.2); user
//! information, lists and percent-encoding do not.

/// Longest value taken: a DNS name has at most 253 characters, a port five.
const LONGEST: usize = 259;

/// A `Host` value as far as it was read.
#[derive(Debug, Default)]
pub(super) struct Host {
    part: Part,
    length: usize,
}

#[derive(Debug, Default, Clone, Copy)]
enum Part {
    #[default]
    Start,
    Name,
    /// Inside the brackets of an IPv6 address.
    Address,
    AddressEnd,
    /// So many digits of a port.
    Port(usize),
}

impl Host {
    /// Takes one octet; false when it cannot stand there.
    pub(super) fn push(&mut self, octet: u8) -> bool {
        self.length += 1;
        let next = match (self.part, octet) {
            (Part::Start | Part::Name, b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'.' | b'-' | b'_') => {
                Some(Part::Name)
            }
            (Part::Start, b'[') | (Part::Address, b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F' | b':' | b'.') => {
                Some(Part::Address)
            }
            (Part::Address, b']') => Some(Part::AddressEnd),
            (Part::Name | Part::AddressEnd, b':') => Some(Part::Port(0)),
            (Part::Port(digits @ 0..=4), b'0'..=b'9') => Some(Part::Port(digits + 1)),
            _ => None,
        };
        self.part = next.unwrap_or(self.part);
        next.is_some() && self.length <= LONGEST
    }

    /// Whether the value may end here.
    pub(super) fn is_complete(&self) -> bool {
        matches!(self.part, Part::Name | Part::AddressEnd | Part::Port(1..))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passes(value: &str) -> bool {
        let mut host = Host::default();
        value.bytes().all(|octet| host.push(octet)) && host.is_complete()
    }

    #[test]
    fn names_and_addresses_pass_with_and_without_port() {
        for host in
            ["localhost", "a.example:8080", "127.0.0.1:1", "[::1]", "[::ffff:1.2.3.4]:65535", "my_service"]
        {
            assert!(passes(host), "{host}");
        }
    }

    #[test]
    fn whatever_else_is_refused() {
        let long = "a".repeat(LONGEST + 1);
        for host in [
            "", ":80", "a:", "a:b", "a:123456", "u@a", "u:p@a", "a,b", "a b", "a/b", "a%2eb", "[::1", "::1",
            "[::1]x", "[x]", "a#", "a?b", "a\\b", "é", "a;b", "[]:[", &long,
        ] {
            assert!(!passes(host), "{host}");
        }
    }
}
