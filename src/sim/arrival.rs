//! A request that has arrived whole, as the marketplaces see it. The one rule: path and query stay the bytes that
//! came; whoever wants them decoded decodes one segment or one parameter.

use bytes::Bytes;
use hyper::header::{CONTENT_TYPE, HeaderMap};
use hyper::http::request::Parts;
use hyper::{Method, Uri};
use serde_json::Value;
use std::net::IpAddr;

use super::clock::Moment;
use super::form::{decode, query_value};
use super::grants::Found;
use super::marketplace::{Kind, Marketplace};

/// Where a request wants to go.
#[derive(Clone, Copy)]
pub(super) struct Place<'a> {
    pub(super) marketplace: Marketplace,
    pub(super) kind: Kind,
    pub(super) path: &'a str,
}

impl<'a> Place<'a> {
    pub(super) fn of(parts: &'a Parts) -> Self {
        let (marketplace, path) = Marketplace::of_path(parts.uri.path());
        Self { marketplace, kind: marketplace.kind_of(path), path }
    }
}

/// The request target as it came.
pub(super) fn target(parts: &Parts) -> String {
    let in_form = parts.uri.path_and_query().map_or("*", hyper::http::uri::PathAndQuery::as_str);
    if parts.uri.scheme().is_some() && parts.version < hyper::Version::HTTP_2 {
        return parts.uri.to_string();
    }
    in_form.to_owned()
}

/// Method, target, headers, body, and when and whence they came.
pub(super) struct Arrival {
    pub(super) marketplace: Marketplace,
    pub(super) kind: Kind,
    pub(super) method: Method,
    /// The request target, byte for byte.
    pub(super) target: String,
    /// The vendor's own raw path.
    pub(super) path: String,
    /// The raw query, empty where there is none.
    pub(super) query: String,
    pub(super) headers: HeaderMap,
    pub(super) body: Received,
    /// Milliseconds on the simulator's clock, and the same moment since 1970.
    pub(super) now: u64,
    pub(super) epoch: u64,
    /// Scheme and authority by which the client reached the simulator.
    pub(super) origin: String,
    pub(super) peer: IpAddr,
    /// A fault's lifetime for the token to be issued, seconds.
    pub(super) lifetime: Option<u64>,
    /// Whether a fault makes a refresh bring the access token that lives already.
    pub(super) same_token: bool,
    /// What was found of its refresh token when the work on it began, where that was earlier.
    pub(super) found: Option<Found>,
}

/// What is known of a body that was read to its end.
#[derive(Default)]
pub(super) struct Received {
    pub(super) length: u64,
    pub(super) sha256: String,
    /// The bytes, where they were kept.
    pub(super) bytes: Bytes,
    /// Longer than what is kept for this request.
    pub(super) too_long: bool,
    pub(super) trailers: HeaderMap,
}

impl Arrival {
    pub(super) fn moment(&self) -> Moment {
        Moment { now: self.now, epoch: self.epoch }
    }

    /// The first value of a header, where it is text.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// A header that is there and says something.
    pub(super) fn filled(&self, name: &str) -> Option<&str> {
        self.header(name).map(str::trim).filter(|value| !value.is_empty())
    }

    /// The first of these headers that came more than once.
    pub(super) fn doubled(&self, names: &[&'static str]) -> Option<&'static str> {
        names.iter().copied().find(|name| self.headers.get_all(*name).iter().nth(1).is_some())
    }

    /// The media type of the body, in lower case, without parameters.
    pub(super) fn media_type(&self) -> Option<String> {
        let value = self.headers.get(CONTENT_TYPE)?.to_str().ok()?;
        Some(value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase())
    }

    pub(super) fn is_form(&self) -> bool {
        self.media_type().as_deref() == Some("application/x-www-form-urlencoded")
    }

    pub(super) fn accepts(&self, media_type: &str) -> bool {
        let accepted = self.headers.get_all("accept").iter().filter_map(|value| value.to_str().ok());
        let mut media = accepted.flat_map(|value| value.split(',')).map(|one| one.split(';').next());
        media.any(|one| one.is_some_and(|one| one.trim().eq_ignore_ascii_case(media_type)))
    }

    /// The body as a JSON object; words for the sender where it is none.
    pub(super) fn json_object(&self) -> Result<Value, String> {
        let value: Value = serde_json::from_slice(&self.body.bytes).map_err(|error| error.to_string())?;
        if value.is_object() { Ok(value) } else { Err("the body is not a JSON object".to_owned()) }
    }

    /// The segments of the path after `prefix`, raw. `/a/b/` has three, the last of them empty.
    pub(super) fn segments_below<'a>(&'a self, prefix: &str) -> Option<Vec<&'a str>> {
        let rest = self.path.strip_prefix(prefix)?.strip_prefix('/')?;
        Some(rest.split('/').collect())
    }

    pub(super) fn query_value(&self, name: &str) -> Option<String> {
        query_value(&self.query, name)
    }

    /// A query parameter that is a number, if it is there and lies in the range; `Err` where it is something else.
    pub(super) fn query_number(
        &self,
        name: &str,
        range: std::ops::RangeInclusive<u64>,
    ) -> Result<Option<u64>, ()> {
        let Some(text) = self.query_value(name) else { return Ok(None) };
        text.parse().ok().filter(|number| range.contains(number)).map(Some).ok_or(())
    }
}

/// A path segment, decoded once.
pub(super) fn segment(raw: &str) -> Option<String> {
    decode(raw).filter(|text| !text.is_empty())
}

/// The host the client asked for (RFC 9110 §7.2): `:authority`, an absolute target's, or `Host`.
pub(super) fn authority<'a>(uri: &'a Uri, headers: &'a HeaderMap) -> Option<&'a str> {
    let host = headers.get("host").and_then(|value| value.to_str().ok());
    uri.authority().map(hyper::http::uri::Authority::as_str).or(host)
}

/// Scheme and authority by which the client reached the simulator.
pub(super) fn origin(uri: &Uri, headers: &HeaderMap, tls: bool) -> String {
    let authority = authority(uri, headers).unwrap_or("localhost");
    format!("{}://{authority}", if tls { "https" } else { "http" })
}
