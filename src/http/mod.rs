//! What the doors share below routing: the gate that judges raw requests, the listener that serves them, answers of our
//! own, and the page on which a consent ends.
//! The rule: nothing here knows what a proxied request is for.

pub mod absolute;
pub mod callback;
mod connection;
pub mod gate;
mod limits;
pub mod listener;
pub mod page;
mod patience;
pub mod problem;
pub mod registry;
pub mod socket;
pub mod tally;
pub mod tally_metrics;
