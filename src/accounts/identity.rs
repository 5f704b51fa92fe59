//! Whose the grant is that a consent brought, held against what is known: the seller this account is pinned to, the tokens
//! of the other accounts, and the sellers they belong to.

use std::time::Duration;

use super::{Accounts, AccountsError, consent::start_again, error::Refusal};
use crate::{
    config::{Account, App, Credentials},
    grant::owner::{self, Owner},
    names::AccountId,
    oauth::{Callback, Granted, id_token::Consent, state},
    provider::Identity,
    secret::Secret,
    store::{PendingConsent, Record},
};

/// How often the marketplace is asked for the seller, and how long between two questions.
const QUESTIONS: u32 = 3;
const BETWEEN: Duration = Duration::from_secs(1);

impl Accounts {
    /// Whose the grant is.
    ///
    /// # Errors
    /// When its `id_token` is not meant for this login.
    pub(super) async fn learn_owner(
        &self,
        app: &App,
        account: &Account,
        pending: &PendingConsent,
        granted: &Granted,
        callback: &Callback,
    ) -> Result<Owner, AccountsError> {
        if let Some(Identity::Parameter { name, .. }) = &app.profile.identity {
            let unnamed = || Owner::Unnamed(format!("the callback does not say `{name}`"));
            return Ok(callback.parameter(name).map_or_else(unnamed, Owner::Named));
        }
        let nonce = sent_nonce(app, pending);
        let consent = Consent { nonce: nonce.as_ref().map(Secret::expose), now: self.clock.now().wall };
        let Credentials::Client { id: client_id, .. } = &account.credentials else {
            return Ok(Owner::Unnamed("the account has no client".to_owned()));
        };
        match owner::told(&app.profile, client_id, granted, Some(consent)) {
            Ok(Some(name)) => Ok(Owner::Named(name)),
            Ok(None) => Ok(self.ask_owner(app, account, &granted.access_token).await),
            Err(error) => {
                let detail = format!("the seller of {} is not known: {error}", pending.account);
                let action = format!(
                    "check `issuer` and `client_id` of [apps.{}]; {}",
                    app.name,
                    start_again(&pending.account)
                );
                Err(AccountsError::new(Refusal::Marketplace, "identity_unknown", detail, action))
            }
        }
    }

    async fn ask_owner(&self, app: &App, account: &Account, token: &Secret) -> Owner {
        let mut owner = owner::ask(&self.client, app, account, token).await;
        for _ in 1..QUESTIONS {
            if !matches!(owner, Owner::Unanswered(_)) {
                break;
            }
            tokio::time::sleep(BETWEEN).await;
            owner = owner::ask(&self.client, app, account, token).await;
        }
        owner
    }

    /// The name to pin the account to, if one is known. `before`: the account as it is now.
    ///
    /// # Errors
    /// When the grant belongs to somebody else than the account, or to the seller of another one.
    pub(super) async fn check_owner(
        &self,
        app: &App,
        pending: &PendingConsent,
        before: Option<&Record>,
        owner: Owner,
    ) -> Result<Option<String>, AccountsError> {
        let id = &pending.account;
        let pinned = before.and_then(|record| record.identity.as_deref());
        let found = match owner {
            Owner::Named(found) => found,
            Owner::Unnamed(why) | Owner::Unanswered(why) => {
                let can_be_asked = owner::can_be_asked(&app.profile);
                return unnamed(pending, pinned, can_be_asked, &why).map(|()| None);
            }
        };
        if !pending.replace_identity {
            check_pin(id, pinned, &found)?;
        }
        let shared = pending.again || before.is_some_and(|record| record.shared_seller);
        // A seller who comes back to the account is no news.
        if !shared && pinned != Some(&found) {
            match self.check_other_account(id, &found).await {
                // A code was spent for this grant: it is not dropped because the store fails for a moment.
                Err(error) if error.refusal == Refusal::Store => {
                    tracing::warn!(account = %id, %error, "it is not known whether the seller is another account too");
                }
                checked => checked?,
            }
        }
        Ok(Some(found))
    }

