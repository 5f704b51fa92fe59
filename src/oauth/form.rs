//! `application/x-www-form-urlencoded` as RFC 6749 appendix B uses it. The rule: every byte outside the unreserved set is
//! encoded, so that no value can become a second parameter.

use std::borrow::Cow;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// What stands as it is: letters, digits and `- . _ ~ *`.
///
/// HTML's own encoder writes `~` as `%7E`; decoders read both, and servers that forget to decode HTTP Basic credentials
/// only read the plain one.
const ENCODED: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'*').remove(b' ');

/// One name or value, encoded.
pub fn encode(text: &str) -> String {
    let encoded: Cow<'_, str> = utf8_percent_encode(text, ENCODED).into();
    encoded.replace(' ', "+")
}

/// A whole form: names and values in their order.
pub fn encode_pairs<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> String {
    let pairs = pairs.into_iter().map(|(name, value)| format!("{}={}", encode(name), encode(value)));
    pairs.collect::<Vec<_>>().join("&")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_not_unreserved_is_encoded() {
        // The example of RFC 6749 appendix B: space, %, &, +, £ and €.
        assert_eq!(encode(" %&+£€"), "+%25%26%2B%C2%A3%E2%82%AC");
        assert_eq!(encode("aZ09-._~*"), "aZ09-._~*");
        assert_eq!(encode_pairs([("a b", "1&c=2"), ("d", "")]), "a+b=1%26c%3D2&d=");
    }

    proptest! {
        #[test]
        fn a_form_decodes_to_what_was_put_in(pairs in prop::collection::vec((".*", ".*"), 0..5)) {
            let form = encode_pairs(pairs.iter().map(|(n, v)| (n.as_str(), v.as_str())));
            let back: Vec<(String, String)> =
                url::form_urlencoded::parse(form.as_bytes()).into_owned().collect();
            let not_empty = pairs.into_iter().collect::<Vec<_>>();
            prop_assert_eq!(back, not_empty);
        }
    }
}
