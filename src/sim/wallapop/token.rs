//! The token endpoint of Wallapop's realm, as Keycloak answers. The one rule: no more than 174 calls of one grant in
//! any five minutes from one address.
//!
//! Tokens are issued for codes and refresh tokens only; a client has nothing to sell.

use hyper::Method;
use serde_json::json;

use super::SINGLE;
use crate::sim::answer::Answer;
use crate::sim::arrival::Arrival;
use crate::sim::clients;
use crate::sim::form::Form;
use crate::sim::grants::{Asked, BadCode, BadRefresh, Ended, InvalidGrant, Unasked, entitled};
use crate::sim::lock::locked;
use crate::sim::vendor::{issue, refused};
use crate::sim::world::World;

const BUDGET: usize = 174;
const WINDOW_MS: u64 = 300_000;

pub(super) fn error(status: u16, error: &str, description: &str) -> Answer {
    Answer::json(status, &json!({ "error": error, "error_description": description }))
}

pub(super) fn answer(world: &World, arrival: &Arrival) -> Result<Answer, Answer> {
    let invalid = |words: &str| error(400, "invalid_request", words);
    if arrival.path != arrival.marketplace.token_path() {
        return Err(Answer::json(404, &json!({ "error": "HTTP 404 Not Found" })));
    }
    if arrival.method != Method::POST {
        return Err(
            Answer::json(405, &json!({ "error": "HTTP 405 Method Not Allowed" })).header("allow", "POST")
        );
    }
    if let Some(name) = arrival.doubled(&SINGLE) {
        return Err(invalid(&format!("the header {name} came twice")));
    }
    if arrival.filled("user-agent").is_none() {
        return Err(error(403, "access_denied", "a User-Agent is required"));
    }
    if !arrival.is_form() {
        return Err(Answer::json(415, &json!({ "error": "HTTP 415 Unsupported Media Type" })));
    }
    let form = Form::parse(&arrival.body.bytes).map_err(|mistake| invalid(&mistake))?;
    let asked = Asked::of(&form).map_err(|why| match why {
        Unasked::NoGrantType => invalid("Missing form parameter: grant_type"),
        Unasked::Lacks(name) => invalid(&format!("Missing parameter: {name}")),
        Unasked::UnknownGrantType(_) => error(400, "unsupported_grant_type", "Unsupported grant_type"),
    })?;
    admit(world, arrival, &asked)?;
    let client = authenticated(arrival, &form)?;
    if asked == Asked::ClientCredentials {
        let words = "Client not enabled to retrieve service account";
        return Err(error(401, "unauthorized_client", words));
    }
    let entitled = entitled(world, arrival, &client, &asked)
        .map_err(|why| refused(world, arrival, why, |why| error(400, "invalid_grant", invalid_words(why))))?;
    let (token, lifetime) = issue(world, arrival, &entitled);
    let granted = json!({
        "access_token": token,
        "expires_in": lifetime,
        "token_type": "Bearer",
        "not-before-policy": 0,
        "scope": entitled.scope,
    });
    Ok(Answer::json(200, &entitled.complete(granted))
        .headers(&[("cache-control", "no-store"), ("pragma", "no-cache")]))
}

/// Counted before anything is looked at: a refused call costs as much as a granted one.
fn admit(world: &World, arrival: &Arrival, asked: &Asked) -> Result<(), Answer> {
    let mut windows = locked(&world.wallapop_token_calls);
    let window = windows.entry((arrival.peer, asked.grant_type().to_owned())).or_default();
    window
        .admit(BUDGET, WINDOW_MS, arrival.now)
        .map_err(|_| error(429, "too_many_requests", "Too Many Requests"))
}

fn authenticated(arrival: &Arrival, form: &Form) -> Result<String, Answer> {
    if arrival.headers.contains_key("authorization") {
        let words = "the client authenticates in the body, not in the Authorization header";
        return Err(error(400, "invalid_request", words));
    }
    let presented = clients::of_form(form).filter(clients::Presented::is_genuine);
    let refused = || error(401, "unauthorized_client", "Invalid client or Invalid client credentials");
    presented.map(|presented| presented.id).ok_or_else(refused)
}

/// Keycloak's own words.
fn invalid_words(why: InvalidGrant) -> &'static str {
    match why {
        InvalidGrant::Code(bad) => match bad {
            BadCode::Unknown | BadCode::Used(_) | BadCode::OtherSeller => "Code not valid",
            BadCode::Expired => "Code is expired",
            BadCode::OtherClient => "Auth error",
            BadCode::OtherRedirect => "Incorrect redirect_uri",
            BadCode::NoVerifier => "PKCE code verifier not specified",
            BadCode::WrongVerifier => "PKCE verification failed: Code mismatch",
        },
        InvalidGrant::Refresh(bad) => match bad {
            BadRefresh::Unknown | BadRefresh::OtherSeller => "Invalid refresh token",
            BadRefresh::OtherClient => {
                "Invalid refresh token. Token client and authorized client don't match"
            }
            BadRefresh::Over => "Token is not active",
            BadRefresh::Reused => "Maximum allowed refresh token reuse exceeded",
            BadRefresh::Ended(Ended::Revoked | Ended::Disconnected | Ended::SessionEnded) => {
                "Session not active"
            }
            BadRefresh::Ended(_) => "Session doesn't have required client",
            BadRefresh::Disabled => "User disabled",
            BadRefresh::Everybody => "Invalid token issuer",
            BadRefresh::Broken | BadRefresh::Simultaneous => "Unknown error",
        },
    }
}
