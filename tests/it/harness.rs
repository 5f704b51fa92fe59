//! A gateway and the simulated marketplaces in one process, on one thread, with time in the test's hands if it wants.

use std::{
    future::Future,
    net::{SocketAddr, TcpListener},
    path::{Path, PathBuf},
    rc::Rc,
    sync::Arc,
    time::Duration,
};

use marketgate::{
    accounts::Accounts,
    admin::ControlSocket,
    clock::Clock,
    config::{self, Settings},
    gateway::{Gateway, Listeners, Options, open_store},
    grant::LiveAccounts,
    sim::Simulator,
    store::{MemoryStore, Store},
};
use tokio::task::LocalSet;
use tokio_util::sync::CancellationToken;

use crate::placeholder::fill;

/// What a test sees of the running program.
pub(crate) struct World {
    pub(crate) sim: Simulator,
    pub(crate) sim_address: SocketAddr,
    pub(crate) proxy: SocketAddr,
    pub(crate) fixed: Option<SocketAddr>,
    pub(crate) admin: SocketAddr,
    pub(crate) accounts: Arc<LiveAccounts>,
    pub(crate) service: Arc<Accounts>,
    /// The control socket, where there is a store.
    pub(crate) control: Option<PathBuf>,
    pub(crate) settings: Settings,
    pub(crate) stop: CancellationToken,
    /// Stops the gateway and leaves the simulator.
    pub(crate) stop_gateway: CancellationToken,
    pub(crate) http: reqwest::Client,
}

/// Whether time runs by itself.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Time {
    Runs,
    Held,
}

/// Apps of every provider, with the credentials the simulator knows.
pub(crate) const ALL_APPS: &str = r#"
[apps.walmart]
provider = "walmart-marketplace"
environment = "simulator"
simulator = "SIM"
client_id = "seller-1"
client_secret = "seller-1-secret"
[apps.supplier]
provider = "walmart-supplier"
environment = "simulator"
simulator = "SIM"
client_id = "supplier-1"
client_secret = "supplier-1-secret"
[apps.golocal]
provider = "walmart-golocal"
environment = "simulator"
simulator = "SIM"
client_id = "golocal-1"
client_secret = "golocal-1-secret"
[apps.depop]
provider = "depop"
environment = "simulator"
simulator = "SIM"
api_key = "pak_shop1"
[apps.any]
provider = "generic"
api = "SIM/generic/api"
token_url = "SIM/generic/oauth/token"
client_id = "any-1"
client_secret = "any-1-secret"
[apps.many]
provider = "generic"
api = "SIM/generic/api"
token_url = "SIM/generic/oauth/token"
credentials = "per-account"
[apps.many.accounts.a]
client_id = "many-a"
client_secret = "many-a-secret"
[apps.many.accounts.b]
client_id = "many-b"
client_secret = "many-b-secret"
"#;

/// A generic app whose tokens live `seconds`.
pub(crate) fn app_with_lifetime(seconds: u64) -> String {
    format!(
        "[apps.any]\nprovider = \"generic\"\napi = \"SIM/generic/api\"\ntoken_url = \"SIM/generic/oauth/token\"\n\
         client_id = \"any-1\"\nclient_secret = \"any-1-secret\"\ntoken_request_params = {{ lifetime = \"{seconds}\" }}\n"
    )
}

/// Runs a test against the program configured with `configuration`, in which `SIM` stands for the simulator's origin.
pub(crate) fn gate<F: Future<Output = ()>>(
    time: Time,
    configuration: &str,
    test: impl FnOnce(Rc<World>) -> F,
) {
    gate_with(time, configuration, None, marketgate::grant::live::CAPACITY, test);
}

/// As [`gate`], with a listener of its own for `fixed` and room for `capacity` accounts.
pub(crate) fn gate_with<F: Future<Output = ()>>(
    time: Time,
    configuration: &str,
    fixed: Option<&str>,
    capacity: u64,
    test: impl FnOnce(Rc<World>) -> F,
) {
    let fixed = fixed.map(str::to_owned);
    serve(time, configuration, Furnished { fixed, capacity, ..Furnished::default() }, test);
}

