//! The heart: tokens that are there before they are needed. The one rule: a refresh never lives inside a request.
//!
//! [`live`] holds the accounts in use and finds or wakes the one a request needs; [`account`] is what a request borrows
//! its token from; [`keeper`] is the task that keeps one account's token fresh; [`timing`] decides when; [`meter`]
//! keeps every token endpoint within its budget; [`setback`] is a failed attempt, and [`state`] what all of them say about
//! an account.

pub mod account;
mod endpoint;
mod forced;
pub mod keeper;
pub mod live;
pub mod meter;
pub mod setback;
pub mod state;
pub mod timing;

pub use account::{LiveAccount, Unavailable};
pub use live::LiveAccounts;
pub use state::{AccountState, Credential, Published, Trouble};
