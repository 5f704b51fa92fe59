//! What the process must see to its end before it may end itself: token calls that spend something, and new grants that the
//! store has not taken yet. It is told to whoever waits for the end.

use std::{collections::BTreeMap, fmt, time::Duration};

use tokio::{sync::watch, time::Instant};

use crate::names::AccountId;

/// A token call that spends something ends by then, whatever the server does.
const LONGEST_CALL: Duration = Duration::from_secs(60);

/// What is under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Work {
    /// A refresh token is shown.
    Refresh,
    /// A seller's code is exchanged.
    CodeExchange,
    /// What one of them brought is in memory, and the store refuses it.
    Storing,
}

#[derive(Debug, Clone)]
struct Entry {
    account: AccountId,
    work: Work,
    since: Instant,
}

/// Everything that is under way.
#[derive(Debug, Default)]
pub struct Outstanding(watch::Sender<BTreeMap<u64, Entry>>);

/// One thing that is under way, until this is dropped.
#[derive(Debug)]
pub struct UnderWay {
    among: watch::Sender<BTreeMap<u64, Entry>>,
    number: u64,
}

impl Outstanding {
    /// Notes that this has begun.
    pub fn begin(&self, account: &AccountId, work: Work) -> UnderWay {
        let entry = Entry { account: account.clone(), work, since: Instant::now() };
        let mut number = 0;
        self.0.send_modify(|entries| {
            number = entries.last_key_value().map_or(0, |(last, _)| last + 1);
            entries.insert(number, entry);
        });
        UnderWay { among: self.0.clone(), number }
    }

    /// Waits until no token call is under way. What only waits for the store is waited for elsewhere.
    pub async fn calls_ended(&self) {
        let is_call = |entry: &Entry| entry.work != Work::Storing;
        // The sender lives as long as this.
        drop(self.0.subscribe().wait_for(|entries| !entries.values().any(is_call)).await);
    }

    /// Waits until the store refuses nothing of this account's any more, or nobody in this process holds it.
    pub async fn stored(&self, account: &AccountId) {
        let waits = |entry: &Entry| entry.work == Work::Storing && entry.account == *account;
        drop(self.0.subscribe().wait_for(|entries| !entries.values().any(waits)).await);
    }

    /// Each thing that is under way, as a sentence part.
    pub fn list(&self) -> Vec<String> {
        self.0.borrow().values().map(Entry::to_string).collect()
    }

    /// What is under way for one account, as a sentence part.
    pub fn of(&self, account: &AccountId) -> Option<String> {
        self.0.borrow().values().find(|entry| entry.account == *account).map(Entry::to_string)
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.among.send_modify(|entries| drop(entries.remove(&self.number)));
    }
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (account, age, most) = (&self.account, self.since.elapsed().as_secs(), LONGEST_CALL.as_secs());
        match self.work {
            Work::Refresh => write!(f, "a refresh of {account} (begun {age} s ago, {most} s a call at most)"),
            Work::CodeExchange => {
                write!(f, "the exchange of a code for {account} (begun {age} s ago, {most} s at most)")
            }
            Work::Storing => {
                write!(f, "a new refresh token of {account} that is not stored yet (since {age} s)")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn calls_are_waited_for_and_all_is_listed_until_it_is_over() {
        let outstanding = Outstanding::default();
        let id: AccountId = AccountId { app: "any".parse().unwrap(), account: "shop".parse().unwrap() };
        let (call, stored) = (outstanding.begin(&id, Work::Refresh), outstanding.begin(&id, Work::Storing));
        assert_eq!(outstanding.list().len(), 2);
        assert!(outstanding.of(&id).unwrap().starts_with("a refresh of any@shop"));
        let mut ended = Box::pin(outstanding.calls_ended());
        assert!(futures_util::FutureExt::now_or_never(&mut ended).is_none());
        drop(call);
        ended.await;
        assert!(outstanding.list()[0].contains("that is not stored yet"));
        drop(stored);
        assert!(outstanding.list().is_empty() && outstanding.of(&id).is_none());
    }
}
