//! `Connection`, as far as it says whether the connection goes on. The rule: only whole options count, wherever in the
//! list they stand.

use super::{octet::is_blank, word::Literal};

/// The options of `Connection` (RFC 9110 §7.6.1) that say whether the connection goes on.
#[derive(Debug, Default)]
pub(super) struct Options {
    /// `close` is among them.
    pub(super) close: bool,
    /// `keep-alive` is among them.
    pub(super) keep_alive: bool,
    candidate: Candidate,
}

/// One option as far as it was read.
#[derive(Debug)]
struct Candidate {
    close: Literal,
    keep_alive: Literal,
    /// False once an octet fitted neither, or something followed white space.
    plausible: (bool, bool),
    ended: bool,
    empty: bool,
}

impl Default for Candidate {
    fn default() -> Self {
        Self {
            close: Literal::new(b"close"),
            keep_alive: Literal::new(b"keep-alive"),
            plausible: (true, true),
            ended: false,
            empty: true,
        }
    }
}

impl Options {
    pub(super) fn push(&mut self, octet: u8) {
        match octet {
            b',' => self.end(),
            _ if is_blank(octet) => self.candidate.ended = !self.candidate.empty,
            _ => self.candidate.push(octet),
        }
    }

    /// The value, or one of its options, ends.
    pub(super) fn end(&mut self) {
        let candidate = std::mem::take(&mut self.candidate);
        self.close |= candidate.plausible.0 && candidate.close.is_complete();
        self.keep_alive |= candidate.plausible.1 && candidate.keep_alive.is_complete();
    }
}

impl Candidate {
    fn push(&mut self, octet: u8) {
        self.empty = false;
        self.plausible.0 &= !self.ended && self.close.push(octet);
        self.plausible.1 &= !self.ended && self.keep_alive.push(octet);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(value: &str) -> (bool, bool) {
        let mut options = Options::default();
        value.bytes().for_each(|octet| options.push(octet));
        options.end();
        (options.close, options.keep_alive)
    }

    #[test]
    fn connection_options_are_whole_words_in_any_case() {
        assert_eq!(options("close"), (true, false));
        assert_eq!(options(" TE , Close\t"), (true, false));
        assert_eq!(options("Keep-Alive,close"), (true, true));
        assert_eq!(options("closed, keep-alive x, clo se,x-close,"), (false, false));
    }
}
