//! When an account of the store has to be seen to though nobody asks for it. The one rule: what is due is decided from the
//! record alone, so that it is the same after a restart; the agenda only remembers what is due soon.
//!
//! Three things come due: a refresh token that would end of disuse is replaced before; one that was refused is tried again,
//! rarely; one whose answer an earlier process lost is shown once more when the stored access token has ended. Whoever looks
//! through the store notes what falls due before the next look, and keepers note what they change, so that a store of a
//! hundred thousand accounts costs memory only for those that are nearly due.

use std::{
    collections::{BTreeSet, HashMap},
    hash::{DefaultHasher, Hash, Hasher},
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};

use tokio::sync::Notify;

use crate::{
    names::AccountId,
    provider::Profile,
    store::{Grant, LoginReason, Record, Standing},
};

/// What falls due later than this is found by a later look through the store.
pub const HORIZON: Duration = Duration::from_secs(900);

/// A call that a process had sent when it died may still be working at the server for so long: the connection ended with the
/// process, so this is about what the server had begun. Two calls at once with one refresh token can both be answered, and
/// then the server may keep what the lost answer brought.
pub const ORPHANED_CALL: Duration = Duration::from_secs(10);

/// A refresh token is replaced when no more than this is left of it,
const NEAR: Duration = Duration::from_secs(30 * 86_400);

/// or this part of its whole life, where that is less.
const NEAR_PART: u32 = 6;

/// Accounts that have something due soon.
#[derive(Debug, Default)]
pub struct Agenda {
    entries: Mutex<Entries>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct Entries {
    in_order: BTreeSet<(SystemTime, AccountId)>,
    of_account: HashMap<AccountId, Entry>,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    at: SystemTime,
    is_order: bool,
}

impl Agenda {
    /// Notes that the account has to be looked at then, and at no other time; None: not at all. What lies beyond the
    /// [`HORIZON`] is left to a later look through the store.
    pub fn note(&self, id: &AccountId, at: Option<SystemTime>, now: SystemTime) {
        let at = at.filter(|at| *at <= now + HORIZON);
        self.put(id, at.map(|at| Entry { at, is_order: false }));
    }

    /// Has the account refreshed now, for its endpoint accepts grants again.
    pub(super) fn order(&self, id: &AccountId, now: SystemTime) {
        self.put(id, Some(Entry { at: now, is_order: true }));
    }

    fn put(&self, id: &AccountId, entry: Option<Entry>) {
        let mut entries = self.entries();
        let first = entries.in_order.first().map(|(at, _)| *at);
        entries.remove(id);
        if let Some(entry) = entry {
            entries.in_order.insert((entry.at, id.clone()));
            entries.of_account.insert(id.clone(), entry);
        }
        let is_sooner = entry.is_some_and(|entry| first.is_none_or(|first| entry.at < first));
        drop(entries);
        if is_sooner {
            self.changed.notify_one();
        }
    }

    /// When the first of them is due.
    pub fn next(&self) -> Option<SystemTime> {
        self.entries().in_order.first().map(|(at, _)| *at)
    }

    /// Takes one that is due, and whether it is to be refreshed in any case.
    pub fn take_due(&self, now: SystemTime) -> Option<(AccountId, bool)> {
        let mut entries = self.entries();
        let (_, id) = entries.in_order.first().filter(|(at, _)| *at <= now)?.clone();
        let is_order = entries.remove(&id)?.is_order;
        Some((id, is_order))
    }

    /// Waits until something is due sooner than what was.
    pub async fn changed(&self) {
        self.changed.notified().await;
    }

