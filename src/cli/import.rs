//! `marketgate import`: takes grants in. The one rule: a secret comes by stdin or from a file, never as an argument, where
//! every program of the machine could read it.

mod batch;
mod grants;
mod one;

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use serde::{Deserialize, Serialize};

use super::{
    Exit, Failure, Place,
    admin_client::{AdminClient, AskError, Body, Refusal},
    session::{self, ServerArguments},
};
use crate::{
    accounts::{document::TroubleDocument, import::Imported},
    names::{AccountRef, AppName},
};

/// Arguments of `import`.
#[derive(Debug, Args)]
pub struct ImportArguments {
    /// APP@ACCOUNT, whose secret is read from stdin; APP alone together with --file
    account: AccountRef,
    /// Take in many accounts: a file with one JSON object a line, each with `account` and its secret; `-` is stdin
    #[arg(long, value_name = "FILE", conflicts_with_all = ["set", "consented_at", "refresh_token_expires_at", "identity"])]
    file: Option<PathBuf>,
    /// With --file: append what became of each line to this file, one JSON object a line
    #[arg(long, value_name = "FILE", requires = "file")]
    results: Option<PathBuf>,
    /// A setting of the account's own, such as market=us; may be repeated
    #[arg(long, value_name = "NAME=VALUE", value_parser = setting)]
    set: Vec<(String, String)>,
    /// When the seller consented, such as 2026-01-31: some consents end so long after it
    #[arg(long, value_name = "TIME")]
    consented_at: Option<String>,
    /// When the refresh token ends by itself, such as 2026-01-31T12:00:00Z: an idle account is refreshed before
    #[arg(long, value_name = "TIME")]
    refresh_token_expires_at: Option<String>,
    /// Whom the grant belongs to, as the marketplace names him
    #[arg(long, value_name = "IDENTITY")]
    identity: Option<String>,
    /// Take it in even if the account was connected to somebody else
    #[arg(long)]
    replace_identity: bool,
    /// Take it in even if another account belongs to the same seller
    #[arg(long)]
    again: bool,
    /// When to find out whether a grant works: at the first request, or at once by a token call for each
    #[arg(long, value_enum, default_value_t = Validate::FirstUse, value_name = "WHEN")]
    validate: Validate,
    /// Only say what would be done
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    server: ServerArguments,
}

/// When to find out whether a grant works.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Validate {
    /// At the first request.
    FirstUse,
    /// At once.
    Now,
}

fn setting(text: &str) -> Result<(String, String), String> {
    let pair = text.split_once('=').filter(|(name, value)| !name.is_empty() && !value.is_empty());
    let (name, value) = pair.ok_or("write NAME=VALUE, such as market=us")?;
    if ["refresh_token", "client_secret", "api_key", "client_id"].contains(&name) {
        return Err(format!("`{name}` is read from stdin, since every program can read arguments"));
    }
    Ok((name.to_owned(), value.to_owned()))
}

/// What became of one line.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Outcome {
    line: usize,
    #[serde(default)]
    account: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    outcome: Option<Imported>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    code: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    detail: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    action: Option<String>,
    /// With `--validate now`: how the account is after its first token call.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    state: Option<String>,
    /// With `--validate now`: why it has no token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    trouble: Option<TroubleDocument>,
}

impl Outcome {
    /// What was done, or why it was refused.
    fn sorted(&self) -> Result<Imported, Refusal> {
        let text = |member: &Option<String>| member.clone().unwrap_or_default();
        match (self.outcome, &self.code) {
            (Some(outcome), None) => Ok(outcome),
            _ => Err(Refusal {
                status: 0,
                code: text(&self.code),
                detail: text(&self.detail),
                action: text(&self.action),
            }),
        }
    }
}

impl Outcome {
    /// Why the grant that was taken in does not work, as far as it was tried.
    fn failed(&self) -> Option<Refusal> {
        let TroubleDocument { detail, action, .. } = self.trouble.clone()?;
        let code = self.state.clone().unwrap_or_default();
        Some(Refusal { status: 0, code, detail, action })
    }
}

#[derive(Debug, Deserialize)]
struct Answer {
    results: Vec<Outcome>,
}

/// How lines are sent.
struct Sender<'a> {
    client: &'a AdminClient,
    path: String,
    validate: Validate,
}

impl<'a> Sender<'a> {
    fn new(client: &'a AdminClient, app: &AppName, arguments: &ImportArguments) -> Self {
        let validate = match arguments.validate {
            Validate::FirstUse => "first-use",
            Validate::Now => "now",
        };
        let again = if arguments.again { "&again=true" } else { "" };
        let path = format!(
            "/api/imports?app={app}&dry_run={}&validate={validate}&replace_identity={}{again}",
            arguments.dry_run, arguments.replace_identity
        );
        Self { client, path, validate: arguments.validate }
    }

    async fn send(&self, lines: Vec<u8>) -> Result<Vec<Outcome>, AskError> {
        // Token calls wait for their turn at the meter of the token endpoint.
        let limit = std::time::Duration::from_secs(if self.validate == Validate::Now { 900 } else { 120 });
        let answer: Answer =
            self.client.ask(http::Method::POST, &self.path, Body::Lines(lines), limit).await?;
        Ok(answer.results)
    }
}

/// Takes in the grant of one account, or those of many.
///
/// # Errors
/// When one of them is refused.
pub fn run(place: &Place, arguments: &ImportArguments) -> Result<(), Failure> {
    match (&arguments.file, &arguments.account.account) {
        (Some(file), None) => {
            let path = file.clone();
            session::with(place, &arguments.server, async |client| {
                batch::import(place, &client, arguments, &path).await
            })
        }
        (None, Some(account)) => session::with(place, &arguments.server, async |client| {
            one::import(place, &client, arguments, account).await
        }),
        (Some(_), Some(_)) => Err(Failure::new(Exit::Usage, "with --file each line names its account")
            .mend(format!("marketgate import {} --file grants.jsonl", arguments.account.app))),
        (None, None) => {
            let app = &arguments.account.app;
            Err(Failure::new(Exit::Usage, "no account was named").mend(format!(
                "marketgate import {app}@ACCOUNT for one, marketgate import {app} --file grants.jsonl for many"
            )))
        }
    }
}
