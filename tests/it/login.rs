//! `marketgate login` as a person uses it: the built program, the simulated marketplaces, and a browser that is driven.

use std::net::{TcpListener, TcpStream};

use serde_json::{Value, json};

use crate::{
    harness::client,
    program::{Program, assert_silent, get},
    sellers::{CLIENT_SECRET, Desk, Market, block_on, decide, visit},
};

/// Nothing of a login may show these.
fn assert_no_secret(text: &str, callback: &str) {
    let code = url::Url::parse(callback).unwrap();
    let code = code.query_pairs().find(|(name, _)| name == "code").map(|(_, value)| value.into_owned());
    for secret in [Some(CLIENT_SECRET.to_owned()), code].into_iter().flatten() {
        assert!(!text.contains(&secret), "{text}");
    }
}

#[test]
fn a_seller_comes_back_to_the_login_itself_and_is_connected() {
    let mut desk = Desk::open();
    let (login, url) = desk.begin_login(&["wallapop@shop-7"]);
    login.mentions("Waiting for the seller");
    let callback = decide(&url, Some("shop-7"));
    assert!(
        callback.starts_with(&format!("http://localhost:{}/callback?", desk.callback.port())),
        "{callback}"
    );
    let page = visit(&callback);
    assert_eq!(page.status, 200, "{page:?}");
    assert!(page.text.contains("Connected") && page.text.contains("wallapop@shop-7"), "{page:?}");
    assert!(!page.url.contains("code=") && !page.url.contains("state="), "{}", page.url);
    let said = login.ended();
    assert_eq!(said.code, Some(0), "{}", said.err);
    for words in [
        "wallapop@shop-7 is connected, to ",
        "first API call: /items/limits answered 200",
        "access token: until",
    ] {
        assert!(said.out.contains(words), "{words}: {}", said.out);
    }
    assert_silent(desk.callback);
    let line = said.out.lines().find(|line| line.contains("curl")).unwrap();
    let target = line.split_once(&format!("{}", desk.proxy)).unwrap().1.trim_end_matches('\'').to_owned();
    assert!(get(desk.proxy, &target, "").starts_with("HTTP/1.1 200"), "{line}");
    let run = desk.close();
    assert_eq!(run.code, Some(0), "{}", run.err);
    for text in [&said.out, &said.err, &run.err, &page.text] {
        assert_no_secret(text, &callback);
    }
}

#[test]
fn the_login_answers_nothing_but_the_callback_it_waits_for() {
    let desk = Desk::open();
    let (login, url) = desk.begin_login(&["wallapop@shop-7"]);
    login.mentions("Waiting for the seller");
    let callback = decide(&url, Some("shop-7"));
    let query = callback.split_once('?').unwrap().1;
    let state = url::form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == "state").unwrap().1;
    for (path, status) in [
        ("/".to_owned(), "404"),
        ("/favicon.ico".to_owned(), "404"),
        (format!("/callback/?{query}"), "404"),
        (format!("/Callback?{query}"), "404"),
        ("/callback".to_owned(), "400"),
        ("/callback?code=x&state=mg_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA".to_owned(), "400"),
        (format!("/callback?{}", query.replace(&*state, "other")), "400"),
        (format!("/callback?{query}&state=other"), "400"),
        (format!("/callback?{query}&code=other"), "400"),
    ] {
        let answer = get(desk.callback, &path, "");
        assert_eq!(&answer[9..12], status, "{path}: {answer}");
    }
    let fetched = get(desk.callback, &format!("/callback?{query}"), "Sec-Fetch-Mode: no-cors\r\n");
    assert_eq!(&fetched[9..12], "400", "{fetched}");
    let posted = crate::program::exchange(
        desk.callback,
        &format!(
            "POST /callback?{query} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
        ),
    );
    assert_eq!(&posted[9..12], "400", "{posted}");
    // None of it spent the code.
    assert_eq!(visit(&callback).status, 200);
    assert_eq!(login.ended().code, Some(0));
}

#[test]
fn a_seller_may_come_back_with_a_form() {
    let desk = Desk::open();
    let (login, url) = desk.begin_login(&["wallapop@shop-7"]);
    login.mentions("Waiting for the seller");
    let callback = decide(&url, Some("shop-7"));
    let (address, form) = callback.split_once('?').unwrap();
    let posted = |kind: &str, mode: &str| {
        block_on(async {
            let post = client()
                .post(address)
                .header("content-type", kind)
                .header("origin", "https://marketplace.test")
                .header("sec-fetch-site", "cross-site")
                .header("sec-fetch-mode", mode);
            post.body(form.to_owned()).send().await.unwrap().status()
        })
    };
    assert_eq!(posted("text/plain", "navigate"), 400);
    assert_eq!(posted("application/x-www-form-urlencoded", "no-cors"), 400);
    assert_eq!(posted("application/x-www-form-urlencoded", "navigate"), 303);
    let page = visit(address);
    assert!(page.status == 200 && page.text.contains("Connected"), "{page:?}");
    let said = login.ended();
    assert_eq!(said.code, Some(0), "{}", said.err);
}

