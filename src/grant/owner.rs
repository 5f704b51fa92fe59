//! Whose a grant is: told by the token answer itself, or asked of the server or the marketplace. An account is pinned to the
//! first name it learns. A token that belongs to somebody else, or whose owner is not known yet but can be asked for, goes
//! out with no request.

use std::{
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use http::{HeaderMap, HeaderValue, header::AUTHORIZATION};

use super::{
    account::LiveAccount,
    keeper::Keeper,
    publish::publish_credential,
    setback::{Cause, Setback},
    state::{AccountState, Credential},
};
use crate::{
    clock::Moment,
    config::{Account, App, Credentials},
    names::AccountId,
    oauth::{
        Fetched, Granted, TokenCalls,
        id_token::{self, Consent, Expected, IdTokenError},
        identity,
    },
    provider::{Dressing, HttpUrl, Identity, Profile},
    secret::Secret,
    store::{Record, Replaced, Standing},
};

/// How long one question may take.
const LIMIT: Duration = Duration::from_secs(10);

/// An owner who is asked for is compared after a refresh, but no more often than this, since each question is a call of the
/// API. After a refresh that a refused token or a person caused it is always asked.
const ASKED_EVERY: Duration = Duration::from_secs(900);

/// What was learnt of a grant's owner.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Owner {
    /// The owner's name.
    Named(String),
    /// An answer that names nobody, for that reason.
    Unnamed(String),
    /// No answer, for that reason: another try may bring one.
    Unanswered(String),
}

/// What a keeper knows of the owner.
#[derive(Debug, Default)]
pub(super) struct Naming {
    /// When the owner was last named or asked for with an answer.
    asked: Option<Moment>,
    /// A token that is not used before its owner is known.
    waiting: Option<Arc<Credential>>,
}

/// Whom a token answer names by itself: the `id_token`, else an access token that is a JWT. `consent` is given where the
/// answer is to a seller's consent.
///
/// # Errors
/// When there is an `id_token` that is not meant for us.
pub fn told(
    profile: &Profile,
    client_id: &str,
    granted: &Granted,
    consent: Option<Consent<'_>>,
) -> Result<Option<String>, IdTokenError> {
    if !matches!(profile.identity, Some(Identity::Subject)) {
        return Ok(None);
    }
    let issuer = profile.authorization.as_ref().and_then(|authorization| authorization.issuer.as_deref());
    let named = match &granted.id_token {
        Some(id_token) => id_token::subject(id_token, &Expected { issuer, client_id, consent })?,
        None => None,
    };
    Ok(named.or_else(|| identity::jwt_subject(&granted.access_token)))
}

/// Whom the access token names, where the ID token beside it names the same person otherwise, as for pairwise subjects
/// (OpenID Connect Core §8.1): an answer without an ID token is compared with that.
pub fn access_subject(granted: &Granted) -> Option<String> {
    let id_token = identity::jwt_subject(granted.id_token.as_ref()?)?;
    identity::jwt_subject(&granted.access_token).filter(|subject| *subject != id_token)
}

/// Whether there is somebody who can be asked for the owner.
pub fn can_be_asked(profile: &Profile) -> bool {
    match profile.identity {
        Some(Identity::Answer { .. }) => true,
        Some(Identity::Subject) => profile.userinfo_url.is_some(),
        Some(Identity::Parameter { .. }) | None => false,
    }
}

/// Asks for the owner: the marketplace's own API, or the userinfo endpoint (OpenID Connect Core §5.3).
pub async fn ask(client: &dyn TokenCalls, app: &App, account: &Account, token: &Secret) -> Owner {
    match &app.profile.identity {
        Some(Identity::Answer { path, member }) => {
            let Some(headers) = api_headers(app, account, token) else { return unsendable() };
            let url = app.profile.api.below(path);
            judge(path, get(client, &url, headers).await, |body| identity::member_of_json(body, member))
        }
        Some(Identity::Subject) => {
            let Some(url) = &app.profile.userinfo_url else {
                return Owner::Unnamed(
                    "no token says whose it is, and no userinfo_url is configured".to_owned(),
                );
            };
            let Some(bearer) = credential_value("Bearer ", token) else { return unsendable() };
            let headers = HeaderMap::from_iter([(AUTHORIZATION, bearer)]);
            judge("userinfo_url", get(client, url, headers).await, identity::userinfo_subject)
        }
        _ => Owner::Unnamed("this marketplace does not say whose a token is".to_owned()),
    }
}

