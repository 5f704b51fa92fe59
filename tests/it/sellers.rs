//! What tests of sellers' accounts share: a simulator in this process, a configuration with apps whose sellers consent, and
//! the browser of a seller.

use std::{
    net::SocketAddr,
    path::Path,
    process::{Command, Stdio},
};

use marketgate::sim::Simulator;
use tokio::sync::oneshot;

use crate::{
    harness::client,
    placeholder::fill,
    program::{PATIENCE, Program, Said, command, doors, ended, free_ports, say},
};

/// Simulated marketplaces in this process, so that a test can look at them.
pub(crate) struct Market {
    pub(crate) sim: Simulator,
    pub(crate) origin: String,
    stop: Option<oneshot::Sender<()>>,
}

impl Market {
    pub(crate) fn open() -> Self {
        let (tell, told) = std::sync::mpsc::channel();
        let (stop, stopped) = oneshot::channel::<()>();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
                let sim = Simulator::new(7);
                tell.send((sim.clone(), listener.local_addr().unwrap())).unwrap();
                sim.serve(listener, async { drop(stopped.await) }).await;
            });
        });
        let (sim, address) = told.recv_timeout(PATIENCE).unwrap();
        Self { sim, origin: format!("http://{address}"), stop: Some(stop) }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.origin.trim_start_matches("http://").parse().unwrap()
    }
}

impl Drop for Market {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take() {
            // A market that failed has ended already.
            let _ = stop.send(());
        }
    }
}

/// A folder with a configuration at a market: `wallapop`, whose sellers come back to a port of this machine; `shops`, whose
/// sellers come back to the integrator; `pairs` and `keys`, where each account brings its own.
pub(crate) struct Desk {
    pub(crate) market: Market,
    pub(crate) folder: tempfile::TempDir,
    pub(crate) proxy: SocketAddr,
    pub(crate) admin: SocketAddr,
    /// Where `wallapop`'s sellers come back to.
    pub(crate) callback: SocketAddr,
    beside: [SocketAddr; 2],
    run: Option<Program>,
}

/// What must stand in no output, argument or log: the client secret.
pub(crate) const CLIENT_SECRET: &str = "app-secret";

const APPS: &str = r#"
[store]
path = "gate.db"
[apps.wallapop]
provider = "wallapop"
environment = "simulator"
simulator = "SIM"
client_id = "app"
client_secret = { env = "APP_SECRET" }
redirect_uri = "http://localhost:CALLBACK/callback"
[apps.shops]
provider = "depop"
environment = "simulator"
simulator = "SIM"
grant = "authorization_code"
client_id = "app"
client_secret = { env = "APP_SECRET" }
redirect_uri = "https://yourapp.com/callback"
scopes = ["products_read", "shop_read"]
[apps.pairs]
provider = "walmart-marketplace"
environment = "simulator"
simulator = "SIM"
credentials = "per-account"
[apps.keys]
provider = "depop"
environment = "simulator"
simulator = "SIM"
credentials = "per-account"
[apps.plain]
provider = "generic"
api = "SIM/generic/api"
token_url = "SIM/generic/oauth/token"
client_id = "any-1"
client_secret = { env = "PLAIN_SECRET" }
"#;

impl Desk {
    /// With nobody serving the store.
    pub(crate) fn closed() -> Self {
        Self::furnished(Market::open(), "")
    }

    /// At this market, with more of a configuration, in which `PROXY` stands for the proxy's port.
    pub(crate) fn furnished(market: Market, more: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let [proxy, admin, callback, other, another] = free_ports();
        let (callback_port, proxy_port) = (callback.to_string(), proxy.to_string());
        let values = [("SIM", &*market.origin), ("CALLBACK", &callback_port), ("PROXY", &proxy_port)];
        let apps = fill(&format!("{APPS}{more}"), &values);
        std::fs::write(folder.path().join("proxy.toml"), doors(proxy, admin) + &apps).unwrap();
        let address = |port| SocketAddr::from(([127, 0, 0, 1], port));
        Self {
            market,
            folder,
            proxy: address(proxy),
            admin: address(admin),
            callback: address(callback),
            beside: [address(other), address(another)],
            run: None,
        }
    }

    /// With `marketgate run` serving it.
    pub(crate) fn open() -> Self {
        let mut desk = Self::closed();
        desk.run();
        desk
    }

