//! A server's words made fit for a log line: no secret, no control character and nothing long passes.
//!
//! Servers echo what they were sent. What the call held is taken out by comparison, in the spellings in which it travels and
//! also where only a part of it is echoed. Beyond that only what looks like a token is: names, addresses and identifiers of
//! requests are what a person needs.

use base64::{
    Engine,
    engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD},
};

use super::form;

/// The longest text that passes, in characters.
const LONGEST: usize = 600;

/// More of a text is not looked at.
const MOST: usize = 16 * 1024;

/// As much of a secret is taken out wherever it stands, whatever is around it.
const PART: usize = 12;

const TAKEN_OUT: &str = "…";

/// What our own libraries say of a connection: no secret was sent on it yet, and a long word may be a host's name.
pub fn plain(text: &str) -> String {
    shorten(&visible(text).split_whitespace().collect::<Vec<_>>().join(" "))
}

/// What of `text` may be shown, given the secrets that were sent.
pub fn clean(text: &str, secrets: &[&str]) -> String {
    let text: String = text.chars().take(MOST).collect();
    let visible = visible(&without_quoted(&without(&text, secrets)));
    let mut words: Vec<String> = Vec::new();
    for word in visible.split_whitespace() {
        let follows_scheme = words.last().is_some_and(|before| names_scheme(before));
        words.push(if follows_scheme && is_credential(word) {
            TAKEN_OUT.to_owned()
        } else {
            without_tokens(word)
        });
    }
    shorten(&words.join(" "))
}

/// The longest spelling goes first: one may be a part of another.
fn without(text: &str, secrets: &[&str]) -> String {
    let secrets = secrets.iter().filter(|secret| !secret.is_empty());
    let mut spellings: Vec<String> = secrets.flat_map(|secret| spellings(secret)).collect();
    spellings.sort_by_key(|spelling| std::cmp::Reverse(spelling.len()));
    spellings.dedup();
    spellings.iter().fold(text.to_owned(), |text, spelling| {
        without_parts(&text.replace(spelling.as_str(), TAKEN_OUT), spelling.as_bytes())
    })
}

/// As it is, as in a form, a URL, JSON or HTML, and in base64.
fn spellings(secret: &str) -> Vec<String> {
    let encoded = form::encode(secret);
    let html = secret.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    vec![
        secret.to_owned(),
        encoded.replace('+', "%20"),
        encoded.to_ascii_lowercase(),
        encoded,
        secret.replace('\\', "\\\\").replace('/', "\\/").replace('"', "\\\""),
        html.replace('"', "&quot;").replace('\'', "&#39;"),
        html.replace('"', "&#34;").replace('\'', "&#x27;"),
        STANDARD_NO_PAD.encode(secret),
        URL_SAFE_NO_PAD.encode(secret),
    ]
}

/// Takes out what has [`PART`] bytes or more in a row with the secret, in any case.
fn without_parts(text: &str, secret: &[u8]) -> String {
    let lower = |bytes: &[u8]| bytes.to_ascii_lowercase();
    let secret = lower(secret);
    if secret.len() < PART || text.len() < PART {
        return text.to_owned();
    }
    let parts: std::collections::HashSet<&[u8]> = secret.windows(PART).collect();
    let bytes = lower(text.as_bytes());
    let mut of_secret = vec![false; bytes.len()];
    for (at, part) in bytes.windows(PART).enumerate() {
        if parts.contains(part) {
            of_secret[at..at + PART].fill(true);
        }
    }
    let mut out = String::new();
    let mut inside = false;
    for (at, character) in text.char_indices() {
        if !of_secret[at] {
            out.push(character);
        } else if !inside {
            out.push_str(TAKEN_OUT);
        }
        inside = of_secret[at];
    }
    out
}

/// Parameters and members whose values are secrets.
const NAMES: [&str; 9] = [
    "access_token",
    "refresh_token",
    "id_token",
    "client_secret",
    "code_verifier",
    "password",
    "assertion",
    "code",
    "token",
];

