//! The proxy door: plain requests in, authenticated requests out. The one rule: nothing is changed that need not be.
//!
//! A request passes, in this order: [`guard`] (may this caller talk to us), [`route`] (which account is meant;
//! [`addressed`] refuses misspelt headers of ours, [`crate::dots`] paths that climb; `shortlist` spares the search for an account just used), [`placeholder`] (vendors' token paths),
//! the account's token (borrowed from `grant`),
//! [`headers`] (what must not cross, then the credential), [`upstream`] (sent; bodies stream both ways), and back through
//! [`headers`], [`reply`] (our credential is cut out, pages are confined) and [`location`]. [`exchange`] tells that sequence, with [`outgoing`], the request as it is sent, and `refusal`, what is said in place of an
//! answer; [`expiry`] recognises a token that was refused;
//! [`explanation`] says how an answer came about; `record` counts and logs how a request ended; [`door`] binds it all to listeners.

pub mod addressed;
pub mod body;
pub mod door;
pub mod exchange;
pub mod expiry;
pub mod explanation;
pub mod guard;
pub mod headers;
pub mod location;
pub mod outgoing;
pub mod placeholder;
mod record;
mod refusal;
pub mod reply;
pub mod route;
mod shortlist;
pub mod upstream;

pub use door::{Door, Worker};
