//! A token endpoint that redirects. It is never followed: RFC 6749 knows none there, and a secret would go elsewhere.

use http::{HeaderMap, header::LOCATION};
use url::Url;

use crate::provider::HttpUrl;

/// Where a redirect leads, without its query.
pub(super) struct Redirect {
    /// In words.
    pub(super) target: String,
    /// What helps.
    pub(super) advice: String,
}

impl Redirect {
    pub(super) fn of(headers: &HeaderMap, from: &HttpUrl) -> Self {
        let from = Url::parse(&from.to_string()).ok();
        let location = headers.get(LOCATION).and_then(|value| value.to_str().ok());
        let to = location.and_then(|location| from.as_ref()?.join(location).ok());
        let (Some(from), Some(to)) = (from, to) else {
            return Self { target: "an unknown place".to_owned(), advice: check("check token_url") };
        };
        let target = if to.origin() == from.origin() {
            to.path().to_owned()
        } else {
            format!("{}{}", to.origin().ascii_serialization(), to.path())
        };
        let whole = format!("{}{}", to.origin().ascii_serialization(), to.path());
        let is_same_place = to.host_str() == from.host_str()
            && to.path().trim_end_matches('/') == from.path().trim_end_matches('/');
        let advice = if is_same_place {
            format!("write token_url = \"{whole}\"")
        } else {
            check(&format!("if tokens are issued there, write token_url = \"{whole}\""))
        };
        Self { target, advice }
    }
}

fn check(what: &str) -> String {
    format!("{what}; a login page or a portal of the network redirects too")
}
