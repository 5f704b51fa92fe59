//! `marketgate health`: one process asks another, since a minimal image has no curl.

use std::time::Duration;

use clap::Args;

use super::{Failure, Place, admin_client::AdminClient, run::block_on, streams};

/// Arguments of `health`.
#[derive(Debug, Args)]
pub struct HealthArguments {
    /// Ask whether it can serve, not only whether it is alive
    #[arg(long)]
    ready: bool,
    /// URL of the admin door [default: admin.listen of the configuration]
    #[arg(long, value_name = "URL")]
    server: Option<String>,
}

/// Exits 0 when the running Marketgate is well.
///
/// # Errors
/// When it is not, or there is none.
pub fn run(place: &Place, arguments: &HealthArguments) -> Result<(), Failure> {
    let client = AdminClient::new(&place.server(arguments.server.as_deref())?)?;
    let path = if arguments.ready { "/readyz" } else { "/livez" };
    let said = block_on(async { Ok(client.text(path, Duration::from_secs(5)).await?) })?;
    streams::data(said.trim_end());
    Ok(())
}
