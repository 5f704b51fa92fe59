//! The heart: tokens that are there before they are needed. The one rule: a refresh never lives inside a request.
//!
//! [`live`] holds the accounts in use and finds or wakes the one a request needs; [`account`] is what a request borrows
//! its token from; `keeper` is the task that keeps one account's token fresh: `plan` decides what it does next, [`timing`]
//! when; `call` gets a token for a grant that does not rotate, `rotation` for one that may, by `showing` its refresh token,
//! with `custody` of what must reach the store; `publish` tells the requests. `change` keeps an account still while its record
//! is changed from outside; `ending` is the end of them all, with [`outstanding`], what it waits for. [`meter`] keeps every token endpoint within its budget; [`setback`] is a
//! failed attempt, and [`state`] what all of them say about an account.

pub mod account;
mod call;
mod change;
mod custody;
mod ending;
mod endpoint;
mod forced;
mod keeper;
pub mod live;
pub mod meter;
pub mod outstanding;
mod plan;
mod publish;
mod rotation;
pub mod setback;
mod showing;
pub mod state;
pub mod timing;
mod withheld;

pub use account::{LiveAccount, Unavailable};
pub use change::Change;
pub use ending::Ended;
pub use live::{LiveAccounts, Means};
pub use rotation::halt;
pub use state::{AccountState, Credential, Published, Trouble};
pub use withheld::Withheld;
