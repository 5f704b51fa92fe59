//! `marketgate wait`.

use std::time::Duration;

use clap::Args;

use super::{
    Exit, Failure, Place,
    admin_client::{AdminClient, AskError},
    run::block_on,
};
use crate::{accounts::AccountDocument, names::AccountRef, provider::values::duration};

/// Arguments of `wait`.
#[derive(Debug, Args)]
pub struct WaitArguments {
    /// APP or APP@ACCOUNT whose token to wait for; without it, until the running Marketgate is ready
    account: Option<AccountRef>,
    /// How long
    #[arg(long, default_value = "60s", value_parser = parse_duration, value_name = "TIME")]
    timeout: Duration,
    /// URL of the admin door [default: admin.listen of the configuration]
    #[arg(long, value_name = "URL")]
    server: Option<String>,
}

fn parse_duration(text: &str) -> Result<Duration, String> {
    duration(text).ok_or_else(|| "write a number and a unit, such as 500ms, 30s or 2m".to_owned())
}

const BETWEEN: Duration = Duration::from_millis(100);

/// Waits for readiness, then for a token if an account is named.
///
/// # Errors
/// When the time is over.
pub fn run(place: &Place, arguments: &WaitArguments) -> Result<(), Failure> {
    let client = AdminClient::new(&place.server(arguments.server.as_deref())?)?;
    let path = match &arguments.account {
        Some(name) => Some(account_path(place, name, arguments.timeout)?),
        None => None,
    };
    block_on(async {
        let mut last = None;
        let outcome =
            tokio::time::timeout(arguments.timeout, until_ready(&client, path.as_deref(), &mut last)).await;
        match (outcome, last) {
            (Ok(outcome), _) => outcome,
            (Err(_), Some(failure)) => Err(failure),
            (Err(_), None) => {
                Err(Failure::new(Exit::Unreachable, "not ready in time").mend("wait longer with --timeout"))
            }
        }
    })
}

/// With the configuration at hand, `APP` alone means what it means in a request.
fn account_path(place: &Place, name: &AccountRef, timeout: Duration) -> Result<String, Failure> {
    let account = match &name.account {
        Some(account) => account.clone(),
        None => super::token::named(&place.load()?, name)?.1.id.account.clone(),
    };
    // Shorter than our own patience, so that the door has told what is wrong before we give up.
    let wait = timeout.as_secs().saturating_sub(1).min(30);
    Ok(format!("/api/accounts/{}/{account}?wait={wait}", name.app))
}

async fn until_ready(
    client: &AdminClient,
    path: Option<&str>,
    last: &mut Option<Failure>,
) -> Result<(), Failure> {
    loop {
        match attempt(client, path).await {
            Ok(None) => return Ok(()),
            Ok(Some(failure)) => *last = Some(failure),
            // Another answer will not come from asking again.
            Err(error @ AskError::Refused { status: 400..=499, .. }) => return Err(error.into()),
            Err(error) => *last = Some(error.into()),
        }
        tokio::time::sleep(BETWEEN).await;
    }
}

async fn attempt(client: &AdminClient, path: Option<&str>) -> Result<Option<Failure>, AskError> {
    client.text("/readyz", Duration::from_secs(5)).await?;
    let Some(path) = path else { return Ok(None) };
    let account: AccountDocument = client.document(path, Duration::from_secs(40)).await?;
    if account.token.as_ref().is_some_and(|token| token.valid) {
        return Ok(None);
    }
    let (detail, action) = match account.trouble {
        Some(trouble) => (trouble.detail, trouble.action),
        None => ("no token yet".to_owned(), "wait longer with --timeout".to_owned()),
    };
    Ok(Some(Failure::new(Exit::Unreachable, detail).mend(action)))
}
