//! The head of a request: request line and fields (RFC 9112 §3, §5). The rule: one pass, no look back, the same verdict
//! however the bytes are cut.

use super::{
    Limits,
    fields::{Fields, Message, Value},
    host::Host,
    name::Name,
    octet::{is_blank, target_run, token_run, unencoded, value_run},
    violation::Violation,
};

/// Longest method taken.
const LONGEST_METHOD: usize = 32;

/// How a target begins in absolute form (RFC 9112 §3.2.2). The scheme's case means nothing.
const SCHEME: &[u8; 7] = b"http://";

/// The first octet of a TLS handshake (RFC 8446 §5.1).
const TLS_HANDSHAKE: u8 = 0x16;

/// What comes after `HTTP/1.` stands apart: the digit is data.
const VERSION: &[u8; 7] = b"HTTP/1.";

/// A head as far as it was read.
#[derive(Debug)]
pub(super) struct Head {
    at: Place,
    limits: Limits,
    length: usize,
    count: usize,
    name: Name,
    value: Value,
    fields: Fields,
    /// The method's first octets: as many as tell the ones apart that matter here.
    method: [u8; 8],
    /// Octets of the target.
    target: usize,
    /// Whether the target's query has begun.
    in_query: bool,
    /// The host in a target of absolute form.
    authority: Host,
}

#[derive(Debug, Clone, Copy)]
enum Place {
    Start,
    /// After the CR of the one empty line that may come first.
    EmptyLineFeed,
    AfterEmptyLine,
    /// So many octets of the method.
    Method(usize),
    TargetStart,
    /// So many octets of the scheme of a target in absolute form.
    Scheme(usize),
    Authority,
    Target,
    /// So many octets of the version.
    Version(usize),
    LineFeed,
    FieldStart,
    Name,
    Value,
    LastLineFeed,
}

/// Where the head ended and what follows it, or that all bytes belong to it.
type Progress = Result<Option<(usize, Message)>, (usize, Violation)>;