    /// Has `marketgate run` serve it from now on.
    pub(crate) fn run(&mut self) {
        let run = Program::begin(with_secrets(command(self.folder(), &["run"])));
        run.mentions("started");
        self.run = Some(run);
        assert_eq!(self.say(&["wait", "--timeout", "20s"]).code, Some(0));
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// A command without the secrets, as somebody has it who did not start the proxy.
    pub(crate) fn say(&self, arguments: &[&str]) -> Said {
        say(self.folder(), arguments)
    }

    /// The same with something on stdin.
    pub(crate) fn tell(&self, arguments: &[&str], stdin: &str) -> Said {
        let mut program = self.begin(arguments);
        program.types(stdin);
        program.finish()
    }

    /// A command whose stdin stays open, and whose browser does nothing.
    pub(crate) fn begin(&self, arguments: &[&str]) -> Program {
        let mut command = command(self.folder(), arguments);
        command.stdin(Stdio::piped()).env("BROWSER", "/bin/true");
        if self.run.is_none() {
            command = with_secrets(command);
        }
        Program::begin(command)
    }

    /// A command that has the secrets, since nobody else serves.
    pub(crate) fn alone(&self, arguments: &[&str]) -> Said {
        ended(with_secrets(command(self.folder(), arguments)))
    }

    /// The number of `marketgate run`.
    pub(crate) fn id(&self) -> u32 {
        self.run.as_ref().unwrap().id()
    }

    /// Another `marketgate run` for the same store, at ports of its own.
    pub(crate) fn beside(&self) -> Program {
        let text = std::fs::read_to_string(self.folder().join("proxy.toml")).unwrap();
        let [proxy, admin] = self.beside_at();
        let text = text.replace(&self.proxy.to_string(), &proxy.to_string());
        let text = text.replace(&self.admin.to_string(), &admin.to_string());
        std::fs::write(self.folder().join("beside.toml"), text).unwrap();
        Program::begin(with_secrets(command(self.folder(), &["run", "--config", "beside.toml"])))
    }

    /// Its doors.
    pub(crate) fn beside_at(&self) -> [SocketAddr; 2] {
        self.beside
    }

    /// Ends `marketgate run`, and what it said.
    pub(crate) fn close(&mut self) -> Said {
        self.run.take().unwrap().end("TERM")
    }

    /// A login up to the point where the seller is waited for, and the address for the seller's browser.
    pub(crate) fn begin_login(&self, arguments: &[&str]) -> (Program, String) {
        let program = self.begin(&[&["login"], arguments].concat());
        let said = program.mentions("\n\n  http");
        let url = said.lines().find(|line| line.trim().starts_with("http")).unwrap().trim().to_owned();
        (program, url)
    }

    /// A seller connected, by the whole way.
    pub(crate) fn connect(&self, account: &str, seller: &str) -> Said {
        let (mut program, url) = self.begin_login(&[account, "--no-browser"]);
        program.types(&(decide(&url, Some(seller)) + "\n"));
        let said = program.finish();
        assert_eq!(said.code, Some(0), "{}", said.err);
        said
    }
}

fn with_secrets(mut command: Command) -> Command {
    command.env("APP_SECRET", CLIENT_SECRET).env("PLAIN_SECRET", "any-1-secret");
    command
}

/// A page that a browser ended at.
#[derive(Debug)]
pub(crate) struct Seen {
    pub(crate) status: u16,
    pub(crate) url: String,
    pub(crate) text: String,
}

/// Says yes as that seller, or no, on the marketplace's page; gives the address the browser is then sent to.
pub(crate) fn decide(authorize_url: &str, seller: Option<&str>) -> String {
    let form = match seller {
        Some(seller) => format!("decision=allow&seller={seller}"),
        None => "decision=deny".to_owned(),
    };
    block_on(async {
        let click = client()
            .post(authorize_url)
            .header("content-type", "application/x-www-form-urlencoded")
            .body(form);
        let answer = click.send().await.unwrap();
        assert_eq!(answer.status(), 303, "{}", answer.text().await.unwrap());
        answer.headers()["location"].to_str().unwrap().to_owned()
    })
}

/// Goes somewhere as a browser does, redirects and all.
pub(crate) fn visit(url: &str) -> Seen {
    block_on(async {
        let mut url = url::Url::parse(url).unwrap();
        loop {
            let answer = client().get(url.clone()).send().await.unwrap();
            let status = answer.status().as_u16();
            if status == 303 {
                url = url.join(answer.headers()["location"].to_str().unwrap()).unwrap();
                continue;
            }
            return Seen { status, url: url.to_string(), text: answer.text().await.unwrap() };
        }
    })
}

pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}
