//! One seller whose refresh token is replaced at every use: the built program, its store in real files, the simulated
//! marketplace, and a token endpoint whose answers can be held back on their way.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Stdio,
    time::Instant,
};

use marketgate::sim::{Connect, Ended, Family};

use crate::{
    placeholder::fill,
    program::{PATIENCE, Program, Said, command, doors, ended, free_ports, get},
    relay::Relay,
    sellers::Market,
};

/// The account's name, to us and to the marketplace.
pub(crate) const ACCOUNT: &str = "any@shop-1";
pub(crate) const SELLER: &str = "shop-1";

/// What the program says when the store has refused a token that was rotated, and when it has taken it after all.
pub(crate) const UNSTORED: &str = "a new refresh token is held in memory only";
pub(crate) const TAKEN: &str = "the store took what it had refused";

const APP: &str = r#"
[upstream]
timeouts = { token_wait = "WAIT" }
[store]
path = "PLACE/gate.db"
[apps.any]
provider = "generic"
grant = "authorization_code"
api = "SIM/generic/api"
token_url = "TOKENS/generic/oauth/token"
authorize_url = "SIM/generic/oauth/authorize"
client_id = "any-1"
client_secret = "any-1-secret"
redirect_uri = "http://localhost:1/callback"
"#;

/// The seller, connected, and everything around him.
pub(crate) struct Shop {
    pub(crate) market: Market,
    pub(crate) tokens: Relay,
    place: PathBuf,
    folder: tempfile::TempDir,
    proxy: SocketAddr,
    admin: SocketAddr,
    run: Option<Program>,
}

/// How long callers wait for a token who get one, and those who are to be told that there is none.
const PATIENT: &str = "60s";
const IMPATIENT: &str = "1s";

impl Shop {
    /// With the store in a directory of its own, and nobody serving it.
    pub(crate) fn closed() -> Self {
        Self::around(tempfile::tempdir().unwrap(), None, PATIENT)
    }

    /// The same, where callers do not wait for long.
    pub(crate) fn impatient() -> Self {
        Self::around(tempfile::tempdir().unwrap(), None, IMPATIENT)
    }

    /// With the store in that directory, and nobody serving it.
    pub(crate) fn closed_in(place: &Path) -> Self {
        Self::around(tempfile::tempdir().unwrap(), Some(place), PATIENT)
    }

    /// The same, where callers do not wait for long.
    pub(crate) fn impatient_in(place: &Path) -> Self {
        Self::around(tempfile::tempdir().unwrap(), Some(place), IMPATIENT)
    }

    fn around(folder: tempfile::TempDir, place: Option<&Path>, wait: &str) -> Self {
        let place = place.map_or_else(|| folder.path().join("store"), Path::to_owned);
        let market = Market::open();
        let tokens = Relay::to(market.address());
        let [proxy, admin] = free_ports();
        let (store, endpoint) = (place.to_str().unwrap(), format!("http://{}", tokens.address));
        let values = [("WAIT", wait), ("PLACE", store), ("SIM", &market.origin), ("TOKENS", &endpoint)];
        let app = fill(APP, &values);
        std::fs::write(folder.path().join("proxy.toml"), doors(proxy, admin) + &app).unwrap();
        let address = |port| SocketAddr::from(([127, 0, 0, 1], port));
        let (proxy, admin) = (address(proxy), address(admin));
        let shop = Self { market, tokens, place, folder, proxy, admin, run: None };
        shop.import_as(ACCOUNT, SELLER);
        shop
    }

    fn import_as(&self, account: &str, seller: &str) {
        let token = self.market.sim.connect(Connect::new("generic", "any-1", seller)).refresh_token;
        let mut import = command(self.folder.path(), &["import", account]);
        import.stdin(Stdio::piped());
        let mut import = Program::begin(import);
        import.types(&token);
        let said = import.finish();
        assert_eq!(said.code, Some(0), "{}", said.err);
    }

    /// Has `marketgate run` serve it, which has not written to the store yet when this returns.
    pub(crate) fn run(&mut self) {
        let run = Program::start(self.folder.path(), &["run"]);
        run.mentions("started");
        self.run = Some(run);
    }

    pub(crate) fn program(&self) -> &Program {
        self.run.as_ref().unwrap()
    }

    /// Stops it as an operator does, and what it had said.
    pub(crate) fn stop(&mut self) -> Said {
        let said = self.run.take().unwrap().end("TERM");
        assert_eq!(said.code, Some(0), "{}", said.err);
        said
    }

    /// A request of a caller.
    pub(crate) fn get(&self) -> String {
        get(self.proxy, "/any@shop-1/x", "")
    }

