//! One seller with a marketplace and a store of his own. The one rule: the store is opened here only while the program is
//! dead.

use std::{
    net::{SocketAddr, TcpListener},
    path::{Path, PathBuf},
    sync::atomic::{AtomicU16, Ordering},
    time::{Duration, SystemTime},
};

use marketgate::{
    names::AccountId,
    secret::Secret,
    sim::{Connect, Family, Simulator, fingerprint},
    store::{Grant, KeyPlace, OpenOptions, Origin, Record, Replaced, SqliteStore, Standing, Store, Stored},
};

use crate::subject::Subject;

const CLIENT: &str = "stopped";
const SELLER: &str = "shop";

/// Everything that survives the program.
pub(crate) struct Shop {
    pub(crate) simulator: Simulator,
    pub(crate) proxy: SocketAddr,
    pub(crate) admin: SocketAddr,
    /// A refresh token that is not in the store yet.
    pub(crate) to_import: Option<String>,
    folder: tempfile::TempDir,
}

impl Shop {
    /// Connected, and written into a new store, unless the subject is to do that.
    pub(crate) async fn open(subject: Subject) -> Self {
        let simulator = Simulator::new(1);
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let simulated_at = listener.local_addr().unwrap();
        tokio::spawn(simulator.clone().serve(listener, std::future::pending()));
        let (proxy, admin) = (free_address(), free_address());
        let folder = tempfile::tempdir().unwrap();
        let mut shop = Self { simulator, proxy, admin, to_import: None, folder };
        std::fs::write(shop.configuration(), shop.text(simulated_at)).unwrap();
        if subject == Subject::Import {
            let grant = shop.simulator.connect(Connect::new("generic", CLIENT, SELLER));
            shop.to_import = Some(grant.refresh_token);
            return shop;
        }
        let store = shop.store();
        assert_eq!(store.replace(shop.connected(), Origin::Brought).await.unwrap(), Replaced::Durable);
        store.shut_down().await.unwrap();
        shop
    }

    fn connected(&self) -> Record {
        let now = SystemTime::now();
        let grant = self.simulator.connect(Connect::new("generic", CLIENT, SELLER));
        Record {
            id: id(),
            provider: "generic".to_owned(),
            environment: "production".to_owned(),
            generation: 1,
            grant: Some(Grant::Refresh {
                token: Secret::new(grant.refresh_token),
                obtained_at: now,
                ends_at: None,
            }),
            standing: Standing::Active,
            token: None,
            identity: None,
            shared_seller: false,
            unrevoked: Vec::new(),
            settings: std::collections::BTreeMap::new(),
            consented_at: None,
            created_at: now,
            changed_at: now,
            notes: Default::default(),
            intent: None,
        }
    }

    fn store(&self) -> SqliteStore {
        SqliteStore::open(&OpenOptions {
            path: self.path("marketgate.db"),
            key: KeyPlace::File(self.path("marketgate.key")),
            old_keys: Vec::new(),
            wait_for_lock: Duration::ZERO,
        })
        .unwrap()
    }

    /// What the program left.
    pub(crate) async fn record(&self) -> Record {
        let store = self.store();
        let stored = store.account(&id()).await.unwrap();
        store.shut_down().await.unwrap();
        match stored {
            Some(Stored::Whole(record)) => *record,
            other => panic!("{other:?}"),
        }
    }

    /// What the marketplace knows.
    pub(crate) fn family(&self) -> Family {
        self.simulator.families().remove(0)
    }

    /// Whether the record has the refresh token that the marketplace would accept.
    pub(crate) fn accepts(&self, record: &Record) -> bool {
        let Some(Grant::Refresh { token, .. }) = &record.grant else { return false };
        fingerprint(token.expose()) == self.family().refresh_token
    }

    pub(crate) fn configuration(&self) -> PathBuf {
        self.path("proxy.toml")
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn text(&self, simulated_at: SocketAddr) -> String {
        let (Self { proxy, admin, .. }, store) = (self, Path::display(self.folder.path()));
        format!(
            "[proxy]\nlisten = \"{proxy}\"\n[admin]\nlisten = \"{admin}\"\n[log]\nlevel = \"warn,marketgate::cli::run=info\"\n\
             [store]\npath = \"{store}/marketgate.db\"\nkey = {{ file = \"{store}/marketgate.key\" }}\n\
             [apps.any]\nprovider = \"generic\"\ngrant = \"authorization_code\"\n\
             api = \"http://{simulated_at}/generic/api\"\ntoken_url = \"http://{simulated_at}/generic/oauth/token\"\n\
             authorize_url = \"http://{simulated_at}/generic/oauth/authorize\"\n\
             client_id = \"{CLIENT}\"\nclient_secret = \"{CLIENT}-secret\"\n"
        )
    }
}

fn id() -> AccountId {
    AccountId { app: "any".parse().unwrap(), account: SELLER.parse().unwrap() }
}

/// An address that nobody else takes by chance: below those that the system hands out, each given once.
fn free_address() -> SocketAddr {
    static NEXT: AtomicU16 = AtomicU16::new(10_000);
    loop {
        let address = SocketAddr::from(([127, 0, 0, 1], NEXT.fetch_add(1, Ordering::Relaxed)));
        if TcpListener::bind(address).is_ok() {
            return address;
        }
    }
}
