//! `marketgate accounts`: what there is, and what can be done to one. The one rule: what cannot be undone is asked for.
//!
//! An app may be called like one of the subcommands: `marketgate accounts --app show` lists the accounts of app `show`.

use std::fmt::Write as _;

use clap::{Args, Subcommand};

use super::{
    Exit, Failure, Output, Place,
    admin_client::AdminClient,
    keyboard,
    remote::{self, Wanted, full_name},
    session::{self, ServerArguments},
    status, streams,
    table::table,
};
use crate::{
    accounts::AccountDocument,
    grant::AccountState,
    names::{AccountId, AppName},
};

/// How long a refresh is waited for, in seconds: longer than a token call may take.
const LONGEST_REFRESH: u32 = 90;

/// Arguments of `accounts`.
#[derive(Debug, Args)]
#[command(subcommand_value_name = "COMMAND")]
pub struct AccountsArguments {
    /// Only the accounts of this app
    app: Option<AppName>,
    /// The same, for an app that is called like a command of `accounts`
    #[arg(long = "app", value_name = "APP", id = "named_app", conflicts_with = "app")]
    named_app: Option<AppName>,
    /// Only accounts in this state, or with this reason
    #[arg(long, value_parser = clap::builder::PossibleValuesParser::new(AccountState::words()))]
    state: Option<String>,
    #[command(flatten)]
    server: ServerArguments,
    #[command(subcommand)]
    command: Option<AccountsCommand>,
}

#[derive(Debug, Subcommand)]
enum AccountsCommand {
    /// Show all that is known of one account
    Show(OneArguments),
    /// Forget an account and its grant; nothing is revoked
    Remove(RemoveArguments),
    /// Set an account going again that is parked after a restore
    Resume(OneArguments),
    /// Refresh its token now
    Refresh(OneArguments),
}

/// One account.
#[derive(Debug, Args)]
struct OneArguments {
    /// APP@ACCOUNT
    #[arg(value_parser = full_name)]
    account: AccountId,
}

/// One account to forget.
#[derive(Debug, Args)]
struct RemoveArguments {
    #[command(flatten)]
    one: OneArguments,
    /// Do not ask
    #[arg(long, short)]
    yes: bool,
    /// Forget even a former grant that is still to be revoked at the marketplace
    #[arg(long)]
    anyway: bool,
}

/// Lists accounts, or does something to one.
///
/// # Errors
/// When nobody can be asked, or what was asked for is refused.
pub fn run(place: &Place, arguments: &AccountsArguments) -> Result<(), Failure> {
    let Some(command) = &arguments.command else { return list(place, arguments) };
    if arguments.app.is_some() || arguments.named_app.is_some() || arguments.state.is_some() {
        return Err(Failure::new(
            Exit::Usage,
            "APP, --app and --state choose what is listed, and this lists nothing",
        )
        .mend("name the one account behind the command: marketgate accounts show APP@ACCOUNT"));
    }
    let server = &arguments.server;
    match command {
        AccountsCommand::Show(one) => {
            with(place, server, one, async |client, id| Ok(remote::show(client, id).await?))
        }
        AccountsCommand::Resume(one) => {
            with(place, server, one, async |client, id| Ok(remote::act(client, id, "resume").await?))
        }
        AccountsCommand::Refresh(one) => with(place, server, one, refresh),
        AccountsCommand::Remove(remove) => forget(place, server, remove),
    }
}

/// An app that is in no configuration has no accounts, and was very likely misspelt. Whoever asks another machine's Marketgate is
/// told by that.
fn check_app(place: &Place, arguments: &AccountsArguments, app: &AppName) -> Result<(), Failure> {
    let Some(settings) = place.outline().ok().filter(|_| arguments.server.server.is_none()) else {
        return Ok(());
    };
    if settings.apps.contains_key(app) {
        return Ok(());
    }
    let known = settings.apps.keys().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    Err(Failure::new(Exit::Usage, format!("there is no app `{app}`"))
        .mend(format!("the configuration has: {known}")))
}

fn list(place: &Place, arguments: &AccountsArguments) -> Result<(), Failure> {
    let app = arguments.app.as_ref().or(arguments.named_app.as_ref());
    app.map_or(Ok(()), |app| check_app(place, arguments, app))?;
    let wanted = Wanted { app: app.map(AppName::as_str), state: arguments.state.as_deref() };
    let accounts =
        session::with(
            place,
            &arguments.server,
            async |client| Ok(remote::accounts(&client, &wanted).await?),
        )?;
    match place.output {
        // Strings and numbers always serialise.
        Output::Json => streams::data(serde_json::to_string_pretty(&accounts).unwrap_or_default()),
        Output::Text => streams::data(text(&accounts).trim_end()),
    }
    Ok(())
}

