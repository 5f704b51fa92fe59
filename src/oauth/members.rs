//! A token endpoint's body read into named members, whether JSON (RFC 6749 §5.1, §5.2) or XML. The rule: nothing is
//! guessed; a body that could mean two things is unreadable.
//!
//! Both the RFC's names and the camelCase ones of XML-born services are known. The declared content type is not looked
//! at, since many servers declare a wrong one. Bytes that are no UTF-8 become U+FFFD: in a description they do no harm,
//! and in a token they make it unusable.

use std::{borrow::Cow, collections::BTreeMap, fmt};

use quick_xml::{Reader, escape::resolve_predefined_entity, events::Event};
use serde::{
    Deserialize, Deserializer,
    de::{IgnoredAny, MapAccess, Visitor},
};
use serde_json::Value;

/// The members that mean something to us.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Member {
    /// `access_token`.
    AccessToken,
    /// `token_type`.
    TokenType,
    /// `expires_in`, seconds.
    ExpiresIn,
    /// `refresh_token`.
    RefreshToken,
    /// `refresh_expires_in`, seconds (Keycloak).
    RefreshExpiresIn,
    /// `scope`.
    Scope,
    /// `error`, or `errors` where a vendor writes a list.
    Error,
    /// `error_description`.
    ErrorDescription,
    /// `message`, where vendors describe errors.
    Message,
    /// `code`: an XML error's.
    Code,
}

impl Member {
    fn named(name: &str) -> Option<Self> {
        Some(match name {
            "access_token" | "accessToken" => Self::AccessToken,
            "token_type" | "tokenType" => Self::TokenType,
            "expires_in" | "expiresIn" => Self::ExpiresIn,
            "refresh_token" | "refreshToken" => Self::RefreshToken,
            "refresh_expires_in" | "refreshExpiresIn" => Self::RefreshExpiresIn,
            "scope" => Self::Scope,
            "error" | "errors" => Self::Error,
            "error_description" | "errorDescription" | "description" => Self::ErrorDescription,
            "message" => Self::Message,
            "code" => Self::Code,
            _ => return None,
        })
    }
}

/// Why a body could not be read. Shows nothing of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unreadable {
    /// No byte, or white space alone.
    Empty,
    /// A page for people.
    Html,
    /// Neither whole JSON nor whole XML.
    Malformed,
    /// JSON, but no object.
    NoObject,
    /// A member stands there twice with two values.
    Twice(Member),
}

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("an empty body"),
            Self::Html => {
                f.write_str("an HTML page: a login page, an error page or a program in between answered")
            }
            Self::Malformed => f.write_str("a body that is neither whole JSON nor whole XML"),
            Self::NoObject => f.write_str("JSON that is no object"),
            Self::Twice(member) => write!(f, "a body that holds {member:?} twice with different values"),
        }
    }
}

/// What a body said.
#[derive(Default)]
pub struct Members {
    values: BTreeMap<Member, Value>,
    twice: Option<Member>,
}

impl Members {
    /// Reads a body.
    ///
    /// # Errors
    /// See [`Unreadable`].
    pub fn read(body: &[u8]) -> Result<Self, Unreadable> {
        let text = String::from_utf8_lossy(body);
        let text = text.trim_start_matches('\u{feff}').trim();
        let members = match text.as_bytes().first() {
            None => Err(Unreadable::Empty),
            Some(b'<') => read_xml(text),
            Some(b'{') => serde_json::from_str(text).map_err(|_| Unreadable::Malformed),
            Some(_) => Err(serde_json::from_str::<IgnoredAny>(text)
                .map_or(Unreadable::Malformed, |_| Unreadable::NoObject)),
        }?;
        members.twice.map_or(Ok(members), |member| Err(Unreadable::Twice(member)))
    }

    /// A member's value; `null` and the empty string count as absent.
    pub fn value(&self, member: Member) -> Option<&Value> {
        self.values.get(&member).filter(|value| value.as_str() != Some(""))
    }

    /// A member's text, if it is a non-empty string.
    pub fn text(&self, member: Member) -> Option<&str> {
        self.value(member)?.as_str()
    }

    /// Two spellings of one name, or one twice, are fine as long as they agree; `null` is no value.
    fn insert(&mut self, member: Member, value: Value) {
        if value.is_null() {
            return;
        }
        if self.values.get(&member).is_some_and(|known| *known != value) {
            self.twice = Some(member);
        }
        self.values.insert(member, value);
    }
}

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(JsonObject)
    }
}

struct JsonObject;

impl<'de> Visitor<'de> for JsonObject {
    type Value = Members;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
        let mut members = Members::default();
        while let Some(name) = map.next_key::<Cow<'_, str>>()? {
            match Member::named(&name) {
                Some(member) => members.insert(member, map.next_value()?),
                None => _ = map.next_value::<IgnoredAny>()?,
            }
        }
        Ok(members)
    }
}

