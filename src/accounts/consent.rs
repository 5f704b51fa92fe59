//! Connects a seller: a consent is begun, the seller's browser goes to the marketplace and comes back, the code is
//! exchanged. The one rule: each callback is taken once, held against the consent it answers, and changes nothing unless
//! everything about it is right.

use std::{sync::Arc, time::Duration};

use http::StatusCode;
use tokio::sync::oneshot;

pub use super::outcome::{BeginConsent, Completed, Connected, ConsentBegun, ConsentState, Proof};
use super::{
    Accounts, AccountsError,
    arrival::{Arrival, Listener},
    error::Refusal,
    refusal, revoke,
};
use crate::{
    clock::rfc3339,
    config::{Account, App, Credentials},
    grant::{narrower_scope, outstanding::Work, owner},
    names::AccountId,
    oauth::{
        AuthorizationRequest, Callback, CallbackError, Class, GrantRequest, Granted, Outcome,
        RefreshLifetime, TokenRequest, Verifier, state,
    },
    provider::{Authorization, GrantKind, Identity},
    secret::Secret,
    store::{Grant, KeptToken, Notes, PendingConsent, Record, Standing, Store, Stored},
};

/// How long a seller has for it.
pub const LASTS: Duration = Duration::from_secs(600);

/// How many consents may be under way at once.
pub const MOST: usize = 1000;

/// How many more `marketgate login` may begin beside them: whoever floods the API must not keep the operator out.
const MOST_BY_COMMAND: usize = MOST + 100;

/// How long a call of the API may take that proves the token or names the seller.
const API_LIMIT: Duration = Duration::from_secs(20);

impl Accounts {
    /// Begins a consent: a fresh `state`, a fresh PKCE verifier, both kept in the store until the callback.
    ///
    /// # Errors
    /// When the app has no consent, no `redirect_uri`, or the store fails.
    pub async fn begin_consent(&self, wanted: &BeginConsent) -> Result<ConsentBegun, AccountsError> {
        let store = self.store_of(&wanted.id)?.clone();
        let app = self.app(&wanted.id.app)?.clone();
        let (authorization, redirect_uri) = consent_terms(&app)?;
        let now = self.clock.now().wall;
        let drawn = |error: getrandom::Error| {
            let action = "this is a fault of the operating system";
            AccountsError::new(Refusal::Store, "no_randomness", error.to_string(), action)
        };
        let state = state::draw().map_err(drawn)?;
        let verifier = if authorization.pkce { Some(Verifier::draw().map_err(drawn)?) } else { None };
        let challenge = verifier.as_ref().map(Verifier::challenge);
        let account = self.client_account(&app, &wanted.id, None)?;
        let Credentials::Client { id: client_id, .. } = &account.credentials else {
            return Err(no_consent(&app));
        };
        let id = uuid::Uuid::new_v4().to_string();
        let url = AuthorizationRequest {
            authorization,
            client_id,
            redirect_uri,
            state: &state,
            challenge: challenge.as_deref(),
            nonce: state::nonce(&state).expose(),
            settings: &|name| account.setting(name),
        }
        .url()
        .map_err(|error| AccountsError::invalid(error.to_string(), "correct the app's settings"))?;
        let ends_at = now + LASTS;
        let pending = PendingConsent {
            id: id.clone(),
            state,
            verifier: verifier.map(|verifier| verifier.secret().clone()),
            account: wanted.id.clone(),
            redirect_uri: redirect_uri.to_owned(),
            replace_identity: wanted.replace_identity,
            again: wanted.again,
            begun_at: now,
            ends_at,
        };
        let most = if wanted.by_command { MOST_BY_COMMAND } else { MOST };
        self.outcomes.expect(&id, now, most).map_err(|rest| too_many(most, rest))?;
        if let Err(error) = store.put_consent(pending, now).await {
            self.outcomes.forget(&id);
            return Err(error.into());
        }
        tracing::info!(account = %wanted.id, consent = id, "consent begun");
        Ok(ConsentBegun {
            id,
            account: wanted.id.to_string(),
            authorize_url: url,
            redirect_uri: redirect_uri.to_owned(),
            ends_at: rfc3339(ends_at),
            answered_here: false,
        })
    }

