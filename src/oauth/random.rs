//! Values that nobody can guess. The one rule: 256 bits from the operating system, never fewer and never used twice.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use zeroize::Zeroizing;

/// As much chance as a verifier, a state or a nonce is made of.
pub type Bits = Zeroizing<[u8; 32]>;

/// Draws anew.
///
/// # Errors
/// When the operating system has no randomness to give.
pub fn draw() -> Result<Bits, getrandom::Error> {
    let mut bits = Zeroizing::new([0; 32]);
    getrandom::fill(bits.as_mut())?;
    Ok(bits)
}

/// The bits as 43 characters of base64url (RFC 4648 §5), which no URL needs to encode.
pub fn text(bits: &Bits) -> Zeroizing<String> {
    Zeroizing::new(URL_SAFE_NO_PAD.encode(bits.as_ref()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_draws_differ_and_are_43_characters_long() {
        let (one, two) = (text(&draw().unwrap()), text(&draw().unwrap()));
        assert_ne!(one, two);
        assert_eq!((one.len(), two.len()), (43, 43));
        assert_eq!(*text(&Zeroizing::new([0xff; 32])), format!("{}8", "_".repeat(42)));
    }
}
