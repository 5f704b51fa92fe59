//! Token paths of the vendors, answered here. The one rule: what is given out opens nothing but Marketgate, and to nobody whom it
//! would not let in without.
//!
//! Some SDKs insist on fetching a token themselves, and send it from then on. They get a well-formed answer, and the proxy puts
//! the real token on their requests like on everybody's. Where callers have keys, the token is the caller's own: so the SDK
//! shows it with every request.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Response, header};
use http_body_util::Full;
use url::form_urlencoded;

use super::route::Route;
use crate::provider::GrantKind;

/// What stands for a token where callers have no keys. Whoever reads it in a log shall know what it is.
pub const TOKEN: &str = "marketgate-placeholder-token";

/// How long a client may keep it, in seconds: it is never checked.
const LIFETIME: u32 = 3600;

/// Whether this asks for a token. A slash at the end means nothing: whoever writes one means no resource of the marketplace's.
pub fn is_asked_for(route: &Route<'_>, method: &Method) -> bool {
    fn place(path: &str) -> &str {
        path.split('?').next().unwrap_or_default().trim_end_matches('/')
    }
    method == Method::POST
        && route.app.profile.token_paths.iter().any(|known| place(known) == place(route.rest))
}

/// The answer to a token request.
pub fn answer(route: &Route<'_>, headers: &HeaderMap, token: &str) -> Response<Full<Bytes>> {
    if wants_xml(headers) { xml(token) } else { json(route.app.profile.grant, token) }
}

/// The client's secret in the body of a token request, a form (RFC 6749 §2.3.1) or JSON.
pub fn secret_in(body: &str) -> Option<String> {
    if body.trim_start().starts_with('{') {
        let document: serde_json::Value = serde_json::from_str(body).ok()?;
        return Some(document.get("client_secret")?.as_str()?.to_owned());
    }
    let mut pairs = form_urlencoded::parse(body.as_bytes());
    pairs.find_map(|(name, value)| (name == "client_secret").then(|| value.into_owned()))
}

/// Walmart's older clients read XML only.
fn wants_xml(headers: &HeaderMap) -> bool {
    let accept = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    accept.contains("xml") && !accept.contains("json")
}

fn json(grant: GrantKind, token: &str) -> Response<Full<Bytes>> {
    let mut answer =
        serde_json::json!({ "access_token": token, "token_type": "Bearer", "expires_in": LIFETIME });
    if grant != GrantKind::ClientCredentials {
        answer["refresh_token"] = token.into();
    }
    respond("application/json", answer.to_string())
}

fn xml(token: &str) -> Response<Full<Bytes>> {
    // A key may hold what means something in XML.
    let token = token.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    let answer = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\" standalone=\"yes\"?><OAuthTokenDTO><accessToken>{token}</accessToken>\
         <tokenType>Bearer</tokenType><expiresIn>{LIFETIME}</expiresIn></OAuthTokenDTO>"
    );
    respond("application/xml", answer)
}

fn respond(content_type: &'static str, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert("proxy-status", HeaderValue::from_static("marketgate; details=\"placeholder token\""));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_found_in_a_form_and_in_json() {
        for body in [
            "grant_type=client_credentials&client_id=a&client_secret=k%2F1+2",
            "{\"grant_type\":\"client_credentials\",\"client_secret\":\"k/1 2\"}",
            " \n{\"client_secret\":\"k/1 2\"}",
        ] {
            assert_eq!(secret_in(body).as_deref(), Some("k/1 2"), "{body}");
        }
        for body in ["", "client_id=a", "{\"client_secret\":1}", "{", "[]", "secret=x"] {
            assert_eq!(secret_in(body), None, "{body}");
        }
    }
}
