//! The first hundred bytes of the file, read before SQLite may touch it. The one rule: a file that is not ours, or too new
//! for us, is never written to.
//!
//! Layout: <https://www.sqlite.org/fileformat2.html>, section 1.3.

use std::{fs::File, io::Read, path::Path};

use rusqlite::{Connection, OpenFlags};

use super::{
    open_error::OpenError,
    schema::{self, APPLICATION},
};

const LENGTH: usize = 100;
const MAGIC: &[u8] = b"SQLite format 3\0";

/// What stands at a fixed place in every store's header: the rollback journal in use (18, 19), no room reserved in a page
/// (20), schema format 4 (44), no auto-vacuum (52, 64), UTF-8 (56).
const FIXED: [(usize, &[u8]); 5] =
    [(18, &[1, 1, 0]), (44, &[0, 0, 0, 4]), (52, &[0; 4]), (56, &[0, 0, 0, 1]), (64, &[0; 4])];

/// What the header says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Header {
    /// A store this program may open.
    Sound,
    /// A store of a later series, and nothing in the header contradicts that.
    Newer(u32),
    /// Something else than a store's header, or a damaged one: what says so.
    Unsound(&'static str),
    /// Nothing of a store's.
    Foreign,
}

/// Reads it. Must not be called while SQLite has the file open: closing any other descriptor of it would give up SQLite's
/// locks.
pub(super) fn look(path: &Path) -> std::io::Result<Header> {
    let header = read(path)?;
    if header.is_empty() {
        return Ok(Header::Unsound("it is empty, and a store never is"));
    }
    let Ok(header) = <[u8; LENGTH]>::try_from(header) else { return Ok(Header::Foreign) };
    let is_sqlite = header.starts_with(MAGIC);
    let is_ours = number(&header, 68) == APPLICATION.cast_unsigned();
    if !is_ours && (!is_sqlite || number(&header, 68) == 0) {
        return Ok(Header::Foreign);
    }
    let version = number(&header, 60);
    let is_fixed = FIXED.iter().all(|(at, bytes)| header[*at..].starts_with(bytes));
    Ok(if !is_sqlite || !is_ours || !is_fixed || version < 1000 {
        Header::Unsound("its header is not what was written there")
    } else if schema::series(version) > schema::series(schema::VERSION) {
        Header::Newer(version)
    } else {
        Header::Sound
    })
}

/// Whether the file is a store this program may open, taken at its word. As [`look`], not while SQLite has it open.
///
/// # Errors
/// When it is not.
pub(super) fn judge(path: &Path) -> Result<(), OpenError> {
    let path = path.to_owned();
    match look(&path).map_err(|e| OpenError::io(&path, &e))? {
        Header::Sound => Ok(()),
        Header::Newer(version) => {
            let written_by = written_by(&path);
            Err(OpenError::Newer { path, version, written_by })
        }
        Header::Unsound(detail) => Err(OpenError::Damaged { path, detail: detail.to_owned() }),
        Header::Foreign => Err(OpenError::Foreign { path }),
    }
}

/// Whether a store says in its content, too, that a later version of this program wrote it. Where it says nothing, its header
/// is believed.
pub(super) fn was_written_by_a_later_version(written_by: Option<&str>) -> bool {
    let numbers = |version: &str| -> Vec<u64> {
        version.split(['.', '-', '+']).map_while(|number| number.parse().ok()).collect()
    };
    written_by.is_none_or(|version| numbers(version) > numbers(env!("CARGO_PKG_VERSION")))
}

fn read(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut header = Vec::with_capacity(LENGTH);
    File::open(path)?.take(LENGTH as u64).read_to_end(&mut header)?;
    Ok(header)
}

fn number(header: &[u8; LENGTH], at: usize) -> u32 {
    u32::from_be_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]])
}

/// Which program wrote a file that is too new, if it says so where we look. Opened as immutable, so that not even a
/// journal is touched.
pub(super) fn written_by(path: &Path) -> Option<String> {
    let escaped = percent_encoding::utf8_percent_encode(path.to_str()?, percent_encoding::NON_ALPHANUMERIC);
    let address = format!("file:{}?mode=ro&immutable=1", escaped.to_string().replace("%2F", "/"));
    let flags =
        OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(address, flags).ok()?;
    let asked = "SELECT value FROM about WHERE name = 'written_by'";
    let version: String = connection.query_row(asked, [], |row| row.get(0)).ok()?;
    let plain = version.len() < 64 && version.bytes().all(|b| b.is_ascii_graphic());
    plain.then_some(version)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_later_by_its_numbers() {
        for later in ["9.8.7", "0.1.1", "0.2.0-rc1", "0.10.0"] {
            assert!(was_written_by_a_later_version(Some(later)), "{later}");
        }
        for not_later in [env!("CARGO_PKG_VERSION"), "0.0.9", ""] {
            assert!(!was_written_by_a_later_version(Some(not_later)), "{not_later}");
        }
        assert!(was_written_by_a_later_version(None), "nothing contradicts the header");
    }
}
