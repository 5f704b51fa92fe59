//! The store's files: who may have them, what happens when one is missing, foreign, too new or in use.

use std::{
    fs::Permissions,
    os::unix::fs::{MetadataExt, PermissionsExt, symlink},
    path::Path,
    process::Command,
    time::Duration,
};

use marketgate::{
    secret::{Secret, SecretSource},
    store::{
        KeyFileError, KeyPlace, OpenError, OpenOptions, Origin, PlaceError, Replaced, SqliteStore, Store,
        StoreError, error::Trouble,
    },
};

use super::store_fixture::{
    at, consent, content, database, everything, fast_directory, id, intent, meddle, open, options, read,
    record, refresh_token,
};

fn key(dir: &Path) -> std::path::PathBuf {
    dir.join("marketgate.key")
}

fn refusal(options: &OpenOptions) -> OpenError {
    let error = SqliteStore::open(options).unwrap_err();
    assert!(!error.action().is_empty());
    error
}

fn mode(path: &Path) -> u32 {
    path.symlink_metadata().unwrap().mode() & 0o7777
}

fn set_mode(path: &Path, mode: u32) {
    std::fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

#[tokio::test]
async fn what_was_answered_is_there_after_a_restart() {
    let dir = fast_directory();
    let store = open(dir.path());
    store.replace(record("depop@shop", 1), Origin::Brought).await.unwrap();
    store.replace(record("depop@shop", 2), Origin::Rotated).await.unwrap();
    store.begin(intent("depop@shop", 2, at(5))).await.unwrap();
    store.put_consent(consent("mg_state", at(600)), at(0)).await.unwrap();
    // Nobody waits for this one; ending the store does.
    drop(store.replace(record("depop@late", 1), Origin::Brought));
    drop(store);
    let store = open(dir.path());
    assert_eq!(content(&read(&store, "depop@shop").await), content(&record("depop@shop", 2)));
    assert_eq!(content(&read(&store, "depop@late").await), content(&record("depop@late", 1)));
    assert_eq!(store.open_intents().await.unwrap(), [id("depop@shop")]);
    assert_eq!(store.holder(&refresh_token("depop@shop", 1)).await.unwrap(), Some(id("depop@shop")));
    assert!(store.take_consent(&Secret::new("mg_state")).await.unwrap().is_some());
}

#[tokio::test]
async fn a_store_that_was_shut_down_has_written_everything_and_can_be_opened_again() {
    let dir = fast_directory();
    let store = open(dir.path());
    let last = store.replace(record("depop@shop", 1), Origin::Brought);
    store.shut_down().await.unwrap();
    assert_eq!(last.await.unwrap(), Replaced::Durable);
    let refused = |error: StoreError| assert_eq!(error.trouble, Trouble::Closed);
    refused(store.account(&id("depop@shop")).await.unwrap_err());
    refused(store.probe().await.unwrap_err());
    let spilled = store.spill(vec![record("depop@shop", 2)]).unwrap_err();
    assert_eq!(spilled.unwritten.len(), 1);
    refused(spilled.error);
    store.shut_down().await.unwrap();
    assert_eq!(everything(&open(dir.path())).await.len(), 1);
}

#[tokio::test]
async fn the_last_32_rotated_tokens_are_remembered_and_all_that_were_brought() {
    let dir = fast_directory();
    let store = open(dir.path());
    for generation in 1..=3 {
        store.replace(record("depop@shop", generation), Origin::Brought).await.unwrap();
    }
    for generation in 4..=43 {
        store.replace(record("depop@shop", generation), Origin::Rotated).await.unwrap();
    }
    let mut known = Vec::new();
    for generation in 1..=43 {
        let holder = store.holder(&refresh_token("depop@shop", generation)).await.unwrap();
        known.extend(holder.map(|_| generation));
    }
    assert_eq!(known, (1..=3).chain(12..=43).collect::<Vec<_>>());
}

#[tokio::test]
async fn no_secret_lies_in_any_file_of_the_store() {
    let dir = fast_directory();
    let store = open(dir.path());
    for generation in 1..=3 {
        store.replace(record("depop@shop", generation), Origin::Rotated).await.unwrap();
    }
    store.put_consent(consent("mg_refresh-state", at(600)), at(0)).await.unwrap();
    store.backup(&dir.path().join("copy.db")).await.unwrap();
    store.spill(vec![record("depop@shop", 4)]).unwrap();
    let secrets = ["refresh-", "access-", "verifier-", "mg_", "seller", "market\":"];
    let mut looked_at = Vec::new();
    for entry in std::fs::read_dir(dir.path()).unwrap() {
        let path = entry.unwrap().path();
        let bytes = std::fs::read(&path).unwrap();
        let text = String::from_utf8_lossy(&bytes);
        assert!(!secrets.iter().any(|secret| text.contains(secret)), "{}", path.display());
        looked_at.push(path.file_name().unwrap().to_str().unwrap().to_owned());
    }
    for file in ["marketgate.db", "marketgate.db-journal", "marketgate.db.spill", "copy.db"] {
        assert!(looked_at.iter().any(|name| name == file), "{file} is missing among {looked_at:?}");
    }
}

/// Runs itself anew as a process with another umask, which is the whole process's.
#[test]
fn new_files_are_for_their_user_alone_under_any_umask() {
    const PLACE: &str = "MARKETGATE_TEST_UMASK_DIR";
    const NAME: &str = "store_file::new_files_are_for_their_user_alone_under_any_umask";
    if let Ok(place) = std::env::var(PLACE) {
        let store = open(Path::new(&place));
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(store.replace(record("depop@shop", 1), Origin::Brought)).unwrap();
        runtime.block_on(store.backup(&Path::new(&place).join("copy.db"))).unwrap();
        // Not ended: its journal stays to be looked at.
        std::mem::forget(store);
        return;
    }
    for umask in ["000", "022", "077"] {
        let dir = tempfile::tempdir().unwrap();
        let place = dir.path().join("made/here");
        let script = format!("umask {umask}; exec \"$0\" --exact {NAME}");
        let program = std::env::current_exe().unwrap();
        let child =
            Command::new("sh").arg("-c").arg(script).arg(program).env(PLACE, &place).output().unwrap();
        assert!(child.status.success(), "{}", String::from_utf8_lossy(&child.stdout));
        assert_eq!((mode(&place), mode(&dir.path().join("made"))), (0o700, 0o700), "umask {umask}");
        let files: Vec<_> = std::fs::read_dir(&place).unwrap().map(|entry| entry.unwrap().path()).collect();
        assert!(files.len() >= 6, "{files:?}");
        for file in files {
            assert_eq!(mode(&file), 0o600, "{} under umask {umask}", file.display());
        }
    }
}

#[test]
fn no_child_process_inherits_a_file_of_the_store() {
    let dir = fast_directory();
    let store = open(dir.path());
    let mut seen = 0;
    for entry in std::fs::read_dir("/proc/self/fd").unwrap().flatten() {
        if std::fs::read_link(entry.path()).is_ok_and(|target| target.starts_with(dir.path())) {
            let number = entry.file_name().into_string().unwrap();
            let description = std::fs::read_to_string(format!("/proc/self/fdinfo/{number}")).unwrap();
            let flags = description.lines().find_map(|line| line.strip_prefix("flags:")).unwrap();
            assert_ne!(u32::from_str_radix(flags.trim(), 8).unwrap() & 0o2_000_000, 0, "{description}");
            seen += 1;
        }
    }
    assert!(seen >= 2, "database and lock are open");
    drop(store);
}

#[test]
fn a_key_file_that_others_can_get_at_is_refused() {
    let dir = fast_directory();
    drop(open(dir.path()));
    for bad in [0o640, 0o604, 0o620, 0o644, 0o660] {
        set_mode(&key(dir.path()), bad);
        let error = refusal(&options(dir.path()));
        assert!(
            matches!(&error, OpenError::KeyFile { reason: KeyFileError::Open { mode }, .. } if *mode == bad)
        );
        assert!(error.to_string().contains("chmod 600"), "{error}");
    }
    for good in [0o600, 0o400] {
        set_mode(&key(dir.path()), good);
        drop(open(dir.path()));
    }
}

#[test]
fn a_key_may_be_a_link_whose_target_passes() {
    let dir = fast_directory();
    drop(open(dir.path()));
    let target = dir.path().join("..data");
    std::fs::rename(key(dir.path()), &target).unwrap();
    symlink(&target, key(dir.path())).unwrap();
    drop(open(dir.path()));
    set_mode(&target, 0o644);
    assert!(matches!(
        refusal(&options(dir.path())),
        OpenError::KeyFile { reason: KeyFileError::Open { .. }, .. }
    ));
    std::fs::remove_file(&target).unwrap();
    assert!(matches!(
        refusal(&options(dir.path())),
        OpenError::KeyFile { reason: KeyFileError::Failed(_), .. }
    ));
}

#[test]
fn a_key_file_without_a_key_is_refused_and_says_how_to_make_one() {
    let dir = fast_directory();
    for bad in ["", "too short\n", "////"] {
        std::fs::write(key(dir.path()), bad).unwrap();
        set_mode(&key(dir.path()), 0o600);
        let error = refusal(&options(dir.path()));
        assert!(error.to_string().contains("head -c32 /dev/urandom | base64"), "{error}");
        assert!(!database(dir.path()).exists(), "no store is made without a key");
    }
    let fixed = OpenOptions { key: KeyPlace::Fixed(Secret::new("marker-4711")), ..options(dir.path()) };
    let error = refusal(&fixed);
    assert!(matches!(error, OpenError::Key { place: "key", .. }));
    assert!(!format!("{error} {error:?}").contains("4711"));
}

#[test]
fn a_store_whose_key_is_gone_is_refused_and_no_key_is_made() {
    let dir = fast_directory();
    drop(open(dir.path()));
    let before = std::fs::read(database(dir.path())).unwrap();
    std::fs::remove_file(key(dir.path())).unwrap();
    assert!(matches!(refusal(&options(dir.path())), OpenError::KeyMissing { .. }));
    assert!(!key(dir.path()).exists());
    assert_eq!(std::fs::read(database(dir.path())).unwrap(), before);
}

#[tokio::test]
async fn a_key_that_was_brought_seals_the_new_store() {
    let (dir, maker) = (fast_directory(), fast_directory());
    drop(open(maker.path()));
    let text = std::fs::read(key(maker.path())).unwrap();
    std::fs::copy(key(maker.path()), key(dir.path())).unwrap();
    assert!(!SqliteStore::exists(&database(dir.path())));
    let store = open(dir.path());
    store.replace(record("depop@shop", 1), Origin::Brought).await.unwrap();
    assert!(SqliteStore::exists(&database(dir.path())));
    assert_eq!(std::fs::read(key(dir.path())).unwrap(), text);
    drop(store);
    let fixed = KeyPlace::Fixed(Secret::new(String::from_utf8(text).unwrap()));
    let store = SqliteStore::open(&OpenOptions { key: fixed, ..options(dir.path()) }).unwrap();
    assert_eq!(everything(&store).await.len(), 1);
}

#[test]
fn another_key_is_refused_with_the_ids_of_both() {
    let dir = fast_directory();
    drop(open(dir.path()));
    std::fs::rename(key(dir.path()), dir.path().join("old.key")).unwrap();
    let other = fast_directory();
    drop(open(other.path()));
    std::fs::copy(key(other.path()), key(dir.path())).unwrap();
    let error = refusal(&options(dir.path()));
    let OpenError::WrongKey { sealed_with, at_hand, .. } = &error else { panic!("{error}") };
    assert!(error.to_string().contains(sealed_with) && error.to_string().contains(&at_hand[0]));
    assert!(error.action().contains("old_keys"));
    let old_keys = vec![SecretSource::File(dir.path().join("old.key"))];
    drop(SqliteStore::open(&OpenOptions { old_keys, ..options(dir.path()) }).unwrap());
}

#[test]
fn a_second_process_is_told_who_has_the_store_and_may_wait_for_it() {
    let dir = fast_directory();
    let first = open(dir.path());
    let error = refusal(&options(dir.path()));
    assert!(
        matches!(error, OpenError::StoreInUse { pid: Some(pid), .. } if pid == std::process::id()),
        "{error}"
    );
    let patient = OpenOptions { wait_for_lock: Duration::from_secs(60), ..options(dir.path()) };
    let second = std::thread::spawn(move || SqliteStore::open(&patient).map(drop));
    drop(first);
    second.join().unwrap().unwrap();
    assert!(dir.path().join("marketgate.db.lock").exists(), "the lock file is never deleted");
}

#[test]
fn a_database_that_was_open_to_others_is_tightened() {
    let dir = fast_directory();
    drop(open(dir.path()));
    set_mode(&database(dir.path()), 0o644);
    drop(open(dir.path()));
    assert_eq!(mode(&database(dir.path())), 0o600);
}

#[test]
fn a_directory_that_anybody_can_write_to_is_refused() {
    let dir = fast_directory();
    set_mode(dir.path(), 0o777);
    let error = refusal(&options(dir.path()));
    assert!(
        matches!(error, OpenError::Place { reason: PlaceError::OpenDirectory { mode: 0o777 }, .. }),
        "{error}"
    );
    // A sticky bit keeps our files in their place, but not others' from lying beside them.
    set_mode(dir.path(), 0o1777);
    let error = refusal(&options(dir.path())).to_string();
    assert!(error.contains("by everybody (mode 1777): `chmod go-w` it"), "{error}");
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "nothing is made there");
    set_mode(dir.path(), 0o751);
    drop(open(dir.path()));
    assert_eq!(mode(dir.path()), 0o751, "the mode of a directory that was there is not ours to change");
}

