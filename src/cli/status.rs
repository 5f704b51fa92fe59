//! `marketgate status`.

use std::{fmt::Write as _, io::Write, time::Duration};

use clap::Args;

use super::{Failure, Output, Place, admin_client::AdminClient, run::block_on, table::table};
use crate::accounts::{AccountDocument, list::Page};

/// Arguments of `status`.
#[derive(Debug, Args)]
pub struct StatusArguments {
    /// Show it again every two seconds until Ctrl-C
    #[arg(long)]
    watch: bool,
    /// URL of the admin door [default: admin.listen of the configuration]
    #[arg(long, value_name = "URL")]
    server: Option<String>,
}

const LIMIT: Duration = Duration::from_secs(10);
const EVERY: Duration = Duration::from_secs(2);

/// Prints the accounts of the running Marketgate.
///
/// # Errors
/// When none is running.
pub fn run(place: &Place, arguments: &StatusArguments) -> Result<(), Failure> {
    let client = AdminClient::new(&place.server(arguments.server.as_deref())?)?;
    block_on(async {
        loop {
            let accounts = accounts(&client).await?;
            print(&accounts, place.output, arguments.watch);
            if !arguments.watch {
                return Ok(());
            }
            tokio::time::sleep(EVERY).await;
        }
    })
}

async fn accounts(client: &AdminClient) -> Result<Vec<AccountDocument>, Failure> {
    let mut accounts = Vec::new();
    let mut after = String::new();
    loop {
        let page: Page = client.document(&format!("/api/accounts?limit=1000{after}"), LIMIT).await?;
        accounts.extend(page.accounts);
        match page.next {
            Some(next) => after = format!("&after={next}"),
            None => return Ok(accounts),
        }
    }
}

fn print(accounts: &[AccountDocument], output: Output, clear: bool) {
    let text = match output {
        // Strings and numbers always serialise.
        Output::Json => serde_json::to_string_pretty(accounts).unwrap_or_default() + "\n",
        Output::Text => text(accounts),
    };
    let clear = if clear && output == Output::Text { "\x1b[2J\x1b[H" } else { "" };
    // A reader that closed the pipe has seen enough.
    drop(write!(std::io::stdout(), "{clear}{text}"));
}

fn text(accounts: &[AccountDocument]) -> String {
    let rows: Vec<Vec<String>> = accounts.iter().map(row).collect();
    let mut out = table(&["account", "provider", "environment", "state", "token"], &rows);
    for account in accounts {
        if let Some(trouble) = &account.trouble {
            // Writing to a String cannot fail.
            let _ = writeln!(
                out,
                "\n{}@{}: {} ({} failures since {})\n  help: {}",
                account.app, account.account, trouble.detail, trouble.failures, trouble.since, trouble.action
            );
        }
    }
    out
}

fn row(account: &AccountDocument) -> Vec<String> {
    let name = format!("{}@{}", account.app, account.account);
    vec![name, account.provider.clone(), account.environment.clone(), account.state.clone(), token(account)]
}

/// A token in a few words.
pub fn token(account: &AccountDocument) -> String {
    match &account.token {
        None => "none yet: asked for at the first request".to_owned(),
        Some(token) => match (token.valid, token.expires_in_seconds) {
            (true, Some(left)) => format!("{} valid for {left} s", token.fingerprint),
            (true, None) => format!("{} does not expire", token.fingerprint),
            (false, _) => format!("{} expired", token.fingerprint),
        },
    }
}
