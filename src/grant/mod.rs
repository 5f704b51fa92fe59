//! The heart: tokens that are there before they are needed. The one rule: a refresh never lives inside a request.
//!
//! [`live`] holds the accounts in use and finds or wakes the one a request needs; [`account`] is what a request borrows
//! its token from, `demand` what it tells the keeper by that, `unavailable` what it hears when there is no token; `keeper` is the task that keeps one account's token fresh: `plan` decides what it does next, [`timing`]
//! when; `call` gets a token for a grant that does not rotate, `rotation` for one that may, by `showing` its refresh token,
//! with `custody` of what must reach the store; `ending` says what becomes of a grant that was refused, `refusal` what a
//! refusal means, `scope` what a token was granted for; `publish` tells the requests, and [`replacement`] is what becomes of
//! a request whose access token was refused. `change` keeps an account still while its record is changed from outside, and
//! `withheld` says why it gives out no token meanwhile; `drain` is the end of all keepers, with [`outstanding`], what it waits
//! for. [`meter`] keeps every token endpoint within its budget, and asks one that fails with one call at a time; [`agenda`]
//! knows which accounts are due though nobody asks for them; [`setback`] is a failed attempt, and [`state`] what all of them
//! say about an account.

pub mod account;
pub mod agenda;
mod call;
mod change;
mod custody;
mod demand;
mod drain;
mod ending;
mod endpoint;
mod forced;
mod keeper;
pub mod live;
pub mod meter;
pub mod outstanding;
pub mod owner;
mod plan;
mod publish;
mod refusal;
pub mod replacement;
mod rotation;
mod scope;
pub mod setback;
mod showing;
pub mod state;
pub mod timing;
mod unavailable;
mod withheld;

pub use account::LiveAccount;
pub use change::Change;
pub use custody::refresh_end;
pub use drain::Ended;
pub use ending::TOLERANCE;
pub use live::{LiveAccounts, Means};
pub use replacement::Replacement;
pub use rotation::{halt, repeats_at_once};
pub use scope::narrower_scope;
pub use state::{AccountState, Credential, Published, Trouble, advice};
pub use unavailable::Unavailable;
pub use withheld::Withheld;
