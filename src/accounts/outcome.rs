//! What becomes of consents, and what is told of it. The one rule: an outcome holds no secret, and is kept for whoever
//! waits for it, not longer.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use super::{AccountsError, consent::LASTS};
use crate::names::AccountId;

/// How long an outcome is kept for whoever waits for it.
const REMEMBERED: Duration = Duration::from_secs(1200);

/// What a consent is begun with.
#[derive(Debug, Clone)]
pub struct BeginConsent {
    /// The account to connect.
    pub id: AccountId,
    /// Whether it may be connected to somebody else than before.
    pub replace_identity: bool,
    /// Whether another account may belong to the same seller.
    pub again: bool,
    /// Whether it may have one of the places that are kept for the commands of the user who runs the program.
    pub by_command: bool,
}

/// A consent that was begun.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ConsentBegun {
    /// Names it, to ask for its outcome.
    pub id: String,
    /// The account that will be connected.
    pub account: String,
    /// Where the seller's browser must go. Whoever has it can connect a shop of his own: hand it to the seller only.
    pub authorize_url: String,
    /// Where the browser will come back to.
    pub redirect_uri: String,
    /// Until when, RFC 3339.
    pub ends_at: String,
    /// Whether the Marketgate that was asked takes the answer there itself.
    #[serde(default)]
    pub answered_here: bool,
}

/// A seller who is connected.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Connected {
    /// The account.
    pub account: String,
    /// Whom the marketplace named; none when there is no way to learn it.
    pub identity: Option<String>,
    /// When the access token expires, RFC 3339.
    pub token_expires_at: String,
    /// When the seller must log in again at the latest, as far as it is known, RFC 3339.
    pub login_required_by: Option<String>,
    /// What the first API call brought; none where no harmless call is known.
    pub proof: Option<Proof>,
}

/// The first API call with the new token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proof {
    /// Its path.
    pub path: String,
    /// Its status; none when no answer came.
    pub status: Option<u16>,
    /// Whether the marketplace accepted the token.
    pub accepted: bool,
}

/// What came of a callback.
#[derive(Debug)]
pub struct Completed {
    /// The consent it answered, to ask for the outcome again; none when it answered none.
    pub consent: Option<String>,
    /// The outcome.
    pub outcome: Result<Connected, AccountsError>,
}

impl Completed {
    pub(super) fn nothing(error: AccountsError) -> Self {
        Self { consent: None, outcome: Err(error) }
    }
}

/// How a consent stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConsentState {
    /// The seller has not come back yet.
    Pending,
    /// Done.
    Connected(Connected),
    /// Over, without a connection.
    Failed(AccountsError),
}

/// The outcomes of consents, for whoever waits for them.
#[derive(Debug, Default)]
pub(super) struct Outcomes(Mutex<HashMap<String, (SystemTime, watch::Sender<ConsentState>)>>);

impl Outcomes {
    fn known(&self) -> std::sync::MutexGuard<'_, HashMap<String, (SystemTime, watch::Sender<ConsentState>)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes a consent that is begun, unless `most` are under way already. Those are never forgotten for a new one: sellers
    /// are at their marketplace meanwhile.
    ///
    /// # Errors
    /// When the first of them ends at the latest.
    pub(super) fn expect(&self, id: &str, now: SystemTime, most: usize) -> Result<(), Duration> {
        let age = |begun: SystemTime| now.duration_since(begun).unwrap_or_default();
        let mut known = self.known();
        known.retain(|_, (begun, _)| age(*begun) < REMEMBERED);
        let is_pending = |state: &watch::Sender<ConsentState>| *state.borrow() == ConsentState::Pending;
        let under_way = known.values().filter(|(begun, state)| age(*begun) < LASTS && is_pending(state));
        let ages: Vec<Duration> = under_way.map(|(begun, _)| age(*begun)).collect();
        if ages.len() >= most {
            return Err(LASTS - ages.into_iter().max().unwrap_or_default());
        }
        known.insert(id.to_owned(), (now, watch::channel(ConsentState::Pending).0));
        Ok(())
    }

    /// Forgets one that could not be begun after all.
    pub(super) fn forget(&self, id: &str) {
        self.known().remove(id);
    }

    pub(super) fn tell(&self, id: &str, outcome: &Result<Connected, AccountsError>, now: SystemTime) {
        let told = match outcome {
            Ok(connected) => ConsentState::Connected(connected.clone()),
            Err(error) => ConsentState::Failed(error.clone()),
        };
        // Another process, or this one before it was started again, may have begun it.
        let mut known = self.known();
        let expected = known.entry(id.to_owned());
        expected.or_insert_with(|| (now, watch::channel(ConsentState::Pending).0)).1.send_replace(told);
    }

    pub(super) fn watch(&self, id: &str) -> Option<watch::Receiver<ConsentState>> {
        self.known().get(id).map(|(_, state)| state.subscribe())
    }
}
