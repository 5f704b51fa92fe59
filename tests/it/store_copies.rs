//! Backups, what comes out of them, and the change of keys.

use std::{
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    task::{Context, Poll, Waker},
    time::Duration,
};

use marketgate::{
    secret::{Secret, SecretSource},
    store::{
        Grant, Intent, KeyPlace, OpenError, OpenOptions, Origin, ParkReason, Record, Replaced, SqliteStore,
        Standing, Store, Stored,
        sqlite::{RestoreError, restore},
    },
};

use super::store_fixture::{
    at, consent, content, corruption, database, everything, fast_directory, id, intent, meddle, open,
    options, read, record, refresh_token, whole,
};

async fn filled(dir: &Path) -> SqliteStore {
    let store = open(dir);
    for name in ["depop@a", "depop@b"] {
        store.replace(record(name, 1), Origin::Brought).await.unwrap();
    }
    let grant = Some(Grant::Key(Secret::new("static-key")));
    store.replace(Record { grant, ..record("walmart@c", 1) }, Origin::Brought).await.unwrap();
    store
}

#[tokio::test]
async fn a_backup_is_a_store_of_its_own_made_while_the_store_is_used() {
    let dir = fast_directory();
    let store = filled(dir.path()).await;
    let copy = dir.path().join("copy.db");
    let (backup, later) = (store.backup(&copy), store.replace(record("depop@a", 2), Origin::Rotated));
    backup.await.unwrap();
    later.await.unwrap();
    assert_eq!(copy.metadata().unwrap().mode() & 0o777, 0o600);
    let opened = SqliteStore::open(&OpenOptions { path: copy.clone(), ..options(dir.path()) }).unwrap();
    assert_eq!(everything(&opened).await.len(), 3);
    assert_eq!(content(&read(&opened, "depop@b").await), content(&record("depop@b", 1)));
    let before = std::fs::read(&copy).unwrap();
    store.backup(&copy).await.unwrap_err();
    assert_eq!(std::fs::read(&copy).unwrap(), before, "a file that is there is never overwritten");
    store.backup(&dir.path().join("missing/copy.db")).await.unwrap_err();
    assert_eq!(read(&store, "depop@a").await.generation, 2);
}

#[tokio::test]
async fn what_is_restored_is_parked_and_the_old_store_is_kept() {
    let dir = fast_directory();
    let store = filled(dir.path()).await;
    let counted = Some(("endpoint".to_owned(), Duration::from_secs(300)));
    store.begin(Intent { counted, ..intent("depop@a", 1, at(9)) }).await.unwrap();
    store.put_consent(consent("mg_state", at(600)), at(0)).await.unwrap();
    let copy = dir.path().join("copy.db");
    store.backup(&copy).await.unwrap();
    store.close(&id("depop@a"), 1, at(10)).await.unwrap();
    store.replace(record("depop@a", 2), Origin::Rotated).await.unwrap();
    store.replace(record("depop@new", 1), Origin::Brought).await.unwrap();
    assert!(matches!(
        restore(&copy, &options(dir.path())).unwrap_err(),
        RestoreError::Open(OpenError::StoreInUse { .. })
    ));
    store.spill(vec![record("depop@a", 3)]).unwrap();
    drop(store);

    let restored = restore(&copy, &options(dir.path())).unwrap();
    assert_eq!((restored.accounts, restored.parked), (3, 2));
    let aside = restored.moved_aside.unwrap();
    assert!(aside.file_name().unwrap().to_str().unwrap().starts_with("marketgate.db.before-restore-"));
    let store = open(dir.path());
    for name in ["depop@a", "depop@b"] {
        let found = read(&store, name).await;
        assert_eq!((&found.standing, found.generation), (&Standing::Parked(ParkReason::Restored), 2));
        let Some(Grant::Refresh { token, .. }) = found.grant else { panic!("another grant") };
        assert_eq!(token.expose(), refresh_token(name, 1).expose());
    }
    assert_eq!(
        read(&store, "walmart@c").await.standing,
        Standing::Active,
        "a static key cannot have been spent"
    );
    assert!(store.open_intents().await.unwrap().is_empty());
    assert_eq!(store.calls("endpoint").await.unwrap().open, 0);
    assert!(store.take_consent(&Secret::new("mg_state")).await.unwrap().is_none());
    assert!(store.account(&id("depop@new")).await.unwrap().is_none());
    assert_eq!(store.holder(&refresh_token("depop@a", 1)).await.unwrap(), Some(id("depop@a")));
    drop(store);

    let old = SqliteStore::open(&OpenOptions { path: aside, ..options(dir.path()) }).unwrap();
    assert_eq!(read(&old, "depop@new").await.generation, 1);
    assert_eq!(read(&old, "depop@a").await.generation, 3, "what it had spilled went with it");
}

