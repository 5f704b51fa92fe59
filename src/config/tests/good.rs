//! Configurations that are right, and what becomes of them.

use std::time::Duration;

use super::{APP, loaded, read_in};
use crate::{
    config::{
        App, Credentials, capacity,
        settings::{FixedRoute, Limits, LogFormat, Timeouts},
    },
    provider::{ClientAuth, GrantKind, Replay},
    secret,
};

fn app<'l>(loaded: &'l crate::config::Loaded, name: &str) -> &'l App {
    &loaded.settings.apps[name]
}

fn client(app: &App, account: &str) -> (String, Vec<String>) {
    match &app.accounts[account].credentials {
        Credentials::Client { id, secrets } => {
            (id.clone(), secrets.iter().map(|s| s.read().unwrap().expose().to_owned()).collect())
        }
        Credentials::Key(_) => panic!("{account} has a key"),
    }
}

#[test]
fn what_is_not_written_has_its_default() {
    let loaded = loaded(APP);
    assert!(loaded.warnings.is_empty());
    let settings = loaded.settings;
    let listeners: Vec<_> = settings.proxy.listeners.iter().map(|l| l.address.to_string()).collect();
    assert_eq!(listeners, ["127.0.0.1:8080"]);
    assert_eq!(settings.admin.address.to_string(), "127.0.0.1:8081");
    assert_eq!(settings.limits, Limits::default());
    assert_eq!(settings.upstream.timeouts, Timeouts::default());
    assert!(settings.callers.is_empty() && !settings.proxy.access_log && !settings.metrics.per_account);
    assert_eq!((settings.log.level.as_str(), settings.log.format), ("info", LogFormat::Auto));
}

#[test]
fn every_door_and_limit_can_be_set() {
    let text = format!(
        "[proxy]\nlisten = [{{ env = \"ADDRESS\" }}, \"localhost:7001\", \"[::1]:7002\", \"127.0.0.1:0\", \"127.0.0.1:0\"]\n\
         allowed_hosts = [\"Gate.Internal\", \"[::1]\"]\nallowed_origins = [\"HTTPS://App.Example.com:443/\"]\naccess_log = true\n\
         [[proxy.listener]]\nlisten = \"127.0.0.1:7003\"\napp = \"good\"\naccount = \"default\"\n\
         [admin]\nlisten = \"[::1]:7004\"\n\
         [upstream]\nproxy_url = {{ env = \"FORWARD_PROXY\" }}\ntimeouts = {{ connect = \"500ms\", token_wait = \"1m\" }}\n\
         limits = {{ connections = 2, queue = 0, replay_body = \"1MiB\" }}\n\
         [limits]\nhead = \"16KiB\"\nheaders = 0x10\nbody = 1_000\nconnections = 5\n\
         [metrics]\nper_account = true\n[log]\nlevel = \"info,marketgate=debug\"\nformat = \"json\"\n{APP}"
    );
    let settings = loaded(&text).settings;
    let addresses: Vec<_> = settings.proxy.listeners.iter().map(|l| l.address.to_string()).collect();
    let expected =
        ["127.0.0.1:7000", "127.0.0.1:7001", "[::1]:7002", "127.0.0.1:0", "127.0.0.1:0", "127.0.0.1:7003"];
    assert_eq!(addresses, expected);
    let fixed = FixedRoute { app: "good".parse().unwrap(), account: Some("default".parse().unwrap()) };
    assert_eq!(settings.proxy.listeners[5].fixed, Some(fixed));
    assert_eq!(settings.proxy.allowed_hosts, ["gate.internal", "::1"]);
    assert_eq!(settings.proxy.allowed_origins, ["https://app.example.com"]);
    let proxy = settings.upstream.proxy_url.unwrap();
    assert_eq!((proxy.host.as_str(), proxy.port), ("egress", 3128));
    assert_eq!(proxy.authorization.unwrap().expose(), "Basic dXNlcjpwQHNz");
    assert_eq!(settings.upstream.timeouts.connect, Duration::from_millis(500));
    assert_eq!(settings.upstream.timeouts.head, Duration::from_secs(60));
    assert_eq!(settings.upstream.limits.replay_body, 1 << 20);
    let limits = Limits { head: 16 << 10, headers: 16, body: Some(1000), connections: 5 };
    assert_eq!(settings.limits, limits);
    assert_eq!(settings.log.format, LogFormat::Json);
}