    fn entries(&self) -> MutexGuard<'_, Entries> {
        // No code that holds it can panic half-way.
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entries {
    fn remove(&mut self, id: &AccountId) -> Option<Entry> {
        let entry = self.of_account.remove(id)?;
        self.in_order.remove(&(entry.at, id.clone()));
        Some(entry)
    }
}

/// When the account has to be seen to next. `lost`: when a call was sent whose answer never came.
pub fn due(profile: &Profile, record: &Record, lost: Option<SystemTime>) -> Option<SystemTime> {
    match (&record.standing, &record.notes.refusal) {
        (Standing::Active | Standing::LoginRequired(LoginReason::Revoked), Some(refusal)) => refusal.next,
        (Standing::Active, None) => {
            let kept_alive = kept_alive(profile, record);
            let Some(settled) = lost.map(|sent| may_be_settled(record, sent)) else { return kept_alive };
            // A refresh token in doubt is shown before the access token has ended only if it would not live that long.
            let ends_before =
                matches!(record.grant, Some(Grant::Refresh { ends_at: Some(end), .. }) if end <= settled);
            Some(kept_alive.filter(|_| ends_before).map_or(settled, |at| at.min(settled)))
        }
        _ => None,
    }
}

/// The same by what the store holds. A process may have died while it tried a refused refresh token again: that call is given
/// its time too.
pub fn due_by_record(profile: &Profile, record: &Record) -> Option<SystemTime> {
    let sent = record.intent.map(|open| open.at);
    let at = due(profile, record, sent)?;
    let settled = sent.filter(|_| record.notes.refusal.is_some()).map(|sent| may_be_settled(record, sent));
    Some(settled.map_or(at, |settled| at.max(settled)))
}

/// When a refresh token whose answer was lost may be shown again: the stored access token has ended, and the lost call too.
fn may_be_settled(record: &Record, sent: SystemTime) -> SystemTime {
    let token_end = record.token.as_ref().map(|token| token.asked_at + token.lifetime);
    token_end.map_or(sent + ORPHANED_CALL, |end| end.max(sent + ORPHANED_CALL))
}

/// When a refresh token is replaced that would end of disuse; None where a refresh would not move its end.
fn kept_alive(profile: &Profile, record: &Record) -> Option<SystemTime> {
    let Some(Grant::Refresh { obtained_at, ends_at: Some(end), .. }) = &record.grant else { return None };
    if end_is_fixed(profile, record) {
        return None;
    }
    // Accounts that were connected together are not refreshed together.
    Some(*end - margin(*obtained_at, *end).mul_f64(1.0 - spread(&record.id) / 2.0))
}

fn margin(obtained_at: SystemTime, end: SystemTime) -> Duration {
    NEAR.min(end.duration_since(obtained_at).unwrap_or_default() / NEAR_PART)
}

/// Whether so little is left of a refresh token's life that it would be replaced.
pub(super) fn is_near(obtained_at: SystemTime, end: SystemTime, now: SystemTime) -> bool {
    now >= end - margin(obtained_at, end)
}

/// Between 0 and 1, the same for an account each time.
fn spread(id: &AccountId) -> f64 {
    let mut hasher = DefaultHasher::new();
    id.hash(&mut hasher);
    f64::from(u32::try_from(hasher.finish() >> 32).unwrap_or_default()) / f64::from(u32::MAX)
}

/// Whether the refresh token's end stays where it is however often it is refreshed: as it was seen, else as the provider is
/// known to be.
pub fn end_is_fixed(profile: &Profile, record: &Record) -> bool {
    let usually = !profile.rotates || profile.lifetimes.consent.is_some();
    record.notes.end_is_fixed.unwrap_or(usually)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        config::{self, App},
        secret::Secret,
        store::{KeptToken, Notes, Refusal},
    };
    use std::sync::Arc;

    const DAY: Duration = Duration::from_secs(86_400);
    const SECOND: Duration = Duration::from_secs(1);

    fn apps() -> [Arc<App>; 2] {
        let text = "[apps.w]\nprovider = \"wallapop\"\nclient_id = \"a\"\nclient_secret = \"b\"\n\
            [apps.d]\nprovider = \"depop\"\nenvironment = \"production\"\ngrant = \"authorization_code\"\n\
            client_id = \"a\"\nclient_secret = \"b\"\n";
        let loaded = config::parse("t", text, std::path::Path::new("/"), &|_| None).unwrap();
        ["w", "d"].map(|name| loaded.settings.apps[name].clone())
    }

    fn record(app: &App, life: Option<Duration>) -> Record {
        let now = SystemTime::UNIX_EPOCH;
        Record {
            id: AccountId { app: app.name.clone(), account: "shop".parse().unwrap() },
            provider: app.profile.provider.clone(),
            environment: app.profile.environment.clone(),
            generation: 1,
            grant: Some(Grant::Refresh {
                token: Secret::new("r"),
                obtained_at: now,
                ends_at: life.map(|l| now + l),
            }),
            standing: Standing::Active,
            token: None,
            identity: None,
            shared_seller: false,
            unrevoked: Vec::new(),
            settings: Default::default(),
            consented_at: None,
            created_at: now,
            changed_at: now,
            notes: Notes::default(),
            intent: None,
        }
    }

    fn after(wait: Duration) -> SystemTime {
        SystemTime::UNIX_EPOCH + wait
    }

