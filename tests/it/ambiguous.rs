//! Requests that two readers could read differently: request lines, fields, body ends, paths that climb. Each is refused
//! before anything upstream hears of it, and what follows it is never read as a request.

use crate::{
    harness::{ALL_APPS, Time, World, gate, gate_with},
    refused::{API, request},
    wire::{Wire, ask},
};

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
    });
}

#[test]
fn http_1_0_without_a_host_is_served() {
    gate(Time::Runs, ALL_APPS, |w| async move {
        assert_eq!(w.ask(&format!("GET {API} HTTP/1.0\r\nAccept: */*\r\n\r\n")).await.status, 200);
    });
}

#[test]
fn a_target_of_absolute_form_is_served_where_it_is_for_this_host_and_else_told_that_this_is_no_forward_proxy()
{
    gate(Time::Runs, ALL_APPS, |w| async move {
        for own in ["GET http://localhost", "GET HTTP://LOCALHOST"] {
            let answer = w.ask(&format!("{own}{API} HTTP/1.1\r\nHost: localhost\r\n\r\n")).await;
            assert_eq!(answer.status, 200, "{own}: {}", answer.body);
        }
        let arrived = w.arrived();
        let host = "api.depop.com";
        for line in
            [format!("GET http://{host}/api/v1/shop HTTP/1.1"), format!("CONNECT {host}:443 HTTP/1.1")]
        {
            let answer = w.ask(&format!("{line}\r\nHost: {host}\r\n\r\n")).await;
            assert_eq!((answer.status, answer.code().as_str()), (400, "no_forward_proxy"), "{}", answer.body);
            assert!(answer.body.contains("http://HOST:PORT/APP/"), "{}", answer.body);
        }
        assert_eq!(w.arrived(), arrived);
    });
}

/// A request that cannot be understood in one way only: a refusal that says so, the connection's end, nothing upstream; what
/// follows it is never read as a request.
async fn bad(w: &World, bytes: &[u8]) {
    let shown = String::from_utf8_lossy(bytes).into_owned();
    let mut wire = Wire::to(w.proxy).await;
    wire.write(bytes).await;
    wire.write(b"GET /any/smuggled HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    let answer = wire.answer().await.unwrap_or_else(|| panic!("no answer to {shown:?}"));
    assert_eq!(answer.status, 400, "{shown:?}: {}", answer.body);
    let code = answer.code();
    assert!(code == "bad_request" || code == "no_forward_proxy", "{shown:?}: {}", answer.body);
    assert!(
        answer.body.contains("\"action\":\"") && answer.body.ends_with("}\n"),
        "{shown:?}: {}",
        answer.body
    );
    let status = answer.headers["proxy-status"].to_str().unwrap();
    assert!(status.starts_with("marketgate; error=http_request_error; details="), "{shown:?}: {status}");
    assert!(wire.ends().await, "{shown:?}: the connection went on");
    assert_eq!(w.arrived(), 0, "{shown:?} reached a marketplace");
}

#[test]
fn a_request_line_that_is_not_plain_http_1_is_refused() {
    gate(Time::Runs, ALL_APPS, |w| async move {
        let host = "Host: localhost\r\n\r\n";
        for line in [
            "GET http://evil.test/any/x HTTP/1.1",
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
const CLIMBS: [&str; 36] = [
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
    "/..%3f/sbx-daas/deliveries",
    "/..%23/sbx-daas/deliveries",
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
            assert!(answer.status == 400, "{target}: {}", answer.status);
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