impl Head {
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            at: Place::Start,
            limits,
            length: 0,
            count: 0,
            name: Name::default(),
            value: Value::Opaque,
            fields: Fields::default(),
            method: [0; 8],
            target: 0,
            in_query: false,
            authority: Host::default(),
        }
    }

    /// Whether nothing of it was read yet.
    pub(super) fn is_untouched(&self) -> bool {
        self.length == 0
    }

    /// How many octets of it were read.
    pub(super) fn length(&self) -> usize {
        self.length
    }

    /// Reads on. `Some((n, _))`: the head ended with the first `n` of `bytes`.
    ///
    /// # Errors
    /// The offset of the first octet that must not be where it is (the first after `bytes`, where these fill the limit
    /// without an end), and why.
    pub(super) fn scan(&mut self, bytes: &[u8]) -> Progress {
        let room = self.limits.head.saturating_sub(self.length);
        let end = self.scan_within(&bytes[..room.min(bytes.len())])?;
        // hyper gives up on as many bytes without an end, too: it does not wait for one more.
        if end.is_none() && bytes.len() >= room {
            return Err((room, Violation::HeadTooLong));
        }
        self.length += end.map_or(bytes.len(), |(end, _)| end);
        Ok(end)
    }

    fn scan_within(&mut self, bytes: &[u8]) -> Progress {
        let mut at = 0;
        while let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty()) {
            let step = match self.at {
                Place::Method(length) => self.method(length, rest),
                Place::Target => self.target(rest),
                Place::Version(matched) => self.version(matched, rest),
                Place::FieldStart => self.field_start(rest),
                Place::Name => self.name(rest),
                Place::Value => self.value(rest),
                Place::LastLineFeed => return self.finish(rest[0], at),
                _ => self.single(rest[0]).map_err(|violation| (0, violation)),
            };
            at += step.map_err(|(offset, violation)| (at + offset, violation))?;
        }
        Ok(None)
    }

    /// The places that one octet decides; says how many octets it used.
    fn single(&mut self, octet: u8) -> Result<usize, Violation> {
        let (next, used) = match (self.at, octet) {
            (Place::Start, b'\r') => (Place::EmptyLineFeed, 1),
            (Place::EmptyLineFeed, b'\n') => (Place::AfterEmptyLine, 1),
            (Place::Start | Place::AfterEmptyLine, b'\r' | b' ' | b'\t') => {
                return Err(Violation::LeadingBlank);
            }
            (Place::Start, TLS_HANDSHAKE) => return Err(Violation::Tls),
            (Place::Start | Place::AfterEmptyLine, octet) if octet != b'\n' => (Place::Method(0), 0),
            (Place::TargetStart, b'/') => (Place::Target, 0),
            (Place::TargetStart, b'*') if self.is(b"PRI") => return Err(Violation::Http2),
            (Place::TargetStart, _) => (Place::Scheme(0), 0),
            (Place::Scheme(matched), octet) if SCHEME.get(matched) == Some(&octet.to_ascii_lowercase()) => {
                (if matched + 1 == SCHEME.len() { Place::Authority } else { Place::Scheme(matched + 1) }, 1)
            }
            (Place::Authority, b'/') if self.authority.is_complete() => (Place::Target, 0),
            (Place::Authority, octet) if self.authority.push(octet) => (Place::Authority, 1),
            (Place::Scheme(_) | Place::Authority, _) => return Err(Violation::TargetForm),
            (Place::LineFeed, b'\n') => (Place::FieldStart, 1),
            (Place::EmptyLineFeed | Place::LineFeed, _) => return Err(Violation::BareCr),
            _ => return Err(Violation::BareLf),
        };
        self.at = next;
        Ok(used)
    }

    fn method(&mut self, length: usize, rest: &[u8]) -> Result<usize, (usize, Violation)> {
        let run = token_run(rest);
        if length + run > LONGEST_METHOD {
            return Err((LONGEST_METHOD - length, Violation::Method));
        }
        for (place, octet) in self.method.iter_mut().skip(length).zip(&rest[..run]) {
            *place = *octet;
        }
        let length = length + run;
        self.at = Place::Method(length);
        let Some(octet) = rest.get(run) else { return Ok(run) };
        match octet {
            b' ' if self.is(b"CONNECT") => Err((run, Violation::Connect)),
            b' ' if length > 0 => {
                self.at = Place::TargetStart;
                Ok(run + 1)
            }
            b'\n' => Err((run, Violation::BareLf)),
            _ => Err((run, Violation::Method)),
        }
    }

    /// Whether the method begins with this and ends there, as far as it was kept.
    fn is(&self, method: &[u8]) -> bool {
        self.method.starts_with(method) && self.method[method.len()] == 0
    }

    /// Whether it asks for a head alone (RFC 9110 §9.3.2), as far as is known.
    pub(super) fn is_for_head(&self) -> bool {
        self.is(b"HEAD")
    }

    fn target(&mut self, rest: &[u8]) -> Result<usize, (usize, Violation)> {
        let run = target_run(rest);
        if self.target + run > self.limits.target {
            return Err((self.limits.target - self.target, Violation::TargetTooLong));
        }
        if let Some(at) = unencoded(&rest[..run], &mut self.in_query) {
            return Err((at, Violation::TargetCharacter));
        }
        self.target += run;
        match rest.get(run) {
            None => Ok(run),
            Some(b' ') => {
                self.at = Place::Version(0);
                Ok(run + 1)
            }
            Some(b'\n') => Err((run, Violation::BareLf)),
            Some(b'\r') => Err((run, Violation::Version)),
            Some(_) => Err((run, Violation::TargetCharacter)),
        }
    }

    fn version(&mut self, matched: usize, rest: &[u8]) -> Result<usize, (usize, Violation)> {
        // The whole end of the line, as it nearly always comes.
        if let (0, Some([b'H', b'T', b'T', b'P', b'/', b'1', b'.', minor @ (b'0' | b'1'), b'\r', b'\n'])) =
            (matched, rest.first_chunk())
        {
            self.fields.http11 = *minor == b'1';
            self.at = Place::FieldStart;
            return Ok(10);
        }
        self.at = self.version_octet(matched, rest[0]).map_err(|violation| (0, violation))?;
        Ok(1)
    }

    fn version_octet(&mut self, matched: usize, octet: u8) -> Result<Place, Violation> {
        match (VERSION.get(matched), octet) {
            (Some(&expected), octet) if expected == octet => Ok(Place::Version(matched + 1)),
            (None, b'0' | b'1') if matched == VERSION.len() => {
                self.fields.http11 = octet == b'1';
                Ok(Place::Version(matched + 1))
            }
            (None, b'\r') if matched > VERSION.len() => Ok(Place::LineFeed),
            (None, b'\n') if matched > VERSION.len() => Err(Violation::BareLf),
            _ => Err(Violation::Version),
        }
    }

    fn field_start(&mut self, rest: &[u8]) -> Result<usize, (usize, Violation)> {
        match rest[0] {
            b'\r' => {
                self.at = Place::LastLineFeed;
                return Ok(1);
            }
            b'\n' => return Err((0, Violation::BareLf)),
            octet if is_blank(octet) => return Err((0, Violation::Folding)),
            _ => self.count += 1,
        }
        if self.count > self.limits.fields {
            return Err((0, Violation::TooManyFields));
        }
        self.name.clear();
        self.at = Place::Name;
        self.name(rest)
    }

    fn name(&mut self, rest: &[u8]) -> Result<usize, (usize, Violation)> {
        let run = token_run(rest);
        let (piece, after) = rest.split_at(run);
        match after.first() {
            None => self.name.push(piece).map(|()| run),
            Some(b':') => {
                let field = self.name.end(piece)?;
                self.value = self.fields.open(field).map_err(|violation| (run, violation))?;
                self.at = Place::Value;
                Ok(run + 1)
            }
            Some(b'\n') => self.name.push(piece).and(Err((run, Violation::BareLf))),
            Some(_) => self.name.push(piece).and(Err((run, Violation::FieldName))),
        }
    }

    fn value(&mut self, rest: &[u8]) -> Result<usize, (usize, Violation)> {
        let run = value_run(rest);
        self.value.push(&rest[..run])?;
        match rest.get(run) {
            None => Ok(run),
            Some(b'\r') => {
                self.fields.close(&mut self.value).map_err(|violation| (run, violation))?;
                // The same step as by way of the line feed's own place, but nearly always possible.
                if rest.get(run + 1) == Some(&b'\n') {
                    self.at = Place::FieldStart;
                    return Ok(run + 2);
                }
                self.at = Place::LineFeed;
                Ok(run + 1)
            }
            Some(b'\n') => Err((run, Violation::BareLf)),
            Some(_) => Err((run, Violation::FieldValue)),
        }
    }

    fn finish(&self, octet: u8, at: usize) -> Progress {
        match octet {
            b'\n' => match self.fields.message() {
                Ok(message) => Ok(Some((at + 1, message))),
                Err(violation) => Err((at, violation)),
            },
            _ => Err((at, Violation::BareCr)),
        }
    }
}