/// Elements that hold text alone, by their local names, at whatever depth: `<OAuthTokenDTO>` has them below its root,
/// error lists one level further down.
fn read_xml(text: &str) -> Result<Members, Unreadable> {
    let mut reader = Reader::from_str(text);
    let mut members = Members::default();
    let mut open: Vec<Element> = Vec::new();
    let mut roots = 0;
    loop {
        match reader.read_event().map_err(|_| Unreadable::Malformed)? {
            Event::Start(start) => {
                roots += usize::from(open.is_empty());
                let name = start.local_name().as_ref().to_owned();
                if roots == 1 && open.is_empty() && name.eq_ignore_ascii_case("html") {
                    return Err(Unreadable::Html);
                }
                open.push(Element { name, text: String::new() });
            }
            Event::Empty(_) => roots += usize::from(open.is_empty()),
            Event::Text(part) => push(&mut open, &part.xml10_content())?,
            Event::CData(part) => push(&mut open, &part.xml10_content())?,
            Event::GeneralRef(reference) => {
                let character = reference.resolve_char_ref().map_err(|_| Unreadable::Malformed)?;
                let named = character
                    .map(String::from)
                    .or_else(|| resolve_predefined_entity(&reference).map(str::to_owned));
                push(&mut open, &named.ok_or(Unreadable::Malformed)?)?;
            }
            Event::End(_) => close(&mut open, &mut members),
            Event::DocType(kind) if kind.trim_start().to_ascii_lowercase().starts_with("html") => {
                return Err(Unreadable::Html);
            }
            Event::Comment(_) | Event::Decl(_) | Event::PI(_) => {}
            Event::Eof if open.is_empty() && roots == 1 => return Ok(members),
            // Any other document type could define entities.
            Event::DocType(_) | Event::Eof => return Err(Unreadable::Malformed),
        }
    }
}

struct Element {
    name: String,
    text: String,
}

/// Text outside the root is allowed only when blank.
fn push(open: &mut [Element], text: &str) -> Result<(), Unreadable> {
    match open.last_mut() {
        Some(element) => element.text.push_str(text),
        None if text.trim().is_empty() => {}
        None => return Err(Unreadable::Malformed),
    }
    Ok(())
}

fn close(open: &mut Vec<Element>, members: &mut Members) {
    let Some(element) = open.pop() else { return };
    let text = element.text.trim();
    if let (Some(member), false) = (Member::named(&element.name), text.is_empty()) {
        members.insert(member, Value::String(text.to_owned()));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn token(body: &str) -> Result<String, Unreadable> {
        Members::read(body.as_bytes()).map(|m| m.text(Member::AccessToken).unwrap_or("-").to_owned())
    }

    #[test]
    fn json_and_xml_say_the_same() {
        for body in [
            r#"{"access_token":"t"}"#,
            "\u{feff}  {\"accessToken\":\"t\"}\r\n",
            r#"{"access_token":"t","accessToken":"t","access_token":"t"}"#,
            r#"{"x":[[[[1e999]]]],"access_token":"\u0074"}"#,
            "<OAuthTokenDTO><accessToken>t</accessToken></OAuthTokenDTO>",
            "<?xml version=\"1.0\"?>\n<!-- c --><n:OAuthTokenDTO xmlns:n='u'><n:accessToken> &#x74;\n</n:accessToken><e/></n:OAuthTokenDTO>\n",
            "<a><accessToken><![CDATA[t]]></accessToken></a>",
        ] {
            assert_eq!(token(body).as_deref(), Ok("t"), "{body}");
        }
        assert_eq!(token("<a><accessToken>x&amp;y</accessToken></a>").as_deref(), Ok("x&y"));
    }

    #[test]
    fn what_could_mean_two_things_is_unreadable() {
        let malformed = [
            r#"{"access_token":"t""#,
            r#"{"access_token":"t"}{"#,
            r#"{"access_token":"t"} x"#,
            "access_token=t",
            "{]",
            "<a><accessToken>t</accessToken>",
            "<a><accessToken>t</b></a>",
            "<a/><b/>",
            "<a>t</a>x",
            "<",
            "<!DOCTYPE a [<!ENTITY e 't'>]><a><accessToken>&e;</accessToken></a>",
            "<a><accessToken>&e;</accessToken></a>",
            "<a>&#0;</a>",
        ];
        for body in malformed {
            assert_eq!(token(body), Err(Unreadable::Malformed), "{body}");
        }
        assert_eq!(token(" \n"), Err(Unreadable::Empty));
        assert_eq!(token("[1]"), Err(Unreadable::NoObject));
        for body in ["<!doctype html><p>Hi", "<HTML><body>", "<!DOCTYPE HTML PUBLIC \"-//W3C//DTD\">"] {
            assert_eq!(token(body), Err(Unreadable::Html), "{body}");
        }
        for body in [
            r#"{"access_token":"t","access_token":"u"}"#,
            r#"{"access_token":"t","accessToken":"u"}"#,
            "<a><accessToken>t</accessToken><accessToken>u</accessToken></a>",
        ] {
            assert_eq!(token(body), Err(Unreadable::Twice(Member::AccessToken)), "{body}");
        }
    }

    #[test]
    fn deep_nesting_neither_overflows_nor_hides_a_token() {
        let deep = "[".repeat(30_000) + &"]".repeat(30_000);
        assert_eq!(token(&format!("{{\"x\":{deep},\"access_token\":\"t\"}}")).as_deref(), Ok("t"));
        assert_eq!(token(&format!("{{\"access_token\":{deep}}}")), Err(Unreadable::Malformed));
        let deep = "<a>".repeat(9_000) + &"</a>".repeat(9_000);
        assert_eq!(token(&deep).as_deref(), Ok("-"));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            _ = Members::read(&bytes);
            _ = Members::read(&[b"<a>".as_slice(), &bytes].concat());
            _ = Members::read(&[b"{\"error\":".as_slice(), &bytes].concat());
        }
    }
}
