//! What `/api/accounts` says of an account. The one rule: fingerprints, never tokens.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::{
    clock::Moment,
    config::{Account, App, Credentials},
    grant::{AccountState, LiveAccounts, Published},
};

/// One account as the admin door and `status` show it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct AccountDocument {
    /// `[apps.NAME]`.
    pub app: String,
    /// The account under it.
    pub account: String,
    /// The app's provider.
    pub provider: String,
    /// The app's environment.
    pub environment: String,
    /// How it gets tokens.
    pub grant: String,
    /// `ready`, `refreshing`, `degraded` or `misconfigured`.
    pub state: String,
    /// Its newest token; none before the first request.
    pub token: Option<TokenDocument>,
    /// Why there is no newer one.
    pub trouble: Option<TroubleDocument>,
}

/// A token, without the token.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct TokenDocument {
    /// The first bytes of its SHA-256.
    pub fingerprint: String,
    /// Counts the account's tokens.
    pub generation: u64,
    /// Seconds since it was asked for.
    pub age_seconds: u64,
    /// Seconds until it expires; none: it does not.
    pub expires_in_seconds: Option<u64>,
    /// When it expires, RFC 3339.
    pub expires_at: Option<String>,
    /// Whether the marketplace should still accept it.
    pub valid: bool,
}

/// A failing refresh.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct TroubleDocument {
    /// What happened.
    pub detail: String,
    /// What mends it.
    pub action: String,
    /// Failures in a row.
    pub failures: u32,
    /// When the first of them was, RFC 3339.
    pub since: String,
}

impl AccountDocument {
    /// What is known of an account now; one nobody used yet is ready for its first request.
    pub fn new(app: &App, account: &Account, live: &LiveAccounts, now: Moment) -> Self {
        let published = live.peek(&account.id).map(|live| live.published());
        let state = published.as_ref().map_or(AccountState::Ready, |p| p.state);
        Self {
            app: app.name.to_string(),
            account: account.id.account.to_string(),
            provider: app.profile.provider.clone(),
            environment: app.profile.environment.clone(),
            grant: match account.credentials {
                Credentials::Key(_) => "static".to_owned(),
                Credentials::Client { .. } => app.profile.grant.as_str().to_owned(),
            },
            state: state.to_string(),
            token: published.as_ref().and_then(|p| token_document(p, now)),
            trouble: published.and_then(|p| p.trouble).map(|t| TroubleDocument {
                detail: t.detail.clone(),
                action: t.action.clone(),
                failures: t.failures,
                since: t.since.rfc3339(),
            }),
        }
    }
}

fn token_document(published: &Published, now: Moment) -> Option<TokenDocument> {
    let token = &published.credential.as_ref()?.token;
    Some(TokenDocument {
        fingerprint: token.secret.fingerprint().to_string(),
        generation: token.generation,
        age_seconds: token.age(now).as_secs(),
        expires_in_seconds: token.remaining(now).map(|left| left.as_secs()),
        expires_at: token.lifetime.map(|life| token.asked.plus(life).rfc3339()),
        valid: token.usable_at(now),
    })
}

/// One page of the list.
#[derive(Debug, Serialize, Deserialize)]
pub struct Page {
    /// The accounts, ordered by app and name.
    pub accounts: Vec<AccountDocument>,
    /// The `after` of the next page, when there is one.
    pub next: Option<String>,
}

/// What of the list is asked for.
#[derive(Debug, Default)]
pub struct Query {
    /// Only this app's.
    pub app: Option<String>,
    /// Only those in this state.
    pub state: Option<String>,
    /// Only those after this one.
    pub after: Option<(String, String)>,
    /// At most so many.
    pub limit: usize,
}

/// The page of the list that `query` asks for.
pub fn page<'a>(
    apps: impl Iterator<Item = &'a Arc<App>>,
    live: &LiveAccounts,
    now: Moment,
    query: &Query,
) -> Page {
    let accounts = apps.flat_map(|app| app.accounts.values().map(move |account| (app, account)));
    let wanted = |app: &App, account: &Account| {
        query.app.as_ref().is_none_or(|name| *name == app.name.as_str())
            && query.after.as_ref().is_none_or(|(after_app, after_account)| {
                (app.name.as_str(), account.id.account.as_str()) > (after_app, after_account)
            })
    };
    let documents = accounts
        .filter(|(app, account)| wanted(app, account))
        .map(|(app, account)| AccountDocument::new(app, account, live, now))
        .filter(|document| query.state.as_ref().is_none_or(|state| *state == document.state));
    let mut accounts: Vec<AccountDocument> = documents.take(query.limit + 1).collect();
    let more = accounts.len() > query.limit;
    accounts.truncate(query.limit);
    let next = accounts.last().filter(|_| more).map(|last| format!("{}@{}", last.app, last.account));
    Page { accounts, next }
}
