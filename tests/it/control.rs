//! The control socket, and whether the program is ready. The rule: the socket is its user's alone, by its mode and by what
//! the kernel says of whoever connects.

use std::{
    os::unix::fs::{MetadataExt, PermissionsExt},
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
    time::{Duration, SystemTime},
};

use marketgate::{
    names::{AccountId, AppName},
    secret::Secret,
    store::{
        Begun, CallLog, Intent, MemoryStore, Origin, PageQuery, Pending, PendingConsent, Record, Replaced,
        Store, StoreError, Stored, error::Trouble,
    },
};

use crate::{
    accounts_api::APPS,
    harness::{Time, gate_keeping},
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

/// A store that can be told to fail when it is asked whether it can be written to.
#[derive(Debug, Default)]
struct Moody {
    inner: MemoryStore,
    fails: AtomicBool,
    probes: AtomicUsize,
}

impl Store for Moody {
    fn account(&self, id: &AccountId) -> Pending<'_, Option<Stored>> {
        self.inner.account(id)
    }
    fn page(&self, query: PageQuery) -> Pending<'_, Vec<Stored>> {
        self.inner.page(query)
    }
    fn count(&self, app: Option<AppName>) -> Pending<'_, u64> {
        self.inner.count(app)
    }
    fn replace(&self, record: Record, origin: Origin) -> Pending<'_, Replaced> {
        self.inner.replace(record, origin)
    }
    fn remove(&self, id: &AccountId, generation: u64) -> Pending<'_, Replaced> {
        self.inner.remove(id, generation)
    }
    fn begin(&self, intent: Intent) -> Pending<'_, Begun> {
        self.inner.begin(intent)
    }
    fn close(&self, id: &AccountId, generation: u64, at: SystemTime) -> Pending<'_, ()> {
        self.inner.close(id, generation, at)
    }
    fn open_intents(&self) -> Pending<'_, Vec<AccountId>> {
        self.inner.open_intents()
    }
    fn holder(&self, refresh_token: &Secret) -> Pending<'_, Option<AccountId>> {
        self.inner.holder(refresh_token)
    }
    fn calls(&self, endpoint: &str) -> Pending<'_, CallLog> {
        self.inner.calls(endpoint)
    }
    fn put_consent(&self, consent: PendingConsent, now: SystemTime) -> Pending<'_, ()> {
        self.inner.put_consent(consent, now)
    }
    fn take_consent(&self, state: &Secret) -> Pending<'_, Option<PendingConsent>> {
        self.inner.take_consent(state)
    }
    fn probe(&self) -> Pending<'_, ()> {
        self.probes.fetch_add(1, SeqCst);
        if self.fails.load(SeqCst) {
            let refusal = StoreError::new(Trouble::Full, "the disk is full");
            return Box::pin(std::future::ready(Err(refusal)));
        }
        self.inner.probe()
    }
    fn spill(&self, records: Vec<Record>) -> Result<(), StoreError> {
        self.inner.spill(records)
    }
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
