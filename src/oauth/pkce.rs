//! Proof Key for Code Exchange (RFC 7636). The one rule: a verifier belongs to one consent, and only its S256 challenge is
//! ever in a URL.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};

use super::random::{self, Bits};
use crate::secret::{Secret, sha256};

/// The value of `code_challenge_method`; `plain` would show the verifier to whoever sees the URL.
pub const METHOD: &str = "S256";

/// A `code_verifier` (§4.1): 43 characters.
#[derive(Debug, Clone)]
pub struct Verifier(Secret);

impl Verifier {
    /// Draws one.
    ///
    /// # Errors
    /// When the operating system has no randomness to give.
    pub fn draw() -> Result<Self, getrandom::Error> {
        Ok(Self::of(&random::draw()?))
    }

    /// The one made of these bits.
    pub fn of(bits: &Bits) -> Self {
        Self(Secret::new(random::text(bits).as_str()))
    }

    /// The `code_challenge` (§4.2).
    pub fn challenge(&self) -> String {
        URL_SAFE_NO_PAD.encode(sha256(self.0.expose()))
    }

    /// What the token call shows, and what is kept until then.
    pub fn secret(&self) -> &Secret {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use zeroize::Zeroizing;

    use super::*;

    #[test]
    fn the_challenge_is_that_of_rfc_7636_appendix_b() {
        let verifier = Verifier::of(&Zeroizing::new([
            116, 24, 223, 180, 151, 153, 224, 37, 79, 250, 96, 125, 216, 173, 187, 186, 22, 212, 37, 77, 105,
            214, 191, 240, 91, 88, 5, 88, 83, 132, 141, 121,
        ]));
        assert_eq!(verifier.secret().expose(), "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk");
        assert_eq!(verifier.challenge(), "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM");
    }

    #[test]
    fn ten_thousand_verifiers_are_well_formed_and_never_the_same() {
        let legal = |c: char| c.is_ascii_alphanumeric() || "-._~".contains(c);
        let mut seen = HashSet::new();
        for _ in 0..10_000 {
            let verifier = Verifier::draw().unwrap();
            let text = verifier.secret().expose();
            assert!((43..=128).contains(&text.len()) && text.chars().all(legal), "{}", text.len());
            assert!(seen.insert(text.to_owned()));
        }
    }

    #[test]
    fn a_verifier_does_not_print_itself() {
        let verifier = Verifier::draw().unwrap();
        assert!(!format!("{verifier:?}").contains(verifier.secret().expose()));
    }
}
