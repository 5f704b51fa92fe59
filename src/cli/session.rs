//! Who does what a command asks for. The one rule: only one process spends refresh tokens. A command is the client of
//! whoever serves the store; when nobody does, it serves the store itself for as long as it lives, and is its own client.

use std::{
    io::ErrorKind,
    panic::{AssertUnwindSafe, resume_unwind},
    path::{Path, PathBuf},
    time::Duration,
};

use clap::Args;
use futures_util::FutureExt;
use tokio::task::LocalSet;

use super::{
    Exit, Failure, Place,
    admin_client::AdminClient,
    opening::{BETWEEN, SILENCE, waiting_for},
    run::block_on,
    service::Service,
    signals::{self, Hangup},
    streams,
};
use crate::{admin::control::control_path, config::Settings, secret::SecretSource};

/// Which Marketgate to ask.
#[derive(Debug, Clone, Args)]
pub struct ServerArguments {
    /// Ask the Marketgate whose admin door is at this URL [default: the one that serves this configuration's store]
    #[arg(long, global = true, value_name = "URL")]
    pub server: Option<String>,
    /// File with the key to that admin door [default: the environment variable MARKETGATE_ADMIN_KEY]
    #[arg(long, global = true, value_name = "FILE", requires = "server")]
    pub key_file: Option<PathBuf>,
}

impl ServerArguments {
    /// Whoever serves this configuration's store.
    pub fn none() -> Self {
        Self { server: None, key_file: None }
    }

    /// A client of the admin door that was named.
    ///
    /// # Errors
    /// When the key cannot be read.
    pub fn named(&self) -> Result<Option<AdminClient>, Failure> {
        let Some(server) = &self.server else { return Ok(None) };
        let client = AdminClient::new(server)?;
        let Some(file) = &self.key_file else { return Ok(Some(client)) };
        let key = SecretSource::File(file.clone()).read().map_err(|error| {
            Failure::new(Exit::Usage, error).mend("write the key into the file, as one line")
        })?;
        Ok(Some(client.with_key(key)))
    }
}

/// How long a running Marketgate may take to say that it lives.
const LOOK: Duration = Duration::from_secs(5);

/// Runs `work` with a client of whoever serves the store. A signal ends it in order.
///
/// # Errors
/// When nobody can be asked, or the failure of `work`.
pub fn with<T>(
    place: &Place,
    server: &ServerArguments,
    work: impl AsyncFnOnce(AdminClient) -> Result<T, Failure>,
) -> Result<T, Failure> {
    block_on(LocalSet::new().run_until(async {
        let stop = signals::watch(Hangup::Ends)?;
        let mut service = None;
        let asking = stop.asked().run_until_cancelled(async {
            let client = reach(place, server, &mut service).await?;
            work(client).await
        });
        let outcome = AssertUnwindSafe(asking).catch_unwind().await;
        // Whatever became of it: what the service has begun is seen to its end.
        let ended = match service {
            Some(service) => service.end(&stop).await,
            None => Ok(()),
        };
        let interrupted = || Failure::rendered(Exit::Interrupted, "\ninterrupted".to_owned());
        let outcome =
            outcome.unwrap_or_else(|defect| resume_unwind(defect)).unwrap_or_else(|| Err(interrupted()));
        match (ended, outcome) {
            (Ok(()), outcome) => outcome,
            (Err(unkept), Ok(_)) => Err(unkept),
            (Err(unkept), Err(failure)) => {
                failure.report();
                Err(unkept)
            }
        }
    }))
}

async fn reach(
    place: &Place,
    server: &ServerArguments,
    service: &mut Option<Service>,
) -> Result<AdminClient, Failure> {
    if let Some(client) = server.named()? {
        return Ok(client);
    }
    let Ok(outline) = place.outline() else { return at_its_door(place).await };
    if outline.store.is_none() {
        // Nothing that must survive, so nothing that only one process may do: whoever runs is asked at its door.
        return AdminClient::new(&place.server(None)?);
    }
    match serving(Some(&outline)).await? {
        Some(client) => Ok(client),
        None => own(&place.load()?, service).await,
    }
}

/// Where the configuration is missing or broken, whoever runs with an earlier one can still be asked.
async fn at_its_door(place: &Place) -> Result<AdminClient, Failure> {
    let client = AdminClient::new(&place.server(None)?)?;
    let is_configured = place.file().is_ok();
    if is_configured && client.text("/livez", LOOK).await.is_err() {
        place.load()?;
    }
    Ok(client)
}

/// A client of whoever serves the store of these settings, if anybody does.
///
/// # Errors
/// When somebody does, and does not let us ask.
pub async fn serving(settings: Option<&Settings>) -> Result<Option<AdminClient>, Failure> {
    let Some(store) = settings.and_then(|settings| settings.store.as_ref()) else { return Ok(None) };
    let socket = control_path(&store.path);
    if is_served(&socket).await? { Ok(Some(AdminClient::of_socket(&socket))) } else { Ok(None) }
}

async fn is_served(socket: &Path) -> Result<bool, Failure> {
    let Err(error) = tokio::net::UnixStream::connect(socket).await else { return Ok(true) };
    match error.kind() {
        ErrorKind::NotFound | ErrorKind::ConnectionRefused | ErrorKind::NotADirectory => Ok(false),
        _ => Err(Failure::new(
            Exit::Store,
            format!("cannot ask the Marketgate at {}: {error}", socket.display()),
        )
        .mend("run this as the user who runs that Marketgate, or name its admin door with --server URL")),
    }
}

/// Serves the store here, unless somebody else is quicker.
async fn own(settings: &Settings, service: &mut Option<Service>) -> Result<AdminClient, Failure> {
    let patience = settings.store.as_ref().map_or(Duration::ZERO, |store| store.wait_for_lock);
    let (began, mut told) = (tokio::time::Instant::now(), false);
    loop {
        if let Some(client) = serving(Some(settings)).await? {
            return Ok(client);
        }
        let held = match Service::start(settings) {
            Ok(started) => return Ok(service.insert(started).client()),
            // Whoever has the store is about to answer, or about to end.
            Err(held) if held.is_held && began.elapsed() < patience => held,
            Err(other) => return Err(other.failure),
        };
        if !told && began.elapsed() >= SILENCE {
            told = true;
            streams::talk(format_args!("the store is in use: {}", waiting_for(held.holder, began, patience)));
        }
        tokio::time::sleep(BETWEEN).await;
    }
}
