//! What differs between marketplaces. The one rule: a marketplace is data, never code.
//!
//! [`preset`] reads the data files under `presets/`; [`profile`] lays an app's own keys over a preset and checks the
//! result, with the help of [`values`] (words and figures), [`http_url`] and the `environment` guard; [`template`] is the
//! little language of header values (`{client_id}`, `{uuid}`, …); [`answers`] says how a token endpoint's answers are read;
//! `transport` says how an app's hosts are reached; [`authorization`] and [`consent`] say how a seller's
//! consent is asked for and how long it carries; [`dressing`] works out, once per account, what every
//! request of that account must carry.

pub mod answers;
pub mod authorization;
pub mod consent;
pub mod dressing;
mod environment;
pub mod http_url;
pub mod preset;
pub mod profile;
mod profile_error;
pub mod template;
mod transport;
pub mod values;

pub use answers::{AnswerRules, GrantEnd, MemberPath, TOKEN_MEMBERS, TokenMember, TokenTypes};
pub use authorization::{Authorization, Dialect};
pub use consent::{Consent, Identity, Lifetimes};
pub use dressing::Dressing;
pub use http_url::HttpUrl;
pub use preset::{Keys, Preset};
pub use profile::{Profile, TokenEndpoint};
pub use profile_error::ProfileError;
pub use template::Template;
pub use transport::{ClientCertificate, Exception, ForwardProxy, Transport, WayOut};
pub use values::{Budget, ClientAuth, ExpirySignal, GrantKind, Replay};
