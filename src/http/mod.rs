//! What the doors share below routing: the gate that judges raw requests, and the listener that serves them.
//! The rule: nothing here knows what a request is for.

mod connection;
pub mod gate;
mod limits;
pub mod listener;
mod patience;
pub mod problem;
pub mod tally;
pub mod tally_metrics;
