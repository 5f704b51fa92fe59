//! The chunked transfer coding (RFC 9112 §7.1). The rule: every line is exactly what the grammar says; data is only
//! counted.

use super::{
    octet::{is_blank, token_run, value_run},
    violation::Violation,
    word::append_digit,
};

/// Most digits of a chunk size.
const SIZE_DIGITS: usize = 16;

/// Longest chunk extension, in bytes after its `;`.
const LONGEST_EXTENSION: usize = 256;

/// Longest trailer section, its last CRLF included.
const LONGEST_TRAILERS: usize = 8 * 1024;

/// A chunked body as far as it was read.
#[derive(Debug)]
pub(super) struct Chunked {
    at: Place,
    /// The size of the chunk being read, then what is left of it.
    size: u64,
    trailers: usize,
}

#[derive(Debug, Clone, Copy)]
enum Place {
    /// So many digits of the size.
    Size(usize),
    /// So many octets of the extension.
    Extension(usize),
    SizeFeed,
    Data,
    DataCr,
    DataFeed,
    TrailerStart,
    /// So many octets of the name.
    TrailerName(usize),
    TrailerValue,
    TrailerFeed,
    LastFeed,
}

/// Either where the body ended, or that all bytes belong to it.
type Progress = Result<Option<usize>, (usize, Violation)>;

impl Chunked {
    pub(super) fn new() -> Self {
        Self { at: Place::Size(0), size: 0, trailers: 0 }
    }

    /// Reads on. `Some(n)`: the body ended with the first `n` of `bytes`.
    ///
    /// # Errors
    /// The offset of the first octet that must not be where it is, and why.
    pub(super) fn scan(&mut self, bytes: &[u8]) -> Progress {
        let mut at = 0;
        while let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty()) {
            if let (Place::LastFeed, b'\n') = (self.at, rest[0]) {
                return Ok(Some(at + 1));
            }
            let step = match self.at {
                Place::Data => Ok(self.data(rest)),
                Place::Extension(length) => self.extension(length, rest),
                Place::TrailerStart
                | Place::TrailerName(_)
                | Place::TrailerValue
                | Place::TrailerFeed
                | Place::LastFeed => self.trailer(rest),
                _ => self.single(rest[0]).map(|()| 1).map_err(|violation| (0, violation)),
            };
            at += step.map_err(|(offset, violation)| (at + offset, violation))?;
        }
        Ok(None)
    }

    fn single(&mut self, octet: u8) -> Result<(), Violation> {
        self.at = match (self.at, octet) {
            (Place::Size(1..), b'\r') => Place::SizeFeed,
            (Place::Size(1..), b';') => Place::Extension(0),
            (Place::Size(digits), octet)
                if digits < SIZE_DIGITS && append_digit(&mut self.size, octet, 16) =>
            {
                Place::Size(digits + 1)
            }
            (Place::Size(_), _) => return Err(Violation::ChunkSize),
            (Place::SizeFeed, b'\n') if self.size == 0 => Place::TrailerStart,
            (Place::SizeFeed, b'\n') => Place::Data,
            (Place::SizeFeed, _) => return Err(Violation::BareCr),
            (Place::DataCr, b'\r') => Place::DataFeed,
            (Place::DataFeed, b'\n') => Place::Size(0),
            _ => return Err(Violation::ChunkEnd),
        };
        Ok(())
    }

    fn data(&mut self, rest: &[u8]) -> usize {
        // A piece longer than 2^64 bytes does not exist, so the smaller of the two fits a usize.
        let taken = usize::try_from(self.size).unwrap_or(usize::MAX).min(rest.len());
        self.size -= taken as u64;
        if self.size == 0 {
            self.at = Place::DataCr;
        }
        taken
    }

    /// Everything up to CRLF but control characters; what extensions mean is nobody's business here.
    fn extension(&mut self, length: usize, rest: &[u8]) -> Result<usize, (usize, Violation)> {
        let run = value_run(rest);
        if length + run > LONGEST_EXTENSION {
            return Err((LONGEST_EXTENSION - length, Violation::ChunkExtension));
        }
        self.at = Place::Extension(length + run);
        match rest.get(run) {
            None => Ok(run),
            Some(b'\r') => {
                self.at = Place::SizeFeed;
                Ok(run + 1)
            }
            Some(_) => Err((run, Violation::ChunkExtension)),
        }
    }

    fn trailer(&mut self, rest: &[u8]) -> Result<usize, (usize, Violation)> {
        let room = LONGEST_TRAILERS - self.trailers;
        let within = &rest[..room.min(rest.len())];
        if within.is_empty() {
            return Err((0, Violation::Trailer));
        }
        let step = self.trailer_step(within)?;
        self.trailers += step;
        Ok(step)
    }

    fn trailer_step(&mut self, rest: &[u8]) -> Result<usize, (usize, Violation)> {
        let (next, used) = match (self.at, rest[0]) {
            (Place::TrailerStart, b'\r') => (Place::LastFeed, 1),
            (Place::TrailerStart, octet) if !is_blank(octet) => (Place::TrailerName(0), 0),
            (Place::TrailerFeed, b'\n') => (Place::TrailerStart, 1),
            (Place::TrailerName(length), _) => trailer_name(length, rest)?,
            (Place::TrailerValue, _) => trailer_value(rest)?,
            _ => return Err((0, Violation::Trailer)),
        };
        self.at = next;
        Ok(used)
    }
}

fn trailer_name(length: usize, rest: &[u8]) -> Result<(Place, usize), (usize, Violation)> {
    let run = token_run(rest);
    match rest.get(run) {
        None => Ok((Place::TrailerName(length + run), run)),
        Some(b':') if length + run > 0 => Ok((Place::TrailerValue, run + 1)),
        Some(_) => Err((run, Violation::Trailer)),
    }
}

fn trailer_value(rest: &[u8]) -> Result<(Place, usize), (usize, Violation)> {
    let run = value_run(rest);
    match rest.get(run) {
        None => Ok((Place::TrailerValue, run)),
        Some(b'\r') => Ok((Place::TrailerFeed, run + 1)),
        Some(_) => Err((run, Violation::Trailer)),
    }
}
