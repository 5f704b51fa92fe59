//! An older copy of the database, put back while nobody served it, is noticed; nothing else is taken for one.

use std::path::{Path, PathBuf};

use marketgate::{
    secret::{Secret, SecretSource},
    store::{
        Grant, OpenOptions, Origin, ParkReason, Record, Replaced, SqliteStore, Standing, Store, Stored,
        sqlite::restore,
    },
};

use super::{
    shop::Shop,
    store_fixture::{content, database, everything, fast_directory, id, meddle, open, options, read, record},
};

const PARKED: Standing = Standing::Parked(ParkReason::Restored);

fn mark(dir: &Path) -> PathBuf {
    dir.join("marketgate.db.mark")
}

/// Two accounts whose tokens rotate and one whose key does not, and a copy made before the last rotation.
async fn with_a_copy(dir: &Path) -> PathBuf {
    let store = open(dir);
    for name in ["depop@a", "depop@b"] {
        store.replace(record(name, 1), Origin::Brought).await.unwrap();
    }
    let grant = Some(Grant::Key(Secret::new("static-key")));
    store.replace(Record { grant, ..record("walmart@c", 1) }, Origin::Brought).await.unwrap();
    drop(store);
    let copy = dir.join("copy.db");
    std::fs::copy(database(dir), &copy).unwrap();
    let store = open(dir);
    store.replace(record("depop@a", 2), Origin::Rotated).await.unwrap();
    copy
}

async fn standings(store: &SqliteStore) -> Vec<Standing> {
    let standing = |stored: Stored| match stored {
        Stored::Whole(record) => record.standing,
        Stored::Corrupt { id, detail, .. } => panic!("{id}: {detail}"),
    };
    everything(store).await.into_iter().map(standing).collect()
}

#[tokio::test]
async fn an_older_copy_put_back_starts_with_its_refresh_tokens_parked() {
    let dir = fast_directory();
    let copy = with_a_copy(dir.path()).await;
    let newest = std::fs::read(database(dir.path())).unwrap();
    std::fs::copy(&copy, database(dir.path())).unwrap();
    for _ in 0..2 {
        let store = open(dir.path());
        assert_eq!(
            standings(&store).await,
            [PARKED, PARKED, Standing::Active],
            "a static key cannot be spent"
        );
        let Some(Grant::Refresh { .. }) = read(&store, "depop@a").await.grant else { panic!("it is gone") };
    }
    // The mistake is corrected: nothing was refreshed meanwhile.
    std::fs::write(database(dir.path()), &newest).unwrap();
    assert_eq!(standings(&open(dir.path())).await, [Standing::Active, Standing::Active, Standing::Active]);
    // But once a parked account goes on and rotates, the other one is the older.
    std::fs::copy(&copy, database(dir.path())).unwrap();
    let store = open(dir.path());
    let parked = read(&store, "depop@b").await;
    let resumed = Record { standing: Standing::Active, generation: parked.generation + 1, ..parked };
    assert_eq!(store.replace(resumed, Origin::Kept).await.unwrap(), Replaced::Durable);
    drop(store);
    std::fs::write(database(dir.path()), &newest).unwrap();
    assert_eq!(standings(&open(dir.path())).await, [PARKED, PARKED, Standing::Active]);
}

#[tokio::test]
async fn a_backup_put_back_by_hand_is_noticed_as_well() {
    let dir = fast_directory();
    let store = open(dir.path());
    store.replace(record("depop@a", 1), Origin::Brought).await.unwrap();
    let backup = dir.path().join("backup.db");
    store.backup(&backup).await.unwrap();
    store.replace(record("depop@a", 2), Origin::Rotated).await.unwrap();
    drop(store);
    std::fs::rename(&backup, database(dir.path())).unwrap();
    assert_eq!(standings(&open(dir.path())).await, [PARKED]);
}

#[tokio::test]
async fn what_was_spilled_is_the_newest_whatever_the_copy_says() {
    let dir = fast_directory();
    let copy = with_a_copy(dir.path()).await;
    let store = open(dir.path());
    store.spill(vec![record("depop@a", 3)]).unwrap();
    drop(store);
    std::fs::copy(&copy, database(dir.path())).unwrap();
    let store = open(dir.path());
    assert_eq!(content(&read(&store, "depop@a").await), content(&record("depop@a", 3)));
    assert_eq!(read(&store, "depop@b").await.standing, PARKED);
}

