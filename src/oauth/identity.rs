//! Whom a token belongs to. The one rule: a name is taken as it is or not at all, since accounts are pinned to it: nothing
//! is cut, rounded or cleaned.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Map, Value};
use zeroize::Zeroizing;

use crate::secret::Secret;

/// The longest name, in characters.
const LONGEST_NAME: usize = 256;

/// The `sub` of an access token that is a JWT (RFC 7519 §4.1.2). None: it is none, or has no usable `sub`.
///
/// The signature is not checked: the token came straight from its issuer over TLS, and what is learnt is only compared
/// with what the same issuer said before.
pub fn jwt_subject(access_token: &Secret) -> Option<String> {
    member(&jwt_claims(access_token)?, SUBJECT)
}

/// The claim that names the subject of a token (RFC 7519 §4.1.2).
const SUBJECT: &str = "sub";

/// The claims of a signed JWT (RFC 7515 §7.1), unchecked.
pub(super) fn jwt_claims(token: &Secret) -> Option<Map<String, Value>> {
    let mut parts = token.expose().split('.');
    let (_header, payload, _signature) = (parts.next()?, parts.next()?, parts.next()?);
    if parts.next().is_some() {
        return None;
    }
    let payload = Zeroizing::new(URL_SAFE_NO_PAD.decode(payload.trim_end_matches('=')).ok()?);
    object(&payload)
}

/// The `sub` in the answer of a userinfo endpoint (OpenID Connect Core §5.3.2): JSON, or a signed JWT.
pub fn userinfo_subject(body: &[u8]) -> Option<String> {
    let jwt = || jwt_subject(&Secret::new(std::str::from_utf8(body).ok()?.trim()));
    object(body).map_or_else(jwt, |claims| member(&claims, SUBJECT))
}

/// A member of a JSON object that names somebody: a text, or a whole number of at most 64 bits. A longer one would be
/// rounded, and two sellers could become one.
pub fn member_of_json(body: &[u8], name: &str) -> Option<String> {
    member(&object(body)?, name)
}

pub(super) fn member(object: &Map<String, Value>, wanted: &str) -> Option<String> {
    match object.get(wanted)? {
        Value::String(text) => name(text),
        Value::Number(number) if number.is_u64() || number.is_i64() => Some(number.to_string()),
        _ => None,
    }
}

/// A name that can be shown and compared: visible ASCII, not empty, not endless.
pub fn name(text: &str) -> Option<String> {
    let visible =
        !text.is_empty() && text.len() <= LONGEST_NAME && text.bytes().all(|b| b.is_ascii_graphic());
    visible.then(|| text.to_owned())
}

fn object(bytes: &[u8]) -> Option<Map<String, Value>> {
    serde_json::from_slice(bytes).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn jwt(payload: &str) -> Secret {
        Secret::new(format!("eyJhbGciOiJub25lIn0.{}.c2ln", URL_SAFE_NO_PAD.encode(payload)))
    }

    #[test]
    fn the_subject_of_a_jwt_is_read() {
        let subject = "f:0d3b:4711";
        assert_eq!(jwt_subject(&jwt(&format!(r#"{{"sub":"{subject}","exp":1}}"#))).as_deref(), Some(subject));
        let longest = "s".repeat(256);
        assert_eq!(jwt_subject(&jwt(&format!(r#"{{"sub":"{longest}"}}"#))), Some(longest));
        assert_eq!(jwt_subject(&jwt(r#"{"sub":4711}"#)).as_deref(), Some("4711"));
        let large = format!(r#"{{"sub":"a","roles":"{}"}}"#, "x".repeat(40_000));
        assert_eq!(jwt_subject(&jwt(&large)).as_deref(), Some("a"), "a server with many roles");
    }

    #[test]
    fn what_is_no_jwt_with_a_usable_subject_names_nobody() {
        for payload in [
            "{}",
            "[]",
            "\"sub\"",
            "",
            r#"{"sub":1.5}"#,
            r#"{"sub":null}"#,
            r#"{"sub":""}"#,
            r#"{"sub":"a b"}"#,
            r#"{"sub":"a\n"}"#,
            r#"{"sub":"\u202e"}"#,
            r#"{"sub":"a"} x"#,
            &format!(r#"{{"sub":"{}"}}"#, "s".repeat(257)),
        ] {
            assert_eq!(jwt_subject(&jwt(payload)), None, "{payload:.40}");
        }
        let good = jwt(r#"{"sub":"a"}"#);
        for token in ["pat_opaque", "a.b", "", "..", &format!("{}.x", good.expose()), &good.expose()[1..20]] {
            assert_eq!(jwt_subject(&Secret::new(token)), None, "{token}");
        }
    }

    #[test]
    fn a_userinfo_answer_is_json_or_a_jwt() {
        assert_eq!(userinfo_subject(br#"{"sub":"a","name":"b"}"#).as_deref(), Some("a"));
        assert_eq!(userinfo_subject(jwt(r#"{"sub":"a"}"#).expose().as_bytes()).as_deref(), Some("a"));
        for nobody in [&b"{}"[..], b"<html>", b"", b"\xff", br#"["sub"]"#] {
            assert_eq!(userinfo_subject(nobody), None);
        }
    }

    #[test]
    fn a_shop_is_named_by_a_text_or_a_whole_number() {
        for (body, expected) in [
            (r#"{"id":97082934,"username":"u"}"#, Some("97082934")),
            (r#"{"id":18446744073709551615}"#, Some("18446744073709551615")),
            (r#"{"id":-1}"#, Some("-1")),
            (r#"{"id":"shop-1"}"#, Some("shop-1")),
            (r#"{"id":18446744073709551616}"#, None),
            (r#"{"id":1.0}"#, None),
            (r#"{"id":true}"#, None),
            (r#"{"id":{"id":1}}"#, None),
            (r#"{"ID":1}"#, None),
            (r#"[{"id":1}]"#, None),
            ("<id>1</id>", None),
            ("", None),
        ] {
            assert_eq!(member_of_json(body.as_bytes(), "id").as_deref(), expected, "{body}");
        }
    }

    proptest! {
        #[test]
        fn nothing_makes_it_panic(token in ".{0,80}", payload in prop::collection::vec(any::<u8>(), 0..80)) {
            let made = format!("a.{}.c", URL_SAFE_NO_PAD.encode(&payload));
            let _ = (jwt_subject(&Secret::new(token)), jwt_subject(&Secret::new(made)));
            let _ = member_of_json(&payload, "id");
        }
    }
}
