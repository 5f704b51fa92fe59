//! The sellers, at the simulated marketplaces and in the store. The one rule: the store is opened here only while the
//! program is not running.

use std::{
    net::{SocketAddr, TcpListener},
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use marketgate::{
    names::AccountId,
    secret::Secret,
    sim::{Connect, Family, Simulator, fingerprint},
    store::{
        Grant, KeyPlace, OpenOptions, Origin, PageQuery, Record, Replaced, SqliteStore, Standing, Store,
        Stored,
    },
};

use super::Plan;

/// The marketplace of the simulator that issues the tokens.
pub(super) const MARKETPLACE: &str = "generic";
pub(super) const APP: &str = "any";
const CLIENT: &str = "mixed";

/// Seconds that nearly all access tokens live.
const SHORT: u64 = 2;
/// Seconds that every fourth seller's live. The program takes a token that is refused within its first five seconds for
/// unwelcome, not for stale, so only these can show that a request is repeated after a revocation.
const LONG: u64 = 25;
const FIRST_WAVE: Duration = Duration::from_secs(6);
const WAVES_APART: Duration = Duration::from_secs(31);

/// Everything that survives the program.
pub(super) struct Sellers {
    pub(super) simulator: Simulator,
    pub(super) names: Vec<String>,
    simulated_at: SocketAddr,
    folder: tempfile::TempDir,
}

impl Sellers {
    /// Connects all of them and writes them into a new store.
    pub(super) async fn connect(plan: &Plan) -> Self {
        let simulator = Simulator::new(plan.seed);
        let simulated_at = serve(&simulator);
        let names = (0..plan.accounts).map(|number| format!("shop-{number}")).collect();
        let sellers = Self { simulator, names, simulated_at, folder: tempfile::tempdir().unwrap() };
        let store = sellers.open();
        for (number, name) in sellers.names.iter().enumerate() {
            let record = sellers.connected(name, if number % 4 == 0 { LONG } else { SHORT });
            assert_eq!(store.replace(record, Origin::Brought).await.unwrap(), Replaced::Durable);
        }
        store.shut_down().await.unwrap();
        sellers
    }

    fn connected(&self, name: &str, lifetime: u64) -> Record {
        let now = SystemTime::now();
        let connect = Connect { lifetime: Some(lifetime), ..Connect::new(MARKETPLACE, CLIENT, name) };
        let token = Secret::new(self.simulator.connect(connect).refresh_token);
        Record {
            id: AccountId { app: APP.parse().unwrap(), account: name.parse().unwrap() },
            provider: "generic".to_owned(),
            environment: "production".to_owned(),
            generation: 1,
            grant: Some(Grant::Refresh { token, obtained_at: now, ends_at: None }),
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

    fn open(&self) -> SqliteStore {
        SqliteStore::open(&OpenOptions {
            path: self.path("marketgate.db"),
            key: KeyPlace::File(self.path("marketgate.key")),
            old_keys: Vec::new(),
            wait_for_lock: Duration::from_secs(10),
        })
        .unwrap()
    }

    /// Revokes the access tokens of the sellers whose tokens live long, one after another and about twice a minute: as often
    /// as the program may force a refresh. It begins when the first tokens are old enough.
    pub(super) async fn revoke_now_and_then(self: Arc<Self>, begun: Instant) {
        for round in 0.. {
            let wave = begun + FIRST_WAVE + WAVES_APART * round;
            for (turn, seller) in (0..).zip(self.names.iter().step_by(4)) {
                tokio::time::sleep_until((wave + Duration::from_millis(100) * turn).into()).await;
                self.simulator.revoke(MARKETPLACE, seller);
            }
        }
    }

    /// After the program has ended: whose refresh token in the store is not the one the marketplace would accept, or who
    /// would have to log in again. With the reason.
    pub(super) async fn lost(&self) -> Vec<String> {
        let store = self.open();
        let query = PageQuery { limit: self.names.len() + 1, ..PageQuery::default() };
        let stored = store.page(query).await.unwrap();
        store.shut_down().await.unwrap();
        let families = self.simulator.families();
        let mut lost: Vec<_> = stored.iter().filter_map(|stored| what_is_lost(stored, &families)).collect();
        if stored.len() != self.names.len() {
            lost.push(format!("{} accounts in the store, not {}", stored.len(), self.names.len()));
        }
        lost
    }

    pub(super) fn rotations(&self) -> u64 {
        self.simulator.families().iter().map(|family| family.rotations).sum()
    }

    /// Writes the configuration and says where it is.
    pub(super) fn configuration(
        &self,
        (proxy, admin): (SocketAddr, SocketAddr),
        api: &str,
        authority: &str,
    ) -> PathBuf {
        let (simulator, store) = (self.simulated_at, Path::display(self.folder.path()).to_string());
        std::fs::write(self.path("authority.pem"), authority).unwrap();
        let text = format!(
            "[proxy]\nlisten = \"{proxy}\"\n[admin]\nlisten = \"{admin}\"\n[log]\nlevel = \"error,marketgate::cli::run=info\"\n\
             [store]\npath = \"{store}/marketgate.db\"\nkey = {{ file = \"{store}/marketgate.key\" }}\n\
             [upstream]\nca_file = \"{store}/authority.pem\"\n\
             [apps.{APP}]\nprovider = \"generic\"\ngrant = \"authorization_code\"\n\
             api = \"{api}\"\ntoken_url = \"http://{simulator}/generic/oauth/token\"\n\
             authorize_url = \"http://{simulator}/generic/oauth/authorize\"\n\
             client_id = \"{CLIENT}\"\nclient_secret = \"{CLIENT}-secret\"\n"
        );
        std::fs::write(self.path("proxy.toml"), text).unwrap();
        self.path("proxy.toml")
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

fn what_is_lost(stored: &Stored, families: &[Family]) -> Option<String> {
    let record = match stored {
        Stored::Whole(record) => record,
        Stored::Corrupt { id, detail, .. } => return Some(format!("{id}: {detail}")),
    };
    let name = record.id.account.as_str();
    let Some(family) = families.iter().find(|family| family.seller == name) else {
        return Some(format!("{name}: unknown to the marketplace"));
    };
    if record.standing != Standing::Active || family.ended.is_some() || family.reuse_attempts > 0 {
        return Some(format!("{name}: {:?}, {:?}", record.standing, family.ended));
    }
    let holds = match &record.grant {
        Some(Grant::Refresh { token, .. }) => fingerprint(token.expose()) == family.refresh_token,
        _ => false,
    };
    (!holds).then(|| format!("{name}: the store does not hold its newest refresh token"))
}

fn serve(simulator: &Simulator) -> SocketAddr {
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    socket.set_nonblocking(true).unwrap();
    let (address, simulator) = (socket.local_addr().unwrap(), simulator.clone());
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let socket = tokio::net::TcpListener::from_std(socket).unwrap();
            simulator.serve(socket, std::future::pending()).await;
        });
    });
    address
}
