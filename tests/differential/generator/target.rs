//! Paths and queries. The rule: everything the gate's documentation calls legal, and no dot segment for any reader.

use crate::dice::Dice;

/// What paths are put together from. None begins or ends a segment with a lone `.` or `..`.
const PIECES: [&str; 40] = [
    "a",
    "items",
    "v1",
    "SKU-1",
    "%2F",
    "%2f",
    "%2B",
    "%2b",
    "+",
    ";p=1",
    ";",
    ";a;b=c",
    "%20",
    "%C3%A9",
    "%c3%a9",
    "%E2%82%AC",
    "%F0%9F%98%80",
    "%FF",
    "%25",
    "%252F",
    "%41",
    "@",
    ":",
    "!",
    "$",
    "'",
    "()",
    "*",
    ",",
    "~",
    "-_",
    "a.b",
    ".well-known",
    "..a",
    "...",
    "=",
    "&",
    "a=b&c",
    "x@y",
    "|^",
];

const WORDS: [&str; 26] = [
    "a",
    "b",
    "=",
    "=",
    "&",
    "&",
    "&&",
    "a=b",
    "q=%2F..%2F",
    "+",
    "%2B",
    "%20",
    "%00",
    "%C3%A9",
    "x[]=1",
    "y{}=2",
    "?",
    "/",
    "//",
    "..",
    "/../",
    ";",
    "http://evil.test/",
    "'",
    "|",
    "~",
];

const PLAIN: &[u8] = b"abcdefghijklmnopqrstuvwxyz0123456789-._~";

/// A path below `page`, perhaps with a query.
pub(super) fn below(dice: &mut Dice, page: &str) -> String {
    let mut rest = page.to_owned();
    for _ in 0..dice.below(5) {
        rest.push('/');
        for _ in 0..dice.below(4) {
            rest.push_str(dice.pick(&PIECES));
        }
    }
    if dice.one_in(200) {
        let length = dice.between(1000, 7000);
        rest.push_str(&format!("/{}", dice.text(b"abcdef0123456789", length)));
    }
    if dice.one_in(2) {
        rest.push_str(&query(dice));
    }
    rest
}

/// A query, `?` included.
pub(super) fn query(dice: &mut Dice) -> String {
    if dice.one_in(100) {
        let length = dice.between(1000, 5000);
        return format!("?{}", dice.text(PLAIN, length));
    }
    let words = dice.below(9);
    let words: String = (0..words).map(|_| dice.pick(&WORDS)).collect();
    format!("?{words}")
}
