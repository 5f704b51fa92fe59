//! The store's file is taken away, replaced or changed while it is served: nothing is spent any more, nothing that was
//! answered is lost, and it goes on by itself when the file is back.

use std::path::Path;

use marketgate::store::{Begun, Origin, Replaced, SqliteStore, Store, StoreError, error::Trouble};

use crate::{
    shop::{ACCOUNT, Shop, TAKEN, UNSTORED},
    small_disk::SmallDisk,
    store_fixture::{at, content, database, fast_directory, intent, open, read, record},
};

const NAME: &str = "depop@a";

/// At generation 2, with a copy of generation 1 beside it.
async fn served(dir: &Path) -> SqliteStore {
    let store = open(dir);
    store.replace(record(NAME, 1), Origin::Brought).await.unwrap();
    std::fs::copy(database(dir), dir.join("older.db")).unwrap();
    store.replace(record(NAME, 2), Origin::Rotated).await.unwrap();
    store
}

fn displaced<T: std::fmt::Debug>(answer: Result<T, StoreError>) -> String {
    let error = answer.unwrap_err();
    assert_eq!(error.trouble, Trouble::Displaced, "{error}");
    assert!(error.action().contains("put the database back"));
    error.to_string()
}

/// No refresh may begin, nothing is said to be durable, and what is known can still be read. Returns what was said.
async fn stands_still(store: &SqliteStore) -> String {
    displaced(store.probe().await);
    displaced(store.replace(record(NAME, 3), Origin::Rotated).await);
    let said = displaced(store.begin(intent(NAME, 2, at(5))).await);
    assert_eq!(store.trouble().unwrap().trouble, Trouble::Displaced);
    assert_eq!(content(&read(store, NAME).await), content(&record(NAME, 2)));
    said
}

async fn goes_on(store: SqliteStore, dir: &Path) {
    assert_eq!(store.begin(intent(NAME, 2, at(6))).await.unwrap(), Begun::Durable);
    assert_eq!(store.replace(record(NAME, 3), Origin::Rotated).await.unwrap(), Replaced::Durable);
    assert_eq!(store.trouble(), None);
    drop(store);
    assert_eq!(content(&read(&open(dir), NAME).await), content(&record(NAME, 3)));
}

#[tokio::test]
async fn a_file_that_was_moved_away_is_missed_and_served_again_when_it_is_back() {
    let dir = fast_directory();
    let store = served(dir.path()).await;
    let (here, there) = (database(dir.path()), dir.path().join("elsewhere.db"));
    std::fs::rename(&here, &there).unwrap();
    let said = stands_still(&store).await;
    assert!(said.contains(&format!("is {} now", there.canonicalize().unwrap().display())), "{said}");
    std::fs::rename(&there, &here).unwrap();
    goes_on(store, dir.path()).await;
}

#[tokio::test]
async fn a_directory_that_was_moved_or_replaced_is_missed_and_what_is_spilled_goes_with_it() {
    let parent = fast_directory();
    let (here, there) = (parent.path().join("here"), parent.path().join("there"));
    let store = open(&here);
    store.replace(record(NAME, 1), Origin::Brought).await.unwrap();
    store.replace(record(NAME, 2), Origin::Rotated).await.unwrap();
    std::fs::rename(&here, &there).unwrap();
    stands_still(&store).await;
    let usurper = open(&here);
    stands_still(&store).await;
    store.spill(vec![record(NAME, 3)]).unwrap();
    drop(store);
    assert!(usurper.account(&record(NAME, 1).id).await.unwrap().is_none(), "it is another store");
    drop(usurper);
    let key = here.join("marketgate.key");
    assert!(key.exists());
    let moved = open(&there);
    assert_eq!(content(&read(&moved, NAME).await), content(&record(NAME, 3)));
}

