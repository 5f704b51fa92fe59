//! Damage and meddling: only the accounts concerned are corrupt, none disappears, and nothing is made up.

use std::{collections::BTreeMap, path::Path};

use marketgate::{
    names::AccountId,
    store::{OpenError, Origin, Record, Replaced, SqliteStore, Store, Stored},
};

use super::store_fixture::{
    at, consent, content, corruption, database, everything, fast_directory, id, intent, meddle, open,
    options, read, record,
};

const NAMES: [&str; 3] = ["depop@a", "depop@b", "walmart@c"];

/// Three accounts, each changed once.
async fn filled(dir: &Path) {
    let store = open(dir);
    for generation in 1..=2 {
        for name in NAMES {
            store.replace(record(name, generation), Origin::Rotated).await.unwrap();
        }
    }
}

/// A page tells of each account what is told of it alone.
async fn are_told_as_alone(store: &dyn Store, page: &[Stored], what: &str) {
    for stored in page {
        let alone = store.account(stored.id()).await.unwrap().unwrap();
        assert_eq!(format!("{stored:?}"), format!("{alone:?}"), "{what}");
    }
}

/// What `sql` did to the first account is noticed, the others are as they were, and a login mends it.
async fn only_the_first_is_corrupt(sql: &str, expected_generation: u64) {
    let dir = fast_directory();
    filled(dir.path()).await;
    meddle(dir.path(), sql);
    let store = open(dir.path());
    let (generation, _) = corruption(&store, "depop@a").await;
    assert_eq!(generation, expected_generation, "{sql}");
    let page = everything(&store).await;
    assert_eq!(page.len(), 3, "{sql}");
    are_told_as_alone(&store, &page, sql).await;
    assert_eq!(store.count(None).await.unwrap(), 3, "{sql}");
    for name in &NAMES[1..] {
        assert_eq!(content(&read(&store, name).await), content(&record(name, 2)), "{sql}");
    }
    let next = record("depop@a", generation + 1);
    assert_eq!(store.replace(next.clone(), Origin::Brought).await.unwrap(), Replaced::Durable, "{sql}");
    assert_eq!(content(&read(&store, "depop@a").await), content(&next), "{sql}");
}

#[tokio::test]
async fn an_edited_row_is_corrupt() {
    for change in ["generation = 1", "generation = 3", "generation = -1", "generation = 9223372036854775807"]
    {
        only_the_first_is_corrupt(&format!("UPDATE accounts SET {change} WHERE account = 'a'"), 2).await;
    }
    for change in [
        "provider = 'walmart'",
        "environment = 'sandbox'",
        "key_id = 'x'",
        "sealed = x'00'",
        "sealed = zeroblob(9999)",
    ] {
        only_the_first_is_corrupt(&format!("UPDATE accounts SET {change} WHERE account = 'a'"), 2).await;
    }
}

#[tokio::test]
async fn a_row_or_a_mark_that_was_taken_away_is_missed() {
    only_the_first_is_corrupt("DELETE FROM accounts WHERE account = 'a'", 2).await;
    only_the_first_is_corrupt("DELETE FROM marks WHERE account = 'a'", 2).await;
    only_the_first_is_corrupt("UPDATE marks SET sealed = x'1234' WHERE account = 'a'", 2).await;
    let other = "(SELECT sealed FROM marks WHERE account = 'b')";
    only_the_first_is_corrupt(&format!("UPDATE marks SET sealed = {other} WHERE account = 'a'"), 2).await;
    let both =
        "DELETE FROM accounts WHERE account = 'a'; UPDATE marks SET sealed = x'12' WHERE account = 'a'";
    only_the_first_is_corrupt(both, 0).await;
}

#[tokio::test]
async fn rows_that_changed_places_are_both_corrupt() {
    let dir = fast_directory();
    filled(dir.path()).await;
    meddle(
        dir.path(),
        "CREATE TEMP TABLE t AS SELECT * FROM accounts WHERE app = 'depop';
         UPDATE accounts SET sealed = (SELECT sealed FROM t WHERE account <> accounts.account) WHERE app = 'depop';",
    );
    let store = open(dir.path());
    corruption(&store, "depop@a").await;
    corruption(&store, "depop@b").await;
    read(&store, "walmart@c").await;
}

