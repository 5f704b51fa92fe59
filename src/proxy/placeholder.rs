//! Token paths of the vendors, answered here. The one rule: what is given out is worthless, and dropped when it comes back.
//!
//! Some SDKs insist on fetching a token themselves. They get a well-formed answer, and the proxy puts the real token on
//! their requests like on everybody's.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Response, header};
use http_body_util::Full;

use crate::{config::App, provider::GrantKind};

/// What stands for a token. Whoever reads it in a log shall know what it is.
pub const TOKEN: &str = "marketgate-placeholder-token";

/// How long a client may keep it, in seconds: it is never checked.
const LIFETIME: u32 = 3600;

/// The answer to a token request, if this is one.
pub fn answer(app: &App, method: &Method, rest: &str, headers: &HeaderMap) -> Option<Response<Full<Bytes>>> {
    let path = rest.split('?').next().unwrap_or_default();
    let asks_for_token = method == Method::POST && app.profile.token_paths.iter().any(|known| known == path);
    asks_for_token.then(|| if wants_xml(headers) { xml() } else { json(app.profile.grant) })
}

/// Walmart's older clients read XML only.
fn wants_xml(headers: &HeaderMap) -> bool {
    let accept = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    accept.contains("xml") && !accept.contains("json")
}

fn json(grant: GrantKind) -> Response<Full<Bytes>> {
    let mut answer =
        serde_json::json!({ "access_token": TOKEN, "token_type": "Bearer", "expires_in": LIFETIME });
    if grant != GrantKind::ClientCredentials {
        answer["refresh_token"] = TOKEN.into();
    }
    respond("application/json", answer.to_string())
}

fn xml() -> Response<Full<Bytes>> {
    let answer = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\" standalone=\"yes\"?><OAuthTokenDTO><accessToken>{TOKEN}</accessToken>\
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
