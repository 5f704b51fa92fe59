//! `application/x-www-form-urlencoded` as a strict server reads it (RFC 6749 §3.2: no parameter twice), and the
//! decoding of single path segments and query parameters.

use percent_encoding::percent_decode_str;

/// The parameters of a form, in the order they came.
pub(super) struct Form(Vec<(String, String)>);

impl Form {
    /// Says what is wrong with the form, in words for whoever sent it.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, String> {
        let text = std::str::from_utf8(bytes).map_err(|_| "the form is not ASCII".to_owned())?;
        if let Some(odd) = text.bytes().find(|byte| !(0x21..0x7f).contains(byte)) {
            return Err(format!("the form holds the byte 0x{odd:02x}, which must be percent-encoded"));
        }
        let mut pairs: Vec<(String, String)> = Vec::new();
        for pair in text.split('&').filter(|_| !text.is_empty()) {
            let (name, value) = parse_pair(pair)?;
            if pairs.iter().any(|(known, _)| *known == name) {
                return Err(format!("duplicated parameter: {name}"));
            }
            pairs.push((name, value));
        }
        Ok(Self(pairs))
    }

    /// The value of a parameter that is there and not empty (RFC 6749 §3.2: empty means absent).
    pub(super) fn value(&self, name: &str) -> Option<&str> {
        let found = self.0.iter().find(|(known, _)| known == name)?;
        Some(found.1.as_str()).filter(|value| !value.is_empty())
    }

    /// The form again, with the values of secrets replaced by `***`.
    pub(super) fn masked(&self) -> String {
        let shown = |(name, value): &(String, String)| match name.as_str() {
            "client_secret" | "refresh_token" | "code" | "code_verifier" | "password"
            | "client_assertion" | "token" => format!("{name}=***"),
            _ => format!("{name}={value}"),
        };
        self.0.iter().map(shown).collect::<Vec<_>>().join("&")
    }
}

fn parse_pair(pair: &str) -> Result<(String, String), String> {
    let (name, value) = pair.split_once('=').ok_or_else(|| format!("the parameter {pair:?} has no '='"))?;
    if name.is_empty() {
        return Err("a parameter has no name".to_owned());
    }
    let decoded =
        |text| decode_form(text).ok_or_else(|| format!("the parameter {name:?} is badly percent-encoded"));
    Ok((decoded(name)?, decoded(value)?))
}

/// `+` is a space, `%XX` a byte; nothing else is repaired.
pub(super) fn decode_form(text: &str) -> Option<String> {
    decode(&text.replace('+', " "))
}

/// `%XX` is a byte, `+` stays a plus: how a path segment is read.
pub(super) fn decode(text: &str) -> Option<String> {
    let well_formed = |part: &str| part.len() >= 2 && part.as_bytes()[..2].iter().all(u8::is_ascii_hexdigit);
    if !text.split('%').skip(1).all(well_formed) {
        return None;
    }
    percent_decode_str(text).decode_utf8().ok().map(std::borrow::Cow::into_owned)
}

/// The first parameter of that name in a raw query.
pub(super) fn query_value(query: &str, name: &str) -> Option<String> {
    let pairs = query.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    let (_, value) = pairs.into_iter().find(|(known, _)| decode_form(known).as_deref() == Some(name))?;
    decode_form(value)
}

#[cfg(test)]
mod tests {
    use super::{Form, decode, query_value};

    #[test]
    fn a_form_that_says_something_twice_or_badly_is_refused() {
        assert!(Form::parse(b"a=1&b=2").is_ok());
        assert!(Form::parse(b"").is_ok());
        for bad in [&b"a=1&a=2"[..], b"a", b"a=%4", b"a=%zz", b"=1", b"a=1&&b=2", b"a=b c", b"a=%ff"] {
            assert!(Form::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn secrets_of_a_form_are_masked() {
        let form = Form::parse(b"grant_type=refresh_token&refresh_token=abc&client_secret=d%26e").unwrap();
        assert_eq!(form.masked(), "grant_type=refresh_token&refresh_token=***&client_secret=***");
        assert_eq!(form.value("client_secret"), Some("d&e"));
    }

    #[test]
    fn a_plus_is_a_space_in_a_query_and_a_plus_in_a_path() {
        assert_eq!(query_value("x=1&q=a+b%2B", "q").as_deref(), Some("a b+"));
        assert_eq!(decode("a+b%2F").as_deref(), Some("a+b/"));
    }
}