#[test]
fn a_directory_that_a_group_can_write_to_is_refused_where_we_need_no_group() {
    let dir = fast_directory();
    set_mode(dir.path(), 0o770);
    let error = refusal(&options(dir.path())).to_string();
    assert!(error.contains("by its group (mode 0770): `chmod g-w` it"), "{error}");
}

#[test]
fn a_directory_that_anybody_can_replace_is_refused() {
    let above = fast_directory();
    let dir = above.path().join("shared").join("store");
    std::fs::create_dir_all(&dir).unwrap();
    set_mode(&above.path().join("shared"), 0o777);
    let error = refusal(&options(&dir)).to_string();
    let shared = above.path().join("shared").canonicalize().unwrap();
    assert!(error.contains(&format!("`chmod o-w {}`", shared.display())), "{error}");
    set_mode(&shared, 0o1777);
    drop(open(&dir));
}

#[test]
fn a_link_or_a_directory_in_the_place_of_the_database_is_refused() {
    let dir = fast_directory();
    symlink(dir.path().join("elsewhere.db"), database(dir.path())).unwrap();
    let error = refusal(&options(dir.path()));
    assert!(matches!(error, OpenError::Place { reason: PlaceError::Link, .. }), "{error}");
    std::fs::remove_file(database(dir.path())).unwrap();
    std::fs::create_dir(database(dir.path())).unwrap();
    let error = refusal(&options(dir.path()));
    assert!(matches!(error, OpenError::Place { reason: PlaceError::NotAFile, .. }), "{error}");
}

