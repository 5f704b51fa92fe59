//! Fields of requests. The rule: no two names of one request are the same in some server's spelling but not in ours, for
//! the order among different names is nobody's promise.

use crate::{dice::Dice, echo::plain};

type Fields = Vec<(String, Vec<u8>)>;

/// Fields that cross.
const CROSSING: [(&str, &[&str]); 24] = [
    ("Accept", &["*/*", "application/json", "text/csv;q=0.5, */*;q=0.1", ""]),
    ("Accept-Encoding", &["gzip", "identity", "br;q=1.0, gzip;q=0.8, *;q=0.1", ""]),
    ("Accept-Language", &["en", "de-DE, de;q=0.9"]),
    ("User-Agent", &["curl/8.0", "my client/1.0 (a; b) x", ""]),
    ("Referer", &["http://localhost/x?y=z"]),
    ("Range", &["items=1-2"]),
    ("If-None-Match", &["\"x\"", "W/\"x\", \"y\"", "*"]),
    ("If-Modified-Since", &["Sat, 01 Jan 2000 00:00:00 GMT"]),
    ("Idempotency-Key", &["42", "7f9c24e8"]),
    ("Cache-Control", &["no-cache", "max-age=0, no-store"]),
    ("Pragma", &["no-cache"]),
    ("Date", &["Sat, 01 Jan 2000 00:00:00 GMT"]),
    ("Via", &["1.1 mine"]),
    ("Max-Forwards", &["3"]),
    ("Priority", &["u=1, i"]),
    ("Prefer", &["respond-async, wait=10"]),
    ("DNT", &["1"]),
    ("Sec-Fetch-Site", &["none"]),
    ("X-Request-Id", &["abc-1"]),
    ("X-HTTP-Method-Override", &["DELETE"]),
    ("WM_QOS.CORRELATION_ID", &["1-2-3"]),
    ("X-Quoted", &["\"a\\\"b\"", "'", "\"", "a;b=\"c,d\""]),
    ("X-One", &["1", "a b\tc", "=?utf-8?q?x?="]),
    ("Content-Language", &["de"]),
];

/// Fields that do not, each for one of the documented reasons.
const HELD_BACK: [(&str, &[&str]); 37] = [
    ("Authorization", &["Bearer mine", "Basic YTpi"]),
    ("authorization_", &["Bearer mine"]),
    ("Proxy-Authorization", &["Basic YTpi"]),
    ("Cookie", &["a=b; c=d", "session=\"x\"", ""]),
    ("Cookie2", &["$Version=1"]),
    ("-Cookie", &["a=b"]),
    ("Authentication", &["x"]),
    ("WM_SEC.ACCESS_TOKEN", &["mine"]),
    ("wm-sec-access-token", &["mine"]),
    ("WM_SEC.AUTH_SIGNATURE", &["mine"]),
    ("Proxy", &["http://evil.test"]),
    ("X-Api-Key", &["mine"]),
    ("x_api_key", &["mine"]),
    ("WM_PARTNER.ID", &["1"]),
    ("WM-CONSUMER-ID", &["2"]),
    ("Keep-Alive", &["timeout=5, max=10"]),
    ("Proxy-Connection", &["keep-alive", "close"]),
    ("TE", &["trailers", "gzip;q=0.5", ""]),
    ("HTTP2-Settings", &["AAMAAABkAAQAAP__"]),
    ("Upgrade", &["websocket", "h2c", "TLS/1.3"]),
    (
        "Connection",
        &["keep-alive", "close", "Close", "X-One", "close, X-Request-Id", "TE, accept", "upgrade", ""],
    ),
    ("Forwarded", &["for=192.0.2.1;proto=https"]),
    ("X-Forwarded-For", &["192.0.2.1", "192.0.2.1, 10.0.0.1"]),
    ("X_Forwarded_Host", &["evil.test"]),
    ("X-Forwarded-Proto", &["https"]),
    ("X-Real-IP", &["192.0.2.1"]),
    ("X-Original-URL", &["/admin"]),
    ("X-Original-Host", &["evil.test"]),
    ("X-Rewrite-URL", &["/admin"]),
    ("Marketgate-Explain", &["0"]),
    ("Marketgate-Key", &["secret"]),
    ("Keep_Alive", &["timeout=5"]),
    ("Proxy_Connection", &["close"]),
    ("Proxy-Authenticate", &["Basic"]),
    ("Proxy-Authentication-Info", &["x"]),
    ("Trailer", &["X-Sum"]),
    ("Connection_", &["close"]),
];