    /// How a consent stands, waited for at most so long.
    pub async fn consent_state(&self, id: &str, wait: Duration) -> Option<ConsentState> {
        let mut state = self.outcomes.watch(id)?;
        let settled = state.wait_for(|state| *state != ConsentState::Pending);
        match tokio::time::timeout(wait, settled).await {
            Ok(Ok(settled)) => Some(settled.clone()),
            _ => Some(ConsentState::Pending),
        }
    }

    /// Completes the consent that a callback answers: a whole URL, or its query. Goes on to its end whoever asked for it
    /// and went away: the code is spent only once.
    ///
    /// # Errors
    /// When the callback answers no consent of ours, the seller did not consent, or the marketplace refuses.
    pub async fn complete_consent(self: &Arc<Self>, callback: &str) -> Result<Connected, AccountsError> {
        self.complete_callback(callback).await.outcome
    }

    /// As [`Accounts::complete_consent`] for a server that sends the browser on to a page about the consent.
    pub async fn complete_callback(self: &Arc<Self>, callback: &str) -> Completed {
        let callback = match Callback::read(callback) {
            Ok(callback) => callback,
            Err(error) => return Completed::nothing(unusable(&error)),
        };
        let (accounts, (tell, told)) = (self.clone(), oneshot::channel());
        self.live.spawn(async move {
            let mut listener = Listener(Some(tell));
            let completed = accounts.complete(callback, &mut listener).await;
            listener.answer(completed.unwrap_or_else(Completed::nothing));
        });
        told.await.unwrap_or_else(|_| {
            let (detail, action) =
                ("the login failed half-way", "look at the log, and start the login again");
            Completed::nothing(AccountsError::new(Refusal::Store, "internal", detail, action))
        })
    }

    /// `listener`: whoever waits for it, and is told before its end if that does not come soon.
    async fn complete(
        &self,
        callback: Callback,
        listener: &mut Listener,
    ) -> Result<Completed, AccountsError> {
        let store = self.store.as_ref().ok_or_else(AccountsError::no_store)?;
        let Some(pending) = store.take_consent(&callback.state).await? else {
            let detail = "this login is not known here: it was completed already, has ended, or belongs to another \
                Marketgate";
            let action = "start the login again";
            return Err(AccountsError::new(Refusal::Unknown, "unknown_state", detail, action));
        };
        let outcome = self.connect(store.as_ref(), &pending, &callback, listener).await;
        if outcome.as_ref().is_err_and(|error| error.code == "draining") {
            // Whoever comes after us may complete it.
            store.put_consent(pending.clone(), self.clock.now().wall).await?;
        }
        match &outcome {
            Ok(connected) => {
                tracing::info!(account = %pending.account, identity = connected.identity, "seller connected");
            }
            Err(error) => {
                tracing::warn!(account = %pending.account, code = error.code, "consent failed: {error}");
            }
        }
        self.outcomes.tell(&pending.id, &outcome, self.clock.now().wall);
        Ok(Completed { consent: Some(pending.id), outcome })
    }