/// Takes out the quoted values of [`NAMES`], whatever they hold.
fn without_quoted(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(quote) = rest.find(['"', '\'']) {
        let (before, quoted) = rest.split_at(quote);
        out.push_str(before);
        let Some((value, after)) = quoted[1..].split_once(&quoted[..1]) else {
            rest = quoted;
            break;
        };
        let taken = is_named_secret(&out) && value.len() >= 6;
        out.push_str(&quoted[..1]);
        if taken {
            out.push_str(TAKEN_OUT);
            out.push_str(&quoted[..1]);
            rest = after;
        } else {
            rest = &quoted[1..];
        }
    }
    out + rest
}

fn visible(text: &str) -> String {
    text.chars().map(|c| if is_plain(c) { c } else { ' ' }).collect()
}

/// Letters and digits of any script, ASCII signs, and the mark of what was taken out; no control or direction characters.
fn is_plain(c: char) -> bool {
    c.is_alphanumeric() || c.is_ascii_graphic() || TAKEN_OUT.contains(c)
}

/// `Bearer`, `Basic`: what follows is a credential.
fn names_scheme(word: &str) -> bool {
    let word = word.trim_matches(|c: char| !c.is_ascii_alphanumeric());
    ["bearer", "basic", "dpop"].iter().any(|scheme| word.eq_ignore_ascii_case(scheme))
}

/// Not a word of a sentence: it has a digit, or capitals among small letters.
fn is_credential(word: &str) -> bool {
    let small = word.bytes().filter(u8::is_ascii_lowercase).count();
    let capitals = word.bytes().skip(1).filter(u8::is_ascii_uppercase).count();
    word.len() >= 8 && (word.bytes().any(|byte| byte.is_ascii_digit()) || (small > 0 && capitals > 0))
}

/// The word without what looks like a token or is called one.
fn without_tokens(word: &str) -> String {
    let is_token_sign =
        |c: char| c.is_ascii_alphanumeric() || "-._~+/%\\".contains(c) || TAKEN_OUT.contains(c);
    let mut out = String::new();
    let mut rest = word;
    while !rest.is_empty() {
        let length = rest.find(|c| !is_token_sign(c)).unwrap_or(rest.len());
        let (piece, after) = rest.split_at(length);
        let taken = looks_like_token(piece) || (is_named_secret(&out) && is_value(piece));
        out.push_str(if taken { TAKEN_OUT } else { piece });
        let length = after.find(is_token_sign).unwrap_or(after.len());
        let (signs, after) = after.split_at(length);
        out.push_str(signs);
        rest = after;
    }
    out
}

/// Whether what comes next is the value of a parameter or member that holds a secret.
fn is_named_secret(before: &str) -> bool {
    let name = before.trim_end_matches(['"', '\'', ':', '=', '>', ' ', '\\']);
    name.len() < before.len()
        && NAMES.iter().any(|known| {
            let named = name.len().checked_sub(known.len()).and_then(|at| name.split_at_checked(at));
            named.is_some_and(|(before, end)| {
                end.eq_ignore_ascii_case(known)
                    && !before.ends_with(|c: char| c.is_ascii_alphanumeric() || c == '_')
            })
        })
}

/// Not a word such as `expired` or `invalid_grant`, and not a number.
fn is_value(piece: &str) -> bool {
    let all = |of: fn(u8) -> bool| piece.bytes().all(of);
    piece.len() >= 6
        && !all(|byte| byte.is_ascii_digit())
        && !all(|byte| byte.is_ascii_lowercase() || b"_.".contains(&byte))
}

/// A JWT, or something long and random. Words in any spelling, addresses, UUIDs and identifiers of traces (32 hexadecimal
/// digits) are not.
fn looks_like_token(piece: &str) -> bool {
    const SHORTEST: usize = 24;
    const LONGEST_IDENTIFIER: usize = 40;
    if piece.starts_with("eyJ") && piece.len() >= 16 {
        return true;
    }
    let is_hexadecimal = piece.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-');
    if piece.len() < if is_hexadecimal { LONGEST_IDENTIFIER } else { SHORTEST } {
        return false;
    }
    // Between words and within camel case the kind of a character changes rarely, in random text at every other.
    let kind = |byte: u8| match byte {
        b'a'..=b'z' => 0,
        b'A'..=b'Z' => 1,
        b'0'..=b'9' => 2,
        _ => 3,
    };
    let changes = piece.as_bytes().windows(2).filter(|pair| kind(pair[0]) != kind(pair[1])).count();
    is_hexadecimal || changes * 5 >= piece.len() * 2
}

