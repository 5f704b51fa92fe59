//! Keepers, a store and a token endpoint that is played, over time that jumps ahead by itself: hours of what a server does
//! and what sellers are asked for, without a socket.

use std::{
    collections::BTreeMap,
    path::Path,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use marketgate::{
    accounts::{AccountDocument, Accounts},
    chance::Chance,
    clock::Clock,
    config::{self, App},
    grant::{AccountState, LiveAccount, LiveAccounts, Means},
    metrics::Metrics,
    names::AccountId,
    oauth::{
        Class, GrantRequest, Granted, TokenCalls, TokenClient, TokenError, TokenRequest, client::Calling,
    },
    secret::Secret,
    store::{Grant, KeptToken, MemoryStore, Notes, Origin, Record, Standing, Store, Stored},
};
use tokio::{task::JoinHandle, time::Instant};

pub(crate) const SECOND: Duration = Duration::from_secs(1);
pub(crate) const MINUTE: Duration = Duration::from_secs(60);

/// What the token endpoint makes of a refresh token that was shown: its seller, and how often that seller was granted one.
type Script = Box<dyn FnMut(&Shown) -> Result<Granted, TokenError> + Send>;

/// A refresh token that was shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Shown {
    pub(crate) at: Duration,
    pub(crate) seller: usize,
    /// Which of the seller's refresh tokens.
    pub(crate) token: usize,
}

struct Played {
    script: Mutex<Script>,
    shown: Mutex<Vec<Shown>>,
    latency: Duration,
    origin: Instant,
}

impl std::fmt::Debug for Played {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Played")
    }
}

impl TokenCalls for Played {
    fn call<'a>(&'a self, request: TokenRequest<'a>) -> Calling<'a> {
        let (seller, token) = match request.grant {
            GrantRequest::RefreshToken(token) => numbers(token.expose()),
            other => panic!("no refresh: {other:?}"),
        };
        Box::pin(async move {
            let shown = Shown { at: self.origin.elapsed(), seller, token };
            self.shown.lock().unwrap().push(shown.clone());
            let outcome = (self.script.lock().unwrap())(&shown);
            tokio::time::sleep(self.latency).await;
            outcome
        })
    }
}

fn numbers(token: &str) -> (usize, usize) {
    let mut parts = token.split('-').skip(1).map(|part| part.parse().unwrap());
    (parts.next().unwrap(), parts.next().unwrap())
}

/// Tokens for what was shown, and the next refresh token.
pub(crate) fn granted(shown: &Shown, lifetime: Duration) -> Granted {
    Granted {
        access_token: Secret::new(format!("at-{}-{}", shown.seller, shown.token + 1)),
        lifetime: Some(lifetime),
        refresh_token: Some(Secret::new(format!("rt-{}-{}", shown.seller, shown.token + 1))),
        refresh_lifetime: None,
        id_token: None,
        scope: None,
        token_type: None,
        received: std::time::Instant::now(),
    }
}

/// A failure with a status; 0: none came.
pub(crate) fn failure(class: Class, status: u16, words: &str) -> TokenError {
    TokenError { status: Some(status).filter(|status| *status > 0), ..TokenError::new(class, words) }
}

/// One process.
pub(crate) struct Stage {
    pub(crate) accounts: Arc<Accounts>,
    pub(crate) live: Arc<LiveAccounts>,
    pub(crate) store: Arc<MemoryStore>,
    pub(crate) clock: Clock,
    app: Arc<App>,
    played: Arc<Played>,
    seeing_to: JoinHandle<()>,
}

/// Keys of the app beside the usual ones.
pub(crate) fn app(keys: &str) -> Arc<App> {
    let text = format!(
        "[store]\npath = \"unused.db\"\n[apps.shop]\nprovider = \"generic\"\ngrant = \"authorization_code\"\n\
         api = \"http://127.0.0.1:1/api\"\ntoken_url = \"http://127.0.0.1:1/token\"\n\
         authorize_url = \"http://127.0.0.1:1/authorize\"\nclient_id = \"id\"\nclient_secret = \"secret\"\n{keys}\n"
    );
    let loaded = config::parse("proxy.toml", &text, Path::new("/nowhere"), &|_| None);
    let loaded = loaded.unwrap_or_else(|error| panic!("{}", error.render(false)));
    loaded.settings.apps.values().next().unwrap().clone()
}

impl Stage {
    /// A process with a fresh store, in which so many sellers have consented.
    pub(crate) async fn with_sellers(app: &Arc<App>, sellers: usize) -> Self {
        let stage = Self::open(app, MemoryStore::new(), Clock::tokio());
        for number in 0..sellers {
            stage.put(stage.record(number)).await;
        }
        stage
    }

