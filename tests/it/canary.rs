//! One sweep over everything the program says, at the most talkative log level: no secret, in no spelling.

use base64::{
    Engine,
    prelude::{BASE64_STANDARD_NO_PAD, BASE64_URL_SAFE_NO_PAD},
};
use marketgate::sim::Fault;

use crate::{
    certificates::{Authority, Leaf, Secured},
    program::{Program, Said, command, ended, exchange, free_ports, get},
    spellings,
};

const CLIENT_SECRET: &str = "canary-client-1-secret";
const FILE_SECRET: &str = "canary-client-2-secret";
const LITERAL_SECRET: &str = "canary-client-3-secret";
const ODD_SECRET: &str = "c&nary/odd+s%cret =\u{20ac}\"x";
const API_KEY: &str = "pak_canarykey4711";
const CALLER_KEY: &str = "mgk_canary-caller-key-0815";
const WRONG_KEY: &str = "mgk_canary-wrong-key-0816";
const PROXY_PASSWORD: &str = "canary-proxy-password";
const TOKEN: &str = "canary-token-31415926535897932384";
const COOKIE: &str = "canary-cookie-value";
const QUERY: &str = "canary-query-value";
const BODY: &str = "canary-body-value";

const SECRETS: [&str; 12] = [
    CLIENT_SECRET,
    FILE_SECRET,
    LITERAL_SECRET,
    ODD_SECRET,
    API_KEY,
    CALLER_KEY,
    WRONG_KEY,
    PROXY_PASSWORD,
    TOKEN,
    COOKIE,
    QUERY,
    BODY,
];

fn finds(text: &str) -> Vec<String> {
    spellings::finds(text, &SECRETS)
}

#[test]
fn the_sweep_finds_what_it_looks_for() {
    for text in [
        format!("Authorization: Bearer {TOKEN}"),
        BASE64_STANDARD_NO_PAD.encode(format!("client:{CLIENT_SECRET}")),
        BASE64_STANDARD_NO_PAD.encode(format!("a:{CLIENT_SECRET} and more")),
        BASE64_URL_SAFE_NO_PAD.encode(format!("ab:{API_KEY}")),
        format!("{:?}", TOKEN.as_bytes()),
        format!("{ODD_SECRET:?}"),
        "client_secret=c%26nary%2Fodd%2Bs%25cret+%3D%E2%82%AC%22x".to_owned(),
        "63616e6172792d746f6b656e2d3331343135393236353335383937393332333834".to_owned(),
    ] {
        assert!(!finds(&text).is_empty(), "{text}");
    }
    assert!(finds("nothing of the kind, canary or not").is_empty());
}

fn configuration(origin: &str, proxy: u16, admin: u16) -> String {
    let client = |name: &str, more: &str| {
        format!(
            "[apps.{name}]\nprovider = \"generic\"\napi = \"{origin}/generic/api\"\ntoken_url = \"{origin}/generic/oauth/token\"\n{more}\n"
        )
    };
    let apps = [
        client(
            "env",
            "client_id = \"canary-client-1\"\nclient_secret = { env = \"CANARY\" }\nheaders = { x-both = \"{client_secret}\" }",
        ),
        client(
            "file",
            "client_id = \"canary-client-2\"\nclient_secret = { file = \"secret\" }\nclient_auth = \"body\"",
        ),
        client("literal", &format!("client_id = \"canary-client-3\"\nclient_secret = \"{LITERAL_SECRET}\"")),
        client("odd", "client_id = \"odd\"\nclient_secret = { file = \"odd\" }"),
        client("odder", "client_id = \"odd\"\nclient_secret = { file = \"odd\" }\nclient_auth = \"body\""),
        client("issued", "client_id = \"issued\"\nclient_secret = \"issued-secret\""),
        format!(
            "[apps.depop]\nprovider = \"depop\"\nenvironment = \"simulator\"\napi = \"{origin}/depop\"\ntoken_url = \"{origin}/depop/api/v1/oauth2/access-token/\"\napi_key = \"{API_KEY}\"\n"
        ),
    ];
    format!(
        "[proxy]\nlisten = \"127.0.0.1:{proxy}\"\naccess_log = true\n[admin]\nlisten = \"127.0.0.1:{admin}\"\n\
         [upstream]\nca_file = \"ca.pem\"\nproxy_url = \"http://user:{PROXY_PASSWORD}@127.0.0.1:1\"\n\
         timeouts = {{ token_wait = \"700ms\" }}\n\
         [log]\nlevel = \"trace\"\nformat = \"json\"\n[metrics]\nper_account = true\n\
         [callers.sync]\nkey = \"{CALLER_KEY}\"\n{}",
        apps.concat()
    )
}

