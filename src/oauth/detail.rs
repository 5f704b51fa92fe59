//! A server's words made fit for a log line. The rule: no secret, no control character and nothing long passes.
//!
//! Servers echo what they were sent. Secrets that the call held are taken out by comparison, in the spellings they
//! travelled in; anything else that looks like one (a long word that is no error code) is taken out by its looks.

use super::form;

/// The longest text that passes, in characters.
const LONGEST: usize = 200;

/// The longest word that passes; access tokens, keys and secrets of all marketplaces known are longer.
const LONGEST_WORD: usize = 19;

const TAKEN_OUT: &str = "…";

/// What our own libraries say of a connection: no secret was sent on it yet, and a long word may be a host's name.
pub fn plain(text: &str) -> String {
    shorten(&visible(text).split_whitespace().collect::<Vec<_>>().join(" "))
}

/// What of `text` may be shown, given the secrets that were sent.
pub fn clean(text: &str, secrets: &[&str]) -> String {
    let visible = visible(&without(text, secrets));
    let words: Vec<&str> =
        visible.split_whitespace().map(|word| if is_long(word) { TAKEN_OUT } else { word }).collect();
    shorten(&words.join(" "))
}

/// The longest secret goes first: one may be a part of another.
fn without(text: &str, secrets: &[&str]) -> String {
    let mut secrets: Vec<&str> = secrets.iter().copied().filter(|secret| !secret.is_empty()).collect();
    secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
    secrets.into_iter().fold(text.to_owned(), |text, secret| {
        text.replace(secret, TAKEN_OUT).replace(&form::encode(secret), TAKEN_OUT)
    })
}

fn visible(text: &str) -> String {
    text.chars().map(|c| if is_plain(c) { c } else { ' ' }).collect()
}

/// Letters and digits of any script, ASCII signs, and the mark of what was taken out; no control or direction characters.
fn is_plain(c: char) -> bool {
    c.is_alphanumeric() || c.is_ascii_graphic() || TAKEN_OUT.contains(c)
}

fn is_long(word: &str) -> bool {
    word.chars().count() > LONGEST_WORD && !is_code(word)
}

/// `unsupported_grant_type`, `UNAUTHORIZED.GMP_GATEWAY_API`: words of one case joined by `_` or `.`.
fn is_code(word: &str) -> bool {
    let word = word.trim_matches([':', ',', ';', '"', '\'', '`', '(', ')', '.']);
    let one_case = |case: fn(&u8) -> bool| {
        word.split(['_', '.']).all(|part| part.len() <= 16 && part.as_bytes().iter().all(case))
    };
    one_case(u8::is_ascii_lowercase) || one_case(u8::is_ascii_uppercase)
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
    fn plain_words_and_error_codes_pass() {
        for text in [
            "Maximum allowed refresh token reuse exceeded",
            "client secret does not match",
            "UNAUTHORIZED.GMP_GATEWAY_API: Unauthorized",
            "unsupported_grant_type",
            "AADSTS7000215: Invalid client secret provided.",
            "Código no válido",
        ] {
            assert_eq!(clean(text, &["s3cret"]), text);
        }
    }

    #[test]
    fn a_connections_failure_is_told_with_the_names_in_it() {
        let said = "invalid peer certificate: certificate not valid for name \"auth.market.example.com\"";
        assert_eq!(plain(&format!("{said}\r\n")), said);
        assert_eq!(plain(&"x".repeat(500)).chars().count(), LONGEST + 1);
    }

    #[test]
    fn secrets_long_words_and_control_characters_do_not() {
        assert_eq!(clean("bad secret s3/cret!", &["s3/cret"]), "bad secret …!");
        assert_eq!(clean("secret=s3%2Fcret", &["s3/cret"]), "secret=…");
        assert_eq!(clean("token eyJhbGciOiJIUzI1NiJ9.e30.x is bad", &[]), "token … is bad");
        assert_eq!(clean("a\r\nINFO forged\u{1b}[31m\u{202e}x\0", &[]), "a INFO forged [31m x");
        assert_eq!(clean(&"ab ".repeat(1000), &[]).chars().count(), LONGEST + 1);
        assert_eq!(clean("\u{feff} \u{fffd}", &[]), "");
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
    }
}
