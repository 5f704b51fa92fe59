//! Proof keys (RFC 7636). The one rule: only S256 proves anything; `plain` and malformed values are refused as early as
//! they are seen.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};

/// 43 to 128 unreserved characters (§4.1).
fn is_verifier(text: &str) -> bool {
    (43..=128).contains(&text.len()) && text.bytes().all(is_unreserved)
}

fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~".contains(&byte)
}

/// What S256 makes of 32 bytes: 43 characters of base64url without padding (§4.2).
pub(in crate::sim) fn is_challenge(text: &str) -> bool {
    URL_SAFE_NO_PAD.decode(text).is_ok_and(|bytes| bytes.len() == 32)
}

/// Whether the verifier is well-formed and the challenge was made of it (§4.6).
pub(super) fn proves(verifier: &str, challenge: &str) -> bool {
    is_verifier(verifier) && URL_SAFE_NO_PAD.encode(Sha256::digest(verifier.as_bytes())) == challenge
}

#[cfg(test)]
mod tests {
    use super::{is_challenge, proves};

    // RFC 7636 Appendix B.
    const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
    const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";

    #[test]
    fn the_example_of_the_standard_proves_its_challenge_and_its_neighbours_do_not() {
        assert!(is_challenge(CHALLENGE) && proves(VERIFIER, CHALLENGE));
        for near in [&VERIFIER[1..], &VERIFIER.to_lowercase(), &VERIFIER.replace('_', "+"), CHALLENGE, ""] {
            assert!(!proves(near, CHALLENGE), "{near}");
        }
        assert!(!proves(CHALLENGE, CHALLENGE), "plain");
    }

    #[test]
    fn a_challenge_of_another_length_or_alphabet_is_none() {
        for wrong in ["", &CHALLENGE[1..], &format!("{CHALLENGE}="), &CHALLENGE.replace('-', "+")] {
            assert!(!is_challenge(wrong), "{wrong}");
        }
    }
}
