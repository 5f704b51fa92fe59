//! Rows read out of a database file page by page, whatever has become of the trees and the schema above them.
//!
//! Whether a row may be used is decided elsewhere. Two kinds of cells are distinguished: those that a page lists, which are the
//! content of the database, and those that are only found lying in a page, which may be remains of older content.
//!
//! Layout: <https://www.sqlite.org/fileformat2.html>, sections 1.6 and 2.1.

use rusqlite::types::Value;

/// What every store is written with, and what is assumed where the header does not say.
const PAGE: usize = 4096;
/// No row of a store has more columns.
const COLUMNS: usize = 16;
/// No row of a store is larger.
const LARGEST: u64 = 64 << 20;

/// Which kind of tree a row lies in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tree {
    /// A table with row ids.
    Table,
    /// An index or a table without row ids.
    Index,
}

/// A row.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) tree: Tree,
    pub(super) values: Vec<Value>,
    /// Whether its page lists it.
    pub(super) is_listed: bool,
}

/// The pages of a file.
pub(super) struct Pages<'a> {
    bytes: &'a [u8],
    size: usize,
}

impl<'a> Pages<'a> {
    /// The pages of a file that may be cut off anywhere.
    pub(super) fn of(bytes: &'a [u8]) -> Self {
        let told = bytes.get(16..18).map_or(0, |size| usize::from(u16::from_be_bytes([size[0], size[1]])));
        // Other sizes than ours are plausible only with a sound magic number.
        let is_sound = bytes.starts_with(b"SQLite format 3\0") && told.is_power_of_two() && told >= 512;
        Self { bytes, size: if is_sound { told } else { PAGE } }
    }

    /// Hands every row that can be read to `take`.
    pub(super) fn rows(&self, mut take: impl FnMut(Row)) {
        for (number, page) in self.bytes.chunks(self.size).enumerate() {
            let listed = self.listed(number, page, &mut take);
            for at in 0..page.len() {
                // A name has a letter, so no row begins with a byte of zero.
                if page[at] != 0 && !listed.contains(&at) {
                    self.lying_at(page, at, &mut take);
                }
            }
        }
    }

    /// The cells a page lists. Returns where they begin.
    fn listed(&self, number: usize, page: &[u8], take: &mut impl FnMut(Row)) -> Vec<usize> {
        let head = if number == 0 { 100 } else { 0 };
        let (tree, first, skipped) = match page.get(head) {
            Some(0x0d) => (Tree::Table, head + 8, 0),
            Some(0x0a) => (Tree::Index, head + 8, 0),
            // A page in the middle of an index has rows of its own, each after the number of a page.
            Some(0x02) => (Tree::Index, head + 12, 4),
            _ => return Vec::new(),
        };
        let count = short(page, head + 3).unwrap_or(0).min(self.size / 4);
        let mut found = Vec::new();
        for at in (0..count).filter_map(|cell| short(page, first + 2 * cell)) {
            if let Some(values) = self.cell(page, at + skipped, tree) {
                take(Row { tree, values, is_listed: true });
                found.push(at + skipped);
            }
        }
        found
    }

    fn lying_at(&self, page: &[u8], at: usize, take: &mut impl FnMut(Row)) {
        for tree in [Tree::Table, Tree::Index] {
            if let Some(values) = self.cell(page, at, tree).filter(|values| is_ours(values)) {
                take(Row { tree, values, is_listed: false });
            }
        }
    }

    /// The row in a cell, if there is one.
    fn cell(&self, page: &[u8], at: usize, tree: Tree) -> Option<Vec<Value>> {
        let mut rest = page.get(at..)?;
        let length = varint(&mut rest)?;
        if length == 0 || length > LARGEST {
            return None;
        }
        if tree == Tree::Table {
            varint(&mut rest)?;
        }
        let length = usize::try_from(length).ok()?;
        let here = self.part_on_page(length, tree);
        let local = rest.get(..here)?;
        columns_fit(local, length)?;
        if here == length {
            return record(local);
        }
        let mut payload = local.to_vec();
        self.follow(long(rest, here)?, length, &mut payload)?;
        record(&payload)
    }

    /// How much of a payload lies in its cell; the rest is in a chain of pages.
    fn part_on_page(&self, length: usize, tree: Tree) -> usize {
        let usable = self.size;
        let most = match tree {
            Tree::Table => usable - 35,
            Tree::Index => (usable - 12) * 64 / 255 - 23,
        };
        if length <= most {
            return length;
        }
        let least = (usable - 12) * 32 / 255 - 23;
        let fitting = least + (length - least) % (usable - 4);
        if fitting <= most { fitting } else { least }
    }

    fn follow(&self, mut next: usize, length: usize, payload: &mut Vec<u8>) -> Option<()> {
        while payload.len() < length {
            let from = next.checked_sub(1)?.checked_mul(self.size)?;
            let page = self.bytes.get(from..)?;
            let part = (length - payload.len()).min(self.size - 4);
            payload.extend_from_slice(page.get(4..4 + part)?);
            next = long(page, 0)?;
        }
        Some(())
    }
}

/// Whether the sizes in a record's head add up to the record. Checked before its chain of pages is followed.
fn columns_fit(local: &[u8], length: usize) -> Option<()> {
    let mut rest = local;
    let head = usize::try_from(varint(&mut rest)?).ok()?;
    let mut types = local.get(local.len() - rest.len()..head)?;
    let (mut sum, mut count) = (head, 0);
    while !types.is_empty() {
        sum = sum.checked_add(size_of_type(varint(&mut types)?)?)?;
        count += 1;
    }
    (sum == length && (1..=COLUMNS).contains(&count)).then_some(())
}

