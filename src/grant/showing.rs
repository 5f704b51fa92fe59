//! Showing a refresh token. The one rule: a durable intent comes before every showing, and a repetition comes within the reuse
//! window, after the time the server asked for, or not at all.

use std::time::Duration;

use super::{
    account::LiveAccount, call::no_client, endpoint::Endpoint, keeper::Keeper, meter::Permit,
    setback::Setback, state::AccountState,
};
use crate::{
    clock::Moment,
    config::Credentials,
    oauth::{Class, GrantRequest, Granted, TokenError},
    secret::Secret,
    store::{Begun, StoreError},
};

/// What became of showing a refresh token.
pub(super) enum Shown {
    /// Tokens, asked for at that moment.
    Granted(Granted, Moment),
    /// Shown at that moment, in vain.
    Refused(TokenError, Moment),
    /// Not shown, for that reason.
    Withheld(Setback),
    /// Not shown: the record has changed since it was read.
    Outdated,
    /// Not shown: the program stops, or there was no turn within the reuse window.
    NoTurn,
}

/// How long the end of the program waits for the turn of a repetition.
const LAST_TURN: Duration = Duration::from_secs(3);

/// The time in which a server takes a refresh token shown again for a repetition (law 4).
#[derive(Debug, Clone, Copy)]
pub(super) struct ReuseWindow {
    opened: Moment,
    length: Duration,
}

impl ReuseWindow {
    pub(super) fn new(opened: Moment, length: Duration) -> Self {
        Self { opened, length }
    }

    pub(super) fn left(&self, now: Moment) -> Duration {
        self.length.saturating_sub(now.since(self.opened))
    }
}

impl Shown {
    /// Whether the server may have seen the refresh token, and have done what it was asked.
    pub(super) fn was_seen(&self) -> bool {
        match self {
            Self::Granted(..) => true,
            Self::Refused(error, _) => {
                let judged = matches!(error.class, Class::InvalidGrant | Class::Refused);
                error.may_have_rotated() || error.successor.is_some() || judged
            }
            Self::Withheld(_) | Self::Outdated | Self::NoTurn => false,
        }
    }

    /// When a refresh token was shown whose answer was lost.
    pub(super) fn lost(&self) -> Option<Moment> {
        match self {
            Self::Refused(error, sent) if error.may_have_rotated() => Some(*sent),
            _ => None,
        }
    }

    /// How long the server wants to be left alone.
    pub(super) fn asked(&self) -> Duration {
        match self {
            Self::Refused(error, _) => error.retry_after.unwrap_or_default(),
            _ => Duration::ZERO,
        }
    }
}

impl Keeper {
    /// Shows the refresh token, with each client secret in turn until one is accepted. `window`: it is shown again, and only
    /// as long as that lasts.
    pub(super) async fn show(
        &mut self,
        account: &LiveAccount,
        endpoint: &Endpoint,
        urgent: bool,
        window: Option<ReuseWindow>,
    ) -> Shown {
        let Credentials::Client { secrets, .. } = &account.account().credentials else {
            return Shown::Withheld(no_client());
        };
        let mut refusal = None;
        for step in 0..secrets.len() {
            let index = (self.secret_index + step) % secrets.len();
            let secret = match secrets[index].read() {
                Ok(secret) => secret,
                Err(error) => {
                    refusal.get_or_insert(Shown::Withheld(error.into()));
                    continue;
                }
            };
            let shown = self.show_with(account, endpoint, urgent, window, &secret).await;
            match shown {
                Shown::Refused(error, sent) if error.class == Class::InvalidClient => {
                    refusal.get_or_insert(Shown::Refused(error, sent));
                }
                shown => {
                    self.secret_index = index;
                    return shown;
                }
            }
        }
        refusal.unwrap_or_else(|| Shown::Withheld(no_client()))
    }

    async fn show_with(
        &self,
        account: &LiveAccount,
        endpoint: &Endpoint,
        urgent: bool,
        window: Option<ReuseWindow>,
        client_secret: &Secret,
    ) -> Shown {
        let Some(custody) = &self.custody else { return Shown::Outdated };
        let Some(permit) = self.place(account, endpoint, urgent, window).await else { return Shown::NoTurn };
        account.publish(|p| p.state = AccountState::Refreshing);
        // From here on nothing is cancelled.
        let begun = custody.begin(self.surroundings.clock.now().wall, endpoint).await;
        let (Ok(Begun::Durable), Some(token)) = (&begun, custody.refresh_token()) else {
            permit.unused();
            return withheld(begun, self.surroundings.clock.now());
        };
        let sent = self.surroundings.clock.now();
        if window.is_some_and(|window| window.left(sent).is_zero()) {
            // The store took its time.
            permit.unused();
            return Shown::NoTurn;
        }
        let outcome = self.send(account, GrantRequest::RefreshToken(token), client_secret).await;
        drop(permit);
        match outcome {
            Ok(granted) => Shown::Granted(granted, sent),
            Err(error) => Shown::Refused(error, sent),
        }
    }

    async fn place(
        &self,
        account: &LiveAccount,
        endpoint: &Endpoint,
        urgent: bool,
        window: Option<ReuseWindow>,
    ) -> Option<Permit> {
        let permit = self.permit(account, endpoint, urgent);
        let Some(window) = window else {
            return self.surroundings.closing.run_until_cancelled(permit).await;
        };
        // What has been begun is brought to its end though the program stops; but an endpoint that fails may be long.
        let last_turn = async {
            self.surroundings.stop.cancelled().await;
            tokio::time::sleep(LAST_TURN).await;
        };
        tokio::select! {
            biased;
            permit = permit => Some(permit),
            () = tokio::time::sleep(window.left(self.surroundings.clock.now())) => None,
            () = last_turn => None,
        }
    }
}

fn withheld(begun: Result<Begun, StoreError>, now: Moment) -> Shown {
    match begun {
        Ok(Begun::Held { until }) => {
            let mut setback = Setback::from(StoreError::new(
                crate::store::error::Trouble::Io,
                "another process is refreshing this account",
            ));
            setback.retry_after = until.duration_since(now.wall).ok();
            Shown::Withheld(setback)
        }
        Ok(Begun::Durable | Begun::Newer) => Shown::Outdated,
        Err(error) => Shown::Withheld(error.into()),
    }
}
