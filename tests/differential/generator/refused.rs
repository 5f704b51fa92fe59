//! Requests the gate refuses on purpose. The rule: each has one documented answer (docs/http.md), known beforehand.

use super::page;
use crate::{
    dice::Dice,
    request::{Refusal, Request, Route},
};

/// Paths that some server would read as climbing upwards.
const CLIMBING: [&str; 14] = [
    "/..",
    "/echo/../x",
    "/echo/./x",
    "/.",
    "/%2e%2e/x",
    "/.%2E",
    "/%252e%252e/x",
    "/..;/x",
    "/a\\..\\b",
    "/a%5c..%5cb",
    "/a%2f..%2fb",
    "/..%00/x",
    "/%c0%ae%c0%ae/x",
    "/echo/..?x",
];

/// A request, and what the gate must answer.
pub(super) fn request(dice: &mut Dice, route: Route) -> Request {
    let mut request = page::plain(dice, "/echo/x".to_owned(), route);
    let kind = dice.below(6);
    let (status, code) = match kind {
        0 | 1 => climbing(dice, &mut request),
        2 => foreign(dice, &mut request),
        3 => too_large(dice, &mut request),
        4 if route == Route::Header || route == Route::Listener => contradicting(dice, &mut request),
        4 => unknown(dice, &mut request),
        _ => malformed(dice, &mut request),
    };
    // Too large, or malformed.
    let ends = matches!(kind, 3 | 5);
    request.refusal = Some(Refusal { status, code, ends });
    request
}

type Answer = (u16, &'static str);

fn climbing(dice: &mut Dice, request: &mut Request) -> Answer {
    request.rest = dice.pick(&CLIMBING).to_owned();
    (400, "bad_route")
}

/// What comes from another host, a web page, or asks to see the token.
fn foreign(dice: &mut Dice, request: &mut Request) -> Answer {
    let mut add = |name: &str, value: &str| request.fields.push((name.to_owned(), value.into()));
    match dice.below(5) {
        0 => add("Origin", "https://evil.test"),
        1 => add("Sec-Fetch-Site", dice.pick(&["cross-site", "same-origin"])),
        2 => {
            request.method = "TRACE".to_owned();
            return (403, "not_allowed");
        }
        _ => {
            request.host = dice.pick(&["evil.test", "localhost.evil.test:80", "10.0.0.1"]);
            return (403, "host_refused");
        }
    }
    (403, "browser_refused")
}

fn too_large(dice: &mut Dice, request: &mut Request) -> Answer {
    match dice.below(3) {
        0 => {
            request.rest = format!("/echo/{}", "x".repeat(8300));
            (414, "target_too_long")
        }
        1 => {
            request.fields.extend((0..110).map(|number| (format!("X-{number}"), b"1".to_vec())));
            (431, "head_too_large")
        }
        _ => {
            request.fields.push(("X-Long".to_owned(), vec![b'a'; 70_000]));
            (431, "head_too_large")
        }
    }
}

fn contradicting(dice: &mut Dice, request: &mut Request) -> Answer {
    let (name, value, answer) = dice.pick(&[
        ("Marketgate-App", "other-app", (400, "bad_route")),
        ("Marketgate-Account", "not well-formed", (400, "bad_route")),
        ("Marketgate-Account", "nobody", (400, "no_such_account")),
    ]);
    request.fields.push((name.to_owned(), value.into()));
    answer
}

fn unknown(dice: &mut Dice, request: &mut Request) -> Answer {
    if dice.one_in(2) {
        request.fields.push(("Marketgate-Account".to_owned(), b"nobody".to_vec()));
        // With `@default` in the path the two forms disagree.
        return if request.route == Route::Prefix { (400, "no_such_account") } else { (400, "bad_route") };
    }
    // As from a client that joins URLs by RFC 3986.
    request.route = Route::Missing;
    (400, "no_such_app")
}

/// What is not proper HTTP, or could be read in two ways.
fn malformed(dice: &mut Dice, request: &mut Request) -> Answer {
    let mut add = |name: &str, value: &[u8]| request.fields.push((name.to_owned(), value.to_vec()));
    match dice.below(16) {
        0 => add("X-Folded", b"a\r\n b"),
        1 => add("X Space", b"1"),
        2 => add("X-Control", b"a\x01b"),
        3 => add("X-Nul", b"a\0b"),
        4 => add("Content-Length", b"1, 1"),
        5 => add("Content-Length", b"+1"),
        6 => add("Transfer-Encoding", b"gzip, chunked"),
        7 => add("Transfer_Encoding", b"chunked"),
        8 => add("Expect", b"200-ok"),
        9 => add("X-Bare", b"a\nb: c"),
        10 => {
            add("Content-Length", b"5");
            add("Transfer-Encoding", b"chunked");
        }
        11 => {
            add("Content-Length", b"0");
            add("Content-Length", b"0");
        }
        12 => add("Host", b"localhost"),
        13 => request.rest = "/echo/a b".to_owned(),
        14 => request.rest = dice.pick(&["/echo/caf\u{e9}", "/echo#f", "/echo/\u{7f}"]).to_owned(),
        _ => {
            request.method = dice.pick(&["G(T", "CONNECT", "ABCDEFGHIJKLMNOPQRSTUVWXYZABCDEFGHI"]).to_owned();
        }
    }
    (400, if request.method == "CONNECT" { "no_forward_proxy" } else { "bad_request" })
}
