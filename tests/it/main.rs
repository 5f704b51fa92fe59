//! The whole program over real sockets, against the simulated marketplaces.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on has failed")]

mod accounts_api;
mod accounts_commands;
mod ambiguous;
mod api_shapes;
mod callback_door;
mod canary;
mod certificates;
mod commands;
mod config_only;
mod control;
mod dropped;
mod fidelity;
mod harness;
mod hops;
mod http_gate;
mod http_listener;
mod layers;
mod login;
mod mistakes;
mod oauth_answers;
mod oauth_client;
mod oauth_consent;
mod outage;
mod program;
mod refresh;
mod refused;
mod replay;
mod rotation;
mod routing;
mod schedules;
mod sellers;
mod sim;
mod sim_consent;
mod store;
mod store_commands;
mod store_copies;
mod store_damage;
mod store_file;
mod store_fixture;
mod store_full;
mod upstream_pool;
mod wire;
