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
};
use crate::{
    clock::rfc3339,
    config::{Account, App, Credentials},
    grant::outstanding::Work,
    names::AccountId,
    oauth::{
        AuthorizationRequest, Callback, CallbackError, Class, GrantRequest, Granted, Outcome, TokenRequest,
        Verifier, identity, state,
    },
    provider::{Authorization, Dressing, GrantKind, Identity},
    secret::Secret,
    store::{Grant, KeptToken, PendingConsent, Record, Standing, Store, Stored},
};

/// How long a seller has for it.
pub const LASTS: Duration = Duration::from_secs(600);

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
            nonce: &id,
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
            begun_at: now,
            ends_at,
        };
        store.put_consent(pending, now).await?;
        self.outcomes.expect(&id, now);
        tracing::info!(account = %wanted.id, consent = id, "consent begun");
        Ok(ConsentBegun {
            id,
            account: wanted.id.to_string(),
            authorize_url: url,
            redirect_uri: redirect_uri.to_owned(),
            ends_at: rfc3339(ends_at),
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
        let code = match &callback.outcome {
            Outcome::Code(code) => code,
            Outcome::Denied { error, description } => return Err(denied(id, error, description.as_deref())),
        };
        // A code is worth nothing if what it brings cannot be kept.
        store.probe().await?;
        let before = store.account(id).await?;
        let account = self.client_account(&app, id, Some(callback))?;
        // From here on the end of the process waits.
        let under_way = self.live.outstanding().begin(id, Work::CodeExchange);
        let asked = self.clock.now();
        let granted = self.exchange(&app, &account, pending, code).await?;
        let identity = self.learn_identity(&app, &account, &granted, callback).await?;
        let arrival = Arrival {
            app: &app,
            account: &account,
            pending,
            granted: &granted,
            asked_at: asked.wall,
            identity: identity.clone(),
            before,
        };
        let record = self.keep_and_tell(store, arrival, under_way, listener).await?;
        let token_expires_at =
            record.token.as_ref().map_or(asked.wall, |token| token.asked_at + token.lifetime);
        let login_required_by = super::document::login_required_by(&app, &record).map(rfc3339);
        let proof = self.prove(&app, &account, &granted.access_token).await;
        let token_expires_at = rfc3339(token_expires_at);
        Ok(Connected { account: id.to_string(), identity, token_expires_at, login_required_by, proof })
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
                    refusal = Some(error);
                    break;
                }
            }
        }
        let Some(error) = refusal else { return Err(no_consent(app)) };
        let action = match error.class {
            Class::InvalidGrant | Class::Ambiguous | Class::ServerTrouble => start_again(&pending.account),
            class => format!("{}; then {}", class.action(), start_again(&pending.account)),
        };
        let detail = format!("the code was not exchanged: {error}");
        Err(AccountsError::new(Refusal::Marketplace, "code_refused", detail, action))
    }

    async fn learn_identity(
        &self,
        app: &App,
        account: &Account,
        granted: &Granted,
        callback: &Callback,
    ) -> Result<Option<String>, AccountsError> {
        match &app.profile.identity {
            None => Ok(None),
            Some(Identity::Subject) => Ok(identity::jwt_subject(&granted.access_token)),
            Some(Identity::Parameter { name, .. }) => Ok(callback.parameter(name)),
            Some(Identity::Answer { path, member }) => {
                let answer = self.get(app, account, &granted.access_token, path).await;
                let body = answer.ok().filter(|fetched| fetched.status.is_success()).and_then(|f| f.body);
                let found = body.and_then(|body| identity::member_of_json(&body, member));
                if found.is_none() {
                    tracing::warn!(account = %account.id, path, "the marketplace did not say who was connected");
                }
                Ok(found)
            }
        }
    }

    async fn get(
        &self,
        app: &App,
        account: &Account,
        token: &Secret,
        path: &str,
    ) -> Result<crate::oauth::Fetched, AccountsError> {
        let unsendable =
            || AccountsError::invalid("the access token fits into no header", "start the login again");
        let mut headers = http::HeaderMap::new();
        Dressing::new(&app.profile, |name| account.setting(name))
            .dress(&mut headers, || uuid::Uuid::new_v4().to_string());
        let value = zeroize::Zeroizing::new(format!("{}{}", app.profile.token_prefix, token.expose()));
        let mut value = http::HeaderValue::from_str(&value).map_err(|_| unsendable())?;
        value.set_sensitive(true);
        headers.insert(app.profile.token_header.clone(), value);
        self.client
            .get(&app.profile.api.below(path), headers, API_LIMIT)
            .await
            .map_err(|none| AccountsError::new(Refusal::Marketplace, "no_answer", none.detail, "try again"))
    }

    /// The new record, made from what is there now and only if it belongs to the same seller.
    pub(super) fn record(&self, arrival: &Arrival<'_>) -> Result<Record, AccountsError> {
        let Arrival { app, account, pending, granted, asked_at, identity, before } = arrival;
        let (identity, known) = (identity.clone(), before.clone());
        let id = &pending.account;
        let Some(refresh_token) = granted.refresh_token.clone() else {
            let detail = "the marketplace gave an access token without a refresh token: the seller could not stay \
                connected";
            let action = "ask for offline access: look at `scopes` and at how the app is registered";
            return Err(AccountsError::new(Refusal::Marketplace, "no_refresh_token", detail, action));
        };
        let generation = known.as_ref().map_or(0, Stored::generation) + 1;
        let before = known.and_then(|stored| match stored {
            Stored::Whole(record) => Some(*record),
            Stored::Corrupt { .. } => None,
        });
        let pinned = before.as_ref().and_then(|record| record.identity.clone());
        if !pending.replace_identity {
            check_identity(id, pinned.as_deref(), identity.as_deref())?;
        }
        let now = self.clock.now().wall;
        let lifetime = granted.refresh_lifetime.or(app.profile.lifetimes.refresh_token);
        let mut settings = before.as_ref().map(|record| record.settings.clone()).unwrap_or_default();
        if let Some(Identity::Parameter { setting: Some(setting), .. }) = &app.profile.identity {
            settings.extend(account.setting(setting).map(|value| (setting.clone(), value.into_owned())));
        }
        Ok(Record {
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
            identity: identity.or(pinned),
            settings,
            consented_at: Some(now),
            created_at: before.map_or(now, |record| record.created_at),
            changed_at: now,
            intent: None,
        })
    }

    /// One harmless call of the API with the new token.
    async fn prove(&self, app: &App, account: &Account, token: &Secret) -> Option<Proof> {
        let path = app.profile.probe.clone()?;
        let status = self.get(app, account, token, &path).await.ok().map(|fetched| fetched.status);
        // A 403 tells of a scope that is missing, not of a token that is none.
        let accepted = status.is_some_and(|status| status.is_success() || status == StatusCode::FORBIDDEN);
        Some(Proof { path, status: status.map(|status| status.as_u16()), accepted })
    }
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

