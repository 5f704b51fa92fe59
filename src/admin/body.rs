//! What a request brings. The one rule: it is typed, bounded in size and time, and none of it is ever written to a log.
//!
//! A type is demanded because a page may send a body without asking first only as one of three types (Fetch standard,
//! CORS-safelisted request headers), and none of ours is among them.

use std::{fmt, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, StatusCode, header};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::{Body as _, Incoming};
use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, Visitor};
use serde_json::{Map, Value};

use super::refusal::bad_request;
use crate::http::problem::{Code, Problem};

/// How long a body may take to arrive.
pub(super) const LONGEST: Duration = Duration::from_secs(20);

/// What a route takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taken {
    /// No body.
    Nothing,
    /// One JSON object.
    Json,
    /// JSON objects, one a line.
    Lines,
}

impl Taken {
    /// The most it may have, in bytes.
    pub fn most(self) -> usize {
        match self {
            Self::Nothing => 0,
            Self::Json => 64 * 1024,
            Self::Lines => 4 * 1024 * 1024,
        }
    }

    /// The media types it may have; the first is the usual one.
    pub fn types(self) -> &'static [&'static str] {
        match self {
            Self::Nothing => &[],
            Self::Json => &["application/json"],
            Self::Lines => {
                &["application/x-ndjson", "application/ndjson", "application/jsonl", "application/json"]
            }
        }
    }
}

/// Reads a body to its end.
pub(super) async fn read(taken: Taken, headers: &HeaderMap, body: Incoming) -> Result<Bytes, Problem> {
    if body.is_end_stream() {
        return Ok(Bytes::new());
    }
    if taken == Taken::Nothing {
        return Err(bad_request("this request takes no body", "send it without one"));
    }
    check_type(taken, headers)?;
    let most = taken.most();
    if body.size_hint().lower() > most as u64 {
        return Err(too_large(most));
    }
    match tokio::time::timeout(LONGEST, Limited::new(body, most).collect()).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(too_large(most)),
        Ok(Err(_)) => Err(bad_request("the body broke off", "send it again")),
        Err(_) => Err(too_slow()),
    }
}

fn check_type(taken: Taken, headers: &HeaderMap) -> Result<(), Problem> {
    let written = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let media_type = written.split(';').next().unwrap_or_default().trim();
    if taken.types().iter().any(|known| known.eq_ignore_ascii_case(media_type)) {
        return Ok(());
    }
    let wanted = taken.types()[0];
    let code = Code::Own { word: "wrong_type", status: StatusCode::UNSUPPORTED_MEDIA_TYPE };
    let detail = match media_type {
        "" => "the body has no Content-Type".to_owned(),
        other => format!("the body's Content-Type is {other:?}"),
    };
    Err(Problem::new(code, detail, format!("send `Content-Type: {wanted}`")))
}

fn too_large(most: usize) -> Problem {
    Problem::new(Code::BodyTooLarge, format!("the body is larger than {most} bytes"), "send less at once")
}

fn too_slow() -> Problem {
    let code = Code::Own { word: "body_too_slow", status: StatusCode::REQUEST_TIMEOUT };
    let detail = format!("the body took longer than {} s", LONGEST.as_secs());
    Problem::new(code, detail, "send it again, or in parts")
}

/// An object in which no member stands twice: which of the two is meant nobody could tell.
struct Members(Map<String, Value>);

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Once;
        impl<'de> Visitor<'de> for Once {
            type Value = Members;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Members, A::Error> {
                let mut members = Map::new();
                while let Some((name, value)) = access.next_entry::<String, Value>()? {
                    if members.contains_key(&name) {
                        return Err(A::Error::custom("a member stands there twice"));
                    }
                    members.insert(name, value);
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Once)
    }
}

/// The members of a JSON object. The refusal says where the mistake is, never what stands there: it may be a secret.
pub(super) fn object(text: &[u8]) -> Result<Map<String, Value>, String> {
    let members: Result<Members, serde_json::Error> = serde_json::from_slice(text);
    members.map(|members| members.0).map_err(|error| match error.classify() {
        serde_json::error::Category::Data if error.to_string().starts_with("a member") => {
            format!("a member stands there twice, before column {}", error.column())
        }
        serde_json::error::Category::Data if text.trim_ascii_start().starts_with(b"[") => {
            "it is no JSON object but a list: send each of its objects by itself, or one a line where many are taken".to_owned()
        }
        serde_json::error::Category::Data => "it is no JSON object".to_owned(),
        _ => format!("it is no JSON: there is a mistake at line {} column {}", error.line(), error.column()),
    })
}

/// The members of a body that is one JSON object, all of them known.
pub(super) fn known_object(body: &Bytes, known: &[&str]) -> Result<Map<String, Value>, Problem> {
    let hint = || format!("send an object with {}", known.join(", "));
    let members = object(body).map_err(|wrong| bad_request(format!("the body: {wrong}"), hint()))?;
    match members.keys().find(|name| !known.contains(&name.as_str())) {
        Some(unknown) => Err(bad_request(format!("unknown member {unknown:?}"), hint())),
        None => Ok(members),
    }
}

/// A text that must be there.
pub(super) fn text<'m>(members: &'m Map<String, Value>, name: &str) -> Result<&'m str, Problem> {
    let text = members.get(name).and_then(Value::as_str);
    text.ok_or_else(|| {
        bad_request(format!("`{name}` is missing or no text"), format!("write {name:?}: \"…\""))
    })
}

/// Whether it is there and true.
pub(super) fn flag(members: &Map<String, Value>, name: &str) -> Result<bool, Problem> {
    match members.get(name) {
        None | Some(Value::Null) => Ok(false),
        Some(Value::Bool(flag)) => Ok(*flag),
        Some(_) => Err(bad_request(format!("`{name}` is neither true nor false"), "write true or false")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mistake_in_json_is_placed_and_never_shown() {
        for (text, expected) in [
            (r#"{"a":1,"a":2}"#, "a member stands there twice"),
            (r#"["secret"]"#, "it is no JSON object"),
            (r#""secret""#, "it is no JSON object"),
            (r#"{"a":"secret}"#, "it is no JSON: there is a mistake at line 1"),
            (r#"{"a":"secret"} x"#, "it is no JSON: there is a mistake at line 1"),
            ("", "it is no JSON"),
        ] {
            let wrong = object(text.as_bytes()).unwrap_err();
            assert!(wrong.starts_with(expected) && !wrong.contains("secret"), "{text}: {wrong}");
        }
        assert_eq!(object(br#" {"a":1} "#).unwrap().len(), 1);
    }

    #[test]
    fn an_unknown_member_is_told_which_are_known() {
        let body = Bytes::from_static(br#"{"acount":"a"}"#);
        let problem = known_object(&body, &["account", "replace_identity"]).unwrap_err();
        assert_eq!(problem.detail, "unknown member \"acount\"");
        assert_eq!(problem.action, "send an object with account, replace_identity");
    }
}
