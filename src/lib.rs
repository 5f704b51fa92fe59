//! Marketgate: an authenticating reverse proxy for marketplace APIs.
pub mod admin;
pub mod cli;
pub mod clock;
pub mod config;
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
pub mod telemetry;
pub mod tls;
pub mod token;
