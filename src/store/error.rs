//! Why the store did not do what it was asked. The one rule: whatever it says, nothing that was durable is lost.

use std::fmt;

use super::Record;

/// What kind of failure it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Trouble {
    /// No room left where the store is.
    Full,
    /// The operating system or the database refused.
    Io,
    /// The store has been closed.
    Closed,
    /// The file that has the store's name is not the one that is served, or was changed by somebody else.
    Displaced,
    /// The store is not open yet.
    Awaited,
}

/// A failed operation. It may be tried again: a write that failed has changed nothing, or all of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreError {
    /// What kind of failure.
    pub trouble: Trouble,
    /// What happened, for a person; holds no secret.
    pub detail: String,
}

impl StoreError {
    /// A failure of that kind.
    pub fn new(trouble: Trouble, detail: impl Into<String>) -> Self {
        Self { trouble, detail: detail.into() }
    }

    /// What mends it.
    pub fn action(&self) -> &'static str {
        match self.trouble {
            Trouble::Full => "make room where the store is ([store] path); Marketgate keeps trying",
            Trouble::Io => {
                "look at the disk, its mount options and the permissions of the store's directory; \
                 Marketgate keeps trying"
            }
            Trouble::Closed => "Marketgate is ending; start it again",
            Trouble::Displaced => {
                "put the database back in its place ([store] path), as it was: Marketgate notices that and goes on by \
                 itself. Until then no refresh token is spent, and what it holds in memory is lost if it is killed"
            }
            Trouble::Awaited => "ask again in a moment; if that process is not about to end, end it",
        }
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.trouble {
            Trouble::Full => "the store is full",
            Trouble::Io => "the store failed",
            Trouble::Closed => "the store is closed",
            Trouble::Displaced => "the store's file is not in its place",
            Trouble::Awaited => "the store is not open yet",
        };
        write!(f, "{what}: {}", self.detail)
    }
}

impl std::error::Error for StoreError {}

/// What the last resort could not keep.
#[derive(Debug)]
pub struct SpillError {
    /// The records that were not written: they are nowhere but in here.
    pub unwritten: Vec<Record>,
    /// Why not.
    pub error: StoreError,
}

impl fmt::Display for SpillError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} records could not be kept beside the store: {}", self.unwritten.len(), self.error)
    }
}

impl std::error::Error for SpillError {}