#[test]
fn only_listeners_of_their_own_may_be_open() {
    let text =
        format!("[proxy]\nlisten = []\n[[proxy.listener]]\nlisten = \"127.0.0.1:1\"\napp = \"good\"\n{APP}");
    assert_eq!(loaded(&text).settings.proxy.listeners.len(), 1);
}

#[test]
fn a_door_open_to_other_machines_starts_when_callers_have_keys() {
    let digest = secret::sha256("k2").iter().map(|byte| format!("{byte:02X}")).collect::<String>();
    let text = format!(
        "[proxy]\nlisten = \"0.0.0.0:8080\"\n[callers.job]\nkey = {{ env = \"SECRET\" }}\n[callers.other]\nsha256 = \"{digest}\"\n{APP}"
    );
    let callers = loaded(&text).settings.callers;
    assert_eq!(callers.len(), 2);
    assert_eq!((callers[0].name.as_str(), callers[0].key_sha256), ("job", secret::sha256("a-secret")));
    assert_eq!(callers[1].key_sha256, secret::sha256("k2"));
}

#[test]
fn an_app_with_its_own_credentials_has_a_default_account_beside_the_others() {
    let text = "[apps.w]\nprovider = \"walmart-marketplace\"\nenvironment = \"sandbox\"\nclient_id = \"id\"\n\
                client_secret = [\"new\", { env = \"SECRET\" }]\nmarket = \"us\"\nsettings = { region = \"eu\" }\n\
                headers = { x-region = \"{region}\" }\nsandbox = true\n\
                [apps.w.accounts.ca]\nmarket = \"ca\"\npartner_id = 10000001\nsettings = { region = \"na\" }\n\
                [apps.w.accounts.own]\nclient_id = \"own\"\nclient_secret = { env = \"SECRET\" }\n";
    let loaded = loaded(text);
    let app = app(&loaded, "w");
    assert_eq!(
        app.accounts.keys().map(crate::names::AccountName::as_str).collect::<Vec<_>>(),
        ["ca", "default", "own"]
    );
    assert_eq!(client(app, "default"), ("id".to_owned(), vec!["new".to_owned(), "a-secret".to_owned()]));
    assert_eq!(client(app, "ca").0, "id");
    assert_eq!(client(app, "own"), ("own".to_owned(), vec!["a-secret".to_owned()]));
    let setting = |account: &str, name: &str| app.accounts[account].setting(name).unwrap().into_owned();
    assert_eq!((setting("default", "market"), setting("ca", "market")), ("us".into(), "ca".into()));
    assert_eq!((setting("own", "region"), setting("ca", "region")), ("eu".into(), "na".into()));
    assert_eq!((setting("ca", "partner_id"), setting("ca", "sandbox")), ("10000001".into(), "true".into()));
    // One literal secret, one warning, though three accounts read it or stand beside it.
    assert_eq!(loaded.warnings.len(), 1);
    let warning = &loaded.warnings[0];
    assert_eq!((warning.line, warning.column), (Some(5), Some(18)));
    assert!(warning.hint.as_deref().unwrap().contains("{ env = \"NAME\" }"));
}

#[test]
fn credentials_per_account_make_no_default_account() {
    let text = "[apps.w]\nprovider = \"walmart-marketplace\"\nenvironment = \"simulator\"\ncredentials = \"per-account\"\n\
                simulator = \"http://127.0.0.1:7090/\"\n\
                [apps.w.accounts.a]\nclient_id = \"a\"\nclient_secret = { env = \"SECRET\" }\n\
                [apps.w.accounts.b]\nclient_id = \"b\"\nclient_secret = { env = \"SECRET\" }\n";
    let loaded = loaded(text);
    let app = app(&loaded, "w");
    assert_eq!(app.accounts.len(), 2);
    assert!(app.implicit_account().is_none());
    assert_eq!(app.api().to_string(), "http://127.0.0.1:7090/walmart-marketplace");
}

#[test]
fn a_static_key_needs_no_token_endpoint() {
    let shop =
        "[apps.shop]\nprovider = \"depop\"\nenvironment = \"production\"\napi_key = { env = \"SECRET\" }\n";
    let one = loaded(shop);
    assert_eq!(app(&one, "shop").profile.grant, GrantKind::Static);
    assert!(matches!(app(&one, "shop").accounts["default"].credentials, Credentials::Key(_)));
    let shops = "[apps.shops]\nprovider = \"depop\"\nenvironment = \"staging\"\ncredentials = \"per-account\"\n\
                 [apps.shops.accounts.a]\napi_key = { env = \"SECRET\" }\n";
    assert_eq!(app(&loaded(shops), "shops").accounts.len(), 1);
}

