//! The sellers, at the marketplace and in the store. The one rule: the store is opened here only while the program is dead.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use rand::{RngExt, rngs::StdRng};

use marketgate::{
    names::{AccountId, AccountName},
    secret::Secret,
    sim::{Connect, Fault, Simulator},
    store::{
        Grant, KeyPlace, OpenOptions, Origin, PageQuery, Record, Replaced, SqliteStore, Standing, Store,
        Stored,
    },
};

use crate::Plan;

const CLIENT: &str = "killed";

/// Everything that survives the program.
pub(crate) struct Sellers {
    pub(crate) simulator: Simulator,
    pub(crate) names: Vec<String>,
    simulated_at: SocketAddr,
    folder: tempfile::TempDir,
    lifetime: u64,
}

impl Sellers {
    /// Connects all of them and writes them into a new store.
    pub(crate) async fn connect(plan: &Plan) -> Self {
        let simulator = Simulator::new(plan.seed);
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let simulated_at = listener.local_addr().unwrap();
        tokio::spawn(simulator.clone().serve(listener, std::future::pending()));
        simulator.change_policy("generic", |policy| policy.grace_seconds = plan.grace);
        // A token call that takes a while, so that many kills fall into one.
        let slow = Fault::Stall { before_ms: 10, after_ms: 10 };
        simulator.add_fault(slow.at("generic").on_token().for_ever());
        let folder = tempfile::tempdir().unwrap();
        let names = (0..plan.accounts).map(|number| format!("shop-{number}")).collect();
        let sellers = Self { simulator, names, simulated_at, folder, lifetime: plan.lifetime };
        let store = sellers.open();
        for name in &sellers.names {
            sellers.reconnect(&store, name, 0).await;
        }
        store.shut_down().await.unwrap();
        sellers
    }

    /// A new grant for a seller, in the place of whatever stands there.
    pub(crate) async fn reconnect(&self, store: &SqliteStore, name: &str, generation: u64) {
        let connect = Connect { lifetime: Some(self.lifetime), ..Connect::new("generic", CLIENT, name) };
        let refresh_token = self.simulator.connect(connect).refresh_token;
        let now = SystemTime::now();
        let record = Record {
            id: id(name),
            provider: "generic".to_owned(),
            environment: "production".to_owned(),
            generation: generation + 1,
            grant: Some(Grant::Refresh {
                token: Secret::new(refresh_token),
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
        };
        assert_eq!(store.replace(record, Origin::Brought).await.unwrap(), Replaced::Durable);
    }

    /// As if a night had passed: half of the access tokens have ended when the program starts again.
    pub(crate) async fn let_tokens_end(&self, dice: &mut StdRng) {
        let store = self.open();
        for record in self.records(&store).await {
            // A record with an open intent is left as it is: a change would close it.
            if record.intent.is_none() && dice.random_bool(0.5) {
                let next = Record { token: None, generation: record.generation + 1, ..record };
                assert_eq!(store.replace(next, Origin::Kept).await.unwrap(), Replaced::Durable);
            }
        }
        store.shut_down().await.unwrap();
    }

    /// The store, while the program is dead.
    pub(crate) fn open(&self) -> SqliteStore {
        SqliteStore::open(&OpenOptions {
            path: self.path("marketgate.db"),
            key: KeyPlace::File(self.path("marketgate.key")),
            old_keys: Vec::new(),
            wait_for_lock: Duration::from_secs(10),
        })
        .unwrap()
    }

    /// Every record.
    pub(crate) async fn records(&self, store: &SqliteStore) -> Vec<Record> {
        let query = PageQuery { limit: self.names.len() + 1, ..PageQuery::default() };
        let whole = |stored: Stored| match stored {
            Stored::Whole(record) => *record,
            Stored::Corrupt { id, detail, .. } => panic!("{id}: {detail}"),
        };
        store.page(query).await.unwrap().into_iter().map(whole).collect()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes the configuration and says where it is and where the program will listen.
    pub(crate) fn configuration(&self) -> (PathBuf, SocketAddr, SocketAddr) {
        let (proxy, admin) = (free_address(), free_address());
        let file = self.path("proxy.toml");
        std::fs::write(&file, self.text(proxy, admin)).unwrap();
        (file, proxy, admin)
    }

    fn text(&self, proxy: SocketAddr, admin: SocketAddr) -> String {
        let (simulator, store) = (self.simulated_at, Path::display(self.folder.path()).to_string());
        format!(
            "[proxy]\nlisten = \"{proxy}\"\n[admin]\nlisten = \"{admin}\"\n[log]\nlevel = \"error\"\n\
             [store]\npath = \"{store}/marketgate.db\"\nkey = {{ file = \"{store}/marketgate.key\" }}\n\
             [apps.any]\nprovider = \"generic\"\ngrant = \"authorization_code\"\n\
             api = \"http://{simulator}/generic/api\"\ntoken_url = \"http://{simulator}/generic/oauth/token\"\n\
             authorize_url = \"http://{simulator}/generic/oauth/authorize\"\n\
             client_id = \"{CLIENT}\"\nclient_secret = \"{CLIENT}-secret\"\n"
        )
    }
}

pub(crate) fn id(name: &str) -> AccountId {
    let account: AccountName = name.parse().unwrap();
    AccountId { app: "any".parse().unwrap(), account }
}

fn free_address() -> SocketAddr {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}
