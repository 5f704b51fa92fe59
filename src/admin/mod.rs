//! The admin door and the control socket: health, metrics, and everything that can be done to accounts. The one rule: no
//! web page gets in, and grants and tokens leave only where that was allowed in so many words.
//!
//! [`door`] tells the way of a request in order: [`access`] says whether it may come in, [`router`] is the table of all
//! there is, `body` and `parameters` read what it brings, and one file for each subject answers it: `health` (with
//! [`liveness`]), `accounts`,
//! `grants`, `imports`, `consents`, `store`. [`document`] holds what is said in JSON, [`openapi`] describes it to programs, and
//! [`control`] is the socket for commands on this machine.

pub mod access;
mod accounts;
mod answer;
mod body;
mod call;
mod consents;
pub mod control;
pub mod document;
pub mod door;
mod grants;
pub mod health;
mod imports;
pub mod liveness;
pub mod openapi;
mod parameters;
mod refusal;
pub mod router;
pub mod stop;
mod store;

pub use control::ControlSocket;
pub use door::AdminDoor;
pub use liveness::Liveness;