#[tokio::test]
async fn an_older_row_put_back_in_its_place_is_corrupt() {
    let dir = fast_directory();
    let store = open(dir.path());
    store.replace(record("depop@a", 1), Origin::Rotated).await.unwrap();
    drop(store);
    std::fs::copy(database(dir.path()), dir.path().join("old.db")).unwrap();
    filled_up(dir.path()).await;
    let old = dir.path().join("old.db");
    meddle(
        dir.path(),
        &format!(
            "ATTACH '{}' AS old; INSERT OR REPLACE INTO accounts SELECT * FROM old.accounts;",
            old.display()
        ),
    );
    let store = open(dir.path());
    let (generation, detail) = corruption(&store, "depop@a").await;
    assert_eq!(generation, 2, "the mark knows better");
    assert!(detail.contains("another generation"), "{detail}");
    assert_eq!(store.replace(record("depop@a", 2), Origin::Rotated).await.unwrap(), Replaced::Newer);
    assert_eq!(store.replace(record("depop@a", 3), Origin::Brought).await.unwrap(), Replaced::Durable);
    read(&store, "depop@b").await;
}

async fn filled_up(dir: &Path) {
    let store = open(dir);
    store.replace(record("depop@a", 2), Origin::Rotated).await.unwrap();
    store.replace(record("depop@b", 1), Origin::Rotated).await.unwrap();
}

/// A small store with something in every table, as bytes, and what is in it.
struct Sample {
    dir: tempfile::TempDir,
    bytes: Vec<u8>,
    contents: BTreeMap<AccountId, String>,
}

/// What opening a damaged file came to.
#[derive(Debug, Default)]
struct Tally {
    refused: usize,
    unharmed: usize,
    corrupt: usize,
}

impl Sample {
    async fn make() -> Self {
        let dir = fast_directory();
        let store = open(dir.path());
        let mut contents = BTreeMap::new();
        for number in 0..12 {
            let name = format!("depop@shop-{number:02}");
            let long = "x".repeat(number * 400);
            let record = Record { identity: Some(long), ..record(&name, 1) };
            store.replace(record.clone(), Origin::Brought).await.unwrap();
            contents.insert(id(&name), content(&record));
        }
        store.begin(intent("depop@shop-03", 1, at(4))).await.unwrap();
        store.put_consent(consent("mg_state", at(600)), at(0)).await.unwrap();
        store.shut_down().await.unwrap();
        let bytes = std::fs::read(database(dir.path())).unwrap();
        Self { dir, bytes, contents }
    }

    /// Opens the store with these bytes: either it is refused and left as it is, or every account is there, whole and as it
    /// was written or corrupt.
    async fn open_damaged(&self, bytes: &[u8], what: &str, tally: &mut Tally) {
        let dir = self.dir.path();
        std::fs::write(database(dir), bytes).unwrap();
        let _ = std::fs::remove_file(dir.join("marketgate.db-journal"));
        match SqliteStore::open(&options(dir)) {
            Err(error) => {
                assert!(
                    matches!(
                        error,
                        OpenError::Foreign { .. }
                            | OpenError::Damaged { .. }
                            | OpenError::Newer { .. }
                            | OpenError::WrongKey { .. }
                    ),
                    "{what}: {error:?}"
                );
                assert!(std::fs::read(database(dir)).unwrap() == bytes, "{what}: a refused file was changed");
                tally.refused += 1;
            }
            Ok(store) => self.compare(&store, what, tally).await,
        }
        self.forget_kept_files();
    }