fn start_again(id: &AccountId) -> String {
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

fn denied(id: &AccountId, error: &str, description: Option<&str>) -> AccountsError {
    let words = description.map_or_else(String::new, |description| format!(": {description}"));
    let detail = match error {
        "access_denied" => format!("the seller did not consent ({error}{words})"),
        _ => format!("the marketplace refused the consent ({error}{words})"),
    };
    AccountsError::new(Refusal::Marketplace, "consent_denied", detail, mends_denial(id, error))
}

/// Who can mend it differs by the error's code (RFC 6749 §4.1.2.1).
fn mends_denial(id: &AccountId, error: &str) -> String {
    let app = &id.app;
    let set_right = |keys: &str| {
        format!(
            "set {keys} of [apps.{app}] right, as the marketplace's portal has them; then {}",
            start_again(id)
        )
    };
    match error {
        "invalid_scope" => set_right("`scopes`"),
        "invalid_request" => set_right("`redirect_uri`, `scopes` and `pkce`"),
        "unauthorized_client" | "unsupported_response_type" => {
            format!(
                "have the marketplace allow this client to ask sellers for consent; then {}",
                start_again(id)
            )
        }
        "server_error" | "temporarily_unavailable" => {
            format!("the marketplace has trouble of its own: try later; {}", start_again(id))
        }
        _ => start_again(id),
    }
}

fn check_identity(id: &AccountId, pinned: Option<&str>, found: Option<&str>) -> Result<(), AccountsError> {
    let Some(pinned) = pinned else { return Ok(()) };
    let named = match found {
        Some(found) if found == pinned => return Ok(()),
        Some(found) => found.to_owned(),
        None => "nobody".to_owned(),
    };
    let detail = format!("{id} belongs to {pinned}, and the marketplace named {named}: nothing was changed");
    let action = format!(
        "log in at the marketplace as {pinned} and {}; or add --replace-identity if the account is to change hands",
        start_again(id)
    );
    Err(AccountsError::new(Refusal::Conflict, "identity_mismatch", detail, action))
}
