//! The disk fills up: writes fail and say so, nothing that was durable is lost, and they work again when there is room.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use marketgate::store::{
    OpenError, Origin, Record, Replaced, SqliteStore, Store, StoreError, error::Trouble,
};

use super::{
    small_disk::SmallDisk,
    store_fixture::{at, content, everything, fast_directory, id, intent, open, options, read, record},
};

/// A record that needs new pages.
fn large(name: &str, generation: u64) -> Record {
    Record { identity: Some("i".repeat(100_000)), ..record(name, generation) }
}

fn is_full<T>(outcome: Result<T, StoreError>) -> bool {
    outcome.is_err_and(|error| {
        assert!(error.action().contains("make room"));
        error.trouble == Trouble::Full
    })
}

#[tokio::test]
async fn a_full_disk_fails_the_writes_it_has_no_room_for_and_no_later_ones() {
    let Some(disk) = SmallDisk::mount() else { return };
    let store = open(disk.path());
    store.replace(record("depop@a", 1), Origin::Brought).await.unwrap();
    disk.fill();
    assert!(is_full(store.replace(large("depop@b", 1), Origin::Brought).await));
    assert!(is_full(store.replace(large("depop@a", 2), Origin::Rotated).await));
    assert_eq!(content(&read(&store, "depop@a").await), content(&record("depop@a", 1)));
    assert!(store.account(&id("depop@b")).await.unwrap().is_none());
    disk.make_room();
    for name in ["depop@b", "depop@c"] {
        assert_eq!(store.replace(large(name, 1), Origin::Brought).await.unwrap(), Replaced::Durable);
    }
    drop(store);
    assert_eq!(everything(&open(disk.path())).await.len(), 3);
}

#[tokio::test]
async fn a_rotated_token_is_stored_although_another_write_of_the_batch_does_not_fit() {
    let Some(disk) = SmallDisk::mount() else { return };
    let store = open(disk.path());
    store.replace(record("depop@a", 1), Origin::Brought).await.unwrap();
    disk.fill();
    // The thread is busy with the first, so the others are one batch, as a rule: one of them does not fit.
    let busy = store.probe();
    let too_large = store.put_consent(
        marketgate::store::PendingConsent {
            redirect_uri: "u".repeat(100_000),
            ..super::store_fixture::consent("mg_state", at(600))
        },
        at(0),
    );
    let rotated = store.replace(record("depop@a", 2), Origin::Kept);
    let _ = busy.await;
    assert!(is_full(too_large.await));
    assert_eq!(rotated.await.unwrap(), Replaced::Durable, "the same size as before: it needs no room");
    assert_eq!(content(&read(&store, "depop@a").await), content(&record("depop@a", 2)));
}

#[tokio::test]
async fn what_a_full_disk_kept_out_is_spilled_and_taken_in_at_the_next_start() {
    let Some(disk) = SmallDisk::mount() else { return };
    let store = open(disk.path());
    store.replace(record("depop@a", 1), Origin::Brought).await.unwrap();
    disk.fill();
    assert!(is_full(store.replace(large("depop@b", 1), Origin::Brought).await));
    store.spill(vec![record("depop@a", 2)]).unwrap();
    store.spill(vec![record("depop@b", 1)]).unwrap();
    store.shut_down().await.unwrap();
    drop(store);
    disk.make_room();
    let store = open(disk.path());
    assert_eq!(content(&read(&store, "depop@a").await), content(&record("depop@a", 2)));
    assert_eq!(content(&read(&store, "depop@b").await), content(&record("depop@b", 1)));
}

fn spill_file(dir: &Path) -> PathBuf {
    dir.join("marketgate.db.spill")
}

#[tokio::test]
async fn a_spilled_record_is_taken_in_once_and_only_if_it_follows_the_stored_one() {
    let dir = fast_directory();
    let store = open(dir.path());
    for name in ["depop@a", "depop@b"] {
        store.replace(record(name, 1), Origin::Brought).await.unwrap();
    }
    store.spill(vec![record("depop@a", 2), record("depop@b", 1), large("depop@c", 1)]).unwrap();
    drop(store);
    let store = open(dir.path());
    assert_eq!(read(&store, "depop@a").await.generation, 2);
    assert_eq!(content(&read(&store, "depop@b").await), content(&record("depop@b", 1)));
    assert_eq!(
        content(&read(&store, "depop@c").await),
        content(&large("depop@c", 1)),
        "the file grows when it must"
    );
    assert_eq!(std::fs::read(spill_file(dir.path())).unwrap(), vec![0; 64 * 1024], "nothing of it is left");
    drop(store);
    assert_eq!(read(&open(dir.path()), "depop@a").await.generation, 2);
}