async fn get(client: &dyn TokenCalls, url: &HttpUrl, headers: HeaderMap) -> Result<Fetched, String> {
    client.get(url, headers, LIMIT).await.map_err(|none| none.detail)
}

/// What every request of the API carries, with this token.
pub fn api_headers(app: &App, account: &Account, token: &Secret) -> Option<HeaderMap> {
    let mut headers = HeaderMap::new();
    Dressing::new(&app.profile, |name| account.setting(name))
        .dress(&mut headers, || uuid::Uuid::new_v4().to_string());
    headers.insert(app.profile.token_header.clone(), credential_value(&app.profile.token_prefix, token)?);
    Some(headers)
}

fn credential_value(prefix: &str, token: &Secret) -> Option<HeaderValue> {
    let text = zeroize::Zeroizing::new(format!("{prefix}{}", token.expose()));
    let mut value = HeaderValue::from_str(&text).ok()?;
    value.set_sensitive(true);
    Some(value)
}

fn unsendable() -> Owner {
    Owner::Unnamed("the access token fits into no header".to_owned())
}

/// A server in trouble may answer another time; one that refuses will refuse again.
fn judge(place: &str, fetched: Result<Fetched, String>, name: impl Fn(&[u8]) -> Option<String>) -> Owner {
    let fetched = match fetched {
        Ok(fetched) => fetched,
        Err(detail) => return Owner::Unanswered(format!("{place}: {detail}")),
    };
    let status = fetched.status;
    if status.is_server_error() || matches!(status.as_u16(), 408 | 425 | 429) {
        return Owner::Unanswered(format!("{place} answered {status}"));
    }
    if !status.is_success() {
        return Owner::Unnamed(format!("{place} answered {status}"));
    }
    let Some(body) = fetched.body else { return Owner::Unanswered(format!("{place} broke its answer off")) };
    match name(&body) {
        Some(name) => Owner::Named(name),
        None => Owner::Unnamed(format!("{place} named nobody that could be compared")),
    }
}

impl Keeper {
    /// The record that came out of a refresh, pinned to whom the answer names, or stopped if that is somebody else.
    pub(super) async fn name_owner(
        &mut self,
        account: &LiveAccount,
        next: Record,
        granted: &Granted,
        now: Moment,
    ) -> Record {
        let Credentials::Client { id: client_id, .. } = &account.account().credentials else { return next };
        match told(&account.app().profile, client_id, granted, None) {
            Ok(Some(found)) => {
                self.naming.asked = Some(now);
                if granted.id_token.is_none()
                    && next.identity.is_some()
                    && let Some(known) = &next.notes.access_subject
                {
                    return if *known == found { next } else { stopped(next, found) };
                }
                let mut next = self.pinned(next, found).await;
                next.notes.access_subject = access_subject(granted).or(next.notes.access_subject);
                next
            }
            Ok(None) => {
                self.warn_of_unnamed(account, &next);
                next
            }
            Err(error) => stopped(next, format!("somebody else ({error})")),
        }
    }

    /// An import says nothing of the owner, and neither does the first token: said once.
    fn warn_of_unnamed(&self, account: &LiveAccount, next: &Record) {
        let before = self.custody.as_ref().and_then(|custody| custody.record.as_ref());
        let is_first = before.is_some_and(|record| record.token.is_none());
        if is_first && next.identity.is_none() && !can_be_asked(&account.app().profile) {
            tracing::warn!(account = %account.id(), "nothing says whose this account's tokens are: ask for the scope \
                openid, or set userinfo_url, and another seller's tokens will be noticed");
        }
    }

