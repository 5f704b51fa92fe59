//! The whole program over real sockets, against the simulated marketplaces.

// What is around the tests may fail them as they do themselves.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod ambiguous;
mod canary;
mod certificates;
mod commands;
mod config_only;
mod dropped;
mod fidelity;
mod harness;
mod layers;
mod mistakes;
mod outage;
mod program;
mod refresh;
mod refused;
mod replay;
mod routing;
mod wire;