#[test]
fn a_generic_app_says_everything_itself() {
    let text = "[apps.other]\nprovider = \"generic\"\ngrant = \"client_credentials\"\napi = \"https://api.example.com/v2\"\n\
                token_url = \"https://auth.example.com/token\"\nclient_auth = \"body\"\nclient_id = \"id\"\n\
                client_secret = { env = \"SECRET\" }\nscopes = [\"a\", \"b\"]\nscope_separator = \",\"\n\
                token_header = \"X-Token\"\ntoken_prefix = \"Token \"\nheaders = { x-api-key = \"{client_id}\" }\n\
                token_request_headers = { accept = \"*/*\" }\ntoken_request_params = { audience = \"all\" }\n\
                token_budget = \"10/1s\"\nrefresh_at = 0.5\nreplay = \"off\"\n";
    let loaded = loaded(text);
    let profile = &app(&loaded, "other").profile;
    let endpoint = profile.token_endpoint.as_ref().unwrap();
    assert_eq!(endpoint.scope.as_deref(), Some("a,b"));
    assert_eq!((endpoint.client_auth, endpoint.params.len()), (ClientAuth::Body, 1));
    assert_eq!(
        (profile.token_prefix.as_str(), profile.replay, profile.refresh_at),
        ("Token ", Replay::Off, 0.5)
    );
    assert_eq!(profile.headers.len(), 1);
}

#[test]
fn files_are_looked_for_beside_the_configuration() {
    let directory = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(directory.path().join(name), text).unwrap();
    write("secret", "from-file\n");
    write("two", "one\ntwo\n");
    let ca = rcgen::generate_simple_self_signed(["ca.test".to_owned()]).unwrap();
    write("ca.pem", &ca.cert.pem());
    let text = |file: &str| {
        format!(
            "[upstream]\nca_file = \"ca.pem\"\n[callers.job]\nkey = {{ file = \"secret\" }}\n\
             [apps.w]\nprovider = \"walmart-supplier\"\nenvironment = \"production\"\nclient_id = \"id\"\nclient_secret = {{ file = \"{file}\" }}\n"
        )
    };
    let good = read_in(directory.path(), &text("secret")).unwrap();
    assert_eq!(client(app(&good, "w"), "default").1, ["from-file"]);
    assert_eq!(good.settings.callers[0].key_sha256, secret::sha256("from-file"));
    assert_eq!(good.settings.upstream.ca_file.as_deref(), Some(directory.path().join("ca.pem").as_path()));
    let bad = read_in(directory.path(), &text("two")).unwrap_err().to_string();
    assert!(
        bad.contains("proxy.toml:9:26: app `w`: the secret file") && bad.contains("as one line of text"),
        "{bad}"
    );
}

#[test]
fn a_password_in_the_file_earns_a_warning() {
    let loaded = loaded(&format!("{APP}[upstream]\nproxy_url = \"http://user:pass@egress:3128\"\n"));
    assert_eq!(loaded.warnings.len(), 1);
    assert!(loaded.warnings[0].message.contains("`proxy_url` holds a password"));
}

#[test]
fn capacity_is_calls_times_the_time_between_refreshes() {
    let text = format!(
        "{APP}token_budget = \"100/1m\"\nrefresh_at = 0.5\n[apps.good.accounts.b]\nmarket = \"us\"\n\
         [apps.other]\nprovider = \"generic\"\nenvironment = \"simulator\"\nclient_id = \"id\"\nclient_secret = {{ env = \"SECRET\" }}\ntoken_budget = \"1/1s\"\n\
         [apps.twin]\nprovider = \"walmart-supplier\"\nenvironment = \"simulator\"\nclient_id = \"id\"\nclient_secret = {{ env = \"SECRET\" }}\ntoken_budget = \"100/1m\"\n"
    );
    let all = capacity(&loaded(&text).settings);
    assert_eq!(all.len(), 2, "{all:?}");
    assert_eq!((all[0].accounts, all[0].carries), (1, None));
    // 100 calls a minute, one every 450 s for each account; the twin would carry more and shares the endpoint.
    assert_eq!((all[1].accounts, all[1].carries), (3, Some(750)));
    assert!(all[1].endpoint.ends_with("/walmart-supplier/v3/token"));
}

#[test]
fn wallapops_budget_carries_about_120_busy_sellers() {
    assert_eq!(crate::config::capacity::busy_accounts("174/5m".parse().unwrap(), 300, 0.7), 121);
}
