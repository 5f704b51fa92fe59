//! Mistakes that people make, and what they are told: which one it is, and what mends it.

use std::path::Path;

use marketgate::sim::Fault;

use crate::{
    certificates::{Authority, Leaf, Secured},
    harness::{ALL_APPS, Answer, Time, gate},
    program::{command, doors, ended, free_ports, say},
    wire::Canned,
};

/// Token calls fail at once, so nobody need wait for them long.
const SHORT: &str = "[upstream]\ntimeouts = { token_wait = \"500ms\", connect = \"2s\" }\n";

/// An answer of our own that says all of these, and the action something.
#[track_caller]
fn tells(answer: &Answer, status: u16, code: &str, words: &[&str]) {
    assert_eq!((answer.status, answer.code().as_str()), (status, code), "{}", answer.body);
    for word in words {
        assert!(answer.body.contains(word), "{word} is not in {}", answer.body);
    }
    let document = answer.json();
    for member in ["type", "title", "detail", "action", "request_id"] {
        assert!(document[member].as_str().is_some_and(|text| text.len() > 3), "{member}: {}", answer.body);
    }
    assert_eq!(document["status"], status);
    assert!(answer.headers["proxy-status"].to_str().unwrap().starts_with("marketgate; error="));
    assert_eq!(answer.headers["content-type"], "application/problem+json");
    assert_eq!(answer.headers["cache-control"], "no-store");
}

#[test]
fn a_wrong_client_secret_is_told_as_that_and_asked_about_again_only_now_and_then() {
    let configuration = format!("{SHORT}{ALL_APPS}").replace("any-1-secret", "not-the-secret");
    gate(Time::Runs, &configuration, |w| async move {
        for _ in 0..10 {
            let answer = w.get("/any/x").await;
            tells(&answer, 503, "token_unavailable", &["any@default", "invalid_client", "client_secret"]);
            assert!(answer.json()["action"].as_str().unwrap().contains("client_secret"));
            assert!(!answer.body.contains("not-the-secret"));
            assert_eq!(answer.json()["app"], "any");
        }
        assert!(w.sim.token_calls("generic") <= 3, "{} calls", w.sim.token_calls("generic"));
        let state = w.admin("/api/accounts/any/default").await.json();
        assert_eq!(state["state"], "misconfigured", "{state}");
        assert!(state["trouble"]["action"].as_str().unwrap().contains("client_secret"), "{state}");
        assert_eq!(w.sim.api_calls("*"), 0, "a request went out without a token");
        // Another app is not concerned.
        assert_eq!(w.get("/many@a/x").await.status, 200);
    });
}

#[test]
fn an_unknown_app_or_account_is_told_with_those_there_are() {
    gate(Time::Runs, ALL_APPS, |w| async move {
        tells(&w.get("/walmrt/v3/items").await, 400, "no_such_app", &["walmrt", "/walmart/", "/depop/"]);
        tells(&w.get("/many@c/x").await, 400, "no_such_account", &["many", "`c`", "[apps.many.accounts.c]"]);
        tells(&w.get("/many/x").await, 400, "account_required", &["/many@ACCOUNT/", "Marketgate-Account"]);
        let two = w.http.get(w.url("/many@a/x")).header("Marketgate-Account", "b");
        tells(&w.send(two).await, 400, "bad_route", &["`a`", "`b`", "Marketgate-Account"]);
        let two = w.http.get(w.url("/any/x")).header("Marketgate-App", "many");
        tells(&w.send(two).await, 400, "bad_route", &["`any`", "`many`", "Marketgate-App"]);
        assert_eq!(w.arrived(), 0);
    });
}

#[test]
fn a_token_endpoint_that_is_down_is_named_and_promised_to_be_asked_again() {
    let configuration = format!(
        "{SHORT}[apps.down]\nprovider = \"generic\"\napi = \"SIM/generic/api\"\ntoken_url = \"http://127.0.0.1:1/token\"\n\
         client_id = \"x\"\nclient_secret = \"x-secret\"\n"
    );
    gate(Time::Runs, &configuration, |w| async move {
        let answer = w.get("/down/x").await;
        tells(&answer, 503, "token_unavailable", &["down@default", "127.0.0.1:1", "keeps trying"]);
        assert!(answer.headers.contains_key("retry-after"));
    });
}

