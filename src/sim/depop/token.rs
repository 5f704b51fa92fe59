//! Depop's token endpoint: client authentication in the body, error codes of its own. The one rule: without the
//! trailing slash there is no such endpoint.
//!
//! Tokens are issued for codes and refresh tokens only; a client has no shop of its own.

use hyper::Method;
use serde_json::json;

use super::SINGLE;
use crate::sim::answer::Answer;
use crate::sim::arrival::Arrival;
use crate::sim::clients;
use crate::sim::form::Form;
use crate::sim::grants::{Asked, BadCode, InvalidGrant, Unasked, entitled};
use crate::sim::vendor::{issue, refused};
use crate::sim::world::World;

const TITLE: &str = "Depop OAuth2 error";

pub(super) fn error(world: &World, status: u16, error: &str, detail: &str) -> Answer {
    let body = json!({
        "code": status,
        "error": error,
        "message": TITLE,
        "detail": detail,
        "error_message": TITLE,
        "error_description": detail,
        "id": world.fresh().uuid(),
    });
    Answer::json(status, &body)
}

pub(super) fn answer(world: &World, arrival: &Arrival) -> Result<Answer, Answer> {
    let invalid = |words: &str| error(world, 400, "invalid_request", words);
    if arrival.path != arrival.marketplace.token_path() {
        return Err(super::error(world, 404, "not_found", "no such resource"));
    }
    if arrival.method != Method::POST {
        return Err(error(world, 405, "method_not_allowed", "POST only").header("allow", "POST"));
    }
    if let Some(name) = arrival.doubled(&SINGLE) {
        return Err(invalid(&format!("the header {name} came twice")));
    }
    if arrival.headers.contains_key("authorization") {
        return Err(invalid("the client authenticates in the body, not in the Authorization header"));
    }
    if !arrival.is_form() {
        return Err(invalid("Content-Type must be application/x-www-form-urlencoded"));
    }
    let form = Form::parse(&arrival.body.bytes).map_err(|mistake| invalid(&mistake))?;
    let asked = Asked::of(&form).map_err(|why| match why {
        Unasked::NoGrantType => invalid("grant_type is missing"),
        Unasked::Lacks(name) => invalid(&format!("{name} is missing")),
        Unasked::UnknownGrantType(other) => error(world, 400, "unsupported_grant_type", &other),
    })?;
    let client = authenticated(world, &form)?;
    if asked == Asked::ClientCredentials {
        return Err(error(world, 400, "unsupported_grant_type", asked.grant_type()));
    }
    let entitled = entitled(world, arrival, &client, &asked)
        .map_err(|why| refused(world, arrival, why, |why| invalid_grant(world, why)))?;
    let (token, lifetime) = issue(world, arrival, &entitled);
    let granted = json!({ "access_token": token, "token_type": "Bearer", "expires_in": lifetime });
    Ok(Answer::json(200, &entitled.complete(granted)))
}

fn authenticated(world: &World, form: &Form) -> Result<String, Answer> {
    let incomplete = || error(world, 400, "invalid_request", "client_id or client_secret is missing");
    let presented = clients::of_form(form).ok_or_else(incomplete)?;
    if presented.is_genuine() {
        Ok(presented.id)
    } else {
        Err(error(world, 401, "client secret does not match", TITLE))
    }
}

/// A proof key that does not fit is a malformed request here, not a bad grant.
fn invalid_grant(world: &World, why: InvalidGrant) -> Answer {
    match why {
        InvalidGrant::Code(BadCode::NoVerifier | BadCode::WrongVerifier) => {
            error(world, 400, "invalid_request", "The code_verifier is missing, malformed or does not match")
        }
        InvalidGrant::Code(_) => {
            let words =
                "The authorization grant is invalid, expired, revoked, or does not belong to the client";
            error(world, 400, "invalid_grant", words)
        }
        InvalidGrant::Refresh(_) => {
            let words = "The refresh token is invalid, expired, revoked, or does not belong to the client";
            error(world, 400, "invalid_grant", words)
        }
    }
}