    /// A request of a caller who goes on waiting while the test does something else.
    pub(crate) fn ask(&self) -> std::thread::JoinHandle<String> {
        let proxy = self.proxy;
        std::thread::spawn(move || get(proxy, "/any@shop-1/x", ""))
    }

    /// An answer of the admin door.
    pub(crate) fn admin(&self, path: &str) -> String {
        get(self.admin, path, "")
    }

    /// Waits for the end of the program, which somebody has asked for.
    pub(crate) fn ended(&mut self) -> Said {
        self.run.take().unwrap().ended()
    }

    /// Another seller, who has never been served.
    pub(crate) fn import_another(&self, account: &str, seller: &str) {
        self.import_as(account, seller);
    }

    /// Where callers ask.
    pub(crate) fn proxy(&self) -> SocketAddr {
        self.proxy
    }

    /// A command beside the running program.
    pub(crate) fn say(&self, arguments: &[&str]) -> Said {
        ended(command(self.folder.path(), arguments))
    }

    /// The folder with the configuration.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// A command that goes on while the test does something else.
    pub(crate) fn begin(&self, arguments: &[&str]) -> Program {
        Program::start(self.folder.path(), arguments)
    }

    /// The store's file.
    pub(crate) fn database(&self) -> PathBuf {
        self.place.join("gate.db")
    }

    /// What the marketplace knows of the seller's grant.
    pub(crate) fn family(&self) -> Family {
        self.market.sim.families().remove(0)
    }

    /// Asks, by a request or a command that takes its time, until it is so.
    pub(crate) fn until(&self, what: &str, met: impl Fn(&Self) -> bool) {
        let began = Instant::now();
        while !met(self) {
            assert!(began.elapsed() < PATIENCE, "{what} did not come: {}", self.state());
        }
    }

    /// Asks until the marketplace answers.
    pub(crate) fn until_served(&self) {
        self.until("an answer of the marketplace", |shop| shop.get().starts_with("HTTP/1.1 200"));
    }

    /// Asks until the program says that it can serve: what it found out about the store counts for a second.
    pub(crate) fn until_ready(&self) {
        self.until("readiness", |shop| shop.admin("/readyz").starts_with("HTTP/1.1 200"));
    }

    /// The fingerprint of the access token that came with the last request to the marketplace.
    fn last_token(&self) -> String {
        let api = |request: &marketgate::sim::RecordedRequest| request.kind == "api";
        let last = self.market.sim.requests().into_iter().rfind(api).unwrap();
        last.header("authorization").unwrap().to_owned()
    }

    /// A request that is served, and the fingerprint of the access token it went out with.
    pub(crate) fn served_with(&self) -> String {
        let answer = self.get();
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        self.last_token()
    }

    /// Asks until another access token is used.
    pub(crate) fn until_served_with_another_than(&self, old: &str) {
        self.until("another access token", |shop| shop.served_with() != old);
    }

    /// How many grants the program says are in its memory only.
    pub(crate) fn unpersisted(&self) -> u64 {
        let metrics = self.admin("/metrics");
        let line = metrics.lines().find_map(|l| l.strip_prefix("marketgate_unpersisted_refresh_tokens "));
        line.unwrap_or_else(|| panic!("{metrics}")).parse().unwrap()
    }

    /// What the program says of the account.
    pub(crate) fn state(&self) -> serde_json::Value {
        let shown = self.say(&["accounts", "show", ACCOUNT, "-o", "json"]);
        serde_json::from_str(&shown.out).unwrap_or_else(|_| panic!("{shown:?}"))
    }

    /// Stops it while the store refuses a token that has been rotated.
    pub(crate) fn stop_spilling(&mut self) {
        let said = self.run.take().unwrap().end("TERM");
        assert_eq!(said.code, Some(6), "{}", said.err);
        assert!(said.err.contains("were spilled beside the store"), "{}", said.err);
    }

    /// Starts the program again and holds that it takes in what was spilled and uses it.
    pub(crate) fn assert_adopted(&mut self, rotations: u64) {
        self.run();
        self.program().mentions("a record that was saved when the disk was full is taken in");
        self.served_with();
        assert_eq!(self.family().rotations, rotations, "what was spilled was not used");
        self.assert_whole(rotations);
    }

    /// Starts the program once more if it does not run, and holds that the seller is served with a new token: the grant
    /// is whole, so many rotations old, and no refresh token was ever shown twice.
    pub(crate) fn assert_whole(&mut self, rotations: u64) {
        if self.run.is_none() {
            self.run();
        }
        self.served_with();
        let refreshed = self.say(&["accounts", "refresh", ACCOUNT]);
        assert_eq!(refreshed.code, Some(0), "{}", refreshed.err);
        let family = self.family();
        assert_eq!((family.rotations, family.shown_again, family.ended), (rotations + 1, 0, None::<Ended>));
        self.stop();
    }
}
