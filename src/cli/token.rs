//! `marketgate token`.

use std::{io::Write, sync::Arc, time::Duration};

use clap::Args;

use super::{
    Exit, Failure, Output, Place,
    admin_client::AskError,
    remote,
    run::block_on,
    session::{self, ServerArguments},
};
use crate::{
    config::{Account, App, Settings},
    gateway::{Gateway, Options},
    grant::{AccountState, Unavailable},
    names::AccountRef,
    telemetry,
};

/// Arguments of `token`.
#[derive(Debug, Args)]
pub struct TokenArguments {
    /// APP or APP@ACCOUNT
    account: AccountRef,
    #[command(flatten)]
    server: ServerArguments,
}

/// Longer than a token endpoint may take to answer.
const WAIT: Duration = Duration::from_secs(35);

impl From<Unavailable> for Failure {
    fn from(unavailable: Unavailable) -> Self {
        let exit = match unavailable.state {
            AccountState::Misconfigured => Exit::Failure,
            state if state.needs_a_person() => Exit::LoginRequired,
            _ => Exit::Unreachable,
        };
        Self::new(exit, unavailable.detail).mend(unavailable.action)
    }
}

/// Gets a token for an account and prints it.
///
/// # Errors
/// An unknown account, or no token.
pub fn run(place: &Place, arguments: &TokenArguments) -> Result<(), Failure> {
    let shared = match (&arguments.server.server, place.outline()) {
        (Some(_), _) => true,
        (None, Ok(outline)) => outline.store.is_some(),
        // Says what is wrong.
        (None, Err(_)) => place.load()?.store.is_some(),
    };
    let token = if shared { ask(place, arguments)? } else { fetch(place, arguments)? };
    let line = match place.output {
        Output::Text => token.access_token,
        Output::Json => serde_json::json!({
            "access_token": token.access_token,
            "expires_in": token.expires_in,
            "header": token.header,
        })
        .to_string(),
    };
    writeln!(std::io::stdout(), "{line}").map_err(|e| Failure::new(Exit::Failure, e))
}

/// From whoever serves the store.
fn ask(place: &Place, arguments: &TokenArguments) -> Result<remote::Token, Failure> {
    session::with(place, &arguments.server, async |client| {
        let id = remote::meant(&client, &arguments.account).await?;
        match remote::act(&client, &id, "token").await {
            Err(AskError::Refused(refusal)) if refusal.code == "token_unavailable" => {
                let state = remote::show(&client, &id).await.map(|account| account.state).unwrap_or_default();
                Err(Failure::from(refusal).with_exit(remote::exit_of(&state)))
            }
            other => Ok(other?),
        }
    })
}

/// For oneself: where nothing is stored, a token call takes nothing from anybody.
fn fetch(place: &Place, arguments: &TokenArguments) -> Result<remote::Token, Failure> {
    let mut settings = place.load()?;
    settings.log.level = "error".to_owned();
    telemetry::start(&settings.log).map_err(|e| Failure::new(Exit::Configuration, e))?;
    let (app, account) = named(&settings, &arguments.account)?;
    let credential = block_on(async {
        let gateway =
            Gateway::new(&settings, Options::default()).map_err(|e| Failure::new(Exit::Failure, e))?;
        let live = gateway.accounts().live().find(&app, &account);
        Ok(live.first_token(WAIT).await?)
    })?;
    let token = &credential.token;
    Ok(remote::Token {
        access_token: token.secret.expose().to_owned(),
        expires_in: token.lifetime.map(|life| life.as_secs()),
        header: app.profile.token_header.as_str().to_owned(),
    })
}

/// The account a command means.
///
/// # Errors
/// When the configuration has no such one, or several and none is named.
pub fn named(settings: &Settings, name: &AccountRef) -> Result<(Arc<App>, Arc<Account>), Failure> {
    let apps = settings.apps.keys().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let app = settings.apps.get(&name.app).ok_or_else(|| {
        Failure::new(Exit::Usage, format!("there is no app `{}`", name.app))
            .mend(format!("the configuration has: {apps}"))
    })?;
    let accounts = app.accounts.keys().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let account = match &name.account {
        Some(account) => app.accounts.get(account).ok_or_else(|| {
            Failure::new(Exit::Usage, format!("app `{}` has no account `{account}`", app.name))
                .mend(format!("it has: {accounts}"))
        })?,
        None => app.implicit_account().ok_or_else(|| {
            Failure::new(Exit::Usage, format!("app `{}` has several accounts", app.name))
                .mend(format!("write {}@ACCOUNT with one of: {accounts}", app.name))
        })?,
    };
    Ok((app.clone(), account.clone()))
}
