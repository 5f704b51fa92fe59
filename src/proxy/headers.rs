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

/// Fields about one connection only (RFC 9110 §7.6.1), and those that make a proxy change protocols.
const HOP_BY_HOP: [&str; 10] = [
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

/// What says where a request came from: the upstream shall not take its bearings from a caller.
const ORIGIN_OF_REQUEST: [&str; 5] =
    ["forwarded", "x-real-ip", "x-original-url", "x-original-host", "x-rewrite-url"];

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

/// Room for the fields that [`dress`] and the way upstream add.
const ADDED: usize = 8;

/// What of a caller's request may reach the marketplace.
pub fn clean_request(headers: &HeaderMap, profile: &Profile, dressing: &Dressing) -> HeaderMap {
    let nominated = nominated(headers);
    let token_header = profile.token_header.as_str();
    let refused = |name: &str| {
        // `Authorization_` and `-Authorization` are `Authorization` to some servers.
        let bare = name.trim_matches(['_', '-', '.']);
        begins_with("marketgate-", bare)
            || HOP_BY_HOP.contains(&name)
            // `Host` stays where it is: the pool writes the upstream's over it.
            || name == "expect"
            || ORIGIN_OF_REQUEST.iter().any(|known| same_spelling(known, bare))
            || begins_with("x-forwarded-", bare)
            || CREDENTIALS.iter().any(|known| same_spelling(known, bare))
            || same_spelling(token_header, bare)
            || dressing.refuses(bare)
            || nominated.iter().any(|n| n == name)
    };
    let mut clean = HeaderMap::with_capacity(headers.len() + ADDED);
    for (name, value) in headers.iter().filter(|(name, _)| !refused(name.as_str())) {
        clean.append(name, value.clone());
    }
    clean
}

/// Puts the account's headers on a clean request, the credential last.
pub fn dress(headers: &mut HeaderMap, profile: &Profile, dressing: &Dressing, credential: &Credential) {
    dressing.dress(headers, || uuid::Uuid::new_v4().to_string());
    headers.insert(profile.token_header.clone(), credential.header.clone());
}

/// Takes from a marketplace's reply what must not reach the caller.
pub fn clean_reply(headers: &mut HeaderMap) {
    let nominated = nominated(headers);
    let refused = |name: &str| {
        HOP_BY_HOP.contains(&name)
            || REPLY_ONLY_FOR_UPSTREAM.contains(&name)
            || name.starts_with("access-control-")
            || name.starts_with("marketgate-")
            || nominated.iter().any(|n| n == name)
    };
    remove(headers, refused);
    remove_own_status(headers);
}

/// An upstream's `Proxy-Status` passes, but nobody else speaks as `marketgate` (RFC 9209 §2).
fn remove_own_status(headers: &mut HeaderMap) {
    const NAME: &str = "proxy-status";
    if !headers.contains_key(NAME) {
        return;
    }
    let speaks_as_us = |value: &HeaderValue| {
        let members = String::from_utf8_lossy(value.as_bytes()).to_ascii_lowercase();
        members.split(',').any(|member| member.trim().trim_start_matches('"').starts_with("marketgate"))
    };
    let theirs: Vec<HeaderValue> =
        headers.get_all(NAME).iter().filter(|value| !speaks_as_us(value)).cloned().collect();
    headers.remove(NAME);
    headers.extend(theirs.into_iter().map(|value| (HeaderName::from_static(NAME), value)));
}

fn begins_with(prefix: &str, name: &str) -> bool {
    name.get(..prefix.len()).is_some_and(|start| same_spelling(prefix, start))
}

/// Fields that `Connection` names (RFC 9110 §7.6.1), lower-case. A message cannot be unframed that way.
fn nominated(headers: &HeaderMap) -> Vec<String> {
    let lists = headers.get_all(header::CONNECTION).iter().filter_map(|value| value.to_str().ok());
    let names = lists.flat_map(|list| list.split(',')).map(|name| name.trim().to_ascii_lowercase());
    names.filter(|name| !matches!(name.as_str(), "" | "close" | "keep-alive" | "content-length")).collect()
}

fn remove(headers: &mut HeaderMap, refused: impl Fn(&str) -> bool) {
    let doomed: Vec<HeaderName> = headers.keys().filter(|name| refused(name.as_str())).cloned().collect();
    for name in doomed {
        if let Entry::Occupied(entry) = headers.entry(name) {
            entry.remove_entry_mult();
        }
    }
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
