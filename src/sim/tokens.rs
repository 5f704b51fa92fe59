//! Access tokens: issued, looked up, ended. The one rule: a token is good for the marketplace and the account it was
//! issued for, until its lifetime is over or somebody ends it, and for nothing else.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use super::hash::hex;
use super::lock::locked;
use super::marketplace::Marketplace;

/// Tokens that ended this long ago are forgotten, milliseconds.
const REMEMBERED_AFTER_END: u64 = 3_600_000;

/// Every token of every marketplace.
pub(super) struct Tokens {
    issued: Mutex<HashMap<String, Token>>,
    serial: AtomicU64,
    /// Not from the seed: two simulators of one seed must not honour each other's tokens.
    secret: [u8; 16],
}

/// What is known about one token.
#[derive(Clone)]
pub(super) struct Token {
    pub(super) marketplace: Marketplace,
    pub(super) account: Arc<str>,
    pub(super) issued_at: u64,
    pub(super) expires_at: u64,
    pub(super) revoked: bool,
}

/// Why a token opens nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dead {
    Unknown,
    Expired,
    Revoked,
}

impl Tokens {
    pub(super) fn new() -> Self {
        Self { issued: Mutex::default(), serial: AtomicU64::new(0), secret: rand::random() }
    }

    /// A new token, good for `lifetime` seconds from `now` (milliseconds).
    pub(super) fn issue(&self, marketplace: Marketplace, account: &str, lifetime: u64, now: u64) -> String {
        let serial = self.serial.fetch_add(1, Ordering::Relaxed);
        let text = self.spell(marketplace, serial);
        let mut issued = locked(&self.issued);
        if serial % 1024 == 1023 {
            issued.retain(|_, token| token.expires_at.saturating_add(REMEMBERED_AFTER_END) > now);
        }
        let expires_at = now.saturating_add(lifetime.saturating_mul(1000));
        let account = Arc::from(account);
        issued
            .insert(text.clone(), Token { marketplace, account, issued_at: now, expires_at, revoked: false });
        text
    }

    /// The token, if it is good here and now.
    pub(super) fn look_up(&self, marketplace: Marketplace, text: &str, now: u64) -> Result<Token, Dead> {
        let token = self.remembered(marketplace, text).ok_or(Dead::Unknown)?;
        match token {
            Token { revoked: true, .. } => Err(Dead::Revoked),
            Token { expires_at, .. } if expires_at <= now => Err(Dead::Expired),
            token => Ok(token),
        }
    }

    /// The token, good or not.
    pub(super) fn remembered(&self, marketplace: Marketplace, text: &str) -> Option<Token> {
        locked(&self.issued).get(text).filter(|token| token.marketplace == marketplace).cloned()
    }

    pub(super) fn revoke(&self, text: &str) {
        if let Some(token) = locked(&self.issued).get_mut(text) {
            token.revoked = true;
        }
    }

    /// Ends every live token of an account and says how many those were.
    pub(super) fn revoke_account(&self, marketplace: Marketplace, account: &str, now: u64) -> usize {
        let mut issued = locked(&self.issued);
        let live = issued.values_mut().filter(|token| {
            token.marketplace == marketplace
                && &*token.account == account
                && !token.revoked
                && token.expires_at > now
        });
        live.map(|token| token.revoked = true).count()
    }

    pub(super) fn forget(&self) {
        locked(&self.issued).clear();
    }

    /// Tokens look as the vendor's do: long ones are long, so that buffers and limits are tried in earnest.
    fn spell(&self, marketplace: Marketplace, serial: u64) -> String {
        match marketplace {
            Marketplace::WalmartSellers | Marketplace::WalmartSuppliers => self.jwe(serial),
            Marketplace::WalmartGolocal | Marketplace::Wallapop => self.jwt(serial),
            Marketplace::Depop => format!("pat_{}", hex(&self.noise(serial, 20))),
            Marketplace::Generic | Marketplace::Nowhere => {
                format!("gat_{}", URL_SAFE_NO_PAD.encode(self.noise(serial, 32)))
            }
        }
    }

    fn jwe(&self, serial: u64) -> String {
        let header = br#"{"kid":"simulated","enc":"A256GCM","alg":"dir"}"#;
        let noise = self.noise(serial, 640);
        let (iv, rest) = noise.split_at(12);
        let (tag, text) = rest.split_at(16);
        let [header, iv, text, tag] = [&header[..], iv, text, tag].map(|part| URL_SAFE_NO_PAD.encode(part));
        format!("{header}..{iv}.{text}.{tag}")
    }

    fn jwt(&self, serial: u64) -> String {
        let header = br#"{"alg":"RS256","typ":"JWT","kid":"simulated"}"#;
        let claims = format!(r#"{{"jti":"{}","typ":"Bearer"}}"#, hex(&self.noise(serial, 16)));
        let signature = self.noise(serial.wrapping_add(1 << 63), 256);
        let [header, claims, signature] =
            [&header[..], claims.as_bytes(), &signature].map(|part| URL_SAFE_NO_PAD.encode(part));
        format!("{header}.{claims}.{signature}")
    }

    fn noise(&self, serial: u64, length: usize) -> Vec<u8> {
        let block = |index: u64| {
            let digest = Sha256::new().chain_update(self.secret).chain_update(serial.to_be_bytes());
            digest.chain_update(index.to_be_bytes()).finalize()
        };
        let mut noise: Vec<u8> =
            (0..length.div_ceil(32) as u64).flat_map(|index| block(index).to_vec()).collect();
        noise.truncate(length);
        noise
    }
}

#[cfg(test)]
mod tests {
    use super::{Dead, Tokens};
    use crate::sim::marketplace::Marketplace::{Depop, Wallapop, WalmartSellers};

    #[test]
    fn a_token_is_good_for_one_marketplace_until_its_last_millisecond() {
        let tokens = Tokens::new();
        let text = tokens.issue(Wallapop, "shop", 300, 1000);
        assert_eq!(&*tokens.look_up(Wallapop, &text, 300_999).unwrap().account, "shop");
        assert_eq!(tokens.look_up(Wallapop, &text, 301_000).err(), Some(Dead::Expired));
        assert_eq!(tokens.look_up(Depop, &text, 1000).err(), Some(Dead::Unknown));
    }

    #[test]
    fn ending_an_account_ends_its_tokens_and_no_others() {
        let tokens = Tokens::new();
        let [one, two, other] = ["a", "a", "b"].map(|account| tokens.issue(WalmartSellers, account, 900, 0));
        assert_eq!(tokens.revoke_account(WalmartSellers, "a", 1), 2);
        assert_eq!(tokens.revoke_account(WalmartSellers, "a", 1), 0);
        for dead in [&one, &two] {
            assert_eq!(tokens.look_up(WalmartSellers, dead, 1).err(), Some(Dead::Revoked));
        }
        assert!(tokens.look_up(WalmartSellers, &other, 1).is_ok());
    }
}
