//! How an app's hosts are reached: client certificates, files that change, HTTP/1.1 alone, the way out, plain HTTP, spellings; and
//! what of an exchange is named that does not cross.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener},
    path::Path,
};

use crate::{
    certificates::{Authority, Leaf, Secured},
    harness::{ALL_APPS, Answer, Time, gate},
    program::{Alone, exchange, say},
    wire::Canned,
};

/// Replaces a file as those do who must not be read half.
fn replace(path: &Path, text: &str) {
    let new = path.with_extension("new");
    std::fs::write(&new, text).unwrap();
    std::fs::rename(new, path).unwrap();
}

fn place(folder: &Path, (cert, key): &(String, String)) {
    replace(&folder.join("client.pem"), cert);
    replace(&folder.join("client.key"), key);
}

/// Apps with a key and with a token, both at `origin`, trusting `authority`.
fn apps(folder: &Path, authority: &Authority, origin: &str, more: &str) -> String {
    let ca = folder.join("ca.pem");
    std::fs::write(&ca, &authority.pem).unwrap();
    format!(
        "[upstream]\nca_file = \"{}\"\ntimeouts = {{ token_wait = \"1s\" }}\n\
         [apps.key]\nprovider = \"generic\"\ngrant = \"static\"\napi = \"{origin}/generic/api\"\napi_key = \"key-x\"\n{more}\
         [apps.token]\nprovider = \"generic\"\napi = \"{origin}/generic/api\"\ntoken_url = \"{origin}/generic/oauth/token\"\n\
         client_id = \"c\"\nclient_secret = \"c-secret\"\n{more}",
        ca.display()
    )
}

fn shown(folder: &Path) -> String {
    let folder = folder.display();
    format!("client_certificate = {{ cert = \"{folder}/client.pem\", key = \"{folder}/client.key\" }}\n")
}

#[track_caller]
fn asks_for_certificate(answer: &Answer, code: &str) {
    assert_eq!(answer.code(), code, "{}", answer.body);
    assert!(
        answer.body.contains("client certificate") && answer.body.contains("`client_certificate`"),
        "{}",
        answer.body
    );
    assert!(!answer.body.contains("may have") && !answer.body.contains("may or may not"), "{}", answer.body);
}

#[test]
fn a_server_that_wants_a_client_certificate_gets_it_for_requests_and_for_tokens_in_both_versions() {
    let (folder, authority) = (tempfile::tempdir().unwrap(), Authority::new());
    for (protocols, version) in [(&["h2", "http/1.1"][..], "HTTP/2.0"), (&["http/1.1"], "HTTP/1.1")] {
        let market = Secured::start(authority.server_that_asks_for_certificates(protocols));
        let without = apps(folder.path(), &authority, &market.origin, "");
        gate(Time::Runs, &without, |w| async move {
            let answer = w.get("/key/x").await;
            asks_for_certificate(&answer, "upstream_unreachable");
            assert_eq!(answer.status, 502);
            asks_for_certificate(&w.get("/token/x").await, "token_unavailable");
        });
        assert_eq!(market.sim.api_calls("*") + market.sim.token_calls("*"), 0);
        // One that the server does not know is as good as none; the right one is used as soon as it is there.
        place(folder.path(), &Authority::new().client());
        let with = apps(folder.path(), &authority, &market.origin, &shown(folder.path()));
        let (there, right) = (folder.path().to_owned(), authority.client());
        gate(Time::Runs, &with, |w| async move {
            asks_for_certificate(&w.get("/key/x").await, "upstream_unreachable");
            place(&there, &right);
            for path in ["/key/x", "/token/x"] {
                let answer = w.get(path).await;
                assert_eq!(answer.status, 200, "{path}: {}", answer.body);
            }
        });
        assert!(
            market.sim.requests().iter().all(|request| request.kind == "token" || request.version == version)
        );
    }
}

#[test]
fn a_new_bundle_of_authorities_is_used_for_the_next_connection_and_a_broken_one_is_not() {
    let (folder, ours, other) = (tempfile::tempdir().unwrap(), Authority::new(), Authority::new());
    let market = Secured::start(ours.server(Leaf::Good, &["h2"]));
    let text = apps(folder.path(), &other, &market.origin, "");
    let (ca, pem) = (folder.path().join("ca.pem"), ours.pem.clone());
    gate(Time::Runs, &text, |w| async move {
        let answer = w.get("/key/x").await;
        assert_eq!((answer.status, answer.code().as_str()), (502, "upstream_unreachable"), "{}", answer.body);
        replace(&ca, "torn");
        assert_eq!(w.get("/key/x").await.status, 502);
        replace(&ca, &pem);
        let answer = w.get("/key/x").await;
        assert_eq!(answer.status, 200, "{}", answer.body);
    });
}

