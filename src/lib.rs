//! Marketgate, an authenticating reverse proxy for marketplace APIs: programs send plain requests, and every one leaves
//! with a valid access token on it.
//!
//! This page is the map. Read it, then follow one request and one refresh, and you have seen the house.
//!
//! # Words
//!
//! A **provider** is what a marketplace is: endpoints, grants, quirks; data, not code. An **app** is one entry
//! `[apps.NAME]` of the configuration: a provider, one of its **environments**, and usually one registered API client.
//! An **account** is one seller, or one credential, under an app. A **token** is an access token with its lifetime, and
//! a **keeper** the task that keeps one account's token fresh. A **caller** is a program that sends plain requests; a
//! **route** is how its request names app and account; the **upstream** is the marketplace's API host. A **door** is a
//! listener with its own rules.
//!
//! # The floors, top to bottom
//!
//! A file imports only downwards, never sideways into another floor's business, and `tests/it/layers.rs` holds it to that.
//!
//! | Floor | What it knows |
//! |---|---|
//! | [`cli`] | the commands: arguments, streams, exit codes |
//! | [`gateway`] | the whole program while it serves, and the order in which it ends |
//! | [`admin`] | the admin door: health, metrics, the accounts |
//! | [`proxy`] | the proxy door: guard, route, header policy, the connections to marketplaces |
//! | [`http`] | what doors share: the listener, the gate before the parser, answers of our own |
//! | [`grant`] | the heart: accounts in use, their keepers, when to refresh, the meters |
//! | [`oauth`] | the wire: one token call, and its answer sorted |
//! | [`store`] | what must survive: accounts, grants, intents; its SQLite form, sealed |
//! | [`tls`], [`telemetry`] | certificates; log lines |
//! | [`config`] | `proxy.toml`: from text to checked settings, every mistake where it stands |
//! | [`provider`] | the presets, and how a request of theirs is dressed |
//! | [`metrics`], [`token`], [`secret`], [`clock`], [`chance`], [`names`], [`dots`] | the ground |
//!
//! [`sim`], the simulated marketplaces, stands beside the house and imports nothing of it: a simulator that shared our
//! code would confirm our misunderstandings.
//!
//! # The path of a request
//!
//! [`http::listener`] accepts; [`http::gate`] judges the raw bytes before hyper may repair them; [`proxy::exchange`] tells
//! the rest in order: [`proxy::guard`], [`proxy::route`], the token borrowed from a [`grant::LiveAccount`],
//! [`proxy::headers`], [`proxy::upstream`], and back. Every answer of our own is an [`http::problem::Problem`].
//!
//! # The path of a refresh
//!
//! Never inside a request: a request only reads what the keeper published, and wakes it. [`grant::keeper`] rests until
//! its plan says otherwise, takes its place at the [`grant::meter`], has [`oauth::TokenClient`] make one call, and
//! publishes. While it does so it holds the account alive, which is why there are never two keepers of one account; the
//! argument is in [`grant::live`].

pub mod accounts;
pub mod admin;
pub mod chance;
pub mod cli;
pub mod clock;
pub mod config;
pub mod dots;
pub mod gateway;
pub mod grant;
pub mod http;
pub mod metrics;
pub mod names;
pub mod oauth;
pub mod provider;
pub mod proxy;
pub mod secret;
pub mod sim;
pub mod store;
pub mod telemetry;
pub mod tls;
pub mod token;
