//! Field names, of which seven matter before a request is parsed. The rule: a name is never repaired, and one that some
//! server might take for another is refused.

use super::violation::Violation::{self, FieldName};

/// Longest field name taken. The limit keeps names far below the 64 KiB at which the `http` crate gives up.
const LONGEST_NAME: usize = 256;

/// The longest name of a field that matters here: `transfer-encoding`.
const LONGEST_KNOWN: usize = 17;

/// A field name as far as it was read: its length, and as many octets as tell the known names apart.
#[derive(Debug, Default)]
pub(super) struct Name {
    octets: [u8; LONGEST_KNOWN],
    length: usize,
}

/// What a field's name makes of its value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Field {
    Host,
    ContentLength,
    TransferEncoding,
    Connection,
    Upgrade,
    Expect,
    Other,
}

impl Name {
    pub(super) fn clear(&mut self) {
        self.length = 0;
    }

    /// Adds a piece, whose octets are known to be token characters.
    ///
    /// # Errors
    /// The offset in `piece` at which the name becomes too long.
    pub(super) fn push(&mut self, piece: &[u8]) -> Result<(), (usize, Violation)> {
        check_length(self.length, piece)?;
        let known = LONGEST_KNOWN.saturating_sub(self.length).min(piece.len());
        let end = self.length + known;
        if known > 0 {
            self.octets[self.length..end].copy_from_slice(&piece[..known]);
        }
        self.length += piece.len();
        Ok(())
    }

    /// Adds the last piece and says which field it is.
    ///
    /// # Errors
    /// When the name is empty or too long, or imitates one of the two that frame the body; the offset is in `piece`,
    /// or just after it.
    pub(super) fn end(&mut self, piece: &[u8]) -> Result<Field, (usize, Violation)> {
        let field = if self.length == 0 {
            check_length(0, piece)?;
            Field::of(piece)
        } else {
            self.push(piece)?;
            // Longer names are cut here, but to no known one's length.
            self.octets.get(..self.length).map_or(Ok(Field::Other), Field::of)
        };
        field.map_err(|violation| (piece.len(), violation))
    }
}

fn check_length(length: usize, piece: &[u8]) -> Result<(), (usize, Violation)> {
    match length + piece.len() <= LONGEST_NAME {
        true => Ok(()),
        false => Err((LONGEST_NAME - length, FieldName)),
    }
}

impl Field {
    /// The field of this name. Field names are case-insensitive (RFC 9110 §5.1).
    fn of(name: &[u8]) -> Result<Self, Violation> {
        let is = |known: &[u8]| name.eq_ignore_ascii_case(known);
        Ok(match name.len() {
            0 => return Err(FieldName),
            4 if is(b"host") => Self::Host,
            6 if is(b"expect") => Self::Expect,
            7 if is(b"upgrade") => Self::Upgrade,
            10 if is(b"connection") => Self::Connection,
            14 if imitates(name, b"content-length") => genuine(name).map(|()| Self::ContentLength)?,
            17 if imitates(name, b"transfer-encoding") => genuine(name).map(|()| Self::TransferEncoding)?,
            _ => Self::Other,
        })
    }
}

/// Whether some server might take `name` for `known`: CGI and its heirs tell letters and digits apart, and nothing else.
fn imitates(name: &[u8], known: &[u8]) -> bool {
    let same = |(octet, known): (&u8, &u8)| {
        octet.eq_ignore_ascii_case(known) || (*known == b'-' && !octet.is_ascii_alphanumeric())
    };
    name.iter().zip(known).all(same)
}

fn genuine(name: &[u8]) -> Result<(), Violation> {
    match name.iter().any(|octet| !octet.is_ascii_alphanumeric() && *octet != b'-') {
        true => Err(Violation::DisguisedFraming),
        false => Ok(()),
    }
}