#[test]
fn a_login_says_what_arrived_in_place_of_an_answer_and_goes_on_waiting() {
    let desk = Desk::open();
    let (login, url) = desk.begin_login(&["wallapop@shop-7"]);
    login.mentions("Waiting for the seller");
    for (path, told) in [
        ("/callback", "it may stand after `#`"),
        ("/callback?response=eyJhbGciOiJub25lIn0.e30.", "JARM"),
        ("/callback?code=x&state=mg_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", "it answers another login"),
    ] {
        let answer = get(desk.callback, path, "");
        assert!(&answer[9..12] == "400" && answer.contains("does not answer the login"), "{answer}");
        login.mentions(told);
    }
    assert_eq!(visit(&decide(&url, Some("shop-7"))).status, 200);
    assert_eq!(login.ended().code, Some(0));
}

const AT_THE_PROXY: &str = r#"
[apps.here]
provider = "wallapop"
environment = "simulator"
simulator = "SIM"
client_id = "app"
client_secret = { env = "APP_SECRET" }
redirect_uri = "http://localhost:PROXY/back"
"#;

#[test]
fn a_login_knows_that_the_marketgate_it_talks_to_has_the_port() {
    let mut desk = Desk::furnished(Market::open(), AT_THE_PROXY);
    desk.run();
    let (login, url) = desk.begin_login(&["here@shop-7"]);
    let said = login.mentions("The Marketgate that serves the store takes the answer");
    assert!(!said.contains("Another program"), "{said}");
    assert_eq!(visit(&decide(&url, Some("shop-7"))).status, 200);
    assert_eq!(login.ended().code, Some(0));
}

#[test]
fn a_seller_who_says_no_ends_the_login_with_4() {
    let desk = Desk::open();
    let (login, url) = desk.begin_login(&["wallapop@shop-7"]);
    let page = visit(&decide(&url, None));
    assert!(page.status == 400 && page.text.contains("Not connected"), "{page:?}");
    assert!(page.text.contains("marketgate login wallapop@shop-7"), "{page:?}");
    let said = login.ended();
    assert_eq!((said.code, said.out.as_str()), (Some(4), ""), "{}", said.err);
    assert!(said.err.contains("the seller did not consent"), "{}", said.err);
    assert!(said.err.contains("start again: `marketgate login wallapop@shop-7`"), "{}", said.err);
    assert_eq!(desk.say(&["accounts", "show", "wallapop@shop-7"]).code, Some(2));
}

#[test]
fn an_address_is_pasted_and_a_wrong_one_is_told_and_spends_nothing() {
    let desk = Desk::open();
    let (mut login, url) = desk.begin_login(&["shops@vintage"]);
    login.mentions("paste its whole address");
    let callback = decide(&url, Some("shop-3"));
    let truncated = callback.split_once("&state=").map_or(callback.as_str(), |(before, _)| before);
    for (wrong, told) in [
        ("hello", "this is no callback"),
        (truncated, "`state` is missing"),
        (
            "https://yourapp.com/callback?code=a&state=mg_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
            "another login",
        ),
        (
            &callback.replace("yourapp.com/callback", "yourapp.com/other"),
            "not the address that was waited for",
        ),
    ] {
        login.types(&format!("{wrong}\n"));
        login.mentions(told);
    }
    login.types(&format!("  \"{callback}\"\n"));
    let said = login.finish();
    assert_eq!(said.code, Some(0), "{}", said.err);
    assert!(
        said.out.contains("shops@vintage is connected, to ")
            && said.out.contains("/api/v1/shop/ answered 200"),
        "{}",
        said.out
    );
    assert_no_secret(&said.out, &callback);
    assert_no_secret(&said.err, &callback);
}

#[test]
fn the_integrators_own_callback_may_complete_a_login() {
    let desk = Desk::open();
    let (login, url) = desk.begin_login(&["shops@vintage", "--no-browser", "-o", "json"]);
    let callback = decide(&url, Some("shop-3"));
    let done = block_on(async {
        let complete = client()
            .post(format!("http://{}/api/consents/complete", desk.admin))
            .header("content-type", "application/json")
            .body(json!({ "url": callback }).to_string());
        complete.send().await.unwrap().status()
    });
    assert_eq!(done, 200);
    let said = login.ended();
    assert_eq!(said.code, Some(0), "{}", said.err);
    let connected: Value = serde_json::from_str(&said.out).unwrap();
    assert_eq!(connected["account"], "shops@vintage");
    assert_eq!(connected["proof"]["accepted"], true, "{connected}");
}

