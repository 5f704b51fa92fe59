//! Sellers of the demo, connected as real ones are. The one rule: only the click on "Allow" is done here; everything else is
//! what `marketgate login` has done.

use std::{sync::Arc, time::Duration};

use http::header;

use crate::{
    accounts::{
        Accounts, AccountsError,
        consent::{BeginConsent, Connected},
    },
    cli::streams,
    names::AccountId,
    tls,
};

/// App, account, and the seller of the simulated marketplace who consents.
const SELLERS: [(&str, &str, &str); 2] =
    [("wallapop", "shop-1", "shop-1"), ("depop-shops", "shop-2", "shop-2")];
/// How long a page of the simulator may take.
const LIMIT: Duration = Duration::from_secs(10);

/// Connects them, and says which.
pub(super) async fn connect(accounts: &Arc<Accounts>) -> Vec<AccountId> {
    let mut connected = Vec::new();
    for (app, account, seller) in SELLERS {
        // Names that are written above.
        let (Ok(app), Ok(account)) = (app.parse(), account.parse()) else { continue };
        let id = AccountId { app, account };
        match connect_one(accounts, &id, seller).await {
            Ok(_) => connected.push(id),
            Err(why) => streams::talk(format_args!("{id} was not connected: {why}")),
        }
    }
    connected
}

async fn connect_one(accounts: &Arc<Accounts>, id: &AccountId, seller: &str) -> Result<Connected, String> {
    let said = |error: AccountsError| error.to_string();
    let begun = accounts
        .begin_consent(&BeginConsent { id: id.clone(), replace_identity: false, again: false })
        .await
        .map_err(said)?;
    let callback = allow(&begun.authorize_url, seller).await?;
    accounts.complete_consent(&callback).await.map_err(said)
}

/// What a browser does when the seller allows it; gives the address it is then sent to.
async fn allow(page: &str, seller: &str) -> Result<String, String> {
    let said = |error: reqwest::Error| error.to_string();
    let browser = reqwest::Client::builder()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .tls_backend_preconfigured(tls::client_config(None).map_err(|e| e.to_string())?)
        .timeout(LIMIT)
        .build()
        .map_err(said)?;
    let form = format!("decision=allow&seller={seller}");
    let click =
        browser.post(page).header(header::CONTENT_TYPE, "application/x-www-form-urlencoded").body(form);
    let answer = click.send().await.map_err(said)?;
    let location = answer.headers().get(header::LOCATION).and_then(|location| location.to_str().ok());
    location.map(str::to_owned).ok_or_else(|| format!("the marketplace answered {}", answer.status()))
}
