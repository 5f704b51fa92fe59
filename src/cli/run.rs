//! `marketgate run`.

use std::{
    fmt::Write,
    io::IsTerminal,
    panic::{AssertUnwindSafe, resume_unwind},
    sync::Arc,
};

use futures_util::FutureExt;
use tokio::sync::oneshot;

use super::{
    Exit, Failure, Place, opening,
    place::colour,
    signals::{self, Hangup},
    streams,
    table::table,
};
use crate::{
    admin::ControlSocket,
    config::{App, Finding, Loaded, Settings, settings::ProxyListener},
    gateway::{BindError, Gateway, Listeners, Options, Stop, descriptors},
    grant::Ended,
    store::{AwaitedStore, OpenError, Store},
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

/// Serves until a signal ends it.
///
/// # Errors
/// An invalid configuration, an address that cannot be had, a store that cannot be used, or grants that could not be stored.
pub fn run(place: &Place) -> Result<(), Failure> {
    let Loaded { settings, warnings } = place.load_with_warnings()?;
    telemetry::start(&settings.log).map_err(|e| Failure::new(Exit::Configuration, e))?;
    let outcome = serve_these(place, &settings, &warnings);
    // A program reads that log: a line that is no JSON would be an error there.
    if telemetry::is_json(&settings.log) { outcome.map_err(Failure::logged) } else { outcome }
}

fn serve_these(place: &Place, settings: &Settings, warnings: &[Finding]) -> Result<(), Failure> {
    warnings.iter().for_each(|warning| warn(settings, warning));
    touch_memory_by_small_pages();
    block_on(async {
        let stop = signals::watch(Hangup::AsksForReload)?;
        // First: an address that is taken is told at once, and callers find somebody while the store is waited for.
        let listeners = Listeners::bind(settings)?;
        let announce = || announce(place, settings);
        match opening::open_at_once(settings) {
            Ok(store) => {
                let listeners = Listeners { control: control_socket(settings)?, ..listeners };
                let gateway = gateway(settings, store)?;
                announce();
                serve(gateway, listeners, &stop).await
            }
            Err(held) if held.is_held => serve_and_wait(settings, listeners, &stop, announce).await,
            Err(other) => Err(other.failure),
        }
    })
}

fn warn(settings: &Settings, warning: &Finding) {
    match telemetry::is_json(&settings.log) {
        true => tracing::warn!("{warning}"),
        false => streams::talk(warning.render(colour()).trim_end()),
    }
}

/// One line for the log, and a table for a person.
fn announce(place: &Place, settings: &Settings) {
    let listeners = settings.proxy.listeners.iter().map(|listener| listener.address.to_string());
    let listen = listeners.collect::<Vec<_>>().join(" ");
    let configuration = place.file().map(|path| path.display().to_string()).unwrap_or_default();
    let store = settings.store.as_ref().map(|store| tracing::field::display(store.path.display()));
    tracing::info!(version = env!("CARGO_PKG_VERSION"), configuration, listen, admin = %settings.admin.address, store,
        apps = settings.apps.len(), pid = std::process::id(), "started");
    if !telemetry::is_json(&settings.log) && std::io::stderr().is_terminal() {
        streams::talk(summary(settings));
    }
}

fn gateway(settings: &Settings, store: Option<Arc<dyn Store>>) -> Result<Gateway, Failure> {
    Gateway::new(settings, Options { store, descriptors: descriptors::raise(), ..Options::default() })
        .map_err(|e| Failure::new(Exit::Failure, e))
}

fn control_socket(settings: &Settings) -> Result<Option<ControlSocket>, Failure> {
    Ok(settings.store.as_ref().map(|store| ControlSocket::bind(&store.path)).transpose()?)
}

/// Serves what needs no store while another process has it, and everything once that has let go of it.
async fn serve_and_wait(
    settings: &Settings,
    listeners: Listeners,
    stop: &Stop,
    announce: impl Fn(),
) -> Result<(), Failure> {
    // Shorter than a request waits for its account, so that the request is told who has the store.
    let awaited = Arc::new(AwaitedStore::new(settings.upstream.timeouts.token_wait.mul_f32(0.8)));
    let (hand_over, control_later) = oneshot::channel();
    let gateway = gateway(settings, Some(awaited.clone()))?;
    let opening = async {
        let opened = opening::open_when_free(settings, &awaited);
        let opened = match stop.asked().run_until_cancelled(opened).await {
            Some(Ok(store)) => control_socket(settings).map(|control| (store, control)),
            Some(Err(failure)) => Err(failure),
            None => return Ok(()),
        };
        // Whatever keeps it from being used ends the program.
        let (store, control) = opened.inspect_err(|_| stop.begin())?;
        awaited.open(store);
        drop(control.map(|control| hand_over.send(control)));
        announce();
        Ok(())
    };
    let listeners = Listeners { control_later: Some(control_later), ..listeners };
    let (served, opened) = tokio::join!(serve(gateway, listeners, stop), opening);
    opened.and(served)
}

async fn serve(gateway: Gateway, listeners: Listeners, stop: &Stop) -> Result<(), Failure> {
    let accounts = gateway.accounts().clone();
    match AssertUnwindSafe(gateway.serve(listeners, stop.clone())).catch_unwind().await {
        Ok(served) => kept(&served.map_err(|e| cannot_serve(&e))?),
        Err(defect) => {
            // What the keepers hold is not the defect's.
            if let Err(failure) = kept(&accounts.close().await) {
                failure.report();
            }
            telemetry::flush();
            resume_unwind(defect)
        }
    }
}

/// A failure where something could only be kept beside the store.
///
/// # Errors
/// With the accounts whose grants these are.
pub fn kept(ended: &Ended) -> Result<(), Failure> {
    if ended.spilled.is_empty() {
        return Ok(());
    }
    let accounts = ended.spilled.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let message = format!(
        "the store refused the new refresh tokens of {accounts} to the last: they were spilled beside the store"
    );
    Err(Failure::new(Exit::Store, message)
        .mend("make room on the store's disk, or mend it, and start Marketgate again: it takes them in"))
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
