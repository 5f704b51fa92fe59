//! The commands that look after accounts, against a running `marketgate run`: import, accounts, token, export, logout.

use std::{
    fmt::Write as _,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    os::unix::fs::PermissionsExt,
    thread::JoinHandle,
};

use marketgate::sim::Connect;
use serde_json::{Value, json};

use crate::{
    program::{Said, command, ended, get},
    sellers::{CLIENT_SECRET, Desk},
};

/// A refresh token of a seller's, as a program before this one had it.
fn refresh_token(desk: &Desk, seller: &str) -> String {
    desk.market.sim.connect(Connect::new("wallapop", "app", seller)).refresh_token
}

fn document(said: &Said) -> Value {
    assert_eq!(said.code, Some(0), "{}", said.err);
    serde_json::from_str(&said.out).unwrap()
}

#[test]
fn a_refresh_token_is_taken_in_from_stdin_and_works_at_once() {
    let mut desk = Desk::open();
    let token = refresh_token(&desk, "shop-1");
    let look = desk.tell(&["import", "wallapop@shop-1", "--dry-run"], &token);
    assert_eq!((look.code, look.out.trim()), (Some(0), "wallapop@shop-1 would be created"), "{}", look.err);
    assert_eq!(desk.say(&["accounts", "show", "wallapop@shop-1"]).code, Some(2));
    let taken =
        desk.tell(&["import", "wallapop@shop-1", "--consented-at", "2026-01-31"], &format!("{token}\n"));
    assert_eq!((taken.code, taken.out.trim()), (Some(0), "wallapop@shop-1 created"), "{}", taken.err);
    assert!(get(desk.proxy, "/wallapop@shop-1/items?limit=2", "").starts_with("HTTP/1.1 200"));
    let again = desk
        .tell(&["import", "wallapop@shop-1", "-o", "json"], &json!({ "refresh_token": token }).to_string());
    assert_eq!(document(&again)["outcome"], "unchanged", "a successor of it is here");
    let other = desk.tell(&["import", "wallapop@shop-2"], &token);
    assert_eq!((other.code, other.out.as_str()), (Some(1), ""), "{}", other.err);
    assert!(other.err.contains("is or was wallapop@shop-1's"), "{}", other.err);
    let run = desk.close();
    for text in [&look.err, &taken.err, &again.err, &other.err, &run.err] {
        assert!(!text.contains(&token) && !text.contains(CLIENT_SECRET), "{text}");
    }
}

#[test]
fn key_pairs_and_keys_are_taken_in_with_their_settings() {
    let desk = Desk::open();
    let pair = desk.tell(&["import", "pairs@us", "--set", "market=us"], "seller-1\nseller-1-secret\n");
    assert_eq!((pair.code, pair.out.trim()), (Some(0), "pairs@us created"), "{}", pair.err);
    assert!(get(desk.proxy, "/pairs@us/v3/items?limit=2", "").starts_with("HTTP/1.1 200"));
    let shown = document(&desk.say(&["accounts", "show", "pairs@us", "-o", "json"]));
    assert_eq!(shown["settings"]["market"], "us", "{shown}");
    let tried = desk.tell(&["import", "pairs@bad", "--validate", "now"], "seller-2\nwrong-secret-marker\n");
    assert_ne!(tried.code, Some(0), "{}", tried.out);
    assert!(!tried.err.contains("wrong-secret-marker"), "{}", tried.err);
}