#[test]
fn a_file_that_is_no_store_is_refused_and_left_as_it_is() {
    let dir = fast_directory();
    drop(open(dir.path()));
    let other = dir.path().join("other.db");
    rusqlite::Connection::open(&other).unwrap().execute_batch("CREATE TABLE t (a)").unwrap();
    let sqlite = std::fs::read(&other).unwrap();
    for foreign in [b"hello".to_vec(), vec![0; 8192], sqlite] {
        std::fs::write(database(dir.path()), &foreign).unwrap();
        assert!(matches!(refusal(&options(dir.path())), OpenError::Foreign { .. }));
        assert_eq!(std::fs::read(database(dir.path())).unwrap(), foreign);
    }
    std::fs::write(database(dir.path()), "").unwrap();
    assert!(
        matches!(refusal(&options(dir.path())), OpenError::Damaged { .. }),
        "an empty file is not a new store"
    );
}

#[tokio::test]
async fn a_newer_series_is_refused_untouched_and_a_newer_step_of_ours_is_served() {
    let dir = fast_directory();
    let store = open(dir.path());
    store.replace(record("depop@shop", 1), Origin::Brought).await.unwrap();
    drop(store);
    meddle(
        dir.path(),
        "ALTER TABLE accounts ADD COLUMN later TEXT; CREATE TABLE later (a); PRAGMA user_version = 1999;",
    );
    let store = open(dir.path());
    store.replace(record("depop@shop", 2), Origin::Rotated).await.unwrap();
    assert_eq!(content(&read(&store, "depop@shop").await), content(&record("depop@shop", 2)));
    drop(store);
    meddle(
        dir.path(),
        "UPDATE about SET value = '9.8.7' WHERE name = 'written_by'; PRAGMA user_version = 2000;",
    );
    let before = std::fs::read(database(dir.path())).unwrap();
    let error = refusal(&options(dir.path()));
    assert!(matches!(error, OpenError::Newer { version: 2000, .. }), "{error}");
    assert!(error.to_string().contains("9.8.7"), "{error}");
    assert_eq!(std::fs::read(database(dir.path())).unwrap(), before);
}

#[test]
fn a_store_that_was_never_finished_is_made_anew() {
    let dir = fast_directory();
    std::fs::write(dir.path().join("marketgate.db.new"), "half of it").unwrap();
    std::fs::write(dir.path().join("marketgate.db.new-journal"), "and of this").unwrap();
    drop(open(dir.path()));
    assert!(!dir.path().join("marketgate.db.new").exists());
}
