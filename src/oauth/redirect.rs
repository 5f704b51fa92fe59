//! Whether a seller came back to the registered redirect address. The one rule: byte for byte (RFC 9700 §2.1, RFC 3986
//! §6.2.1): nothing is decoded, lower-cased or resolved, so that nothing but the address itself is it.

use std::borrow::Cow;

/// Where a callback arrived, as far as it says so: the text before its query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Arrival {
    /// A whole URL, up to its query.
    Url(String),
    /// A path, as a server of ours saw it.
    Path(String),
    /// A query alone.
    Unsaid,
}

impl Arrival {
    /// Whether it is at `redirect_uri`, and `parameters` hold the query that this may have of its own.
    pub(super) fn is_at(&self, redirect_uri: &str, parameters: &[(String, String)]) -> bool {
        let (address, query) = redirect_uri.split_once('?').unwrap_or((redirect_uri, ""));
        let path = path(address);
        // Browsers write the empty path as `/`.
        let spelled_out = || path.is_some_and(str::is_empty);
        match self {
            Self::Unsaid => true,
            Self::Url(url) => {
                let same = url == address || (spelled_out() && url.strip_suffix('/') == Some(address));
                same && keeps(query, parameters)
            }
            Self::Path(arrived) => {
                let same = path == Some(arrived.as_str()) || (spelled_out() && arrived == "/");
                same && keeps(query, parameters)
            }
        }
    }
}

fn path(address: &str) -> Option<&str> {
    let (_, rest) = address.split_once("://")?;
    Some(rest.find('/').map_or("", |slash| &rest[slash..]))
}

/// RFC 6749 §3.1.2: the redirect address's own query is retained. Each of its parameters is there, as often and with the
/// values it was registered with.
fn keeps(query: &str, parameters: &[(String, String)]) -> bool {
    let own: Vec<(Cow<'_, str>, Cow<'_, str>)> = url::form_urlencoded::parse(query.as_bytes()).collect();
    own.iter().all(|(name, _)| {
        let registered = own.iter().filter(|(other, _)| other == name).map(|(_, value)| value.as_ref());
        let arrived = parameters.iter().filter(|(other, _)| other == name).map(|(_, value)| value.as_str());
        registered.eq(arrived)
    })
}