#[test]
fn what_cannot_be_taken_in_is_told_with_what_is_wanted() {
    let desk = Desk::open();
    for (arguments, stdin, code, words) in [
        (&["import", "wallapop@a"][..], "", 2, "one line, the refresh token"),
        (&["import", "wallapop@a"], "one\ntwo\n", 2, "one line, the refresh token"),
        (&["import", "pairs@a"], "only-one-marker\n", 2, "two lines"),
        (&["import", "wallapop@a"], "{\"refresh_token\": ", 2, "no JSON object"),
        (&["import", "wallapop@a"], "{\"api_key\": \"k-marker\"}", 1, "refresh_token"),
        (&["import", "wallapop@a", "--consented-at", "soon"], "rt-marker\n", 1, "2026-01-31"),
        (&["import", "plain@a"], "a\nb\n", 1, "takes no accounts"),
        (&["import", "nope@a"], "{\"refresh_token\": \"rt-marker\"}", 2, "the configuration has"),
        (&["import", "wallapop"], "rt-marker\n", 2, "import wallapop@ACCOUNT"),
        (&["import", "wallapop@a", "--file", "-"], "", 2, "import wallapop --file"),
        (&["import", "wallapop@a", "--set", "refresh_token=rt-marker"], "", 2, "stdin"),
        (&["import", "wallapop@a"], "[]", 2, "a list"),
        (&["import", "wallapop@a"], "{\"refresh_token\": 1234567890123}", 1, "is no text"),
        (&["accounts", "--state", "login-required"], "", 2, "login_required"),
    ] {
        let said = desk.tell(arguments, stdin);
        assert_eq!((said.code, said.out.as_str()), (Some(code), ""), "{arguments:?}: {}", said.err);
        assert!(said.err.contains(words), "{arguments:?}: {}", said.err);
        // What clap quotes was an argument already.
        assert!(!said.err.contains("marker") || arguments.contains(&"--set"), "{arguments:?}: {}", said.err);
    }
}

#[test]
fn a_file_of_grants_is_taken_in_and_once_more_changes_nothing() {
    let mut desk = Desk::open();
    let (mut lines, mut tokens) = (String::new(), Vec::new());
    for number in 0..1_200 {
        let token = refresh_token(&desk, &format!("shop-{number}"));
        writeln!(lines, "{}", json!({ "account": format!("shop-{number}"), "refresh_token": token }))
            .unwrap();
        tokens.push(token);
    }
    std::fs::write(desk.folder().join("grants.jsonl"), &lines).unwrap();
    let import = ["import", "wallapop", "--file", "grants.jsonl", "--results", "out.jsonl"];
    let dry = desk.say(&["import", "wallapop", "--file", "grants.jsonl", "--dry-run"]);
    assert_eq!(dry.out.trim(), "would be: created 1,200 · unchanged 0 · refused 0", "{}", dry.err);
    let first = desk.say(&import);
    assert_eq!(
        (first.code, first.out.trim()),
        (Some(0), "created 1,200 · unchanged 0 · refused 0"),
        "{}",
        first.err
    );
    let again = desk.say(&import);
    assert_eq!(again.out.trim(), "created 0 · unchanged 1,200 · refused 0", "{}", again.err);
    let results = std::fs::read_to_string(desk.folder().join("out.jsonl")).unwrap();
    let results: Vec<Value> = results.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(results.len(), 2_400, "results are appended");
    assert_eq!(
        (results[700]["line"].as_u64(), results[700]["account"].as_str()),
        (Some(701), Some("shop-700"))
    );
    let listed = document(&desk.say(&["accounts", "wallapop", "-o", "json"]));
    assert_eq!(listed.as_array().unwrap().len(), 1_200, "all pages are read");
    let said = [&dry, &first, &again].map(|said| said.out.clone() + &said.err).concat() + &desk.close().err;
    assert!(!tokens.iter().any(|token| said.contains(token)));
}

