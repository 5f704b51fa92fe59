//! Field values that must be a single word: `Content-Length`, `Transfer-Encoding`, `Expect`, `Host`. The rule: a value is
//! judged octet by octet as it passes, so that one cut into pieces by the network is read like a whole one.

use super::{
    host::Host,
    octet::is_blank,
    violation::Violation::{self, Expect, Length, TransferCoding},
};

/// A value that must be one word: optional white space around it, none in it, and not empty.
#[derive(Debug)]
pub(super) struct Word {
    place: Place,
    kind: Kind,
}

#[derive(Debug, Clone, Copy)]
enum Place {
    Before,
    Inside,
    After,
}

#[derive(Debug)]
enum Kind {
    Length(u64),
    Literal(Literal, Violation),
    Host(Host),
}

impl Word {
    pub(super) fn length() -> Self {
        Self::of(Kind::Length(0))
    }

    pub(super) fn chunked() -> Self {
        Self::of(Kind::Literal(Literal::new(b"chunked"), TransferCoding))
    }

    pub(super) fn expectation() -> Self {
        Self::of(Kind::Literal(Literal::new(b"100-continue"), Expect))
    }

    pub(super) fn host() -> Self {
        Self::of(Kind::Host(Host::default()))
    }

    fn of(kind: Kind) -> Self {
        Self { place: Place::Before, kind }
    }

    pub(super) fn push(&mut self, octet: u8) -> Result<(), Violation> {
        match (self.place, is_blank(octet)) {
            (Place::Before | Place::After, true) => Ok(()),
            (Place::Inside, true) => {
                self.place = Place::After;
                Ok(())
            }
            (Place::After, false) => Err(self.kind.violation()),
            (Place::Before | Place::Inside, false) => {
                self.place = Place::Inside;
                self.kind.push(octet)
            }
        }
    }

    pub(super) fn end(&self) -> Result<(), Violation> {
        match self.place {
            Place::Before => Err(self.kind.violation()),
            Place::Inside | Place::After => self.kind.end(),
        }
    }

    /// The number read, where this is a `Content-Length`.
    pub(super) fn number(&self) -> Option<u64> {
        match self.kind {
            Kind::Length(number) => Some(number),
            Kind::Literal(..) | Kind::Host(_) => None,
        }
    }
}

impl Kind {
    fn push(&mut self, octet: u8) -> Result<(), Violation> {
        let fits = match self {
            Self::Length(number) => append_digit(number, octet, 10),
            Self::Literal(literal, _) => literal.push(octet),
            Self::Host(host) => host.push(octet),
        };
        fits.then_some(()).ok_or_else(|| self.violation())
    }

    fn end(&self) -> Result<(), Violation> {
        let complete = match self {
            Self::Length(_) => true,
            Self::Literal(literal, _) => literal.is_complete(),
            Self::Host(host) => host.is_complete(),
        };
        complete.then_some(()).ok_or_else(|| self.violation())
    }

    fn violation(&self) -> Violation {
        match self {
            Self::Length(_) => Length,
            Self::Literal(_, violation) => *violation,
            Self::Host(_) => Violation::Host,
        }
    }
}

/// Appends a digit; false when it is none or the number leaves 63 bits.
pub(super) fn append_digit(number: &mut u64, octet: u8, radix: u32) -> bool {
    let digit = char::from(octet).to_digit(radix).map(u64::from);
    let next = digit.and_then(|digit| number.checked_mul(radix.into())?.checked_add(digit));
    match next.filter(|&next| i64::try_from(next).is_ok()) {
        Some(next) => {
            *number = next;
            true
        }
        None => false,
    }
}

/// A word of fixed spelling in any case.
#[derive(Debug)]
pub(super) struct Literal {
    spelling: &'static [u8],
    matched: usize,
}

impl Literal {
    pub(super) fn new(spelling: &'static [u8]) -> Self {
        Self { spelling, matched: 0 }
    }

    pub(super) fn push(&mut self, octet: u8) -> bool {
        let fits = self.spelling.get(self.matched).is_some_and(|next| next.eq_ignore_ascii_case(&octet));
        self.matched += usize::from(fits);
        fits
    }

    pub(super) fn is_complete(&self) -> bool {
        self.matched == self.spelling.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_is_decimal_and_fits_63_bits() {
        let read = |value: &str| {
            let mut word = Word::length();
            value.bytes().try_for_each(|octet| word.push(octet))?;
            word.end().map(|()| word.number())
        };
        assert_eq!(read(" 0042\t "), Ok(Some(42)));
        assert_eq!(read("9223372036854775807"), Ok(Some(i64::MAX as u64)));
        for wrong in ["", "  ", "+5", "-1", "0x5", "5,5", "5 5", "9223372036854775808", "1e3", "5;"] {
            assert_eq!(read(wrong), Err(Length), "{wrong:?}");
        }
    }
}