/// Everything a token endpoint could say that repeats what it was sent.
fn echoes(sim: &marketgate::sim::Simulator) {
    let pair = BASE64_STANDARD_NO_PAD.encode(format!("odd:{ODD_SECRET}"));
    let form: String = url::form_urlencoded::byte_serialize(ODD_SECRET.as_bytes()).collect();
    let words = format!("client_secret={ODD_SECRET} or {form} in Basic {pair} is wrong");
    let body = serde_json::json!({ "error": "invalid_client", "error_description": words }).to_string();
    for status in [400, 401, 500, 200] {
        let answer =
            Fault::TokenAnswer { status, content_type: "application/json".to_owned(), body: body.clone() };
        sim.add_fault(answer.at("generic").on_token());
    }
    let html = Fault::TokenAnswer {
        status: 200,
        content_type: "text/html".to_owned(),
        body: format!("<p>{words}</p>"),
    };
    sim.add_fault(html.at("generic").on_token());
}

/// Good and bad requests; what is kept are the answers of the program's own.
fn converse(proxy: std::net::SocketAddr, sim: &marketgate::sim::Simulator) -> String {
    let mut own = String::new();
    let mut ask = |request: String| {
        let answer = exchange(proxy, &request);
        if answer.contains("application/problem+json") || answer.starts_with("HTTP/1.1 400") {
            own.push_str(&answer);
        } else if let Some((head, _)) = answer.split_once("\r\n\r\n") {
            own.push_str(head);
        }
        answer
    };
    let to = |method: &str, path: &str, fields: &str, body: &str| {
        format!(
            "{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{fields}Content-Length: {}\r\n\r\n{body}",
            body.len()
        )
    };
    let key = format!("Marketgate-Key: {CALLER_KEY}\r\nCookie: session={COOKIE}\r\n");
    let bearer = format!("Authorization: Bearer {CALLER_KEY}\r\n");
    let target = |app: &str| format!("/{app}/x?api_key={QUERY}");
    for app in ["env", "file", "literal"] {
        for fields in [&key, &bearer] {
            let answer = ask(to("POST", &target(app), fields, BODY));
            assert!(answer.starts_with("HTTP/1.1 200"), "{app}: {answer}");
        }
    }
    assert!(ask(to("GET", "/depop/api/v1/shop/", &key, "")).starts_with("HTTP/1.1 200"));
    let issued =
        serde_json::json!({ "access_token": TOKEN, "token_type": "Bearer", "expires_in": 900 }).to_string();
    sim.add_fault(
        Fault::TokenAnswer { status: 200, content_type: "application/json".to_owned(), body: issued }
            .at("generic")
            .on_token(),
    );
    assert!(ask(to("GET", &target("issued"), &key, "")).starts_with("HTTP/1.1 401"));
    echoes(sim);
    for app in ["odd", "odder", "odd", "odder", "odd"] {
        assert!(ask(to("GET", &target(app), &key, "")).starts_with("HTTP/1.1 503"));
    }
    sim.clear_faults();
    for fault in [Fault::Reset {}, Fault::Cut { after_bytes: 30 }] {
        sim.add_fault(fault.at("generic").on_api());
        ask(to("POST", &target("env"), &key, BODY));
    }
    sim.add_fault(Fault::Revoke {}.at("generic").on_api());
    ask(to("POST", &target("literal"), &key, BODY));
    for fields in
        ["", &format!("Marketgate-Key: {WRONG_KEY}\r\n"), &format!("Authorization: Bearer {WRONG_KEY}\r\n")]
    {
        assert!(ask(to("GET", &target("env"), fields, "")).starts_with("HTTP/1.1 401"));
    }
    for path in [target("nope"), format!("/env/../x?k={QUERY}"), format!("/env@other/x?k={QUERY}")] {
        ask(to("GET", &path, &key, ""));
    }
    ask(format!("GET {} HTTP/1.1\r\nHost: localhost\r\nHost: x\r\n{key}\r\n", target("env")));
    ask(to("GET", &target("env"), &format!("{key}Origin: https://evil.test\r\n"), ""));
    ask(to("GET", &target("env"), &format!("{key}Marketgate-Account: {}\r\n", "a/b"), ""));
    own
}

