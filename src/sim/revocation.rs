//! Revocation endpoints (RFC 7009). The one rule: a refresh token takes its whole family with it, and a token that is
//! not known here is as good as revoked.

use hyper::Method;
use serde_json::json;

use super::answer::Answer;
use super::arrival::Arrival;
use super::clients;
use super::form::Form;
use super::grants::Ended;
use super::lock::locked;
use super::marketplace::Marketplace;
use super::world::World;

pub(super) fn answer(world: &World, arrival: &Arrival) -> Answer {
    revoke(world, arrival).unwrap_or_else(|refusal| refusal)
}

fn error(status: u16, error: &str, description: &str) -> Answer {
    Answer::json(status, &json!({ "error": error, "error_description": description }))
}

fn revoke(world: &World, arrival: &Arrival) -> Result<Answer, Answer> {
    let invalid = |words: &str| error(400, "invalid_request", words);
    if Some(arrival.path.as_str()) != arrival.marketplace.endpoint(arrival.kind) {
        return Err(error(404, "not_found", "no such path"));
    }
    if arrival.method != Method::POST {
        return Err(error(405, "invalid_request", "the endpoint takes POST").header("allow", "POST"));
    }
    if let Some(name) = arrival.doubled(&["authorization", "content-type", "user-agent"]) {
        return Err(invalid(&format!("the header {name} came twice")));
    }
    if arrival.marketplace == Marketplace::Wallapop && arrival.filled("user-agent").is_none() {
        return Err(error(403, "access_denied", "a User-Agent is required"));
    }
    if !arrival.is_form() {
        return Err(invalid("Content-Type must be application/x-www-form-urlencoded"));
    }
    let form = Form::parse(&arrival.body.bytes).map_err(|mistake| invalid(&mistake))?;
    let client = authenticated(arrival, &form)?;
    let token = form.value("token").ok_or_else(|| invalid("token is missing"))?;
    end(world, arrival.marketplace, &client, token)
        .map(|()| Answer::empty(200).header("cache-control", "no-store"))
}

fn authenticated(arrival: &Arrival, form: &Form) -> Result<String, Answer> {
    let presented = match arrival.header("authorization") {
        Some(_) if clients::authenticates(form) => {
            let words = "the client authenticates both in the header and in the body";
            return Err(error(400, "invalid_request", words));
        }
        Some(value) => clients::of_basic(value),
        None => clients::of_form(form),
    };
    let genuine = presented.filter(clients::Presented::is_genuine).map(|presented| presented.id);
    genuine.ok_or_else(|| error(401, "invalid_client", "client authentication failed"))
}

/// §2.1: a token of another client's is refused, and lives on.
fn end(world: &World, marketplace: Marketplace, client: &str, token: &str) -> Result<(), Answer> {
    let foreign = || error(400, "invalid_token", "the token was issued to another client");
    let mut grants = locked(&world.grants);
    let family =
        grants.families.of_token(marketplace, token).map(|(family, owner)| (family, owner == client));
    match family {
        Some((_, false)) => return Err(foreign()),
        Some((family, true)) => grants.families.end(family, Ended::Revoked),
        None => {}
    }
    match world.tokens.remembered(marketplace, token) {
        Some(known) if *known.client != *client => Err(foreign()),
        Some(_) => {
            world.tokens.revoke(token);
            Ok(())
        }
        None => Ok(()),
    }
}
