//! Whom a token belongs to. The one rule: a name is taken as it is or not at all, since accounts are pinned to it: nothing
//! is cut, rounded or cleaned.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Map, Value};
use zeroize::Zeroizing;

use crate::secret::Secret;

/// The longest access token that is looked into, in bytes.
const LONGEST_TOKEN: usize = 16 * 1024;

/// The longest name, in characters.
const LONGEST_NAME: usize = 256;

/// The `sub` of an access token that is a JWT (RFC 7519 §4.1.2). None: it is none, or has no usable `sub`.
///
/// The signature is not checked: the token came straight from its issuer over TLS, and what is learnt is only compared
/// with what the same issuer said before.
pub fn jwt_subject(access_token: &Secret) -> Option<String> {
    let token = Some(access_token.expose()).filter(|token| token.len() <= LONGEST_TOKEN)?;
    let mut parts = token.split('.');
    let (_header, payload, _signature) = (parts.next()?, parts.next()?, parts.next()?);
    if parts.next().is_some() {
        return None;
    }
    let payload = Zeroizing::new(URL_SAFE_NO_PAD.decode(payload).ok()?);
    match object(&payload)?.get("sub")? {
        Value::String(subject) => name(subject),
        _ => None,
    }
}

/// A member of a JSON object that names somebody: a text, or a whole number of at most 64 bits. A longer one would be
/// rounded, and two sellers could become one.
pub fn member_of_json(body: &[u8], member: &str) -> Option<String> {
    match object(body)?.get(member)? {
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
    }

    #[test]
    fn what_is_no_jwt_with_a_usable_subject_names_nobody() {
        for payload in [
            "{}",
            "[]",
            "\"sub\"",
            "",
            r#"{"sub":1}"#,
            r#"{"sub":null}"#,
            r#"{"sub":""}"#,
            r#"{"sub":"a b"}"#,
            r#"{"sub":"a\n"}"#,
            r#"{"sub":"\u202e"}"#,
            r#"{"sub":"a"} x"#,
            &format!(r#"{{"sub":"{}"}}"#, "s".repeat(257)),
            &format!(r#"{{"sub":"a","x":"{}"}}"#, "x".repeat(LONGEST_TOKEN)),
        ] {
            assert_eq!(jwt_subject(&jwt(payload)), None, "{payload:.40}");
        }
        let good = jwt(r#"{"sub":"a"}"#);
        for token in ["pat_opaque", "a.b", "", "..", &format!("{}.x", good.expose()), &good.expose()[1..20]] {
            assert_eq!(jwt_subject(&Secret::new(token)), None, "{token}");
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
