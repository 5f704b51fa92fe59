//! Access tokens: issued, looked up, ended. The one rule: a token is good for the marketplace and the account it was
//! issued for, until its lifetime is over or somebody ends it, and for nothing else.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use super::clock::Moment;
use super::lock::locked;
use super::marketplace::Marketplace;
use super::spelling::{self, Claims};

/// Tokens that ended this long ago are forgotten, milliseconds.
const REMEMBERED_AFTER_END: u64 = 3_600_000;

/// Every token of every marketplace.
pub(super) struct Tokens {
    issued: Mutex<HashMap<String, Token>>,
    serial: AtomicU64,
}

/// The grant that a token came from: all its tokens end with it.
pub(super) struct Bond {
    /// The family's number.
    pub(super) family: u64,
    broken: AtomicBool,
}

impl Bond {
    pub(super) fn of(family: u64) -> Arc<Self> {
        Arc::new(Self { family, broken: AtomicBool::new(false) })
    }

    pub(super) fn break_up(&self) {
        self.broken.store(true, Ordering::Relaxed);
    }
}

/// Whom a token speaks for, and to whom it was given.
pub(super) struct Holder<'a> {
    pub(super) account: &'a str,
    pub(super) client: &'a str,
    pub(super) scope: &'a str,
    pub(super) bond: Option<&'a Arc<Bond>>,
}

impl<'a> Holder<'a> {
    /// A client with tokens of its own account.
    pub(super) fn itself(account: &'a str) -> Self {
        Self { account, client: account, scope: "", bond: None }
    }
}

/// What is known about one token.
#[derive(Clone)]
pub(super) struct Token {
    pub(super) marketplace: Marketplace,
    pub(super) account: Arc<str>,
    pub(super) client: Arc<str>,
    pub(super) scope: Arc<str>,
    bond: Option<Arc<Bond>>,
    pub(super) issued_at: u64,
    pub(super) expires_at: u64,
    revoked: bool,
}

impl Token {
    fn is_ended(&self) -> bool {
        self.revoked || self.bond.as_ref().is_some_and(|bond| bond.broken.load(Ordering::Relaxed))
    }
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
        Self { issued: Mutex::default(), serial: AtomicU64::new(0) }
    }

    /// A new token, good for `lifetime` seconds from `moment`.
    pub(super) fn issue(
        &self,
        marketplace: Marketplace,
        holder: &Holder<'_>,
        lifetime: u64,
        moment: Moment,
    ) -> String {
        let Holder { account, client, scope, bond } = *holder;
        let issued_at = moment.epoch / 1000;
        let expires_at = issued_at.saturating_add(lifetime);
        let text =
            spelling::access_token(marketplace, &Claims { account, client, scope, issued_at, expires_at });
        let token = Token {
            marketplace,
            account: Arc::from(account),
            client: Arc::from(client),
            scope: Arc::from(scope),
            bond: bond.cloned(),
            issued_at: moment.now,
            expires_at: moment.now.saturating_add(lifetime.saturating_mul(1000)),
            revoked: false,
        };
        self.keep(text.clone(), token);
        text
    }

    fn keep(&self, text: String, token: Token) {
        let (serial, now) = (self.serial.fetch_add(1, Ordering::Relaxed), token.issued_at);
        let mut issued = locked(&self.issued);
        if serial % 1024 == 1023 {
            issued.retain(|_, token| token.expires_at.saturating_add(REMEMBERED_AFTER_END) > now);
        }
        issued.insert(text, token);
    }

    /// The token, if it is good here and now.
    pub(super) fn look_up(&self, marketplace: Marketplace, text: &str, now: u64) -> Result<Token, Dead> {
        let token = self.remembered(marketplace, text).ok_or(Dead::Unknown)?;
        match token {
            token if token.is_ended() => Err(Dead::Revoked),
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
                && !token.is_ended()
                && token.expires_at > now
        });
        live.map(|token| token.revoked = true).count()
    }

    pub(super) fn forget(&self) {
        locked(&self.issued).clear();
    }
}

#[cfg(test)]
mod tests {
    use super::{Bond, Dead, Holder, Tokens};
    use crate::sim::clock::Moment;
    use crate::sim::marketplace::Marketplace::{Depop, Wallapop, WalmartSellers};

    const START: Moment = Moment { now: 0, epoch: 1_800_000_000_000 };

    #[test]
    fn a_token_is_good_for_one_marketplace_until_its_last_millisecond() {
        let tokens = Tokens::new();
        let text = tokens.issue(Wallapop, &Holder::itself("shop"), 300, Moment { now: 1000, ..START });
        assert_eq!(&*tokens.look_up(Wallapop, &text, 300_999).unwrap().account, "shop");
        assert_eq!(tokens.look_up(Wallapop, &text, 301_000).err(), Some(Dead::Expired));
        assert_eq!(tokens.look_up(Depop, &text, 1000).err(), Some(Dead::Unknown));
    }

    #[test]
    fn ending_an_account_ends_its_tokens_and_no_others() {
        let tokens = Tokens::new();
        let [one, two, other] =
            ["a", "a", "b"].map(|account| tokens.issue(WalmartSellers, &Holder::itself(account), 900, START));
        assert_eq!(tokens.revoke_account(WalmartSellers, "a", 1), 2);
        assert_eq!(tokens.revoke_account(WalmartSellers, "a", 1), 0);
        for dead in [&one, &two] {
            assert_eq!(tokens.look_up(WalmartSellers, dead, 1).err(), Some(Dead::Revoked));
        }
        assert!(tokens.look_up(WalmartSellers, &other, 1).is_ok());
    }

    #[test]
    fn a_broken_bond_ends_the_tokens_it_held_and_no_others() {
        let (tokens, bond) = (Tokens::new(), Bond::of(1));
        let issue = |bond| tokens.issue(Depop, &Holder { bond, ..Holder::itself("a") }, 900, START);
        let (held, free) = (issue(Some(&bond)), issue(None));
        bond.break_up();
        assert_eq!(tokens.look_up(Depop, &held, 1).err(), Some(Dead::Revoked));
        assert!(tokens.look_up(Depop, &free, 1).is_ok());
    }
}