#[test]
fn lines_that_are_refused_are_told_and_stop_no_other() {
    let desk = Desk::open();
    let (one, two) = (refresh_token(&desk, "shop-1"), refresh_token(&desk, "shop-2"));
    let lines = [
        json!({ "account": "shop-1", "refresh_token": one }).to_string(),
        String::new(),
        "{\"account\": \"broken\", \"refresh_token\": \"rt-marker".to_owned(),
        json!({ "account": "sh op", "refresh_token": "rt-marker" }).to_string(),
        json!({ "account": "key", "api_key": "rt-marker" }).to_string(),
        json!({ "account": "thief", "refresh_token": one }).to_string(),
        json!({ "account": "shop-2", "refresh_token": two }).to_string(),
    ];
    let said = desk.tell(&["import", "wallapop", "--file", "-", "-o", "json"], &(lines.join("\n") + "\n"));
    assert_eq!(said.code, Some(1), "{}", said.err);
    let summary: Value = serde_json::from_str(&said.out).unwrap();
    assert_eq!((summary["created"].as_u64(), summary["refused"].as_u64()), (Some(2), Some(4)), "{summary}");
    for words in ["line 3", "line 4", "line 5 (key)", "line 6 (thief)", "4 lines were refused"] {
        assert!(said.err.contains(words), "{words}: {}", said.err);
    }
    assert!(!said.err.contains("rt-marker") && !said.err.contains(&one), "{}", said.err);
}

#[test]
fn accounts_are_listed_shown_refreshed_and_removed() {
    let desk = Desk::open();
    desk.connect("wallapop@shop-1", "shop-1");
    desk.connect("wallapop@shop-2", "shop-2");
    let listed = desk.say(&["accounts"]);
    assert_eq!(listed.code, Some(0), "{}", listed.err);
    for words in ["wallapop@shop-1", "wallapop@shop-2", "plain@default", "IDENTITY", "ready"] {
        assert!(listed.out.contains(words), "{words}: {}", listed.out);
    }
    let listed = desk.say(&["accounts", "--app", "wallapop", "--state", "login_required"]);
    assert_eq!(listed.out.lines().count(), 1, "{}", listed.out);
    let shown = desk.say(&["accounts", "show", "wallapop@shop-1"]);
    assert!(shown.out.contains("grant ends") && shown.out.contains("authorization_code"), "{}", shown.out);
    assert_eq!(desk.say(&["token", "wallapop@shop-1"]).code, Some(0));
    let before = document(&desk.say(&["accounts", "show", "wallapop@shop-1", "-o", "json"]));
    let after = document(&desk.say(&["accounts", "refresh", "wallapop@shop-1", "-o", "json"]));
    assert_ne!(before["token"]["fingerprint"], after["token"]["fingerprint"], "{after}");
    let resumed = desk.say(&["accounts", "resume", "wallapop@shop-1"]);
    assert_eq!(resumed.code, Some(1), "{}", resumed.err);
    assert!(resumed.err.contains("not parked"), "{}", resumed.err);
    let asked = desk.say(&["accounts", "remove", "wallapop@shop-1"]);
    assert_eq!(asked.code, Some(2), "{}", asked.err);
    assert!(asked.err.contains("--yes"), "{}", asked.err);
    assert_eq!(desk.say(&["accounts", "remove", "wallapop@shop-1", "--yes"]).code, Some(0));
    let gone = desk.say(&["accounts", "show", "wallapop@shop-1"]);
    assert_eq!(gone.code, Some(2), "{}", gone.err);
    assert!(gone.err.contains("marketgate login wallapop@shop-1"), "{}", gone.err);
    let vague = desk.say(&["accounts", "remove", "wallapop", "--yes"]);
    assert_eq!(vague.code, Some(2), "{}", vague.err);
    assert!(vague.err.contains("wallapop@default"), "{}", vague.err);
}

