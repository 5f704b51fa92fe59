//! What Wallapop's realm tells about itself and about who one is. The one rule: the addresses it names are the ones by
//! which the client reached it.

use hyper::Method;
use serde_json::json;

use crate::sim::answer::Answer;
use crate::sim::arrival::Arrival;
use crate::sim::consent::wallapop_issuer;
use crate::sim::credential;
use crate::sim::marketplace::Kind;
use crate::sim::world::World;

pub(super) const USERINFO: &str = "/realms/wallapop-connect/protocol/openid-connect/userinfo";

/// OpenID Connect Discovery 1.0 §4.2, RFC 8414 §2, RFC 9207 §3.
pub(in crate::sim) fn configuration(arrival: &Arrival) -> Answer {
    if Some(arrival.path.as_str()) != arrival.marketplace.endpoint(Kind::Discovery) {
        return Answer::json(404, &json!({ "error": "HTTP 404 Not Found" }));
    }
    if arrival.method != Method::GET {
        return Answer::json(405, &json!({ "error": "HTTP 405 Method Not Allowed" })).header("allow", "GET");
    }
    let endpoint = |kind: Kind| {
        let path = arrival.marketplace.endpoint(kind).unwrap_or_default();
        format!("{}/wallapop{path}", arrival.origin)
    };
    let configuration = json!({
        "issuer": wallapop_issuer(arrival),
        "authorization_endpoint": endpoint(Kind::Consent),
        "token_endpoint": endpoint(Kind::Token),
        "revocation_endpoint": endpoint(Kind::Revocation),
        "userinfo_endpoint": format!("{}/wallapop{USERINFO}", arrival.origin),
        "grant_types_supported": ["authorization_code", "refresh_token"],
        "response_types_supported": ["code"],
        "response_modes_supported": ["query"],
        "subject_types_supported": ["public"],
        "scopes_supported": ["openid", "profile", "email", "offline_access"],
        "code_challenge_methods_supported": ["S256"],
        "token_endpoint_auth_methods_supported": ["client_secret_post"],
        "revocation_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post"],
        "authorization_response_iss_parameter_supported": true,
    });
    Answer::json(200, &configuration)
        .header("cache-control", "no-cache, must-revalidate, no-transform, no-store")
}

/// OpenID Connect Core 1.0 §5.3, for tokens that were asked for with `openid`.
pub(super) fn userinfo(world: &World, arrival: &Arrival) -> Answer {
    let refused = |status: u16, error: &str, words: &str| {
        let challenge =
            format!("Bearer realm=\"wallapop-connect\", error=\"{error}\", error_description=\"{words}\"");
        Answer::json(status, &json!({ "error": error, "error_description": words }))
            .header("www-authenticate", &challenge)
    };
    let found = credential::bearer(arrival).and_then(|token| credential::look_up(world, arrival, token).ok());
    match found {
        None => refused(401, "invalid_token", "Token verification failed"),
        Some(token) if !token.scope.split(' ').any(|scope| scope == "openid") => {
            refused(403, "insufficient_scope", "Missing openid scope")
        }
        Some(token) => {
            Answer::json(200, &json!({ "sub": &*token.account, "preferred_username": &*token.account }))
        }
    }
}
