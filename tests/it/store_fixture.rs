//! Records and stores for the tests of the store.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use marketgate::{
    names::AccountId,
    secret::Secret,
    store::{
        Grant, Intent, KeptToken, KeyPlace, Notes, OpenOptions, PageQuery, PendingConsent, Record, Refusal,
        SqliteStore, Standing, Store, Stored,
    },
};

/// A round moment.
pub(crate) fn at(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000 + seconds)
}

pub(crate) fn id(text: &str) -> AccountId {
    let (app, account) = text.split_once('@').unwrap();
    AccountId { app: app.parse().unwrap(), account: account.parse().unwrap() }
}

/// A record with every field set; its refresh token is `refresh-NAME-GENERATION`.
pub(crate) fn record(name: &str, generation: u64) -> Record {
    Record {
        id: id(name),
        provider: "depop".to_owned(),
        environment: "production".to_owned(),
        generation,
        grant: Some(Grant::Refresh {
            token: refresh_token(name, generation),
            obtained_at: at(generation),
            ends_at: Some(at(1000)),
        }),
        standing: Standing::Active,
        token: Some(KeptToken {
            secret: Secret::new(format!("access-{name}-{generation}")),
            asked_at: at(generation) + Duration::from_nanos(7),
            lifetime: Duration::from_millis(300_250),
        }),
        identity: Some(format!("seller \"{name}\"")),
        shared_seller: false,
        unrevoked: Vec::new(),
        settings: BTreeMap::from([("market".to_owned(), "us".to_owned())]),
        consented_at: Some(at(0)),
        created_at: at(1),
        changed_at: at(generation),
        notes: Notes {
            after_lost_answer: true,
            end_is_fixed: Some(true),
            narrower_scope: Some("read".to_owned()),
            access_subject: Some("pairwise".to_owned()),
            refusal: Some(Refusal {
                words: "no".to_owned(),
                since: at(2),
                times: 3,
                next: Some(at(generation + 60)),
            }),
        },
        intent: None,
    }
}

pub(crate) fn refresh_token(name: &str, generation: u64) -> Secret {
    Secret::new(format!("refresh-{name}-{generation}"))
}

pub(crate) fn intent(name: &str, generation: u64, when: SystemTime) -> Intent {
    Intent { id: id(name), generation, at: when, counted: None }
}

pub(crate) fn consent(state: &str, ends_at: SystemTime) -> PendingConsent {
    PendingConsent {
        id: "pending-1".to_owned(),
        state: Secret::new(state),
        verifier: Some(Secret::new("verifier-text")),
        account: id("depop@shop"),
        redirect_uri: "http://localhost:8082/callback".to_owned(),
        replace_identity: true,
        again: false,
        begun_at: at(3),
        ends_at,
    }
}

/// What tells two records apart, secrets by their fingerprints; the intent is no part of a record.
pub(crate) fn content(record: &Record) -> String {
    format!("{:?}", Record { intent: None, ..record.clone() })
}

pub(crate) async fn read(store: &dyn Store, name: &str) -> Record {
    whole(store.account(&id(name)).await.unwrap().unwrap())
}

pub(crate) fn whole(stored: Stored) -> Record {
    match stored {
        Stored::Whole(record) => *record,
        Stored::Corrupt { id, detail, .. } => panic!("{id} is corrupt: {detail}"),
    }
}

/// What is wrong with an account that must be corrupt.
pub(crate) async fn corruption(store: &dyn Store, name: &str) -> (u64, String) {
    match store.account(&id(name)).await.unwrap().unwrap() {
        Stored::Corrupt { generation, detail, .. } => (generation, detail),
        Stored::Whole(record) => panic!("{record:?} is whole"),
    }
}

pub(crate) async fn everything(store: &dyn Store) -> Vec<Stored> {
    store.page(PageQuery { limit: 100_000, ..PageQuery::default() }).await.unwrap()
}

pub(crate) fn database(dir: &Path) -> PathBuf {
    dir.join("marketgate.db")
}

pub(crate) fn options(dir: &Path) -> OpenOptions {
    OpenOptions {
        path: database(dir),
        key: KeyPlace::File(dir.join("marketgate.key")),
        old_keys: Vec::new(),
        wait_for_lock: Duration::ZERO,
    }
}

pub(crate) fn open(dir: &Path) -> SqliteStore {
    SqliteStore::open(&options(dir)).unwrap()
}

/// A directory whose file system costs nothing to sync, where there is one.
pub(crate) fn fast_directory() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { tempfile::tempdir_in(memory).unwrap() } else { tempfile::tempdir().unwrap() }
}

/// The database opened by somebody else; the store must be closed.
pub(crate) fn meddle(dir: &Path, sql: &str) {
    rusqlite::Connection::open(database(dir)).unwrap().execute_batch(sql).unwrap();
}
