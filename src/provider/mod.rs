//! What differs between marketplaces. The one rule: a marketplace is data, never code.
//!
//! [`preset`] reads the data files under `presets/`; [`profile`] lays an app's own keys over a preset and checks the
//! result; [`template`] is the little language of header values (`{client_id}`, `{uuid}`, …); [`dressing`] works out, once
//! per account, what every request of that account must carry.

pub mod dressing;
pub mod preset;
pub mod profile;
pub mod template;

pub use dressing::Dressing;
pub use preset::{Keys, Preset};
pub use profile::{
    Budget, ClientAuth, ExpirySignal, GrantKind, HttpUrl, Profile, ProfileError, Replay, TokenEndpoint,
};
pub use template::Template;
