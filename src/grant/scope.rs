//! Whether a token was granted with less than was asked for. The one rule: a server that says nothing granted everything
//! (RFC 6749 §5.1).

use std::collections::BTreeSet;

use crate::provider::Profile;

/// The granted scope, where something is missing in it that the app asks for.
pub fn narrower_scope(profile: &Profile, granted: Option<&str>) -> Option<String> {
    let consent = profile.authorization.as_ref().and_then(|authorization| authorization.scope.as_deref());
    let asked = consent.or_else(|| profile.token_endpoint.as_ref()?.scope.as_deref())?;
    narrower(asked, granted?)
}

fn narrower(asked: &str, granted: &str) -> Option<String> {
    let missing = !words(asked).is_subset(&words(granted));
    missing.then(|| granted.to_owned())
}

/// Some servers join scopes with commas.
fn words(scope: &str) -> BTreeSet<&str> {
    scope.split([' ', ',', '+']).filter(|word| !word.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scope_is_narrower_if_something_asked_for_is_missing() {
        assert_eq!(narrower("read write", "read"), Some("read".to_owned()));
        assert_eq!(narrower("read,write", "write read extra"), None);
        assert_eq!(narrower("read", ""), Some(String::new()));
    }
}