#[test]
fn a_token_is_printed_for_accounts_wherever_they_are_kept() {
    let desk = Desk::open();
    let none = desk.say(&["token", "wallapop"]);
    assert_eq!((none.code, none.out.as_str()), (Some(2), ""), "{}", none.err);
    assert!(none.err.contains("marketgate login wallapop"), "{}", none.err);
    desk.connect("wallapop@shop-1", "shop-1");
    for account in ["wallapop", "wallapop@shop-1", "plain"] {
        let said = desk.say(&["token", account]);
        assert_eq!(said.code, Some(0), "{account}: {}", said.err);
        assert!(said.out.trim().len() > 10 && said.out.lines().count() == 1, "{account}");
    }
    let said = document(&desk.say(&["token", "wallapop", "-o", "json"]));
    assert!(said["expires_in"].as_u64().is_some() && said["header"] == "authorization", "{said}");
    desk.connect("wallapop@shop-2", "shop-2");
    let several = desk.say(&["token", "wallapop"]);
    assert_eq!(several.code, Some(2), "{}", several.err);
    assert!(several.err.contains("marketgate accounts wallapop"), "{}", several.err);
    // Over TCP, where any program of the machine could ask, a token leaves only for a key.
    let server = format!("http://{}", desk.admin);
    let refused = desk.say(&["token", "wallapop@shop-1", "--server", &server]);
    assert_eq!((refused.code, refused.out.as_str()), (Some(1), ""), "{}", refused.err);
    assert!(desk.say(&["accounts", "--server", &server]).out.contains("wallapop@shop-1"));
}

#[test]
fn a_logout_has_the_marketplace_revoke_and_the_account_says_so() {
    let desk = Desk::open();
    desk.connect("wallapop@shop-1", "shop-1");
    let said = desk.say(&["logout", "wallapop@shop-1"]);
    assert_eq!(said.code, Some(0), "{}", said.err);
    assert!(said.out.contains("has revoked its grant"), "{}", said.out);
    let token = desk.say(&["token", "wallapop@shop-1"]);
    assert_eq!((token.code, token.out.as_str()), (Some(4), ""), "{}", token.err);
    assert!(token.err.contains("marketgate login wallapop@shop-1"), "{}", token.err);
    let status = desk.say(&["status"]);
    assert!(status.out.contains("login_required (logged_out)"), "{}", status.out);
    let refreshed = desk.say(&["accounts", "refresh", "wallapop@shop-1"]);
    assert_eq!(refreshed.code, Some(4), "{}", refreshed.err);
}

#[test]
fn an_export_goes_into_a_file_of_ones_own_and_comes_back_by_an_import() {
    let mut desk = Desk::open();
    desk.connect("wallapop@shop-1", "shop-1");
    for (path, words) in [("nowhere/grant.json", "can be written"), ("proxy.toml", "not there yet")] {
        let said = desk.say(&["export", "wallapop@shop-1", "--to-file", path]);
        assert_eq!(said.code, Some(1), "{}", said.err);
        assert!(said.err.contains(words), "{}", said.err);
    }
    assert_eq!(desk.say(&["token", "wallapop@shop-1"]).code, Some(0), "nothing was handed out");
    let said = desk.say(&["export", "wallapop@shop-1", "--to-file", "grant.json"]);
    assert_eq!((said.code, said.out.as_str()), (Some(0), ""), "{}", said.err);
    let file = desk.folder().join("grant.json");
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let text = std::fs::read_to_string(&file).unwrap();
    let exported: Value = serde_json::from_str(&text).unwrap();
    let secret = exported["refresh_token"].as_str().unwrap().to_owned();
    assert!(!said.err.contains(&secret), "{}", said.err);
    assert_eq!(desk.say(&["token", "wallapop@shop-1"]).code, Some(4), "it is not spent here any more");
    let missing = desk.say(&["export", "wallapop@shop-9", "--to-file", "other.json"]);
    assert_eq!(missing.code, Some(2), "{}", missing.err);
    assert!(!desk.folder().join("other.json").exists(), "an export that failed leaves no file");
    assert_eq!(desk.say(&["accounts", "remove", "wallapop@shop-1", "--yes"]).code, Some(0));
    let back = desk.tell(&["import", "wallapop@shop-1"], &text);
    assert_eq!((back.code, back.out.trim()), (Some(0), "wallapop@shop-1 created"), "{}", back.err);
    assert_eq!(desk.say(&["token", "wallapop@shop-1"]).code, Some(0));
    assert!(!desk.close().err.contains(&secret));
}

