//! Marketgate, an authenticating reverse proxy for marketplace APIs: programs send plain requests, and every one leaves
//! with a valid access token on it.
//!
//! This page is the map. Read it, then follow one request and one refresh, and you have seen the house.
//!
//! # Words
//!
//! A **provider** is what a marketplace is: endpoints, grants, quirks; data, not code. An **app** is one entry
//! `[apps.NAME]` of the configuration: a provider, one of its **environments**, and usually one registered API client.
//! An **account** is one seller, or one credential, under an app. Its **grant** entitles us to tokens: client credentials, a
//! refresh token, or a static key; a **consent** is a seller's approval, given in a browser. A **token** is an access token
//! with its lifetime, and a **keeper** the task that keeps one account's token fresh. A **caller** is a program that sends
//! plain requests; a **route** is how its request names app and account; the **upstream** is the marketplace's API host. A
//! **door** is a listener with its own rules.
//!
//! # The floors, top to bottom
//!
//! A file imports only downwards, never sideways into another floor's business, and `tests/it/layers.rs` holds it to that.
//!
//! | Floor | What it knows |
//! |---|---|
//! | [`cli`] | the commands: arguments, streams, exit codes |
//! | [`gateway`] | the whole program while it serves, and the order in which it ends |
//! | [`admin`] | the admin door and the control socket: health, metrics, the accounts API |
//! | [`proxy`] | the proxy door: guard, route, header policy, the connections to marketplaces |
//! | [`http`] | what doors share: the listener, the gate before the parser, answers of our own |
//! | [`accounts`] | what can be done to accounts: find, list, import, connect, log out, export, keep alive |
//! | [`grant`] | the heart: accounts in use, their keepers, when to refresh, the order of a rotation, the meters |
//! | [`oauth`] | the wire: a token call and its answer judged, a consent's address and its callback |
//! | [`store`] | what must survive: accounts, grants, intents; its SQLite form, sealed |
//! | [`net`] | connections opened: names, addresses, the forward proxy, TLS |
//! | [`telemetry`] | log lines |
//! | [`config`] | `proxy.toml`: from text to checked settings, every mistake where it stands |
//! | [`tls`] | certificates: whom we trust, and what we show |
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
//! Never inside a request: a request only reads what the keeper published, and wakes it. `grant::keeper` rests until
//! its plan says otherwise, takes its place at the [`grant::meter`], has [`oauth::TokenClient`] make one call, and
//! publishes. While it does so it holds the account alive, which is why there are never two keepers of one account; the
//! argument is in [`grant::live`].
//!
//! A refresh token may be good for one use, and its successor lost for ever. So its order is fixed: a place at the meter, a
//! durable intent ([`store::Store::begin`]), one call, its answer read to the end, one durable compare-and-swap
//! ([`store::Store::replace`]), and only then is the new access token used. Nothing between the intent and the
//! compare-and-swap is cancelled. What came from a token endpoint is in the store or in its keeper's hands; it is never
//! dropped. `grant/rotation.rs` tells it, `grant/custody.rs` holds it.
//!
//! # The path of a consent
//!
//! [`accounts::consent`] begins one: a `state` and a PKCE verifier, kept in the store. The seller's browser goes to the
//! marketplace and comes back to a listener of `login`, to a door of ours, or to the integrator's own program, which hands us
//! the address. Whichever way, the callback is taken once, held against what was begun, its code exchanged, the seller's
//! identity compared with the one the account is pinned to, and the grant stored. The first API call proves it.
//!
//! # What survives
//!
//! [`store`] keeps accounts, grants, intents and consents: one sealed document for each record, changed only by comparing its
//! generation. One process serves a store; commands are clients of it, over the control socket.

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
pub mod net;
pub mod oauth;
pub mod provider;
pub mod proxy;
pub mod secret;
pub mod sim;
pub mod store;
pub mod telemetry;
pub mod tls;
pub mod token;