#[test]
fn an_app_that_says_so_speaks_http1_only() {
    let (folder, authority) = (tempfile::tempdir().unwrap(), Authority::new());
    for protocols in [&["h2", "http/1.1"][..], &[]] {
        let market = Secured::start(authority.server(Leaf::Good, protocols));
        let text = apps(folder.path(), &authority, &market.origin, "http2 = false\n");
        gate(Time::Runs, &text, |w| async move {
            assert_eq!(w.get("/key/x").await.status, 200);
            assert_eq!(w.get("/token/x").await.status, 200);
        });
        let versions: Vec<_> = market.sim.requests().into_iter().map(|request| request.version).collect();
        assert_eq!(versions, ["HTTP/1.1"; 3]);
    }
}

/// A forward proxy that refuses everything; the targets it was asked for.
fn forward_proxy() -> (SocketAddr, std::sync::mpsc::Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (address, (seen, targets)) = (listener.local_addr().unwrap(), std::sync::mpsc::channel());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = BufReader::new(stream.unwrap());
            let mut line = String::new();
            stream.read_line(&mut line).unwrap();
            drop(seen.send(line.split(' ').nth(1).unwrap_or_default().to_owned()));
            stream.get_mut().write_all(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n").unwrap();
        }
    });
    (address, targets)
}

#[test]
fn each_app_has_its_own_way_out_and_exceptions_hold_for_all() {
    let ((common, commons), (own, owns)) = (forward_proxy(), forward_proxy());
    let app = |name: &str, host: &str, more: &str| {
        format!(
            "[apps.{name}]\nprovider = \"generic\"\ngrant = \"static\"\napi = \"https://{host}\"\napi_key = \"k\"\n{more}"
        )
    };
    let text = format!(
        "[upstream]\nproxy_url = \"http://{common}\"\nno_proxy = [\"inside.invalid\", \"203.0.113.0/24\"]\n\
         timeouts = {{ connect = \"2s\" }}\n{}{}{}{}",
        app("outside", "api.outside.invalid", ""),
        app("inside", "api.inside.invalid", ""),
        app("own", "api.own.invalid", &format!("proxy_url = \"http://{own}\"\n")),
        app("direct", "api.direct.invalid", "proxy_url = \"none\"\n"),
    );
    gate(Time::Runs, &text, |w| async move {
        for (path, words) in [
            ("/outside/x", "does not open a way"),
            ("/inside/x", "cannot be resolved"),
            ("/own/x", "does not open a way"),
            ("/direct/x", "cannot be resolved"),
        ] {
            let answer = w.get(path).await;
            assert_eq!(answer.status, 502);
            assert!(answer.body.contains(words), "{path}: {}", answer.body);
        }
    });
    let (commons, owns): (Vec<_>, Vec<_>) = (commons.try_iter().collect(), owns.try_iter().collect());
    assert_eq!(
        (commons, owns),
        (vec!["api.outside.invalid:443".to_owned()], vec!["api.own.invalid:443".to_owned()])
    );
}

