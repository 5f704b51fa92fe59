//! Answers an application shall give, written into the path of the request for them (application.rs says how). The rule:
//! every answer is one that each server passes on as its own.

use super::Site;
use crate::dice::Dice;

/// Fields that cross on the way back.
const CROSSING: [(&str, &[&str]); 22] = [
    ("Content-Type", &["application/json", "text/html; charset=iso-8859-1", "text/plain", "a/b"]),
    ("ETag", &["\"x\"", "W/\"y\""]),
    ("Vary", &["Accept", "Origin, Accept-Encoding", "*"]),
    ("Cache-Control", &["no-store", "private, max-age=60"]),
    ("Content-Disposition", &["attachment; filename*=UTF-8''%e2%82%ac.txt"]),
    ("Content-Language", &["en, de"]),
    ("Content-Location", &["/elsewhere"]),
    ("Link", &["</x>; rel=next, </y>; rel=\"last\""]),
    ("Retry-After", &["5"]),
    ("X-RateLimit-Remaining", &["0"]),
    ("RateLimit", &["limit=10, remaining=1, reset=7"]),
    ("WWW-Authenticate", &["Bearer realm=\"x\", error=\"y\""]),
    ("Age", &["7"]),
    ("Via", &["1.1 cache"]),
    ("Warning", &["199 - \"old\""]),
    ("Content-Security-Policy", &["default-src 'self'"]),
    ("X-Frame-Options", &["DENY"]),
    ("Server-Timing", &["db;dur=5"]),
    ("Proxy-Status", &["cache; hit", "cdn; error=timeout"]),
    ("wm_qos.correlation_id", &["1-2"]),
    ("X-Many", &["1", "2"]),
    ("Deprecation", &["true"]),
];

/// Fields that do not, each for one of the documented reasons.
const HELD_BACK: [(&str, &[&str]); 17] = [
    ("Set-Cookie", &["a=b; Path=/; Secure", "c=d"]),
    ("Set-Cookie2", &["a=b"]),
    ("Alt-Svc", &["h3=\":443\""]),
    ("Strict-Transport-Security", &["max-age=63072000"]),
    ("Clear-Site-Data", &["\"*\""]),
    ("NEL", &["{}"]),
    ("Report-To", &["{}"]),
    ("Access-Control-Allow-Origin", &["*"]),
    ("Access-Control-Expose-Headers", &["X-Many"]),
    ("Marketgate-Account", &["other"]),
    ("Proxy-Status", &["marketgate; error=dns_error", "cdn, Marketgate; hit"]),
    ("Proxy-Authenticate", &["Basic realm=x"]),
    ("Proxy-Authentication-Info", &["x"]),
    ("HTTP2-Settings", &["x"]),
    ("Proxy-Connection", &["keep-alive"]),
    ("Keep-Alive", &["timeout=1"]),
    ("TE", &["x"]),
];

/// Those of them that make an answer malformed in HTTP/2 (RFC 9113 §8.2.2).
const ONE_HOP: [&str; 3] = ["Proxy-Connection", "Keep-Alive", "TE"];

const STATUSES: [&str; 38] = [
    "200 OK",
    "200 OK",
    "200 OK",
    "201 Created",
    "202 Accepted",
    "203 Non-Authoritative Information",
    "204 No Content",
    "205 Reset Content",
    "207 Multi-Status",
    "226 IM Used",
    "299 Miscellaneous",
    "300 Multiple Choices",
    "301 Moved Permanently",
    "302 Found",
    "303 See Other",
    "307 Temporary Redirect",
    "308 Permanent Redirect",
    "400 Bad Request",
    "401 Unauthorized",
    "402 Payment Required",
    "403 Forbidden",
    "404 Not Found",
    "404 Nothing Here",
    "409 Conflict",
    "410 Gone",
    "412 Precondition Failed",
    "418 I'm a Teapot",
    "422 Unprocessable Entity",
    "425 Too Early",
    "429 Too Many Requests",
    "451 Unavailable For Legal Reasons",
    "499 Gone Away",
    "500 Internal Server Error",
    "501 Not Implemented",
    "502 Bad Gateway",
    "503 Service Unavailable",
    "504 Gateway Timeout",
    "599 Odd",
];

