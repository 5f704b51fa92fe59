//! A new store is made only where nothing says that there was one, and a first start that was cut off is done again.

use std::{
    os::unix::{fs::PermissionsExt, process::ExitStatusExt},
    path::Path,
    process::Command,
};

use marketgate::store::{OpenError, Origin, SqliteStore, Store};

use crate::{
    program::{command, doors, ended, free_ports},
    store_fixture::{everything, fast_directory, open, options, record},
};

async fn filled(dir: &Path) {
    let store = open(dir);
    store.replace(record("depop@a", 1), Origin::Brought).await.unwrap();
    drop(store);
    // As a crash leaves it.
    std::fs::write(dir.join("marketgate.db-journal"), [0; 512]).unwrap();
}

fn names(dir: &Path) -> Vec<String> {
    let names =
        std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<_> = names.collect();
    names.sort();
    names
}

#[tokio::test]
async fn whatever_is_left_of_a_store_keeps_a_new_one_from_being_made() {
    const MADE: [&str; 5] = [
        "marketgate.db-journal",
        "marketgate.db.lock",
        "marketgate.db.mark",
        "marketgate.db.spill",
        "marketgate.key",
    ];
    let original = fast_directory();
    filled(original.path()).await;
    for left in MADE {
        assert!(names(original.path()).iter().any(|name| name == left), "{left} is not made");
    }
    // Every choice of what is left, but nothing at all.
    for choice in 1..1_u32 << MADE.len() {
        let dir = fast_directory();
        for (number, name) in MADE.iter().enumerate().filter(|(number, _)| choice >> number & 1 == 1) {
            // A file that was moved is still that file; the first choice of each takes a link to it.
            std::fs::hard_link(original.path().join(name), dir.path().join(name))
                .unwrap_or_else(|e| panic!("{number}: {e}"));
        }
        let before = names(dir.path());
        let error = SqliteStore::open(&options(dir.path())).unwrap_err();
        let OpenError::Missing { traces, .. } = &error else { panic!("{before:?}: {error}") };
        assert!(!traces.is_empty() && error.to_string().contains("is missing"), "{error}");
        assert!(
            error.action().contains("restore a backup") && error.action().contains("move those files away")
        );
        let after: Vec<_> =
            names(dir.path()).into_iter().filter(|name| name != "marketgate.db.lock").collect();
        let before: Vec<_> = before.into_iter().filter(|name| name != "marketgate.db.lock").collect();
        assert_eq!(after, before, "nothing is made");
    }
}

#[tokio::test]
async fn a_kept_copy_alone_keeps_a_new_store_from_being_made() {
    for kept in ["marketgate.db.damaged-20261122T101010Z", "marketgate.db.before-restore-20261122T101010Z"] {
        let dir = fast_directory();
        std::fs::write(dir.path().join(kept), "kept").unwrap();
        let error = SqliteStore::open(&options(dir.path())).unwrap_err();
        assert!(error.to_string().contains(kept), "{error}");
    }
}

#[tokio::test]
async fn a_store_that_is_put_back_opens_again() {
    let dir = fast_directory();
    let store = open(dir.path());
    store.replace(record("depop@a", 1), Origin::Brought).await.unwrap();
    drop(store);
    let (database, aside) = (dir.path().join("marketgate.db"), dir.path().join("aside"));
    std::fs::rename(&database, &aside).unwrap();
    SqliteStore::open(&options(dir.path())).unwrap_err();
    std::fs::rename(&aside, &database).unwrap();
    assert_eq!(everything(&open(dir.path())).await.len(), 1);
}

#[test]
fn a_key_that_was_brought_and_a_lock_without_a_store_do_not_stand_in_the_way() {
    for lock in ["", "4711 since 2026-11-22T10:10:10Z\n"] {
        let dir = fast_directory();
        std::fs::write(dir.path().join("marketgate.db.lock"), lock).unwrap();
        let key = dir.path().join("marketgate.key");
        std::fs::write(&key, "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n").unwrap();
        std::fs::set_permissions(&key, PermissionsExt::from_mode(0o600)).unwrap();
        drop(open(dir.path()));
        drop(open(dir.path()));
    }
}

const APP: &str = r#"
[store]
path = "store/marketgate.db"
[apps.any]
provider = "generic"
grant = "authorization_code"
api = "http://localhost:1/api"
token_url = "http://localhost:1/token"
authorize_url = "http://localhost:1/authorize"
client_id = "any-1"
client_secret = "any-1-secret"
redirect_uri = "http://localhost:1/callback"
"#;

/// Kills the first start at every call by which it changes a file, and holds that the next one makes the store.
#[test]
fn a_first_start_that_is_killed_at_any_step_does_not_stand_in_the_way_of_the_next() {
    if Command::new("strace").arg("-V").output().is_err() {
        assert!(std::env::var("CI").as_deref() != Ok("true"), "strace is required here");
        return println!("skipped: there is no strace");
    }
    let mut kills = 0;
    for call in ["fsync", "fdatasync", "rename", "unlink", "pwrite64", "fchmod", "mkdir", "ftruncate"] {
        for number in 1.. {
            let folder = fast_directory();
            let [proxy, admin] = free_ports();
            std::fs::write(folder.path().join("proxy.toml"), doors(proxy, admin) + APP).unwrap();
            let program = command(folder.path(), &["accounts"]);
            let mut strace = Command::new("strace");
            strace
                .args(["-f", "-o", "/dev/null", "-e", &format!("trace={call}"), "-e"])
                .arg(format!("inject={call}:signal=KILL:when={number}"))
                .arg(program.get_program())
                .args(program.get_args())
                .current_dir(folder.path())
                .env("XDG_CONFIG_HOME", folder.path())
                .env("HOME", folder.path());
            let first = strace.output().unwrap();
            let was_killed = first.status.signal() == Some(9) || first.status.code() == Some(137);
            let next = ended(command(folder.path(), &["accounts"]));
            assert_eq!(next.code, Some(0), "killed at {call} number {number}: {}", next.err);
            if !was_killed {
                assert!(
                    first.status.success(),
                    "{call} {number}: {}",
                    String::from_utf8_lossy(&first.stderr)
                );
                break;
            }
            kills += 1;
        }
    }
    println!("killed {kills} times");
    assert!(kills > 20, "{kills}");
}
