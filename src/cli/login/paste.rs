//! Takes the address at which the seller's browser ended up from stdin. The one rule: a wrong one is told what is wrong with
//! it, and spends nothing.

use super::Pending;
use crate::{
    accounts::consent::Connected,
    cli::{
        Failure,
        admin_client::AskError,
        keyboard::{self, Lines},
        streams,
    },
    oauth::{Callback, state},
};

/// Whoever pastes.
pub(super) struct Pasting(Option<Lines>);

impl Pasting {
    /// Asks for it.
    pub(super) fn begin(pending: &Pending<'_>) -> Self {
        streams::talk(format_args!(
            "Afterwards the browser is at {}. If that page does not say that it is done, paste its whole address here:",
            pending.begun.redirect_uri
        ));
        Self(Some(Lines::begin()))
    }

    /// Takes one where a person sits, whose browser may be on another machine.
    pub(super) fn beside() -> Self {
        let possible = keyboard::is_a_person();
        let or = if possible {
            " If the browser is on another machine, paste the address here where it ends up."
        } else {
            ""
        };
        streams::talk(format_args!("Waiting for the seller to answer …{or}"));
        Self(possible.then(Lines::begin))
    }

    /// What became of the first one that was right.
    pub(super) async fn outcome(&mut self, pending: &Pending<'_>) -> Result<Connected, Failure> {
        let Some(lines) = &mut self.0 else { return std::future::pending().await };
        while let Some(line) = lines.next().await {
            match take(pending, &line).await {
                Ok(connected) => return Ok(connected),
                Err(Wrong::Over(failure)) => return Err(failure),
                Err(Wrong::Again(why)) => streams::talk(format_args!("{why}. Paste the address again:")),
                Err(Wrong::Nothing) => {}
            }
        }
        // Nobody pastes any more, but the answer may come another way.
        std::future::pending().await
    }
}

enum Wrong {
    /// An empty line.
    Nothing,
    /// What is wrong with it.
    Again(String),
    /// The login has ended.
    Over(Failure),
}

async fn take(pending: &Pending<'_>, line: &str) -> Result<Connected, Wrong> {
    if line.trim().is_empty() {
        return Err(Wrong::Nothing);
    }
    let callback = Callback::read(line).map_err(|error| Wrong::Again(error.to_string()))?;
    if !state::same(&callback.state, &pending.state) {
        let why = "this answers another login, perhaps an earlier one of the same account";
        return Err(Wrong::Again(why.to_owned()));
    }
    // Held here already, so that a wrong address does not end the login.
    callback.check_address(&pending.begun.redirect_uri).map_err(|error| Wrong::Again(error.to_string()))?;
    match pending.complete(line).await {
        Ok(connected) => Ok(connected),
        Err(AskError::Refused(refusal)) if pending.is_open().await => Err(Wrong::Again(refusal.detail)),
        Err(error) => Err(Wrong::Over(error.into())),
    }
}