#[tokio::test]
async fn a_spill_that_cannot_be_read_or_has_lost_its_database_is_not_dropped() {
    let dir = fast_directory();
    let store = open(dir.path());
    store.replace(record("depop@a", 1), Origin::Brought).await.unwrap();
    store.spill(vec![record("depop@a", 2)]).unwrap();
    drop(store);
    let good = std::fs::read(spill_file(dir.path())).unwrap();
    let refused = || {
        let error = SqliteStore::open(&options(dir.path())).unwrap_err();
        assert!(matches!(error, OpenError::Spill { .. }), "{error}");
    };
    for at in [0, 9, 12, 40, 200] {
        let mut bytes = good.clone();
        bytes[at] ^= 1;
        std::fs::write(spill_file(dir.path()), &bytes).unwrap();
        refused();
        assert_eq!(std::fs::read(spill_file(dir.path())).unwrap(), bytes);
    }
    std::fs::write(spill_file(dir.path()), &good).unwrap();
    let database = options(dir.path()).path;
    std::fs::rename(&database, dir.path().join("elsewhere")).unwrap();
    let error = SqliteStore::open(&options(dir.path())).unwrap_err();
    assert!(matches!(error, OpenError::Missing { .. }), "{error}");
    assert!(!database.exists(), "no empty store is made beside it");
    std::fs::rename(dir.path().join("elsewhere"), &database).unwrap();
    assert_eq!(read(&open(dir.path()), "depop@a").await.generation, 2);
}

/// An account whose refresh token is as long as some marketplaces make them.
fn long_winded(number: usize, generation: u64) -> Record {
    let name = format!("depop@shop-{number:02}");
    let mut record = record(&name, generation);
    let Some(marketgate::store::Grant::Refresh { token, .. }) = &mut record.grant else {
        panic!("another grant")
    };
    *token = marketgate::secret::Secret::new(format!("{number:04}{generation:04}").repeat(1000));
    record
}

#[tokio::test]
async fn every_refresh_that_may_begin_has_room_for_what_it_brings_when_the_disk_is_full() {
    const ACCOUNTS: usize = 40;
    let Some(disk) = SmallDisk::mount() else { return };
    let store = open(disk.path());
    for number in 0..ACCOUNTS {
        store.replace(long_winded(number, 1), Origin::Brought).await.unwrap();
    }
    let mut begun = Vec::new();
    for number in 0..ACCOUNTS {
        let intent = intent(&format!("depop@shop-{number:02}"), 1, at(5));
        match store.begin(intent).await {
            Ok(begun_so) => {
                assert_eq!(begun_so, marketgate::store::Begun::Durable);
                begun.push(number);
            }
            Err(error) => {
                assert_eq!(error.trouble, Trouble::Full);
                assert!(error.detail.contains("no room can be set aside"), "{error}");
            }
        }
    }
    assert!(begun.len() > 4 && begun.len() < ACCOUNTS, "{} may begin", begun.len());
    let room = store.spill_room().unwrap();
    assert!(room.set_aside >= room.promised && room.promised > 0, "{room:?}");
    disk.fill();
    store.spill(begun.iter().map(|number| long_winded(*number, 2)).collect()).unwrap();
    drop(store);
    disk.make_room();
    let store = open(disk.path());
    for number in begun {
        let name = format!("depop@shop-{number:02}");
        assert_eq!(content(&read(&store, &name).await), content(&long_winded(number, 2)));
    }
}

