//! `marketgate check`.

use std::{collections::BTreeMap, fmt::Write as _, sync::Arc, time::Duration};

use clap::Args;

use super::{
    Exit, Failure, Output, Place, opening,
    remote::{self, Wanted},
    run::block_on,
    session, streams,
    table::table,
};
use crate::{
    config::{self, Account, App, Settings},
    gateway::{Gateway, Options},
    grant::Unavailable,
    names::AppName,
    store::PageQuery,
};

/// Arguments of `check`.
#[derive(Debug, Args)]
pub struct CheckArguments {
    /// Also ask every token endpoint for a token
    #[arg(long)]
    online: bool,
}

const WAIT: Duration = Duration::from_secs(35);
/// How many records are read from the store at once.
const BATCH: usize = 1000;

/// Says everything that is wrong, else what the configuration comes to.
///
/// # Errors
/// An invalid configuration; with `--online` an account that gets no token.
pub fn run(place: &Place, arguments: &CheckArguments) -> Result<(), Failure> {
    let settings = load(place)?;
    let stored = block_on(async { Ok(stored(&settings).await) })?;
    match place.output {
        Output::Text => streams::data(text(&settings, stored.as_ref()).trim_end()),
        Output::Json => streams::data(json(&settings, stored.as_ref())),
    }
    if arguments.online { check_online(&settings) } else { Ok(()) }
}

/// How many accounts of each app the store holds.
type Stored = BTreeMap<AppName, usize>;

/// What the store holds, if there is one and it tells without being waited for. None is made.
async fn stored(settings: &Settings) -> Option<Stored> {
    let store = settings.store.as_ref()?;
    let mut counted = Stored::new();
    if let Ok(Some(client)) = session::serving(Some(settings)).await {
        let accounts = remote::accounts(&client, &Wanted::default()).await.ok()?;
        for account in accounts.iter().filter(|account| account.kept_in == "store") {
            *counted.entry(account.app.parse().ok()?).or_default() += 1;
        }
        return Some(counted);
    }
    if !store.path.exists() {
        return None;
    }
    let opened = opening::open_at_once(settings).ok()??;
    let mut after = None;
    loop {
        let batch = opened.page(PageQuery { app: None, after: after.take(), limit: BATCH }).await.ok()?;
        batch.iter().for_each(|stored| *counted.entry(stored.id().app.clone()).or_default() += 1);
        match batch.last() {
            Some(last) if batch.len() == BATCH => {
                after = Some((last.id().app.clone(), last.id().account.clone()));
            }
            _ => return Some(counted),
        }
    }
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

fn text(settings: &Settings, stored: Option<&Stored>) -> String {
    let row = |app: &App, account: String| {
        let profile = &app.profile;
        let grant = profile.grant.as_str().to_owned();
        vec![account, profile.provider.clone(), profile.environment.clone(), grant, profile.api.to_string()]
    };
    let rows = settings.apps.values().flat_map(|app| {
        let written = app.accounts.values().map(|account| row(app, account.id.to_string()));
        let in_store = app.takes_accounts().then(|| row(app, format!("{}@…", app.name)));
        written.chain(in_store).collect::<Vec<_>>()
    });
    let rows: Vec<Vec<String>> = rows.collect();
    let mut out = table(&["account", "provider", "environment", "grant", "upstream"], &rows);
    if let Some(app) = settings.apps.values().find(|app| app.takes_accounts() && settings.store.is_some()) {
        let how = if app.client.is_some() { "login" } else { "import" };
        // Writing to a String cannot fail.
        let _ = writeln!(out, "\n…: accounts in the store; `marketgate {how} {}@ACCOUNT` adds one", app.name);
    }
    if let Some(stored) = stored {
        // Writing to a String cannot fail.
        let _ = writeln!(out, "accounts in the store: {}", stored.values().sum::<usize>());
    }
    for capacity in config::capacity(settings, stored.unwrap_or(&Stored::new())) {
        let _ = writeln!(out, "\n{capacity}");
    }
    out.push_str("\nthe configuration is valid\n");
    out
}

fn json(settings: &Settings, stored: Option<&Stored>) -> String {
    let accounts: Vec<_> = accounts(settings)
        .map(|(app, account)| {
            serde_json::json!({ "app": app.name, "account": account.id.account, "provider": app.profile.provider,
                "environment": app.profile.environment, "grant": app.profile.grant.as_str(),
                "upstream": app.profile.api.to_string() })
        })
        .collect();
    let capacity = config::capacity(settings, stored.unwrap_or(&Stored::new()));
    let capacity: Vec<String> = capacity.iter().map(ToString::to_string).collect();
    let stored = stored.map(|stored| stored.values().sum::<usize>());
    serde_json::json!({ "valid": true, "accounts": accounts, "stored_accounts": stored, "capacity": capacity })
        .to_string()
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
