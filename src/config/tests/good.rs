//! Configurations that are right, and what becomes of them.

use std::{collections::BTreeMap, time::Duration};

use super::{APP, loaded, parse, read_in};
use crate::{
    config::{
        App, Credentials, capacity,
        settings::{FixedRoute, Limits, LogFormat, Permission, StoreKey, Timeouts},
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
    assert!(settings.store.is_none() && settings.admin.keys.is_empty());
    assert!(settings.callers.is_empty() && !settings.proxy.access_log && !settings.metrics.per_account);
    assert_eq!((settings.log.level.as_str(), settings.log.format), ("info", LogFormat::Auto));
}

#[test]
fn every_door_and_limit_can_be_set() {
    let text = format!(
        "[proxy]\nlisten = [{{ env = \"ADDRESS\" }}, \"localhost:7001\", \"[::1]:7002\", \"127.0.0.1:0\", \"127.0.0.1:0\"]\n\
         allowed_hosts = [\"Gate.Internal.\", \"my_gate\", \"[0:0::1]\"]\nallowed_origins = [\"HTTPS://App.Example.com:443/\"]\naccess_log = true\n\
         [[proxy.listener]]\nlisten = \"127.0.0.1:7003\"\napp = \"good\"\naccount = \"default\"\n\
         [admin]\nlisten = \"[::1]:7004\"\n\
         [upstream]\nproxy_url = {{ env = \"FORWARD_PROXY\" }}\ntimeouts = {{ connect = \"500ms\", token_wait = \"1m\" }}\n\
         limits = {{ connections = 2, queue = 0, replay_body = \"1MiB\" }}\n\
         [limits]\nhead = \"16KiB\"\nheaders = 0x10\nbody = 1_000\nconnections = 5\n\
         [metrics]\nper_account = true\n[log]\nlevel = \"info,marketgate=debug\"\nformat = \"json\"\n\
         [callers.sync]\nkey = {{ env = \"SECRET\" }}\n{APP}"
    );
    let settings = loaded(&text).settings;
    let addresses: Vec<_> = settings.proxy.listeners.iter().map(|l| l.address.to_string()).collect();
    let expected =
        ["127.0.0.1:7000", "127.0.0.1:7001", "[::1]:7002", "127.0.0.1:0", "127.0.0.1:0", "127.0.0.1:7003"];
    assert_eq!(addresses, expected);
    let fixed = FixedRoute { app: "good".parse().unwrap(), account: Some("default".parse().unwrap()) };
    assert_eq!(settings.proxy.listeners[5].fixed, Some(fixed));
    assert_eq!(settings.proxy.allowed_hosts, ["gate.internal", "my_gate", "::1"]);
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
    let all = capacity(&loaded(&text).settings, &BTreeMap::new());
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

/// An app whose sellers consent.
const WALLAPOP: &str =
    "[apps.wallapop]\nprovider = \"wallapop\"\nclient_id = \"id\"\nclient_secret = { env = \"SECRET\" }\n";

/// 32 zero bytes.
const ZEROS: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";

#[test]
fn an_app_whose_sellers_consent_has_a_client_and_no_account() {
    for uri in [
        "http://localhost:8082/callback",
        "http://127.0.0.1/",
        "http://[::1]:1?x=%2f",
        "https://YourApp.com:443/a/../b",
        "HTTPS://yourapp.com",
    ] {
        let loaded = loaded(&format!("{WALLAPOP}redirect_uri = \"{uri}\"\n"));
        assert!(loaded.warnings.is_empty(), "{:?}", loaded.warnings);
        let app = app(&loaded, "wallapop");
        assert_eq!(app.redirect_uri.as_deref(), Some(uri), "byte for byte");
        assert_eq!(app.profile.grant, GrantKind::AuthorizationCode);
        assert!(app.accounts.is_empty() && app.takes_accounts());
        let client = app.client.as_ref().unwrap();
        assert_eq!((client.id.as_str(), client.secrets.len()), ("id", 1));
    }
}

#[test]
fn a_redirect_address_is_missed_only_with_a_warning_since_import_does_without() {
    let loaded = loaded(WALLAPOP);
    let told: Vec<_> = loaded.warnings.iter().map(|w| (w.line, w.column, w.message.as_str())).collect();
    let message = "app `wallapop`: `redirect_uri` is missing: `marketgate login` needs it";
    assert_eq!(told, [(Some(1), Some(1), message)]);
    assert!(loaded.warnings[0].hint.as_ref().unwrap().contains("`marketgate import` does without"));
}

#[test]
fn a_public_client_has_no_secret_and_shows_none() {
    let text = "[apps.etsy]\nprovider = \"generic\"\ngrant = \"authorization_code\"\napi = \"https://api.test\"\n\
                token_url = \"https://auth.test/t\"\nauthorize_url = \"https://auth.test/a\"\nclient_id = \"keystring\"\n\
                pkce = true\nreuse_window = \"3s\"\nredirect_uri = \"https://yourapp.com/\"\nheaders = { x-api-key = \"{client_id}\" }\n";
    let loaded = loaded(text);
    let client = app(&loaded, "etsy").client.as_ref().unwrap();
    assert!(client.secrets.is_empty());
    assert!(
        matches!(client.credentials(), Credentials::Client { id, secrets } if id == "keystring" && secrets.len() == 1 && secrets[0].read().unwrap().expose().is_empty())
    );
}

#[test]
fn a_store_is_there_when_it_is_asked_for_or_an_app_cannot_do_without() {
    let per_account = "[apps.w]\nprovider = \"walmart-supplier\"\nenvironment = \"simulator\"\ncredentials = \"per-account\"\n";
    let own = "[apps.w.accounts.a]\nclient_id = \"a\"\nclient_secret = { env = \"SECRET\" }\n";
    let store = |text: &str| loaded(text).settings.store;
    assert!(store(APP).is_none());
    assert!(store(&format!("{per_account}{own}")).is_none());
    assert!(store(&format!("[store]\n{APP}")).is_some());
    assert!(store(WALLAPOP).is_some());
    let needed = store(per_account).unwrap();
    // No variable of these tests names a directory.
    assert_eq!(needed.path, std::path::Path::new("/var/lib/marketgate/marketgate.db"));
    assert!(matches!(needed.key, StoreKey::File(path) if path.ends_with("marketgate/marketgate.key")));
    assert!(needed.old_keys.is_empty() && needed.wait_for_lock == Duration::from_secs(60));
    assert!(app(&loaded(per_account), "w").takes_accounts());
    assert!(!app(&loaded(APP), "good").takes_accounts());
}

#[test]
fn accounts_with_credentials_of_their_own_need_no_consent_though_the_marketplace_has_it_first() {
    let shops = loaded(
        "[apps.shops]\nprovider = \"depop\"\nenvironment = \"staging\"\ncredentials = \"per-account\"\n",
    );
    let app = app(&shops, "shops");
    assert_eq!((app.profile.grant, app.per_account, app.client.is_none()), (GrantKind::Static, true, true));
}

#[test]
fn everything_of_the_store_can_be_said() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    std::fs::write(path("old"), format!("{ZEROS}\n")).unwrap();
    let read = |text: &str| read_in(directory.path(), &format!("[store]\n{text}\n{APP}")).unwrap();
    let loaded = read("path = \"sub/gate.db\"\nold_keys = { file = \"old\" }\nwait_for_lock = \"0s\"");
    assert!(loaded.warnings.is_empty());
    let store = loaded.settings.store.unwrap();
    assert_eq!(store.path, path("sub/gate.db"));
    assert!(
        matches!(store.key, StoreKey::File(key) if key == path("sub/marketgate.key")),
        "beside the database"
    );
    assert_eq!(store.old_keys[0].read().unwrap().expose(), ZEROS);
    assert_eq!(store.wait_for_lock, Duration::ZERO);
    let to_be = read("key = { file = \"not-yet\" }").settings.store.unwrap();
    assert!(matches!(to_be.key, StoreKey::File(key) if key == path("not-yet")));
    let literal = read(&format!("key = \"{ZEROS}\"\nold_keys = []"));
    assert!(literal.warnings[0].message.contains("`key` stands in the file for everyone who reads it"));
    assert!(matches!(literal.settings.store.unwrap().key, StoreKey::Fixed(key) if key.expose() == ZEROS));
}

#[test]
fn a_name_that_sqlite_would_read_otherwise_is_a_file_like_any_other() {
    for name in [":memory:", "file:x?mode=memory"] {
        let text = format!("[store]\npath = \"{name}\"\n{APP}");
        let store = read_in(std::path::Path::new(""), &text).unwrap().settings.store.unwrap();
        assert!(store.path.is_absolute() && store.path.ends_with(name), "{:?}", store.path);
    }
}

#[test]
fn admin_keys_open_the_admin_door_to_other_machines_for_what_they_allow() {
    let digest = "0".repeat(64);
    let text = format!(
        "[admin]\nlisten = \"0.0.0.0:8081\"\nkeys.ops = {{ sha256 = \"{digest}\", allow = [\"accounts:write\"] }}\n\
         [admin.keys.backend]\nkey = {{ env = \"SECRET\" }}\nallow = [\"consents:write\", \"accounts:export\"]\n{APP}"
    );
    let keys = loaded(&text).settings.admin.keys;
    let key = |name: &str| keys.iter().find(|key| key.name == name).unwrap();
    let may = |name: &str| Permission::ALL.map(|permission| key(name).may(permission));
    assert_eq!(may("ops"), [true, true, false, true, false]);
    assert_eq!(may("backend"), [false, false, true, true, false]);
    assert_eq!(key("ops").sha256, [0; 32]);
    assert_eq!(key("backend").sha256, secret::sha256("a-secret"));
}

#[test]
fn an_account_from_elsewhere_has_its_settings_laid_over_the_apps() {
    let text = "[apps.w]\nprovider = \"walmart-marketplace\"\nenvironment = \"simulator\"\ncredentials = \"per-account\"\n\
                market = \"us\"\nsettings = { region = \"eu\", season = \"winter\" }\nheaders = { x = \"{region}\" }\n";
    let loaded = loaded(text);
    let app = app(&loaded, "w");
    assert_eq!(app.settings["market"], "us");
    let name = || "shop-42".parse().unwrap();
    let client = |id: &str| Credentials::Client {
        id: id.to_owned(),
        secrets: vec![crate::secret::SecretSource::Fixed(secret::Secret::new("s"))],
    };
    let settings = |pairs: &[(&str, &str)]| {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    };
    let good = settings(&[("market", "ca"), ("partner_id", "7"), ("season", "sömmer")]);
    let account = app.account_with(name(), client("id"), good).unwrap();
    assert_eq!(account.id.to_string(), "w@shop-42");
    let merged = settings(&[("market", "ca"), ("partner_id", "7"), ("region", "eu"), ("season", "sömmer")]);
    assert_eq!(account.settings, merged);
    let complaint = |credentials, pairs: &[(&str, &str)]| {
        app.account_with(name(), credentials, settings(pairs)).unwrap_err()
    };
    assert_eq!(
        complaint(client("id"), &[("markt", "us")]),
        "app `w` has no setting `markt`, did you mean `market`?"
    );
    assert_eq!(
        complaint(client("id"), &[("colour\n", "red")]),
        "app `w` has no setting `colour\\n` (known here: channel_type, global_version, market, partner_id, region, sandbox, season)"
    );
    let two = complaint(client("id"), &[("market", "ü"), ("season", "a\nb")]);
    assert!(
        two.contains("`season` holds a line break") && two.contains("`market` goes into a header"),
        "{two}"
    );
    let key = Credentials::Key(crate::secret::SecretSource::Fixed(secret::Secret::new("k")));
    assert_eq!(complaint(key, &[]), "app `w` with grant `client_credentials` needs a client's id and secret");
    let golocal = "[apps.g]\nprovider = \"walmart-golocal\"\nenvironment = \"simulator\"\ncredentials = \"per-account\"\n";
    let golocal = super::loaded(golocal);
    let wrong = golocal.settings.apps["g"].account_with(name(), client("ü"), settings(&[]));
    assert!(wrong.unwrap_err().contains("`client_id` goes into a header"));
}

#[test]
fn a_credential_into_which_something_slipped_earns_a_warning_that_names_it_and_not_the_value() {
    let folder = tempfile::tempdir().unwrap();
    for (value, said) in [
        ("\u{feff}s3cret", "byte order mark"),
        ("s3cret ", "ends with a space"),
        ("'s3cret'", "stands in quotes"),
        ("CLIENT_SECRET=s3cret", "begins with the name of a variable, `CLIENT_SECRET=`"),
        ("${CLIENT_SECRET}", "nothing has filled in"),
    ] {
        std::fs::write(folder.path().join("secret"), value).unwrap();
        let app = "[apps.a]\nprovider = \"walmart-supplier\"\nenvironment = \"simulator\"\n";
        let from_file = format!("{app}client_id = \"id\"\nclient_secret = {{ file = \"secret\" }}\n");
        let from_variable =
            format!("{app}client_id = {{ env = \"X\" }}\nclient_secret = {{ env = \"Y\" }}\n");
        let variable = |name: &str| Some(if name == "X" { value.to_owned() } else { "fine".to_owned() });
        for text in [from_file, from_variable] {
            let loaded = parse("proxy.toml", &text, folder.path(), &variable).unwrap();
            let [warning] = loaded.warnings.as_slice() else { panic!("{value}: {:?}", loaded.warnings) };
            assert!(warning.message.contains(said), "{value}: {}", warning.message);
            assert!(!format!("{warning:?}").contains("s3cret"), "{warning:?}");
        }
    }
}

#[test]
fn without_callers_a_door_on_loopback_may_be_called_by_its_own_names_alone() {
    let text = format!("[proxy]\nallowed_hosts = [\"LOCALHOST\", \"127.0.0.1\", \"[::1]\"]\n{APP}");
    assert_eq!(loaded(&text).settings.proxy.allowed_hosts, ["localhost", "127.0.0.1", "::1"]);
}
