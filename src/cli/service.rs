//! The store served by a command itself, for as long as the command lives. The one rule: it is the same service as that of
//! `marketgate run`, control socket and draining included, so that a second command meanwhile is its client.

use std::{sync::Arc, time::Duration};

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::{
    Exit, Failure,
    admin_client::AdminClient,
    opening::{self, SILENCE},
    run::kept,
    streams,
};
use crate::{
    admin::{AdminDoor, ControlSocket, control::ControlError},
    config::Settings,
    gateway::{Gateway, Options, Stop},
    http::listener::{self, ListenerLimits},
    telemetry,
};

/// How long requests under way may take when the command ends.
const GRACE: Duration = Duration::from_secs(5);

/// The service within a command.
pub struct Service {
    gateway: Gateway,
    admin: Arc<AdminDoor>,
    client: AdminClient,
    control: ControlSocket,
    stop: CancellationToken,
    served: JoinHandle<()>,
}

/// Why it was not started.
pub struct NotStarted {
    /// Another process has the store.
    pub is_held: bool,
    /// Which one, as far as it is known.
    pub holder: Option<u32>,
    /// What to tell.
    pub failure: Failure,
}

impl From<Failure> for NotStarted {
    fn from(failure: Failure) -> Self {
        Self { is_held: false, holder: None, failure }
    }
}

impl From<ControlError> for NotStarted {
    fn from(error: ControlError) -> Self {
        Self { is_held: matches!(error, ControlError::Taken(_)), holder: None, failure: error.into() }
    }
}

impl From<ControlError> for Failure {
    fn from(error: ControlError) -> Self {
        Self::new(Exit::Store, &error).mend(error.action())
    }
}

impl Service {
    /// Serves the store of these settings, without waiting for another process to let go of it.
    ///
    /// # Errors
    /// When another process has the store, or it cannot be opened.
    pub fn start(settings: &Settings) -> Result<Self, NotStarted> {
        let mut settings = settings.clone();
        settings.log.level = "error".to_owned();
        telemetry::start(&settings.log).map_err(|e| Failure::new(Exit::Configuration, e))?;
        let store = opening::open_at_once(&settings)?;
        let path = settings.store.as_ref().map(|store| store.path.clone()).unwrap_or_default();
        let control = ControlSocket::bind(&path)?;
        let options = Options { store, ..Options::default() };
        let gateway = Gateway::new(&settings, options).map_err(|e| Failure::new(Exit::Failure, e))?;
        let admin = Arc::new(AdminDoor::new(gateway.door().clone(), &settings.admin, Arc::default(), None));
        let client = AdminClient::of_socket(control.path());
        let limits = ListenerLimits::new(&settings.limits, settings.upstream.timeouts.stall);
        let door = admin.clone();
        let answer = move |request, peer| door.clone().answer_command(request, peer);
        let socket = control.listener().map_err(|e| Failure::new(Exit::Store, e))?;
        let stop = CancellationToken::new();
        let serve = listener::serve(socket, answer, limits, stop.clone(), GRACE);
        let served = tokio::task::spawn_local(async move {
            serve.await;
        });
        Ok(Self { gateway, admin, client, control, stop, served })
    }

    /// A client of it.
    pub fn client(&self) -> AdminClient {
        self.client.clone()
    }

    /// Ends in order: changes under way, keepers, the socket, the store. Whatever is waited for is told when that takes long,
    /// and when somebody asks for the end again by `stop`.
    ///
    /// # Errors
    /// When something could only be kept beside the store.
    pub async fn end(self, stop: &Stop) -> Result<(), Failure> {
        let accounts = self.gateway.accounts().clone();
        let end = async {
            self.admin.start_draining();
            accounts.live().close();
            stop.hurried().run_until_cancelled(self.admin.finish(GRACE)).await;
            self.stop.cancel();
            drop(self.served.await);
            drop(self.control);
            accounts.close().await
        };
        let tell = async {
            tokio::select! {
                () = stop.asked_again() => {}
                () = tokio::time::sleep(SILENCE) => {}
            }
            loop {
                tell(&accounts.live().outstanding().list());
                stop.asked_again().await;
            }
        };
        tokio::select! {
            biased;
            ended = end => kept(&ended),
            () = tell => Ok(()),
        }
    }
}

/// Says what the end waits for. From a thread of its own: a terminal that is held up (Ctrl-S) must not hold up what is waited
/// for.
fn tell(outstanding: &[String]) {
    if outstanding.is_empty() {
        return;
    }
    let text = format!("waiting for the end of this, since it would be lost: {}", outstanding.join("; "));
    drop(std::thread::Builder::new().name("terminal".to_owned()).spawn(move || streams::talk(text)));
}
