//! What must survive: accounts with their grants, the intent to spend one, consents under way, calls that count. The one
//! rule: a write that was answered is durable, and one account's record changes only by comparing its generation.
//!
//! [`Store`] is shaped so that several processes can share one: every change of a record names the generation it was made
//! from, and [`Store::begin`] may answer that another process holds the account. [`record`] is what is kept; [`MemoryStore`]
//! keeps it for the life of the process, [`SqliteStore`] in a file, sealed.

mod awaited;
mod document;
pub mod error;
mod files;
mod glance;
mod key_file;
pub mod keyring;
mod lock;
mod mark;
pub mod memory;
pub mod record;
mod seal;
mod spill;
pub mod sqlite;
mod stamp;
mod traces;

use std::{fmt, future::Future, path::Path, pin::Pin, time::SystemTime};

pub use awaited::AwaitedStore;
pub use error::{SpillError, StoreError};
pub use files::PlaceError;
pub use key_file::KeyFileError;
pub use memory::MemoryStore;
pub use record::{
    CallLog, Grant, Intent, KeptToken, LoginReason, Notes, OpenIntent, ParkReason, PendingConsent, Record,
    Refusal, Standing, Stored, Unrevoked,
};
pub use spill::SpillRoom;
pub use sqlite::{KeyPlace, OpenError, OpenOptions, SqliteStore};

use crate::{
    names::{AccountId, AccountName, AppName},
    secret::Secret,
};

/// The answer of a store operation. Dropping it does not undo what it has begun.
pub type Pending<'a, T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send + 'a>>;

/// Which part of the list of accounts is asked for.
#[derive(Debug, Clone, Default)]
pub struct PageQuery {
    /// Only this app's.
    pub app: Option<AppName>,
    /// Only those after this one, in the order of app and account.
    pub after: Option<(AppName, AccountName)>,
    /// At most so many.
    pub limit: usize,
}

/// Whether a refresh token may be spent now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Begun {
    /// The intent is durable: go on.
    Durable,
    /// The record is of another generation, or gone: read it again.
    Newer,
    /// Another process is about to spend it; it is known to have ended by then.
    Held {
        /// When to look again, at the latest.
        until: SystemTime,
    },
}

/// What became of a change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Replaced {
    /// It is durable.
    Durable,
    /// The record is of another generation than the change was made from, or gone: nothing was written.
    Newer,
    /// One of its tokens belongs to this other account: nothing was written.
    Held(AccountId),
}

/// Where the refresh token of a changed record came from: how long its digest is remembered depends on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// From outside, by import or consent: remembered as long as the account, so that an old list cannot bring it back.
    Brought,
    /// From the token endpoint, by rotation: the last few of an account are remembered.
    Rotated,
    /// The change brings no refresh token that was not there before.
    Kept,
}

/// What survives the process. All operations of one store are serialised: each sees all that were answered before it began.
pub trait Store: fmt::Debug + Send + Sync {
    /// One account.
    fn account(&self, id: &AccountId) -> Pending<'_, Option<Stored>>;

    /// Accounts in the order of app and account.
    fn page(&self, query: PageQuery) -> Pending<'_, Vec<Stored>>;

    /// How many accounts there are, of one app or of all.
    fn count(&self, app: Option<AppName>) -> Pending<'_, u64>;

    /// Writes `record` if the stored one is of the generation before it (`record.generation - 1`; 0: there is none). An
    /// intent that was open is closed, and its call has ended at `record.changed_at`.
    ///
    /// A refresh token that another account has or had, and an access token that another account has, are not taken. Two
    /// accounts of an app may have one access token if both are pinned to one seller: some servers hand out the token they
    /// have issued already.
    fn replace(&self, record: Record, origin: Origin) -> Pending<'_, Replaced>;

    /// Forgets an account of that generation, with all that belongs to it.
    fn remove(&self, id: &AccountId, generation: u64) -> Pending<'_, Replaced>;

    /// Writes down that the refresh token of that generation is about to be shown. Doing so again while it is open counts
    /// one more showing.
    fn begin(&self, intent: Intent) -> Pending<'_, Begun>;

    /// Closes an intent whose call is known not to have spent anything; it ended at `at`. Nothing happens when the record
    /// is of another generation.
    fn close(&self, id: &AccountId, generation: u64, at: SystemTime) -> Pending<'_, ()>;

    /// Accounts with an open intent: their refresh tokens may have been spent.
    fn open_intents(&self) -> Pending<'_, Vec<AccountId>>;

    /// The account that has or had this refresh token, as far as it is remembered, or that has this access token.
    fn holder(&self, token: &Secret) -> Pending<'_, Option<AccountId>>;

    /// Another account of the app than `id` that is pinned to this identity.
    fn pinned(&self, id: &AccountId, identity: &str) -> Pending<'_, Option<AccountId>>;

    /// The calls to a token endpoint that may still count.
    fn calls(&self, endpoint: &str) -> Pending<'_, CallLog>;

    /// Keeps a consent that was begun. Those that ended before `now` are forgotten.
    fn put_consent(&self, consent: PendingConsent, now: SystemTime) -> Pending<'_, ()>;

    /// Takes the consent with this `state`; whoever asks again finds nothing. One that has ended is taken all the same: its
    /// end is the asker's to judge.
    fn take_consent(&self, state: &Secret) -> Pending<'_, Option<PendingConsent>>;

    /// Returns when the store is open, which most are from the start.
    fn opened(&self) -> Pending<'_, ()> {
        Box::pin(std::future::ready(Ok(())))
    }

    /// Proves that the store can be written to.
    fn probe(&self) -> Pending<'_, ()>;

    /// Writes a consistent copy, without the key that seals it, into a file that must not exist yet.
    fn backup(&self, _to: &Path) -> Pending<'_, ()> {
        let detail = "this store is kept elsewhere than in a file, so there is nothing to copy";
        Box::pin(std::future::ready(Err(StoreError::new(error::Trouble::Io, detail))))
    }

    /// Seals with the active key whatever an older one sealed; how much that was.
    fn rekey(&self) -> Pending<'_, u64> {
        Box::pin(std::future::ready(Ok(0)))
    }

    /// Waits for everything that was asked before and closes; later operations fail.
    fn shut_down(&self) -> Pending<'_, ()> {
        Box::pin(std::future::ready(Ok(())))
    }

    /// The last resort at the end of the process: keeps records whose [`Store::replace`] failed where the next start finds
    /// and adopts them.
    ///
    /// # Errors
    /// When that fails too; it holds the records that were not written.
    fn spill(&self, records: Vec<Record>) -> Result<(), SpillError>;

    /// What keeps the store from being written to, as far as that is known without asking it.
    fn trouble(&self) -> Option<StoreError> {
        None
    }

    /// How much room is set aside for [`Store::spill`]; None: it needs none.
    fn spill_room(&self) -> Option<SpillRoom> {
        None
    }
}