const NAME: &[u8] = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-";
const ODD_NAME: &[u8] = b"ab1-_.!#$%&'*+^`|~";
const VALUE: &[u8] = b" !\"#$%&'()*+,-./0123456789:;<=>?@ABCXYZ[\\]^_`abcxyz{|}~\t";

/// Adds fields as callers send them.
pub(super) fn fill(dice: &mut Dice, fields: &mut Fields) {
    let count = if dice.one_in(40) { dice.between(20, 70) } else { dice.below(9) };
    for _ in 0..count {
        match dice.below(10) {
            0..=3 => known(dice, &CROSSING, fields),
            4 | 5 => known(dice, &HELD_BACK, fields),
            6 | 7 => invented(dice, NAME, fields),
            8 => repeated(dice, fields),
            _ => invented(dice, ODD_NAME, fields),
        }
    }
}

fn known(dice: &mut Dice, table: &[(&str, &[&str])], fields: &mut Fields) {
    let (name, values) = dice.pick(table);
    let value = dice.pick(values);
    add(fields, spelt(dice, name), value.as_bytes().to_vec());
    if name == "Connection" && value.contains("X-") {
        // What it names is there as a rule.
        add(fields, "X-One".to_owned(), b"for this hop".to_vec());
        add(fields, "X-Request-Id".to_owned(), b"abc-1".to_vec());
    }
}

fn invented(dice: &mut Dice, alphabet: &[u8], fields: &mut Fields) {
    let length = if dice.one_in(100) { 200 } else { dice.between(1, 12) };
    let name = format!("X-{}", dice.text(alphabet, length));
    let value = value(dice);
    add(fields, name, value);
}

/// One more of a name that is there already, in another case.
fn repeated(dice: &mut Dice, fields: &mut Fields) {
    if fields.is_empty() {
        return;
    }
    let at = dice.below(fields.len());
    let name = fields[at].0.clone();
    let lists = ["accept", "accept-language", "cache-control", "via", "forwarded", "cookie", "connection"];
    let may = name.starts_with("X-") || lists.iter().any(|list| name.eq_ignore_ascii_case(list));
    if may {
        let value = value(dice);
        let value = if name.eq_ignore_ascii_case("connection") { b"x-unheard-of".to_vec() } else { value };
        fields.push((spelt(dice, &name), value));
    }
}

/// A value of any octets a value may have (RFC 9110 §5.5).
fn value(dice: &mut Dice) -> Vec<u8> {
    let length = match dice.below(60) {
        0 if dice.one_in(5) => 20_000,
        0 => dice.between(1000, 6000),
        1..=6 => 0,
        _ => dice.between(1, 30),
    };
    let mut value = dice.text(VALUE, length).into_bytes();
    if dice.one_in(5) {
        value.iter_mut().step_by(3).for_each(|octet| *octet |= 0x80);
    }
    value.trim_ascii().to_vec()
}

fn spelt(dice: &mut Dice, name: &str) -> String {
    match dice.below(4) {
        0 => name.to_ascii_lowercase(),
        1 => name.to_ascii_uppercase(),
        _ => name.to_owned(),
    }
}

/// Adds a field unless another one might be taken for it.
fn add(fields: &mut Fields, name: String, value: Vec<u8>) {
    let ours = plain(&name);
    let ours = ours.trim_matches('-');
    if fields.iter().all(|(other, _)| plain(other).trim_matches('-') != ours) {
        fields.push((name, value));
    }
}