#[test]
fn a_token_endpoint_that_answers_with_a_web_page_is_told_as_that() {
    gate(Time::Runs, &format!("{SHORT}{ALL_APPS}"), |w| async move {
        let page = |status| Fault::TokenAnswer {
            status,
            content_type: "text/html".to_owned(),
            body: "<!DOCTYPE html><html><head><title>Sign in to Wi-Fi</title></head></html>".to_owned(),
        };
        for (status, path, words) in [
            (200, "/any/x", &["HTML", "token_url"][..]),
            (404, "/walmart/v3/items", &["there is no token endpoint", "token_url"]),
            (403, "/golocal/deliveries", &["403", "forbidden", "a firewall or a proxy"]),
            (400, "/supplier/v3/orders", &["400", "token_url"]),
        ] {
            w.sim.add_fault(page(status).at("*").on_token().for_ever());
            let answer = w.get(path).await;
            tells(&answer, 503, "token_unavailable", words);
            assert!(!answer.body.contains("<title>"), "{}", answer.body);
            w.sim.clear_faults();
        }
    });
}

/// Apps whose API, token endpoint or both are at `origin`.
fn secured(origin: &str, more: &str) -> String {
    format!(
        "[upstream]\n{more}timeouts = {{ token_wait = \"500ms\" }}\n\
         [apps.key]\nprovider = \"generic\"\ngrant = \"static\"\napi = \"{origin}/generic/api\"\napi_key = \"key-x\"\n\
         [apps.token]\nprovider = \"generic\"\napi = \"{origin}/generic/api\"\ntoken_url = \"{origin}/generic/oauth/token\"\n\
         client_id = \"c\"\nclient_secret = \"c-secret\"\n"
    )
}

fn ca_file(folder: &Path, authority: &Authority) -> String {
    let path = folder.join("ca.pem");
    std::fs::write(&path, &authority.pem).unwrap();
    format!("ca_file = \"{}\"\n", path.display())
}

#[test]
fn a_certificate_of_an_unknown_authority_is_told_and_naming_the_authority_mends_it_in_both_versions() {
    let (folder, authority) = (tempfile::tempdir().unwrap(), Authority::new());
    for (protocols, version) in
        [(&["h2", "http/1.1"][..], "HTTP/2.0"), (&["http/1.1"], "HTTP/1.1"), (&[], "HTTP/1.1")]
    {
        let market = Secured::start(authority.server(Leaf::Good, protocols));
        gate(Time::Runs, &secured(&market.origin, ""), |w| async move {
            let answer = w.get("/key/x").await;
            tells(&answer, 502, "upstream_unreachable", &["certificate", "not trusted", "upstream.ca_file"]);
            assert!(answer.headers["proxy-status"].to_str().unwrap().contains("tls_certificate_error"));
            tells(&w.get("/token/x").await, 503, "token_unavailable", &["certificate", "upstream.ca_file"]);
        });
        assert_eq!(market.sim.api_calls("*") + market.sim.token_calls("*"), 0);
        let configuration = secured(&market.origin, &ca_file(folder.path(), &authority));
        gate(Time::Runs, &configuration, |w| async move {
            for path in ["/key/x?a=b", "/token/x", "/key/bytes/300000"] {
                let answer = w.get(path).await;
                assert_eq!(answer.status, 200, "{path}: {}", answer.body);
            }
            let upload = w.http.post(w.url("/token/x")).body(vec![7; 100_000]);
            assert_eq!(w.send(upload).await.json()["body_length"], 100_000);
        });
        for request in market.sim.requests() {
            assert!(request.violations.is_empty(), "{:?}", request.violations);
            assert!(
                request.kind == "token" || request.version == version,
                "{} {}",
                request.kind,
                request.version
            );
            assert!(request.authority.unwrap().starts_with("localhost:"));
        }
    }
}

#[test]
fn a_certificate_that_is_expired_or_anothers_is_told_as_that_whoever_issued_it() {
    let (folder, authority) = (tempfile::tempdir().unwrap(), Authority::new());
    for (leaf, words) in [(Leaf::Expired, "expired"), (Leaf::ForAnother, "not valid for")] {
        let market = Secured::start(authority.server(leaf, &["h2"]));
        let configuration = secured(&market.origin, &ca_file(folder.path(), &authority));
        gate(Time::Runs, &configuration, |w| async move {
            let answer = w.get("/key/x").await;
            tells(&answer, 502, "upstream_unreachable", &["certificate", words, "localhost:"]);
            tells(&w.get("/token/x").await, 503, "token_unavailable", &["certificate", words]);
        });
        assert_eq!(market.sim.api_calls("*") + market.sim.token_calls("*"), 0);
    }
}

