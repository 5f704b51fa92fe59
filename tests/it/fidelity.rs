//! What goes through arrives as it left: targets, fields, bodies and statuses in both directions, and never less of a
//! body than there was under the guise of all of it.

use marketgate::sim::{Fault, RecordedRequest, sample_sha256};
use sha2::{Digest, Sha256};

use crate::{
    harness::{ALL_APPS, Time, World, gate},
    wire::{Canned, Wire, soon},
};

const MIB: usize = 1 << 20;

fn hex(digest: impl AsRef<[u8]>) -> String {
    digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Bytes of which no two neighbouring pieces are alike.
pub(crate) fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut step = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    let mut bytes: Vec<u8> = (0..length.div_ceil(8)).flat_map(|_| step()).collect();
    bytes.truncate(length);
    bytes
}

fn newest(w: &World) -> RecordedRequest {
    w.sim.requests().into_iter().rfind(|r| r.kind == "api").unwrap()
}

async fn send(w: &World, method: &str, target: &str, fields: &str) -> crate::harness::Answer {
    w.ask(format!("{method} {target} HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n")).await
}

#[test]
fn targets_arrive_byte_for_byte() {
    gate(Time::Runs, ALL_APPS, |w| async move {
        for rest in [
            "",
            "?",
            "?a",
            "/",
            "//",
            "/a//b///c",
            "/a+b",
            "/a%2Bb",
            "/a%2bb",
            "/a%2Fb%2fc",
            "/a%20b",
            "/%C3%A9",
            "/%c3%a9",
            "/%E2%82%AC/x",
            "/%FF%FE",
            "/%25",
            "/100%25",
            "/a;b;c=d",
            "/a=b&c",
            "/a@b:c!$'()*,~-_.",
            "/.well-known/x",
            "/a..b/...",
            "/sku%252F1",
            "/%41%42",
            "/a%",
            "/%zz",
            "/x?",
            "/x??",
            "/x?a=?b",
            "/x?a=b&a=b&&=",
            "/x?q=a+b%2Bc%20d",
            "/x?q=%2F..%2F/../",
            "/x?next=http://evil.test/?y=1",
            "/x?%00",
            "/x?a[]=1&b{}=2",
            "/x?a=%C3%A9;b",
            "/x?a|b^c`d{}",
        ] {
            for prefix in ["/any", "/any@default", "/any%40default"] {
                let answer = send(&w, "GET", &format!("{prefix}{rest}"), "").await;
                let arrived = newest(&w).target;
                assert_eq!(
                    arrived,
                    format!("/generic/api{rest}"),
                    "{prefix}{rest} was answered {}",
                    answer.status
                );
            }
        }
    });
}

#[test]
fn a_target_as_long_as_allowed_arrives_whole_and_a_longer_one_is_414() {
    gate(Time::Runs, ALL_APPS, |w| async move {
        let target = |length: usize| format!("/any/{}", "x".repeat(length - "/any/".len()));
        assert_eq!(send(&w, "GET", &target(8192), "").await.status, 200);
        assert_eq!(newest(&w).target.len(), 8192 - "/any".len() + "/generic/api".len());
        assert_eq!(send(&w, "GET", &target(8193), "").await.status, 414);
    });
}

