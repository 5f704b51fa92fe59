//! Secrets stay out of every finding, whatever is wrong with the file.

use proptest::test_runner::{Config, RngSeed};

use super::{APP, read};

/// Whatever is rendered of the text, the marker is not in it.
fn rendered(text: &str) -> String {
    match read(text) {
        Ok(loaded) => loaded.warnings.iter().map(|warning| warning.render(false) + "\n").collect(),
        Err(error) => {
            let json = serde_json::to_string(error.findings()).unwrap();
            format!("{}\n{}\n{error}\n{json}\n{error:?}", error.render(false), error.render(true))
        }
    }
}

#[test]
fn no_finding_shows_a_secret() {
    let app =
        "[apps.a]\nprovider = \"walmart-marketplace\"\nenvironment = \"production\"\nclient_id = \"id\"\n";
    let depop = "[apps.d]\nprovider = \"depop\"\nenvironment = \"production\"\n";
    let consenting = "[apps.w]\nprovider = \"wallapop\"\nclient_id = \"id\"\nclient_secret = \"marker\"\n";
    let broken = [
        // A literal secret earns a warning at its place.
        format!("{app}client_secret = \"marker\""),
        format!("{app}client_secret = 'marker'"),
        format!("{app}client_secret = [\"marker\", \"marker\\n\"]"),
        format!("{app}client_secret = \"\"\"\nmarker\nmarker\"\"\"\nx = 1"),
        format!("{app}client_secret = '''\nmarker''', oops = 1"),
        // Something else is wrong on its line.
        format!("{app}client_secret = {{ literal = \"marker\" }}"),
        format!("{app}client_secret = {{ env = \"marker\" }}"),
        format!("{app}client_secret = {{ env = \"Marker marker\" }}"),
        format!("{app}client_secret = [\"marker\", 1] # marker"),
        format!("{app}client_secret = \"marker\" \"marker\""),
        // The quotes are wrong.
        format!("{app}client_secret = marker"),
        format!("{app}client_secret = marker=="),
        format!("{app}client_secret = marker.marker-marker=marker"),
        format!("{app}client_secret = \"marker"),
        format!("{app}client_secret = marker\""),
        format!("{app}client_secret = \"mar\"ker marker\"# marker"),
        format!("{app}client_secret = \"\"\"marker\nmarker"),
        format!("{app}client_secret = \"marker\\q\""),
        format!("{app}client_secret \"marker\""),
        format!("{app}client_secret: \"marker\""),
        format!("{app}client_secret: marker"),
        format!("{app}client_secret =\n\"marker\""),
        format!("{app}client_secret =\nmarker"),
        format!("{app}client_secret =\nmarker=="),
        format!("{app}client_secret =\nmarker.marker=="),
        format!("{app}client_secret = [\nmarker=\n]"),
        format!("{app}market = \"us\" client_secret = \"marker\""),
        format!("{app}market = \"us\"client_secret = \"marker\""),
        format!("{app}refresh_at = 0.7 client_secret = \"marker\""),
        format!("{app}scopes = [\"a\"] client_secret = \"marker\""),
        format!("{app}scopes = [\"a\" client_secret = \"marker\"]"),
        format!("{app}settings = {{ x = 1 }} client_secret = \"marker\""),
        format!("{app}accounts = {{ a = {{ client_id = \"a\" client_secret = \"marker\" }} }}"),
        format!("{app}accounts = {{ a = {{ client_secret =\n\"marker\" }} }}"),
        format!("{app}client_secret = [\n\"marker\",\nmarker\n]"),
        format!("{app}client_secret = [\"marker\"\nx = \"y\""),
        format!("{app}scopes = [\"a\"\nclient_secret = \"marker\"\n"),
        // The key is misspelt, or stands in the wrong place.
        format!("{app}client_sercet = \"marker\""),
        format!("{app}client_sercet = 4marker"),
        format!("{app}password = \"marker\""),
        format!("client_secret = \"marker\"\n{app}"),
        format!("[proxy]\napi_key = \"marker\"\n{app}"),
        format!("{app}accounts.s.client_secret = \"marker\"\naccounts.s.x = \"marker\""),
        format!("{app}accounts = {{ s = {{ client_secret = \"marker\", x = \"marker\" }} }}"),
        format!("{depop}api_key = \"marker ü\""),
        format!("{depop}api_key = \"marker\\u0007\""),
        format!("{depop}api_key = \"marker\"\nclient_id = \"id\""),
        // Headers and parameters may hold keys.
        format!("{app}headers = {{ x-api-key = \"marker{{\" }}"),
        format!("{app}headers = {{ x-api-key = \"marker{{x}}\" }}"),
        format!("{app}token_request_params = {{ audience = \"marker}}\" }}"),
        // So may URLs.
        format!("{APP}[upstream]\nproxy_url = \"http://marker:marker@egress:3128\""),
        format!("{APP}[upstream]\nproxy_url = \"https://user:marker@egress:3128\""),
        format!("{APP}[upstream]\nproxy_url = \"user:marker@egress:3128\""),
        format!("{APP}[upstream]\nproxy_url = \"http://user:mar\\u006ber@egress:3128\""),
        format!("{APP}[upstream]\nproxy_url = \"http://user:marker@egress:port\""),
        format!("{APP}[upstream]\nproxy_url = \"http://user:marker egress:3128\""),
        format!("{APP}[upstream]\nproxy_url = \"user:marker\""),
        format!("{app}api = \"https://user:marker@mock.test\"\ntoken_url = \"https://marker@mock.test\""),
        format!("{app}api = \"https://user:marker@\"\ntoken_url = \"://marker@[\""),
        format!("{app}environment = \"simulator\"\nsimulator = \"http://marker:marker@x\""),
        // And keys of callers.
        format!("{APP}[callers.a]\nkey = \"marker\"\n[callers.b]\nkey = \"marker\""),
        format!("{APP}[callers.a]\nsha256 = \"marker\""),
        format!("{APP}[callers.a]\nkye = \"marker\""),
        format!("{APP}[callers]\na = \"marker\""),
        // And of the admin door and the store.
        format!("{APP}[admin]\nkeys = \"marker\""),
        format!("{APP}[admin]\nkeys = [\"marker\"]"),
        format!("{APP}[admin]\nkeys.ops = \"marker\""),
        format!("{APP}[admin]\nkeys.ops = {{ sha256 = \"marker\", allow = [] }}"),
        format!("{APP}[admin]\nkeys.ops = {{ key = \"marker\", allow = [\"all\"] }}"),
        format!("{APP}[admin.keys]\nops.kye = \"marker\""),
        format!("{APP}[store]\nkey = \"marker\""),
        format!("{APP}[store]\nkey = {{ env = \"marker\" }}"),
        format!("{APP}[store]\nkey = {{ literal = \"marker\" }}"),
        format!("{APP}[store]\nold_keys = \"marker\""),
        format!("{APP}[store]\nold_keys = [\"marker\", {{ env = \"marker\" }}, 1]"),
        format!("{APP}[store]\nold_keys = [\n\"marker\",\nmarker\n]"),
        format!("{APP}[store]\nold_key = [\"marker\"]"),
        // A redirect address may hold a password by mistake.
        format!("{consenting}redirect_uri = \"https://user:marker@yourapp.com\""),
        format!("{consenting}redirect_uri = \"user:marker\""),
        format!("{consenting}authorize_url = \"https://user:marker@yourapp.com\"\nredirect_uri = \"x\""),
    ];
    for text in broken {
        let rendered = rendered(&text);
        assert!(rendered.contains("proxy.toml"), "something is said of\n{text}");
        assert!(!rendered.contains("marker") && !rendered.contains("mar\\"), "{text}\nsays\n{rendered}");
    }
}

