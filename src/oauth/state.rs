//! The `state` of a consent (RFC 6749 §10.12). The one rule: whoever brings one back was sent by us, since nobody can guess
//! it; and it is compared without telling by the clock how much of it was right.

use zeroize::Zeroizing;

use super::random::{self, Bits};
use crate::secret::{Secret, sha256};

/// How ours begin, so that an integrator whose redirect address serves other consents too can tell which are Marketgate's.
pub const PREFIX: &str = "mg_";

/// Characters after the prefix: 256 bits as base64url.
const LENGTH: usize = 43;

/// Draws one.
///
/// # Errors
/// When the operating system has no randomness to give.
pub fn draw() -> Result<Secret, getrandom::Error> {
    Ok(of(&random::draw()?))
}

/// The one made of these bits.
pub fn of(bits: &Bits) -> Secret {
    Secret::new(format!("{PREFIX}{}", *random::text(bits)))
}

/// The nonce of the consent with this `state` (OpenID Connect Core §3.1.2.1): nobody can guess it who cannot guess the state,
/// and it need not be kept beside it.
pub fn nonce(state: &Secret) -> Secret {
    let bits = Zeroizing::new(sha256(&format!("nonce of {}", state.expose())));
    Secret::new(random::text(&bits).as_str())
}

/// Whether a text has the form of ours: what has not need not be looked for.
pub fn is_ours(text: &str) -> bool {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    text.strip_prefix(PREFIX).is_some_and(|rest| rest.len() == LENGTH && rest.bytes().all(legal))
}

/// Whether two are the same, compared by their digests: how long that takes says nothing about either.
pub fn same(one: &Secret, other: &Secret) -> bool {
    sha256(one.expose()) == sha256(other.expose())
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn ten_thousand_states_are_ours_and_never_the_same() {
        let mut seen = HashSet::new();
        for _ in 0..10_000 {
            let state = draw().unwrap();
            assert!(is_ours(state.expose()) && state.expose().len() == 46);
            assert!(seen.insert(state.expose().to_owned()));
        }
    }

    #[test]
    fn a_nonce_is_its_states_and_tells_nothing_of_it() {
        let (one, two) = (draw().unwrap(), draw().unwrap());
        assert_eq!(nonce(&one).expose(), nonce(&one).expose());
        assert_ne!(nonce(&one).expose(), nonce(&two).expose());
        assert_eq!(nonce(&one).expose().len(), 43);
        assert!(!nonce(&one).expose().contains(&one.expose()[PREFIX.len()..]));
    }

    #[test]
    fn other_peoples_states_are_told_apart() {
        let ours = draw().unwrap();
        let text = ours.expose();
        for other in ["", "mg_", &text[1..], &text[..45], &format!("{text}x"), &text.replace("mg_", "MG_")] {
            assert!(!is_ours(other), "{}", other.len());
        }
        assert!(!is_ours(&format!("mg_{}", " ".repeat(43))));
        assert!(same(&ours, &ours.clone()) && !same(&ours, &draw().unwrap()));
    }
}
