//! Marketgate: an authenticating reverse proxy for marketplace APIs.
pub mod clock;
pub mod config;
pub mod names;
pub mod provider;
pub mod secret;
pub mod sim;
pub mod token;
