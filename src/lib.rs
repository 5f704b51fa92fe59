//! Marketgate: an authenticating reverse proxy for marketplace APIs.
pub mod sim;
