//! Wallapop Connect: a Keycloak-like token endpoint and the items API. The one rule: JSON only, no links in it, and a
//! page is continued by handing the opaque `next` back as `since`.

mod items;
mod realm;
mod stall;
mod token;
mod webhooks;

pub(super) use realm::configuration;
pub(super) use stall::Stall;

use serde_json::{Value, json};

use super::answer::Answer;
use super::arrival::Arrival;
use super::credential;
use super::dice::Dice;
use super::form::decode;
use super::marketplace::Kind;
use super::world::World;

const SINGLE: [&str; 5] = ["authorization", "content-type", "host", "user-agent", "accept-language"];

pub(super) fn answer(world: &World, arrival: &Arrival) -> Answer {
    match arrival.kind {
        Kind::Token => token::answer(world, arrival).unwrap_or_else(|refusal| refusal),
        _ => api(world, arrival)
            .unwrap_or_else(|refusal| refusal)
            .headers(&[("access-control-allow-origin", "*"), ("vary", "Origin")]),
    }
}

pub(super) fn refusal(kind: Kind, status: u16, message: &str) -> Answer {
    if kind == Kind::Token {
        return token::error(status, "unknown_error", message);
    }
    let code = match status {
        400 | 413 | 415 => "INVALID_BODY_REQUEST",
        401 | 403 => "USER_UNAUTHORIZED",
        404 => "NOT_FOUND",
        405 => "METHOD_NOT_ALLOWED",
        409 => "CONCURRENT_MODIFICATION",
        429 => "TOO_MANY_REQUESTS",
        _ => "INTERNAL_ERROR",
    };
    error(status, code, message)
}

fn error(status: u16, code: &str, message: &str) -> Answer {
    Answer::json(status, &json!({ "code": code, "message": message }))
}

/// A call that passed the gate.
struct Call<'a> {
    world: &'a World,
    arrival: &'a Arrival,
    account: String,
}

impl Call<'_> {
    fn stall<R>(&self, act: impl FnOnce(&mut Stall) -> R) -> R {
        let make = || Stall::of(Dice::of(self.world.seed, &["wallapop", &self.account]));
        self.world.wallapop.with(&self.account, make, act)
    }

    fn json(&self) -> Result<Value, Answer> {
        if self.arrival.media_type().as_deref() != Some("application/json") {
            return Err(refusal(Kind::Api, 415, "Content-Type must be application/json"));
        }
        self.arrival.json_object().map_err(|mistake| error(400, "INVALID_BODY_REQUEST", &mistake))
    }
}

fn wrong_method(allowed: &str) -> Answer {
    error(405, "METHOD_NOT_ALLOWED", &format!("allowed here: {allowed}")).header("allow", allowed)
}

fn unknown() -> Answer {
    error(404, "NOT_FOUND", "no such resource")
}

fn api(world: &World, arrival: &Arrival) -> Result<Answer, Answer> {
    if arrival.path == realm::USERINFO {
        return Ok(realm::userinfo(world, arrival));
    }
    let account = gate(world, arrival)?;
    let call = Call { world, arrival, account };
    let raw = arrival.segments_below("").ok_or_else(unknown)?;
    let segments: Vec<String> =
        raw.iter().map(|raw| decode(raw)).collect::<Option<_>>().ok_or_else(unknown)?;
    let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
    match segments.as_slice() {
        ["items", rest @ ..] => items::answer(&call, rest),
        ["webhooks", rest @ ..] => webhooks::answer(&call, rest),
        ["transactions", "pending"] => Ok(Answer::json(200, &json!({ "transactions": [] }))),
        ["transactions", "requests", "pending"] => Ok(Answer::json(200, &json!({ "requests": [] }))),
        _ => Err(unknown()),
    }
}

fn gate(world: &World, arrival: &Arrival) -> Result<String, Answer> {
    if let Some(name) = arrival.doubled(&SINGLE) {
        return Err(error(400, "INVALID_HEADER", &format!("the header {name} came twice")));
    }
    let unauthorized = || refusal(Kind::Api, 401, "the user is not authenticated");
    let presented = credential::bearer(arrival).ok_or_else(unauthorized)?;
    let token = credential::look_up(world, arrival, presented).map_err(|_| unauthorized())?;
    Ok(token.account.to_string())
}
