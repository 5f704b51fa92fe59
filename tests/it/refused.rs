//! Who does not get through the proxy door: web pages, foreign names, callers without a key. Everything is written byte
//! for byte, since a client library would repair half of it.

use std::rc::Rc;

use crate::{
    dropped::no_mark,
    harness::{ALL_APPS, Time, World, gate},
};

pub(crate) const API: &str = "/any/orders";

/// A request to [`API`] with these lines after the request line.
pub(crate) fn request(method: &str, fields: &[&str]) -> String {
    let fields: String = fields.iter().map(|field| format!("{field}\r\n")).collect();
    format!("{method} {API} HTTP/1.1\r\n{fields}\r\n")
}

/// Asks, and expects an answer of the proxy's own that nothing upstream has heard of.
pub(crate) async fn refused(w: &World, name: &str, request: &str, status: u16, code: &str) {
    let answer = w.ask(request).await;
    assert_eq!((answer.status, answer.code().as_str()), (status, code), "{name}: {}", answer.body);
    assert!(
        answer.headers.keys().all(|name| !name.as_str().starts_with("access-control-")),
        "{name}: {:?}",
        answer.headers
    );
    assert_eq!(w.arrived(), 0, "{name} reached a marketplace");
}

pub(crate) const HOST: &str = "Host: localhost:8080";

/// What pages can make a browser send, by how they make it.
const PAGES: [(&str, &str, &[&str]); 44] = [
    ("fetch of another site", "GET", &["Origin: https://evil.test", "Sec-Fetch-Site: cross-site"]),
    ("fetch without Sec-Fetch", "GET", &["Origin: https://evil.test"]),
    ("no-cors POST", "POST", &["Origin: https://evil.test", "Sec-Fetch-Mode: no-cors", "Content-Length: 0"]),
    ("sandboxed frame", "GET", &["Origin: null"]),
    ("sandboxed POST", "POST", &["Origin: null", "Content-Length: 0"]),
    ("another port", "GET", &["Origin: http://localhost:3000", "Sec-Fetch-Site: same-site"]),
    ("the proxy's own name as origin", "GET", &["Origin: http://localhost:8080"]),
    ("an empty Origin", "GET", &["Origin:"]),
    ("two Origins", "GET", &["Origin: http://localhost:8080", "Origin: https://evil.test"]),
    ("an extension", "GET", &["Origin: chrome-extension://abcdefghijklmnop"]),
    ("a file", "GET", &["Origin: file://"]),
    ("PUT", "PUT", &["Origin: https://evil.test", "Content-Length: 0"]),
    ("DELETE", "DELETE", &["Origin: https://evil.test"]),
    ("PATCH", "PATCH", &["Origin: https://evil.test", "Content-Length: 0"]),
    (
        "image",
        "GET",
        &[
            "Sec-Fetch-Site: cross-site",
            "Sec-Fetch-Mode: no-cors",
            "Sec-Fetch-Dest: image",
            "Accept: image/*",
        ],
    ),
    ("script", "GET", &["Sec-Fetch-Site: cross-site", "Sec-Fetch-Dest: script"]),
    ("image from a port of the same host", "GET", &["Sec-Fetch-Site: same-site", "Sec-Fetch-Dest: image"]),
    ("a page found on the proxy itself", "GET", &["Sec-Fetch-Site: same-origin"]),
    ("an unknown site", "GET", &["Sec-Fetch-Site: whatever"]),
    ("two sites", "GET", &["Sec-Fetch-Site: none", "Sec-Fetch-Site: cross-site"]),
    ("a list of sites", "GET", &["Sec-Fetch-Site: none, cross-site"]),
    (
        "form",
        "POST",
        &["Origin: https://evil.test", "Content-Type: text/plain", "Content-Length: 4", "Connection: close"],
    ),
    ("form of the first navigation", "POST", &["Sec-Fetch-Site: cross-site", "Content-Length: 0"]),
    ("frame", "GET", &["Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: iframe"]),
    ("prefetch", "GET", &["Sec-Fetch-Site: cross-site", "Sec-Purpose: prefetch"]),
    (
        "event source",
        "GET",
        &["Sec-Fetch-Site: cross-site", "Accept: text/event-stream", "Cache-Control: no-cache"],
    ),
    (
        "web socket",
        "GET",
        &[
            "Origin: https://evil.test",
            "Connection: Upgrade",
            "Upgrade: websocket",
            "Sec-WebSocket-Version: 13",
            "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
        ],
    ),
    // What began outside of the browser, wherever it was led since: a link in another program, a page of `marketgate login`.
    (
        "typed address",
        "GET",
        &["Sec-Fetch-Site: none", "Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: document"],
    ),
    ("typed address, by its mode alone", "GET", &["Sec-Fetch-Mode: navigate"]),
    (
        "a POST led on by a 307",
        "POST",
        &["Sec-Fetch-Site: none", "Sec-Fetch-Mode: navigate", "Content-Length: 0"],
    ),
    ("another spelling of it", "GET", &["Sec-Fetch-Site: none", "sec-fetch-mode: Navigate"]),
    ("two modes", "GET", &["Sec-Fetch-Mode: cors", "Sec-Fetch-Mode: navigate"]),
    ("a list of modes", "GET", &["Sec-Fetch-Mode: cors, navigate"]),
    ("an unknown mode", "GET", &["Sec-Fetch-Mode: whatever"]),
    ("web socket by its mode", "GET", &["Sec-Fetch-Site: none", "Sec-Fetch-Mode: websocket"]),
    ("frame by its destination", "GET", &["Sec-Fetch-Site: none", "Sec-Fetch-Dest: iframe"]),
    ("object", "GET", &["Sec-Fetch-Dest: object"]),
    ("prefetch of the address bar", "GET", &["Sec-Fetch-Site: none", "Sec-Purpose: prefetch"]),
    ("prerender", "GET", &["Sec-Purpose: prefetch;prerender"]),
    ("prefetch in Chrome's older words", "GET", &["Purpose: prefetch"]),
    ("prefetch in Firefox's older words", "GET", &["X-Moz: prefetch"]),
    ("preview in Safari's words", "GET", &["X-Purpose: preview"]),
    ("a browser without Fetch Metadata", "GET", &["Upgrade-Insecure-Requests: 1"]),
    (
        "preflight",
        "OPTIONS",
        &[
            "Origin: https://evil.test",
            "Access-Control-Request-Method: PUT",
            "Access-Control-Request-Headers: authorization",
            "Access-Control-Request-Private-Network: true",
        ],
    ),
];