#[test]
fn fields_arrive_with_their_values_and_those_of_one_name_in_their_order() {
    gate(Time::Runs, ALL_APPS, |w| async move {
        let fields = "X-Many: c\r\nX-Other: 1\r\nx-many: a, b\r\nX-MANY: c\r\nX-Empty:\r\nX-Latin: caf\u{e9}\r\n\
                      Accept-Encoding: br;q=1.0, gzip\r\nUser-Agent: my client/1.0 (a; b)\r\nAccept: text/csv;q=0.5\r\n\
                      If-None-Match: W/\"x\"\r\nRange: bytes=0-1\r\nIdempotency-Key: 42\r\nX-Quoted: \"a\\\"b\"\r\n\
                      Cache-Control: no-cache\r\nVia: 1.1 mine\r\nDate: yesterday\r\n";
        assert_eq!(send(&w, "GET", "/any/x", fields).await.status, 200);
        let arrived = newest(&w);
        let all = |name: &str| -> Vec<String> {
            arrived.headers.iter().filter(|(n, _)| n == name).map(|(_, value)| value.clone()).collect()
        };
        assert_eq!(all("x-many"), ["c", "a, b", "c"]);
        for (name, value) in [
            ("x-other", "1"),
            ("x-empty", ""),
            ("x-latin", "caf\u{e9}"),
            ("accept-encoding", "br;q=1.0, gzip"),
            ("user-agent", "my client/1.0 (a; b)"),
            ("accept", "text/csv;q=0.5"),
            ("if-none-match", "W/\"x\""),
            ("range", "bytes=0-1"),
            ("idempotency-key", "42"),
            ("x-quoted", "\"a\\\"b\""),
            ("cache-control", "no-cache"),
            ("via", "1.1 mine"),
            ("date", "yesterday"),
            ("host", &w.sim_address.to_string()),
        ] {
            assert_eq!(all(name), [value], "{name}");
        }
        // These, three of one name and the credential.
        assert_eq!(arrived.headers.len(), 14 + 3 + 1, "{:?}", arrived.headers);
    });
}

#[test]
fn nothing_is_added_to_a_bare_request_but_host_and_credential() {
    gate(Time::Runs, ALL_APPS, |w| async move {
        assert_eq!(send(&w, "GET", "/any/x", "").await.status, 200);
        let names: Vec<String> = newest(&w).headers.into_iter().map(|(name, _)| name).collect();
        assert_eq!(names.len(), 2, "{names:?}");
        assert!(names.contains(&"host".to_owned()) && names.contains(&"authorization".to_owned()));
    });
}

#[test]
fn every_method_arrives_as_written_with_its_body() {
    gate(Time::Runs, ALL_APPS, |w| async move {
        for method in [
            "GET",
            "POST",
            "PUT",
            "PATCH",
            "DELETE",
            "OPTIONS",
            "PURGE",
            "M-SEARCH",
            "get",
            "X!#$%&'*+.^_`|~",
        ] {
            let request =
                format!("{method} /any/x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\nabcde");
            let answer = w.ask(request).await;
            assert_eq!((answer.status, answer.json()["method"].as_str()), (200, Some(method)));
            let (arrived, digest) = (newest(&w), hex(Sha256::digest("abcde")));
            assert_eq!(
                (arrived.body_length, arrived.body_sha256.as_deref()),
                (Some(5), Some(digest.as_str()))
            );
            assert_eq!(arrived.header("content-length"), Some("5"), "{method}");
        }
        for method in ["GET", "DELETE", "OPTIONS"] {
            assert_eq!(send(&w, method, "/any/x", "").await.status, 200);
            let arrived = newest(&w);
            assert!(arrived.header("content-length").or(arrived.header("transfer-encoding")).is_none());
        }
    });
}

#[test]
fn a_body_declared_empty_arrives_declared_empty() {
    gate(Time::Runs, ALL_APPS, |w| async move {
        // Without it some servers answer 411 (RFC 9110 §8.6).
        for method in ["POST", "PUT", "PATCH"] {
            assert_eq!(send(&w, method, "/any/x", "Content-Length: 0\r\n").await.status, 200);
            assert_eq!(newest(&w).header("content-length"), Some("0"), "{method}");
        }
    });
}

