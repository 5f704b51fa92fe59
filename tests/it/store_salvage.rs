//! What is left of a damaged file is served: every record that can be found and opens, and of each account only the newest.

use std::{collections::BTreeMap, path::Path};

use marketgate::store::{Grant, Origin, Record, Replaced, SqliteStore, Store, Stored};

use super::store_fixture::{
    at, content, database, everything, fast_directory, id, intent, meddle, open, options, record,
};

const PAGE: usize = 4096;

/// A store of many accounts, as bytes, and where in the file each record lies.
struct Sample {
    dir: tempfile::TempDir,
    bytes: Vec<u8>,
    /// The account's name, and the first and last byte of its sealed record.
    records: BTreeMap<String, (usize, usize)>,
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    let first = wanted[0];
    (0..=bytes.len() - wanted.len()).find(|at| bytes[*at] == first && bytes[*at..].starts_with(wanted))
}

fn rows(path: &Path) -> Vec<(String, Vec<u8>)> {
    let connection = rusqlite::Connection::open(path).unwrap();
    let mut asked = connection.prepare("SELECT app || '@' || account, sealed FROM accounts").unwrap();
    asked.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap().map(Result::unwrap).collect()
}

impl Sample {
    async fn make(accounts: usize) -> Self {
        let dir = fast_directory();
        let store = open(dir.path());
        for generation in 1..=2 {
            let writes: Vec<_> = (0..accounts)
                .map(|number| {
                    store.replace(record(&format!("depop@shop-{number:03}"), generation), Origin::Rotated)
                })
                .collect();
            for write in writes {
                assert_eq!(write.await.unwrap(), Replaced::Durable);
            }
        }
        drop(store);
        let bytes = std::fs::read(database(dir.path())).unwrap();
        let place = |(name, sealed): (String, Vec<u8>)| {
            let first = find(&bytes, &sealed).expect("a record of this size lies in one piece");
            (name, (first, first + sealed.len()))
        };
        let records = rows(&database(dir.path())).into_iter().map(place).collect();
        Self { dir, bytes, records }
    }

    fn put(&self, bytes: &[u8]) {
        std::fs::write(database(self.dir.path()), bytes).unwrap();
        for entry in std::fs::read_dir(self.dir.path()).unwrap().flatten() {
            let name = entry.file_name().into_string().unwrap();
            if name.contains("damaged-") || name.ends_with("-journal") {
                std::fs::remove_file(entry.path()).unwrap();
            }
        }
    }

    /// Which accounts are served from these bytes, all of them at generation 2.
    async fn served(&self, bytes: &[u8], what: &str) -> Vec<String> {
        self.put(bytes);
        let store = SqliteStore::open(&options(self.dir.path())).unwrap_or_else(|e| panic!("{what}: {e}"));
        let mut served = Vec::new();
        for stored in everything(&store).await {
            if let Stored::Whole(found) = stored {
                let name = found.id.to_string();
                assert_eq!(content(&found), content(&record(&name, 2)), "{what}");
                served.push(name);
            }
        }
        served
    }

    fn lying_below(&self, length: usize) -> Vec<String> {
        self.records.iter().filter(|(_, (_, end))| *end <= length).map(|(name, _)| name.clone()).collect()
    }
}

#[tokio::test]
async fn a_file_cut_at_any_page_serves_every_record_that_is_left() {
    let sample = Sample::make(100).await;
    let mut opened = 0;
    for pages in 1..sample.bytes.len() / PAGE {
        let (length, what) = (pages * PAGE, format!("cut after {pages} pages"));
        let expected = sample.lying_below(length);
        if expected.is_empty() {
            sample.put(&sample.bytes[..length]);
            SqliteStore::open(&options(sample.dir.path())).unwrap_err();
            assert!(std::fs::read(database(sample.dir.path())).unwrap() == sample.bytes[..length]);
            continue;
        }
        assert_eq!(sample.served(&sample.bytes[..length], &what).await, expected, "{what}");
        opened += 1;
    }
    assert!(opened > 10, "{opened}");
    let all_but_some_bytes = &sample.bytes[..sample.bytes.len() - 700];
    assert!(sample.served(all_but_some_bytes, "cut within the last page").await.len() > 75);
}