#[test]
fn plain_http_to_another_machine_needs_to_be_asked_for_and_is_never_for_a_marketplaces_own_hosts() {
    let folder = tempfile::tempdir().unwrap();
    let canned = Canned::new();
    // The unspecified address leads to this machine, and nobody takes it for loopback.
    let app = |more: &str| {
        let port = canned.address.port();
        format!(
            "[apps.any]\nprovider = \"generic\"\ngrant = \"static\"\napi = \"http://0.0.0.0:{port}\"\napi_key = \"k\"\n{more}"
        )
    };
    let check = |text: &str| {
        std::fs::write(folder.path().join("proxy.toml"), text).unwrap();
        say(folder.path(), &["check"])
    };
    let said = check(&app(""));
    assert_eq!(said.code, Some(3), "{}", said.err);
    assert!(said.out.contains("plaintext = true") || said.err.contains("plaintext = true"), "{said:?}");
    let said = check(&app("plaintext = true\n"));
    assert_eq!(said.code, Some(0), "{said:?}");
    let all = said.out + &said.err;
    assert!(all.contains("in the clear"), "{all}");
    let vendors = "[apps.d]\nprovider = \"generic\"\ngrant = \"static\"\napi = \"http://partnerapi.depop.com\"\napi_key = \"k\"\n\
                   plaintext = true\n";
    let said = check(vendors);
    assert!(said.code == Some(3) && (said.out + &said.err).contains("a marketplace's own host"));
    let text = app("plaintext = true\n");
    gate(Time::Runs, &text, |w| async move {
        let _heads = canned.answer(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", true);
        assert_eq!(w.get("/any/x").await.body, "ok");
    });
}

#[test]
fn what_an_app_writes_goes_out_over_http1_as_it_is_spelled() {
    let canned = Canned::new();
    let spelled =
        "headers = { X-Api-Version = \"2\", x-lower = \"l\" }\ntoken_header = \"WM_SEC.ACCESS_TOKEN\"\n";
    gate(Time::Runs, &(canned.app() + spelled), |w| async move {
        let mut heads = canned.answer(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", true);
        let asked = w.http.get(w.url("/canned/x")).header("X-Mine", "m");
        assert_eq!(w.send(asked).await.status, 200);
        let head = heads.recv().await.unwrap();
        for line in [
            "\r\nWM_SEC.ACCESS_TOKEN: Bearer key-canned\r\n",
            "\r\nX-Api-Version: 2\r\n",
            "\r\nx-lower: l\r\n",
            "\r\nx-mine: m\r\n",
        ] {
            assert!(head.contains(line), "{line:?} is not in {head}");
        }
    });
}

#[test]
fn addresses_in_an_answers_head_lead_back_to_where_the_caller_asked() {
    let canned = Canned::new();
    gate(Time::Runs, &canned.app(), |w| async move {
        let answer = "HTTP/1.1 202 Accepted\r\nLocation: http://API/a\r\nContent-Location: /b\r\nOperation-Location: //API/c\r\n\
                      Link: <http://API/d?page=2>; rel=\"next\", <https://else.test/>; rel=help\r\nContent-Length: 0\r\n\r\n";
        let answer = answer.replace("API", &canned.address.to_string());
        let _heads = canned.answer(answer.leak().as_bytes(), true);
        for (more, scheme) in [("", "http"), ("X-Forwarded-Proto: https\r\n", "https")] {
            let request = format!("GET /canned@default/x HTTP/1.1\r\nHost: localhost\r\n{more}\r\n");
            let headers = w.ask(request).await.headers;
            let text = |name: &str| headers[name].to_str().unwrap().to_owned();
            assert_eq!(text("location"), format!("{scheme}://localhost/canned@default/a"));
            assert_eq!(text("content-location"), "/canned@default/b");
            assert_eq!(text("operation-location"), "//localhost/canned@default/c");
            assert_eq!(
                text("link"),
                format!(
                    "<{scheme}://localhost/canned@default/d?page=2>; rel=\"next\", <https://else.test/>; rel=help"
                )
            );
        }
    });
}

#[test]
fn what_a_caller_counts_on_and_nobody_passes_on_is_named_in_the_answer() {
    gate(Time::Runs, ALL_APPS, |w| async move {
        for (fields, words) in [
            ("Cookie: a=b\r\n", &["Cookie is not passed on"][..]),
            ("Connection: Upgrade\r\nUpgrade: WebSocket\r\nSec-WebSocket-Version: 13\r\n", &["no WebSocket"]),
            ("Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n", &[]),
            ("Accept: text/plain\r\n", &[]),
        ] {
            let answer = w.ask(format!("GET /any/x HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n")).await;
            assert_eq!(answer.status, 200, "{}", answer.body);
            let notes: Vec<_> =
                answer.headers.get_all("proxy-status").iter().map(|note| note.to_str().unwrap()).collect();
            assert_eq!(notes.len(), words.len(), "{notes:?}");
            assert!(notes.iter().zip(words).all(|(note, word)| note.contains(word)), "{notes:?}");
        }
    });
}

#[test]
fn an_answer_that_stands_still_and_is_cut_leaves_a_line_that_says_why() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        // An answer before its request would be nobody's.
        assert!(stream.read(&mut [0; 4096]).unwrap() > 0);
        let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
        stream.write_all(format!("{head}9\r\ndata: x\n\n\r\n").as_bytes()).unwrap();
        // Until the other side ends it.
        drop(stream.read_to_end(&mut Vec::new()));
    });
    let alone = Alone::start(&format!(
        "[upstream]\ntimeouts = {{ stall = \"200ms\" }}\n\
         [apps.sse]\nprovider = \"generic\"\ngrant = \"static\"\napi = \"http://{address}\"\napi_key = \"k\"\n"
    ));
    let request = "GET /sse/events HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let answer = exchange(alone.proxy, request);
    assert!(answer.contains("data: x") && !answer.ends_with("0\r\n\r\n"), "{answer}");
    let log = alone.program.mentions("an answer broke off");
    let line = log.lines().find(|line| line.contains("an answer broke off")).unwrap();
    for word in ["sse@default", "connection_read_timeout", "`upstream.timeouts.stall`"] {
        assert!(line.contains(word), "{word} is not in {line}");
    }
}