#[test]
fn what_a_web_page_caused_is_refused_whatever_its_shape() {
    gate(Time::Runs, ALL_APPS, |w| async move {
        for (name, method, fields) in PAGES {
            let fields: Vec<&str> = [HOST].into_iter().chain(fields.iter().copied()).collect();
            refused(&w, name, &request(method, &fields), 403, "browser_refused").await;
        }
    });
}

#[test]
fn programs_that_say_a_little_of_what_browsers_say_pass() {
    gate(Time::Runs, ALL_APPS, |w| async move {
        for fields in [
            // Node.js and Deno.
            &["Sec-Fetch-Mode: cors", "Accept: */*", "Accept-Language: *"][..],
            &["Sec-Fetch-Site: none", "Sec-Fetch-Mode: no-cors", "Sec-Fetch-Dest: empty"],
            &["Purpose: refund", "X-Moz: 1", "Referer: https://app.example.com/"],
        ] {
            let answer = w.ask(request("GET", &[&[HOST][..], fields].concat())).await;
            assert_eq!(answer.status, 200, "{fields:?}: {}", answer.body);
        }
    });
}

#[test]
fn only_our_own_names_are_served() {
    gate(Time::Runs, ALL_APPS, |w| async move {
        for host in [
            "evil.test",
            "evil.test:8080",
            "127.0.0.1.evil.test",
            "localhost.evil.test",
            "evil-localhost",
            "localhostx",
            "0.0.0.0",
            "0.0.0.0:8080",
            "127.0.0.2",
            "127.1",
            "2130706433",
            "0x7f000001",
            "[::]",
            "[::1.2.3.4]",
            "[::ffff:127.0.0.1]",
            "local_host",
            "..",
        ] {
            let host = format!("Host: {host}");
            refused(&w, &host, &request("GET", &[&host]), 403, "host_refused").await;
        }
        for host in
            ["localhost", "LOCALHOST:8080", "localhost.", "127.0.0.1", "127.0.0.1:1", "[::1]", "[::1]:9"]
        {
            let host = format!("Host: {host}");
            let answer = w.ask(request("GET", &[&host])).await;
            assert_eq!(answer.status, 200, "{host}: {}", answer.body);
        }
    });
}

