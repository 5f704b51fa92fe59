//! Who and what does not get through: web pages, foreign names, ambiguous requests, callers' own credentials. Everything
//! is written byte for byte, since a client library would repair half of it.

use std::rc::Rc;

use marketgate::sim::fingerprint;

use crate::{
    harness::{ALL_APPS, Time, World, gate, gate_with},
    wire::{Wire, ask},
};

const API: &str = "/any/orders";

/// A request to [`API`] with these lines after the request line.
fn request(method: &str, fields: &[&str]) -> String {
    let fields: String = fields.iter().map(|field| format!("{field}\r\n")).collect();
    format!("{method} {API} HTTP/1.1\r\n{fields}\r\n")
}

/// Asks, and expects an answer of the proxy's own that nothing upstream has heard of.
async fn refused(w: &World, name: &str, request: &str, status: u16, code: &str) {
    let answer = w.ask(request).await;
    assert_eq!((answer.status, answer.code().as_str()), (status, code), "{name}: {}", answer.body);
    assert!(
        answer.headers.keys().all(|name| !name.as_str().starts_with("access-control-")),
        "{name}: {:?}",
        answer.headers
    );
    assert_eq!(w.arrived(), 0, "{name} reached a marketplace");
}

const HOST: &str = "Host: localhost:8080";