    async fn connect(
        &self,
        store: &dyn Store,
        pending: &PendingConsent,
        callback: &Callback,
        listener: &mut Listener,
    ) -> Result<Connected, AccountsError> {
        let id = &pending.account;
        let app = self.app(&id.app)?.clone();
        let (authorization, _) = consent_terms(&app)?;
        if pending.ends_at <= self.clock.now().wall {
            let detail = format!("the login of {id} took longer than {} minutes", LASTS.as_secs() / 60);
            return Err(AccountsError::new(Refusal::Conflict, "consent_expired", detail, start_again(id)));
        }
        callback.check_address(&pending.redirect_uri).map_err(|error| unusable(&error))?;
        callback.check_issuer(authorization).map_err(|error| unusable(&error))?;
        self.check_foreign_issuer(authorization, callback).map_err(|error| unusable(&error))?;
        let code = match &callback.outcome {
            Outcome::Code(code) => code,
            Outcome::Denied { error, description } => {
                return Err(refusal::denied(id, error, description.as_deref()));
            }
        };
        // A code is worth nothing if what it brings cannot be kept.
        store.probe().await?;
        let before = store.account(id).await?;
        let account = self.client_account(&app, id, Some(callback))?;
        // From here on the end of the process waits.
        let under_way = self.live.outstanding().begin(id, Work::CodeExchange);
        let asked = self.clock.now();
        let granted = self.exchange(&app, &account, pending, code).await?;
        self.check_tokens(id, &granted).await?;
        let owner = self.learn_owner(&app, &account, pending, &granted, callback).await?;
        let arrival = Arrival {
            app: &app,
            account: &account,
            pending,
            granted: &granted,
            asked_at: asked.wall,
            owner,
            before,
        };
        let (record, identity) = self.keep_and_tell(store, arrival, under_way, listener).await?;
        let token_expires_at =
            record.token.as_ref().map_or(asked.wall, |token| token.asked_at + token.lifetime);
        let login_required_by =
            super::document::login_required_by(&app, &record, self.clock.now().wall).map(rfc3339);
        self.live.uncross(id);
        let proof = self.prove(&app, &account, &granted.access_token).await;
        let token_expires_at = rfc3339(token_expires_at);
        Ok(Connected { account: id.to_string(), identity, token_expires_at, login_required_by, proof })
    }

    /// A server whose issuer is not known must not be given a code that names another server's (RFC 9207 §2.4).
    fn check_foreign_issuer(
        &self,
        authorization: &Authorization,
        callback: &Callback,
    ) -> Result<(), CallbackError> {
        let elsewhere = |other: &&Authorization| other.url.origin() != authorization.url.origin();
        let others = self.apps.values().filter_map(|app| app.profile.authorization.as_ref());
        let issuers = others.filter(elsewhere).filter_map(|other| other.issuer.as_ref());
        match &callback.iss {
            Some(iss) if authorization.issuer.is_none() && issuers.clone().any(|other| other == iss) => {
                Err(CallbackError::WrongIssuer { expected: authorization.url.origin() })
            }
            _ => Ok(()),
        }
    }

    /// The app's client in the name of this account, with what the callback says of the seller.
    fn client_account(
        &self,
        app: &App,
        id: &AccountId,
        callback: Option<&Callback>,
    ) -> Result<Account, AccountsError> {
        let client = app.client.as_ref().ok_or_else(|| no_consent(app))?;
        let mut settings = std::collections::BTreeMap::new();
        if let (Some(Identity::Parameter { name, setting: Some(setting) }), Some(callback)) =
            (&app.profile.identity, callback)
        {
            let value = callback.parameter(name).ok_or_else(|| {
                let detail = format!("the callback does not say `{name}`");
                AccountsError::new(Refusal::Marketplace, "identity_unknown", detail, start_again(id))
            })?;
            settings.insert(setting.clone(), value);
        }
        app.account_with(id.account.clone(), client.credentials(), settings)
            .map_err(|why| AccountsError::invalid(why, "correct the app's settings"))
    }

