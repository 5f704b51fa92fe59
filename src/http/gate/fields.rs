//! What the fields of a head say together: where the body ends, and whether anything may follow it. The rule: fields that
//! contradict each other are refused, never weighed (RFC 9112 §6.3).

use super::{name::Field, options::Options, violation::Violation, word::Word};

/// How a body is delimited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Body {
    Length(u64),
    Chunked,
}

/// What a complete head says about what follows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Message {
    pub(super) body: Body,
    /// The connection ends with this message (RFC 9112 §9.3).
    pub(super) last: bool,
    /// It asks for another protocol (RFC 9110 §7.8).
    pub(super) upgrade: bool,
}

/// What was found in a head so far.
#[derive(Debug, Default)]
pub(super) struct Fields {
    /// Said by the request line: what the fields mean depends on it.
    pub(super) http11: bool,
    host: bool,
    length: Option<u64>,
    chunked: bool,
    expect: bool,
    close: bool,
    keep_alive: bool,
    upgrade: bool,
}

/// The value of the field being read.
#[derive(Debug)]
pub(super) enum Value {
    Opaque,
    Word(Field, Word),
    Options(Options),
}

impl Value {
    pub(super) fn push(&mut self, piece: &[u8]) -> Result<(), (usize, Violation)> {
        match self {
            Self::Opaque => {}
            Self::Options(options) => piece.iter().for_each(|&octet| options.push(octet)),
            Self::Word(_, word) => {
                for (at, &octet) in piece.iter().enumerate() {
                    word.push(octet).map_err(|violation| (at, violation))?;
                }
            }
        }
        Ok(())
    }
}

impl Fields {
    /// A field begins.
    pub(super) fn open(&mut self, field: Field) -> Result<Value, Violation> {
        match field {
            Field::Host if self.host => Err(Violation::HostRepeated),
            Field::Host => Ok(Value::Word(field, Word::host())),
            Field::ContentLength | Field::TransferEncoding => self.open_framing(field),
            Field::Expect if self.expect => Err(Violation::Expect),
            Field::Expect => Ok(Value::Word(field, Word::expectation())),
            Field::Connection => Ok(Value::Options(Options::default())),
            Field::Upgrade => {
                self.upgrade = true;
                Ok(Value::Opaque)
            }
            Field::Other => Ok(Value::Opaque),
        }
    }

    /// RFC 9112 §6.3: what makes a body's length ambiguous is refused, never repaired.
    fn open_framing(&self, field: Field) -> Result<Value, Violation> {
        match field {
            Field::ContentLength if self.chunked => Err(Violation::TwoFramings),
            Field::ContentLength if self.length.is_some() => Err(Violation::LengthRepeated),
            Field::ContentLength => Ok(Value::Word(field, Word::length())),
            _ if !self.http11 => Err(Violation::TransferCodingOnHttp10),
            _ if self.length.is_some() => Err(Violation::TwoFramings),
            _ if self.chunked => Err(Violation::TransferCoding),
            _ => Ok(Value::Word(field, Word::chunked())),
        }
    }

    /// A field ends.
    pub(super) fn close(&mut self, value: &mut Value) -> Result<(), Violation> {
        match value {
            Value::Opaque => {}
            Value::Options(options) => {
                options.end();
                self.close |= options.close;
                self.keep_alive |= options.keep_alive;
            }
            Value::Word(field, word) => {
                word.end()?;
                match field {
                    Field::Host => self.host = true,
                    Field::Expect => self.expect = true,
                    Field::TransferEncoding => self.chunked = true,
                    _ => self.length = word.number(),
                }
            }
        }
        Ok(())
    }

    /// What follows the head, at its end.
    ///
    /// # Errors
    /// When a field is missing.
    pub(super) fn message(&self) -> Result<Message, Violation> {
        if self.http11 && !self.host {
            return Err(Violation::HostMissing);
        }
        let body = if self.chunked { Body::Chunked } else { Body::Length(self.length.unwrap_or(0)) };
        let last = self.close || !(self.http11 || self.keep_alive);
        Ok(Message { body, last, upgrade: self.upgrade })
    }
}
