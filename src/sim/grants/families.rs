//! Refresh tokens and their families. The one rule: a refresh token works once; shown again, it ends its whole family,
//! unless the policy's grace period forgives it.

use sha2::{Digest as _, Sha256};
use std::collections::HashMap;

use super::family::{Consented, Counts, Ended, Family, Kin};
use super::policy::{Policy, Simultaneous, Successor};
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
    /// When it stops working, milliseconds on the simulator's clock.
    ends_at: u64,
    spent_at: Option<u64>,
    /// Uses that brought tokens.
    uses: u64,
    shown: bool,
}

impl Issued {
    /// Whether it was spent so shortly ago, or used so few times, and is so few rotations behind, that a retry may have it
    /// again. One that was never used but replaced by a repetition of its predecessor has no retry by count.
    fn is_forgiven(&self, newest: u64, policy: &Policy, now: u64) -> bool {
        let recent = |spent: u64| now.saturating_sub(spent) < policy.grace_seconds.saturating_mul(1000);
        let allowed = match policy.max_reuse {
            Some(most) => (1..=most).contains(&self.uses),
            None => self.spent_at.is_some_and(recent),
        };
        self.generation + 1 >= newest && allowed
    }
}

/// What a server finds when it begins to work on a refresh token.
#[derive(Clone, Copy)]
pub(in crate::sim) struct Found {
    /// It was not spent.
    pub(in crate::sim) is_fresh: bool,
    /// No other use of its family is being worked on.
    pub(in crate::sim) is_alone: bool,
}

/// A refresh token as a client shows it.
pub(in crate::sim) struct Shown<'a> {
    pub(in crate::sim) marketplace: Marketplace,
    pub(in crate::sim) client: &'a str,
    /// The seller the call claims to be for, where the marketplace wants that said.
    pub(in crate::sim) partner: Option<&'a str>,
    pub(in crate::sim) token: &'a str,
    /// What was found when the work on it began, where that was earlier.
    pub(in crate::sim) found: Option<Found>,
}