#[test]
fn an_account_changes_hands_only_when_told_to() {
    let desk = Desk::open();
    desk.connect("wallapop@shop-7", "shop-7");
    let (login, url) = desk.begin_login(&["wallapop@shop-7"]);
    let page = visit(&decide(&url, Some("shop-8")));
    assert!(page.text.contains("Not connected") && page.text.contains("--replace-identity"), "{page:?}");
    let said = login.ended();
    assert_eq!((said.code, said.out.as_str()), (Some(1), ""), "{}", said.err);
    assert!(
        said.err.contains("nothing was changed") && said.err.contains("--replace-identity"),
        "{}",
        said.err
    );
    let (login, url) = desk.begin_login(&["wallapop@shop-7", "--replace-identity"]);
    assert_eq!(visit(&decide(&url, Some("shop-8"))).status, 200);
    assert_eq!(login.ended().code, Some(0));
}

#[test]
fn a_login_that_nobody_answers_ends_and_says_how_to_start_again() {
    let desk = Desk::open();
    let (login, _) = desk.begin_login(&["wallapop", "--timeout", "300ms"]);
    let said = login.ended();
    assert_eq!((said.code, said.out.as_str()), (Some(1), ""), "{}", said.err);
    assert!(said.err.contains("wallapop@default ended before anybody answered"), "{}", said.err);
    assert!(said.err.contains("start again: `marketgate login wallapop@default`"), "{}", said.err);
}

#[test]
fn a_code_that_came_too_late_is_told_with_what_mends_it() {
    let desk = Desk::open();
    let (mut login, url) = desk.begin_login(&["shops@vintage"]);
    let callback = decide(&url, Some("shop-3"));
    desk.market.sim.advance(std::time::Duration::from_secs(3600));
    login.types(&format!("{callback}\n"));
    let said = login.finish();
    assert_eq!((said.code, said.out.as_str()), (Some(1), ""), "{}", said.err);
    assert!(said.err.contains("the code was not exchanged"), "{}", said.err);
    assert!(said.err.contains("start again: `marketgate login shops@vintage`"), "{}", said.err);
}

#[test]
fn a_port_that_another_program_has_leaves_the_paste() {
    let desk = Desk::open();
    let _taken = TcpListener::bind(desk.callback).unwrap();
    let (mut login, url) = desk.begin_login(&["wallapop@shop-7"]);
    login.mentions("Another program has the port");
    login.types(&(decide(&url, Some("shop-7")) + "\n"));
    let said = login.finish();
    assert_eq!(said.code, Some(0), "{}", said.err);
}

#[test]
fn ctrl_c_ends_a_login_with_130_and_frees_the_port() {
    let desk = Desk::open();
    let (login, url) = desk.begin_login(&["wallapop@shop-7"]);
    login.mentions("Waiting for the seller");
    assert!(TcpStream::connect(desk.callback).is_ok());
    let said = login.end("INT");
    assert_eq!((said.code, said.out.as_str()), (Some(130), ""), "{}", said.err);
    assert!(said.err.contains("interrupted"), "{}", said.err);
    assert_silent(desk.callback);
    // The next one takes it, and the old answer is none for it.
    let (login, _) = desk.begin_login(&["wallapop@shop-7"]);
    login.mentions("Waiting for the seller");
    assert_eq!(visit(&decide(&url, Some("shop-7"))).status, 400);
    login.end("INT");
}

#[test]
fn who_needs_no_login_is_told_what_it_needs_instead() {
    let desk = Desk::open();
    for (account, code, words) in [
        ("plain", 1, "is written in the configuration"),
        ("plain@a", 1, "takes no accounts"),
        ("pairs@a", 1, "import"),
        ("keys@a", 1, "import"),
        ("nope", 2, "the configuration has: keys, pairs"),
        ("wallapop@", 2, "name"),
    ] {
        let said = desk.say(&["login", account]);
        assert_eq!((said.code, said.out.as_str()), (Some(code), ""), "{account}: {}", said.err);
        assert!(said.err.contains(words), "{account}: {}", said.err);
    }
}