fn record(payload: &[u8]) -> Option<Vec<Value>> {
    let mut rest = payload;
    let head = usize::try_from(varint(&mut rest)?).ok()?;
    let mut types = payload.get(payload.len() - rest.len()..head)?;
    let mut body = payload.get(head..)?;
    let mut values = Vec::new();
    while !types.is_empty() {
        let kind = varint(&mut types)?;
        let (bytes, after) = body.split_at_checked(size_of_type(kind)?)?;
        values.push(value(kind, bytes)?);
        body = after;
    }
    Some(values)
}

fn size_of_type(kind: u64) -> Option<usize> {
    Some(match kind {
        0 | 8 | 9 => 0,
        1..=4 => usize::try_from(kind).ok()?,
        5 => 6,
        6 | 7 => 8,
        10 | 11 => return None,
        _ => usize::try_from((kind - 12) / 2).ok()?,
    })
}

fn value(kind: u64, bytes: &[u8]) -> Option<Value> {
    Some(match kind {
        0 => Value::Null,
        1..=6 => {
            let sign = if bytes[0] & 0x80 == 0 { 0 } else { -1 };
            Value::Integer(bytes.iter().fold(sign, |number, byte| number << 8 | i64::from(*byte)))
        }
        8 => Value::Integer(0),
        9 => Value::Integer(1),
        // No column of ours.
        7 => return None,
        _ if kind.is_multiple_of(2) => Value::Blob(bytes.to_vec()),
        _ => Value::Text(std::str::from_utf8(bytes).ok()?.to_owned()),
    })
}

/// Whether a row found lying somewhere may be one of ours: each begins with a name or a digest.
fn is_ours(values: &[Value]) -> bool {
    let begins = match values.first() {
        Some(Value::Text(text)) => !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic()),
        Some(Value::Blob(digest)) => digest.len() == 32,
        _ => false,
    };
    begins && values.len() > 1
}

/// A variable-length integer, big endian, seven bits in a byte, eight in the ninth.
fn varint(rest: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for count in 1..=9 {
        let (byte, after) = rest.split_first()?;
        *rest = after;
        if count == 9 {
            return Some(number << 8 | u64::from(*byte));
        }
        number = number << 7 | u64::from(byte & 0x7f);
        if byte & 0x80 == 0 {
            break;
        }
    }
    Some(number)
}

fn short(bytes: &[u8], at: usize) -> Option<usize> {
    let bytes = bytes.get(at..at + 2)?;
    Some(usize::from(u16::from_be_bytes([bytes[0], bytes[1]])))
}

fn long(bytes: &[u8], at: usize) -> Option<usize> {
    let bytes = bytes.get(at..at + 4)?;
    usize::try_from(u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A file with rows of all sizes in both kinds of tree, and those rows.
    fn sample(sizes: &[usize]) -> (Vec<u8>, Vec<(String, Vec<u8>)>) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("db");
        let connection = rusqlite::Connection::open(&path).unwrap();
        let tables = "CREATE TABLE t (name TEXT, content BLOB) STRICT;
            CREATE TABLE i (name TEXT PRIMARY KEY, content BLOB) STRICT, WITHOUT ROWID;";
        connection.execute_batch(tables).unwrap();
        let mut rows = Vec::new();
        for (number, size) in sizes.iter().enumerate() {
            let row = (format!("row-{number}"), vec![(number % 250) as u8 + 1; *size]);
            for table in ["t", "i"] {
                let insert = format!("INSERT INTO {table} VALUES (?1, ?2)");
                connection.execute(&insert, rusqlite::params![row.0, row.1]).unwrap();
            }
            rows.push(row);
        }
        drop(connection);
        (std::fs::read(path).unwrap(), rows)
    }

    fn carved(bytes: &[u8], tree: Tree, listed: bool) -> Vec<(String, Vec<u8>)> {
        let mut found = Vec::new();
        Pages::of(bytes).rows(|row| {
            if let ([Value::Text(name), Value::Blob(content)], true) =
                (row.values.as_slice(), row.tree == tree && row.is_listed == listed)
            {
                found.push((name.clone(), content.clone()));
            }
        });
        found.sort();
        found.dedup();
        found
    }

    #[test]
    fn every_row_is_found_whatever_its_size_and_however_deep_its_tree() {
        let sizes: Vec<usize> =
            (0..80).map(|number| [1, 40, 500, 1000, 4000, 4100, 9000, 70_000][number % 8]).collect();
        let (bytes, mut rows) = sample(&sizes);
        rows.sort();
        for tree in [Tree::Table, Tree::Index] {
            assert_eq!(carved(&bytes, tree, true), rows, "{tree:?}");
        }
        // Without the first page nothing says where a tree begins.
        let mut bytes = bytes;
        bytes[..PAGE].fill(0);
        assert_eq!(carved(&bytes, Tree::Table, true), rows);
    }

    #[test]
    fn the_rows_of_a_page_that_lists_nothing_any_more_are_found_lying_there() {
        let (mut bytes, rows) = sample(&[50, 60, 70]);
        bytes[PAGE] = 0;
        assert_eq!(carved(&bytes, Tree::Table, true), []);
        assert_eq!(carved(&bytes, Tree::Table, false), rows);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        #[test]
        fn no_bytes_make_it_fail(noise in proptest::collection::vec(any::<(usize, u8)>(), 1..60)) {
            let (mut bytes, _) = sample(&[50, 600, 5000, 9000]);
            for (at, byte) in noise {
                let at = at % bytes.len();
                bytes[at] = byte;
            }
            Pages::of(&bytes).rows(|_| ());
        }
    }
}
