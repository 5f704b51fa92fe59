//! Sealing: XChaCha20-Poly1305 with a random 24-byte nonce. The one rule: what was sealed for one place opens only there;
//! purpose, provider, environment, app, account, key and generation are all part of what is authenticated.

use std::fmt;

use chacha20poly1305::{
    KeyInit, XChaCha20Poly1305, XNonce,
    aead::{Aead, Payload},
};
use zeroize::Zeroizing;

use super::{
    StoreError,
    error::Trouble,
    keyring::{Key, KeyId, Keyring},
};
use crate::names::AccountId;

const NONCE: usize = 24;
const LABEL: &str = "marketgate store seal v1";

/// What a sealed text is for.
#[derive(Clone, Copy, Debug)]
pub(super) enum Purpose {
    Account,
    Mark,
    Consent,
    Pepper,
    Spill,
}

impl Purpose {
    /// As it is authenticated: part of the file format.
    fn word(self) -> &'static str {
        match self {
            Self::Account => "Account",
            Self::Mark => "Mark",
            Self::Consent => "Consent",
            Self::Pepper => "Pepper",
            Self::Spill => "Spill",
        }
    }
}

/// Where a sealed text belongs.
#[derive(Clone, Copy)]
pub(super) struct Binding<'a> {
    purpose: Purpose,
    provider: &'a str,
    environment: &'a str,
    app: &'a str,
    account: &'a str,
    generation: u64,
}

/// A sealed text: nonce, ciphertext and tag.
pub(super) struct Sealed {
    pub(super) key_id: KeyId,
    pub(super) bytes: Vec<u8>,
}

/// Why a sealed text does not open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Broken {
    /// Sealed with a key that is not at hand.
    UnknownKey(String),
    /// Not what was sealed for this place.
    Altered,
}

/// Seals with the active key, opens with any.
#[derive(Debug)]
pub(super) struct Sealer(Keyring);

impl<'a> Binding<'a> {
    /// The content of an account's record.
    pub(super) fn account(
        id: &'a AccountId,
        provider: &'a str,
        environment: &'a str,
        generation: u64,
    ) -> Self {
        let (app, account) = (id.app.as_str(), id.account.as_str());
        Self { purpose: Purpose::Account, provider, environment, app, account, generation }
    }

    /// The generation mark of an account: what it says is the newest, so it cannot be bound to a generation itself.
    pub(super) fn mark(id: &'a AccountId) -> Self {
        Self { app: id.app.as_str(), account: id.account.as_str(), ..Self::single(Purpose::Mark, "") }
    }

    /// A consent, found by the digest of its `state`.
    pub(super) fn consent(digest: &'a str) -> Self {
        Self::single(Purpose::Consent, digest)
    }

    /// The store's pepper.
    pub(super) fn pepper() -> Self {
        Self::single(Purpose::Pepper, "")
    }

    /// One record in the spill file.
    pub(super) fn spill() -> Self {
        Self::single(Purpose::Spill, "")
    }

    fn single(purpose: Purpose, name: &'a str) -> Self {
        Self { purpose, provider: "", environment: "", app: "", account: name, generation: 0 }
    }

    /// Every field with its length before it, so that no two bindings read the same.
    fn encode(&self, key: KeyId) -> Vec<u8> {
        let texts = [LABEL, self.purpose.word(), self.provider, self.environment, self.app, self.account];
        let mut out = Vec::with_capacity(256);
        for field in texts.map(str::as_bytes).into_iter().chain([key.digits()]) {
            out.extend_from_slice(&(field.len() as u64).to_le_bytes());
            out.extend_from_slice(field);
        }
        out.extend_from_slice(&self.generation.to_le_bytes());
        out
    }
}

impl Sealer {
    pub(super) fn new(keyring: Keyring) -> Self {
        Self(keyring)
    }

    /// The key that seals.
    pub(super) fn active(&self) -> KeyId {
        self.0.active.id()
    }

    /// The ids of all keys at hand.
    pub(super) fn key_ids(&self) -> Vec<String> {
        let keys = std::iter::once(&self.0.active).chain(&self.0.old);
        keys.map(|key| key.id().to_string()).collect()
    }

    /// Seals `plain` for one place.
    pub(super) fn seal(&self, binding: Binding<'_>, plain: &[u8]) -> Result<Sealed, StoreError> {
        let mut nonce = [0; NONCE];
        getrandom::fill(&mut nonce).map_err(|_| no_randomness())?;
        let key = &self.0.active;
        let payload = Payload { msg: plain, aad: &binding.encode(key.id()) };
        // It fails only beyond 256 GiB.
        let sealed = cipher(key).encrypt(&XNonce::from(nonce), payload);
        let sealed =
            sealed.map_err(|_| StoreError::new(Trouble::Io, "a record is too large to be sealed"))?;
        Ok(Sealed { key_id: key.id(), bytes: [nonce.as_slice(), &sealed].concat() })
    }