#[test]
fn no_argument_of_a_login_or_of_its_browser_holds_a_secret() {
    let desk = Desk::open();
    let script = desk.folder().join("browser");
    std::fs::write(&script, "#!/bin/sh\nprintf '%s' \"$1\" > \"$(dirname \"$0\")/opened.part\"\nmv \"$(dirname \"$0\")/opened.part\" \"$(dirname \"$0\")/opened\"\n").unwrap();
    std::fs::set_permissions(&script, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
    let mut command = crate::program::command(desk.folder(), &["login", "wallapop@shop-7"]);
    let login = Program::begin(std::mem::replace(
        command.env("BROWSER", &script),
        std::process::Command::new("true"),
    ));
    let said = login.mentions("Waiting for the seller");
    let opened = loop {
        if let Ok(opened) = std::fs::read_to_string(desk.folder().join("opened")) {
            break opened;
        }
        std::thread::yield_now();
    };
    assert!(said.contains(&opened), "{said}");
    let line = std::fs::read_to_string(format!("/proc/{}/cmdline", login.id())).unwrap();
    for secret in [CLIENT_SECRET, "code_verifier"] {
        assert!(!opened.contains(secret) && !line.contains(secret));
    }
    login.end("INT");
}

/// The service within a command. Nothing outlives the command before there is a store that does.
#[test]
fn when_nobody_serves_a_login_serves_itself_and_others_meanwhile() {
    let desk = Desk::closed();
    let (login, url) = desk.begin_login(&["wallapop@shop-7"]);
    login.mentions("Waiting for the seller");
    // Another command is its client: it needs no secrets.
    let listed = desk.say(&["accounts", "-o", "json"]);
    assert_eq!(listed.code, Some(0), "{}", listed.err);
    let page = visit(&decide(&url, Some("shop-7")));
    assert_eq!(page.status, 200, "{page:?}");
    let said = login.ended();
    assert_eq!(said.code, Some(0), "{}", said.err);
    assert!(said.out.contains("wallapop@shop-7 is connected, to "), "{}", said.out);
    assert!(!desk.folder().join("gate.sock").exists(), "the control socket was left behind");
}

const SOLUTION_PROVIDER: &str = r#"
[apps.provider]
provider = "walmart-marketplace"
environment = "simulator"
simulator = "SIM"
grant = "authorization_code"
market = "us"
client_id = "app"
client_secret = { env = "APP_SECRET" }
redirect_uri = "https://yourapp.com/marketplace/callback"
"#;

#[test]
fn walmarts_own_way_of_consent_ends_with_the_sellers_number_on_every_token_call() {
    let mut desk = Desk::furnished(Market::open(), SOLUTION_PROVIDER);
    desk.run();
    let (mut login, url) = desk.begin_login(&["provider@shop-42", "--no-browser"]);
    let asked = url::Url::parse(&url).unwrap();
    let asked: Vec<String> = asked.query_pairs().map(|(name, _)| name.into_owned()).collect();
    assert_eq!(asked, ["responseType", "clientId", "redirectUri", "clientType", "nonce", "state"]);
    login.types(&(decide(&url, Some("shop-7")) + "\n"));
    let said = login.finish();
    assert_eq!(said.code, Some(0), "{}", said.err);
    assert!(said.out.contains("provider@shop-42 is connected, to shop-7"), "{}", said.out);
    assert!(said.out.contains("first API call: /v3/token/detail answered 200"), "{}", said.out);
    let requests = desk.market.sim.requests();
    let proof = requests.iter().find(|request| request.target.ends_with("/v3/token/detail")).unwrap();
    assert!(proof.header("authorization").unwrap().starts_with("Basic "), "{proof:?}");
    assert_eq!(proof.header("content-type"), Some("application/x-www-form-urlencoded"));
    for name in ["wm_sec.access_token", "wm_qos.correlation_id", "wm_svc.name"] {
        assert!(proof.header(name).is_some(), "{name}: {proof:?}");
    }
    assert!(proof.violations.is_empty(), "{proof:?}");
    assert!(get(desk.proxy, "/provider@shop-42/v3/items?limit=2", "").starts_with("HTTP/1.1 200"));
    let refreshed = desk.say(&["accounts", "refresh", "provider@shop-42"]);
    assert_eq!(refreshed.code, Some(0), "{}", refreshed.err);
    let calls = desk.market.sim.requests().into_iter().filter(|request| request.kind == "token");
    let partners: Vec<Option<String>> = calls
        .map(|call| {
            call.headers.into_iter().find(|(name, _)| name == "wm_partner.id").map(|(_, value)| value)
        })
        .collect();
    assert_eq!(partners, [Some("shop-7".to_owned()), Some("shop-7".to_owned())], "a code and a refresh");
    let (mut login, url) = desk.begin_login(&["provider@shop-42", "--no-browser"]);
    login.types(&(decide(&url, Some("shop-8")) + "\n"));
    let other = login.finish();
    assert_ne!(other.code, Some(0));
    assert!(other.err.contains("provider@shop-42 belongs to shop-7"), "{}", other.err);
}