#[tokio::test]
async fn a_backup_comes_back_where_there_is_no_store() {
    let dir = fast_directory();
    let store = filled(dir.path()).await;
    store.backup(&dir.path().join("copy.db")).await.unwrap();
    drop(store);
    let elsewhere = fast_directory();
    let place = OpenOptions { path: elsewhere.path().join("new/store.db"), ..options(dir.path()) };
    let restored = restore(&dir.path().join("copy.db"), &place).unwrap();
    assert_eq!((restored.accounts, restored.parked, restored.moved_aside), (3, 2, None));
    assert_eq!(everything(&SqliteStore::open(&place).unwrap()).await.len(), 3);
}

#[tokio::test]
async fn a_backup_that_does_not_open_replaces_nothing() {
    let dir = fast_directory();
    let store = filled(dir.path()).await;
    let copy = dir.path().join("copy.db");
    store.backup(&copy).await.unwrap();
    drop(store);
    let before = std::fs::read(database(dir.path())).unwrap();
    let unchanged = |error: &RestoreError| {
        assert!(!error.action().is_empty());
        assert_eq!(std::fs::read(database(dir.path())).unwrap(), before, "{error}");
    };

    let other = fast_directory();
    drop(open(other.path()));
    let with_other_key = OpenOptions { key: options(other.path()).key, ..options(dir.path()) };
    let error = restore(&copy, &with_other_key).unwrap_err();
    assert!(matches!(error, RestoreError::Open(OpenError::WrongKey { .. })), "{error}");
    unchanged(&error);

    let no_key = OpenOptions { key: KeyPlace::File(dir.path().join("missing.key")), ..options(dir.path()) };
    let error = restore(&copy, &no_key).unwrap_err();
    assert!(matches!(error, RestoreError::Open(OpenError::KeyMissing { .. })), "{error}");
    unchanged(&error);

    let error = restore(&database(dir.path()), &options(dir.path())).unwrap_err();
    assert!(matches!(error, RestoreError::Backup { .. }), "{error}");
    unchanged(&error);

    rusqlite::Connection::open(&copy)
        .unwrap()
        .execute_batch("UPDATE accounts SET generation = 7 WHERE account = 'b'")
        .unwrap();
    let error = restore(&copy, &options(dir.path())).unwrap_err();
    assert!(
        matches!(&error, RestoreError::Corrupt { count: 1, first, .. } if *first == id("depop@b")),
        "{error}"
    );
    unchanged(&error);

    let bytes = std::fs::read(&copy).unwrap();
    std::fs::write(&copy, &bytes[..bytes.len() - 5000]).unwrap();
    let error = restore(&copy, &options(dir.path())).unwrap_err();
    assert!(matches!(error, RestoreError::Open(OpenError::Damaged { .. })), "{error}");
    unchanged(&error);
}

