//! What belongs to one hop stays there: the version spoken with the marketplace, how it delimits bodies, and what HTTP/2
//! and HTTP/1.1 do not share.

use crate::{
    certificates::{Authority, Leaf, Secured},
    harness::{Time, World, gate},
    wire::{Canned, Wire},
};

/// The head of an answer as it came.
async fn raw_head(w: &World, request: &str) -> String {
    let mut wire = Wire::to(w.proxy).await;
    wire.write(request.as_bytes()).await;
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        head.push(char::from(wire.bytes(1).await[0]));
    }
    head
}

/// Runs `test` before a marketplace that speaks HTTP/2, whose app is `key`.
fn before_http2<F: Future<Output = ()>>(test: impl FnOnce(std::rc::Rc<World>) -> F) -> Secured {
    let (folder, authority) = (tempfile::tempdir().unwrap(), Authority::new());
    let file = folder.path().join("authority.pem");
    std::fs::write(&file, &authority.pem).unwrap();
    let market = Secured::start(authority.server(Leaf::Good, &["h2"]));
    let configuration = format!(
        "[upstream]\nca_file = \"{}\"\n[apps.key]\nprovider = \"generic\"\ngrant = \"static\"\n\
         api = \"{}/generic/api\"\napi_key = \"key-generic\"\n",
        file.display(),
        market.origin
    );
    gate(Time::Runs, &configuration, test);
    market
}

#[test]
fn an_answer_in_an_older_version_is_passed_on_in_our_own() {
    let canned = Canned::new();
    gate(Time::Runs, &canned.app(), |w| async move {
        let _heads = canned.answer(b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok", false);
        for (version, ours) in [("1.1", "HTTP/1.1 200 OK\r\n"), ("1.0", "HTTP/1.0 200 OK\r\n")] {
            let head =
                raw_head(&w, &format!("GET /canned/x HTTP/{version}\r\nHost: localhost\r\n\r\n")).await;
            assert!(head.starts_with(ours), "{head}");
            assert!(!head.contains("connection: close"), "{head}");
        }
    });
}

#[test]
fn an_http10_caller_who_wishes_to_go_on_hears_whether_he_may() {
    let _market = before_http2(|w| async move {
        let head =
            raw_head(&w, "GET /key/x HTTP/1.0\r\nHost: localhost\r\nConnection: keep-alive\r\n\r\n").await;
        assert!(
            head.starts_with("HTTP/1.0 200 OK\r\n") && head.contains("connection: keep-alive\r\n"),
            "{head}"
        );
    });
}

#[test]
fn a_status_without_a_usual_reason_gets_none_invented() {
    let _market = before_http2(|w| async move {
        for (status, line) in [(404, "HTTP/1.1 404 Not Found\r\n"), (599, "HTTP/1.1 599 \r\n")] {
            let head =
                raw_head(&w, &format!("GET /key/status/{status} HTTP/1.1\r\nHost: localhost\r\n\r\n")).await;
            assert!(head.starts_with(line), "{head}");
        }
    });
}

#[test]
fn a_request_without_a_body_gets_no_length_over_http2_either() {
    let market = before_http2(|w| async move {
        for method in ["GET", "POST", "OPTIONS", "PROPFIND"] {
            let head = raw_head(&w, &format!("{method} /key/x HTTP/1.1\r\nHost: localhost\r\n\r\n")).await;
            assert!(head.starts_with("HTTP/1.1 200"), "{head}");
        }
    });
    let arrived = market.sim.requests();
    assert_eq!(arrived.len(), 4);
    for request in arrived {
        assert_eq!((request.version.as_str(), request.header("content-length")), ("HTTP/2.0", None));
    }
}