const KEY: &str = "mgk_the-key-of-sync-3b9e";

/// The generic app behind a gate where callers have keys.
fn with_callers() -> String {
    format!("[callers.sync]\nkey = \"{KEY}\"\n[callers.other]\nkey = \"mgk_another-key-5d\"\n{ALL_APPS}")
}

fn basic(user: &str, password: &str) -> String {
    use base64::{Engine, prelude::BASE64_STANDARD};
    format!("Authorization: Basic {}", BASE64_STANDARD.encode(format!("{user}:{password}")))
}

#[test]
fn where_callers_have_keys_nobody_passes_without_one() {
    gate(Time::Runs, &with_callers(), |w| async move {
        for field in [
            String::new(),
            "Marketgate-Key: wrong".to_owned(),
            "Marketgate-Key:".to_owned(),
            format!("Marketgate-Key: {}", KEY.to_uppercase()),
            format!("Marketgate-Key: {KEY}x"),
            format!("Marketgate-Key: {}", &KEY[..KEY.len() - 1]),
            format!("Marketgate_Key: {KEY}"),
            format!("X-Api-Key: {KEY}"),
            format!("Cookie: key={KEY}"),
            "Authorization: Bearer wrong".to_owned(),
            "Authorization: Bearer".to_owned(),
            format!("Authorization: {KEY}"),
            format!("Authorization: Digest {KEY}"),
            basic(KEY, ""),
            basic("me", "wrong"),
            "Authorization: Basic %%%".to_owned(),
        ] {
            let fields: Vec<&str> =
                ["Host: gate.test", &field].into_iter().filter(|f| !f.is_empty()).collect();
            let request = request("GET", &fields);
            refused(&w, &field, &request, 401, "caller_unknown").await;
            let answer = w.ask(&request).await;
            assert!(answer.headers.contains_key("www-authenticate"));
            assert!(!answer.body.contains(KEY) && !answer.body.contains("wrong"), "{}", answer.body);
        }
        let in_query = format!("GET {API}?key={KEY} HTTP/1.1\r\nHost: gate.test\r\n\r\n");
        refused(&w, "in the query", &in_query, 401, "caller_unknown").await;
    });
}

#[test]
fn a_caller_shows_his_key_in_any_of_three_places_and_it_goes_no_further() {
    gate(Time::Runs, &with_callers(), |w| async move {
        for field in [
            format!("Marketgate-Key: {KEY}"),
            format!("marketgate-key:{KEY}"),
            format!("Authorization: Bearer {KEY}"),
            format!("authorization: bearer {KEY}"),
            basic("anything", KEY),
            basic("", KEY),
            "Marketgate-Key: mgk_another-key-5d".to_owned(),
            format!("Marketgate-Key: {KEY}\r\nAuthorization: Bearer some-sdk-token"),
        ] {
            // Whoever has a key may call by any name.
            let answer = w.ask(request("GET", &["Host: gate.test", &field])).await;
            assert_eq!(answer.status, 200, "{field}: {}", answer.body);
            let arrived = w.sim.requests().pop().unwrap();
            assert!(arrived.violations.is_empty(), "{field}: {:?}", arrived.violations);
            for mark in [KEY, "mgk_another-key-5d", "some-sdk-token"] {
                no_mark(&arrived, mark, &field);
            }
            assert!(!answer.body.contains(KEY), "{}", answer.body);
        }
    });
}

#[test]
fn a_key_does_not_make_a_web_page_welcome() {
    gate(Time::Runs, &with_callers(), |w| async move {
        let key = format!("Marketgate-Key: {KEY}");
        for mark in [
            "Origin: https://evil.test",
            "Origin: null",
            "Sec-Fetch-Site: cross-site",
            "Sec-Fetch-Site: same-origin",
            "Sec-Fetch-Mode: navigate",
        ] {
            refused(&w, mark, &request("GET", &["Host: localhost", &key, mark]), 403, "browser_refused")
                .await;
        }
    });
}