    /// Opens what was sealed for that place.
    pub(super) fn open(
        &self,
        binding: Binding<'_>,
        key_id: &str,
        sealed: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, Broken> {
        let key = self.0.find(key_id).ok_or_else(|| unknown(key_id))?;
        let (nonce, text) = sealed.split_first_chunk::<NONCE>().ok_or(Broken::Altered)?;
        let payload = Payload { msg: text, aad: &binding.encode(key.id()) };
        let plain = cipher(key).decrypt(&XNonce::from(*nonce), payload);
        plain.map(Zeroizing::new).map_err(|_| Broken::Altered)
    }
}

fn cipher(key: &Key) -> XChaCha20Poly1305 {
    XChaCha20Poly1305::new(key.bytes().into())
}

fn no_randomness() -> StoreError {
    StoreError::new(Trouble::Io, "the operating system gave no random bytes")
}

/// Names the key only if it is a key's name: what stands there may be anything.
fn unknown(key_id: &str) -> Broken {
    let is_id = key_id.len() == 16 && key_id.bytes().all(|b| b.is_ascii_hexdigit());
    if is_id { Broken::UnknownKey(key_id.to_owned()) } else { Broken::Altered }
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownKey(id) => {
                write!(
                    f,
                    "it is sealed with key {id}, which is neither [store] key nor among [store] old_keys"
                )
            }
            Self::Altered => f.write_str("it is not what was written there"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn sealer() -> Sealer {
        Sealer::new(Keyring { active: Key::random().unwrap(), old: Vec::new() })
    }

    fn id(text: &str) -> AccountId {
        let (app, account) = text.split_once('@').unwrap();
        AccountId { app: app.parse().unwrap(), account: account.parse().unwrap() }
    }

    #[test]
    fn what_was_sealed_for_one_place_opens_only_there() {
        let (sealer, here) = (sealer(), id("depop@shop"));
        let sealed = sealer.seal(Binding::account(&here, "depop", "production", 3), b"text").unwrap();
        fn open(
            sealer: &Sealer,
            sealed: &Sealed,
            binding: Binding<'_>,
        ) -> Result<Zeroizing<Vec<u8>>, Broken> {
            sealer.open(binding, &sealed.key_id.to_string(), &sealed.bytes)
        }
        assert_eq!(
            *open(&sealer, &sealed, Binding::account(&here, "depop", "production", 3)).unwrap(),
            b"text"
        );
        for (other, provider, environment, generation) in [
            ("depop@shop2", "depop", "production", 3),
            ("depo@pshop", "depop", "production", 3),
            ("depop@shop", "walmart", "production", 3),
            ("depop@shop", "depop", "sandbox", 3),
            ("depop@shop", "depopp", "roduction", 3),
            ("depop@shop", "depop", "production", 2),
        ] {
            let other = id(other);
            let binding = Binding::account(&other, provider, environment, generation);
            let opened = open(&sealer, &sealed, binding);
            assert_eq!(opened.unwrap_err(), Broken::Altered, "{other} {provider} {environment} {generation}");
        }
        assert_eq!(open(&sealer, &sealed, Binding::mark(&here)).unwrap_err(), Broken::Altered);
    }

    #[test]
    fn a_changed_or_cut_text_does_not_open() {
        let sealer = sealer();
        let sealed = sealer.seal(Binding::pepper(), b"text").unwrap();
        let key_id = sealed.key_id.to_string();
        for at in 0..sealed.bytes.len() {
            let mut changed = sealed.bytes.clone();
            changed[at] ^= 1;
            assert_eq!(sealer.open(Binding::pepper(), &key_id, &changed).unwrap_err(), Broken::Altered);
            let cut = &sealed.bytes[..at];
            assert_eq!(sealer.open(Binding::pepper(), &key_id, cut).unwrap_err(), Broken::Altered);
        }
    }

    #[test]
    fn a_key_that_is_not_at_hand_is_named() {
        let sealed = sealer().seal(Binding::pepper(), b"text").unwrap();
        let broken = sealer().open(Binding::pepper(), &sealed.key_id.to_string(), &sealed.bytes).unwrap_err();
        assert!(broken.to_string().contains(&sealed.key_id.to_string()), "{broken}");
        assert!(broken.to_string().contains("old_keys"), "{broken}");
    }

    #[test]
    fn no_nonce_comes_twice_in_a_hundred_thousand() {
        let sealer = sealer();
        let nonce = |_| sealer.seal(Binding::pepper(), b"").unwrap().bytes[..NONCE].to_vec();
        assert_eq!((0..100_000).map(nonce).collect::<HashSet<_>>().len(), 100_000);
    }
}
