//! The admin door: health, metrics and the accounts. The one rule: it never tells a token, and never lets a web page in.

pub mod control;
pub mod door;

pub use door::AdminDoor;
