//! A marketplace's terms for grants, as the keeper needs them.
use std::time::Duration;

use crate::{provider::Profile, secret::Secret};

pub(super) fn reuse_window(_profile: &Profile) -> Duration {
    Duration::from_secs(3)
}

pub(super) fn refresh_token_lifetime(_profile: &Profile) -> Option<Duration> {
    None
}

pub(super) fn subject_of(_profile: &Profile, _token: &Secret) -> Option<String> {
    None
}