/// `{api}` stands for the API itself, `{base}` for its path.
const LOCATIONS: [&str; 16] = [
    "{api}/x",
    "{api}/x?y=z#f",
    "{api}",
    "{api}?q",
    "{base}/y",
    "{base}",
    "{base}//evil.test/x",
    "/elsewhere/z",
    "x/y",
    "?page=2",
    "#top",
    "//evil.test/x",
    "https://evil.test/x?y",
    "{base}/a/../b",
    "{api}/%2e%2e/b",
    "{base}/caf%C3%A9",
];

/// `/reply/…` for an answer out of chance.
pub(super) fn path(dice: &mut Dice, site: &Site) -> String {
    let status = status(dice, site);
    let mut script = format!("{status}\n").into_bytes();
    if matches!(&status[..3], "201" | "300" | "301" | "302" | "303" | "307" | "308") {
        let most = if site.has_extras { 2 } else { 1 };
        for _ in 0..dice.between(0, most) {
            let location = dice.pick(&LOCATIONS).replace("{api}", &site.api).replace("{base}", site.base);
            script.extend(format!("Location: {location}\n").into_bytes());
        }
    }
    script.extend(fields(dice, site, status));
    script.extend(b"\n");
    script.extend(body(dice, status, site.has_extras).into_bytes());
    let hex: String = script.iter().map(|octet| format!("{octet:02x}")).collect();
    format!("/reply/{hex}")
}

fn status(dice: &mut Dice, site: &Site) -> &'static str {
    // Node alone writes these as they are.
    if site.has_extras && dice.one_in(6) {
        return dice.pick(&["404 ", "599 ", "404 Café", "304 Not Modified", "304 Not Modified"]);
    }
    dice.pick(&STATUSES)
}

fn fields(dice: &mut Dice, site: &Site, status: &str) -> Vec<u8> {
    let (mut fields, mut named) = (Vec::new(), Vec::new());
    for _ in 0..dice.below(7) {
        let held_back = dice.one_in(3);
        let (name, values) = if held_back { dice.pick(&HELD_BACK) } else { dice.pick(&CROSSING) };
        // nginx has no Content-Type in a 204 over HTTP/2, and has one over HTTP/1.1.
        let unfit = ONE_HOP.contains(&name) || (status.starts_with("204") && name == "Content-Type");
        let repeats =
            matches!(name, "Vary" | "Link" | "Set-Cookie" | "Via" | "X-Many" | "Warning" | "Proxy-Status");
        if (site.is_http2 && unfit) || (!repeats && named.contains(&name)) {
            continue;
        }
        named.push(name);
        fields.extend(format!("{name}: {}\n", dice.pick(values)).into_bytes());
    }
    if dice.one_in(4) {
        fields.extend(odd_field(dice));
    }
    if site.has_extras && dice.one_in(10) {
        fields.extend_from_slice(b"Connection: X-This-Hop, close\nX-This-Hop: 1\n");
    }
    fields
}

fn odd_field(dice: &mut Dice) -> Vec<u8> {
    let value: Vec<u8> = match dice.below(5) {
        0 => b"caf\xe9 \xff\x80".to_vec(),
        1 => "a".repeat(dice.between(500, 2000)).into_bytes(),
        2 => b"a \t b".to_vec(),
        3 => b"\"\\\"\", ,, ;=".to_vec(),
        _ => b"x".to_vec(),
    };
    let name = dice.pick(&["X-ODD", "x-odd", "X-oDD-1", "X-Odd-Field"]);
    [name.as_bytes(), b": ", &value, b"\n"].concat()
}

fn body(dice: &mut Dice, status: &str, extras: bool) -> String {
    if status.starts_with("304") {
        // The length of what is not sent (RFC 9110 §8.6).
        return dice.pick(&["none 0", "length 100"]).to_owned();
    }
    if status.starts_with("204") {
        return "none 0".to_owned();
    }
    let kind =
        if status.starts_with("205") { "none" } else { dice.pick(&["length", "length", "chunked", "none"]) };
    let length = match dice.below(20) {
        _ if kind == "none" => 0,
        0 => dice.between(60_000, 300_000),
        1..=3 => 0,
        _ => dice.between(1, 3000),
    };
    let mut body = format!("{kind} {length}");
    if extras && dice.one_in(4) {
        body.push_str(dice.pick(&["\nearly", "\nprocessing"]));
    }
    if extras && kind == "chunked" && dice.one_in(3) {
        body.push_str("\ntrailer X-Sum: 1");
    }
    body
}
