//! Authorization codes. The one rule: a code is used up by the first authenticated client that shows it, whatever comes
//! of that; shown again, it ends what it founded (RFC 6749 §4.1.2).

use std::collections::HashMap;

use super::family::Consented;
use super::policy::Policy;
use super::{BadCode, pkce};
use crate::sim::marketplace::Marketplace;
use crate::sim::spelling;

/// Codes that expired this long ago are forgotten, milliseconds.
const REMEMBERED_AFTER_END: u64 = 3_600_000;

/// Every code of every marketplace.
#[derive(Default)]
pub(in crate::sim) struct Codes {
    issued: HashMap<String, Code>,
}

struct Code {
    asked: Authorized,
    expires_at: u64,
    used: bool,
    /// What it founded.
    family: Option<u64>,
}

/// What a seller said yes to.
#[derive(Clone)]
pub(in crate::sim) struct Authorized {
    pub(in crate::sim) marketplace: Marketplace,
    pub(in crate::sim) client: String,
    pub(in crate::sim) redirect_uri: String,
    pub(in crate::sim) challenge: Option<String>,
    pub(in crate::sim) scope: String,
    pub(in crate::sim) seller: String,
    /// The browser session in which it was said.
    pub(in crate::sim) session: Option<String>,
}

/// A code as a client shows it.
pub(in crate::sim) struct Redemption<'a> {
    pub(in crate::sim) marketplace: Marketplace,
    pub(in crate::sim) client: &'a str,
    /// The seller the call claims to be for, where the marketplace wants that said.
    pub(in crate::sim) partner: Option<&'a str>,
    pub(in crate::sim) code: &'a str,
    pub(in crate::sim) redirect_uri: Option<&'a str>,
    pub(in crate::sim) verifier: Option<&'a str>,
}

impl Codes {
    pub(in crate::sim) fn issue(&mut self, asked: Authorized, policy: &Policy, now: u64) -> String {
        if self.issued.len() % 1024 == 1023 {
            self.issued.retain(|_, code| code.expires_at.saturating_add(REMEMBERED_AFTER_END) > now);
        }
        let text = spelling::code(asked.marketplace);
        let expires_at = now.saturating_add(policy.code_seconds.saturating_mul(1000));
        self.issued.insert(text.clone(), Code { asked, expires_at, used: false, family: None });
        text
    }

    /// The consent behind a code, which is used up by this.
    pub(super) fn redeem(
        &mut self,
        shown: &Redemption<'_>,
        policy: &Policy,
        now: u64,
    ) -> Result<Consented, BadCode> {
        let code = self.issued.get_mut(shown.code).ok_or(BadCode::Unknown)?;
        if code.asked.marketplace != shown.marketplace {
            return Err(BadCode::Unknown);
        }
        if std::mem::replace(&mut code.used, true) {
            return Err(BadCode::Used(code.family));
        }
        if code.expires_at <= now {
            return Err(BadCode::Expired);
        }
        code.asked.answers(shown)?;
        let Authorized { marketplace, client, scope, seller, session, .. } = code.asked.clone();
        let lasts = policy.consent_seconds;
        Ok(Consented { marketplace, client, seller, session, scope, lifetime: None, lasts })
    }

    pub(super) fn note_founded(&mut self, code: &str, family: u64) {
        if let Some(code) = self.issued.get_mut(code) {
            code.family = Some(family);
        }
    }

    /// Whose code it is.
    pub(in crate::sim) fn seller(&self, marketplace: Marketplace, code: &str) -> Option<&str> {
        let asked = &self.issued.get(code)?.asked;
        (asked.marketplace == marketplace).then_some(&asked.seller)
    }
}

impl Authorized {
    /// Whether what is shown belongs to what was asked for.
    fn answers(&self, shown: &Redemption<'_>) -> Result<(), BadCode> {
        if self.client != shown.client {
            return Err(BadCode::OtherClient);
        }
        if shown.redirect_uri != Some(&self.redirect_uri) {
            return Err(BadCode::OtherRedirect);
        }
        if shown.partner.is_some_and(|partner| partner != self.seller) {
            return Err(BadCode::OtherSeller);
        }
        match (&self.challenge, shown.verifier) {
            (None, None) => Ok(()),
            (Some(_), None) => Err(BadCode::NoVerifier),
            (Some(challenge), Some(verifier)) if pkce::proves(verifier, challenge) => Ok(()),
            _ => Err(BadCode::WrongVerifier),
        }
    }
}