#[test]
fn answers_without_a_body_keep_their_fields_and_their_connection() {
    gate(Time::Runs, ALL_APPS, |w| async move {
        let mut wire = Wire::to(w.proxy).await;
        wire.write(b"HEAD /any/bytes/1000 HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
        let head = wire.head().await.unwrap();
        assert_eq!((head.status, head.text("content-length")), (200, Some("1000")));
        wire.write(b"HEAD /any/bytes/1000?chunked=1 HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
        let head = wire.head().await.unwrap();
        assert_eq!((head.status, head.text("content-length")), (200, None));
        for status in [204, 304] {
            wire.write(format!("GET /any/status/{status} HTTP/1.1\r\nHost: localhost\r\n\r\n").as_bytes())
                .await;
            let head = wire.head().await.unwrap();
            assert_eq!(head.status, status);
            assert!(head.text("transfer-encoding").is_none(), "{status}");
        }
        wire.write(b"HEAD /nope/x HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
        assert_eq!(wire.head().await.unwrap().status, 400);
        wire.write(b"GET /any/bytes/3 HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
        assert_eq!(wire.answer().await.unwrap().status, 200);
    });
}

#[test]
fn every_status_of_a_marketplace_passes_even_unusual_ones() {
    gate(Time::Runs, ALL_APPS, |w| async move {
        for status in [
            200, 201, 202, 206, 207, 299, 300, 400, 402, 403, 404, 405, 409, 410, 418, 422, 429, 451, 500,
            501, 502, 503, 504, 599, 999,
        ] {
            let answer = w.get(&format!("/any/status/{status}")).await;
            assert_eq!(answer.status, status);
            assert_eq!(answer.json()["status"], status);
            assert!(answer.code().is_empty(), "{status} looks like our own");
        }
    });
}

#[test]
fn uploads_of_every_size_and_framing_arrive_whole() {
    gate(Time::Runs, ALL_APPS, |w| async move {
        for length in [0, 1, 64 * 1024, 20 * MIB] {
            let body = noise(length);
            let digest = hex(Sha256::digest(&body));
            for piece in [None, Some(1 + length / 7), Some(64 * 1024)] {
                let mut wire = Wire::to(w.proxy).await;
                let framing = match piece {
                    None => format!("Content-Length: {length}"),
                    Some(_) => "Transfer-Encoding: chunked".to_owned(),
                };
                wire.write(
                    format!("PUT /any/up HTTP/1.1\r\nHost: localhost\r\n{framing}\r\n\r\n").as_bytes(),
                )
                .await;
                match piece {
                    None => drop(wire.write(&body).await),
                    Some(piece) => write_chunks(&mut wire, &body, piece).await,
                }
                let answer = wire.answer().await.unwrap();
                assert_eq!(answer.status, 200, "{length} {framing}: {}", answer.body);
                let arrived = newest(&w);
                assert_eq!(arrived.body_length, Some(length as u64), "{framing}");
                assert_eq!(arrived.body_sha256.as_deref(), Some(digest.as_str()), "{length} {framing}");
                if length > 0 {
                    let declared = arrived.header("content-length").map(str::to_owned);
                    assert_eq!(declared, piece.is_none().then(|| length.to_string()), "{framing}");
                }
            }
        }
    });
}

#[test]
fn a_body_in_chunks_arrives_whatever_the_method() {
    gate(Time::Runs, ALL_APPS, |w| async move {
        for method in ["GET", "HEAD", "DELETE", "OPTIONS", "POST"] {
            let mut wire = Wire::to(w.proxy).await;
            let head =
                format!("{method} /any/x HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n");
            wire.write(head.as_bytes()).await;
            write_chunks(&mut wire, b"hello", 2).await;
            assert_eq!(wire.head().await.unwrap().status, 200);
            let arrived = newest(&w);
            assert_eq!((arrived.method.as_str(), arrived.body_length), (method, Some(5)));
        }
    });
}

async fn write_chunks(wire: &mut Wire, body: &[u8], piece: usize) {
    for chunk in body.chunks(piece) {
        wire.write(format!("{:x};ext=\"1\"\r\n", chunk.len()).as_bytes()).await;
        wire.write(chunk).await;
        wire.write(b"\r\n").await;
    }
    wire.write(b"0\r\n\r\n").await;
}

#[test]
fn downloads_of_fifty_mebibytes_arrive_whole_in_either_framing() {
    gate(Time::Runs, ALL_APPS, |w| async move {
        let length = 50 * MIB;
        for (query, declared) in [("", Some(length as u64)), ("?chunked=1", None)] {
            let url = w.url(&format!("/any/bytes/{length}{query}"));
            let mut response = w.http.get(url).send().await.unwrap();
            assert_eq!(response.content_length(), declared, "{query}");
            let (mut digest, mut seen) = (Sha256::new(), 0);
            while let Some(chunk) = soon("more of the body", response.chunk()).await.unwrap() {
                seen += chunk.len();
                digest.update(&chunk);
            }
            assert_eq!((seen, hex(digest.finalize())), (length, sample_sha256(length as u64)), "{query}");
        }
    });
}

const RICH: &[u8] = b"HTTP/1.1 200 OK\r\nSet-Cookie: a=b\r\nSet-Cookie: c=d\r\nSet-Cookie2: e\r\n\
    Access-Control-Allow-Origin: *\r\nAccess-Control-Allow-Credentials: true\r\nAccess-Control-Expose-Headers: x\r\n\
    Alt-Svc: h3=\":443\"\r\nStrict-Transport-Security: max-age=1\r\nClear-Site-Data: \"*\"\r\nNEL: {}\r\nReport-To: {}\r\n\
    Connection: keep-alive, X-Hop\r\nX-Hop: gone\r\nKeep-Alive: timeout=5\r\nProxy-Authenticate: Basic\r\nUpgrade: h2c\r\n\
    Marketgate-Account: forged\r\n\
    X-Many: c\r\nX-Other: 1\r\nx-many: a, b\r\nX-MANY: c\r\nLink: </2>; rel=next\r\nETag: \"x\"\r\nContent-Encoding: gzip\r\n\
    Content-Type: application/x-own\r\nContent-Disposition: attachment\r\nWWW-Authenticate: Bearer\r\nRetry-After: 7\r\n\
    X-RateLimit-Remaining: 3\r\nVary: Accept\r\nContent-Length: 6\r\n\r\n\x1f\x8b\x08res";

#[test]
fn of_a_reply_only_what_is_meant_for_this_hop_or_a_browser_is_taken_and_nothing_added() {
    let canned = Canned::new();
    let configuration = format!("{}{ALL_APPS}", canned.app());
    gate(Time::Runs, &configuration, |w| async move {
        let mut heads = canned.answer(RICH, true);
        let mut wire = Wire::to(w.proxy).await;
        wire.write(b"GET /canned/x HTTP/1.1\r\nHost: localhost\r\nAccept-Encoding: gzip\r\n\r\n").await;
        let head = wire.head().await.unwrap();
        assert_eq!(wire.bytes(6).await, b"\x1f\x8b\x08res");
        let all = |name: &str| -> Vec<&str> {
            head.headers.get_all(name).iter().map(|value| value.to_str().unwrap()).collect()
        };
        assert_eq!(all("x-many"), ["c", "a, b", "c"]);
        let kept = [
            ("x-other", "1"),
            ("link", "</canned/2>; rel=next"),
            ("etag", "\"x\""),
            ("content-encoding", "gzip"),
            ("content-type", "application/x-own"),
            ("content-disposition", "attachment"),
            ("www-authenticate", "Bearer"),
            ("retry-after", "7"),
            ("x-ratelimit-remaining", "3"),
            ("vary", "Accept"),
            ("content-length", "6"),
        ];
        for (name, value) in kept {
            assert_eq!(all(name), [value], "{name}");
        }
        assert_eq!(head.headers.len(), kept.len() + 3, "{:?}", head.headers);
        assert!(heads.recv().await.unwrap().starts_with("GET /x HTTP/1.1\r\n"));
    });
}

#[test]
fn an_answer_that_breaks_off_is_never_seen_as_complete() {
    gate(Time::Runs, ALL_APPS, |w| async move {
        assert_eq!(w.get("/any/x").await.status, 200);
        for query in ["", "?chunked=1"] {
            for after_bytes in [0, 1, 1000, 65_536, 150_000, 199_999] {
                w.sim.add_fault(Fault::CutBody { after_bytes }.at("generic").on_api());
                broken(&w, query, &format!("body cut after {after_bytes}")).await;
            }
            for after_bytes in [400, 70_000, 200_000] {
                w.sim.add_fault(Fault::Cut { after_bytes }.at("generic").on_api());
                broken(&w, query, &format!("connection cut after {after_bytes}")).await;
            }
        }
        // Every byte came, but not the word that these were all.
        w.sim.add_fault(Fault::CutBody { after_bytes: 200_000 }.at("generic").on_api());
        broken(&w, "?chunked=1", "connection cut before the last chunk").await;
        assert_eq!(w.get("/any/x").await.status, 200, "a broken connection was used again");
    });
}

/// Asks for 200 000 bytes and must not get all of them, or not be told that these were all.
async fn broken(w: &World, query: &str, how: &str) {
    let mut wire = Wire::to(w.proxy).await;
    wire.write(format!("GET /any/bytes/200000{query} HTTP/1.1\r\nHost: localhost\r\n\r\n").as_bytes()).await;
    let Some(head) = wire.head().await else { return };
    if head.status == 502 {
        return;
    }
    assert_eq!(head.status, 200, "{how}");
    if query.is_empty() {
        assert_eq!(head.text("content-length"), Some("200000"), "{how}");
        let seen = wire.rest().await.len();
        assert!(seen < 200_000, "{how}: {seen}");
    } else {
        assert!(wire.chunks().await.is_err(), "{how}{query} ended like a whole answer");
    }
}

#[test]
fn a_connection_that_ends_before_an_answer_is_502_and_says_that_the_request_may_have_arrived() {
    gate(Time::Runs, ALL_APPS, |w| async move {
        assert_eq!(w.get("/any/x").await.status, 200);
        for fault in [Fault::Cut { after_bytes: 0 }, Fault::Cut { after_bytes: 20 }, Fault::Reset {}] {
            w.sim.add_fault(fault.clone().at("generic").on_api());
            let before = w.sim.api_calls("generic");
            let answer = w.send(w.http.post(w.url("/any/x")).body("precious")).await;
            assert_eq!((answer.status, answer.code().as_str()), (502, "upstream_broken"), "{fault:?}");
            assert!(
                answer.json()["action"].as_str().unwrap().contains("before sending it again"),
                "{}",
                answer.body
            );
            assert_eq!(w.sim.api_calls("generic"), before + 1, "{fault:?}: a POST was sent twice");
        }
    });
}

#[test]
fn what_is_no_http_is_502_and_what_follows_an_answer_unasked_is_nobodys_answer() {
    for answer in [
        &b"SSH-2.0-OpenSSH_9.2\r\n\r\n"[..],
        b"HTTP/1.1 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",
        b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nA b\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n",
        b"\r\n\r\n\r\n",
    ] {
        let canned = Canned::new();
        gate(Time::Runs, &canned.app(), |w| async move {
            let _heads = canned.answer(answer, false);
            let got = w.ask("GET /canned/x HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
            let answer = String::from_utf8_lossy(answer);
            assert_eq!((got.status, got.code().as_str()), (502, "upstream_broken"), "{answer}: {}", got.body);
        });
    }
    let canned = Canned::new();
    gate(Time::Runs, &canned.app(), |w| async move {
        let two =
            b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil";
        let _heads = canned.answer(two, true);
        for _ in 0..20 {
            assert_eq!(w.get("/canned/x").await.body, "ok");
        }
    });
}

#[test]
fn early_hints_are_no_answer() {
    let canned = Canned::new();
    gate(Time::Runs, &canned.app(), |w| async move {
        let hints =
            b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
        let _heads = canned.answer(hints, true);
        let answer = w.get("/canned/x").await;
        assert_eq!((answer.status, answer.body.as_str()), (200, "ok"));
    });
}

#[test]
fn an_answer_that_ends_with_its_connection_reaches_callers_of_both_versions() {
    for version in ["1.1", "1.0"] {
        let canned = Canned::new();
        gate(Time::Runs, &canned.app(), |w| async move {
            let _heads =
                canned.answer(b"HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\n\r\nuntil the end", false);
            let answer = w.ask(format!("GET /canned/x HTTP/{version}\r\nHost: localhost\r\n\r\n")).await;
            assert_eq!((answer.status, answer.body.as_str()), (200, "until the end"), "{version}");
        });
    }
}

#[test]
fn a_caller_who_goes_away_ends_the_upstream_request_with_him() {
    gate(Time::Runs, ALL_APPS, |w| async move {
        assert_eq!(w.get("/any/x").await.status, 200);
        let gone = |w: std::rc::Rc<World>| async move {
            soon("the end of the upstream request", w.sim.until(|sim| sim.open_connections() == 0)).await;
        };
        // While the answer streams.
        let mut wire = Wire::to(w.proxy).await;
        wire.write(b"GET /any/sse?count=10000&interval_ms=20 HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
        assert_eq!(wire.head().await.unwrap().status, 200);
        wire.bytes(20).await;
        drop(wire);
        gone(w.clone()).await;
        // While there is no answer yet.
        w.sim.add_fault(Fault::Hang {}.at("generic").on_api());
        let mut wire = Wire::to(w.proxy).await;
        let calls = w.sim.api_calls("generic");
        wire.write(b"GET /any/x HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
        soon("the request", w.sim.until(|sim| sim.api_calls("generic") > calls)).await;
        drop(wire);
        gone(w.clone()).await;
        // Within his own body.
        let calls = w.sim.api_calls("generic");
        let mut wire = Wire::to(w.proxy).await;
        wire.write(b"PUT /any/x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000\r\n\r\nbegun").await;
        soon("the request", w.sim.until(|sim| sim.api_calls("generic") > calls)).await;
        drop(wire);
        gone(w.clone()).await;
        assert!(newest(&w).body_broken, "half a body arrived as a whole one");
    });
}

#[test]
fn connections_are_used_again() {
    gate(Time::Runs, ALL_APPS, |w| async move {
        let mut wire = Wire::to(w.proxy).await;
        for number in 0..200 {
            let body = if number % 2 == 0 { "x" } else { "" };
            let request = format!(
                "POST /any/x HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n{body}",
                body.len()
            );
            wire.write(request.as_bytes()).await;
            assert_eq!(wire.answer().await.unwrap().status, 200, "{number}");
        }
        assert!(w.sim.accepted_connections() <= 3, "{}", w.sim.accepted_connections());
    });
}

#[test]
fn requests_sent_ahead_are_answered_in_their_order() {
    gate(Time::Runs, ALL_APPS, |w| async move {
        let mut wire = Wire::to(w.proxy).await;
        let requests: String =
            (0..10).map(|n| format!("GET /any/{n} HTTP/1.1\r\nHost: localhost\r\n\r\n")).collect();
        wire.write(requests.as_bytes()).await;
        for number in 0..10 {
            let answer = wire.answer().await.unwrap();
            assert_eq!(answer.json()["target"], format!("/generic/api/{number}"));
        }
    });
}

#[test]
fn an_account_never_shares_an_upstream_connection_with_another() {
    gate(Time::Runs, ALL_APPS, |w| async move {
        for _ in 0..20 {
            assert_eq!(w.get("/many@a/x").await.status, 200);
            assert_eq!(w.get("/many@b/x").await.status, 200);
        }
        let mut owners = std::collections::BTreeMap::new();
        for request in w.sim.requests() {
            let owner = owners.entry(request.connection).or_insert_with(|| request.account.clone());
            assert_eq!(*owner, request.account, "connection {}", request.connection);
        }
    });
}

#[test]
fn a_body_beyond_the_limit_is_413_however_it_is_framed() {
    let configuration = format!("[limits]\nbody = \"10KiB\"\n{ALL_APPS}");
    gate(Time::Runs, &configuration, |w| async move {
        let declared = "POST /any/x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10241\r\n\r\n";
        let answer = w.ask(declared).await;
        assert_eq!((answer.status, answer.code().as_str()), (413, "body_too_large"), "{}", answer.body);
        assert!(answer.json()["action"].as_str().unwrap().contains("limits.body"));
        assert_eq!(w.arrived(), 0, "a body declared too long went upstream");
        let body = noise(10_240);
        let head = "POST /any/x HTTP/1.1\r\nHost: localhost\r\n";
        let mut wire = Wire::to(w.proxy).await;
        wire.write(format!("{head}Content-Length: 10240\r\n\r\n").as_bytes()).await;
        wire.write(&body).await;
        assert_eq!(wire.answer().await.unwrap().status, 200);
        let mut wire = Wire::to(w.proxy).await;
        wire.write(format!("{head}Transfer-Encoding: chunked\r\n\r\n").as_bytes()).await;
        write_chunks(&mut wire, &body, 1000).await;
        assert_eq!(wire.answer().await.unwrap().status, 200);
        let mut wire = Wire::to(w.proxy).await;
        wire.write(format!("{head}Transfer-Encoding: chunked\r\n\r\n").as_bytes()).await;
        write_chunks(&mut wire, &noise(10_241), 1000).await;
        let answer = wire.answer().await.unwrap();
        assert_eq!((answer.status, answer.code().as_str()), (413, "body_too_large"), "{}", answer.body);
        // The rest of the body is not taken for a request, whether the connection goes on or not.
        wire.write(b"GET /any/after HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
        assert!(wire.answer().await.is_none_or(|answer| answer.status == 200));
        soon("the end of the cut upload", w.sim.until(|sim| sim.requests().iter().any(|r| r.body_broken)))
            .await;
        assert!(w.sim.requests().iter().all(|r| r.body_length.is_none_or(|length| length <= 10_240)));
    });
}

#[test]
fn an_upstream_that_is_down_is_502_and_the_answer_says_where() {
    // Bound but not listening: nobody else gets the port, and every connection is refused.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().unwrap();
    let _context = runtime.enter();
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = socket.local_addr().unwrap();
    let configuration = format!(
        "[apps.down]\nprovider = \"generic\"\ngrant = \"static\"\napi = \"http://{address}\"\napi_key = \"key-x\"\n"
    );
    std::thread::scope(|threads| {
        threads.spawn(|| {
            gate(Time::Runs, &configuration, |w| async move {
                let answer = w.get("/down/x").await;
                assert_eq!(
                    (answer.status, answer.code().as_str()),
                    (502, "upstream_unreachable"),
                    "{}",
                    answer.body
                );
                assert!(
                    answer.body.contains(&address.to_string()) && answer.body.contains("refuses connections")
                );
                let status = answer.headers["proxy-status"].to_str().unwrap();
                assert!(status.contains("error=connection_refused"), "{status}");
            });
        });
    });
}

#[test]
fn an_upstream_that_hangs_is_504_after_the_configured_time() {
    let configuration =
        format!("[upstream]\ntimeouts = {{ head = \"200ms\", stall = \"200ms\" }}\n{ALL_APPS}");
    gate(Time::Runs, &configuration, |w| async move {
        w.sim.add_fault(Fault::Hang {}.at("generic").on_api());
        let answer = w.get("/any/x").await;
        assert_eq!((answer.status, answer.code().as_str()), (504, "upstream_timeout"), "{}", answer.body);
        assert!(answer.body.contains("upstream.timeouts.head"), "{}", answer.body);
        // Within the body the status is out already: the answer must break off, not end.
        let mut wire = Wire::to(w.proxy).await;
        wire.write(b"GET /any/sse?count=2&interval_ms=60000 HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
        assert_eq!(wire.head().await.unwrap().status, 200);
        assert!(wire.chunks().await.is_err());
        soon("the end of the upstream requests", w.sim.until(|sim| sim.open_connections() == 0)).await;
    });
}

#[test]
fn an_answer_that_comes_before_the_upload_has_ended_reaches_the_caller() {
    gate(Time::Runs, ALL_APPS, |w| async move {
        for framing in ["Content-Length: 8388608", "Transfer-Encoding: chunked"] {
            w.sim.add_fault(Fault::Early { status: 403 }.at("generic").on_api());
            let mut wire = Wire::to(w.proxy).await;
            wire.write(format!("PUT /any/up HTTP/1.1\r\nHost: localhost\r\n{framing}\r\n\r\n").as_bytes())
                .await;
            let answer = wire.answer().await.unwrap();
            assert_eq!(answer.status, 403, "{framing}: {}", answer.body);
            // What was to be the body is not read as a request.
            wire.write(b"GET /any/smuggled HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
            assert!(wire.ends().await, "{framing}: the connection went on");
        }
        for _ in 0..20 {
            assert_eq!(w.get("/any/x").await.status, 200);
        }
        assert!(!w.sim.requests().iter().any(|r| r.target.contains("smuggled")));
    });
}

#[test]
fn a_caller_who_waits_to_be_told_to_go_on_is_told_and_not_where_he_is_refused() {
    gate(Time::Runs, ALL_APPS, |w| async move {
        let head = |target: &str| {
            format!(
                "PUT {target} HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n"
            )
        };
        let mut wire = Wire::to(w.proxy).await;
        for _ in 0..3 {
            wire.write(head("/any/x").as_bytes()).await;
            assert_eq!(wire.head().await.unwrap().status, 100);
            wire.write(b"hello").await;
            let answer = wire.answer().await.unwrap();
            assert_eq!((answer.status, answer.json()["body_length"].as_u64()), (200, Some(5)));
        }
        let mut wire = Wire::to(w.proxy).await;
        wire.write(head("/nope/x").as_bytes()).await;
        assert_eq!(wire.answer().await.unwrap().status, 400);
        wire.write(b"GET /any/smuggled HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
        drop(wire.rest().await);
        assert!(!w.sim.requests().iter().any(|r| r.target.contains("smuggled")));
    });
}

#[test]
fn an_http_1_0_caller_gets_an_answer_it_understands() {
    gate(Time::Runs, ALL_APPS, |w| async move {
        let mut wire = Wire::to(w.proxy).await;
        wire.write(b"GET /any/bytes/100000?chunked=1 HTTP/1.0\r\nHost: localhost\r\n\r\n").await;
        let head = wire.head().await.unwrap();
        assert_eq!(
            (head.status, head.text("transfer-encoding"), head.text("content-length")),
            (200, None, None)
        );
        let body = wire.rest().await;
        assert_eq!((body.len(), hex(Sha256::digest(&body))), (100_000, sample_sha256(100_000)));
        // Cut short, it must not look like an end: a reset is the only sign left.
        let mut wire = Wire::to(w.proxy).await;
        wire.write(b"GET /any/bytes/10 HTTP/1.0\r\nHost: localhost\r\nConnection: keep-alive\r\n\r\n").await;
        let answer = wire.answer().await.unwrap();
        assert_eq!((answer.status, answer.headers["content-length"].to_str().unwrap()), (200, "10"));
        wire.write(b"POST /any/x HTTP/1.0\r\nHost: localhost\r\nContent-Length: 2\r\n\r\nab").await;
        assert_eq!(wire.answer().await.unwrap().json()["body_length"], 2);
    });
}

#[test]
fn events_arrive_one_by_one_as_they_happen() {
    gate(Time::Runs, ALL_APPS, |w| async move {
        let mut wire = Wire::to(w.proxy).await;
        wire.write(b"GET /any/sse?count=2&interval_ms=300 HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
        assert_eq!(wire.head().await.unwrap().text("content-type"), Some("text/event-stream"));
        let event = "id: 1\ndata: {\"event\":1}\n\n";
        let first = wire.bytes(format!("{:x}\r\n{event}\r\n", event.len()).len()).await;
        let began = tokio::time::Instant::now();
        assert!(String::from_utf8_lossy(&first).contains(event));
        assert!(wire.chunks().await.is_ok());
        assert!(began.elapsed().as_millis() >= 100, "the first event came with the second");
    });
}

#[test]
fn every_location_of_an_answer_comes_back_through_the_route() {
    let canned = Canned::new();
    gate(Time::Runs, &canned.app(), |w| async move {
        let answer = b"HTTP/1.1 300 Multiple Choices\r\nLocation: /a\r\nLocation: https://else.test/b\r\n\
                       Location: /c\r\nContent-Length: 0\r\n\r\n";
        let _heads = canned.answer(answer, true);
        let answer = w.get("/canned/x").await;
        let locations: Vec<_> =
            answer.headers.get_all("location").iter().map(|l| l.to_str().unwrap()).collect();
        assert_eq!(locations, ["/canned/a", "https://else.test/b", "/canned/c"]);
    });
}
