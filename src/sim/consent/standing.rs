//! What sellers answer when nobody is there to ask them.

use serde::Serialize;

/// Whether the authorization endpoints answer by themselves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum AutoConsent {
    /// They show their page.
    #[default]
    Off,
    /// Every seller says yes at once.
    Allow,
    /// Every seller says no at once.
    Deny,
}

/// The standing answer, and the seller who gives it or is selected on the page.
#[derive(Clone, Default)]
pub(in crate::sim) struct Standing {
    pub(in crate::sim) auto: AutoConsent,
    pub(in crate::sim) seller: Option<String>,
    /// The browser session to which consents belong from now on.
    pub(in crate::sim) session: Option<String>,
}
