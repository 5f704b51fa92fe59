//! `marketgate status`: how the accounts are. The one rule: what needs a person is said with what that person has to do.

use std::{
    fmt::Write as _,
    io::Write,
    time::{Duration, SystemTime},
};

use clap::Args;

use super::{
    Failure, Output, Place,
    admin_client::AskError,
    remote::{self, Wanted},
    session::{self, ServerArguments},
    streams,
    table::table,
};
use crate::accounts::AccountDocument;

/// Arguments of `status`.
#[derive(Debug, Args)]
pub struct StatusArguments {
    /// Show it again every two seconds until Ctrl-C
    #[arg(long)]
    watch: bool,
    #[command(flatten)]
    server: ServerArguments,
}

const EVERY: Duration = Duration::from_secs(2);

/// How long before its end a consent is worth a word.
const SOON: Duration = Duration::from_secs(60 * 86_400);

/// Prints how the accounts are.
///
/// # Errors
/// When nobody can be asked.
pub fn run(place: &Place, arguments: &StatusArguments) -> Result<(), Failure> {
    session::with(place, &arguments.server, async |client| {
        loop {
            let accounts = remote::accounts(&client, &Wanted::default()).await?;
            print(&accounts, place.output, arguments.watch);
            if let Err(AskError::Unexpected { detail, .. }) = client.text("/readyz", remote::LIMIT).await
                && detail.starts_with("store: ")
            {
                streams::talk(format_args!("{detail}"));
            }
            if !arguments.watch {
                return Ok(());
            }
            tokio::time::sleep(EVERY).await;
        }
    })
}

fn print(accounts: &[AccountDocument], output: Output, clear: bool) {
    let text = match output {
        // Strings and numbers always serialise.
        Output::Json => serde_json::to_string_pretty(accounts).unwrap_or_default() + "\n",
        Output::Text => text(accounts, SystemTime::now()),
    };
    let clear = if clear && output == Output::Text { "\x1b[2J\x1b[H" } else { "" };
    // A reader that closed the pipe has seen enough.
    drop(write!(std::io::stdout(), "{clear}{}", streams::harmless(&text)));
}

fn text(accounts: &[AccountDocument], now: SystemTime) -> String {
    let rows: Vec<Vec<String>> = accounts.iter().map(row).collect();
    let mut out = table(&["account", "provider", "environment", "state", "token"], &rows);
    for account in accounts {
        if let Some(left) = time_left(account, now).filter(|left| *left < SOON) {
            let days = left.as_secs() / 86_400;
            let by = account.login_required_by.as_deref().unwrap_or_default();
            // Writing to a String cannot fail.
            let _ = writeln!(
                out,
                "\n{0}@{1}: the seller must log in again by {by} ({days} days left)\n  help: marketgate login {0}@{1}",
                account.app, account.account
            );
        }
        for notice in &account.notices {
            // Writing to a String cannot fail.
            let _ = writeln!(out, "\n{}@{}: {notice}", account.app, account.account);
        }
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
    vec![name, account.provider.clone(), account.environment.clone(), state(account), token(account)]
}

/// The state with its reason.
pub fn state(account: &AccountDocument) -> String {
    match &account.reason {
        Some(reason) => format!("{} ({reason})", account.state),
        None => account.state.clone(),
    }
}

fn time_left(account: &AccountDocument, now: SystemTime) -> Option<Duration> {
    let by: jiff::Timestamp = account.login_required_by.as_ref()?.parse().ok()?;
    Some(SystemTime::from(by).duration_since(now).unwrap_or_default())
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

#[cfg(test)]
mod tests {
    use super::*;

    fn account(reason: Option<&str>, login_required_by: Option<&str>) -> AccountDocument {
        let document = serde_json::json!({ "app": "wallapop", "account": "shop-1", "provider": "wallapop",
            "environment": "production", "grant": "authorization_code", "kept_in": "store", "state": "ready",
            "reason": reason, "login_required_by": login_required_by });
        serde_json::from_value(document).unwrap()
    }

    #[test]
    fn a_consent_that_ends_within_sixty_days_is_worth_a_word() {
        let now: jiff::Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        let shown = |by| text(&[account(None, Some(by))], now.into());
        let soon = shown("2026-02-01T00:00:00Z");
        assert!(soon.contains("by 2026-02-01T00:00:00Z (31 days left)"), "{soon}");
        assert!(soon.contains("help: marketgate login wallapop@shop-1"), "{soon}");
        assert!(!shown("2026-04-01T00:00:00Z").contains("log in again"));
        assert!(shown("2025-12-01T00:00:00Z").contains("(0 days left)"));
    }

    #[test]
    fn a_state_is_shown_with_its_reason() {
        assert_eq!(state(&account(Some("revoked"), None)), "ready (revoked)");
        assert_eq!(state(&account(None, None)), "ready");
    }
}