fn text(accounts: &[AccountDocument]) -> String {
    let row = |account: &AccountDocument| {
        let or_dash = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
        let name = format!("{}@{}", account.app, account.account);
        vec![
            name,
            status::state(account),
            or_dash(&account.identity),
            or_dash(&account.login_required_by),
            account.kept_in.clone(),
        ]
    };
    let rows: Vec<Vec<String>> = accounts.iter().map(row).collect();
    let mut out = table(&["account", "state", "identity", "log in again by", "kept in"], &rows);
    for account in accounts {
        for notice in &account.notices {
            // Writing to a String cannot fail.
            let _ = write!(out, "\n{}@{}: {notice}", account.app, account.account);
        }
    }
    out
}

/// Does something to one account, and shows it afterwards.
fn with(
    place: &Place,
    server: &ServerArguments,
    one: &OneArguments,
    work: impl AsyncFnOnce(&AdminClient, &AccountId) -> Result<AccountDocument, Failure>,
) -> Result<(), Failure> {
    let shown = session::with(place, server, async |client| work(&client, &one.account).await)?;
    match place.output {
        // Strings and numbers always serialise.
        Output::Json => streams::data(serde_json::to_string_pretty(&shown).unwrap_or_default()),
        Output::Text => streams::data(one_text(&shown).trim_end()),
    }
    Ok(())
}

/// One that did not bring a new token has failed. A grant that was refused is asked about once more: the server may have
/// changed its mind.
async fn refresh(client: &AdminClient, id: &AccountId) -> Result<AccountDocument, Failure> {
    let before = remote::show(client, id).await?;
    let after: AccountDocument = remote::act(client, id, &format!("refresh?wait={LONGEST_REFRESH}")).await?;
    let generation = |account: &AccountDocument| account.token.as_ref().map(|token| token.generation);
    let has_new = generation(&after) != generation(&before);
    let failed = after.trouble.is_some() || after.state == AccountState::Refreshing.as_str();
    if failed && !has_new { Err(without_token(&after)) } else { Ok(after) }
}

fn without_token(account: &AccountDocument) -> Failure {
    let exit = remote::exit_of(&account.state);
    match &account.trouble {
        Some(trouble) => Failure::new(exit, &trouble.detail).mend(&trouble.action),
        None => Failure::new(exit, format!("the token call had no answer within {LONGEST_REFRESH} s"))
            .mend("it goes on, and nothing is lost: `marketgate status` says what becomes of it"),
    }
}

fn one_text(account: &AccountDocument) -> String {
    let mut lines = vec![
        ("account", format!("{}@{}", account.app, account.account)),
        ("provider", format!("{}, {}", account.provider, account.environment)),
        ("grant", account.grant.clone()),
        ("kept in", account.kept_in.clone()),
        ("state", status::state(account)),
    ];
    let text = |text: &Option<String>| text.clone();
    let optional = [
        ("identity", text(&account.identity)),
        ("consented", text(&account.consented_at)),
        ("log in again by", text(&account.login_required_by)),
        ("grant ends", text(&account.refresh_token_expires_at)),
        ("granted scope", text(&account.granted_scope)),
        ("generation", account.generation.map(|generation| generation.to_string())),
    ];
    lines.extend(optional.into_iter().filter_map(|(name, value)| Some((name, value?))));
    lines.extend(account.settings.iter().map(|(name, value)| (name.as_str(), value.clone())));
    lines.push(("token", status::token(account)));
    let mut out = String::new();
    for (name, value) in lines {
        // Writing to a String cannot fail.
        let _ = writeln!(out, "{name:<16}{value}");
    }
    for notice in &account.notices {
        let _ = writeln!(out, "\nnote: {notice}");
    }
    if let Some(trouble) = &account.trouble {
        let _ = writeln!(out, "\n{}\n  help: {}", trouble.detail, trouble.action);
    }
    out
}

fn forget(place: &Place, server: &ServerArguments, arguments: &RemoveArguments) -> Result<(), Failure> {
    let id = &arguments.one.account;
    if !arguments.yes && !keyboard::is_a_person() {
        return Err(Failure::new(Exit::Usage, format!("removing {id} forgets its grant for good"))
            .mend("add --yes where nobody can be asked"));
    }
    session::with(place, server, async |client| {
        if !arguments.yes && !confirmed(id).await {
            return Err(Failure::new(Exit::Failure, format!("{id} was left as it is")));
        }
        remote::remove(&client, id, arguments.anyway).await?;
        streams::talk(format_args!("{id} is forgotten"));
        Ok(())
    })
}

async fn confirmed(id: &AccountId) -> bool {
    streams::ask(format_args!("Forget {id} and its grant for good? The marketplace is not told. [y/N] "));
    let answer = keyboard::Lines::begin().next().await;
    answer.is_some_and(|answer| matches!(answer.trim(), "y" | "Y" | "yes"))
}