#[tokio::test]
async fn a_directory_that_was_removed_is_missed() {
    let parent = fast_directory();
    let here = parent.path().join("here");
    std::fs::create_dir(&here).unwrap();
    let store = served(&here).await;
    std::fs::remove_dir_all(&here).unwrap();
    let said = stands_still(&store).await;
    assert!(said.contains("was deleted"), "{said}");
    let error = store.spill(vec![record(NAME, 3)]).unwrap_err();
    assert_eq!(error.unwritten.len(), 1, "there is no place for it");
}

#[tokio::test]
async fn a_deleted_file_can_be_brought_back_from_the_process_that_has_it_open() {
    let dir = fast_directory();
    let store = served(dir.path()).await;
    std::fs::remove_file(database(dir.path())).unwrap();
    let said = stands_still(&store).await;
    let place = said.split("its content is in ").nth(1).unwrap();
    std::fs::copy(place, database(dir.path())).unwrap();
    goes_on(store, dir.path()).await;
}

#[tokio::test]
async fn a_copy_that_holds_everything_is_served_and_written_to() {
    let dir = fast_directory();
    let store = served(dir.path()).await;
    let copy = dir.path().join("copy.db");
    std::fs::copy(database(dir.path()), &copy).unwrap();
    std::fs::rename(&copy, database(dir.path())).unwrap();
    goes_on(store, dir.path()).await;
}

#[tokio::test]
async fn an_older_copy_another_store_or_no_store_in_its_place_is_not_served() {
    let dir = fast_directory();
    let other = fast_directory();
    drop(served(other.path()).await);
    std::fs::write(other.path().join("text"), "no store at all").unwrap();
    for (usurper, expected) in [
        (dir.path().join("older.db"), "an older copy"),
        (other.path().join("marketgate.db"), "another store"),
        (other.path().join("text"), "no sound store"),
    ] {
        let store = served(dir.path()).await;
        let (here, aside) = (database(dir.path()), dir.path().join("aside.db"));
        std::fs::rename(&here, &aside).unwrap();
        std::fs::copy(&usurper, &here).unwrap();
        let before = std::fs::read(&here).unwrap();
        let said = stands_still(&store).await;
        assert!(said.contains(expected), "{said}");
        assert_eq!(std::fs::read(&here).unwrap(), before, "it was written to");
        std::fs::rename(&aside, &here).unwrap();
        goes_on(store, dir.path()).await;
        for name in [
            "marketgate.db",
            "marketgate.db.mark",
            "marketgate.db.spill",
            "marketgate.db.lock",
            "marketgate.key",
        ] {
            std::fs::remove_file(dir.path().join(name)).unwrap();
        }
    }
}

#[tokio::test]
async fn a_file_that_was_cut_off_or_overwritten_in_its_place_is_not_written_to() {
    let dir = fast_directory();
    let store = served(dir.path()).await;
    let here = database(dir.path());
    let good = std::fs::read(&here).unwrap();
    let older = std::fs::read(dir.path().join("older.db")).unwrap();
    let overwrite = |bytes: &[u8], ahead| {
        std::fs::write(&here, bytes).unwrap();
        // File systems tell time in ticks; this is not to depend on them.
        let later = std::time::SystemTime::now() + std::time::Duration::from_secs(ahead);
        std::fs::File::options().write(true).open(&here).unwrap().set_modified(later).unwrap();
    };
    for (bad, ahead) in [(Vec::new(), 10), (good[..8192].to_vec(), 20), (older, 30)] {
        overwrite(&bad, ahead);
        displaced(store.begin(intent(NAME, 2, at(5))).await);
        displaced(store.replace(record(NAME, 3), Origin::Rotated).await);
        displaced(store.account(&record(NAME, 1).id).await);
        assert_eq!(std::fs::read(&here).unwrap(), bad);
    }
    overwrite(&good, 40);
    goes_on(store, dir.path()).await;
}

#[tokio::test]
async fn a_file_that_was_only_touched_is_served_on() {
    let dir = fast_directory();
    let store = served(dir.path()).await;
    // A process of its own: closing a descriptor here would give up SQLite's locks.
    let touched =
        std::process::Command::new("touch").arg("-d").arg("tomorrow").arg(database(dir.path())).status();
    assert!(touched.unwrap().success());
    goes_on(store, dir.path()).await;
}