#[test]
fn wait_waits_for_a_seller_of_the_store_and_needs_none_of_the_secrets() {
    let desk = Desk::open();
    desk.connect("wallapop@shop-1", "shop-1");
    for account in ["wallapop", "wallapop@shop-1", "plain"] {
        let said = desk.say(&["wait", account, "--timeout", "20s"]);
        assert_eq!(said.code, Some(0), "{account}: {}", said.err);
    }
    // Even where the rest of the file is wrong.
    let broken = format!("[admin]\nlisten = \"{}\"\n[apps.x]\nprovider = \"moon\"\n", desk.admin);
    std::fs::write(desk.folder().join("broken.toml"), broken).unwrap();
    let said = desk.say(&["wait", "wallapop", "--timeout", "20s", "--config", "broken.toml"]);
    assert_eq!(said.code, Some(0), "{}", said.err);
    assert_eq!(desk.say(&["wait", "shops", "--timeout", "20s"]).code, Some(2));
}

#[test]
fn check_tells_of_apps_whose_accounts_are_in_the_store_and_makes_none() {
    let desk = Desk::closed();
    let said = desk.alone(&["check"]);
    assert_eq!(said.code, Some(0), "{}", said.err);
    for words in ["wallapop@…", "pairs@…", "plain@default", "marketgate import keys@ACCOUNT"] {
        assert!(said.out.contains(words), "{words}: {}", said.out);
    }
    assert!(!said.out.contains("accounts in the store:"), "{}", said.out);
    assert_eq!(std::fs::read_dir(desk.folder()).unwrap().count(), 1, "checking makes nothing");
    let desk = Desk::open();
    desk.connect("wallapop@shop-1", "shop-1");
    let said = desk.alone(&["check"]);
    assert!(said.out.contains("accounts in the store: 1"), "{}", said.out);
}

#[test]
fn an_import_waits_for_its_secret_without_showing_it_to_anybody() {
    let desk = Desk::open();
    let token = refresh_token(&desk, "shop-1");
    let mut import = desk.begin(&["import", "wallapop@shop-1"]);
    import.types(&token[..10]);
    let line = std::fs::read_to_string(format!("/proc/{}/cmdline", import.id())).unwrap();
    let environment = std::fs::read_to_string(format!("/proc/{}/environ", import.id())).unwrap();
    assert!(!line.contains(&token[..10]) && !environment.contains(&token[..10]));
    import.types(&token[10..]);
    let said = import.finish();
    assert_eq!(said.code, Some(0), "{}", said.err);
    assert!(!said.out.contains(&token) && !said.err.contains(&token));
}

#[test]
fn a_key_to_the_admin_door_comes_from_the_environment_or_a_file() {
    let mut desk = Desk::closed();
    let caller = desk.say(&["caller", "ops"]);
    let key = caller.out.trim().to_owned();
    let sha256 = caller.err.lines().find(|line| line.starts_with("sha256")).unwrap();
    let keys = format!("[admin.keys.ops]\n{sha256}\nallow = [\"accounts:write\", \"accounts:export\"]\n");
    let file = desk.folder().join("proxy.toml");
    std::fs::write(&file, std::fs::read_to_string(&file).unwrap() + &keys).unwrap();
    desk.run();
    let server = format!("http://{}", desk.admin);
    let refused = desk.say(&["accounts", "--server", &server]);
    assert_eq!((refused.code, refused.out.as_str()), (Some(1), ""), "{}", refused.err);
    let mut by_variable = command(desk.folder(), &["accounts", "--server", &server]);
    by_variable.env("MARKETGATE_ADMIN_KEY", &key);
    let listed = ended(by_variable);
    assert_eq!(listed.code, Some(0), "{}", listed.err);
    std::fs::write(desk.folder().join("ops.key"), format!("{key}\n")).unwrap();
    let token = desk.say(&["token", "plain", "--server", &server, "--key-file", "ops.key"]);
    assert_eq!(token.code, Some(0), "{}", token.err);
    assert!(!token.out.trim().is_empty());
    assert_eq!(desk.say(&["accounts", "--key-file", "ops.key"]).code, Some(2), "a key is for a door");
    // The control socket asks for none: it is this user's alone.
    assert_eq!(desk.say(&["token", "plain"]).code, Some(0));
    let run = desk.close();
    for text in [&refused.err, &listed.err, &token.err, &run.err] {
        assert!(!text.contains(&key), "{text}");
    }
}

