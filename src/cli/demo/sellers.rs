//! Sellers of the demo, connected as real ones are. The one rule: only the click on "Allow" is done here; everything else is
//! what `marketgate login` has done.

use std::{sync::Arc, time::Duration};

use http::{HeaderValue, Method, Request, Uri, header};
use http_body_util::Full;

use crate::{
    accounts::{
        Accounts, AccountsError,
        consent::{BeginConsent, Connected},
    },
    cli::streams,
    names::AccountId,
    net::{Destination, Dialer, call},
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
        .begin_consent(&BeginConsent {
            id: id.clone(),
            replace_identity: false,
            again: false,
            by_command: true,
        })
        .await
        .map_err(said)?;
    let callback = allow(&begun.authorize_url, seller).await?;
    accounts.complete_consent(&callback).await.map_err(said)
}

/// What a browser does when the seller allows it; gives the address it is then sent to.
async fn allow(page: &str, seller: &str) -> Result<String, String> {
    let uri: Uri = page.parse().map_err(|_| format!("`{page}` is no URL"))?;
    let to = Destination::of_uri(&uri).ok_or_else(|| format!("`{page}` is no URL of a page"))?;
    let mut click = Request::new(Full::new(format!("decision=allow&seller={seller}").into()));
    *click.method_mut() = Method::POST;
    *click.uri_mut() = uri.path_and_query().cloned().map(Uri::from).unwrap_or_default();
    click.headers_mut().insert(header::HOST, to.host_field.clone());
    click
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
    let answered = tokio::time::timeout(LIMIT, async {
        let dialer = Dialer::new(tls::client_config(None).map_err(|e| e.to_string())?, None);
        let stream = dialer.connect(&to, LIMIT).await.map_err(|error| error.to_string())?;
        call::over_http_1(stream, click)
            .await
            .and_then(|call| call.response)
            .map_err(|error| error.to_string())
    });
    let answer = answered.await.map_err(|_| "the marketplace did not answer".to_owned())??;
    let location = answer.headers().get(header::LOCATION).and_then(|location| location.to_str().ok());
    location.map(str::to_owned).ok_or_else(|| format!("the marketplace answered {}", answer.status()))
}