#[tokio::test]
async fn damage_to_the_first_page_costs_nobody_anything() {
    let sample = Sample::make(30).await;
    let everybody = sample.lying_below(usize::MAX);
    let mut zeroed = sample.bytes.clone();
    zeroed[..PAGE].fill(0);
    assert_eq!(sample.served(&zeroed, "a page of zeroes").await, everybody);
    let mut noise = sample.bytes.clone();
    noise[..PAGE].iter_mut().enumerate().for_each(|(at, byte)| *byte = (at * 37 % 251) as u8);
    assert_eq!(sample.served(&noise, "noise").await, everybody);
    for at in (0..112).chain((112..PAGE).step_by(331)) {
        let (bit, mut bytes) = (at * 5 % 8, sample.bytes.clone());
        bytes[at] ^= 1 << bit;
        assert_eq!(sample.served(&bytes, &format!("bit {bit} of byte {at}")).await, everybody, "byte {at}");
    }
}

#[tokio::test]
async fn a_page_that_is_lost_costs_only_the_records_on_it_and_they_are_named() {
    let sample = Sample::make(60).await;
    for page in 0..sample.bytes.len() / PAGE {
        let mut bytes = sample.bytes.clone();
        bytes[page * PAGE..][..PAGE].fill(0);
        let lost = |(first, _): &(usize, usize)| first / PAGE == page;
        let expected: Vec<_> =
            sample.records.iter().filter(|(_, place)| !lost(place)).map(|(name, _)| name.clone()).collect();
        assert_eq!(sample.served(&bytes, &format!("page {page}")).await, expected, "page {page}");
        assert_eq!(everything(&open(sample.dir.path())).await.len(), 60, "page {page}");
    }
}

#[tokio::test]
async fn the_damaged_file_is_kept_as_it_was() {
    let sample = Sample::make(10).await;
    let mut bytes = sample.bytes.clone();
    bytes[..PAGE].fill(0);
    sample.served(&bytes, "a page of zeroes").await;
    let kept: Vec<_> = std::fs::read_dir(sample.dir.path())
        .unwrap()
        .flatten()
        .filter(|entry| entry.file_name().to_str().unwrap().starts_with("marketgate.db.damaged-"))
        .collect();
    assert_eq!(kept.len(), 1);
    assert!(std::fs::read(kept[0].path()).unwrap() == bytes);
}

/// The page of a file on which a record lies, and the same page as it was a generation earlier.
async fn with_an_older_page(dir: &Path) -> (Vec<u8>, Vec<u8>, usize) {
    let store = open(dir);
    for name in ["depop@a", "depop@b"] {
        store.replace(record(name, 1), Origin::Brought).await.unwrap();
    }
    drop(store);
    let older = std::fs::read(database(dir)).unwrap();
    let store = open(dir);
    store.replace(record("depop@a", 2), Origin::Rotated).await.unwrap();
    drop(store);
    let newer = std::fs::read(database(dir)).unwrap();
    let (_, sealed) = rows(&database(dir)).into_iter().find(|(name, _)| name == "depop@a").unwrap();
    let page = find(&newer, &sealed).unwrap() / PAGE;
    (newer, older, page)
}

/// The pages of a table that is stored under its key.
fn pages_of(dir: &Path, table: &str) -> Vec<usize> {
    let connection = rusqlite::Connection::open(database(dir)).unwrap();
    let sql = "SELECT rootpage FROM sqlite_schema WHERE name = ?1";
    let root: i64 = connection.query_row(sql, [table], |row| row.get(0)).unwrap();
    vec![root as usize - 1]
}

#[tokio::test]
async fn an_older_generation_is_never_served_as_the_current_one() {
    for without_marks in [false, true] {
        let dir = fast_directory();
        let (mut bytes, older, page) = with_an_older_page(dir.path()).await;
        bytes[page * PAGE..][..PAGE].copy_from_slice(&older[page * PAGE..][..PAGE]);
        // The first page says nothing, so that all is looked for.
        bytes[..PAGE].fill(0);
        if without_marks {
            for page in pages_of(dir.path(), "marks") {
                bytes[page * PAGE..][..PAGE].fill(0);
            }
        }
        std::fs::write(database(dir.path()), &bytes).unwrap();
        let store = open(dir.path());
        let found = store.account(&id("depop@a")).await.unwrap().unwrap();
        let Stored::Corrupt { generation, .. } = found else { panic!("{found:?}") };
        assert!(generation >= if without_marks { 1 } else { 2 });
        assert!(matches!(store.account(&id("depop@b")).await.unwrap().unwrap(), Stored::Whole(_)));
    }
}

