//! `marketgate check`.

use std::{fmt::Write as _, sync::Arc, time::Duration};

use clap::Args;

use super::{Exit, Failure, Output, Place, run::block_on, streams, table::table};
use crate::{
    config::{self, Account, App, Settings},
    gateway::{Gateway, Options},
    grant::Unavailable,
};

/// Arguments of `check`.
#[derive(Debug, Args)]
pub struct CheckArguments {
    /// Also ask every token endpoint for a token
    #[arg(long)]
    online: bool,
}

const WAIT: Duration = Duration::from_secs(35);

/// Says everything that is wrong, else what the configuration comes to.
///
/// # Errors
/// An invalid configuration; with `--online` an account that gets no token.
pub fn run(place: &Place, arguments: &CheckArguments) -> Result<(), Failure> {
    let settings = load(place)?;
    match place.output {
        Output::Text => streams::data(text(&settings).trim_end()),
        Output::Json => streams::data(json(&settings)),
    }
    if arguments.online { check_online(&settings) } else { Ok(()) }
}

/// As every command loads it; a program gets the mistakes as data besides.
fn load(place: &Place) -> Result<Settings, Failure> {
    if place.output == Output::Text {
        return place.load();
    }
    let loaded = config::load(&place.file()?).map_err(|mistakes| {
        streams::data(serde_json::json!({ "valid": false, "findings": mistakes.findings() }));
        Failure::rendered(Exit::Configuration, mistakes.render(false))
    })?;
    Ok(loaded.settings)
}

fn text(settings: &Settings) -> String {
    let row = |(app, account): (&Arc<App>, &Arc<Account>)| {
        let profile = &app.profile;
        let grant = profile.grant.as_str().to_owned();
        vec![
            account.id.to_string(),
            profile.provider.clone(),
            profile.environment.clone(),
            grant,
            profile.api.to_string(),
        ]
    };
    let rows: Vec<Vec<String>> = accounts(settings).map(row).collect();
    let mut out = table(&["account", "provider", "environment", "grant", "upstream"], &rows);
    for capacity in config::capacity(settings) {
        // Writing to a String cannot fail.
        let _ = writeln!(out, "\n{capacity}");
    }
    out.push_str("\nthe configuration is valid\n");
    out
}

fn json(settings: &Settings) -> String {
    let accounts: Vec<_> = accounts(settings)
        .map(|(app, account)| {
            serde_json::json!({ "app": app.name, "account": account.id.account, "provider": app.profile.provider,
                "environment": app.profile.environment, "grant": app.profile.grant.as_str(),
                "upstream": app.profile.api.to_string() })
        })
        .collect();
    let capacity: Vec<String> = config::capacity(settings).iter().map(ToString::to_string).collect();
    serde_json::json!({ "valid": true, "accounts": accounts, "capacity": capacity }).to_string()
}

fn check_online(settings: &Settings) -> Result<(), Failure> {
    block_on(async {
        let gateway =
            Gateway::new(settings, Options::default()).map_err(|e| Failure::new(Exit::Failure, e))?;
        let mut last = None;
        for (app, account) in accounts(settings) {
            match gateway.accounts().live().find(app, account).first_token(WAIT).await {
                Ok(credential) => {
                    let fingerprint = credential.token.secret.fingerprint();
                    streams::talk(format_args!("{}: token {fingerprint}", account.id));
                }
                Err(unavailable) => last = Some(tell(account, unavailable)),
            }
        }
        last.map_or(Ok(()), |failure| Err(failure.summed_up("not every account gets a token")))
    })
}

fn tell(account: &Account, unavailable: Unavailable) -> Failure {
    let failure = Failure::from(unavailable);
    streams::ask(format_args!("{}: ", account.id));
    failure.report();
    failure
}

fn accounts(settings: &Settings) -> impl Iterator<Item = (&Arc<App>, &Arc<Account>)> {
    settings.apps.values().flat_map(|app| app.accounts.values().map(move |account| (app, account)))
}
