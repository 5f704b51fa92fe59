//! The control socket, and whether the program is ready. The rule: the socket is its user's alone, by its mode and by what
//! the kernel says of whoever connects.

use std::{
    os::unix::fs::{MetadataExt, PermissionsExt},
    process::Command,
    sync::{Arc, atomic::Ordering::SeqCst},
    time::Duration,
};

use marketgate::store::MemoryStore;

use crate::{
    accounts_api::APPS,
    harness::{Time, gate_keeping},
    moody::Moody,
};

const KEYS: &str = "[admin]\nkeys.reader = { key = \"reader-key-0123456789abcdef0123456789\", allow = [\"accounts:read\"] }\n";

#[test]
fn a_command_may_do_everything_without_a_key() {
    gate_keeping(Time::Runs, &format!("{APPS}{KEYS}"), Arc::new(MemoryStore::new()), async |w| {
        let mode = std::fs::symlink_metadata(w.control.as_ref().unwrap()).unwrap().mode();
        assert_eq!(mode & 0o7777, 0o600);
        assert_eq!(w.send(w.to_control("GET", "/readyz")).await.body, "ready\n");
        let token = w.send(w.to_control("POST", "/api/accounts/any/default/token")).await;
        assert_eq!(token.status, 200, "{}", token.body);
        let sent = w.http.get(format!("http://{}/generic/api/x", w.sim_address));
        let proved = w.send(sent.bearer_auth(token.json()["access_token"].as_str().unwrap())).await;
        assert_eq!(proved.status, 200);
        let by_the_door = w.send(w.to_admin("POST", "/api/accounts/any/default/token")).await;
        assert_eq!((by_the_door.status, by_the_door.code()), (401, "caller_unknown".into()));
        let page = w.to_control("GET", "/api/accounts").header("origin", "https://evil.test");
        assert_eq!(w.send(page).await.code(), "browser_refused");
    });
}

#[test]
fn another_user_is_refused_even_where_the_mode_would_let_him_in() {
    if !rustix_is_root() {
        eprintln!("skipped: only root can run a command as another user");
        return;
    }
    gate_keeping(Time::Runs, APPS, Arc::new(MemoryStore::new()), async |w| {
        let socket = w.control.clone().unwrap();
        std::fs::set_permissions(socket.parent().unwrap(), PermissionsExt::from_mode(0o755)).unwrap();
        let stranger = |socket: std::path::PathBuf| {
            tokio::task::spawn_blocking(move || {
                Command::new("setpriv")
                    .args([
                        "--reuid=65534",
                        "--regid=65534",
                        "--clear-groups",
                        "curl",
                        "-sS",
                        "--max-time",
                        "20",
                    ])
                    .arg("--unix-socket")
                    .arg(socket)
                    .arg("http://marketgate/api/accounts")
                    .output()
            })
        };
        let Ok(by_mode) = stranger(socket.clone()).await.unwrap() else {
            eprintln!("skipped: setpriv or curl is missing");
            return;
        };
        let told = String::from_utf8_lossy(&by_mode.stderr).into_owned();
        if told.contains("No such file") || told.contains("not found") {
            eprintln!("skipped: {told}");
            return;
        }
        assert!(!by_mode.status.success() && by_mode.stdout.is_empty(), "the mode keeps him out");
        std::fs::set_permissions(&socket, PermissionsExt::from_mode(0o666)).unwrap();
        let by_kernel = stranger(socket).await.unwrap().unwrap();
        let answer = String::from_utf8(by_kernel.stdout).unwrap();
        assert!(answer.contains("\"not_allowed\"") && answer.contains("user 65534"), "{answer} {told}");
    });
}

fn rustix_is_root() -> bool {
    rustix::process::geteuid().is_root()
}

#[test]
fn ready_means_that_the_store_can_be_written_to_and_it_is_asked_once_a_second_at_most() {
    let store = Arc::new(Moody::default());
    let moody = store.clone();
    gate_keeping(Time::Held, APPS, store, async |w| {
        for _ in 0..5 {
            assert_eq!(w.admin("/readyz").await.status, 200);
        }
        assert_eq!(moody.probes.load(SeqCst), 1);
        moody.fails.store(true, SeqCst);
        w.pass(Duration::from_secs(2), Duration::from_secs(1)).await;
        let unready = w.admin("/readyz").await;
        assert_eq!(unready.status, 503);
        assert!(
            unready.body.starts_with("store: ") && unready.body.contains("the disk is full"),
            "{}",
            unready.body
        );
        assert_eq!(w.admin("/livez").await.status, 200);
        moody.fails.store(false, SeqCst);
        w.pass(Duration::from_secs(2), Duration::from_secs(1)).await;
        assert_eq!(w.admin("/readyz").await.status, 200);
    });
}
