//! Which header fields cross, in either direction. The one rule: everything that must not cross is taken away first, and
//! the credential goes on last, once.

use http::{
    HeaderMap, HeaderName, HeaderValue,
    header::{self, Entry},
};

use crate::{
    grant::Credential,
    provider::{Dressing, Profile, dressing::same_spelling},
};

/// Fields that most requests have, and that always cross unless the account sets them itself.
fn is_harmless(name: &HeaderName) -> bool {
    matches!(
        *name,
        header::ACCEPT
            | header::ACCEPT_CHARSET
            | header::ACCEPT_ENCODING
            | header::ACCEPT_LANGUAGE
            | header::CACHE_CONTROL
            | header::CONTENT_ENCODING
            | header::CONTENT_LENGTH
            | header::CONTENT_TYPE
            // The pool writes the upstream's over it.
            | header::HOST
            | header::IF_MATCH
            | header::IF_MODIFIED_SINCE
            | header::IF_NONE_MATCH
            | header::PRAGMA
            | header::RANGE
            | header::USER_AGENT
    )
}

/// Fields that most replies have, and that always cross.
fn is_harmless_in_reply(name: &HeaderName) -> bool {
    matches!(
        *name,
        header::ACCEPT_RANGES
            | header::AGE
            | header::CACHE_CONTROL
            | header::CONTENT_ENCODING
            | header::CONTENT_LENGTH
            | header::CONTENT_TYPE
            | header::DATE
            | header::ETAG
            | header::EXPIRES
            | header::LAST_MODIFIED
            | header::LOCATION
            | header::RETRY_AFTER
            | header::SERVER
            | header::VARY
    )
}

/// Fields about one connection only (RFC 9110 §7.6.1), and those that make a proxy change protocols.
const HOP_BY_HOP: [&str; 11] = [
    "connection",
    "keep-alive",
    "proxy-connection",
    "proxy-authenticate",
    "proxy-authentication-info",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "http2-settings",
    // Answered before it gets here.
    "expect",
];

/// Credentials a caller may have left on a request, whichever way a server would spell them.
const CREDENTIALS: [&str; 8] = [
    "authorization",
    "proxy-authorization",
    "cookie",
    "cookie2",
    "wm_sec.access_token",
    "wm_sec.auth_signature",
    "authentication",
    // CGI programs take it for the address of their own proxy.
    "proxy",
];

/// What says where a request came from or goes to: the upstream shall not take its bearings from a caller. `Host` and
/// `Content-Length` themselves are harmless; what is left of these names are imitations.
const BEARINGS: [&str; 7] = [
    "forwarded",
    "x-real-ip",
    "x-original-url",
    "x-original-host",
    "x-rewrite-url",
    "host",
    "content-length",
];

/// Reply fields that would act on the caller's browser or client for our origin, in the upstream's name.
const REPLY_ONLY_FOR_UPSTREAM: [&str; 7] = [
    "set-cookie",
    "set-cookie2",
    "alt-svc",
    "strict-transport-security",
    "clear-site-data",
    "nel",
    "report-to",
];

/// Fields that are added beside the account's own: the token's, and one that frames the body.
const ADDED: usize = 2;

/// What of a caller's request may reach the marketplace.
pub fn clean_request(headers: &HeaderMap, profile: &Profile, dressing: &Dressing) -> HeaderMap {
    let nominated = nominated(headers);
    let token_header = profile.token_header.as_str();
    let refused = |name: &HeaderName| {
        let harmless = is_harmless(name);
        let name = name.as_str();
        // `Authorization_` and `-Authorization` are `Authorization` to some servers.
        let bare = if harmless { name } else { name.trim_matches(|c: char| !c.is_ascii_alphanumeric()) };
        (!harmless && is_refused(bare))
            || same_spelling(token_header, bare)
            || dressing.refuses(name, bare)
            || nominates(&nominated, name)
    };
    let mut clean = HeaderMap::with_capacity(headers.len() + dressing.count() + ADDED);
    for (name, value) in headers.iter().filter(|(name, _)| !refused(name)) {
        clean.append(name, value.clone());
    }
    clean
}

fn is_refused(bare: &str) -> bool {
    let is_one_of = |names: &[&str]| names.iter().any(|known| same_spelling(known, bare));
    begins_with("marketgate-", bare)
        || begins_with("x-forwarded-", bare)
        || is_one_of(&HOP_BY_HOP)
        || is_one_of(&BEARINGS)
        || is_one_of(&CREDENTIALS)
}

/// Puts the account's headers on a clean request, the credential last.
pub fn dress(headers: &mut HeaderMap, profile: &Profile, dressing: &Dressing, credential: &Credential) {
    dressing.dress(headers, || uuid::Uuid::new_v4().to_string());
    headers.insert(profile.token_header.clone(), credential.header.clone());
}

/// Takes from a marketplace's reply what must not reach the caller.
pub fn clean_reply(headers: &mut HeaderMap) {
    let nominated = nominated(headers);
    // Of those that go, the only one that many replies have.
    headers.remove(header::CONNECTION);
    let refused = |name: &HeaderName| {
        (!is_harmless_in_reply(name) && is_refused_in_reply(name.as_str()))
            || nominates(&nominated, name.as_str())
    };
    let doomed: Vec<HeaderName> = headers.keys().filter(|name| refused(name)).cloned().collect();
    for name in doomed {
        if let Entry::Occupied(entry) = headers.entry(name) {
            entry.remove_entry_mult();
        }
    }
    remove_own_status(headers);
}