/// As [`gate`], with a store and a control socket. In the configuration, `PROXY` and `ADMIN` stand for the doors' ports.
pub(crate) fn gate_keeping<F: Future<Output = ()>>(
    time: Time,
    configuration: &str,
    store: Arc<dyn Store>,
    test: impl FnOnce(Rc<World>) -> F,
) {
    let folder = tempfile::tempdir().unwrap();
    let control = ControlSocket::bind(&folder.path().join("store.db")).unwrap();
    let path = control.path().to_owned();
    let furnished = Furnished { store: Some(store), control: Some(control), ..Furnished::default() };
    serve(time, configuration, furnished, test);
    assert!(!path.exists(), "a control socket is removed at a clean end");
}

/// What a gateway is given beside its configuration.
struct Furnished {
    fixed: Option<String>,
    capacity: u64,
    store: Option<Arc<dyn Store>>,
    control: Option<ControlSocket>,
}

impl Default for Furnished {
    fn default() -> Self {
        Self { fixed: None, capacity: marketgate::grant::live::CAPACITY, store: None, control: None }
    }
}

fn serve<F: Future<Output = ()>>(
    time: Time,
    configuration: &str,
    furnished: Furnished,
    test: impl FnOnce(Rc<World>) -> F,
) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(time == Time::Held)
        .build()
        .unwrap();
    // A paused clock jumps ahead whenever everything waits for sockets, unless some blocking task is under way.
    let (release, parked) = std::sync::mpsc::channel::<()>();
    if time == Time::Held {
        runtime.spawn_blocking(move || parked.recv());
    }
    let configuration = configuration.to_owned();
    LocalSet::new().block_on(&runtime, async move {
        let (world, serving) = start(&configuration, furnished);
        test(world.clone()).await;
        world.stop.cancel();
        let _ended = serving.await.unwrap().unwrap();
    });
    drop(release);
}

fn start(
    configuration: &str,
    furnished: Furnished,
) -> (Rc<World>, tokio::task::JoinHandle<std::io::Result<marketgate::grant::Ended>>) {
    let (sim_socket, proxy, admin, own) = (socket(), socket(), socket(), socket());
    let address = |socket: &TcpListener| socket.local_addr().unwrap();
    let (sim_address, proxy_address, admin_address) =
        (address(&sim_socket), address(&proxy), address(&admin));
    let own_address = address(&own);
    let own_listener = furnished
        .fixed
        .map_or(String::new(), |f| format!("[[proxy.listener]]\nlisten = \"{own_address}\"\n{f}\n"));
    let (proxy_port, admin_port) = (proxy_address.port().to_string(), admin_address.port().to_string());
    let origin = format!("http://{sim_address}");
    let text = fill(configuration, &[("SIM", &origin), ("PROXY", &proxy_port), ("ADMIN", &admin_port)]);
    let text = if text.contains("[proxy]") {
        text.replace("[proxy]", &format!("[proxy]\nlisten = \"{proxy_address}\""))
    } else {
        format!("[proxy]\nlisten = \"{proxy_address}\"\n{text}")
    };
    let text = if text.contains("[admin]") {
        text.replace("[admin]", &format!("[admin]\nlisten = \"{admin_address}\"")) + "\n" + &own_listener
    } else {
        format!("{text}\n[admin]\nlisten = \"{admin_address}\"\n{own_listener}")
    };
    let settings = match config::parse("test.toml", &text, Path::new("."), &|_| None) {
        Ok(loaded) => loaded.settings,
        Err(error) => panic!("{}", error.render(false)),
    };
    let Furnished { capacity, store: furnished_store, control, .. } = furnished;
    let store = furnished_store.or_else(|| store(&text, &settings));
    let options = Options { clock: Clock::tokio(), workers: 0, capacity, store, descriptors: None };
    let gateway = Gateway::new(&settings, options).unwrap();
    let service = gateway.accounts().clone();
    let accounts = service.live().clone();
    let control_path = control.as_ref().map(|control| control.path().to_owned());
    let fixed_route = settings.proxy.listeners.iter().find_map(|l| l.fixed.clone());
    let mut sockets = vec![(proxy, None)];
    let fixed_address = fixed_route.map(|route| {
        sockets.push((own, Some(route)));
        own_address
    });
    let stop = CancellationToken::new();
    let sim = Simulator::new(7);
    let sim_socket = tokio::net::TcpListener::from_std(sim_socket).unwrap();
    tokio::spawn(sim.clone().serve(sim_socket, stop.clone().cancelled_owned()));
    let stop_gateway = stop.child_token();
    let listeners = Listeners { proxy: sockets, admin, control, control_later: None };
    let serving = tokio::task::spawn_local(gateway.serve(listeners, stop_gateway.clone()));
    let world = World {
        sim,
        sim_address,
        proxy: proxy_address,
        fixed: fixed_address,
        admin: admin_address,
        accounts,
        service,
        control: control_path,
        settings,
        stop,
        stop_gateway,
        http: client(),
    };
    (Rc::new(world), serving)
}

