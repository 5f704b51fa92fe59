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

/// Whether the file is a store this program may open. Must be called before SQLite opens the file: closing any other
/// descriptor of it would give up SQLite's locks.
///
/// # Errors
/// When it is not.
pub(super) fn judge(path: &Path) -> Result<(), OpenError> {
    let header = read(path).map_err(|e| OpenError::io(path, &e))?;
    let foreign = || OpenError::Foreign { path: path.to_owned() };
    let damaged = |detail: &str| OpenError::Damaged { path: path.to_owned(), detail: detail.to_owned() };
    if header.is_empty() {
        return Err(damaged("it is empty, and a store never is"));
    }
    let header: [u8; LENGTH] = header.try_into().map_err(|_| foreign())?;
    if !header.starts_with(MAGIC) || number(&header, 68) != APPLICATION.cast_unsigned() {
        return Err(foreign());
    }
    let version = number(&header, 60);
    if schema::series(version) > schema::series(schema::VERSION) {
        return Err(OpenError::Newer { path: path.to_owned(), version, written_by: written_by(path) });
    }
    let sound = FIXED.iter().all(|(at, bytes)| header[*at..].starts_with(bytes));
    if sound && version >= 1000 { Ok(()) } else { Err(damaged("its header is not what was written there")) }
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
fn written_by(path: &Path) -> Option<String> {
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
