//! Refresh tokens and their families. The one rule: a refresh token works once; shown again, it ends its whole family,
//! unless the policy's grace period forgives it.

use sha2::{Digest as _, Sha256};
use std::collections::HashMap;

use super::family::{Consented, Counts, Ended, Family, Kin};
use super::policy::{Policy, Successor};
use super::{BadRefresh, Entitled};
use crate::sim::clock::Moment;
use crate::sim::marketplace::Marketplace;
use crate::sim::spelling::{self, Claims};
use crate::sim::tokens::Bond;

/// Every consent, and every refresh token that was ever issued.
#[derive(Default)]
pub(in crate::sim) struct Families {
    kin: Vec<Kin>,
    /// By digest: a long run issues many, and only the newest of a family is ever said again.
    issued: HashMap<Digest, Issued>,
}

type Digest = [u8; 32];

fn digest(token: &str) -> Digest {
    Sha256::digest(token.as_bytes()).into()
}

struct Issued {
    family: usize,
    generation: u64,
    spent_at: Option<u64>,
    shown: bool,
}

impl Issued {
    /// Whether it was spent so shortly ago, and so few rotations behind, that a retry may have it again.
    fn is_forgiven(&self, newest: u64, grace_seconds: u64, now: u64) -> bool {
        let recent = |spent: u64| now.saturating_sub(spent) < grace_seconds.saturating_mul(1000);
        self.generation + 1 >= newest && self.spent_at.is_some_and(recent)
    }
}

/// A refresh token as a client shows it.
pub(in crate::sim) struct Shown<'a> {
    pub(in crate::sim) marketplace: Marketplace,
    pub(in crate::sim) client: &'a str,
    /// The seller the call claims to be for, where the marketplace wants that said.
    pub(in crate::sim) partner: Option<&'a str>,
    pub(in crate::sim) token: &'a str,
}

impl Families {
    /// A new family with its first refresh token.
    pub(in crate::sim) fn found(&mut self, consented: Consented, moment: Moment) -> Entitled {
        let number = self.kin.len() as u64 + 1;
        let ends_at = moment.now.saturating_add(consented.lasts.saturating_mul(1000));
        self.kin.push(Kin {
            consented,
            bond: Bond::of(number),
            consented_at: moment.now,
            ends_at,
            ended: None,
            generation: 0,
            newest: String::new(),
            newest_access: None,
            counts: Counts::default(),
        });
        let family = self.kin.len() - 1;
        let token = self.issue(family, 0, moment);
        self.entitled(family, Some(token))
    }

    /// What a refresh brings (RFC 6749 §6).
    pub(in crate::sim) fn renew(
        &mut self,
        shown: &Shown<'_>,
        policy: &Policy,
        moment: Moment,
    ) -> Result<Entitled, BadRefresh> {
        let issued = self.issued.get(&digest(shown.token)).ok_or(BadRefresh::Unknown)?;
        let (family, generation, spent) = (issued.family, issued.generation, issued.spent_at.is_some());
        let kin = &mut self.kin[family];
        let forgiven = issued.is_forgiven(kin.generation, policy.grace_seconds, moment.now);
        examine(kin, shown, spent, moment.now)?;
        if spent && !forgiven {
            kin.end(Ended::RefreshTokenReused);
            return Err(BadRefresh::Reused);
        }
        kin.counts.refreshes += 1;
        kin.counts.forgiven += u64::from(spent);
        if !policy.rotates {
            return Ok(self.entitled(family, None));
        }
        if spent && policy.grace_brings == Successor::Same {
            let newest = kin.newest.clone();
            return Ok(self.entitled(family, Some(newest)));
        }
        let successor = self.rotate(family, shown.token, generation + 1, moment);
        Ok(self.entitled(family, Some(successor)))
    }

    /// Spends the token that was shown, and the newest one if that is another, for a new one.
    fn rotate(&mut self, family: usize, token: &str, generation: u64, moment: Moment) -> String {
        let newest = std::mem::take(&mut self.kin[family].newest);
        for spent in [token, &newest] {
            if let Some(issued) = self.issued.get_mut(&digest(spent)) {
                issued.spent_at.get_or_insert(moment.now);
            }
        }
        self.kin[family].counts.rotations += 1;
        self.issue(family, generation, moment)
    }

