//! `marketgate demo`: everything at once, with nothing to prepare and nothing left behind.

mod sellers;

use std::{
    fmt::Write as _,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::Path,
    sync::Arc,
    time::Duration,
};

use clap::Args;

use super::{
    Exit, Failure,
    run::{base_url, block_on, origin, sample_path},
    signals::{self, Hangup},
    streams,
    table::table,
};
use crate::{
    accounts::Accounts,
    config::{self, Settings},
    gateway::{Gateway, Listeners, Options},
    names::AccountId,
    sim::Simulator,
    store::{MemoryStore, Store},
    telemetry,
};

/// Arguments of `demo`.
#[derive(Debug, Args)]
pub struct DemoArguments {
    /// Port of the proxy door [default: 8080, or a free one if that is taken]
    #[arg(long, value_name = "PORT")]
    port: Option<u16>,
}

const USUAL_PORT: u16 = 8080;
const SEED: u64 = 1;
const TOKEN_WAIT: Duration = Duration::from_secs(10);

/// Runs simulator and proxy until Ctrl-C.
///
/// # Errors
/// When no port can be had.
pub fn run(arguments: &DemoArguments) -> Result<(), Failure> {
    block_on(async {
        let stop = signals::watch(Hangup::Ends)?;
        let simulator = listen(0)?;
        let proxy = vec![(proxy_listener(arguments.port)?, None)];
        let listeners = Listeners { proxy, admin: listen(0)?, control: None, control_later: None };
        let settings = settings(&simulator, &listeners)?;
        telemetry::start(&settings.log).map_err(|e| Failure::new(Exit::Failure, e))?;
        let simulated = serve_simulator(simulator, stop.asked().clone())?;
        let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
        let options = Options { store: Some(store), ..Options::default() };
        let gateway = Gateway::new(&settings, options).map_err(|e| Failure::new(Exit::Failure, e))?;
        let accounts = gateway.accounts().clone();
        let announce = async {
            let connected = sellers::connect(&accounts).await;
            streams::data(introduction(&settings, &accounts, &connected).await);
        };
        let serve = gateway.serve(listeners, stop.clone());
        let (served, ()) = tokio::join!(serve, announce);
        // Its store is memory, and what that refused nobody could keep.
        let _ended = served.map_err(|e| Failure::new(Exit::Failure, e))?;
        simulated.await.map_err(|e| Failure::new(Exit::Failure, e))
    })
}

fn listen(port: u16) -> Result<TcpListener, Failure> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let bound = TcpListener::bind(address).and_then(|listener| {
        listener.set_nonblocking(true)?;
        Ok(listener)
    });
    bound.map_err(|e| {
        Failure::new(Exit::Failure, format!("cannot listen on {address}: {e}"))
            .mend("choose another port with --port, or leave it out to get a free one")
    })
}

fn proxy_listener(port: Option<u16>) -> Result<TcpListener, Failure> {
    match port {
        Some(port) => listen(port),
        None => listen(USUAL_PORT).or_else(|_| listen(0)),
    }
}

fn serve_simulator(
    listener: TcpListener,
    stop: tokio_util::sync::CancellationToken,
) -> Result<tokio::task::JoinHandle<()>, Failure> {
    let listener = tokio::net::TcpListener::from_std(listener).map_err(|e| Failure::new(Exit::Failure, e))?;
    Ok(tokio::spawn(Simulator::new(SEED).serve(listener, stop.cancelled_owned())))
}

/// The same text a user would write, so that the demo shows nothing a real configuration cannot do.
fn settings(simulator: &TcpListener, listeners: &Listeners) -> Result<Settings, Failure> {
    let port =
        |listener: &TcpListener| listener.local_addr().map(|address| address.port()).unwrap_or_default();
    let text = configuration(port(simulator), port(&listeners.proxy[0].0), port(&listeners.admin));
    let loaded = config::parse("demo", &text, Path::new("."), &|_| None);
    let loaded = loaded.map_err(|e| Failure::rendered(Exit::Failure, e.render(false)))?;
    // Nothing is left behind: the store lives as long as the demo.
    Ok(Settings { store: None, ..loaded.settings })
}

fn configuration(simulator: u16, proxy: u16, admin: u16) -> String {
    let mut text = format!(
        "[proxy]\nlisten = \"127.0.0.1:{proxy}\"\naccess_log = true\n[admin]\nlisten = \"127.0.0.1:{admin}\"\n\
         [log]\nlevel = \"warn,marketgate::access=info,marketgate::proxy=info\"\nformat = \"text\"\n"
    );
    let redirect = format!("redirect_uri = \"http://localhost:{proxy}/callback\"");
    let wallapop = format!("{CLIENT}\n{redirect}");
    let depop =
        format!("{wallapop}\ngrant = \"authorization_code\"\nscopes = [\"products_read\", \"shop_read\"]");
    let apps = [
        ("walmart", "walmart-marketplace", CLIENT),
        ("supplier", "walmart-supplier", CLIENT),
        ("golocal", "walmart-golocal", CLIENT),
        ("depop", "depop", "api_key = \"pak_demo\""),
        ("wallapop", "wallapop", &wallapop),
        ("depop-shops", "depop", &depop),
    ];
    for (name, provider, credentials) in apps {
        // Writing to a String cannot fail.
        let _ = write!(
            text,
            "[apps.{name}]\nprovider = \"{provider}\"\nenvironment = \"simulator\"\n\
             simulator = \"http://127.0.0.1:{simulator}\"\n{credentials}\n"
        );
    }
    text
}

const CLIENT: &str = "client_id = \"demo\"\nclient_secret = \"demo-secret\"";

async fn introduction(settings: &Settings, accounts: &Accounts, connected: &[AccountId]) -> String {
    let mut rows = Vec::new();
    let mut lines = String::new();
    let listener = &settings.proxy.listeners[0];
    for app in settings.apps.values() {
        let written = app.implicit_account().map(|account| (base_url(listener, app), account.id.clone()));
        let sellers = connected.iter().filter(|id| id.app == app.name);
        let sellers = sellers.map(|id| (format!("{}/{id}", origin(listener)), id.clone()));
        for (url, id) in written.into_iter().chain(sellers) {
            let token = token(accounts, &id).await;
            // Writing to a String cannot fail.
            let _ = writeln!(lines, "  curl -i '{url}{}'", sample_path(&app.profile.provider));
            rows.push(vec![url, app.profile.provider.clone(), id.account.to_string(), token]);
        }
    }
    let table = table(&["local URL", "provider", "account", "token"], &rows);
    format!(
        "Marketgate with simulated marketplaces: real OAuth, no network, no credentials.\n\n{table}\n\
         Paste a line; the token is put on the request for you:\n\n{lines}\n\
         Admin door: http://{}/    Ctrl-C ends. Requests appear below.\n\n",
        settings.admin.address
    )
}

async fn token(accounts: &Accounts, id: &AccountId) -> String {
    match accounts.token(id, TOKEN_WAIT).await {
        Ok(credential) => credential.token.lifetime.map_or_else(
            || "ready, does not expire".to_owned(),
            |life| format!("ready, valid for {} s", life.as_secs()),
        ),
        Err(error) => error.detail,
    }
}