    /// A process that starts with this store.
    pub(crate) fn open(app: &Arc<App>, store: MemoryStore, clock: Clock) -> Self {
        let store = Arc::new(store);
        let played = Arc::new(Played {
            script: Mutex::new(Box::new(|shown| Ok(granted(shown, 5 * MINUTE)))),
            shown: Mutex::default(),
            latency: Duration::from_millis(5),
            origin: Instant::now(),
        });
        let live = Arc::new(LiveAccounts::new(Means {
            clock: clock.clone(),
            chance: Chance::seeded(7),
            client: played.clone(),
            store: Some(store.clone()),
            metrics: Arc::new(Metrics::new(false)),
            capacity: 1000,
        }));
        let tls = marketgate::tls::client_config(None).unwrap();
        let client = TokenClient::new(tls, None);
        let apps = BTreeMap::from([(app.name.clone(), app.clone())]);
        let accounts =
            Arc::new(Accounts::new(apps, live.clone(), Some(store.clone()), client, clock.clone()));
        let seeing_to = tokio::spawn({
            let accounts = accounts.clone();
            async move {
                accounts.take_up().await.unwrap();
                let look = async {
                    loop {
                        accounts.look_after().await.unwrap();
                        tokio::time::sleep(5 * MINUTE).await;
                    }
                };
                tokio::join!(look, accounts.keep_up());
            }
        });
        Self { accounts, live, store, clock, app: app.clone(), played, seeing_to }
    }

    /// The process is killed: another one starts with what is durable.
    pub(crate) fn killed(self) -> Self {
        self.seeing_to.abort();
        let image = self.store.image();
        // Whatever of it still runs reaches nobody.
        let unheard: Script = Box::new(|_| Err(failure(Class::NotSent, 0, "the process is gone")));
        let script = std::mem::replace(&mut *self.script(), unheard);
        let next = Self::open(&self.app, image, self.clock.clone());
        *next.script() = script;
        next
    }

    fn script(&self) -> MutexGuard<'_, Script> {
        self.played.script.lock().unwrap()
    }

    /// What the token endpoint answers from now on.
    pub(crate) fn play(&self, script: impl FnMut(&Shown) -> Result<Granted, TokenError> + Send + 'static) {
        *self.script() = Box::new(script);
    }

    /// It grants whatever is shown, with tokens that live so long.
    pub(crate) fn play_granting(&self, lifetime: Duration) {
        self.play(move |shown| Ok(granted(shown, lifetime)));
    }

    /// It fails for everybody.
    pub(crate) fn play_failing(&self, error: TokenError) {
        self.play(move |_| Err(error.clone()));
    }

    /// What was shown so far, and forgets it.
    pub(crate) fn shown(&self) -> Vec<Shown> {
        std::mem::take(&mut *self.played.shown.lock().unwrap())
    }

    pub(crate) fn calls(&self) -> usize {
        self.played.shown.lock().unwrap().len()
    }

    pub(crate) fn id(&self, seller: usize) -> AccountId {
        AccountId { app: self.app.name.clone(), account: format!("s{seller}").parse().unwrap() }
    }

    /// A seller who has just consented, and has no access token yet.
    pub(crate) fn record(&self, seller: usize) -> Record {
        let now = self.clock.now().wall;
        Record {
            id: self.id(seller),
            provider: self.app.profile.provider.clone(),
            environment: self.app.profile.environment.clone(),
            generation: 1,
            grant: Some(Grant::Refresh {
                token: Secret::new(format!("rt-{seller}-0")),
                obtained_at: now,
                ends_at: None,
            }),
            standing: Standing::Active,
            token: None,
            identity: None,
            shared_seller: false,
            unrevoked: Vec::new(),
            settings: BTreeMap::new(),
            consented_at: None,
            created_at: now,
            changed_at: now,
            notes: Notes::default(),
            intent: None,
        }
    }

    /// With an access token that lives so long from now.
    pub(crate) fn record_with_token(&self, seller: usize, lifetime: Duration) -> Record {
        let asked_at = self.clock.now().wall;
        let token = Some(KeptToken { secret: Secret::new(format!("at-{seller}-0")), asked_at, lifetime });
        Record { token, ..self.record(seller) }
    }

    pub(crate) async fn put(&self, record: Record) {
        self.store.replace(record, Origin::Brought).await.unwrap();
    }

    pub(crate) async fn stored(&self, seller: usize) -> Record {
        match self.store.account(&self.id(seller)).await.unwrap() {
            Some(Stored::Whole(record)) => *record,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) async fn show(&self, seller: usize) -> AccountDocument {
        self.accounts.show(&self.id(seller)).await.unwrap()
    }

    pub(crate) async fn live(&self, seller: usize) -> Arc<LiveAccount> {
        self.accounts.find(&self.app, Some(&self.id(seller).account)).await.unwrap()
    }

    /// One request's token: its generation, or the state that the caller is told.
    pub(crate) async fn ask(&self, seller: usize) -> Result<u64, AccountState> {
        let credential = self.live(seller).await.token(10 * SECOND).await;
        credential.map(|credential| credential.token.generation).map_err(|unavailable| unavailable.state)
    }

    /// A seller who is busy from now on: a request every half second. Tells when it got a token last.
    pub(crate) fn busy(&self, seller: usize) -> Arc<Mutex<Option<Instant>>> {
        let served = Arc::new(Mutex::new(None));
        let (accounts, app, id) = (self.accounts.clone(), self.app.clone(), self.id(seller));
        let noted = served.clone();
        tokio::spawn(async move {
            loop {
                let live = accounts.find(&app, Some(&id.account)).await.unwrap();
                if live.token(10 * SECOND).await.is_ok() {
                    *noted.lock().unwrap() = Some(Instant::now());
                }
                tokio::time::sleep(SECOND / 2).await;
            }
        });
        served
    }
}

/// Lets time pass.
pub(crate) async fn pass(time: Duration) {
    tokio::time::sleep(time).await;
}
