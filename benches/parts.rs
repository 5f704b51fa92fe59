//! What the parts of a request's way cost that every request takes: finding its route, cleaning its headers, finding its
//! account among many, and borrowing a token, also while a keeper publishes others.
//!
//! `cargo bench --bench parts -- --quick`
#![allow(clippy::unwrap_used, reason = "a bench that cannot go on has failed")]
#![allow(missing_docs, reason = "a bench is no library")]

use std::{
    collections::BTreeMap,
    hint::black_box,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    thread::JoinHandle,
    time::{Duration, Instant, SystemTime},
};

use criterion::{Criterion, criterion_group, criterion_main};
use http::{HeaderMap, HeaderName, HeaderValue, Uri};
use marketgate::{
    accounts::Accounts,
    chance::Chance,
    clock::Clock,
    config::{self, App, Settings},
    grant::{Credential, LiveAccount, LiveAccounts, Means},
    metrics::Metrics,
    names::{AccountId, AccountName},
    oauth::{Calling, Granted, TokenCalls, TokenClient, TokenRequest},
    provider::Dressing,
    proxy::{headers, route},
    secret::Secret,
    store::{Grant, MemoryStore, Origin, Record, Standing, Store},
    tls,
    token::Token,
};
use rand::{RngExt, SeedableRng, rngs::StdRng};

const CONFIGURATION: &str = "
[apps.walmart]
provider = \"walmart-marketplace\"
environment = \"production\"
client_id = \"a\"
client_secret = \"b\"
[apps.depop]
provider = \"depop\"
environment = \"production\"
api_key = \"c\"
[apps.any]
provider = \"generic\"
api = \"https://api.example.com/v2\"
token_url = \"https://auth.example.com/token\"
client_id = \"d\"
client_secret = \"e\"
[apps.many]
provider = \"generic\"
api = \"https://api.example.com/v2\"
token_url = \"https://auth.example.com/token\"
credentials = \"per-account\"
";

/// The fields that an HTTP library sends with a request.
const FIELDS: [(&str, &str); 8] = [
    ("host", "localhost:8080"),
    ("user-agent", "python-requests/2.32.3"),
    ("accept-encoding", "gzip, deflate, br, zstd"),
    ("accept", "application/json"),
    ("connection", "keep-alive"),
    ("content-type", "application/json"),
    ("x-request-id", "6f1c2a9e-7f0b-4d0c-9f54-0b6f6f8b2f11"),
    ("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),
];

fn settings() -> Settings {
    match config::parse("bench.toml", CONFIGURATION, Path::new("."), &|_| None) {
        Ok(loaded) => loaded.settings,
        Err(error) => panic!("{}", error.render(false)),
    }
}

fn app(name: &str) -> Arc<App> {
    settings().apps[name].clone()
}

fn fields() -> HeaderMap {
    let field = |(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value));
    FIELDS.into_iter().map(field).collect()
}

fn routes(criterion: &mut Criterion) {
    let (apps, plain) = (settings().apps, fields());
    let mut named = plain.clone();
    named.insert(&route::APP_HEADER, HeaderValue::from_static("depop"));
    named.insert(&route::ACCOUNT_HEADER, HeaderValue::from_static("shop-42"));
    let with_prefix: Uri =
        "/depop@shop-42/api/v1/products/?limit=100&cursor=MjAyNC0wMS0wMVQwMDo".parse().unwrap();
    let without: Uri = "/api/v1/products/?limit=100&cursor=MjAyNC0wMS0wMVQwMDo".parse().unwrap();
    let mut group = criterion.benchmark_group("route");
    for (name, target, headers) in [("prefix", &with_prefix, &plain), ("headers", &without, &named)] {
        group.bench_function(name, |bencher| {
            bencher
                .iter(|| route::find(black_box(&apps), None, black_box(target), black_box(headers)).is_ok());
        });
    }
    group.finish();
}

fn header_policy(criterion: &mut Criterion) {
    let (fields, mut group) = (fields(), criterion.benchmark_group("header policy"));
    for name in ["depop", "walmart"] {
        let app = app(name);
        let dressing = Dressing::new(&app.profile, |name| (name == "client_id").then(|| "id".into()));
        let credential = credential();
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                let mut clean = headers::clean_request(black_box(&fields), &app.profile, &dressing);
                headers::dress(&mut clean, &app.profile, &dressing, &credential);
                clean
            });
        });
    }
    group.finish();
}

fn credential() -> Credential {
    let (secret, asked) = (Secret::new("token"), Clock::system().now());
    let token = Token { secret, asked, lifetime: None, generation: 1 };
    Credential {
        token,
        header: HeaderValue::from_static("Bearer token"),
        refresh_age: None,
        narrower_scope: None,
    }
}

/// Token endpoints that answer at once, each time with another token.
#[derive(Debug, Default)]
struct Endpoints(AtomicU64);

impl TokenCalls for Endpoints {
    fn call<'a>(&'a self, _: TokenRequest<'a>) -> Calling<'a> {
        let number = self.0.fetch_add(1, Relaxed);
        let granted = Granted {
            access_token: Secret::new(format!("token-{number}")),
            lifetime: Some(Duration::from_secs(3600)),
            refresh_token: None,
            refresh_lifetime: None,
            id_token: None,
            scope: None,
            token_type: None,
            received: std::time::Instant::now(),
        };
        Box::pin(std::future::ready(Ok(granted)))
    }
}

