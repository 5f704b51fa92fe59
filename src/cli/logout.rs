//! `marketgate logout`: ends an account's connection. The one rule: whether the marketplace was told is said either way.

use clap::Args;

use super::{
    Failure, Output, Place,
    remote::{self, full_name},
    session::{self, ServerArguments},
    streams,
};
use crate::{accounts::change::LoggedOut, names::AccountId};

/// Arguments of `logout`.
#[derive(Debug, Args)]
pub struct LogoutArguments {
    /// APP@ACCOUNT
    #[arg(value_parser = full_name)]
    account: AccountId,
    #[command(flatten)]
    server: ServerArguments,
}

/// Forgets the grant here and has the marketplace revoke it where it can; name, history and identity stay.
///
/// # Errors
/// When there is no such account, or the store cannot be used.
pub fn run(place: &Place, arguments: &LogoutArguments) -> Result<(), Failure> {
    let id = &arguments.account;
    let done: LoggedOut =
        session::with(
            place,
            &arguments.server,
            async |client| Ok(remote::act(&client, id, "logout").await?),
        )?;
    match (place.output, &done.why_not) {
        // Strings always serialise.
        (Output::Json, _) => streams::data(serde_json::to_string(&done).unwrap_or_default()),
        (Output::Text, None) => {
            streams::data(format_args!("{id} is logged out, and the marketplace has revoked its grant"));
        }
        (Output::Text, Some(why)) if done.pending => streams::data(format_args!(
            "{id} is logged out here; the marketplace has not revoked its grant yet: {why}\nthe grant is kept, sealed, and \
             revoked by `marketgate run` as soon as the marketplace takes it"
        )),
        (Output::Text, Some(why)) => {
            streams::data(format_args!(
                "{id} is logged out here; the marketplace did not revoke its grant: {why}"
            ));
        }
    }
    Ok(())
}