#[test]
fn a_command_that_reaches_nobody_says_so() {
    let desk = Desk::closed();
    let server = format!("http://{}", desk.admin);
    for arguments in [&["accounts"][..], &["status"], &["login", "wallapop"], &["token", "wallapop"]] {
        let said = desk.say(&[arguments, &["--server", &server]].concat());
        assert_eq!((said.code, said.out.as_str()), (Some(5), ""), "{arguments:?}: {}", said.err);
        assert!(
            said.err.contains("no Marketgate answers") && said.err.contains("marketgate run"),
            "{}",
            said.err
        );
    }
    // Without the secrets it cannot serve either, and says which are missing.
    let said = desk.say(&["accounts"]);
    assert_eq!(said.code, Some(3), "{}", said.err);
    assert!(said.err.contains("APP_SECRET"), "{}", said.err);
}

/// Answers every request with the same, as somebody else on the port of a Marketgate would.
fn somebody_else(answer: String) -> (SocketAddr, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let served = std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut request = [0; 4096];
            let length = stream.read(&mut request).unwrap();
            if request[..length].starts_with(b"END") {
                return;
            }
            // One that has read enough hangs up.
            drop(stream.write_all(answer.as_bytes()));
        }
    });
    (address, served)
}

#[test]
fn what_somebody_else_on_the_port_says_is_shown_as_text_and_bounded() {
    let desk = Desk::closed();
    let problem = r#"{"code":"x","detail":"a\u001b]0;title\u0007b","action":"c\u202ed"}"#;
    let endless = "x".repeat(80 * 1024 * 1024);
    for (answer, words) in [
        (format!("HTTP/1.1 500 Oops\r\nconnection: close\r\n\r\n{problem}"), "title"),
        ("HTTP/1.1 500 Oops\r\nconnection: close\r\n\r\n\u{1b}[2Jtitle".to_owned(), "title"),
        (format!("HTTP/1.1 200 OK\r\n\r\n{endless}"), "its answer cannot be read"),
    ] {
        let (address, served) = somebody_else(answer);
        let said = desk.say(&["accounts", "--server", &format!("http://{address}")]);
        assert!(said.code != Some(0) && said.err.contains(words), "{:?}", said.err);
        assert!(!said.err.contains(|c: char| c.is_control() && c != '\n'), "{:?}", said.err);
        assert!(!said.err.contains('\u{202e}'), "{:?}", said.err);
        TcpStream::connect(address).unwrap().write_all(b"END").unwrap();
        served.join().unwrap();
    }
}

#[test]
fn a_refresh_that_is_still_under_way_is_not_told_as_done() {
    let desk = Desk::open();
    desk.connect("wallapop@shop-1", "shop-1");
    let mut document = document(&desk.say(&["accounts", "show", "wallapop@shop-1", "-o", "json"]));
    document["state"] = "refreshing".into();
    let body = document.to_string();
    let length = body.len();
    let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}");
    let (address, served) = somebody_else(answer);
    let said =
        desk.say(&["accounts", "refresh", "wallapop@shop-1", "--server", &format!("http://{address}")]);
    assert_eq!((said.code, said.out.as_str()), (Some(5), ""), "{}", said.err);
    assert!(said.err.contains("nothing is lost"), "{}", said.err);
    TcpStream::connect(address).unwrap().write_all(b"END").unwrap();
    served.join().unwrap();
}
