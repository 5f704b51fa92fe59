//! The store served by a command itself, for as long as the command lives. The one rule: it is the same service as that of
//! `marketgate run`, control socket and draining included, so that a second command meanwhile is its client.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use tokio::{net::UnixListener, task::JoinHandle};
use tokio_util::sync::CancellationToken;

use super::{Exit, Failure, admin_client::AdminClient, opening};
use crate::{
    admin::{AdminDoor, control::control_path},
    config::Settings,
    gateway::{Gateway, Options},
    http::listener::{self, ListenerLimits},
    telemetry,
};

/// How long requests under way may take when the command ends.
const GRACE: Duration = Duration::from_secs(5);

/// The service within a command.
pub struct Service {
    gateway: Gateway,
    client: AdminClient,
    socket: PathBuf,
    stop: CancellationToken,
    served: JoinHandle<()>,
}

/// Why it was not started.
pub struct NotStarted {
    /// Another process has the store.
    pub is_held: bool,
    /// What to tell.
    pub failure: Failure,
}

impl From<Failure> for NotStarted {
    fn from(failure: Failure) -> Self {
        Self { is_held: false, failure }
    }
}

impl Service {
    /// Serves the store of these settings, without waiting for another process to let go of it.
    ///
    /// # Errors
    /// When another process has the store, or it cannot be opened.
    pub async fn start(settings: &Settings) -> Result<Self, NotStarted> {
        let fail = |e: &dyn std::fmt::Display| Failure::new(Exit::Failure, e);
        let mut settings = settings.clone();
        settings.log.level = "error".to_owned();
        telemetry::start(&settings.log).map_err(|e| fail(&e))?;
        let store = opening::open_at_once(&settings)?;
        let gateway =
            Gateway::new(&settings, Options { store, ..Options::default() }).map_err(|e| fail(&e))?;
        let socket = settings.store.as_ref().map(|store| control_path(&store.path)).unwrap_or_default();
        let listener = bind(&socket).map_err(|e| fail(&e))?;
        let stop = CancellationToken::new();
        let admin = Arc::new(AdminDoor::new(gateway.door().clone()));
        let answer = move |request, _peer| {
            let admin = admin.clone();
            async move { admin.answer(request).await }
        };
        let limits = ListenerLimits::new(&settings.limits, settings.upstream.timeouts.stall);
        let serve = listener::serve(listener, answer, limits, stop.clone(), GRACE);
        let served = tokio::task::spawn_local(async move { drop(serve.await) });
        let client = AdminClient::of_socket(&socket)?;
        Ok(Self { gateway, client, socket, stop, served })
    }

    /// A client of it.
    pub fn client(&self) -> AdminClient {
        self.client.clone()
    }

    /// Ends in order: requests, keepers, the store.
    pub async fn end(self) {
        self.stop.cancel();
        drop(self.served.await);
        self.gateway.accounts().live().drain().await;
        drop(std::fs::remove_file(&self.socket));
    }
}

fn bind(socket: &Path) -> std::io::Result<UnixListener> {
    drop(std::fs::remove_file(socket));
    UnixListener::bind(socket)
}
