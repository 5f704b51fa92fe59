//! A mistake in a provider's keys. The one rule: it names the key, so that the configuration can point at it.

/// A key whose value cannot stand. `key` names it as the configuration does, so that the mistake can be pointed at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProfileError {
    /// The app's key; for entries of a table `headers.NAME`.
    pub key: String,
    /// What is wrong and what mends it.
    pub message: String,
}

pub(super) fn fault(key: &str, message: impl Into<String>) -> ProfileError {
    ProfileError { key: key.to_owned(), message: message.into() }
}
