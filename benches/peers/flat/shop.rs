//! A store of so many accounts and the program over it. The one rule: the store is filled by the program's own import.

use std::{
    env,
    fmt::Write as _,
    fs,
    io::{Read, Write as _},
    net::{SocketAddr, TcpStream},
    path::PathBuf,
    process::Command,
    rc::Rc,
    time::{Duration, Instant},
};

use crate::{
    load::{CONNECTIONS, SMALL},
    process::Process,
    proxies::{answers, free_address},
    upstream::Upstream,
};

/// Most accounts that are used.
const LIVE: usize = 10_000;

/// What is spoken with the upstream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Protocol {
    Http1,
    Http2,
}

impl Protocol {
    fn file(self) -> &'static str {
        match self {
            Self::Http1 => "h1.toml",
            Self::Http2 => "h2.toml",
        }
    }
}

/// A store and who is in it.
pub(crate) struct Shop {
    /// How many are in the store.
    pub(crate) accounts: usize,
    /// Paths of those in use.
    pub(crate) live: Rc<[String]>,
    /// Paths of those loaded over HTTP/1.1, where a connection belongs to one account.
    hot: Rc<[String]>,
    address: SocketAddr,
    admin: SocketAddr,
    folder: tempfile::TempDir,
}

/// The program over a store.
pub(crate) struct Running {
    pub(crate) address: SocketAddr,
    pub(crate) process: Process,
    /// From its start to the first answer proxied, to the millisecond.
    pub(crate) start: Duration,
}

impl Shop {
    /// Fills a store with so many accounts.
    pub(crate) fn open(accounts: usize, upstream: &Upstream) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (address, admin) = (free_address(), free_address());
        for (protocol, api) in [(Protocol::Http1, upstream.h1), (Protocol::Http2, upstream.h2)] {
            fs::write(folder.path().join(protocol.file()), configuration([address, admin], api, upstream))
                .unwrap();
        }
        fs::write(folder.path().join("grants.jsonl"), grants(accounts)).unwrap();
        let shop = Self {
            accounts,
            live: paths(accounts.min(LIVE)),
            hot: paths(accounts.min(CONNECTIONS)),
            address,
            admin,
            folder,
        };
        shop.import();
        shop
    }

    fn import(&self) {
        let mut import = Command::new(program());
        import.args(["import", "api", "--file", "grants.jsonl", "--config", "h2.toml"]);
        import.current_dir(self.folder.path()).env("PEERS_SECRET", "peers-secret");
        let ended = import.output().unwrap();
        assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
    }

    /// Which accounts are asked for, and in which order.
    pub(crate) fn loaded(&self, protocol: Protocol) -> &Rc<[String]> {
        match protocol {
            Protocol::Http1 => &self.hot,
            Protocol::Http2 => &self.live,
        }
    }

    /// Starts the program and waits until the last of those in use gets an answer.
    pub(crate) fn start(&self, protocol: Protocol) -> Running {
        let Self { address, folder, live, .. } = self;
        let begun = Instant::now();
        let mut process = Process::start(&program(), &["run", "--config", protocol.file()], folder.path());
        while !answers(*address, &live[live.len() - 1]) {
            let log = || fs::read_to_string(folder.path().join("log")).unwrap();
            assert!(!process.is_over(), "the program ended: {}", log());
            assert!(begun.elapsed() < Duration::from_secs(20), "the program does not answer: {}", log());
            std::thread::sleep(Duration::from_millis(1));
        }
        Running { address: *address, process, start: begun.elapsed() }
    }

    /// After a start the program looks through its store beside its requests; what that costs is not theirs.
    pub(crate) fn until_looked_through(&self) {
        while !metrics(self.admin).contains("marketgate_stored_accounts{") {
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

fn metrics(admin: SocketAddr) -> String {
    let mut stream = TcpStream::connect(admin).unwrap();
    write!(stream, "GET /metrics HTTP/1.1\r\nHost: {admin}\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

fn program() -> PathBuf {
    env::var_os("MARKETGATE_OTHER").unwrap_or_else(|| env!("CARGO_BIN_EXE_marketgate").into()).into()
}

fn paths(accounts: usize) -> Rc<[String]> {
    (0..accounts).map(|number| format!("/api@shop-{number}/{SMALL}")).collect()
}

/// A made-up refresh token for each: the upstream's token endpoint takes any.
fn grants(accounts: usize) -> String {
    (0..accounts).fold(String::new(), |mut lines, number| {
        writeln!(
            lines,
            "{{\"account\":\"shop-{number}\",\"refresh_token\":\"peers-refresh-token-{number:06}\"}}"
        )
        .unwrap();
        lines
    })
}

/// Tokens are asked for without TLS: ten thousand handshakes are not what is measured.
fn configuration([proxy, admin]: [SocketAddr; 2], api: SocketAddr, upstream: &Upstream) -> String {
    let (tokens, port) = (upstream.plain, api.port());
    format!(
        "[proxy]\nlisten = \"{proxy}\"\n[admin]\nlisten = \"{admin}\"\n[log]\nlevel = \"error\"\n\
         [store]\npath = \"sellers.db\"\n[upstream]\nca_file = \"{}\"\n\
         [apps.api]\nprovider = \"generic\"\ngrant = \"authorization_code\"\napi = \"https://localhost:{port}/v1\"\n\
         token_url = \"http://{tokens}/token\"\nauthorize_url = \"http://{tokens}/authorize\"\n\
         client_id = \"peers\"\nclient_secret = {{ env = \"PEERS_SECRET\" }}\n",
        upstream.authority().display()
    )
}