    async fn exchange(
        &self,
        app: &App,
        account: &Account,
        pending: &PendingConsent,
        code: &Secret,
    ) -> Result<Granted, AccountsError> {
        let (Some(endpoint), Credentials::Client { id: client_id, secrets }) =
            (&app.profile.token_endpoint, &account.credentials)
        else {
            return Err(no_consent(app));
        };
        let (redirect_uri, verifier) = (pending.redirect_uri.as_str(), pending.verifier.as_ref());
        let grant = GrantRequest::AuthorizationCode { code, redirect_uri, verifier };
        let limit = grant.usual_limit();
        let mut refusal = None;
        for secret in secrets {
            let client_secret = secret.read().map_err(|error| {
                AccountsError::invalid(error.to_string(), "put the client secret there, as one line")
            })?;
            let permit = self.live.permit_code_exchange(&app.profile);
            let Some(_permit) = self.live.closing().run_until_cancelled(permit).await else {
                return Err(AccountsError::draining(&pending.account));
            };
            let settings = |name: &str| account.setting(name);
            let request = TokenRequest {
                endpoint,
                client_id,
                client_secret: &client_secret,
                grant,
                settings: &settings,
                limit,
            };
            match self.client.call(&request).await {
                Ok(granted) => return Ok(granted),
                Err(error) if error.class == Class::InvalidClient => refusal = Some(error),
                Err(error) => {
                    // An answer without a usable access token may have brought the grant itself.
                    if let Some(token) = &error.successor {
                        let grant = GrantRequest::RefreshToken(token);
                        if let Ok(granted) = self.client.call(&TokenRequest { grant, ..request }).await {
                            let refresh_token = granted.refresh_token.or_else(|| Some(token.clone()));
                            return Ok(Granted { refresh_token, ..granted });
                        }
                    }
                    refusal = Some(error);
                    break;
                }
            }
        }
        let Some(error) = refusal else { return Err(no_consent(app)) };
        let action = match error.class {
            Class::InvalidGrant | Class::Ambiguous | Class::ServerTrouble => start_again(&pending.account),
            _ => format!("{}; then {}", error.action(), start_again(&pending.account)),
        };
        let detail = format!("the code was not exchanged: {error}");
        Err(AccountsError::new(Refusal::Marketplace, "code_refused", detail, action))
    }

    /// The new record, made from what is there now and only if it belongs to the same seller.
    pub(super) async fn record(
        &self,
        arrival: &Arrival<'_>,
    ) -> Result<(Record, Option<String>), AccountsError> {
        let Arrival { app, account, pending, granted, asked_at, owner, before } = arrival;
        let (owner, known) = (owner.clone(), before.clone());
        let id = &pending.account;
        let Some(refresh_token) = granted.refresh_token.clone() else {
            return Err(refusal::no_refresh_token(app));
        };
        let generation = known.as_ref().map_or(0, Stored::generation) + 1;
        let before = known.and_then(|stored| match stored {
            Stored::Whole(record) => Some(*record),
            Stored::Corrupt { .. } => None,
        });
        let found = self.check_owner(app, pending, before.as_ref(), owner).await?;
        let pinned = before.as_ref().and_then(|record| record.identity.clone());
        let now = self.clock.now().wall;
        let lifetime =
            granted.refresh_lifetime.and_then(RefreshLifetime::known).or(app.profile.lifetimes.refresh_token);
        let mut settings = before.as_ref().map(|record| record.settings.clone()).unwrap_or_default();
        if let Some(Identity::Parameter { setting: Some(setting), .. }) = &app.profile.identity {
            settings.extend(account.setting(setting).map(|value| (setting.clone(), value.into_owned())));
        }
        let record = Record {
            id: id.clone(),
            provider: app.profile.provider.clone(),
            environment: app.profile.environment.clone(),
            generation,
            grant: Some(Grant::Refresh {
                token: refresh_token,
                obtained_at: now,
                ends_at: lifetime.map(|life| now + life),
            }),
            standing: Standing::Active,
            token: Some(KeptToken {
                secret: granted.access_token.clone(),
                asked_at: *asked_at,
                lifetime: granted.lifetime.unwrap_or(crate::grant::timing::ASSUMED_LIFETIME),
            }),
            // Whoever may take the account over is not held against its former owner.
            identity: found.clone().or(pinned.filter(|_| !pending.replace_identity)),
            shared_seller: pending.again || before.as_ref().is_some_and(|record| record.shared_seller),
            unrevoked: before
                .as_ref()
                .map(|record| revoke::still_unrevoked(record, found.as_deref()))
                .unwrap_or_default(),
            settings,
            consented_at: Some(now),
            created_at: before.map_or(now, |record| record.created_at),
            changed_at: now,
            notes: Notes {
                narrower_scope: narrower_scope(&app.profile, granted.scope.as_deref()),
                access_subject: owner::access_subject(granted),
                ..Notes::default()
            },
            intent: None,
        };
        Ok((record, found))
    }

