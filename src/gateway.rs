//! The whole program while it serves: doors, workers, keepers, and the order in which they end. The one rule: sockets and
//! the signal to stop come from outside.

pub mod descriptors;
mod listeners;
mod stop;

use std::{
    io,
    net::TcpListener,
    rc::Rc,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use tokio::{sync::oneshot, task::LocalSet};
use tokio_util::sync::CancellationToken;

use crate::{
    accounts::Accounts,
    admin::{AdminDoor, ControlSocket, Liveness, health::is_probe, liveness::Pulse},
    chance::Chance,
    clock::Clock,
    config::{
        Settings,
        settings::{AdminSettings, FixedRoute, StoreKey, StoreSettings},
    },
    grant::{Ended, LiveAccounts, Means, live},
    http::{
        listener::{self, Grace, ListenerLimits},
        problem::Code,
        tally_metrics::TallyMetrics,
    },
    metrics::{Metrics, Words},
    oauth::{Class, TokenClient},
    proxy::{
        Door, Worker,
        upstream::{Connector, Exceeded, UpstreamError, UpstreamMetrics},
    },
    store::{KeyPlace, OpenError, OpenOptions, SqliteStore, Store},
    telemetry::LogMetrics,
    tls,
};

pub use listeners::{BindError, Listeners};
pub use stop::Stop;

/// How long requests under way may take to end once the program stops. Kubernetes grants 30 s in all.
pub const DRAIN: Duration = Duration::from_secs(20);

/// How long answers of the admin door may take to leave at the very end.
const ADMIN_GRACE: Duration = Duration::from_secs(1);

/// How often idle accounts are looked for.
const HOUSEKEEPING: Duration = Duration::from_secs(30);

/// How often the accounts of the store are looked through.
const LOOKING_AFTER: Duration = Duration::from_secs(300);

/// How to serve.
#[derive(Debug)]
pub struct Options {
    /// Where time comes from.
    pub clock: Clock,
    /// Threads of the proxy door, each with connections of its own; 0: all on the current thread, for tests that hold time.
    pub workers: usize,
    /// Accounts kept live at once.
    pub capacity: u64,
    /// What keeps accounts that are not written in the configuration.
    pub store: Option<Arc<dyn Store>>,
    /// Files the process may have open; None: as many as it likes. See [`descriptors::raise`].
    pub descriptors: Option<u64>,
}

impl Default for Options {
    fn default() -> Self {
        let workers = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Self { clock: Clock::system(), workers, capacity: live::CAPACITY, store: None, descriptors: None }
    }
}

/// A program ready to serve.
pub struct Gateway {
    door: Arc<Door>,
    accounts: Arc<Accounts>,
    admin: AdminSettings,
    metrics: Arc<Metrics>,
    limits: ListenerLimits,
    /// Connections of the admin door, and as many of the control socket.
    admin_connections: usize,
    liveness: Arc<Liveness>,
    drain_delay: Duration,
    workers: usize,
}

impl Gateway {
    /// Puts the parts together on the current runtime, which also runs the keepers.
    ///
    /// # Errors
    /// When the certificates of `upstream.ca_file` or a client certificate cannot be used.
    pub fn new(settings: &Settings, options: Options) -> Result<Self, tls::TlsError> {
        let wanted = descriptors::Wanted::of(settings, options.workers);
        let shares = wanted.share(options.descriptors);
        wanted.warn(shares, options.descriptors);
        let mut settings = settings.clone();
        settings.limits.connections = shares.callers;
        settings.upstream.limits.connections = shares.upstream;
        let settings = &settings;
        let tls = tls::Client::open(settings.upstream.ca_file.as_deref())?;
        for app in settings.apps.values() {
            tls.config(app.api().transport.client_certificate.as_ref(), tls::Offer::Both)?;
        }
        let client = TokenClient::new(tls.clone(), settings.upstream.proxy_url.as_ref());
        let limits = ListenerLimits::new(&settings.limits, settings.upstream.timeouts.stall);
        let mut metrics = Metrics::new(settings.metrics.per_account);
        metrics.collect(Box::new(TallyMetrics(limits.tally.clone())));
        metrics.collect(Box::new(LogMetrics));
        let connector = Connector::new(tls, &settings.upstream);
        metrics.collect(Box::new(UpstreamMetrics(connector.clone())));
        metrics.begin(settings.apps.keys(), &words());
        let metrics = Arc::new(metrics);
        let live = Arc::new(LiveAccounts::new(Means {
            clock: options.clock.clone(),
            chance: Chance::system(),
            client: Arc::new(client.clone()),
            store: options.store.clone(),
            metrics: metrics.clone(),
            capacity: options.capacity,
        }));
        let (apps, clock) = (settings.apps.clone(), options.clock.clone());
        let accounts = Arc::new(Accounts::new(apps, live, options.store, client, clock));
        let door = Door::new(settings, accounts.clone(), metrics.clone(), options.clock, connector);
        Ok(Self {
            door: Arc::new(door),
            accounts,
            admin: settings.admin.clone(),
            metrics,
            limits,
            admin_connections: shares.admin,
            liveness: Arc::default(),
            drain_delay: settings.proxy.drain_delay,
            workers: options.workers,
        })
    }

    /// The accounts.
    pub fn accounts(&self) -> &Arc<Accounts> {
        &self.accounts
    }

    /// The proxy door.
    pub fn door(&self) -> &Arc<Door> {
        &self.door
    }

    /// Serves until `stop`, then ends in order: not ready any more; after `proxy.drain_delay` nothing that spends something is
    /// begun; calls under way, while callers are still served with valid tokens; no new connections, requests under way, keepers, the store.
    ///
    /// # Errors
    /// When a socket or thread cannot be used.
    pub async fn serve(self, listeners: Listeners, stop: impl Into<Stop>) -> io::Result<Ended> {
        let (stop, close, admin_stop) = (stop.into(), CancellationToken::new(), CancellationToken::new());
        self.door.callbacks.open();
        let local = LocalSet::new();
        let word = stop.clone();
        // Asked again it would hurry.
        let ask_to_stop = Box::new(move || {
            if !word.asked().is_cancelled() {
                word.ask();
            }
        });
        let admin = AdminDoor::new(self.door.clone(), &self.admin, self.liveness.clone(), Some(ask_to_stop));
        let admin = Arc::new(admin);
        local.spawn_local(self.admin_door(admin.clone(), listeners.admin, admin_stop.clone())?);
        if let Some(control) = &listeners.control {
            local.spawn_local(self.control_door(admin.clone(), control, admin_stop.clone())?);
        }
        if let Some(later) = listeners.control_later {
            local.spawn_local(self.control_door_later(admin.clone(), later, admin_stop.clone()));
        }
        local.spawn_local(housekeeping(self.accounts.clone(), admin_stop.clone()));
        local.spawn_local(revoking(self.accounts.clone(), admin_stop.clone()));
        local.spawn_local(looking_after(self.accounts.clone(), self.metrics.clone(), admin_stop.clone()));
        local.spawn_local(telling(self.accounts.clone(), stop.clone()));
        let serve = async {
            // However the proxy door ends, the program does: one that serves nothing must not look ready.
            let proxy = async {
                let served = self.proxy_door(listeners.proxy, &close, &stop).await;
                stop.begin();
                served
            };
            let (served, ()) = tokio::join!(proxy, self.wind_down(&admin, &stop, &close));
            let ended = self.accounts.close().await;
            admin_stop.cancel();
            served.map(|()| ended)
        };
        local.run_until(serve).await
    }

    /// From the word to stop until nothing is begun any more.
    async fn wind_down(&self, admin: &AdminDoor, stop: &Stop, close: &CancellationToken) {
        stop.asked().cancelled().await;
        admin.start_leaving();
        self.limits.leaving.store(true, Relaxed);
        if !self.drain_delay.is_zero() {
            tracing::info!(
                "stopping in {} s: not ready any more, but requests are served as usual; a further signal ends the wait",
                self.drain_delay.as_secs_f64()
            );
            stop.delay(self.drain_delay).await;
        }
        admin.start_draining();
        self.accounts.live().close();
        let outstanding = self.accounts.live().outstanding();
        match outstanding.list() {
            none if none.is_empty() => tracing::info!("stopping: finishing requests under way"),
            list => {
                tracing::info!("stopping: valid tokens are served until this has ended: {}", list.join("; "));
            }
        }
        stop.hurried().run_until_cancelled(outstanding.calls_ended()).await;
        close.cancel();
        stop.hurried().run_until_cancelled(admin.finish(DRAIN)).await;
    }

    fn admin_door(
        &self,
        admin: Arc<AdminDoor>,
        socket: TcpListener,
        stop: CancellationToken,
    ) -> io::Result<impl Future<Output = ()> + use<>> {
        let socket = tokio::net::TcpListener::from_std(socket)?;
        let limits = self.limits.apart(self.admin_connections, is_probe);
        let answer = move |request, _peer| admin.clone().answer(request);
        Ok(async move {
            listener::serve(socket, answer, limits, stop, ADMIN_GRACE).await;
        })
    }

    fn control_door(
        &self,
        admin: Arc<AdminDoor>,
        socket: &ControlSocket,
        stop: CancellationToken,
    ) -> io::Result<impl Future<Output = ()> + use<>> {
        let socket = socket.listener()?;
        let limits = self.limits.apart(self.admin_connections, is_probe);
        let answer = move |request, peer| admin.clone().answer_command(request, peer);
        Ok(async move {
            listener::serve(socket, answer, limits, stop, ADMIN_GRACE).await;
        })
    }

    /// The control socket as soon as there is one.
    fn control_door_later(
        &self,
        admin: Arc<AdminDoor>,
        later: oneshot::Receiver<ControlSocket>,
        stop: CancellationToken,
    ) -> impl Future<Output = ()> + use<> {
        let limits = self.limits.apart(self.admin_connections, is_probe);
        let answer = move |request, peer| admin.clone().answer_command(request, peer);
        async move {
            let Some(Ok(control)) = stop.run_until_cancelled(later).await else { return };
            match control.listener() {
                Ok(socket) => drop(listener::serve(socket, answer, limits, stop, ADMIN_GRACE).await),
                Err(error) => tracing::error!(%error, "the control socket cannot be served"),
            }
        }
    }

    async fn proxy_door(
        &self,
        sockets: Vec<(TcpListener, Option<FixedRoute>)>,
        close: &CancellationToken,
        stop: &Stop,
    ) -> io::Result<()> {
        let grace = Grace { at_most: DRAIN, hurry: stop.hurried().clone() };
        if self.workers == 0 {
            let pulse = self.liveness.worker("proxy");
            return work(self.door.clone(), sockets, self.limits.clone(), pulse, close.clone(), grace).await;
        }
        let mut threads = tokio::task::JoinSet::new();
        for number in 0..self.workers {
            let sockets = sockets.iter().map(|(socket, fixed)| Ok((socket.try_clone()?, fixed.clone())));
            let sockets = sockets.collect::<io::Result<Vec<_>>>()?;
            let name = format!("proxy-{number}");
            let pulse = self.liveness.worker(&name);
            threads.spawn(start_worker(
                name,
                self.door.clone(),
                sockets,
                self.limits.clone(),
                pulse,
                close.clone(),
                grace.clone(),
            )?);
        }
        drop(sockets);
        let mut served = Ok(());
        while let Some(ended) = threads.join_next().await {
            let ended = ended
                .map_err(io::Error::other)?
                .unwrap_or_else(|_| Err(io::Error::other("a worker thread panicked")));
            if ended.is_err() {
                // The others end too, in their own order: half a program would be harder to notice.
                stop.begin();
                close.cancel();
                served = served.and(ended);
            }
        }
        served
    }
}

type WorkerEnded = oneshot::Receiver<io::Result<()>>;

fn start_worker(
    name: String,
    door: Arc<Door>,
    sockets: Vec<(TcpListener, Option<FixedRoute>)>,
    limits: ListenerLimits,
    pulse: Pulse,
    close: CancellationToken,
    grace: Grace,
) -> io::Result<WorkerEnded> {
    let (tell, ended) = oneshot::channel();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let run = move || {
        let served =
            runtime.block_on(LocalSet::new().run_until(work(door, sockets, limits, pulse, close, grace)));
        // Nobody listens when the whole program is ending anyway.
        drop(tell.send(served));
    };
    std::thread::Builder::new().name(name).spawn(run)?;
    Ok(ended)
}

/// One worker: all listeners, one pool.
async fn work(
    door: Arc<Door>,
    sockets: Vec<(TcpListener, Option<FixedRoute>)>,
    limits: ListenerLimits,
    pulse: Pulse,
    close: CancellationToken,
    grace: Grace,
) -> io::Result<()> {
    let answering = tokio::task::spawn_local(pulse.answer());
    let worker = Worker::new(door);
    let mut served = tokio::task::JoinSet::new();
    for (socket, fixed) in sockets {
        let socket = tokio::net::TcpListener::from_std(socket)?;
        let worker = Rc::new(worker.standing_for(fixed));
        let answer = move |request, _peer| worker.clone().answer(request);
        served.spawn_local(listener::serve(socket, answer, limits.clone(), close.clone(), grace.clone()));
    }
    while let Some(ended) = served.join_next().await {
        ended.map_err(io::Error::other)?;
    }
    answering.abort();
    Ok(())
}

async fn housekeeping(accounts: Arc<Accounts>, stop: CancellationToken) {
    while stop.run_until_cancelled(tokio::time::sleep(HOUSEKEEPING)).await.is_some() {
        accounts.live().let_go_idle();
    }
}

/// Ends former grants at the server that it has not confirmed to be ended.
async fn revoking(accounts: Arc<Accounts>, stop: CancellationToken) {
    stop.run_until_cancelled(accounts.keep_revoking()).await;
}

/// Whoever asks again for the end hears what it waits for.
async fn telling(accounts: Arc<Accounts>, stop: Stop) {
    loop {
        stop.asked_again().await;
        match accounts.live().outstanding().list() {
            none if none.is_empty() => tracing::warn!("stopping: requests under way are cut off"),
            list => {
                tracing::warn!("stopping: this is waited for, since it would be lost: {}", list.join("; "));
            }
        }
    }
}

/// Takes up what an earlier process left, then sees to accounts that fall due, and looks through the store from time to time.
async fn looking_after(accounts: Arc<Accounts>, metrics: Arc<Metrics>, stop: CancellationToken) {
    if let Some(store) = accounts.store()
        && stop.run_until_cancelled(store.opened()).await.is_none()
    {
        return;
    }
    if let Err(error) = accounts.take_up().await {
        tracing::error!(%error, "what an earlier process left could not be taken up");
    }
    let look = async {
        loop {
            match accounts.look_after().await {
                Ok(counted) => metrics.stored_accounts(&counted),
                Err(error) => tracing::warn!(%error, "the accounts of the store could not be looked through"),
            }
            tokio::time::sleep(LOOKING_AFTER).await;
        }
    };
    let both = async { tokio::join!(look, accounts.keep_up()) };
    // Neither ends by itself, and neither leaves anything half done.
    let _ = stop.run_until_cancelled(both).await;
}

/// Opens what must survive the process; None when nothing must. Blocks, perhaps until another process lets go of it.
///
/// # Errors
/// When it cannot be used; nothing was lost or overwritten then.
pub fn open_store(settings: &Settings) -> Result<Option<Arc<dyn Store>>, OpenError> {
    let Some(wanted) = &settings.store else { return Ok(None) };
    let store = SqliteStore::open(&store_options(wanted))?;
    Ok(Some(Arc::new(store)))
}

/// How the configured store is opened.
pub fn store_options(wanted: &StoreSettings) -> OpenOptions {
    OpenOptions {
        path: wanted.path.clone(),
        key: match &wanted.key {
            StoreKey::File(path) => KeyPlace::File(path.clone()),
            StoreKey::Fixed(key) => KeyPlace::Fixed(key.clone()),
        },
        old_keys: wanted.old_keys.clone(),
        wait_for_lock: wanted.wait_for_lock,
    }
}

/// What metrics tell apart by words of ours.
fn words() -> Words {
    Words {
        codes: Code::KNOWN.iter().map(|code| code.as_str()).chain(["draining"]).collect(),
        limits: Exceeded::LABELS.to_vec(),
        kinds: UpstreamError::KINDS.to_vec(),
        outcomes: Class::ALL.into_iter().map(Class::outcome).chain(["ok", "store"]).collect(),
    }
}
