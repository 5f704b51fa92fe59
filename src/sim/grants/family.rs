//! One consent and what has become of it. The one rule: an ended family never works again, and says why it ended.

use serde::Serialize;
use std::sync::Arc;

use super::policy::Policy;
use crate::sim::hash::fingerprint;
use crate::sim::marketplace::Marketplace;
use crate::sim::tokens::Bond;

/// Why a family ended before its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Ended {
    /// A spent refresh token was shown again (RFC 9700 §4.14.2).
    RefreshTokenReused,
    /// The code that founded it was shown again (RFC 6749 §4.1.2).
    CodeReplayed,
    /// The client revoked it (RFC 7009).
    Revoked,
    /// The seller took the consent back.
    Disconnected,
    /// The session it belongs to ended: by an administrator, or with another grant of the same session.
    SessionEnded,
}

/// A consent with all the tokens that came from it, for tests to look at.
#[derive(Clone, Debug, Serialize)]
pub struct Family {
    /// Counts from 1, in the order of consents.
    pub number: u64,
    /// The marketplace's name.
    pub marketplace: &'static str,
    /// The client that was given consent.
    pub client_id: String,
    /// The seller who gave it.
    pub seller: String,
    /// The browser session that it shares with other consents.
    pub session: Option<String>,
    /// What was granted, as the authorization server keeps it: names with spaces between.
    pub scope: String,
    /// When it was given, milliseconds on the simulator's clock.
    pub consented_at_ms: u64,
    /// When its refresh tokens stop working, milliseconds on the simulator's clock.
    pub ends_at_ms: u64,
    /// Why it ended before that; `None` while it works.
    pub ended: Option<Ended>,
    /// Refreshes that were granted, forgiven ones among them.
    pub refreshes: u64,
    /// How often a refresh token was spent for a new one.
    pub rotations: u64,
    /// How often a refresh token was shown that had been shown before, whatever was answered to it then and now.
    pub shown_again: u64,
    /// How often a refresh token was shown that had been spent before.
    pub reuse_attempts: u64,
    /// How many of those the grace period forgave.
    pub forgiven: u64,
    /// Fingerprint of the newest refresh token.
    pub refresh_token: String,
}

/// A consent as it was given.
pub(in crate::sim) struct Consented {
    pub(in crate::sim) marketplace: Marketplace,
    pub(in crate::sim) client: String,
    pub(in crate::sim) seller: String,
    pub(in crate::sim) session: Option<String>,
    pub(in crate::sim) scope: String,
    /// How long its access tokens live, where that differs from the policy, seconds.
    pub(in crate::sim) lifetime: Option<u64>,
    /// How long it lasts, seconds.
    pub(in crate::sim) lasts: u64,
}

/// A family as the authorization server knows it.
pub(super) struct Kin {
    pub(super) consented: Consented,
    pub(super) bond: Arc<Bond>,
    pub(super) consented_at: u64,
    pub(super) ends_at: u64,
    pub(super) ended: Option<Ended>,
    /// Rotations between the consent and the newest refresh token.
    pub(super) generation: u64,
    pub(super) newest: String,
    pub(super) newest_access: Option<String>,
    /// Uses of its refresh tokens that are being worked on.
    pub(super) working: u64,
    pub(super) counts: Counts,
}

#[derive(Default)]
pub(super) struct Counts {
    pub(super) refreshes: u64,
    pub(super) rotations: u64,
    pub(super) shown_again: u64,
    pub(super) reuse_attempts: u64,
    pub(super) forgiven: u64,
}

impl Kin {
    pub(super) fn end(&mut self, why: Ended) {
        self.ended.get_or_insert(why);
        self.bond.break_up();
    }

    /// When a refresh token that is brought now stops working, milliseconds on the simulator's clock.
    pub(super) fn end_of_token(&self, policy: &Policy, now: u64) -> u64 {
        let lasts = policy.refresh_token_seconds.map_or(u64::MAX, |seconds| seconds.saturating_mul(1000));
        now.saturating_add(lasts).min(self.ends_at)
    }

    pub(super) fn report(&self) -> Family {
        Family {
            number: self.bond.family,
            marketplace: self.consented.marketplace.name(),
            client_id: self.consented.client.clone(),
            seller: self.consented.seller.clone(),
            session: self.consented.session.clone(),
            scope: self.consented.scope.clone(),
            consented_at_ms: self.consented_at,
            ends_at_ms: self.ends_at,
            ended: self.ended,
            refreshes: self.counts.refreshes,
            rotations: self.counts.rotations,
            shown_again: self.counts.shown_again,
            reuse_attempts: self.counts.reuse_attempts,
            forgiven: self.counts.forgiven,
            refresh_token: fingerprint(&self.newest),
        }
    }
}