#[test]
fn an_upstream_that_speaks_no_tls_is_told_as_that() {
    let canned = Canned::new();
    let configuration = format!(
        "[apps.key]\nprovider = \"generic\"\ngrant = \"static\"\napi = \"https://{}\"\napi_key = \"key-x\"\n",
        canned.address
    );
    gate(Time::Runs, &configuration, |w| async move {
        let _heads = canned.answer(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n", false);
        // Whatever a TLS greeting holds, a line end will come by: plain HTTP servers answer or hang up.
        let answer = w.send(w.http.get(w.url("/key/x"))).await;
        assert!(matches!(answer.status, 502 | 504), "{}", answer.body);
        assert!(
            answer.body.contains("TLS") || answer.body.contains("upstream.timeouts.connect"),
            "{}",
            answer.body
        );
    });
}

/// An app that can only be reached through the forward proxy at `canned`.
fn behind(canned: &Canned, credentials: &str) -> String {
    format!(
        "[upstream]\nproxy_url = \"http://{credentials}{}\"\ntimeouts = {{ token_wait = \"500ms\" }}\n\
         [apps.key]\nprovider = \"generic\"\ngrant = \"static\"\napi = \"https://api.invalid/v1\"\napi_key = \"key-x\"\n\
         [apps.token]\nprovider = \"generic\"\napi = \"https://api.invalid/v1\"\ntoken_url = \"https://auth.invalid/token\"\n\
         client_id = \"c\"\nclient_secret = \"c-secret\"\n",
        canned.address
    )
}

#[test]
fn a_forward_proxy_that_refuses_is_named_and_not_taken_for_the_marketplace() {
    for (answer, words) in [
        (
            &b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n"[..],
            &["403", "forward proxy", "api.invalid:443"][..],
        ),
        (
            b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n",
            &["407", "upstream.proxy_url"],
        ),
        (b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n", &["502", "forward proxy"]),
        (b"SMTP ready\r\n\r\n", &["does not speak HTTP", "upstream.proxy_url"]),
    ] {
        let canned = Canned::new();
        let configuration = behind(&canned, "user:pass-word-1@");
        gate(Time::Runs, &configuration, |w| async move {
            let place = canned.address.to_string();
            let mut heads = canned.answer(answer, false);
            let told = w.get("/key/x").await;
            tells(&told, 502, "upstream_unreachable", words);
            assert!(told.body.contains(&place) && !told.body.contains("pass-word-1"), "{}", told.body);
            let head = heads.recv().await.unwrap();
            assert!(head.starts_with("CONNECT api.invalid:443 HTTP/1.1\r\n"), "{head}");
            assert!(!head.contains("key-x"), "{head}");
            let told = w.get("/token/x").await;
            tells(&told, 503, "token_unavailable", &["proxy"]);
            assert!(!told.body.contains("pass-word-1"), "{}", told.body);
        });
    }
}

#[test]
fn a_forward_proxy_that_is_not_there_is_named() {
    let [port] = free_ports();
    let configuration = format!(
        "[upstream]\nproxy_url = \"http://127.0.0.1:{port}\"\n[apps.key]\nprovider = \"generic\"\ngrant = \"static\"\n\
         api = \"https://api.invalid/v1\"\napi_key = \"key-x\"\n"
    );
    gate(Time::Runs, &configuration, |w| async move {
        let words = [&format!("127.0.0.1:{port}"), "upstream.proxy_url", "refuses connections"];
        tells(&w.get("/key/x").await, 502, "upstream_unreachable", &words);
    });
}

#[test]
fn a_name_that_does_not_resolve_is_told_as_that() {
    let configuration = "[apps.key]\nprovider = \"generic\"\ngrant = \"static\"\napi = \"https://no-such-host.invalid\"\napi_key = \"key-x\"\n";
    gate(Time::Runs, configuration, |w| async move {
        let answer = w.get("/key/x").await;
        tells(&answer, 502, "upstream_unreachable", &["no-such-host.invalid", "cannot be resolved", "DNS"]);
    });
}

/// `check` and `run` on a configuration; both refuse it with 3 and say these words, and nothing listens.
fn refuses(text: &str, words: &[&str]) {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("proxy.toml"), text).unwrap();
    for name in ["check", "run"] {
        let said = say(folder.path(), &[name]);
        assert_eq!((said.code, said.out.as_str()), (Some(3), ""), "{text}: {}", said.err);
        for word in words {
            assert!(said.err.contains(word), "{name}: {word} is not in {}", said.err);
        }
    }
}

const APP: &str =
    "[apps.depop]\nprovider = \"depop\"\nenvironment = \"production\"\napi_key = { file = \"key\" }\n";

#[test]
fn a_secret_file_that_is_absent_is_named_before_anything_starts() {
    refuses(APP, &["proxy.toml:4", "key", "No such file"]);
    let variable = APP.replace("{ file = \"key\" }", "{ env = \"NOT_SET_ANYWHERE\" }");
    refuses(&variable, &["proxy.toml:4", "NOT_SET_ANYWHERE"]);
}

#[test]
fn a_door_open_to_other_machines_without_keys_is_refused() {
    let app = APP.replace("{ file = \"key\" }", "\"pak_x\"");
    for address in ["0.0.0.0:0", "[::]:0", "192.0.2.1:80"] {
        refuses(
            &format!("[proxy]\nlisten = \"{address}\"\n{app}"),
            &["proxy.toml:2", "marketgate caller", "127.0.0.1"],
        );
        refuses(
            &format!("[admin]\nlisten = \"{address}\"\n{app}"),
            &["proxy.toml:2", "[admin.keys.NAME]", "loopback"],
        );
        let own = format!("[[proxy.listener]]\nlisten = \"{address}\"\napp = \"depop\"\n{app}");
        refuses(&own, &["proxy.toml:2", "marketgate caller"]);
    }
}

#[test]
fn an_upstream_without_tls_elsewhere_than_here_is_refused() {
    for (key, value) in [
        ("api", "http://api.example.com"),
        ("token_url", "http://auth.example.com/token"),
        ("api", "https://user:hunter2@api.example.com"),
        ("api", "https://api.example.com/x#y"),
        ("api", "ftp://api.example.com"),
        ("api", "api.example.com"),
    ] {
        let mut app = std::collections::BTreeMap::from([
            ("api", "https://api.example.com"),
            ("token_url", "https://auth.example.com/token"),
            ("client_id", "x"),
            ("client_secret", "hunter3"),
        ]);
        app.insert(key, value);
        let keys: String = app.iter().map(|(key, value)| format!("{key} = \"{value}\"\n")).collect();
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("proxy.toml"), format!("[apps.x]\nprovider = \"generic\"\n{keys}"))
            .unwrap();
        let said = say(folder.path(), &["check"]);
        assert_eq!(said.code, Some(3), "{value}: {}", said.err);
        assert!(said.err.contains(key) && !said.err.contains("hunter"), "{value}: {}", said.err);
    }
}