#[tokio::test]
async fn a_mark_that_is_missing_unreadable_or_of_another_store_parks_nobody() {
    for spoil in ["nothing", "half", "noise", "another"] {
        let dir = fast_directory();
        drop(with_a_copy(dir.path()).await);
        let other = fast_directory();
        drop(with_a_copy(other.path()).await);
        let good = std::fs::read(mark(dir.path())).unwrap();
        match spoil {
            "nothing" => std::fs::remove_file(mark(dir.path())).unwrap(),
            "half" => std::fs::write(mark(dir.path()), &good[..good.len() / 2]).unwrap(),
            "noise" => std::fs::write(mark(dir.path()), [0xff; 128]).unwrap(),
            _ => drop(std::fs::copy(mark(other.path()), mark(dir.path())).unwrap()),
        }
        assert_eq!(
            standings(&open(dir.path())).await,
            [Standing::Active, Standing::Active, Standing::Active],
            "{spoil}"
        );
        assert_eq!(std::fs::read(mark(dir.path())).unwrap(), good, "{spoil}: it is written again");
    }
}

#[tokio::test]
async fn a_store_of_an_earlier_version_gets_a_mark_and_is_not_taken_for_an_older_copy() {
    let dir = fast_directory();
    drop(with_a_copy(dir.path()).await);
    std::fs::remove_file(mark(dir.path())).unwrap();
    meddle(dir.path(), "DELETE FROM about WHERE name IN ('store', 'commits')");
    assert_eq!(standings(&open(dir.path())).await, [Standing::Active, Standing::Active, Standing::Active]);
    assert!(mark(dir.path()).exists());
}

#[tokio::test]
async fn a_rekey_a_restored_backup_and_a_rebuilt_store_are_no_older_copies() {
    let dir = fast_directory();
    drop(with_a_copy(dir.path()).await);
    // Rekeyed.
    let (key, old) = (dir.path().join("marketgate.key"), dir.path().join("old.key"));
    std::fs::rename(&key, &old).unwrap();
    let maker = fast_directory();
    drop(open(maker.path()));
    std::fs::copy(maker.path().join("marketgate.key"), &key).unwrap();
    let both = OpenOptions { old_keys: vec![SecretSource::File(old)], ..options(dir.path()) };
    let store = SqliteStore::open(&both).unwrap();
    store.rekey().await.unwrap();
    store.backup(&dir.path().join("backup.db")).await.unwrap();
    drop(store);
    assert_eq!(standings(&open(dir.path())).await, [Standing::Active, Standing::Active, Standing::Active]);
    // Rebuilt.
    let mut bytes = std::fs::read(database(dir.path())).unwrap();
    bytes[..4096].fill(0);
    std::fs::write(database(dir.path()), &bytes).unwrap();
    assert_eq!(standings(&open(dir.path())).await, [Standing::Active, Standing::Active, Standing::Active]);
    // Restored, and one account resumed: it is not parked again.
    let store = open(dir.path());
    store.replace(record("depop@b", 2), Origin::Rotated).await.unwrap();
    drop(store);
    restore(&dir.path().join("backup.db"), &options(dir.path())).unwrap();
    let store = open(dir.path());
    assert_eq!(standings(&store).await, [PARKED, PARKED, Standing::Active]);
    let parked = read(&store, "depop@a").await;
    let resumed = Record { standing: Standing::Active, generation: parked.generation + 1, ..parked };
    store.replace(resumed, Origin::Kept).await.unwrap();
    drop(store);
    assert_eq!(standings(&open(dir.path())).await, [Standing::Active, PARKED, Standing::Active]);
}

#[tokio::test]
async fn an_account_that_was_removed_and_made_again_is_no_sign_of_an_older_copy() {
    let dir = fast_directory();
    drop(with_a_copy(dir.path()).await);
    let store = open(dir.path());
    assert_eq!(store.remove(&id("depop@a"), 2).await.unwrap(), Replaced::Durable);
    store.replace(record("depop@a", 1), Origin::Brought).await.unwrap();
    drop(store);
    assert_eq!(standings(&open(dir.path())).await, [Standing::Active, Standing::Active, Standing::Active]);
}

#[test]
fn no_refresh_token_of_an_older_copy_is_shown_and_resuming_shows_it() {
    let mut shop = Shop::closed();
    let copy = shop.database().with_extension("copy");
    std::fs::copy(shop.database(), &copy).unwrap();
    shop.run();
    shop.served_with();
    shop.stop();
    let newest = shop.database().with_extension("newest");
    std::fs::rename(shop.database(), &newest).unwrap();
    std::fs::rename(&copy, shop.database()).unwrap();
    shop.run();
    shop.program().mentions("an earlier copy has been put in its place");
    let refused = shop.get();
    assert!(refused.starts_with("HTTP/1.1 503") && refused.contains("\"login_required\""), "{refused}");
    let state = shop.state();
    assert_eq!(
        (state["state"].as_str(), state["reason"].as_str()),
        (Some("parked"), Some("restored")),
        "{state}"
    );
    assert_eq!(shop.family().rotations, 1, "a spent refresh token was shown");
    assert!(shop.family().ended.is_none());
    shop.stop();
    std::fs::rename(&newest, shop.database()).unwrap();
    shop.assert_whole(1);
}