#[test]
fn a_name_that_is_allowed_is_served_and_none_beside_it() {
    let configuration = format!(
        "[proxy]\nallowed_hosts = [\"gate.internal\", \"my_gate\", \"10.1.2.3\"]\n{}",
        with_callers()
    );
    gate(Time::Runs, &configuration, |w| async move {
        let key = format!("Marketgate-Key: {KEY}");
        for host in
            ["evil.gate.internal", "gate.internal.evil.test", "gate", "internal", "gate_internal", "10.1.2.4"]
        {
            let host = format!("Host: {host}");
            refused(&w, &host, &request("GET", &[&host, &key]), 403, "host_refused").await;
        }
        for host in
            ["gate.internal", "GATE.internal:9999", "gate.internal.", "my_gate:1", "10.1.2.3", "localhost"]
        {
            let host = format!("Host: {host}");
            refused(&w, &host, &request("GET", &[&host]), 401, "caller_unknown").await;
        }
        for host in
            ["gate.internal", "GATE.internal:9999", "gate.internal.", "my_gate:1", "10.1.2.3", "localhost"]
        {
            let answer = w.ask(request("GET", &[&format!("Host: {host}"), &key])).await;
            assert_eq!(answer.status, 200, "{host}: {}", answer.body);
        }
    });
}

#[test]
fn pages_of_an_allowed_origin_may_call_and_read_by_our_word_not_the_marketplaces() {
    let configuration = format!("[proxy]\nallowed_origins = [\"https://app.example.com\"]\n{ALL_APPS}");
    gate(Time::Runs, &configuration, |w| async move {
        for origin in [
            "https://app.example.com.evil.test",
            "http://app.example.com",
            "https://app.example.com:8443",
            "https://evil.app.example.com",
            "HTTPS://APP.EXAMPLE.COM",
            "null",
        ] {
            let origin = format!("Origin: {origin}");
            refused(&w, &origin, &request("GET", &["Host: localhost", &origin]), 403, "browser_refused")
                .await;
        }
        let page = ["Host: localhost", "Origin: https://app.example.com", "Sec-Fetch-Site: cross-site"];
        preflight(&w, &page).await;
        let answer = w.ask(request("GET", &page)).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        assert_eq!(answer.headers["access-control-allow-origin"], "https://app.example.com");
        assert!(answer.headers.get_all("vary").iter().any(|v| v == "Origin"), "{:?}", answer.headers);
    });
}

#[test]
fn a_page_of_an_allowed_origin_can_read_why_it_was_refused() {
    let configuration = format!("[proxy]\nallowed_origins = [\"https://app.example.com\"]\n{ALL_APPS}");
    gate(Time::Runs, &configuration, |w| async move {
        let page = ["Host: localhost", "Origin: https://app.example.com", "Sec-Fetch-Site: cross-site"];
        let answer = w.ask(request("GET", &page).replace(API, "/nope/")).await;
        assert_eq!(answer.code(), "no_such_app");
        let allowed = answer.headers.get("access-control-allow-origin");
        assert_eq!(allowed.map(http::HeaderValue::as_bytes), Some(&b"https://app.example.com"[..]));
    });
}

async fn preflight(w: &Rc<World>, page: &[&str]) {
    let asks = ["Access-Control-Request-Method: PUT", "Access-Control-Request-Headers: x-a, content-type"];
    let answer = w.ask(request("OPTIONS", &[page, &asks].concat())).await;
    assert_eq!((answer.status, answer.body.as_str()), (204, ""));
    assert_eq!(answer.headers["access-control-allow-origin"], "https://app.example.com");
    assert_eq!(answer.headers["access-control-allow-methods"], "PUT");
    assert_eq!(answer.headers["access-control-allow-headers"], "x-a, content-type");
    assert!(!answer.headers.contains_key("access-control-allow-credentials"));
    assert!(!answer.headers.contains_key("access-control-allow-private-network"));
    assert_eq!(w.arrived(), 0, "a preflight went upstream");
}

#[test]
fn the_admin_doors_paths_are_no_paths_of_the_proxy_door() {
    gate(Time::Runs, ALL_APPS, |w| async move {
        for path in ["/livez", "/readyz", "/metrics", "/api/accounts", "/"] {
            for agent in ["curl/8", "kube-probe/1.30"] {
                let request =
                    format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nUser-Agent: {agent}\r\n\r\n");
                refused(&w, path, &request, 400, "no_such_app").await;
            }
        }
    });
}