#[test]
fn a_port_that_is_taken_is_named_with_the_key_that_sets_it() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let [free] = free_ports();
    for (proxy, admin, key) in [(port, free, "proxy.listen"), (free, port, "admin.listen")] {
        let folder = tempfile::tempdir().unwrap();
        let app = APP.replace("{ file = \"key\" }", "\"pak_x\"");
        std::fs::write(folder.path().join("proxy.toml"), doors(proxy, admin) + &app).unwrap();
        let said = say(folder.path(), &["run"]);
        assert_eq!((said.code, said.out.as_str()), (Some(1), ""), "{}", said.err);
        for word in [&format!("127.0.0.1:{port}"), key, "another process"] {
            assert!(said.err.contains(word), "{word}: {}", said.err);
        }
    }
}

#[test]
fn proxies_of_the_environment_have_no_say() {
    let (folder, authority) = (tempfile::tempdir().unwrap(), Authority::new());
    let market = Secured::start(authority.server(Leaf::Good, &["h2"]));
    let [proxy, admin, nobody] = free_ports();
    let text = doors(proxy, admin) + &secured(&market.origin, &ca_file(folder.path(), &authority));
    std::fs::write(folder.path().join("proxy.toml"), text).unwrap();
    let mut token = command(folder.path(), &["token", "token"]);
    for name in ["HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"] {
        token.env(name, format!("http://127.0.0.1:{nobody}"));
    }
    let said = ended(token);
    assert_eq!(said.code, Some(0), "{}", said.err);
}

#[test]
fn check_online_tells_each_account_that_gets_no_token_while_its_reader_still_looks() {
    let (folder, authority) = (tempfile::tempdir().unwrap(), Authority::new());
    let market = Secured::start(authority.server(Leaf::Good, &["h2"]));
    let [proxy, admin] = free_ports();
    std::fs::write(folder.path().join("proxy.toml"), doors(proxy, admin) + &secured(&market.origin, ""))
        .unwrap();
    let began = std::time::Instant::now();
    let said = say(folder.path(), &["check", "--online", "-o", "json"]);
    assert_eq!(said.code, Some(5), "{}", said.err);
    let document: serde_json::Value = serde_json::from_str(&said.out).unwrap();
    assert_eq!(document["valid"], false);
    let of_token =
        document["online"].as_array().unwrap().iter().find(|asked| asked["account"] == "token@default");
    assert!(of_token.unwrap()["error"]["help"].as_str().unwrap().contains("upstream.ca_file"), "{document}");
    assert!(began.elapsed().as_secs() < 15, "{:?}", began.elapsed());
}