/// Moves the key aside, so that the next store made there gets another one.
fn with_new_key(dir: &Path) -> (OpenOptions, PathBuf) {
    let (key, old) = (dir.join("marketgate.key"), dir.join("old.key"));
    std::fs::rename(&key, &old).unwrap();
    let maker = fast_directory();
    drop(open(maker.path()));
    std::fs::copy(maker.path().join("marketgate.key"), key).unwrap();
    (OpenOptions { old_keys: vec![SecretSource::File(old.clone())], ..options(dir) }, old)
}

#[tokio::test]
async fn after_a_rekey_the_old_key_is_needed_no_more() {
    let dir = fast_directory();
    let store = filled(dir.path()).await;
    store.begin(intent("depop@a", 1, at(9))).await.unwrap();
    store.put_consent(consent("mg_state", at(600)), at(0)).await.unwrap();
    drop(store);
    let (both, old) = with_new_key(dir.path());
    let store = SqliteStore::open(&both).unwrap();
    assert_eq!(store.rekey().await.unwrap(), 4);
    assert_eq!(store.rekey().await.unwrap(), 0, "everything is under the new key");
    drop(store);
    std::fs::remove_file(old).unwrap();
    let store = open(dir.path());
    let found = read(&store, "depop@a").await;
    assert_eq!(content(&found), content(&record("depop@a", 1)));
    assert!(found.intent.is_some(), "an open intent stays open");
    assert_eq!(store.holder(&refresh_token("depop@a", 1)).await.unwrap(), Some(id("depop@a")));
    assert!(store.take_consent(&Secret::new("mg_state")).await.unwrap().is_some());
    assert_eq!(store.replace(record("depop@a", 2), Origin::Rotated).await.unwrap(), Replaced::Durable);
}

#[tokio::test]
async fn a_rekey_that_was_cut_off_loses_nothing_and_is_taken_up_again() {
    const ACCOUNTS: usize = 200;
    let dir = fast_directory();
    let store = open(dir.path());
    for number in 0..ACCOUNTS {
        drop(store.replace(record(&format!("depop@{number:03}"), 1), Origin::Brought));
    }
    drop(store);
    let (both, old) = with_new_key(dir.path());
    let store = SqliteStore::open(&both).unwrap();
    {
        let mut rekey = store.rekey();
        let mut context = Context::from_waker(Waker::noop());
        for _ in 0..2 {
            assert_eq!(rekey.as_mut().poll(&mut context), Poll::Pending);
            // Whatever it has asked for is done when this is answered.
            store.probe().await.unwrap();
        }
        // Others go on meanwhile.
        assert_eq!(store.replace(record("depop@199", 2), Origin::Rotated).await.unwrap(), Replaced::Durable);
    }
    drop(store);

    // The old key is taken away too early: nothing opens, and nothing is changed.
    let error = SqliteStore::open(&options(dir.path())).unwrap_err();
    assert!(matches!(error, OpenError::WrongKey { .. }), "{error}");

    let store = SqliteStore::open(&both).unwrap();
    let read = everything(&store).await;
    assert_eq!(read.into_iter().map(whole).filter(|record| record.grant.is_some()).count(), ACCOUNTS);
    let left = store.rekey().await.unwrap();
    assert!((1..150).contains(&left), "{left} were left");
    drop(store);
    std::fs::remove_file(old).unwrap();
    let read = everything(&open(dir.path())).await;
    assert!(read.iter().all(|stored| matches!(stored, Stored::Whole(_))));
}

#[tokio::test]
async fn a_row_under_a_key_that_is_not_at_hand_is_corrupt_and_names_the_key() {
    let dir = fast_directory();
    drop(filled(dir.path()).await);
    meddle(dir.path(), "UPDATE accounts SET key_id = '0123456789abcdef' WHERE account = 'a'");
    let store = open(dir.path());
    let (generation, detail) = corruption(&store, "depop@a").await;
    assert_eq!(generation, 1);
    assert!(detail.contains("0123456789abcdef") && detail.contains("old_keys"), "{detail}");
    read(&store, "depop@b").await;
}