proptest::proptest! {
    #![proptest_config(Config { cases: 2000, rng_seed: RngSeed::Fixed(8080), failure_persistence: None, ..Config::default() })]

    /// A slip of the hand anywhere in the file: characters lost, characters too many.
    #[test]
    fn no_slip_shows_a_secret_or_stops_the_reader(
        at in 0.0..1.0f64,
        lost in 0..10usize,
        more in "[\"'#=\\[\\]{},.\n\\\\ aä]{0,3}",
    ) {
        let text = "[upstream]\nproxy_url = \"http://user:marker@egress:3128\"\n\n[callers.sync-job]\n\
            sha256 = \"marker\"\n\n[admin]\nkeys.ops = { sha256 = \"marker\", allow = [\"accounts:read\"] }\n\n[store]\npath = \"gate.db\"\n\
            key = \"marker\"\nold_keys = [\"marker\", { env = \"UNSET\" }]\n\n[apps.walmart]\nprovider = \"walmart-marketplace\"\nenvironment = \"production\"\n\
            client_id = \"ä\"\nclient_secret = [\"marker\", 'marker', { env = \"UNSET\" }]\nheaders = { x-api-key = \"marker{\" }\n\n\
            [apps.shop]\nprovider = \"depop\"\nenvironment = \"production\"\napi_key = \"\"\"\nmarker\nmarker\"\"\"\n\
            accounts = { a = { api_key = \"marker\" } }\nredirect_uri = \"https://user:marker@yourapp.com/\"\n";
        let chars: Vec<char> = text.chars().collect();
        let start = (at * chars.len() as f64) as usize;
        let end = (start + lost).min(chars.len());
        let slipped: String = chars[..start].iter().copied().chain(more.chars()).chain(chars[end..].iter().copied()).collect();
        let rendered = rendered(&slipped);
        proptest::prop_assert!(!rendered.contains("marker"), "{slipped}\nsays\n{}", read(&slipped).err().map(|error| error.render(false)).unwrap_or_default());
    }
}

#[test]
fn what_is_no_secret_is_shown_beside_one() {
    let text = "[apps.a]\nprovider = \"walmart-supplier\"\nenvironment = \"sandbox\"\nclient_secret = { env = \"WALMART_SECRET\" } # note\n\
                api = \"https://user:marker@mock.test\" # note\naccounts = { s = { api_key = \"marker\", markt = 1 } }\n";
    let rendered = rendered(text);
    for shown in [
        "4 | client_secret = { env = \"WALMART_SECRET\" }\n",
        "5 | api = \"https://…@mock.test\"\n",
        "6 | accounts = { s = { api_key = \"…\", markt = … } }\n",
        // The column is that of the file, though the excerpt is shorter.
        "proxy.toml:6:40\n",
    ] {
        assert!(rendered.contains(shown), "{shown} is not in\n{rendered}");
    }
}

#[test]
fn a_caret_stays_under_what_it_points_at_behind_a_mask() {
    let text = format!("{APP}accounts = {{ s = {{ api_key = \"a long secret\", oops = 2 }} }}\n");
    let rendered = rendered(&text);
    let lines: Vec<&str> = rendered.lines().collect();
    let title = lines.iter().position(|line| line.contains("unknown key `oops`")).unwrap();
    let (source, caret) = (lines[title + 3], lines[title + 4]);
    let column = |line: &str, what: &str| line.find(what).map(|at| line[..at].chars().count());
    assert_eq!(column(source, "oops"), column(caret, "^"), "{source}\n{caret}");
}