    /// One harmless call of the API with this token; None where no such call is known.
    pub async fn prove(&self, app: &App, account: &Account, token: &Secret) -> Option<Proof> {
        let path = app.profile.probe.clone()?;
        let headers = probe_headers(app, account, token)?;
        let asked = self.client.get(&app.profile.api.below(&path), headers, API_LIMIT).await;
        let status = asked.ok().map(|fetched| fetched.status);
        // A 403 tells of a scope that is missing, not of a token that is none.
        let accepted = status.is_some_and(|status| status.is_success() || status == StatusCode::FORBIDDEN);
        Some(Proof { path, status: status.map(|status| status.as_u16()), accepted })
    }
}

/// What the first call carries: an API request's headers, and what the marketplace wants there besides.
fn probe_headers(app: &App, account: &Account, token: &Secret) -> Option<http::HeaderMap> {
    let mut headers = owner::api_headers(app, account, token)?;
    for (name, template) in &app.profile.probe_headers {
        let value = template.render(|name| account.setting(name));
        let value = value.and_then(|value| http::HeaderValue::from_str(&value).ok());
        headers.extend(value.map(|value| (name.clone(), value)));
    }
    if app.profile.probe_as_client {
        headers.extend(client_authorization(app, account).map(|value| (http::header::AUTHORIZATION, value)));
    }
    Some(headers)
}

/// How the client shows itself at the token endpoint, as a header.
fn client_authorization(app: &App, account: &Account) -> Option<http::HeaderValue> {
    let endpoint = app.profile.token_endpoint.as_ref()?;
    let Credentials::Client { id: client_id, secrets } = &account.credentials else { return None };
    let client_secret = &secrets.iter().find_map(|secret| secret.read().ok())?;
    let grant = GrantRequest::ClientCredentials;
    let settings = |name: &str| account.setting(name);
    let request =
        TokenRequest { endpoint, client_id, client_secret, grant, settings: &settings, limit: API_LIMIT };
    request.headers().ok()?.remove(http::header::AUTHORIZATION)
}

fn consent_terms(app: &App) -> Result<(&Authorization, &str), AccountsError> {
    let authorization = app.profile.authorization.as_ref().ok_or_else(|| no_consent(app))?;
    let redirect_uri = app.redirect_uri.as_deref().ok_or_else(|| {
        let detail = format!("app `{}` has no `redirect_uri`", app.name);
        let action =
            format!("write redirect_uri in [apps.{}], as it is registered at the marketplace", app.name);
        AccountsError::new(Refusal::Conflict, "no_redirect_uri", detail, action)
    })?;
    Ok((authorization, redirect_uri))
}

fn no_consent(app: &App) -> AccountsError {
    let detail = format!("app `{}` needs no seller's consent", app.name);
    let action = match app.profile.grant {
        GrantKind::Static => "its keys come from the marketplace's portal: `marketgate import`",
        _ => {
            "its credentials come from the marketplace's portal: write them in the configuration or import them"
        }
    };
    AccountsError::new(Refusal::Conflict, "no_consent", detail, action)
}

fn too_many(most: usize, rest: Duration) -> AccountsError {
    let detail = format!(
        "{most} logins are under way, and the first of them ends in {} s at the latest",
        rest.as_secs() + 1
    );
    let action = "ask again later; if nobody began so many, give the admin door keys ([admin.keys.NAME])";
    AccountsError::new(Refusal::Busy, "overloaded", detail, action)
}

pub(super) fn start_again(id: &AccountId) -> String {
    format!("start again: `marketgate login {id}`")
}

fn unusable(error: &CallbackError) -> AccountsError {
    AccountsError::new(
        Refusal::Invalid,
        "bad_callback",
        error.to_string(),
        "start the login again if this stays so",
    )
}