#[tokio::test]
async fn remains_of_older_rows_do_not_stand_in_the_way_of_the_current_one() {
    let dir = fast_directory();
    let (newer, older, page) = with_an_older_page(dir.path()).await;
    // The older page lies about somewhere else.
    let mut bytes = newer.clone();
    bytes.extend_from_slice(&older[page * PAGE..][..PAGE]);
    std::fs::write(database(dir.path()), &bytes).unwrap();
    let store = open(dir.path());
    let Stored::Whole(found) = store.account(&id("depop@a")).await.unwrap().unwrap() else {
        panic!("corrupt")
    };
    assert_eq!(content(&found), content(&record("depop@a", 2)));
    drop(store);
    // And where only the mark is left of the current one, the older is not taken for it.
    bytes[page * PAGE..][..PAGE].fill(0);
    std::fs::write(database(dir.path()), &bytes).unwrap();
    let found = open(dir.path()).account(&id("depop@a")).await.unwrap().unwrap();
    assert!(matches!(found, Stored::Corrupt { generation: 2, .. }), "{found:?}");
}

#[tokio::test]
async fn a_row_that_only_lies_about_is_served_if_its_mark_says_that_it_is_the_newest() {
    let dir = fast_directory();
    let (mut bytes, _, page) = with_an_older_page(dir.path()).await;
    // The page no longer says what it is.
    bytes[page * PAGE] = 0;
    std::fs::write(database(dir.path()), &bytes).unwrap();
    let store = open(dir.path());
    for (name, generation) in [("depop@a", 2), ("depop@b", 1)] {
        let Stored::Whole(found) = store.account(&id(name)).await.unwrap().unwrap() else { panic!("{name}") };
        assert_eq!(content(&found), content(&record(name, generation)));
    }
}

#[tokio::test]
async fn a_flipped_bit_in_the_version_is_damage_and_a_newer_version_is_not() {
    let dir = fast_directory();
    let store = open(dir.path());
    store.replace(record("depop@a", 1), Origin::Brought).await.unwrap();
    store.begin(intent("depop@a", 1, at(4))).await.unwrap();
    drop(store);
    let good = std::fs::read(database(dir.path())).unwrap();
    for bit in 0..32 {
        let mut bytes = good.clone();
        bytes[60 + bit / 8] ^= 0x80 >> (bit % 8);
        std::fs::write(database(dir.path()), &bytes).unwrap();
        let store = open(dir.path());
        let Stored::Whole(found) = store.account(&id("depop@a")).await.unwrap().unwrap() else {
            panic!("bit {bit}")
        };
        assert!(found.intent.is_some(), "an open intent stays open");
    }
    std::fs::write(database(dir.path()), &good).unwrap();
    meddle(
        dir.path(),
        "UPDATE about SET value = '7.0.0' WHERE name = 'written_by'; PRAGMA user_version = 2000;",
    );
    let error = SqliteStore::open(&options(dir.path())).unwrap_err();
    assert!(error.to_string().contains("a newer Marketgate, 7.0.0"), "{error}");
}

#[tokio::test]
async fn an_account_that_was_logged_out_does_not_come_back_from_its_remains() {
    let dir = fast_directory();
    let store = open(dir.path());
    store.replace(record("depop@a", 1), Origin::Brought).await.unwrap();
    drop(store);
    let older = std::fs::read(database(dir.path())).unwrap();
    let store = open(dir.path());
    let key = Some(Grant::Key(marketgate::secret::Secret::new("key")));
    store.replace(Record { grant: key, ..record("walmart@b", 1) }, Origin::Brought).await.unwrap();
    store.replace(Record { grant: None, token: None, ..record("depop@a", 2) }, Origin::Kept).await.unwrap();
    drop(store);
    let mut bytes = std::fs::read(database(dir.path())).unwrap();
    let (_, sealed) = rows(&database(dir.path())).into_iter().find(|(name, _)| name == "depop@a").unwrap();
    let page = find(&bytes, &sealed).unwrap() / PAGE;
    bytes.extend_from_slice(&older[page * PAGE..][..PAGE]);
    let at_row = find(&bytes, &sealed).unwrap();
    bytes[at_row..at_row + 8].fill(0);
    std::fs::write(database(dir.path()), &bytes).unwrap();
    let store = open(dir.path());
    assert!(matches!(
        store.account(&id("depop@a")).await.unwrap().unwrap(),
        Stored::Corrupt { generation: 2, .. }
    ));
    assert!(matches!(store.account(&id("walmart@b")).await.unwrap().unwrap(), Stored::Whole(_)));
}