    async fn pinned(&self, next: Record, found: String) -> Record {
        match &next.identity {
            Some(pinned) if *pinned != found => stopped(next, found),
            Some(_) => next,
            None => match self.other_account_of(&next, &found).await {
                Some(other) => stopped(next, format!("{found}, who is {other} already")),
                None => Record { identity: Some(found), ..next },
            },
        }
    }

    /// Another account of that seller. One that cannot be looked up is none: the answer is kept in any case.
    async fn other_account_of(&self, record: &Record, found: &str) -> Option<AccountId> {
        let store = self.surroundings.store.as_ref().filter(|_| !record.shared_seller)?;
        store.pinned(&record.id, found).await.ok().flatten()
    }

    /// Gives a token to requests, once its owner is known as far as it can be. `is_new`: it came with an answer just now.
    pub(super) async fn use_named(
        &mut self,
        account: &Arc<LiveAccount>,
        record: &Record,
        credential: Arc<Credential>,
        is_new: bool,
    ) {
        if !self.must_ask(account, record, is_new) {
            return publish_credential(account, credential);
        }
        let (client, stop) = (self.surroundings.client.clone(), self.surroundings.stop.clone());
        let question = ask(client.as_ref(), account.app(), account.account(), &credential.token.secret);
        // The program stops: the next life asks.
        let Some(owner) = stop.run_until_cancelled(question).await else { return };
        let now = self.surroundings.clock.now();
        match owner {
            Owner::Named(found) => {
                self.naming.asked = Some(now);
                let next = self.pinned(record.clone(), found).await;
                self.keep_named(account, record, next, credential, now).await;
            }
            Owner::Unnamed(why) => {
                self.naming.asked = Some(now);
                tracing::warn!(account = %account.id(), why, "whose token this is could not be learnt");
                publish_credential(account, credential);
            }
            // Whose it was is known, and the answer named nobody else.
            Owner::Unanswered(why) if record.identity.is_some() => {
                tracing::warn!(account = %account.id(), why, "whose token this is will be asked again");
                publish_credential(account, credential);
            }
            Owner::Unanswered(why) => {
                self.naming.waiting = Some(credential);
                self.publish_setback(account, unanswered(&why), now);
            }
        }
    }

    fn must_ask(&self, account: &LiveAccount, record: &Record, is_new: bool) -> bool {
        let now = self.surroundings.clock.now();
        let is_old = self.naming.asked.is_none_or(|at| now.since(at) >= ASKED_EVERY);
        let is_doubted = || account.is_forced() || self.demand.ordered.load(Relaxed);
        let is_due = is_old || (is_new && is_doubted());
        can_be_asked(&account.app().profile) && is_due && (is_new || record.identity.is_none())
    }

    /// Writes what was learnt of the owner, where that is new.
    async fn keep_named(
        &mut self,
        account: &Arc<LiveAccount>,
        before: &Record,
        named: Record,
        credential: Arc<Credential>,
        now: Moment,
    ) {
        if named.standing == Standing::Active && named.identity == before.identity {
            return publish_credential(account, credential);
        }
        let next = Record { generation: named.generation + 1, changed_at: now.wall, ..named };
        let halt = super::rotation::halt(&next, &account.app().profile);
        let written = self.replace_record(next).await;
        match (halt, written) {
            (Some((state, detail)), _) => self.publish_halt(account, state, detail, now),
            (None, Ok(Replaced::Durable)) => publish_credential(account, credential),
            // Read anew, which finds whatever is newer.
            (None, Ok(Replaced::Newer | Replaced::Held(_))) => self.read_anew(),
            (None, Err(error)) => {
                self.naming.asked = None;
                tracing::warn!(account = %account.id(), %error, "to whom the account belongs could not be stored");
                publish_credential(account, credential);
            }
        }
    }