#[tokio::test]
async fn a_journal_that_was_deleted_is_made_again_before_the_next_write() {
    let dir = fast_directory();
    let store = served(dir.path()).await;
    let journal = dir.path().join("marketgate.db-journal");
    std::fs::remove_file(&journal).unwrap();
    assert_eq!(store.begin(intent(NAME, 2, at(6))).await.unwrap(), Begun::Durable);
    assert!(journal.exists(), "a crash in the middle of a write could not be undone");
    goes_on(store, dir.path()).await;
}

#[test]
fn a_seller_is_served_without_another_refresh_while_the_database_is_away_and_with_one_when_it_is_back() {
    let mut shop = Shop::closed();
    shop.run();
    let old = shop.served_with();
    let (here, there) = (shop.database(), shop.database().with_extension("away"));
    std::fs::rename(&here, &there).unwrap();
    let refused = shop.say(&["accounts", "refresh", ACCOUNT]);
    assert!(refused.code != Some(0) && refused.err.contains("is not in its place"), "{refused:?}");
    assert!(refused.err.contains("put the database back"), "{refused:?}");
    assert_eq!(shop.served_with(), old);
    assert_eq!((shop.market.sim.token_calls("*"), shop.family().rotations), (1, 1), "it was spent");
    let ready = shop.admin("/readyz");
    assert!(
        ready.starts_with("HTTP/1.1 503") && ready.contains("store: the store's file is not in its place"),
        "{ready}"
    );
    let status = shop.say(&["status"]);
    assert!(status.err.contains("store: the store's file is not in its place"), "{status:?}");
    assert!(shop.admin("/metrics").contains("marketgate_store_unwritable 1"));
    shop.program().mentions("no refresh token is spent until the store is back");
    std::fs::rename(&there, &here).unwrap();
    shop.until_ready();
    assert!(shop.admin("/metrics").contains("marketgate_store_unwritable 0"));
    shop.assert_whole(1);
}

#[test]
fn a_token_that_came_after_the_database_was_deleted_is_kept_and_stored_when_a_copy_is_put_back() {
    let mut shop = Shop::closed();
    shop.run();
    let old = shop.served_with();
    shop.tokens.hold();
    let refresh = shop.begin(&["accounts", "refresh", ACCOUNT]);
    shop.tokens.until_held();
    let copy = shop.database().with_extension("copy");
    std::fs::copy(shop.database(), &copy).unwrap();
    std::fs::remove_file(shop.database()).unwrap();
    shop.tokens.release();
    shop.program().mentions(UNSTORED);
    assert_eq!((shop.served_with(), shop.unpersisted()), (old.clone(), 1), "used before it was durable");
    std::fs::rename(&copy, shop.database()).unwrap();
    shop.program().mentions(TAKEN);
    shop.until_served_with_another_than(&old);
    drop(refresh);
    shop.assert_whole(2);
}

#[test]
fn after_a_start_without_its_database_the_exit_code_is_6_and_nothing_is_made() {
    let mut shop = Shop::closed();
    shop.run();
    shop.served_with();
    shop.stop();
    let aside = shop.database().with_extension("aside");
    std::fs::rename(shop.database(), &aside).unwrap();
    for arguments in [&["run"][..], &["accounts"], &["status"], &["token", ACCOUNT]] {
        let refused = shop.say(arguments);
        assert_eq!(refused.code, Some(6), "{arguments:?}: {refused:?}");
        assert!(
            refused.err.contains("is missing") && refused.err.contains("put the database back"),
            "{refused:?}"
        );
    }
    assert!(!shop.database().exists());
    std::fs::rename(&aside, shop.database()).unwrap();
    shop.assert_whole(1);
}

#[tokio::test]
async fn a_file_system_that_was_unmounted_is_missed() {
    let Some(disk) = SmallDisk::mount() else { return };
    let store = served(disk.path()).await;
    disk.unmount();
    let said = stands_still(&store).await;
    assert!(said.contains("unmounted"), "{said}");
}
