//! `marketgate run`.

use std::{fmt::Write, sync::Arc};

use tokio_util::sync::CancellationToken;

use super::{Exit, Failure, Place, opening, streams, table::table};
use crate::{
    admin::ControlSocket,
    config::{App, Settings, settings::ProxyListener},
    gateway::{BindError, Gateway, Listeners, Options},
    store::OpenError,
    telemetry,
};

impl From<BindError> for Failure {
    fn from(error: BindError) -> Self {
        Self::new(Exit::Failure, &error).mend(error.action())
    }
}

impl From<OpenError> for Failure {
    fn from(error: OpenError) -> Self {
        let action = error.action();
        Self::new(Exit::Store, &error).mend(action)
    }
}

/// Serves until SIGTERM or Ctrl-C.
///
/// # Errors
/// An invalid configuration or an address that cannot be had.
pub fn run(place: &Place) -> Result<(), Failure> {
    let settings = place.load()?;
    telemetry::start(&settings.log).map_err(|e| Failure::new(Exit::Configuration, e))?;
    touch_memory_by_small_pages();
    // First: whoever waits for a predecessor to let go of the store must not hold the addresses it still answers at.
    let store = opening::open(&settings)?;
    let mut listeners = Listeners::bind(&settings)?;
    let summary = summary(&settings);
    block_on(async {
        let stop = stop_on_signal()?;
        if let Some(store) = &settings.store {
            listeners.control = Some(ControlSocket::bind(&store.path)?);
        }
        let gateway = Gateway::new(&settings, Options { store, ..Options::default() })
            .map_err(|e| Failure::new(Exit::Failure, e))?;
        streams::talk(summary);
        gateway.serve(listeners, stop).await.map_err(|e| cannot_serve(&e))
    })
}

/// Thousands of idle connections hold little each: where the system gives 2 MiB at every first touch, memory grows by what
/// nobody asked for, and a sidecar meets its limit. A kernel that refuses takes nothing but that memory.
fn touch_memory_by_small_pages() {
    let _ = rustix::thread::disable_transparent_huge_pages(true);
}

fn cannot_serve(error: &std::io::Error) -> Failure {
    let failure = Failure::new(Exit::Failure, format!("cannot serve: {error}"));
    match rustix::io::Errno::from_io_error(error) {
        Some(rustix::io::Errno::MFILE | rustix::io::Errno::NFILE) => failure
            .mend("allow the process more open files (`ulimit -n`): one for each connection, and some more"),
        _ => failure,
    }
}

/// Runs a command's future on a runtime of its own.
///
/// # Errors
/// When the operating system grants no runtime, or the future's own failure.
pub fn block_on<T>(future: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(|e| Failure::new(Exit::Failure, e))?.block_on(future)
}

/// A token that SIGTERM or SIGINT cancels. A second signal ends the process at once.
///
/// # Errors
/// When the signals cannot be watched.
pub fn stop_on_signal() -> Result<CancellationToken, Failure> {
    use tokio::signal::unix::{SignalKind, signal};
    let watch = |kind| signal(kind).map_err(|e| Failure::new(Exit::Failure, e));
    let (mut terminate, mut interrupt) = (watch(SignalKind::terminate())?, watch(SignalKind::interrupt())?);
    let stop = CancellationToken::new();
    let asked = stop.clone();
    tokio::spawn(async move {
        let mut signalled =
            async || tokio::select! { _ = terminate.recv() => 143, _ = interrupt.recv() => 130 };
        signalled().await;
        asked.cancel();
        let code = signalled().await;
        std::process::exit(code);
    });
    Ok(stop)
}

/// Local URL, provider, environment and upstream of every app, and one line to paste.
pub fn summary(settings: &Settings) -> String {
    let listener = settings.proxy.listeners.iter().find(|l| l.fixed.is_none());
    let mut out = String::new();
    if let Some(listener) = listener {
        let rows: Vec<Vec<String>> = settings.apps.values().map(|app| row(listener, app)).collect();
        out.push_str(&table(&["local URL", "provider", "environment", "upstream"], &rows));
    }
    for fixed in settings.proxy.listeners.iter().filter(|l| l.fixed.is_some()) {
        // Writing to a String cannot fail.
        let _ = writeln!(
            out,
            "{}  stands for {}",
            origin(fixed),
            fixed.fixed.as_ref().map_or("", |f| f.app.as_str())
        );
    }
    if let (Some(listener), Some(app)) = (listener, settings.apps.values().next()) {
        let _ = write!(
            out,
            "\ntry:  curl -i '{}{}'\n",
            base_url(listener, app),
            sample_path(&app.profile.provider)
        );
    }
    let _ = writeln!(out, "admin: http://{}/  (health, metrics, accounts)\n", settings.admin.address);
    out
}

fn row(listener: &ProxyListener, app: &Arc<App>) -> Vec<String> {
    let profile = &app.profile;
    vec![
        base_url(listener, app),
        profile.provider.clone(),
        profile.environment.clone(),
        profile.api.to_string(),
    ]
}

/// The base URL a client of `app` is given; for an app with several accounts, of one of them.
pub fn base_url(listener: &ProxyListener, app: &App) -> String {
    match (app.implicit_account(), app.accounts.keys().next()) {
        (None, Some(account)) => format!("{}/{}@{account}", origin(listener), app.name),
        _ => format!("{}/{}", origin(listener), app.name),
    }
}

/// The origin by which this machine's programs reach a listener.
pub fn origin(listener: &ProxyListener) -> String {
    let address = listener.address;
    if address.ip().is_unspecified() {
        format!("http://localhost:{}", address.port())
    } else {
        format!("http://{address}")
    }
}

/// A harmless read of each marketplace, to paste.
pub fn sample_path(provider: &str) -> &'static str {
    match provider {
        "walmart-marketplace" => "/v3/items?limit=2",
        "walmart-supplier" => "/v3/orders?limit=2",
        "walmart-golocal" => "/deliveries",
        "depop" => "/api/v1/products/?limit=2",
        "wallapop" => "/items?limit=2",
        _ => "/",
    }
}