    /// Asks again for the owner of a token that waits for that. False: there is none, and a refresh is due.
    pub(super) async fn name_again(&mut self, account: &Arc<LiveAccount>) -> bool {
        let now = self.surroundings.clock.now();
        let waiting = self.naming.waiting.take().filter(|credential| credential.token.usable_at(now));
        let record = self.custody.as_ref().and_then(|custody| custody.record.clone());
        let (Some(credential), Some(record)) = (waiting, record) else { return false };
        self.use_named(account, &record, credential, true).await;
        true
    }

    /// A refresh was answered with tokens of another account: they are not used, and both are told. A new refresh token that
    /// nobody else has is kept, else the one that was shown for it, since it is the last that was the account's own.
    pub(super) async fn refuse_held(&mut self, account: &Arc<LiveAccount>, next: Record, holder: &AccountId) {
        let id = account.id();
        tracing::error!(account = %id, of = %holder,
            "identity_mismatch: a refresh of {id} was answered with the tokens of {holder}; none of them is used");
        tracing::error!(account = %holder, by = %id,
            "identity_mismatch: the tokens of {holder} came with a refresh of {id}; {holder} goes on with them");
        self.surroundings.crossed().insert(holder.clone(), id.clone());
        let own = self.own_part(next).await;
        let found = format!("the seller of {holder}, whose tokens it gave");
        let next = stopped(own, found);
        let halt = super::rotation::halt(&next, &account.app().profile);
        if let Err(error) = self.replace_record(next).await {
            // The next start finds the intent open, and is answered the same or told the end.
            tracing::warn!(account = %id, %error, "that its tokens are another account's could not be stored");
        }
        let (state, detail) = halt.unwrap_or_else(|| {
            (AccountState::IdentityMismatch, format!("its refresh brought the tokens of {holder}"))
        });
        self.publish_halt(account, state, detail, self.surroundings.clock.now());
    }

    /// The record that came out of an answer, with the former grant where the new one is another account's.
    async fn own_part(&self, next: Record) -> Record {
        let Some(custody) = &self.custody else { return next };
        let is_anothers = custody.other_holder(&next).await.is_ok_and(|other| other.is_some());
        match custody.record.as_ref().filter(|_| is_anothers) {
            Some(before) => Record { grant: before.grant.clone(), ..next },
            None => next,
        }
    }
}

/// The record of an account whose token names somebody else: the token is not kept.
fn stopped(next: Record, found: String) -> Record {
    Record { standing: Standing::IdentityMismatch { found }, token: None, ..next }
}

fn unanswered(why: &str) -> Setback {
    let action = "nothing to do at first: Marketgate asks again; if it lasts, look at the marketplace's API, or at \
        `userinfo_url`";
    let mut setback = Setback::configuration(
        format!("a new token is not used before its owner is known, and {why}"),
        action,
    );
    (setback.outcome, setback.cause) = ("owner_unknown", Cause::Passing { perhaps_own: true });
    setback
}

#[cfg(test)]
mod tests {
    use http::StatusCode;

    use super::*;

    #[test]
    fn only_an_answer_that_another_try_may_change_is_waited_for() {
        let with = |status: u16, body: &str| {
            let body = Some(zeroize::Zeroizing::new(body.as_bytes().to_vec()));
            let fetched = Fetched { status: StatusCode::from_u16(status).unwrap(), body };
            judge("/shop", Ok(fetched), |body| identity::member_of_json(body, "id"))
        };
        assert_eq!(with(200, r#"{"id":7}"#), Owner::Named("7".to_owned()));
        for status in [200, 204, 301, 400, 401, 403, 404] {
            assert!(matches!(with(status, "{}"), Owner::Unnamed(_)), "{status}");
        }
        for status in [408, 429, 500, 503] {
            assert!(matches!(with(status, r#"{"id":7}"#), Owner::Unanswered(_)), "{status}");
        }
        assert!(matches!(judge("/", Err("no connection".to_owned()), |_| None), Owner::Unanswered(_)));
    }
}