    async fn compare(&self, store: &SqliteStore, what: &str, tally: &mut Tally) {
        let listed = everything(store).await;
        let listed: BTreeMap<_, _> = listed.into_iter().map(|stored| (stored.id().clone(), stored)).collect();
        let mut corrupt = 0;
        for (id, written) in &self.contents {
            match listed.get(id) {
                Some(Stored::Whole(record)) => assert_eq!(content(record), *written, "{what}"),
                Some(Stored::Corrupt { .. }) => corrupt += 1,
                None => panic!("{what}: {id} has disappeared"),
            }
        }
        for ghost in listed.iter().filter(|(id, _)| !self.contents.contains_key(id)) {
            assert!(matches!(ghost.1, Stored::Corrupt { .. }), "{what}: {} was made up", ghost.0);
        }
        if corrupt == 0 {
            tally.unharmed += 1;
        } else {
            tally.corrupt += 1;
        }
        // Whatever is left can be written to, or says that it cannot.
        let _ = store.replace(record("depop@new", 1), Origin::Brought).await;
    }

    fn forget_kept_files(&self) {
        for entry in std::fs::read_dir(self.dir.path()).unwrap().flatten() {
            // What was written into one would make the next one look like an older copy.
            let name = entry.file_name().into_string().unwrap();
            if name.contains("damaged-") || name.ends_with(".mark") {
                std::fs::remove_file(entry.path()).unwrap();
            }
        }
    }
}

#[tokio::test]
async fn a_flipped_bit_harms_at_most_the_accounts_it_lies_in() {
    let sample = Sample::make().await;
    let mut tally = Tally::default();
    let headers = (0..sample.bytes.len()).filter(|at| *at < 110 || at % 4096 < 12);
    let rest = (110..sample.bytes.len()).step_by(311);
    for at in headers.chain(rest) {
        let mut bytes = sample.bytes.clone();
        bytes[at] ^= [0x01, 0x80, 0x20, 0xff][at % 4];
        sample.open_damaged(&bytes, &format!("byte {at}"), &mut tally).await;
    }
    println!("{tally:?} of {} bytes", sample.bytes.len());
    assert!(tally.unharmed > 0 && tally.corrupt > 0, "{tally:?}");
    assert_eq!(tally.refused, 0, "a single flipped bit leaves something to serve");
}

#[tokio::test]
async fn a_page_of_zeroes_harms_at_most_the_accounts_on_it_and_the_damaged_file_is_kept() {
    let sample = Sample::make().await;
    let mut tally = Tally::default();
    for page in 0..sample.bytes.len() / 4096 {
        let mut bytes = sample.bytes.clone();
        bytes[page * 4096..][..4096].fill(0);
        sample.open_damaged(&bytes, &format!("page {}", page + 1), &mut tally).await;
    }
    println!("{tally:?}");
    assert!(tally.corrupt > 3, "{tally:?}");
}

#[tokio::test]
async fn a_file_that_was_cut_off_never_opens_as_an_empty_store() {
    let sample = Sample::make().await;
    let mut tally = Tally::default();
    let lengths = (0..200).chain((200..sample.bytes.len()).step_by(509));
    for length in lengths.chain([sample.bytes.len() - 1]) {
        sample.open_damaged(&sample.bytes[..length], &format!("cut at {length}"), &mut tally).await;
    }
    println!("{tally:?}");
    assert!(tally.refused > 200, "{tally:?}");
}

#[tokio::test]
async fn a_rebuilt_store_stands_beside_the_damaged_file() {
    let sample = Sample::make().await;
    let mut bytes = sample.bytes.clone();
    // The list of free pages now claims a page that is in use.
    bytes[32..40].copy_from_slice(&[0, 0, 0, 5, 0, 0, 0, 1]);
    std::fs::write(database(sample.dir.path()), &bytes).unwrap();
    let store = open(sample.dir.path());
    assert_eq!(store.count(None).await.unwrap(), 12);
    let kept = std::fs::read_dir(sample.dir.path())
        .unwrap()
        .flatten()
        .find(|entry| entry.file_name().to_str().unwrap().starts_with("marketgate.db.damaged-"));
    assert_eq!(std::fs::read(kept.unwrap().path()).unwrap(), bytes);
    assert_eq!(store.open_intents().await.unwrap(), [id("depop@shop-03")]);
}
