//! An error found in a body. The rule: it takes an `error` member, or an error code where no token is, to call a body an
//! error; and its words are the server's, so they are cleaned before anybody sees them.

use serde_json::Value;

use super::members::{Member, Members};

/// What an error body says, in any of the forms seen: RFC 6749 §5.2, a list of objects, an object, XML.
pub struct Fault {
    /// The error code, standard or not.
    pub code: Option<String>,
    /// What the server says about it: uncleaned.
    pub description: Option<String>,
}

impl Fault {
    /// None when there is no sign of an error.
    pub fn of(members: &Members) -> Option<Self> {
        let error = members.value(Member::Error).filter(|value| !is_nothing(value));
        let first = error.map(|error| error.get(0).unwrap_or(error));
        let inner = |names: &[&str]| names.iter().find_map(|name| first?.get(name)?.as_str());
        let code = first.and_then(Value::as_str).or_else(|| inner(&["code", "error", "type"]));
        let xml_code = || members.text(Member::Code).filter(|_| members.value(Member::AccessToken).is_none());
        let code = code.or_else(xml_code);
        if error.is_none() && code.is_none() {
            return None;
        }
        let description = members
            .text(Member::ErrorDescription)
            .or_else(|| inner(&["description", "message", "info"]))
            .or_else(|| members.text(Member::Message));
        Some(Self { code: code.map(str::to_owned), description: description.map(str::to_owned) })
    }

    /// Code and description in one line: uncleaned.
    pub fn words(&self) -> String {
        let words = [self.code.as_deref(), self.description.as_deref()];
        words.into_iter().flatten().collect::<Vec<_>>().join(": ")
    }
}

/// Some servers put an empty `error` beside their tokens.
fn is_nothing(value: &Value) -> bool {
    match value {
        Value::Bool(error) => !error,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::Array(list) => list.is_empty(),
        Value::Object(object) => object.is_empty(),
        Value::Null | Value::String(_) => false,
    }
}