    #[test]
    fn a_refresh_token_that_would_end_of_disuse_is_replaced_in_the_last_part_of_its_life_however_short() {
        let [wallapop, depop] = apps();
        for (life, earliest) in
            [(30 * SECOND, 25 * SECOND), (120 * SECOND, 100 * SECOND), (180 * DAY, 150 * DAY)]
        {
            let at = due(&wallapop.profile, &record(&wallapop, Some(life)), None).unwrap();
            let latest = earliest + (life - earliest) / 2;
            assert!((after(earliest)..=after(latest)).contains(&at), "{life:?}: {at:?}");
        }
        assert_eq!(
            due(&depop.profile, &record(&depop, Some(180 * DAY)), None),
            None,
            "its consent ends all the same"
        );
        let mut fixed = record(&wallapop, Some(120 * SECOND));
        fixed.notes.end_is_fixed = Some(true);
        assert_eq!(due(&wallapop.profile, &fixed, None), None, "a refresh would not move the end");
        assert_eq!(due(&wallapop.profile, &record(&wallapop, None), None), None);
        let standing = Standing::LoginRequired(LoginReason::Exported);
        let exported = Record { standing, ..record(&wallapop, Some(180 * DAY)) };
        assert_eq!(due(&wallapop.profile, &exported, None), None);
    }

    #[test]
    fn a_lost_answer_is_settled_when_the_stored_token_and_the_lost_call_have_ended() {
        let [app, _] = apps();
        let token = |seconds| {
            Some(KeptToken {
                secret: Secret::new("a"),
                asked_at: after(Duration::ZERO),
                lifetime: SECOND * seconds,
            })
        };
        let sent = Some(after(200 * SECOND));
        let valid = Record { token: token(300), ..record(&app, None) };
        assert_eq!(due(&app.profile, &valid, sent), Some(after(300 * SECOND)));
        let ended = Record { token: token(100), ..record(&app, None) };
        assert_eq!(due(&app.profile, &ended, sent), Some(after(210 * SECOND)));
        assert_eq!(due(&app.profile, &record(&app, None), sent), Some(after(210 * SECOND)));
    }

    #[test]
    fn a_refresh_token_in_doubt_is_shown_before_the_access_token_has_ended_only_if_it_would_end_before() {
        let [app, _] = apps();
        let token =
            KeptToken { secret: Secret::new("a"), asked_at: after(Duration::ZERO), lifetime: 100 * SECOND };
        let sent = Some(after(50 * SECOND));
        let outlives = Record { token: Some(token.clone()), ..record(&app, Some(105 * SECOND)) };
        assert!(due(&app.profile, &outlives, None) < Some(after(100 * SECOND)));
        assert_eq!(due(&app.profile, &outlives, sent), Some(after(100 * SECOND)));
        let ends_before = Record { token: Some(token), ..record(&app, Some(90 * SECOND)) };
        assert!(due(&app.profile, &ends_before, sent) < Some(after(90 * SECOND)));
    }

    #[test]
    fn a_refused_refresh_token_is_tried_again_only_while_it_is_ours() {
        let [app, _] = apps();
        let refusal =
            Refusal { words: String::new(), since: after(SECOND), times: 1, next: Some(after(60 * SECOND)) };
        let mut refused = record(&app, None);
        refused.notes.refusal = Some(refusal);
        assert_eq!(due(&app.profile, &refused, None), Some(after(60 * SECOND)));
        assert_eq!(due_by_record(&app.profile, &refused), Some(after(60 * SECOND)));
        refused.intent = Some(crate::store::OpenIntent { showings: 1, at: after(55 * SECOND) });
        assert_eq!(
            due_by_record(&app.profile, &refused),
            Some(after(65 * SECOND)),
            "a call may be under way"
        );
        for (reason, again) in [
            (LoginReason::Revoked, true),
            (LoginReason::Expired, false),
            (LoginReason::RotationResponseLost, false),
            (LoginReason::LoggedOut, false),
            (LoginReason::Exported, false),
        ] {
            refused.standing = Standing::LoginRequired(reason);
            assert_eq!(due(&app.profile, &refused, None).is_some(), again, "{reason:?}");
        }
    }

    #[test]
    fn the_agenda_gives_out_what_is_due_once_and_in_order() {
        let agenda = Agenda::default();
        let id = |name: &str| AccountId { app: "app".parse().unwrap(), account: name.parse().unwrap() };
        let now = after(Duration::ZERO);
        agenda.note(&id("a"), Some(after(9 * SECOND)), now);
        agenda.note(&id("b"), Some(after(3 * SECOND)), now);
        agenda.note(&id("c"), Some(after(DAY)), now);
        agenda.note(&id("d"), Some(after(SECOND)), now);
        agenda.note(&id("d"), None, now);
        agenda.order(&id("e"), after(20 * SECOND));
        assert_eq!(agenda.next(), Some(after(3 * SECOND)));
        assert_eq!(agenda.take_due(after(2 * SECOND)), None);
        assert_eq!(agenda.take_due(after(30 * SECOND)), Some((id("b"), false)));
        assert_eq!(agenda.take_due(after(30 * SECOND)), Some((id("a"), false)));
        assert_eq!(agenda.take_due(after(30 * SECOND)), Some((id("e"), true)));
        assert_eq!(agenda.take_due(after(10 * DAY)), None, "what is far off is found by a later look");
    }
}