impl Families {
    /// A new family with its first refresh token.
    pub(in crate::sim) fn found(
        &mut self,
        consented: Consented,
        policy: &Policy,
        moment: Moment,
    ) -> Entitled {
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
            working: 0,
            counts: Counts::default(),
        });
        let family = self.kin.len() - 1;
        let token = self.issue(family, 0, policy, moment);
        self.entitled(family, Some(token), policy, moment)
    }

    /// The server begins to work on a refresh token; [`Self::leave`] ends that.
    pub(in crate::sim) fn enter(&mut self, token: &str) -> Option<Found> {
        let issued = self.issued.get(&digest(token))?;
        let kin = &mut self.kin[issued.family];
        kin.working += 1;
        Some(Found { is_fresh: issued.spent_at.is_none(), is_alone: kin.working == 1 })
    }

    pub(in crate::sim) fn leave(&mut self, token: &str) {
        if let Some(issued) = self.issued.get(&digest(token)) {
            let working = &mut self.kin[issued.family].working;
            *working = working.saturating_sub(1);
        }
    }

    /// What a refresh brings (RFC 6749 §6).
    pub(in crate::sim) fn renew(
        &mut self,
        shown: &Shown<'_>,
        policy: &Policy,
        moment: Moment,
    ) -> Result<Entitled, BadRefresh> {
        let issued = self.issued.get_mut(&digest(shown.token)).ok_or(BadRefresh::Unknown)?;
        let (family, generation) = (issued.family, issued.generation);
        let kin = &mut self.kin[family];
        let spent = issued.spent_at.is_some() && !is_saved_over(shown, policy);
        let forgiven = issued.is_forgiven(kin.generation, policy, moment.now);
        examine(kin, shown, spent, issued.ends_at.min(kin.ends_at), moment.now)?;
        if policy.simultaneous == Simultaneous::Refused && shown.found.is_some_and(|found| !found.is_alone) {
            return Err(BadRefresh::Simultaneous);
        }
        if spent && !forgiven {
            if policy.reuse_ends_family {
                self.end_kin(family, Ended::RefreshTokenReused);
            }
            return Err(BadRefresh::Reused);
        }
        issued.uses += u64::from(policy.rotates);
        kin.counts.refreshes += 1;
        kin.counts.forgiven += u64::from(spent);
        if !policy.rotates {
            issued.ends_at = kin.end_of_token(policy, moment.now);
            return Ok(self.entitled(family, None, policy, moment));
        }
        if spent && policy.grace_brings == Successor::Same {
            let newest = kin.newest.clone();
            return Ok(self.entitled(family, Some(newest), policy, moment));
        }
        let successor = self.rotate(family, shown.token, generation + 1, policy, moment);
        Ok(self.entitled(family, Some(successor), policy, moment))
    }

    /// Spends the token that was shown, and the newest one if that is another, for a new one.
    fn rotate(
        &mut self,
        family: usize,
        token: &str,
        generation: u64,
        policy: &Policy,
        moment: Moment,
    ) -> String {
        let newest = std::mem::take(&mut self.kin[family].newest);
        for spent in [token, &newest] {
            if let Some(issued) = self.issued.get_mut(&digest(spent)) {
                issued.spent_at.get_or_insert(moment.now);
            }
        }
        self.kin[family].counts.rotations += 1;
        self.issue(family, generation, policy, moment)
    }

    fn issue(&mut self, family: usize, generation: u64, policy: &Policy, moment: Moment) -> String {
        let kin = &mut self.kin[family];
        let ends_at = kin.end_of_token(policy, moment.now);
        let issued_at = moment.epoch / 1000;
        let claims = Claims {
            account: &kin.consented.seller,
            client: &kin.consented.client,
            scope: &kin.consented.scope,
            issued_at,
            expires_at: issued_at + ends_at.saturating_sub(moment.now) / 1000,
        };
        let token = spelling::refresh_token(kin.consented.marketplace, &claims);
        kin.generation = generation;
        kin.newest.clone_from(&token);
        let issued = Issued { family, generation, ends_at, spent_at: None, uses: 0, shown: false };
        self.issued.insert(digest(&token), issued);
        token
    }

    fn entitled(
        &self,
        family: usize,
        refresh_token: Option<String>,
        policy: &Policy,
        moment: Moment,
    ) -> Entitled {
        let kin = &self.kin[family];
        let Kin { consented, bond, newest_access, .. } = kin;
        let ends_at = kin.end_of_token(policy, moment.now);
        let left = || ends_at.saturating_sub(moment.now) / 1000;
        let said = |member: &String| (member.clone(), policy.refresh_expires_in.unwrap_or_else(left));
        Entitled {
            account: consented.seller.clone(),
            client: consented.client.clone(),
            scope: consented.scope.clone(),
            lifetime: consented.lifetime,
            bond: Some(bond.clone()),
            refresh_token,
            ends_at: Some(ends_at),
            end_said: policy.refresh_end_member.as_ref().map(said),
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
        let index = number.checked_sub(1).and_then(|index| usize::try_from(index).ok());
        if let Some(index) = index.filter(|index| *index < self.kin.len()) {
            self.end_kin(index, why);
        }
    }

    /// Ends a family, and with it those that share its session.
    fn end_kin(&mut self, index: usize, why: Ended) {
        self.kin[index].end(why);
        let Consented { marketplace, session, .. } = &self.kin[index].consented;
        let (marketplace, session) = (*marketplace, session.clone());
        let shares = |kin: &&mut Kin| {
            session.is_some() && kin.consented.session == session && kin.consented.marketplace == marketplace
        };
        self.kin.iter_mut().filter(shares).for_each(|kin| kin.end(Ended::SessionEnded));
    }

    /// The family of a refresh token, and the client it belongs to.
    pub(in crate::sim) fn of_token(&self, marketplace: Marketplace, token: &str) -> Option<(u64, &str)> {
        let kin = &self.kin[self.issued.get(&digest(token))?.family];
        (kin.consented.marketplace == marketplace).then_some((kin.bond.family, &kin.consented.client))
    }

    /// Ends every consent of a seller's that still works; says how many those were.
    pub(in crate::sim) fn end_seller(&mut self, marketplace: Marketplace, seller: &str, why: Ended) -> usize {
        let works = |kin: &Kin| {
            kin.consented.marketplace == marketplace && kin.consented.seller == seller && kin.ended.is_none()
        };
        let theirs: Vec<usize> = (0..self.kin.len()).filter(|index| works(&self.kin[*index])).collect();
        theirs.iter().for_each(|index| self.end_kin(*index, why));
        theirs.len()
    }

    pub(in crate::sim) fn reports(&self) -> Vec<Family> {
        self.kin.iter().map(Kin::report).collect()
    }
}

/// Whether another use spent the token while this one was worked on, and the server does not look again.
fn is_saved_over(shown: &Shown<'_>, policy: &Policy) -> bool {
    policy.simultaneous == Simultaneous::LaterSaveWins && shown.found.is_some_and(|found| found.is_fresh)
}

/// Everything that may be wrong with a refresh before it matters whether its token was spent.
fn examine(kin: &mut Kin, shown: &Shown<'_>, spent: bool, ends_at: u64, now: u64) -> Result<(), BadRefresh> {
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
    if ends_at <= now { Err(BadRefresh::Over) } else { Ok(()) }
}