/// What pages can make a browser send, by how they make it.
const PAGES: [(&str, &str, &[&str]); 28] = [
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
fn what_a_person_types_into_a_browser_is_no_page_and_passes() {
    gate(Time::Runs, ALL_APPS, |w| async move {
        let typed = ["Sec-Fetch-Site: none", "Sec-Fetch-Mode: navigate", "Sec-Fetch-User: ?1"];
        let answer = w.ask(request("GET", &[&[HOST][..], &typed].concat())).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
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

#[test]
fn a_host_that_is_no_host_is_a_bad_request_and_ends_the_connection() {
    gate(Time::Runs, ALL_APPS, |w| async move {
        let one = |host: &str| vec![format!("Host: {host}")];
        let mut cases: Vec<Vec<String>> = [
            "user@localhost",
            "localhost:x@evil.test",
            "localhost, evil.test",
            "localhost evil.test",
            "localhost/x",
            "localhost?x",
            "localhost#x",
            "localhost\\evil.test",
            "localhost%00.evil.test",
            "localhost:",
            "localhost:80:80",
            "localhost:evil",
            "localhost:999999",
            "[::1",
            "::1",
            "http://localhost",
            "",
        ]
        .iter()
        .map(|host| one(host))
        .collect();
        cases.push(vec!["Host: localhost".into(), "Host: evil.test".into()]);
        cases.push(vec!["Host: localhost".into(), "Host: localhost".into()]);
        cases.push(vec!["Host: localhost".into(), "hOST: evil.test".into()]);
        cases.push(vec!["Accept: */*".into()]);
        for fields in cases {
            let fields: Vec<&str> = fields.iter().map(String::as_str).collect();
            bad(&w, request("GET", &fields).as_bytes()).await;
        }
        let nameless = format!("GET {API} HTTP/1.0\r\nAccept: */*\r\n\r\n");
        refused(&w, "HTTP/1.0 without Host", &nameless, 403, "host_refused").await;
    });
}

/// A request that cannot be understood in one way only: a bare refusal, the connection's end, nothing upstream; what
/// follows it is never read as a request.
async fn bad(w: &World, bytes: &[u8]) {
    let shown = String::from_utf8_lossy(bytes).into_owned();
    let mut wire = Wire::to(w.proxy).await;
    wire.write(bytes).await;
    wire.write(b"GET /any/smuggled HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    let answer = wire.answer().await.unwrap_or_else(|| panic!("no answer to {shown:?}"));
    assert_eq!(answer.status, 400, "{shown:?}: {}", answer.body);
    assert!(answer.body.is_empty() && answer.code().is_empty(), "{shown:?}: {}", answer.body);
    assert!(wire.ends().await, "{shown:?}: the connection went on");
    assert_eq!(w.arrived(), 0, "{shown:?} reached a marketplace");
}

#[test]
fn a_request_line_that_is_not_plain_http_1_is_refused() {
    gate(Time::Runs, ALL_APPS, |w| async move {
        let host = "Host: localhost\r\n\r\n";
        for line in [
            "GET http://evil.test/any/x HTTP/1.1",
            "GET http://localhost/any/x HTTP/1.1",
            "GET https://user@evil.test/any/x HTTP/1.1",
            "GET localhost:8080 HTTP/1.1",
            "CONNECT evil.test:443 HTTP/1.1",
            "CONNECT /any/x HTTP/1.1",
            "OPTIONS * HTTP/1.1",
            "GET * HTTP/1.1",
            "GET any/x HTTP/1.1",
            "GET ?x HTTP/1.1",
            "GET #x HTTP/1.1",
            "GET /any/x#fragment HTTP/1.1",
            "GET /any/x y HTTP/1.1",
            "GET  /any/x HTTP/1.1",
            "GET /any/x  HTTP/1.1",
            "GET\t/any/x HTTP/1.1",
            " GET /any/x HTTP/1.1",
            "GET /any/x HTTP/1.2",
            "GET /any/x HTTP/2.0",
            "GET /any/x HTTP/0.9",
            "GET /any/x HTTP/1.1 ",
            "GET /any/x http/1.1",
            "GET /any/x HTTP/1",
            "GET /any/x HTTP/11",
            "GET /any/x",
            "GET /any/\0 HTTP/1.1",
            "GET /any/\u{7f} HTTP/1.1",
            "GET /any/caf\u{e9} HTTP/1.1",
            "G@T /any/x HTTP/1.1",
            "G\"T /any/x HTTP/1.1",
            "(GET) /any/x HTTP/1.1",
            "METHODMETHODMETHODMETHODMETHODMETHOD /any/x HTTP/1.1",
        ] {
            bad(&w, format!("{line}\r\n{host}").as_bytes()).await;
        }
        for bytes in [
            &b"GET /any/x HTTP/1.1\nHost: localhost\n\n"[..],
            b"GET /any/x HTTP/1.1\rHost: localhost\r\r",
            b"GET /any/x HTTP/1.1\r\nHost: localhost\n\r\n",
            b"GET /any/x HTTP/1.1\r\nHost: localhost\r\nA: b\n\r\n",
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
            b"\0\0\0\0\0\0\0\0\r\n\r\n",
        ] {
            bad(&w, bytes).await;
        }
    });
}

#[test]
fn a_field_line_that_two_readers_could_read_differently_is_refused() {
    gate(Time::Runs, ALL_APPS, |w| async move {
        for field in [
            "Accept : */*",
            "Accept\t: */*",
            " Accept: */*",
            "A: b\r\n c",
            "A: b\r\n\tc",
            "A: b\0c",
            "A: b\rc",
            "A: b\u{7f}",
            "A: b\u{1}",
            ": b",
            "A b",
            "A\u{e9}: b",
            "A(: b",
            "\u{b}A: b",
            "A: b\nB: c",
        ] {
            bad(&w, request("GET", &["Host: localhost", field]).as_bytes()).await;
            let first = request("GET", &[field, "Host: localhost"]);
            bad(&w, first.as_bytes()).await;
        }
    });
}

/// Everything that can be wrong about where a body ends; the body that would fit stands behind.
const FRAMINGS: [&[&str]; 42] = [
    &["Content-Length: 5", "Transfer-Encoding: chunked"],
    &["Transfer-Encoding: chunked", "Content-Length: 5"],
    &["Content-Length: 0", "Transfer-Encoding: chunked"],
    &["Content-Length: 5", "Content-Length: 5"],
    &["Content-Length: 5", "Content-Length: 0"],
    &["Content-Length: 5", "content-length: 50"],
    &["Content-Length: 5, 5"],
    &["Content-Length: +5"],
    &["Content-Length: -5"],
    &["Content-Length: 0x5"],
    &["Content-Length: 5.0"],
    &["Content-Length: 5e0"],
    &["Content-Length: 5 5"],
    &["Content-Length: 5_0"],
    &["Content-Length: \"5\""],
    &["Content-Length:"],
    &["Content-Length: \u{663}"],
    &["Content-Length: 18446744073709551621"],
    &["Content-Length: 9223372036854775808"],
    &["Content_Length: 5", "Content-Length: 0"],
    &["Content.Length: 5"],
    &["Content-Length : 5"],
    &["Transfer-Encoding: identity"],
    &["Transfer-Encoding: gzip, chunked"],
    &["Transfer-Encoding: chunked, gzip"],
    &["Transfer-Encoding: chunked, chunked"],
    &["Transfer-Encoding: chunked,"],
    &["Transfer-Encoding: ,chunked"],
    &["Transfer-Encoding: xchunked"],
    &["Transfer-Encoding: chunkedx"],
    &["Transfer-Encoding: \"chunked\""],
    &["Transfer-Encoding: chunked;q=1"],
    &["Transfer-Encoding: \u{b}chunked"],
    &["Transfer-Encoding: chunked\u{b}"],
    &["Transfer-Encoding:\r\n chunked"],
    &["Transfer-Encoding:"],
    &["Transfer-Encoding: chunked", "Transfer-Encoding: chunked"],
    &["Transfer-Encoding: chunked", "Transfer-Encoding: identity"],
    &["Transfer-Encoding : chunked"],
    &["Transfer_Encoding: chunked"],
    &["Expect: 200-ok", "Content-Length: 5"],
    &["Expect: 100-continue", "Expect: 100-continue", "Content-Length: 5"],
];

#[test]
fn a_body_whose_end_is_ambiguous_is_refused() {
    gate(Time::Runs, ALL_APPS, |w| async move {
        for fields in FRAMINGS {
            let fields: Vec<&str> = ["Host: localhost"].into_iter().chain(fields.iter().copied()).collect();
            let head = request("POST", &fields);
            bad(&w, format!("{head}0\r\n\r\n").as_bytes()).await;
        }
        for version in ["HTTP/1.0", "HTTP/1.0\r\nConnection: keep-alive"] {
            let head =
                format!("POST {API} {version}\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n");
            bad(&w, format!("{head}0\r\n\r\n").as_bytes()).await;
        }
    });
}

#[test]
fn a_chunk_that_is_not_to_the_letter_ends_the_request_and_what_follows_is_never_one() {
    gate(Time::Runs, ALL_APPS, |w| async move {
        assert_eq!(w.get(API).await.status, 200);
        let smuggled = "GET /any/smuggled HTTP/1.1\r\nHost: localhost\r\n\r\n";
        for chunks in [
            "0_2\r\nab\r\n0\r\n\r\n",
            "0x2\r\nab\r\n0\r\n\r\n",
            "+2\r\nab\r\n0\r\n\r\n",
            "-2\r\nab\r\n0\r\n\r\n",
            " 2\r\nab\r\n0\r\n\r\n",
            "2 \r\nab\r\n0\r\n\r\n",
            "2\nab\r\n0\r\n\r\n",
            "2\r\nab\n0\r\n\r\n",
            "2\r\nabc\r\n0\r\n\r\n",
            "2\r\nab0\r\n\r\n",
            "2;a\rb\r\nab\r\n0\r\n\r\n",
            "2;a\nb\r\nab\r\n0\r\n\r\n",
            "2;a\0\r\nab\r\n0\r\n\r\n",
            "g\r\nab\r\n0\r\n\r\n",
            "\r\nab\r\n0\r\n\r\n",
            "10000000000000002\r\nab\r\n0\r\n\r\n",
            "ffffffffffffffff\r\nab\r\n0\r\n\r\n",
            "2\r\nab\r\n0\r\nA : b\r\n\r\n",
            "2\r\nab\r\n0\r\n b\r\n\r\n",
            "2\r\nab\r\n0\n\n",
        ] {
            let case = format!("X-Case: {}", chunks.escape_default());
            let head = request("POST", &["Host: localhost", "Transfer-Encoding: chunked", &case]);
            let mut wire = Wire::to(w.proxy).await;
            wire.write(format!("{head}{chunks}{smuggled}").as_bytes()).await;
            let said = String::from_utf8_lossy(&wire.rest().await).into_owned();
            assert!(said.is_empty() || said.starts_with("HTTP/1.1 400 "), "{chunks:?}: {said}");
            assert_eq!(
                said.matches("HTTP/1.1 ").count(),
                usize::from(!said.is_empty()),
                "{chunks:?}: {said}"
            );
        }
        let whole = |r: &marketgate::sim::RecordedRequest| {
            r.kind == "api" && r.method == "POST" && r.body_length.is_some()
        };
        let arrived = w.sim.requests();
        assert!(!arrived.iter().any(|r| r.target.contains("smuggled")), "a request was smuggled");
        let broken: Vec<_> = arrived.iter().filter(|r| whole(r)).collect();
        assert!(broken.is_empty(), "a broken body arrived as a whole one: {broken:?}");
    });
}

/// Ways to write a path that some server reads as climbing.
const CLIMBS: [&str; 34] = [
    "/../sbx-daas/deliveries",
    "/./deliveries",
    "/x/../../sbx-daas/deliveries",
    "/..",
    "/.",
    "/x/..",
    "/%2e%2e/sbx-daas/deliveries",
    "/%2E%2E/sbx-daas/deliveries",
    "/.%2e/sbx-daas/deliveries",
    "/%2e./sbx-daas/deliveries",
    "/%2e/deliveries",
    "/%252e%252e/sbx-daas/deliveries",
    "/%252E./sbx-daas/deliveries",
    "/%25%32%65%25%32%65/sbx-daas/deliveries",
    "/..%2fsbx-daas/deliveries",
    "/..%2Fsbx-daas%2fdeliveries",
    "/x%2f..%2f..%2fsbx-daas",
    "/..%252fsbx-daas/deliveries",
    "/..%5csbx-daas/deliveries",
    "/..%255csbx-daas/deliveries",
    "/..\\sbx-daas/deliveries",
    "/x\\..\\..\\sbx-daas",
    "/..;/sbx-daas/deliveries",
    "/..;a=b/sbx-daas/deliveries",
    "/..%3b/sbx-daas/deliveries",
    "/..%00/sbx-daas/deliveries",
    "/%c0%ae%c0%ae/sbx-daas/deliveries",
    "/%c0%2e%c0%ae/../x",
    "/..%c0%afsbx-daas/deliveries",
    "/%e0%80%ae%e0%80%ae/sbx-daas",
    "/%f0%80%80%ae./sbx-daas",
    "/%u002e%u002e/sbx-daas/deliveries",
    "//../sbx-daas/deliveries",
    "/../sbx-daas/deliveries?x=1",
];

#[test]
fn no_path_climbs_out_of_its_base_by_any_form_of_route() {
    gate_with(Time::Runs, ALL_APPS, Some("app = \"golocal\""), 100, |w| async move {
        for climb in CLIMBS {
            for (form, address, target, fields) in [
                ("prefix", w.proxy, format!("/golocal{climb}"), ""),
                ("account prefix", w.proxy, format!("/golocal@default{climb}"), ""),
                ("encoded account prefix", w.proxy, format!("/golocal%40default{climb}"), ""),
                ("headers", w.proxy, climb.to_owned(), "Marketgate-App: golocal\r\n"),
                ("listener", w.fixed.unwrap(), climb.to_owned(), ""),
            ] {
                let request = format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n");
                let answer = ask(address, &request).await.unwrap_or_else(|| panic!("no answer to {request}"));
                let own = matches!(answer.code().as_str(), "" | "bad_route");
                assert!(answer.status == 400 && own, "{form} {target}: {} {}", answer.status, answer.body);
            }
        }
        for target in
            ["/golocal%2f..%2fany/x", "/%2e%2e/golocal/x", "/../golocal/x", "/golocal%2fx", "//golocal/x"]
        {
            let answer = w.ask(format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n")).await;
            assert!(matches!(answer.status, 400 | 421), "{target}: {}", answer.status);
        }
        assert_eq!(w.arrived(), 0);
    });
}

#[test]
fn the_sandbox_of_golocal_cannot_be_reached_from_its_production() {
    gate_with(Time::Runs, ALL_APPS, Some("app = \"golocal\""), 100, |w| async move {
        for target in
            ["/sbx-daas/deliveries", "//sbx-daas", "/-sbx", "?/../sbx-daas", "/x%2Fsbx-daas", "/.sbx", "/..x"]
        {
            let request = format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n");
            // What is not refused stays below the base.
            drop(ask(w.fixed.unwrap(), &request).await);
            drop(ask(w.proxy, request.replacen("GET ", "GET /golocal", 1)).await);
        }
        let base = "/walmart-golocal/api-proxy/service/supplychain/transportation/v1/daas";
        let below = |rest: &str| rest.is_empty() || rest.starts_with(['/', '?']);
        let arrived = w.sim.requests();
        let calls: Vec<_> = arrived.iter().filter(|r| r.kind == "api").collect();
        assert!(!calls.is_empty());
        for call in calls {
            assert!(call.target.strip_prefix(base).is_some_and(below), "{}", call.target);
        }
    });
}

const MARK: &str = "callers-own-7c21f";

/// Fields that must not arrive, `MARK` standing where a secret would.
const DROPPED: [&[&str]; 62] = [
    &["Authorization: Bearer MARK"],
    &["authorization: Bearer MARK", "AUTHORIZATION: Basic MARK"],
    &["Authorization: MARK"],
    &["Authorization_: Bearer MARK"],
    &["Authorization-: Bearer MARK"],
    &["Authorization.: Bearer MARK"],
    &["Proxy-Authorization: Basic MARK"],
    &["Proxy_Authorization: Basic MARK"],
    &["Proxy.Authorization: Basic MARK"],
    &["Authentication: MARK"],
    &["Authentication_: MARK"],
    &["Cookie: session=MARK"],
    &["Cookie: a=MARK", "cookie: b=MARK"],
    &["Cookie_: a=MARK"],
    &["WM_SEC.ACCESS_TOKEN: MARK"],
    &["wm_sec.access_token: MARK", "WM_SEC.ACCESS_TOKEN: MARK"],
    &["WM-SEC.ACCESS-TOKEN: MARK"],
    &["wm-sec-access-token: MARK"],
    &["WM_SEC_ACCESS_TOKEN: MARK"],
    &["wm.sec.access.token: MARK"],
    &["WM_SEC.ACCESS_TOKEN_: MARK"],
    &["WM_PARTNER.ID: MARK"],
    &["WM-PARTNER-ID: MARK"],
    &["WM_PARTNER_ID: MARK"],
    &["WM_CONSUMER.ID: MARK"],
    &["WM-CONSUMER-ID: MARK"],
    &["wm.consumer.id: MARK"],
    &["Connection: X-Secret", "X-Secret: MARK"],
    &["Connection: keep-alive, x-secret", "X-SECRET: MARK"],
    &["Connection: keep-alive", "Connection: x-a,x-b", "X-A: MARK", "X-B: MARK"],
    &["Connection: close, X-Secret", "X-Secret: MARK"],
    &["Connection: accept, x-secret", "X-Secret: MARK"],
    &["Connection: authorization, wm_sec.access_token, x-amz-access-token", "Authorization: MARK"],
    &["Connection: host, content-length, transfer-encoding, wm_qos.correlation_id"],
    &["Connection: marketgate-key, close", "Marketgate-Key: MARK"],
    &["Keep-Alive: MARK"],
    &["Proxy-Connection: MARK"],
    &["TE: trailers, MARK"],
    &["Trailer: MARK"],
    &["Connection: Upgrade", "Upgrade: MARK"],
    &["Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: MARK"],
    &["Upgrade: websocket, MARK"],
    &["Expect: 100-continue"],
    &["X-Forwarded-For: MARK"],
    &["X-Forwarded-Host: MARK"],
    &["X-Forwarded-Proto: MARK"],
    &["X-Forwarded-Port: MARK"],
    &["X-Forwarded-Prefix: MARK"],
    &["X-Forwarded-Anything: MARK"],
    &["X_Forwarded_Host: MARK"],
    &["Forwarded: for=MARK"],
    &["X-Real-IP: MARK"],
    &["X_Real_IP: MARK"],
    &["X-Original-URL: /MARK"],
    &["X-Rewrite-URL: /MARK"],
    &["Marketgate-Anything: MARK"],
    &["Marketgate-Key: MARK"],
    &["Marketgate-Explain: MARK"],
    &["Marketgate_Key: MARK"],
    &["Marketgate_App: MARK"],
    &["Proxy-Authenticate: MARK"],
    &["Proxy-Authentication-Info: MARK"],
];

#[test]
fn of_everything_a_caller_may_leave_on_a_request_only_our_credential_arrives_and_it_once() {
    let amazon = "[apps.amazon]\nprovider = \"generic\"\napi = \"SIM/generic/api\"\ntoken_url = \"SIM/generic/oauth/token\"\n\
                  client_id = \"amazon-1\"\nclient_secret = \"amazon-1-secret\"\ntoken_header = \"X-Amz-Access-Token\"\ntoken_prefix = \"\"\n";
    gate(Time::Runs, &format!("{ALL_APPS}{amazon}"), |w| async move {
        for (path, header) in [
            ("/any/x", "authorization"),
            ("/many@a/x", "authorization"),
            ("/amazon/x", "x-amz-access-token"),
            ("/walmart/v3/items", "wm_sec.access_token"),
            ("/golocal/deliveries", "authorization"),
            ("/depop/api/v1/shop/", "authorization"),
        ] {
            for fields in DROPPED {
                arrives_clean(&w, path, header, fields).await;
            }
        }
        for spelling in
            ["X-Amz-Access-Token", "x_amz_access_token", "x.amz.access.token", "X-Amz-Access-Token_"]
        {
            arrives_clean(&w, "/amazon/x", "x-amz-access-token", &[&format!("{spelling}: MARK")]).await;
        }
    });
}

async fn arrives_clean(w: &World, path: &str, credential: &str, fields: &[&str]) {
    let lines: String = fields.iter().map(|field| format!("{}\r\n", field.replace("MARK", MARK))).collect();
    let answer = w.ask(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n{lines}\r\n")).await;
    let arrived = w.sim.requests().pop().unwrap();
    assert_eq!(answer.status, 200, "{path} {fields:?}: {} {arrived:?}", answer.body);
    assert!(arrived.violations.is_empty(), "{path} {fields:?}: {:?}", arrived.violations);
    let credentials: Vec<_> = arrived.headers.iter().filter(|(_, value)| value.contains("sha256:")).collect();
    assert!(credentials.len() == 1 && credentials[0].0 == credential, "{path} {fields:?}: {credentials:?}");
    no_mark(&arrived, MARK, &format!("{path} {fields:?}"));
}

/// Neither the text nor, where the simulator shows fingerprints only, its fingerprint.
fn no_mark(arrived: &marketgate::sim::RecordedRequest, mark: &str, what: &str) {
    let all = format!("{:?} {:?}", arrived.headers, arrived.trailers);
    assert!(!all.contains(mark) && !all.contains(&fingerprint(mark)), "{what}: {all}");
}

#[test]
fn what_connection_nominates_still_chooses_the_account_and_frames_the_body() {
    gate(Time::Runs, ALL_APPS, |w| async move {
        let named = [
            "Host: localhost",
            "Connection: marketgate-account, host, content-length",
            "Marketgate-Account: b",
        ];
        let head = request("POST", &[&named[..], &["Content-Length: 2"]].concat()).replace("/any/", "/many/");
        let answer = w.ask(format!("{head}ab")).await;
        assert_eq!(
            (answer.status, answer.json()["account"].as_str()),
            (200, Some("many-b")),
            "{}",
            answer.body
        );
        assert_eq!(answer.json()["body_length"], 2);
    });
}

#[test]
fn a_head_beyond_the_limits_is_431_and_one_within_them_passes() {
    gate(Time::Runs, ALL_APPS, |w| async move {
        let fields = |count: usize| vec!["X-Field: 1"; count];
        let with = |count: usize| request("GET", &[&["Host: localhost"][..], &fields(count)].concat());
        let long =
            |length: usize| request("GET", &["Host: localhost", &format!("X-Long: {}", "x".repeat(length))]);
        for (request, status) in
            [(with(100), 431), (with(1000), 431), (long(65_536), 431), (long(1 << 20), 431)]
        {
            assert_eq!(w.ask(&request).await.status, status, "{}", request.len());
        }
        assert_eq!(w.arrived(), 0);
        for request in [with(97), long(60_000)] {
            assert_eq!(w.ask(&request).await.status, 200, "{}", request.len());
        }
    });
}

#[test]
fn trailers_end_at_the_proxy() {
    gate(Time::Runs, ALL_APPS, |w| async move {
        for trailer in
            ["Authorization: Bearer callers-own-7c21f", "X-Checksum: callers-own-7c21f", "Host: evil.test"]
        {
            let head =
                request("POST", &["Host: localhost", "Transfer-Encoding: chunked", "Trailer: X-Checksum"]);
            let answer = w.ask(format!("{head}2\r\nab\r\n0\r\n{trailer}\r\n\r\n")).await;
            assert_eq!(answer.status, 200, "{}", answer.body);
            let arrived = w.sim.requests().pop().unwrap();
            assert_eq!((arrived.body_length, arrived.trailers.len()), (Some(2), 0), "{:?}", arrived.trailers);
            no_mark(&arrived, MARK, trailer);
        }
    });
}

#[test]
fn a_request_for_another_protocol_is_answered_as_what_it_is_and_nothing_is_tunnelled() {
    gate(Time::Runs, ALL_APPS, |w| async move {
        for upgrade in ["websocket", "h2c", "TLS/1.0"] {
            let mut wire = Wire::to(w.proxy).await;
            let lines = [
                "Host: localhost",
                "Connection: Upgrade",
                &format!("Upgrade: {upgrade}"),
                "Content-Length: 2",
            ];
            wire.write(request("POST", &lines).as_bytes()).await;
            wire.write(b"abGET /any/smuggled HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
            let answer = wire.answer().await.unwrap();
            assert!(matches!(answer.status, 200 | 400), "{upgrade}: {}", answer.status);
            assert!(!answer.headers.contains_key("upgrade"));
        }
        assert!(!w.sim.requests().iter().any(|r| r.target.contains("smuggled")));
        assert!(w.sim.requests().iter().all(|r| r.violations.is_empty()));
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
        ] {
            refused(&w, mark, &request("GET", &["Host: localhost", &key, mark]), 403, "browser_refused")
                .await;
        }
    });
}

#[test]
fn a_name_that_is_allowed_is_served_and_none_beside_it() {
    let configuration = format!("[proxy]\nallowed_hosts = [\"gate.internal\"]\n{ALL_APPS}");
    gate(Time::Runs, &configuration, |w| async move {
        for host in ["evil.gate.internal", "gate.internal.evil.test", "gate", "internal", "gate_internal"] {
            let host = format!("Host: {host}");
            refused(&w, &host, &request("GET", &[&host]), 403, "host_refused").await;
        }
        for host in ["gate.internal", "GATE.internal:9999", "gate.internal.", "localhost"] {
            let answer = w.ask(request("GET", &[&format!("Host: {host}")])).await;
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
#[ignore = "refusals carry no Access-Control-Allow-Origin yet"]
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
                refused(&w, path, &request, 421, "no_such_app").await;
            }
        }
    });
}

#[test]
#[ignore = "TRACE is passed on with our credential"]
fn trace_would_show_our_credential_to_the_caller_and_goes_nowhere() {
    // RFC 9110 §9.3.8: the answer repeats the request, and a client must send nothing secret in one.
    gate(Time::Runs, ALL_APPS, |w| async move {
        let answer = w.ask(request("TRACE", &[HOST])).await;
        assert!((400..=501).contains(&answer.status), "{}", answer.status);
        assert_eq!(w.arrived(), 0);
    });
}
