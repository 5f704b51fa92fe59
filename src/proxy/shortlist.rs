//! The accounts a worker has served of late, each with its way to the marketplace. The one rule: an entry is worth nothing
//! once any account was changed, and after ten seconds in any case.
//!
//! Finding an account takes looks into several shared tables. A worker that is asked for the same account again soon need
//! not look: it compares names and upgrades a pointer. It holds no account in use, and the ten seconds keep the order in
//! which unused accounts are let go true.

use std::{
    cell::RefCell,
    collections::HashMap,
    sync::{Arc, Weak},
    time::{Duration, Instant},
};

use super::{body::RequestBody, upstream::Lane};
use crate::{
    accounts::Changes,
    config::App,
    grant::LiveAccount,
    names::{AccountName, AppName},
};

/// How long an entry is good.
const FRESH: Duration = Duration::from_secs(10);

/// Entries kept at once: more than accounts are kept in use. When there would be more, all are dropped, and the next
/// requests look anew.
const CAPACITY: usize = 2 * crate::grant::live::CAPACITY as usize;

/// An account and its way to the marketplace.
pub(super) struct Way {
    /// The account.
    pub(super) live: Arc<LiveAccount>,
    /// The connections its requests go out on.
    pub(super) lane: Lane<RequestBody>,
}

/// What one worker remembers.
#[derive(Default)]
pub(super) struct Shortlist(RefCell<Entries>);

#[derive(Default)]
struct Entries {
    /// The changes that were known when these were found.
    as_of: Changes,
    /// A handful: looked through one by one.
    apps: Vec<OfApp>,
    count: usize,
}

struct OfApp {
    app: AppName,
    unnamed: Option<Entry>,
    named: HashMap<AccountName, Entry>,
}

struct Entry {
    live: Weak<LiveAccount>,
    lane: Lane<RequestBody>,
    found: Instant,
}

impl Shortlist {
    /// The account of this name (None: the one the app's bare name means), if it was found a moment ago and nothing has
    /// changed since.
    pub(super) fn find(
        &self,
        app: &App,
        name: Option<&AccountName>,
        as_of: Changes,
        now: Instant,
    ) -> Option<Way> {
        let entries = self.0.borrow();
        let of_app = entries.apps.iter().find(|of_app| of_app.app == app.name)?;
        let entry = match name {
            Some(name) => of_app.named.get(name),
            None => of_app.unnamed.as_ref(),
        };
        let is_good = entries.as_of == as_of && now.saturating_duration_since(entry?.found) < FRESH;
        let entry = entry.filter(|_| is_good)?;
        let live = entry.live.upgrade().filter(|live| !live.is_retired())?;
        Some(Way { live, lane: entry.lane.clone() })
    }

    /// Remembers what was found. `as_of` is from before the search.
    pub(super) fn note(
        &self,
        app: &App,
        name: Option<&AccountName>,
        way: &Way,
        as_of: Changes,
        now: Instant,
    ) {
        let mut entries = self.0.borrow_mut();
        if entries.as_of != as_of || entries.count >= CAPACITY {
            *entries = Entries { as_of, ..Entries::default() };
        }
        let entry = Entry { live: Arc::downgrade(&way.live), lane: way.lane.clone(), found: now };
        let of_app = entries.of(app);
        let former = match name {
            Some(name) => of_app.named.insert(name.clone(), entry),
            None => of_app.unnamed.replace(entry),
        };
        entries.count += usize::from(former.is_none());
    }
}

impl Entries {
    fn of(&mut self, app: &App) -> &mut OfApp {
        let known = self.apps.iter().position(|of_app| of_app.app == app.name);
        let index = known.unwrap_or_else(|| {
            self.apps.push(OfApp { app: app.name.clone(), unnamed: None, named: HashMap::new() });
            self.apps.len() - 1
        });
        &mut self.apps[index]
    }
}
