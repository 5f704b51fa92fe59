//! `marketgate check`.

use std::{collections::BTreeMap, fmt::Write as _, sync::Arc, time::Duration};

use clap::Args;

use super::{
    Exit, Failure, Output, Place, opening,
    place::colour,
    remote::{self, Wanted},
    run::block_on,
    session, streams,
    table::table,
};
use crate::{
    accounts::consent::Proof,
    config::{self, Account, App, Loaded, Settings},
    gateway::{Gateway, Options},
    names::AppName,
    store::PageQuery,
};

/// Arguments of `check`.
#[derive(Debug, Args)]
pub struct CheckArguments {
    /// Also ask for tokens, and the APIs whether they take them
    #[arg(long)]
    online: bool,
}

const WAIT: Duration = Duration::from_secs(35);
/// How many records are read from the store at once.
const BATCH: usize = 1000;

/// Says everything that is wrong, else what the configuration comes to.
///
/// # Errors
/// An invalid configuration; with `--online` an account that gets no token, or whose token the API refuses.
pub fn run(place: &Place, arguments: &CheckArguments) -> Result<(), Failure> {
    let settings = load(place)?;
    let stored = block_on(async { Ok(stored(&settings).await) })?;
    if place.output == Output::Text {
        streams::data(text(&settings, stored.as_ref()).trim_end());
    }
    let asked = if arguments.online { Some(ask_all(&settings, stored.as_ref())?) } else { None };
    if place.output == Output::Json {
        streams::data(json(&settings, stored.as_ref(), asked.as_deref()));
    }
    let failed = asked.into_iter().flatten().filter_map(|asked| asked.failed).next_back();
    failed.map_or(Ok(()), |failure| Err(failure.summed_up("not every account can be used")))
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
        let Loaded { settings, warnings } = place.load_with_warnings()?;
        warnings.iter().for_each(|warning| streams::talk(warning.render(colour()).trim_end()));
        return Ok(settings);
    }
    let loaded = config::load(&place.file()?).map_err(|mistakes| {
        streams::data(serde_json::json!({ "valid": false, "findings": mistakes.shown() }));
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

fn json(settings: &Settings, stored: Option<&Stored>, asked: Option<&[Asked]>) -> String {
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
    let valid = asked.is_none_or(|asked| asked.iter().all(|asked| asked.failed.is_none()));
    let mut document = serde_json::json!({
        "valid": valid, "accounts": accounts, "stored_accounts": stored, "capacity": capacity
    });
    if let Some(asked) = asked {
        document["online"] = asked.iter().map(Asked::document).collect();
    }
    document.to_string()
}

/// What came of asking for one account.
struct Asked {
    account: String,
    /// Of the token.
    fingerprint: Option<String>,
    /// What the API says of the token; None where no harmless call is known, or there is no token.
    proof: Option<Proof>,
    failed: Option<Failure>,
}

impl Asked {
    fn document(&self) -> serde_json::Value {
        let failure = self.failed.as_ref().map(|failure| failure.as_data()["error"].clone());
        serde_json::json!({ "account": self.account, "token": self.fingerprint, "api": self.proof, "error": failure })
    }

    fn tell(&self) {
        let account = &self.account;
        match (&self.failed, &self.proof, &self.fingerprint) {
            (Some(failure), ..) => {
                streams::ask(format_args!("{account}: "));
                failure.report();
            }
            (None, Some(proof), Some(token)) => {
                let status = proof.status.unwrap_or_default();
                streams::talk(format_args!(
                    "{account}: token {token}, and the API takes it ({} answered {status})",
                    proof.path
                ));
            }
            (None, None, Some(token)) => streams::talk(format_args!(
                "{account}: token {token}; whether the API takes it is not checked, since no harmless call is known"
            )),
            (None, _, None) => streams::talk(format_args!("{account}: in order")),
        }
    }
}

/// Asks for a token of every account of the file, and the API whether it takes that. Accounts of the store are told as the running
/// Marketgate sees them: their grants are its to spend.
fn ask_all(settings: &Settings, stored: Option<&Stored>) -> Result<Vec<Asked>, Failure> {
    block_on(async {
        let gateway =
            Gateway::new(settings, Options::default()).map_err(|e| Failure::new(Exit::Failure, e))?;
        let mut all = Vec::new();
        for (app, account) in accounts(settings) {
            all.push(ask(&gateway, app, account).await);
        }
        all.extend(ask_about_stored(settings, stored).await?);
        // A program gets them as data.
        if !streams::errors_are_data() {
            all.iter().for_each(Asked::tell);
        }
        Ok(all)
    })
}

async fn ask(gateway: &Gateway, app: &Arc<App>, account: &Arc<Account>) -> Asked {
    let name = account.id.to_string();
    let credential = match gateway.accounts().live().find(app, account).first_token(WAIT).await {
        Ok(credential) => credential,
        Err(unavailable) => {
            return Asked { account: name, fingerprint: None, proof: None, failed: Some(unavailable.into()) };
        }
    };
    let proof = gateway.accounts().prove(app, account, &credential.token.secret).await;
    let failed = proof.as_ref().filter(|proof| !proof.accepted).map(|proof| refused(app, proof));
    Asked {
        account: name,
        fingerprint: Some(credential.token.secret.fingerprint().to_string()),
        proof,
        failed,
    }
}

fn refused(app: &App, proof: &Proof) -> Failure {
    let (api, path) = (&app.profile.api, &proof.path);
    match proof.status {
        Some(401) => {
            Failure::new(Exit::Failure, format!("the API refuses the token: {api}{path} answered 401"))
                .mend("check the credentials, and that they belong to this environment")
        }
        Some(status) => Failure::new(Exit::Unreachable, format!("{api}{path} answered {status}"))
            .mend("ask again later; if it stays so, check `api`"),
        None => Failure::new(Exit::Unreachable, format!("{api} cannot be reached"))
            .mend("check the network, and the app's `api`"),
    }
}

async fn ask_about_stored(settings: &Settings, stored: Option<&Stored>) -> Result<Vec<Asked>, Failure> {
    if stored.is_none_or(BTreeMap::is_empty) {
        return Ok(Vec::new());
    }
    let Some(client) = session::serving(Some(settings)).await? else {
        streams::talk("accounts of the store are not asked about: no Marketgate is running that serves them");
        return Ok(Vec::new());
    };
    let all = remote::accounts(&client, &Wanted::default()).await?;
    let of_store = all.into_iter().filter(|account| account.kept_in == "store");
    Ok(of_store
        .map(|account| {
            let failed = account.trouble.map(|trouble| {
                Failure::new(remote::exit_of(&account.state), trouble.detail).mend(trouble.action)
            });
            let name = format!("{}@{}", account.app, account.account);
            Asked {
                account: name,
                fingerprint: account.token.map(|token| token.fingerprint),
                proof: None,
                failed,
            }
        })
        .collect())
}

fn accounts(settings: &Settings) -> impl Iterator<Item = (&Arc<App>, &Arc<Account>)> {
    settings.apps.values().flat_map(|app| app.accounts.values().map(move |account| (app, account)))
}