/// The accounts in use, on the current runtime.
fn live(store: Option<Arc<dyn Store>>) -> Arc<LiveAccounts> {
    Arc::new(LiveAccounts::new(Means {
        clock: Clock::system(),
        chance: Chance::system(),
        client: Arc::new(Endpoints::default()),
        store,
        metrics: Arc::new(Metrics::new(false)),
        capacity: 200_000,
    }))
}

/// So many accounts of the store, all of them in use.
async fn populated(count: usize) -> Accounts {
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let app = app("many");
    for number in 0..count {
        store.replace(record(name(number)), Origin::Brought).await.unwrap();
    }
    let client = TokenClient::new(tls::client_config(None).unwrap(), None);
    let apps = BTreeMap::from([(app.name.clone(), app.clone())]);
    let accounts = Accounts::new(apps, live(Some(store.clone())), Some(store), client, Clock::system());
    for number in 0..count {
        accounts.find(&app, Some(&name(number))).await.unwrap();
    }
    accounts.live().let_go_idle();
    accounts
}

fn name(number: usize) -> AccountName {
    format!("shop-{number}").parse().unwrap()
}

fn record(account: AccountName) -> Record {
    let now = SystemTime::now();
    Record {
        id: AccountId { app: "many".parse().unwrap(), account },
        provider: "generic".to_owned(),
        environment: "production".to_owned(),
        generation: 1,
        grant: Some(Grant::Client { id: "a".to_owned(), secret: Secret::new("b") }),
        standing: Standing::Active,
        token: None,
        identity: None,
        shared_seller: false,
        unrevoked: Vec::new(),
        settings: BTreeMap::new(),
        consented_at: None,
        created_at: now,
        changed_at: now,
        notes: Default::default(),
        intent: None,
    }
}

fn lookups(criterion: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (app, mut group) = (app("many"), criterion.benchmark_group("account look-up"));
    for count in [1, 1000, 100_000] {
        let accounts = runtime.block_on(populated(count));
        let mut dice = StdRng::seed_from_u64(1);
        let names: Vec<_> = (0..4096).map(|_| name(dice.random_range(0..count))).collect();
        let mut next = names.iter().cycle();
        group.bench_function(format!("among {count}"), |bencher| {
            bencher.iter(|| accounts.borrow(&app, black_box(next.next())).unwrap());
        });
        let _ended = runtime.block_on(accounts.close());
    }
    group.finish();
}

/// A thread that does something until it is dropped.
struct Beside {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Beside {
    fn begin(work: impl FnOnce(&AtomicBool) + Send + 'static) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let told = stop.clone();
        Self { stop, thread: Some(std::thread::spawn(move || work(&told))) }
    }

    fn reading(account: &Arc<LiveAccount>) -> Self {
        let account = account.clone();
        Self::begin(move |stop| {
            while !stop.load(Relaxed) {
                black_box(account.borrow_token());
            }
        })
    }
}

impl Drop for Beside {
    fn drop(&mut self) {
        self.stop.store(true, Relaxed);
        self.thread.take().unwrap().join().unwrap();
    }
}

/// One account, and a keeper of its own thread that publishes a new token `every` so often; None: once.
fn published(every: Option<Duration>) -> (Arc<LiveAccount>, Beside) {
    let (there, account) = std::sync::mpsc::channel();
    let keeper = Beside::begin(move |stop| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (app, live) = (app("any"), live(None));
            let account = live.find(&app, &app.accounts[&AccountName::implicit()]);
            account.token(Duration::from_secs(1)).await.unwrap();
            there.send(account.clone()).unwrap();
            while !stop.load(Relaxed) {
                tokio::time::sleep(every.unwrap_or(Duration::from_millis(20))).await;
                if every.is_some() {
                    account.refresh_now(Duration::from_secs(1)).await;
                }
            }
            let _ended = live.drain().await;
        });
    });
    (account.recv().unwrap(), keeper)
}

fn tokens(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("borrow a token");
    let millisecond = Some(Duration::from_millis(1));
    for (name, every, others) in [
        ("alone", None, 0),
        ("beside another reader", None, 1),
        ("beside a publisher, every millisecond", millisecond, 0),
        ("beside another reader and a publisher, every millisecond", millisecond, 1),
    ] {
        let (account, keeper) = published(every);
        let readers: Vec<_> = (0..others).map(|_| Beside::reading(&account)).collect();
        let (before, begun) = (account.published().generation(), Instant::now());
        group.bench_function(name, |bencher| bencher.iter(|| account.borrow_token().unwrap()));
        let (tokens, took) = (account.published().generation() - before, begun.elapsed());
        println!("{:.0} tokens published a second\n", tokens as f64 / took.as_secs_f64());
        // With `--test` each runs once, and that is over before anything is published.
        assert!(tokens > 0 || every.is_none() || took < Duration::from_millis(100), "nothing was published");
        drop(readers);
        drop(keeper);
    }
    group.finish();
}

criterion_group!(benches, routes, header_policy, lookups, tokens);
criterion_main!(benches);