#[test]
fn no_secret_stands_in_anything_the_program_says() {
    for protocols in [&["h2"][..], &["http/1.1"]] {
        let (folder, authority) = (tempfile::tempdir().unwrap(), Authority::new());
        let market = Secured::start(authority.server(Leaf::Good, protocols));
        let [proxy, admin] = free_ports();
        let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
        write("ca.pem", &authority.pem);
        write("secret", &format!("{FILE_SECRET}\n"));
        write("odd", ODD_SECRET);
        write("proxy.toml", &configuration(&market.origin, proxy, admin));
        let command = |arguments: &[&str]| {
            let mut command = command(folder.path(), arguments);
            command.env("CANARY", CLIENT_SECRET).env("SSLKEYLOGFILE", folder.path().join("keys.log"));
            command
        };
        let program = Program::begin(command(&["run"]));
        program.mentions("started");
        let local = |port| std::net::SocketAddr::from(([127, 0, 0, 1], port));
        let mut all = vec![("answers", converse(local(proxy), &market.sim))];
        for path in ["/metrics", "/api/accounts", "/api/accounts/odd/default", "/", "/nope"] {
            all.push(("the admin door", get(local(admin), path, "")));
        }
        let own = format!("Authorization: Bearer {COOKIE}");
        for arguments in [
            &["status"][..],
            &["status", "-o", "json"],
            &["check"],
            &["check", "-o", "json"],
            &["check", "--online"],
            &["explain", "GET", "/file/x", "-H", &own],
            &["explain", "GET", "/env/x", "-o", "json", "-H", &own],
            &["explain", "GET", "/depop/x"],
            &["wait", "odd", "--timeout", "300ms"],
            &["token", "odd"],
        ] {
            let Said { out, err, .. } = ended(command(arguments));
            all.push(("a command", format!("{out}\n{err}")));
        }
        let said = program.end("TERM");
        assert_eq!(said.code, Some(0));
        let levels = ["\"TRACE\"", "\"DEBUG\"", "\"INFO\""];
        assert!(levels.iter().all(|level| said.err.contains(level)), "nothing was logged");
        for line in said.err.lines().filter(|line| line.starts_with('{')) {
            serde_json::from_str::<serde_json::Value>(line).unwrap_or_else(|e| panic!("{e}: {line}"));
        }
        all.push(("stdout", said.out));
        all.push(("the log", said.err));
        assert!(!folder.path().join("keys.log").exists(), "TLS keys were written");
        let found: Vec<String> = all
            .iter()
            .flat_map(|(what, text)| finds(text).into_iter().map(move |f| format!("{what}: {f}")))
            .collect();
        assert!(found.is_empty(), "{found:#?}");
    }
}
