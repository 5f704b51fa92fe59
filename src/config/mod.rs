//! `proxy.toml`: from text to checked [`Settings`]. The one rule: all mistakes are reported at once, each where it stands,
//! and none of them shows a secret.

pub mod settings;

pub use settings::{Account, App, Credentials, Settings};
