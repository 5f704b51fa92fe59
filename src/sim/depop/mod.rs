//! Depop's Partner API: a token endpoint with errors of its own, static shop keys, and products found by SKUs that the
//! seller chose. The one rule: every path ends in a slash, and a SKU is the bytes between two of them, decoded once.

mod orders;
mod products;
mod shop;
mod token;

pub(super) use shop::Shop;

use hyper::Method;
use serde_json::{Value, json};

use super::answer::Answer;
use super::arrival::Arrival;
use super::credential;
use super::dice::Dice;
use super::marketplace::Kind;
use super::world::World;

const SINGLE: [&str; 4] = ["authorization", "content-type", "host", "user-agent"];

pub(super) fn answer(world: &World, arrival: &Arrival) -> Answer {
    let answered = match arrival.kind {
        Kind::Token => token::answer(world, arrival),
        _ => api(world, arrival),
    };
    let answer = answered.unwrap_or_else(|refusal| refusal);
    answer.headers(&[
        ("set-cookie", "__cf_bm=simulated; path=/; HttpOnly; Secure; SameSite=None"),
        ("set-cookie", "_cfuvid=simulated; path=/; HttpOnly; Secure; SameSite=None"),
        ("access-control-allow-origin", "*"),
        ("cache-control", "no-store"),
    ])
}

pub(super) fn refusal(world: &World, kind: Kind, status: u16, message: &str) -> Answer {
    if kind == Kind::Token {
        return token::error(world, status, "server_error", message);
    }
    let (code, words) = match status {
        401 => ("unauthorized", "invalid api key"),
        403 => ("insufficient_scope", "Required scope: products_write"),
        404 => ("not_found", message),
        405 => ("method_not_allowed", message),
        409 => ("conflict", message),
        413 => ("request_too_large", message),
        415 => ("unsupported_media_type", message),
        422 => ("validation", message),
        429 => ("too_many_requests", "Rate limit exceeded. Please retry later."),
        500.. => ("unexpected_response", message),
        _ => ("bad-request", message),
    };
    error(world, status, code, words)
}

fn error(world: &World, status: u16, code: &str, message: &str) -> Answer {
    let id = world.fresh().uuid();
    Answer::json(status, &json!({ "id": id, "errors": [{ "code": code, "message": message }] }))
}

/// A call that passed the gate.
struct Call<'a> {
    world: &'a World,
    arrival: &'a Arrival,
    account: String,
}

impl Call<'_> {
    fn shop<R>(&self, act: impl FnOnce(&mut Shop) -> R) -> R {
        let make = || Shop::of(Dice::of(self.world.seed, &["depop", &self.account]), &self.account);
        self.world.depop.with(&self.account, make, act)
    }

    fn error(&self, status: u16, code: &str, message: &str) -> Answer {
        error(self.world, status, code, message)
    }

    fn unknown(&self) -> Answer {
        self.error(404, "not_found", "no such resource")
    }

    fn wrong_method(&self, allowed: &str) -> Answer {
        self.error(405, "method_not_allowed", &format!("allowed here: {allowed}")).header("allow", allowed)
    }

    fn json(&self) -> Result<Value, Answer> {
        if self.arrival.media_type().as_deref() != Some("application/json") {
            return Err(self.error(415, "unsupported_media_type", "Content-Type must be application/json"));
        }
        self.arrival.json_object().map_err(|mistake| self.error(422, "validation", &mistake))
    }

    /// The page length a query asks for.
    fn limit(&self, highest: u64) -> Result<usize, Answer> {
        let wrong = |()| self.error(400, "bad-request", &format!("limit must be 1 to {highest}"));
        let limit = self.arrival.query_number("limit", 1..=highest).map_err(wrong)?.unwrap_or(20);
        Ok(usize::try_from(limit).unwrap_or(1))
    }
}

fn api(world: &World, arrival: &Arrival) -> Result<Answer, Answer> {
    let unknown = || error(world, 404, "not_found", "no such resource");
    if arrival.path == "/status" && arrival.method == Method::GET {
        return Ok(Answer::json(200, &json!({ "status": "OK" })));
    }
    let raw = arrival.segments_below("/api/v1").ok_or_else(unknown)?;
    let account = gate(world, arrival, required_scope(&raw, &arrival.method))?;
    let call = Call { world, arrival, account };
    match raw.as_slice() {
        ["products", rest @ .., ""] => products::answer(&call, rest),
        ["orders", rest @ .., ""] => orders::answer(&call, rest),
        ["shop", ""] => shop::details(&call),
        ["shop", "seller-addresses", ""] => shop::addresses(&call),
        _ => Err(unknown()),
    }
}

/// What a token must be good for; nothing where there is no such resource.
fn required_scope(segments: &[&str], method: &Method) -> &'static str {
    match (segments.first(), *method == Method::GET) {
        (Some(&"products"), true) => "products_read",
        (Some(&"products"), false) => "products_write",
        (Some(&"orders"), true) => "orders_read",
        (Some(&"orders"), false) => "orders_write",
        (Some(&"shop"), _) => "shop_read",
        _ => "",
    }
}

/// A live token that is good for the scope, or a shop's static key. A token that was issued without scopes is good for
/// all of them.
fn gate(world: &World, arrival: &Arrival, required: &str) -> Result<String, Answer> {
    if let Some(name) = arrival.doubled(&SINGLE) {
        return Err(error(world, 400, "bad-request", &format!("the header {name} came twice")));
    }
    let unauthorized = || refusal(world, Kind::Api, 401, "");
    let presented = credential::bearer(arrival).ok_or_else(unauthorized)?;
    if let Some(shop) = credential::static_key(arrival.marketplace, presented) {
        return Ok(shop.to_owned());
    }
    let token = credential::look_up(world, arrival, presented).map_err(|_| unauthorized())?;
    if !required.is_empty() && !token.scope.is_empty() && !token.scope.split(' ').any(|one| one == required) {
        let words = format!("the access token does not reach so far. Required scope: {required}");
        return Err(error(world, 403, "insufficient_scope", &words));
    }
    Ok(token.account.to_string())
}