fn shorten(text: &str) -> String {
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}{TAKEN_OUT}", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn words_codes_addresses_and_identifiers_pass() {
        for text in [
            "Maximum allowed refresh token reuse exceeded",
            "client secret does not match",
            "UNAUTHORIZED.GMP_GATEWAY_API: Unauthorized",
            "unsupported_grant_type",
            "AADSTS7000215: Invalid client secret provided.",
            "Código no válido",
            "The client supports 'client_secret_basic', but method 'client_secret_post' was requested",
            "Unable_to_resolve_the_OAuth2AuthenticationProcessingFilter",
            "see https://login.microsoftonline.com/error?code=7000215 and https://docs.example.com/oauth2/errors",
            "Trace ID: 0a1b2c3d-4e5f-6789-abcd-ef0123456789 Correlation ID: 4bf92f3577b34da6a3ce929d0e0e4736",
            "timestamp 2026-11-29T18:00:00.000Z",
            "org.springframework.security.oauth2.core.OAuth2AuthenticationException",
            "token: expired_or_revoked code=invalid",
        ] {
            assert_eq!(clean(text, &["s3cret-of-the-client"]), text);
        }
    }

    #[test]
    fn a_connections_failure_is_told_with_the_names_in_it() {
        let said = "invalid peer certificate: certificate not valid for name \"auth.market.example.com\"";
        assert_eq!(plain(&format!("{said}\r\n")), said);
        assert_eq!(plain(&"x".repeat(900)).chars().count(), LONGEST + 1);
    }

    #[test]
    fn secrets_tokens_and_control_characters_do_not() {
        assert_eq!(clean("bad secret s3/cret!", &["s3/cret"]), "bad secret …!");
        assert_eq!(clean("secret=s3%2Fcret s3\\/cret czMvY3JldA==", &["s3/cret"]), "secret=… … …==");
        assert_eq!(clean("token eyJhbGciOiJIUzI1NiJ9.e30.x is bad", &[]), "token … is bad");
        assert_eq!(clean("Basic aWQ6Y2xpZW50LXMzY3JldA== was sent", &[]), "Basic … was sent");
        assert_eq!(
            clean("got {\"access_token\":\"leaky-access-1\",code=4/0AX4XfWh}", &[]),
            "got {\"access_token\":\"…\",code=…}"
        );
        assert_eq!(clean("for kT9vQ2mZx7LbR4nWc8YdP1sG5hJ0", &[]), "for …");
        assert_eq!(clean("a\r\nINFO forged\u{1b}[31m\u{202e}x\0", &[]), "a INFO forged [31m x");
        assert_eq!(clean(&"ab ".repeat(1000), &[]).chars().count(), LONGEST + 1);
        assert_eq!(clean("\u{feff} \u{fffd}", &[]), "");
    }

    #[test]
    fn a_part_of_a_secret_does_not_pass() {
        let secret = "correct-horse-battery-staple";
        assert_eq!(clean("token 'correct-horse-b' is bad", &[secret]), "token '…' is bad");
        assert_eq!(clean("... HORSE-BATTERY-STAPLE", &[secret]), "... …");
    }

    proptest! {
        #[test]
        fn an_echoed_secret_never_passes(
            secret in "[!-~]{4,60}", before in "[ -~]{0,30}", after in "\\PC{0,30}"
        ) {
            let raw = clean(&format!("{before}{secret}{after}"), &[&secret]);
            prop_assert!(!raw.contains(&secret), "{}", raw);
            let encoded = clean(&format!("{before}{}{after}", form::encode(&secret)), &[&secret]);
            prop_assert!(!encoded.contains(&secret));
        }

        #[test]
        fn no_part_of_an_echoed_secret_passes(secret in "[!-~]{30,60}", from in 0..15_usize, after in "\\PC{0,10}") {
            let part = &secret[from..from + 15];
            let shown = clean(&format!("x {part}{after}"), &[&secret]);
            prop_assert!(!shown.contains(part), "{}", shown);
        }
    }
}
