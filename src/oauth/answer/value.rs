//! Whether a value is a token: what is cut, masked, empty or a remark is none.

use super::node::Leaf;

/// What stands where a token is looked for.
pub(super) enum Value<'a> {
    Token(&'a str),
    Absent,
    Unusable(&'static str),
}

/// An access token goes into a header (RFC 6750 §2.1): visible ASCII without spaces.
pub(super) fn access_value(leaf: &Leaf) -> Value<'_> {
    match refresh_value(leaf) {
        Value::Token(token) if !token.trim().bytes().all(|byte| byte.is_ascii_graphic()) => {
            Value::Unusable("an access token that no header can carry")
        }
        Value::Token(token) => Value::Token(token.trim()),
        Value::Unusable(_) if !leaf.whole => Value::Unusable("an access token that is cut"),
        Value::Unusable(_) => Value::Unusable("an access token that cannot be used"),
        absent => absent,
    }
}

/// A refresh token goes into a form, which can carry any text.
pub(super) fn refresh_value(leaf: &Leaf) -> Value<'_> {
    let text = leaf.text.as_str();
    if leaf.is_nothing() {
        Value::Absent
    } else if !leaf.whole {
        Value::Unusable("a refresh token that is cut")
    } else if text.contains(char::REPLACEMENT_CHARACTER) || !(leaf.quoted || is_bare_token(text)) {
        Value::Unusable("a refresh token that cannot be used")
    } else if is_remark(text) {
        Value::Unusable("a remark in place of a refresh token")
    } else if is_masked(text.trim()) {
        Value::Unusable("a refresh token that is masked")
    } else {
        Value::Token(text)
    }
}

/// A token that is written as a number or without quotes: long enough to be no figure and no flag.
fn is_bare_token(text: &str) -> bool {
    text.len() >= 8 && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~+/=".contains(&byte))
}

/// What is said about a token in its place: `{"refresh_token":"This field is required."}`.
fn is_remark(text: &str) -> bool {
    const REMARKS: [&str; 13] = [
        "blank",
        "expired",
        "invalid",
        "malformed",
        "missing",
        "not found",
        "not_found",
        "required",
        "revoked",
        "rotated",
        "stored",
        "unchanged",
        "unknown",
    ];
    let lower = text.to_ascii_lowercase();
    let is_prose = lower.chars().all(|c| c.is_ascii_alphabetic() || " _-.,:;!'".contains(c));
    is_prose && REMARKS.iter().any(|remark| lower.contains(remark))
}

/// What stands for a token that is not to be seen, or for one of an example. A random token must not look like it.
fn is_masked(text: &str) -> bool {
    const WORDS: [&str; 8] =
        ["redacted", "filtered", "hidden", "masked", "removed", "string", "secret", "refresh_token"];
    let lower = text.to_ascii_lowercase();
    let all = |sign: char| lower.chars().all(|c| c == sign);
    let run = lower.split(|c| c != 'x').map(str::len).max().unwrap_or_default();
    WORDS.contains(&lower.as_str())
        || text.contains(['\u{2026}', '\u{2022}', '\u{25cf}'])
        || text.contains("***")
        || text.contains("...")
        || (run >= 4 && run * 3 >= text.len())
        || (text.len() >= 3 && ['x', '*', '#', '-', '.', '0'].into_iter().any(all))
        || is_placeholder(&lower)
}

/// `<refresh_token>`, `[FILTERED]`, `your_refresh_token`.
fn is_placeholder(lower: &str) -> bool {
    let is_word = |text: &str| text.chars().all(|c| c.is_ascii_lowercase() || matches!(c, '_' | '-' | ' '));
    let framed = [('<', '>'), ('[', ']'), ('{', '}')].iter().find_map(|(open, close)| {
        Some(lower.strip_prefix(*open)?.strip_suffix(*close)?.trim_matches(['{', '}']))
    });
    framed.is_some_and(is_word) || (lower.starts_with("your") && is_word(lower))
}