fn is_refused_in_reply(name: &str) -> bool {
    HOP_BY_HOP.contains(&name)
        || REPLY_ONLY_FOR_UPSTREAM.contains(&name)
        || name.starts_with("access-control-")
        || name.starts_with("marketgate-")
}

/// An upstream's `Proxy-Status` passes, but nobody else speaks as `marketgate` (RFC 9209 §2).
fn remove_own_status(headers: &mut HeaderMap) {
    static NAME: HeaderName = HeaderName::from_static("proxy-status");
    if !headers.contains_key(&NAME) {
        return;
    }
    let speaks_as_us = |value: &HeaderValue| {
        let members = String::from_utf8_lossy(value.as_bytes()).to_ascii_lowercase();
        members.split(',').any(|member| member.trim().trim_start_matches('"').starts_with("marketgate"))
    };
    let theirs: Vec<HeaderValue> =
        headers.get_all(&NAME).iter().filter(|value| !speaks_as_us(value)).cloned().collect();
    headers.remove(&NAME);
    headers.extend(theirs.into_iter().map(|value| (NAME.clone(), value)));
}

fn begins_with(prefix: &str, name: &str) -> bool {
    name.get(..prefix.len()).is_some_and(|start| same_spelling(prefix, start))
}

/// What `Connection` says, where it says more than how long the connection lives.
fn nominated(headers: &HeaderMap) -> Vec<HeaderValue> {
    let lists = headers.get_all(header::CONNECTION).iter();
    let alone = |list: &&HeaderValue| {
        !["keep-alive", "close"].iter().any(|option| list.as_bytes().eq_ignore_ascii_case(option.as_bytes()))
    };
    lists.filter(alone).cloned().collect()
}

/// Whether `Connection` names this field as one of its own (RFC 9110 §7.6.1). A message cannot be unframed that way.
fn nominates(lists: &[HeaderValue], name: &str) -> bool {
    let named = |list: &HeaderValue| {
        let mut names = list.as_bytes().split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
        names.any(|named| named.eq_ignore_ascii_case(name.as_bytes()))
    };
    name != header::CONTENT_LENGTH.as_str() && lists.iter().any(named)
}

/// Allows the page of an allowed origin to read a reply (Fetch standard §3.2): ours to say, never the upstream's.
pub fn allow_origin(headers: &mut HeaderMap, origin: &HeaderValue) {
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
    headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static("*"));
    headers.append(header::VARY, HeaderValue::from_static("Origin"));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provider::{Keys, Preset};

    fn cleaned(provider: &str, fields: &[(&str, &str)]) -> Vec<String> {
        let preset = Preset::named(provider).unwrap();
        let profile =
            Profile::build(provider, preset, "simulator", "http://127.0.0.1:1", &Keys::default()).unwrap();
        let dressing = Dressing::new(&profile, |name| (name == "client_id").then(|| "id".into()));
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(
                HeaderName::from_bytes(name.as_bytes()).unwrap(),
                HeaderValue::from_str(value).unwrap(),
            );
        }
        let clean = clean_request(&headers, &profile, &dressing);
        let mut left: Vec<String> = clean.keys().map(ToString::to_string).collect();
        left.sort();
        left
    }

    #[test]
    fn every_credential_of_the_caller_is_dropped_in_every_spelling() {
        for name in [
            "Authorization",
            "authorization_",
            "Proxy-Authorization",
            "proxy_authorization",
            "Cookie",
            "WM_SEC.ACCESS_TOKEN",
            "wm-sec-access-token",
            "wm_sec_access_token",
            "WM.SEC.ACCESS.TOKEN",
            "Authentication",
            "authentication-",
            "-Authorization",
            "cookie2",
            "Proxy",
            "WM_SEC.AUTH_SIGNATURE",
            "marketgate_key",
            "x_forwarded_for",
            "X_Original_Host",
            "Proxy+Authorization",
            "~Cookie~",
            "WM!SEC#ACCESS$TOKEN",
            "X^Forwarded|Host",
            "Keep_Alive",
            "TE_",
            "host_",
            "content.length-",
        ] {
            assert_eq!(cleaned("depop", &[(name, "x"), ("accept", "y")]), ["accept"], "{name}");
        }
    }

    #[test]
    fn what_belongs_to_one_connection_stays_there() {
        let fields = [
            ("connection", "close, X-Mine"),
            ("x-mine", "1"),
            ("te", "trailers"),
            ("trailer", "x"),
            ("upgrade", "h2c"),
            ("keep-alive", "1"),
            ("expect", "100-continue"),
            ("x-forwarded-for", "1"),
            ("forwarded", "for=1"),
            ("content-type", "text/plain"),
            ("x-theirs", "2"),
        ];
        assert_eq!(cleaned("depop", &fields), ["content-type", "x-theirs"]);
    }

    #[test]
    fn identity_headers_are_dropped_and_other_preset_headers_stay_the_callers() {
        let fields = [
            ("wm_partner.id", "1"),
            ("wm-consumer-id", "2"),
            ("wm_qos.correlation_id", "3"),
            ("wm_svc.name", "4"),
        ];
        assert_eq!(cleaned("walmart-marketplace", &fields), ["wm_qos.correlation_id", "wm_svc.name"]);
    }
}