    /// Two accounts of one seller share a session at many servers: what ends one ends the other.
    ///
    /// # Errors
    /// When another account of the app belongs to that seller.
    pub(super) async fn check_other_account(&self, id: &AccountId, found: &str) -> Result<(), AccountsError> {
        let Some(store) = &self.store else { return Ok(()) };
        let Some(other) = store.pinned(id, found).await? else { return Ok(()) };
        let detail = format!(
            "this seller ({found}) is already {other}: nothing was changed, and nothing is revoked, since that could end the \
             session of {other} too"
        );
        let action = format!(
            "log out at the marketplace in that browser, or use a private window, and log in there as the seller of {id}; \
             add --again (\"again\": true) if two accounts of one seller are meant"
        );
        Err(AccountsError::new(Refusal::Conflict, "already_connected", detail, action))
    }

    /// # Errors
    /// When another account has these tokens.
    pub(super) async fn check_tokens(&self, id: &AccountId, granted: &Granted) -> Result<(), AccountsError> {
        let Some(store) = &self.store else { return Ok(()) };
        let Some(token) = &granted.refresh_token else { return Ok(()) };
        // A store that fails now decides when the grant is stored.
        match store.holder(token).await.ok().flatten().filter(|holder| holder != id) {
            Some(holder) => Err(held(id, &holder)),
            None => Ok(()),
        }
    }
}

/// What the server was given to repeat in its `id_token`, where it was given something.
fn sent_nonce(app: &App, pending: &PendingConsent) -> Option<Secret> {
    let asked = app.profile.authorization.as_ref().is_some_and(|authorization| authorization.openid);
    asked.then(|| state::nonce(&pending.state))
}

/// A grant that names nobody is somebody else's only as far as anybody can know.
fn unnamed(
    pending: &PendingConsent,
    pinned: Option<&str>,
    can_be_asked: bool,
    why: &str,
) -> Result<(), AccountsError> {
    let id = &pending.account;
    tracing::warn!(account = %id, why, "nobody said whose the new grant is");
    // Where somebody could have said it, a login as another seller must not pass for want of an answer.
    let Some(pinned) = pinned.filter(|_| can_be_asked && !pending.replace_identity) else { return Ok(()) };
    let detail = format!("{id} belongs to {pinned}, and whose the new grant is could not be learnt: {why}");
    let action = format!(
        "look at `scopes`, and `userinfo_url` if it is configured; {}; or add --replace-identity if the account is to \
         change hands",
        start_again(id)
    );
    Err(AccountsError::new(Refusal::Marketplace, "identity_unknown", detail, action))
}

fn check_pin(id: &AccountId, pinned: Option<&str>, found: &str) -> Result<(), AccountsError> {
    let Some(pinned) = pinned.filter(|pinned| *pinned != found) else { return Ok(()) };
    let detail = format!("{id} belongs to {pinned}, and the marketplace named {found}: nothing was changed");
    let action = format!(
        "log in at the marketplace as {pinned} and {}; or add --replace-identity if the account is to change hands",
        start_again(id)
    );
    Err(AccountsError::new(Refusal::Conflict, "identity_mismatch", detail, action))
}

/// The tokens are another account's.
pub(super) fn held(id: &AccountId, holder: &AccountId) -> AccountsError {
    tracing::error!(account = %id, of = %holder,
        "identity_mismatch: a grant for {id} came with the tokens of {holder}; none of them is used");
    let detail = format!("the tokens that came for {id} are those of {holder}: nothing was changed");
    let action = format!(
        "each account needs a grant of its own: log in as the seller of {id}; `marketgate accounts remove {holder}` first \
         if that account is to have another name"
    );
    AccountsError::new(Refusal::Conflict, "identity_mismatch", detail, action)
}
