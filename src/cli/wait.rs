//! `marketgate wait`.

use std::time::Duration;

use clap::Args;

use super::{
    Exit, Failure, Place,
    admin_client::{AdminClient, AskError},
    login::parse_duration,
    remote,
    run::block_on,
    session::ServerArguments,
};
use crate::{accounts::AccountDocument, names::AccountRef};

/// Arguments of `wait`.
#[derive(Debug, Args)]
pub struct WaitArguments {
    /// APP or APP@ACCOUNT whose token to wait for; without it, until the running Marketgate is ready
    account: Option<AccountRef>,
    /// How long
    #[arg(long, allow_hyphen_values = true, default_value = "60s", value_parser = parse_duration, value_name = "TIME")]
    timeout: Duration,
    #[command(flatten)]
    server: ServerArguments,
}

const BETWEEN: Duration = Duration::from_millis(100);

/// Waits for readiness, then for a token if an account is named.
///
/// # Errors
/// When the time is over.
pub fn run(place: &Place, arguments: &WaitArguments) -> Result<(), Failure> {
    // Readiness is the admin door's to tell, and the file need not be right in anything but where that is.
    let client = match arguments.server.named()? {
        Some(client) => client,
        None => AdminClient::new(&place.server(None)?)?,
    };
    block_on(async {
        let mut last = None;
        let outcome =
            tokio::time::timeout(arguments.timeout, until_ready(&client, arguments, &mut last)).await;
        match (outcome, last) {
            (Ok(outcome), _) => outcome,
            (Err(_), Some(failure)) => Err(failure),
            (Err(_), None) => {
                Err(Failure::new(Exit::Unreachable, "not ready in time").mend("wait longer with --timeout"))
            }
        }
    })
}

async fn until_ready(
    client: &AdminClient,
    arguments: &WaitArguments,
    last: &mut Option<Failure>,
) -> Result<(), Failure> {
    loop {
        match attempt(client, arguments).await {
            Ok(()) => return Ok(()),
            Err(NotYet::Over(failure)) => return Err(failure),
            Err(NotYet::Again(failure)) => *last = Some(failure),
        }
        tokio::time::sleep(BETWEEN).await;
    }
}

enum NotYet {
    /// Perhaps the next time.
    Again(Failure),
    /// Another answer will not come from asking again.
    Over(Failure),
}

impl From<AskError> for NotYet {
    fn from(error: AskError) -> Self {
        match error {
            AskError::Refused(refusal) if (400..500).contains(&refusal.status) => {
                Self::Over(Failure::new(Exit::Unreachable, refusal.detail).mend(refusal.action))
            }
            error => Self::Again(error.into()),
        }
    }
}

async fn attempt(client: &AdminClient, arguments: &WaitArguments) -> Result<(), NotYet> {
    client.text("/readyz", Duration::from_secs(5)).await?;
    let Some(name) = &arguments.account else { return Ok(()) };
    let id = remote::meant(client, name).await.map_err(|failure| match failure.exit() {
        Exit::Usage => NotYet::Over(failure),
        _ => NotYet::Again(failure),
    })?;
    // Shorter than our own patience, so that the door has told what is wrong before we give up.
    let wait = arguments.timeout.as_secs().saturating_sub(1).min(30);
    let path = format!("{}?wait={wait}", remote::path(&id));
    let account: AccountDocument = client.document(&path, Duration::from_secs(40)).await?;
    // One that must log in may still have a token that is not over by its own account.
    let exit = remote::exit_of(&account.state);
    if exit != Exit::LoginRequired && account.token.as_ref().is_some_and(|token| token.valid) {
        return Ok(());
    }
    let (detail, action) = match account.trouble {
        Some(trouble) => (trouble.detail, trouble.action),
        None => ("no token yet".to_owned(), "wait longer with --timeout".to_owned()),
    };
    let failure = Failure::new(exit, detail).mend(action);
    // Another token call may find the others changed.
    Err(if exit == Exit::LoginRequired { NotYet::Over(failure) } else { NotYet::Again(failure) })
}
