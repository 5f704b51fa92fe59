//! Registered API clients. The one rule: every well-formed client id is registered, and its secret is the id followed
//! by `-secret`, so that thousands of sellers need no set-up.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::arrival::Arrival;
use super::form::Form;

/// Client id and secret as they were presented.
pub(super) struct Presented {
    pub(super) id: String,
    secret: String,
}

impl Presented {
    pub(super) fn is_genuine(&self) -> bool {
        is_client_id(&self.id) && self.secret.strip_prefix(self.id.as_str()) == Some("-secret")
    }
}

/// 1 to 128 letters, digits, dots, underscores and hyphens.
pub(super) fn is_client_id(id: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    (1..=128).contains(&id.len()) && id.bytes().all(allowed)
}

/// Credentials of the `Authorization: Basic` header (RFC 7617), if it is one.
pub(super) fn of_basic(value: &str) -> Option<Presented> {
    let decoded = STANDARD.decode(value.strip_prefix("Basic ")?).ok()?;
    let text = String::from_utf8(decoded).ok()?;
    let (id, secret) = text.split_once(':')?;
    Some(Presented { id: id.to_owned(), secret: secret.to_owned() })
}

/// Credentials of the form (RFC 6749 §2.3.1), if both are there.
pub(super) fn of_form(form: &Form) -> Option<Presented> {
    let (id, secret) = (form.value("client_id")?, form.value("client_secret")?);
    Some(Presented { id: id.to_owned(), secret: secret.to_owned() })
}

/// Whether the form carries client authentication of any kind.
pub(super) fn authenticates(form: &Form) -> bool {
    ["client_secret", "client_assertion"].iter().any(|name| form.value(name).is_some())
}

/// Who a token call says it is, however it says so and whether or not that is true.
pub(super) fn claimed(arrival: &Arrival) -> Option<String> {
    let basic = arrival.header("authorization").and_then(of_basic).map(|presented| presented.id);
    basic.or_else(|| Some(Form::parse(&arrival.body.bytes).ok()?.value("client_id")?.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::{Form, of_basic, of_form};

    #[test]
    fn a_client_is_genuine_when_its_secret_is_its_own() {
        let genuine = |form: &str| of_form(&Form::parse(form.as_bytes()).unwrap()).unwrap().is_genuine();
        assert!(genuine("client_id=shop.1_a-b&client_secret=shop.1_a-b-secret"));
        assert!(!genuine("client_id=shop&client_secret=shop2-secret"));
        assert!(!genuine("client_id=a%20b&client_secret=a%20b-secret"));
    }

    #[test]
    fn basic_credentials_are_read_strictly() {
        assert!(of_basic("Basic c2hvcDpzaG9wLXNlY3JldA==").unwrap().is_genuine());
        for wrong in [
            "basic c2hvcDpzaG9wLXNlY3JldA==",
            "Basic  c2hvcA==",
            "Basic c2hvcDpzaG9wLXNlY3JldA",
            "Basic c2hvcA==",
        ] {
            assert!(of_basic(wrong).is_none(), "{wrong}");
        }
    }
}
