//! The keys that seal the store. The one rule: a key cannot print itself; what names it is its id.

use std::fmt;

use base64::{Engine, engine::general_purpose::STANDARD};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

const ID_LABEL: &[u8] = b"marketgate store key id v1\0";

/// 32 bytes that seal. Wiped from memory when dropped.
#[derive(Clone)]
pub struct Key {
    bytes: Zeroizing<[u8; 32]>,
    id: KeyId,
}

/// Names a key without giving anything of it away: the first 8 bytes of a labelled SHA-256, in hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct KeyId([u8; 16]);

/// The key that seals, and those that still open.
#[derive(Clone, Debug)]
pub struct Keyring {
    /// Seals and opens.
    pub active: Key,
    /// Only open: what they sealed is sealed anew by a rekey.
    pub old: Vec<Key>,
}

/// Why a text is no key. Holds nothing of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// It is no base64, or of another length.
    #[error("a key must be 32 bytes in base64: `head -c32 /dev/urandom | base64` makes one")]
    Malformed,
    /// The operating system gave no random bytes to make one of.
    #[error("the operating system gave no random bytes")]
    NoRandomness,
}

impl Key {
    /// Reads a key from base64 (standard alphabet); white space around it, such as a line break, is no part of it.
    ///
    /// # Errors
    /// When it is anything else than 32 bytes.
    pub fn parse(text: &str) -> Result<Self, KeyError> {
        let decoded = STANDARD.decode(text.trim_ascii()).map(Zeroizing::new);
        let bytes = <[u8; 32]>::try_from(decoded.map_err(|_| KeyError::Malformed)?.as_slice());
        Ok(Self::of(Zeroizing::new(bytes.map_err(|_| KeyError::Malformed)?)))
    }

    /// A new key.
    ///
    /// # Errors
    /// When the operating system gives no random bytes.
    pub fn random() -> Result<Self, KeyError> {
        let mut bytes = Zeroizing::new([0; 32]);
        getrandom::fill(bytes.as_mut_slice()).map_err(|_| KeyError::NoRandomness)?;
        Ok(Self::of(bytes))
    }

    fn of(bytes: Zeroizing<[u8; 32]>) -> Self {
        let digest: [u8; 32] = Sha256::new().chain_update(ID_LABEL).chain_update(*bytes).finalize().into();
        Self { bytes, id: KeyId::of(&digest) }
    }

    /// What names it.
    pub fn id(&self) -> KeyId {
        self.id
    }

    pub(super) fn bytes(&self) -> &[u8; 32] {
        &self.bytes
    }

    /// The key as a key file holds it, with a line break.
    pub(super) fn to_text(&self) -> Zeroizing<String> {
        // Room for all of it from the start, so that no copy stays behind in memory.
        let mut text = Zeroizing::new(String::with_capacity(64));
        STANDARD.encode_string(*self.bytes, &mut text);
        text.push('\n');
        text
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({})", self.id)
    }
}

impl KeyId {
    fn of(digest: &[u8; 32]) -> Self {
        let digit = |at: usize| digest[at / 2] >> (4 * (1 - at % 2)) & 0xf;
        Self(std::array::from_fn(|at| b"0123456789abcdef"[usize::from(digit(at))]))
    }

    pub(super) fn digits(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|digit| write!(f, "{}", char::from(*digit)))
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Keyring {
    /// The key of that id, as text.
    pub(super) fn find(&self, id: &str) -> Option<&Key> {
        std::iter::once(&self.active).chain(&self.old).find(|key| key.id.digits() == id.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_32_bytes_in_base64_and_a_line_break_does_not_matter() {
        let text = Key::random().unwrap().to_text();
        let key = Key::parse(&text).unwrap();
        assert_eq!(key.to_text(), text);
        assert_eq!(Key::parse(text.trim()).unwrap().id(), key.id());
        for bad in
            ["", "\n", "c2hvcnQ=", &"A".repeat(44), &format!("{}{}", text.trim(), text.trim()), "not base64"]
        {
            assert_eq!(Key::parse(bad).unwrap_err(), KeyError::Malformed, "{bad:?}");
        }
    }

    #[test]
    fn a_key_prints_only_its_id() {
        let key = Key::parse(&STANDARD.encode([7; 32])).unwrap();
        assert_eq!(format!("{key:?}"), format!("Key({})", key.id()));
        assert_eq!(key.id().to_string().len(), 16);
        assert!(key.id().to_string().bytes().all(|digit| digit.is_ascii_hexdigit()));
        assert_ne!(key.id().to_string(), "0707070707070707");
    }

    #[test]
    fn a_keyring_finds_old_keys_too() {
        let [active, old, other] = std::array::from_fn(|_| Key::random().unwrap());
        let ring = Keyring { active: active.clone(), old: vec![old.clone()] };
        assert_eq!(ring.find(&old.id().to_string()).unwrap().id(), old.id());
        assert_eq!(ring.find(&active.id().to_string()).unwrap().id(), active.id());
        assert!(ring.find(&other.id().to_string()).is_none());
    }
}