#[tokio::test]
async fn room_that_a_refresh_no_longer_needs_is_promised_to_the_next() {
    let dir = fast_directory();
    let store = open(dir.path());
    for generation in 1..=20 {
        store.replace(long_winded(1, generation), Origin::Rotated).await.unwrap();
        store.begin(intent("depop@shop-01", generation, at(5))).await.unwrap();
    }
    let promised = store.spill_room().unwrap().promised;
    assert!((16_000..40_000).contains(&promised), "{promised}");
    store.close(&id("depop@shop-01"), 20, at(6)).await.unwrap();
    assert_eq!(store.spill_room().unwrap().promised, 0);
    assert_eq!(spill_file(dir.path()).metadata().unwrap().len(), 64 * 1024, "it does not grow without need");
    store.begin(intent("depop@shop-01", 20, at(7))).await.unwrap();
    drop(store);
    assert!(
        open(dir.path()).spill_room().unwrap().promised > 16_000,
        "what was begun may still bring something"
    );
}

#[tokio::test]
async fn the_spill_file_has_no_holes() {
    use std::os::unix::fs::MetadataExt;
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    for number in 0..20 {
        store.replace(long_winded(number, 1), Origin::Brought).await.unwrap();
        store.begin(intent(&format!("depop@shop-{number:02}"), 1, at(5))).await.unwrap();
    }
    let metadata = spill_file(dir.path()).metadata().unwrap();
    assert!(metadata.len() > 300_000 && metadata.blocks() * 512 >= metadata.len(), "{metadata:?}");
}

#[tokio::test]
async fn what_finds_no_room_is_handed_back_and_the_rest_is_kept() {
    let Some(disk) = SmallDisk::mount() else { return };
    let store = open(disk.path());
    for name in ["depop@a", "depop@b"] {
        store.replace(record(name, 1), Origin::Brought).await.unwrap();
    }
    disk.fill();
    let error = store.spill(vec![large("depop@a", 2), record("depop@b", 2)]).unwrap_err();
    assert_eq!(error.error.trouble, Trouble::Full, "{error}");
    assert_eq!(error.unwritten.iter().map(content).collect::<Vec<_>>(), [content(&large("depop@a", 2))]);
    drop(store);
    disk.make_room();
    let store = open(disk.path());
    assert_eq!((read(&store, "depop@a").await.generation, read(&store, "depop@b").await.generation), (1, 2));
}

/// Runs itself anew as a process whose files may not grow beyond a size, which is the whole process's.
#[test]
fn after_an_input_output_error_the_store_is_opened_anew_and_works() {
    const PLACE: &str = "MARKETGATE_TEST_LIMITED_DIR";
    const NAME: &str = "store_full::after_an_input_output_error_the_store_is_opened_anew_and_works";
    if let Ok(place) = std::env::var(PLACE) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        return runtime.block_on(fail_and_go_on(Path::new(&place)));
    }
    let dir = fast_directory();
    let script = format!("trap '' XFSZ; ulimit -S -f 400; exec \"$0\" --exact {NAME}");
    let program = std::env::current_exe().unwrap();
    let child =
        Command::new("sh").arg("-c").arg(script).arg(program).env(PLACE, dir.path()).output().unwrap();
    assert!(child.status.success(), "{}", String::from_utf8_lossy(&child.stdout));
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    assert_eq!(runtime.block_on(everything(&open(dir.path()))).len(), 2);
}

async fn fail_and_go_on(dir: &Path) {
    let store = open(dir);
    store.replace(record("depop@a", 1), Origin::Brought).await.unwrap();
    let error = store
        .replace(large("depop@b", 1), Origin::Brought)
        .await
        .map(drop)
        .and(store.replace(large("depop@c", 1), Origin::Brought).await.map(drop));
    assert_eq!(error.unwrap_err().trouble, Trouble::Io);
    assert_eq!(store.replace(record("depop@a", 2), Origin::Rotated).await.unwrap(), Replaced::Durable);
    assert_eq!(content(&read(&store, "depop@a").await), content(&record("depop@a", 2)));
    assert!(everything(&store).await.len() <= 2, "what was refused is not there");
    let unlimited = rustix::process::Rlimit { current: None, maximum: None };
    rustix::process::setrlimit(rustix::process::Resource::Fsize, unlimited).unwrap();
    if store.account(&id("depop@b")).await.unwrap().is_none() {
        assert_eq!(store.replace(large("depop@b", 1), Origin::Brought).await.unwrap(), Replaced::Durable);
    }
}
