//! The whole program over real sockets, against the simulated marketplaces.

mod canary;
mod certificates;
mod commands;
mod config_only;
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