/// The store the configuration asks for; one in memory when it only needs one.
fn store(text: &str, settings: &Settings) -> Option<Arc<dyn Store>> {
    if text.contains("[store]") {
        return open_store(settings).unwrap();
    }
    settings.store.as_ref().map(|_| Arc::new(MemoryStore::new()) as Arc<dyn Store>)
}

fn socket() -> TcpListener {
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    socket.set_nonblocking(true).unwrap();
    socket
}

/// An HTTP client that takes nothing from its environment and follows nothing.
pub(crate) fn client() -> reqwest::Client {
    unopinionated().build().unwrap()
}

fn unopinionated() -> reqwest::ClientBuilder {
    let tls = marketgate::tls::client_config(None).unwrap();
    reqwest::Client::builder()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .tls_backend_preconfigured(tls)
}

/// An answer, read to its end.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: reqwest::header::HeaderMap,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap_or_else(|e| panic!("{e}: {}", self.body))
    }

    /// The `code` of an answer of the proxy's own; empty for a marketplace's.
    pub(crate) fn code(&self) -> String {
        let parsed: Option<serde_json::Value> = serde_json::from_str(&self.body).ok();
        parsed.and_then(|v| v.get("code")?.as_str().map(str::to_owned)).unwrap_or_default()
    }
}

impl World {
    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.proxy)
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send(self.http.get(self.url(path))).await
    }

    /// As [`World::get`], with held time moving on whenever nothing else goes on.
    pub(crate) async fn get_in_passing(&self, path: &str) -> Answer {
        let mut answer = std::pin::pin!(self.get(path));
        let moment = async || {
            for _ in 0..10 {
                settle().await;
                // Sockets need real time.
                std::thread::sleep(Duration::from_micros(100));
            }
            tokio::time::advance(Duration::from_millis(50)).await;
        };
        loop {
            tokio::select! {
                biased;
                answer = &mut answer => return answer,
                () = moment() => {}
            }
        }
    }

    pub(crate) async fn admin(&self, path: &str) -> Answer {
        self.send(self.http.get(format!("http://{}{path}", self.admin))).await
    }

    /// A request to the admin door.
    pub(crate) fn to_admin(&self, method: &str, path: &str) -> reqwest::RequestBuilder {
        self.http.request(method.parse().unwrap(), format!("http://{}{path}", self.admin))
    }

    /// A request to the control socket.
    pub(crate) fn to_control(&self, method: &str, path: &str) -> reqwest::RequestBuilder {
        let socket = self.control.as_deref().expect("this world has a control socket");
        let http = unopinionated().unix_socket(socket).build().unwrap();
        http.request(method.parse().unwrap(), format!("http://marketgate{path}"))
    }

    pub(crate) async fn send(&self, request: reqwest::RequestBuilder) -> Answer {
        let response = request.send().await.unwrap();
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        Answer { status, headers, body: response.text().await.unwrap() }
    }

    /// Moves held time on in steps small enough for timers to fire one after another.
    pub(crate) async fn pass(&self, time: Duration, step: Duration) {
        let steps = time.as_millis() / step.as_millis();
        for _ in 0..steps {
            tokio::time::advance(step).await;
            settle().await;
        }
    }
}

/// Lets everything that is ready run.
pub(crate) async fn settle() {
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
}
