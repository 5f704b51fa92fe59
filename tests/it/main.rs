//! The whole program over real sockets, against the simulated marketplaces.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on has failed")]

mod commands;
mod config_only;
mod fidelity;
mod harness;
mod layers;
mod mistakes;
mod outage;
mod refresh;
mod refused;
mod replay;
mod routing;