    fn issue(&mut self, family: usize, generation: u64, moment: Moment) -> String {
        let kin = &mut self.kin[family];
        let issued_at = moment.epoch / 1000;
        let claims = Claims {
            account: &kin.consented.seller,
            client: &kin.consented.client,
            scope: &kin.consented.scope,
            issued_at,
            expires_at: issued_at + kin.ends_at.saturating_sub(moment.now) / 1000,
        };
        let token = spelling::refresh_token(kin.consented.marketplace, &claims);
        kin.generation = generation;
        kin.newest.clone_from(&token);
        self.issued.insert(digest(&token), Issued { family, generation, spent_at: None, shown: false });
        token
    }

    fn entitled(&self, family: usize, refresh_token: Option<String>) -> Entitled {
        let Kin { consented, bond, ends_at, newest_access, .. } = &self.kin[family];
        Entitled {
            account: consented.seller.clone(),
            client: consented.client.clone(),
            scope: consented.scope.clone(),
            lifetime: consented.lifetime,
            bond: Some(bond.clone()),
            refresh_token,
            ends_at: Some(*ends_at),
            earlier: newest_access.clone(),
        }
    }

    /// A token call brought this refresh token; whatever is answered, it has been shown. Says whose it is.
    pub(in crate::sim) fn note_shown(&mut self, marketplace: Marketplace, token: &str) -> Option<String> {
        let issued = self.issued.get_mut(&digest(token))?;
        let kin = &mut self.kin[issued.family];
        if kin.consented.marketplace != marketplace {
            return None;
        }
        kin.counts.shown_again += u64::from(std::mem::replace(&mut issued.shown, true));
        Some(kin.consented.seller.clone())
    }

    /// Whose refresh token it is.
    pub(in crate::sim) fn seller(&self, marketplace: Marketplace, token: &str) -> Option<&str> {
        let consented = &self.kin[self.issued.get(&digest(token))?.family].consented;
        (consented.marketplace == marketplace).then_some(&consented.seller)
    }

    pub(in crate::sim) fn note_access_token(&mut self, number: u64, token: &str) {
        if let Some(kin) = self.numbered(number) {
            kin.newest_access = Some(token.to_owned());
        }
    }

    fn numbered(&mut self, number: u64) -> Option<&mut Kin> {
        let index = usize::try_from(number.checked_sub(1)?).ok()?;
        self.kin.get_mut(index)
    }

    pub(in crate::sim) fn end(&mut self, number: u64, why: Ended) {
        if let Some(kin) = self.numbered(number) {
            kin.end(why);
        }
    }

    /// The family of a refresh token, and the client it belongs to.
    pub(in crate::sim) fn of_token(&self, marketplace: Marketplace, token: &str) -> Option<(u64, &str)> {
        let kin = &self.kin[self.issued.get(&digest(token))?.family];
        (kin.consented.marketplace == marketplace).then_some((kin.bond.family, &kin.consented.client))
    }

    /// The seller takes back every consent that still works; says how many those were.
    pub(in crate::sim) fn disconnect(&mut self, marketplace: Marketplace, seller: &str) -> usize {
        let theirs = self.kin.iter_mut().filter(|kin| {
            kin.consented.marketplace == marketplace && kin.consented.seller == seller && kin.ended.is_none()
        });
        theirs.map(|kin| kin.end(Ended::Disconnected)).count()
    }

    pub(in crate::sim) fn reports(&self) -> Vec<Family> {
        self.kin.iter().map(Kin::report).collect()
    }
}

/// Everything that may be wrong with a refresh before it matters whether its token was spent.
fn examine(kin: &mut Kin, shown: &Shown<'_>, spent: bool, now: u64) -> Result<(), BadRefresh> {
    if kin.consented.marketplace != shown.marketplace {
        return Err(BadRefresh::Unknown);
    }
    kin.counts.reuse_attempts += u64::from(spent);
    if kin.consented.client != shown.client {
        return Err(BadRefresh::OtherClient);
    }
    if shown.partner.is_some_and(|partner| partner != kin.consented.seller) {
        return Err(BadRefresh::OtherSeller);
    }
    if let Some(why) = kin.ended {
        return Err(BadRefresh::Ended(why));
    }
    if kin.ends_at <= now { Err(BadRefresh::Over) } else { Ok(()) }
}
