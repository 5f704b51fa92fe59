//! The accounts API as commands call it: one function for each call. The one rule: names need no escaping, everything else
//! is escaped here.

use std::time::Duration;

use http::Method;
use serde::Deserialize;

use super::{
    Exit, Failure,
    admin_client::{AdminClient, AskError, Body},
};
use crate::{
    accounts::{AccountDocument, list::Page},
    names::{AccountId, AccountName, AccountRef},
};

/// How long an answer may take that needs no marketplace.
pub const LIMIT: Duration = Duration::from_secs(30);
/// How long one may take that waits for a marketplace.
pub const MARKETPLACE: Duration = Duration::from_secs(120);

/// The path of one account.
pub fn path(id: &AccountId) -> String {
    format!("/api/accounts/{}/{}", id.app, id.account)
}

/// One account in full: `APP@ACCOUNT`, for what should not be done to one that was only guessed.
///
/// # Errors
/// What to write instead.
pub fn full_name(text: &str) -> Result<AccountId, String> {
    let name: AccountRef = text.parse().map_err(|e: crate::names::NameError| e.to_string())?;
    match name.account {
        Some(account) => Ok(AccountId { app: name.app, account }),
        None => Err(format!("write APP@ACCOUNT; what `login {0}` connects is {0}@default", name.app)),
    }
}

/// Accounts to list.
#[derive(Debug, Default)]
pub struct Wanted<'a> {
    /// Only this app's.
    pub app: Option<&'a str>,
    /// Only those in this state, or with this reason.
    pub state: Option<&'a str>,
}

/// All of them, page by page.
///
/// # Errors
/// As [`AdminClient::document`].
pub async fn accounts(client: &AdminClient, wanted: &Wanted<'_>) -> Result<Vec<AccountDocument>, AskError> {
    let mut accounts = Vec::new();
    let mut after = None;
    loop {
        let page = page(client, wanted, after.as_deref(), 1000).await?;
        accounts.extend(page.accounts);
        match page.next {
            Some(next) => after = Some(next),
            None => return Ok(accounts),
        }
    }
}

async fn page(
    client: &AdminClient,
    wanted: &Wanted<'_>,
    after: Option<&str>,
    limit: usize,
) -> Result<Page, AskError> {
    let mut query = url::form_urlencoded::Serializer::new(String::new());
    query.append_pair("limit", &limit.to_string());
    for (name, value) in [("app", wanted.app), ("state", wanted.state), ("after", after)] {
        if let Some(value) = value {
            query.append_pair(name, value);
        }
    }
    client.document(&format!("/api/accounts?{}", query.finish()), LIMIT).await
}

/// The account that a name means: what it names, else `default`, else the only one.
///
/// # Errors
/// When there is none, or none in particular is meant.
pub async fn meant(client: &AdminClient, name: &AccountRef) -> Result<AccountId, Failure> {
    let id = |account: AccountName| AccountId { app: name.app.clone(), account };
    if let Some(account) = &name.account {
        return Ok(id(account.clone()));
    }
    let default = id(AccountName::implicit());
    match client.document::<AccountDocument>(&path(&default), LIMIT).await {
        Ok(_) => return Ok(default),
        Err(AskError::Refused(refusal)) if refusal.code == "no_such_account" => {}
        Err(error) => return Err(error.into()),
    }
    let wanted = Wanted { app: Some(name.app.as_str()), state: None };
    let found = page(client, &wanted, None, 2).await?.accounts;
    let app = &name.app;
    match found.as_slice() {
        [only] => only.account.parse().map(id).map_err(|e| Failure::new(Exit::Failure, e)),
        [] => Err(Failure::new(Exit::Usage, format!("app `{app}` has no account yet")).mend(format!(
            "connect or import one: `marketgate login {app}`, `marketgate import {app}@ACCOUNT`"
        ))),
        _ => Err(Failure::new(Exit::Usage, format!("app `{app}` has several accounts"))
            .mend(format!("write {app}@ACCOUNT; `marketgate accounts {app}` lists them"))),
    }
}

/// What scripts are told of an account without a token, by its state.
pub fn exit_of(state: &str) -> Exit {
    match state {
        "misconfigured" => Exit::Failure,
        "login_required" | "refused" | "identity_mismatch" | "parked" => Exit::LoginRequired,
        "store_corrupt" => Exit::Store,
        _ => Exit::Unreachable,
    }
}

/// Copying or sealing anew a store of many accounts takes a while.
const WHOLE_STORE: Duration = Duration::from_secs(600);

/// One account.
///
/// # Errors
/// As [`AdminClient::document`].
pub async fn show(client: &AdminClient, id: &AccountId) -> Result<AccountDocument, AskError> {
    client.document(&path(id), LIMIT).await
}

/// Something done to an account, with what is told of it.
///
/// # Errors
/// As [`AdminClient::ask`].
pub async fn act<T: serde::de::DeserializeOwned>(
    client: &AdminClient,
    id: &AccountId,
    verb: &str,
) -> Result<T, AskError> {
    client.ask(Method::POST, &format!("{}/{verb}", path(id)), Body::Empty, MARKETPLACE).await
}

/// Something done to the store as a whole.
///
/// # Errors
/// As [`AdminClient::ask`].
pub async fn post<T: serde::de::DeserializeOwned>(
    client: &AdminClient,
    path: &str,
    document: Option<serde_json::Value>,
) -> Result<T, AskError> {
    let body = document.map_or(Body::Empty, Body::Json);
    client.ask(Method::POST, path, body, WHOLE_STORE).await
}

/// Forgets an account; `anyway`: with what is still to be revoked.
///
/// # Errors
/// As [`AdminClient::send`].
pub async fn remove(client: &AdminClient, id: &AccountId, anyway: bool) -> Result<(), AskError> {
    let anyway = if anyway { "?anyway=true" } else { "" };
    client.send(Method::DELETE, &format!("{}{anyway}", path(id)), Body::Empty, MARKETPLACE).await.map(drop)
}

/// A token, as the API hands it out.
#[derive(Deserialize)]
pub struct Token {
    /// The token.
    pub access_token: String,
    /// Seconds it is still valid; none: it does not expire.
    pub expires_in: Option<u64>,
    /// The header it goes into.
    pub header: String,
}
