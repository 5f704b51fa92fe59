//! The sweep of `canary` for what sellers bring: everything secret that passed between the program and the marketplaces is
//! read off the wire, and must stand in nothing the program said or wrote.

use std::{
    collections::BTreeSet,
    fs,
    io::{Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    sync::{Arc, Mutex},
};

use marketgate::sim::{Connect, Fault};

use crate::{
    program::{Said, exchange, get},
    sellers::{CLIENT_SECRET, Desk, Market, decide, visit},
    spellings,
};

const ADMIN_KEY: &str = "mga_canary-admin-key-2718281828";
const WRONG_KEY: &str = "mga_canary-wrong-key-1414213562";
const WRONG_TOKEN: &str = "canary-refresh-token-that-nobody-gave";
const WRONG_CODE: &str = "canary-code-that-nobody-gave-16180339";

const MORE: &str = r#"
[log]
level = "trace"
format = "json"
[metrics]
per_account = true
[admin.keys.ops]
key = "mga_canary-admin-key-2718281828"
allow = ["accounts:write"]
[apps.proxied]
provider = "wallapop"
environment = "simulator"
simulator = "SIM"
client_id = "app"
client_secret = { env = "APP_SECRET" }
redirect_uri = "http://localhost:PROXY/callback"
"#;

/// A wire to a market on which everything is written down.
struct Wire {
    seen: Arc<Mutex<Vec<Vec<u8>>>>,
}

impl Wire {
    /// Lays it, and moves the market's address to its near end.
    fn tap(market: &mut Market) -> Self {
        let far = market.origin.strip_prefix("http://").unwrap().to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        market.origin = format!("http://{}", listener.local_addr().unwrap());
        let seen = Arc::new(Mutex::new(Vec::new()));
        let book = seen.clone();
        std::thread::spawn(move || {
            for near in listener.incoming().map_while(Result::ok) {
                let Ok(far) = TcpStream::connect(&far) else { return };
                Self::copy(near.try_clone().unwrap(), far.try_clone().unwrap(), book.clone());
                Self::copy(far, near, book.clone());
            }
        });
        Self { seen }
    }

    fn copy(mut from: TcpStream, mut to: TcpStream, book: Arc<Mutex<Vec<Vec<u8>>>>) {
        std::thread::spawn(move || {
            let (mut all, mut piece) = (Vec::new(), vec![0; 65536]);
            while let Ok(read @ 1..) = from.read(&mut piece) {
                all.extend_from_slice(&piece[..read]);
                if to.write_all(&piece[..read]).is_err() {
                    break;
                }
            }
            // The other side may have closed already.
            let _ = to.shutdown(Shutdown::Write);
            book.lock().unwrap().push(all);
        });
    }

    /// Every secret that passed over connections that are closed by now.
    fn secrets(&self) -> BTreeSet<String> {
        let pieces = self.seen.lock().unwrap();
        pieces.iter().flat_map(|bytes| secrets_in(&String::from_utf8_lossy(bytes))).collect()
    }
}

/// The values of what OAuth calls secret, in forms, queries and JSON.
fn secrets_in(text: &str) -> Vec<String> {
    let json = ["access_token", "refresh_token", "id_token"];
    let form = ["refresh_token", "code", "code_verifier", "token", "client_secret"];
    let json = json.iter().flat_map(|name| after(text, &format!("\"{name}\":\""), &['"']));
    let form = form.iter().flat_map(|name| {
        let begun = ["?", "&", "\r\n\r\n"].map(|before| format!("{before}{name}="));
        begun.into_iter().flat_map(|begun| after(text, &begun, &['&', ' ', '\r', '\n']))
    });
    let raw: Vec<String> = json.chain(form).filter(|secret| secret.len() >= 8).collect();
    let plain =
        |secret: &String| percent_encoding::percent_decode_str(secret).decode_utf8_lossy().into_owned();
    raw.iter().map(plain).collect()
}

/// What stands between `begun` and the first of `ends`, everywhere.
fn after(text: &str, begun: &str, ends: &[char]) -> Vec<String> {
    let rest = text.split(begun).skip(1);
    rest.map(|rest| rest.split(ends).next().unwrap_or_default().to_owned()).collect()
}

/// Everything the program said, and who was asked.
#[derive(Default)]
struct Book {
    all: Vec<(String, String)>,
}

impl Book {
    fn keep(&mut self, what: &str, text: impl Into<String>) {
        self.all.push((what.to_owned(), text.into()));
    }

    fn said(&mut self, what: &str, said: &Said) {
        self.keep(what, format!("{}\n{}", said.out, said.err));
    }
}

/// Sellers come by every door and by import.
fn connect(desk: &Desk, book: &mut Book) {
    for account in ["wallapop@shop-1", "proxied@shop-2"] {
        let (login, url) = desk.begin_login(&[account]);
        let page = visit(&decide(&url, Some(account.split_once('@').unwrap().1)));
        assert_eq!(page.status, 200, "{page:?}");
        book.keep("the outcome's page", page.text + &page.url);
        book.said("login", &login.ended());
    }
    let (mut login, url) = desk.begin_login(&["shops@shop-3", "--no-browser"]);
    let callback = decide(&url, Some("shop-3"));
    let nobodys = format!("https://yourapp.com/callback?code={WRONG_CODE}&state=mg_{}", "A".repeat(43));
    login.types(&format!("{nobodys}\n{callback}\n"));
    let said = login.finish();
    assert_eq!(said.code, Some(0), "{}", said.err);
    book.said("login by pasting", &said);
    let token = desk.market.sim.connect(Connect::new("wallapop", "app", "shop-4")).refresh_token;
    for (account, token) in
        [("wallapop@shop-4", &*token), ("wallapop@shop-5", &*token), ("wallapop@no", WRONG_TOKEN)]
    {
        book.said("import", &desk.tell(&["import", account, "--validate", "now"], token));
    }
    book.said("import", &desk.tell(&["import", "pairs@us"], "seller-1\nseller-1-secret\n"));
    let lines = format!(
        "{{\"account\":\"shop-6\",\"refresh_token\":\"{WRONG_TOKEN}\"}}\n{{\"account\":\"{WRONG_TOKEN}\n"
    );
    fs::write(desk.folder().join("grants.jsonl"), lines).unwrap();
    let import = ["import", "wallapop", "--file", "grants.jsonl", "--results", "results.jsonl"];
    book.said("import of a file", &desk.say(&import));
    book.keep("results", fs::read_to_string(desk.folder().join("results.jsonl")).unwrap());
}

/// Tokens are used, renewed, refused, lost, moved and revoked.
fn live(desk: &Desk, book: &mut Book) {
    let ask = |account: &str| get(desk.proxy, &format!("/{account}/items?limit=2"), "");
    for account in ["wallapop@shop-1", "proxied@shop-2", "wallapop@shop-4", "shops@shop-3", "pairs@us"] {
        book.keep("an answer", ask(account));
        book.said("refresh", &desk.say(&["accounts", "refresh", account]));
    }
    for body in [
        format!("{{\"error\":\"invalid_grant\",\"error_description\":\"{WRONG_TOKEN} is unknown\"}}"),
        format!("{{\"error\":\"server_error\",\"error_description\":\"code_verifier {WRONG_CODE}\"}}"),
    ] {
        let answer = Fault::TokenAnswer { status: 400, content_type: "application/json".to_owned(), body };
        desk.market.sim.add_fault(answer.at("wallapop").on_token());
        book.said("refresh", &desk.say(&["accounts", "refresh", "wallapop@no"]));
        book.keep("a refusal", ask("wallapop@no"));
    }
    desk.market.sim.clear_faults();
    desk.market.sim.add_fault(Fault::CutAfterRotating {}.at("wallapop").on_token());
    book.said("a lost answer", &desk.say(&["accounts", "refresh", "wallapop@shop-4"]));
    book.keep("a lost answer", ask("wallapop@shop-4"));
    let export = desk.say(&["export", "wallapop@shop-1", "--to-file", "grant.json"]);
    assert_eq!(export.code, Some(0), "{}", export.err);
    book.said("export", &export);
    let grant = fs::read_to_string(desk.folder().join("grant.json")).unwrap();
    book.said("import of an export", &desk.tell(&["import", "wallapop@shop-1"], &grant));
    book.said(
        "token, but for what it prints",
        &Said { out: String::new(), ..desk.say(&["token", "wallapop@shop-1"]) },
    );
    book.said("backup", &desk.say(&["store", "backup", "copy.db"]));
    book.said("rekey", &desk.say(&["store", "rekey"]));
    book.said("logout", &desk.say(&["logout", "proxied@shop-2"]));
    for arguments in [
        &["accounts"][..],
        &["accounts", "-o", "json"],
        &["accounts", "show", "wallapop@shop-1", "-o", "json"],
        &["status"],
        &["status", "-o", "json"],
        &["check"],
        &["check", "--online"],
        &["explain", "GET", "/wallapop@shop-1/items"],
        &["accounts", "remove", "shops@shop-3", "--yes"],
    ] {
        book.said("a command", &desk.say(arguments));
    }
}

/// The admin door, with its key, with another one and without.
fn administer(desk: &Desk, book: &mut Book) {
    for key in [ADMIN_KEY, WRONG_KEY, ""] {
        let field = format!("Authorization: Bearer {key}\r\n");
        for path in [
            "/metrics",
            "/",
            "/health/ready",
            "/api/accounts",
            "/api/accounts/wallapop/shop-1",
            "/api/openapi.json",
        ] {
            book.keep("the admin door", get(desk.admin, path, &field));
        }
        let body = format!("{{\"url\":\"https://yourapp.com/callback?code={WRONG_CODE}&state=mg_x\"}}");
        for (path, body) in [
            ("/api/consents/complete", body.clone()),
            ("/api/imports/wallapop", format!("{{\"account\":\"x\",\"refresh_token\":\"{WRONG_TOKEN}\"}}\n")),
            ("/api/imports/wallapop", body),
        ] {
            book.keep("the admin door", exchange(desk.admin, &format!(
                "POST {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{field}Content-Type: application/json\r\n\
                 Content-Length: {}\r\n\r\n{body}",
                body.len()
            )));
        }
    }
}

#[test]
fn what_sellers_bring_stands_in_nothing_that_is_said_or_written() {
    let mut market = Market::open();
    let wire = Wire::tap(&mut market);
    let mut desk = Desk::furnished(market, MORE);
    let mut book = Book::default();
    desk.run();
    connect(&desk, &mut book);
    live(&desk, &mut book);
    administer(&desk, &mut book);
    let run = desk.close();
    assert_eq!(run.code, Some(0), "{}", run.err);
    assert!(run.err.contains("\"TRACE\""), "nothing was logged");
    book.said("the log", &run);
    for file in fs::read_dir(desk.folder()).unwrap().map(|file| file.unwrap().path()) {
        let name = file.file_name().unwrap().to_str().unwrap().to_owned();
        if file.is_file() && !["proxy.toml", "grant.json", "grants.jsonl", "marketgate.key"].contains(&&*name)
        {
            book.keep(&name, String::from_utf8_lossy(&fs::read(&file).unwrap()));
        }
    }
    let written = ["gate.db", "copy.db"].map(|name| book.all.iter().any(|(what, _)| what == name));
    assert_eq!(written, [true, true], "the store was not swept");
    let mut secrets = wire.secrets();
    // Two logins with a code and a verifier each, two ways to renew, an import, an export: it is no small number.
    assert!(secrets.len() > 25, "only {} secrets were seen on the wire", secrets.len());
    assert!(secrets.contains(WRONG_TOKEN) && secrets.contains(CLIENT_SECRET), "{secrets:?}");
    let key = fs::read_to_string(desk.folder().join("marketgate.key")).unwrap().trim().to_owned();
    secrets.extend([ADMIN_KEY, WRONG_KEY, WRONG_TOKEN, WRONG_CODE, &key].map(str::to_owned));
    let secrets: Vec<String> = secrets.into_iter().collect();
    let found: Vec<String> = book
        .all
        .iter()
        .flat_map(|(what, text)| {
            spellings::finds(text, &secrets).into_iter().map(move |found| format!("{what}: {found}"))
        })
        .collect();
    assert!(found.is_empty(), "{found:#?}");
}
