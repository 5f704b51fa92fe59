//! Walmart GoLocal: deliveries in two environments that share a host and a token endpoint. The one rule: what is
//! booked below one base path does not exist below the other.

use hyper::Method;
use serde_json::{Value, json};
use std::collections::BTreeMap;

use super::answer::Answer;
use super::arrival::Arrival;
use super::clients;
use super::clock::rfc3339;
use super::credential;
use super::dice::Dice;
use super::form::{Form, decode};
use super::grants::{Asked, Entitled, Unasked};
use super::marketplace::Kind;
use super::tokens::Dead;
use super::vendor::issue;
use super::world::World;

const PRODUCTION: &str = "/api-proxy/service/supplychain/transportation/v1/daas";
const SANDBOX: &str = "/api-proxy/service/supplychain/transportation/v1/sbx-daas";
const SINGLE: [&str; 6] =
    ["authorization", "wm_consumer.id", "wm_qos.correlation_id", "content-type", "host", "user-agent"];

/// The deliveries of one client in one environment.
pub(super) struct Fleet(BTreeMap<String, Value>);

impl Fleet {
    fn of(mut dice: Dice) -> Self {
        let booked = (0..3).map(|number| {
            let id = dice.uuid();
            let delivery = json!({
                "deliveryId": id,
                "externalDeliveryId": format!("EXT-{number}"),
                "externalOrderId": format!("ORDER-{}", dice.digits(6)),
                "status": dice.pick(&["SCHEDULED", "DISPATCHED", "DELIVERED"]),
                "tip": 0,
            });
            (id, delivery)
        });
        Self(booked.collect())
    }
}

pub(super) fn answer(world: &World, arrival: &Arrival) -> Answer {
    let answered = match arrival.kind {
        Kind::Token => token(world, arrival),
        _ => api(world, arrival),
    };
    let answer = answered.unwrap_or_else(|refusal| refusal);
    match arrival.header("wm_qos.correlation_id") {
        Some(id) => answer.header("wm_qos.correlation_id", id),
        None => answer,
    }
}

pub(super) fn refusal(kind: Kind, status: u16, message: &str) -> Answer {
    match kind {
        Kind::Token => token_error(status, "server_error", message),
        _ => error(status, message),
    }
}

fn error(status: u16, message: &str) -> Answer {
    let code = match status {
        400 => "BAD_REQUEST",
        401 => "UNAUTHORIZED",
        403 => "FORBIDDEN",
        404 => "NOT_FOUND",
        405 => "METHOD_NOT_ALLOWED",
        409 => "CONFLICT",
        413 => "PAYLOAD_TOO_LARGE",
        415 => "UNSUPPORTED_MEDIA_TYPE",
        422 => "UNPROCESSABLE_ENTITY",
        429 => "TOO_MANY_REQUESTS",
        _ => "SYSTEM_ERROR",
    };
    Answer::json(status, &json!({ "errors": [{ "code": code, "message": message, "severity": "ERROR" }] }))
}

fn token_error(status: u16, error: &str, description: &str) -> Answer {
    Answer::json(status, &json!({ "error": error, "error_description": description }))
}

fn token(world: &World, arrival: &Arrival) -> Result<Answer, Answer> {
    let invalid = |words: &str| token_error(400, "invalid_request", words);
    if arrival.path != arrival.marketplace.token_path() {
        return Err(error(404, "no such resource"));
    }
    if arrival.method != Method::POST {
        return Err(error(405, "allowed here: POST").header("allow", "POST"));
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
        Unasked::UnknownGrantType(_) => unsupported(),
    })?;
    let presented = clients::of_form(&form).filter(clients::Presented::is_genuine);
    let client =
        presented.ok_or_else(|| token_error(401, "invalid_client", "client authentication failed"))?;
    if asked != Asked::ClientCredentials {
        return Err(unsupported());
    }
    let (token, lifetime) = issue(world, arrival, &Entitled::itself(&client.id));
    let granted = json!({ "token_type": "Bearer", "access_token": token, "expires_in": lifetime });
    Ok(Answer::json(200, &granted).header("cache-control", "no-store"))
}

fn unsupported() -> Answer {
    token_error(400, "unsupported_grant_type", "only client_credentials")
}

/// A call that passed the gate.
struct Call<'a> {
    world: &'a World,
    arrival: &'a Arrival,
    account: String,
    sandbox: bool,
}

impl Call<'_> {
    fn fleet<R>(&self, act: impl FnOnce(&mut Fleet) -> R) -> R {
        let (fleets, name) = match self.sandbox {
            true => (&self.world.golocal_sandbox, "golocal-sandbox"),
            false => (&self.world.golocal, "golocal"),
        };
        let make = || Fleet::of(Dice::of(self.world.seed, &[name, &self.account]));
        fleets.with(&self.account, make, act)
    }

    fn json(&self) -> Result<Value, Answer> {
        if self.arrival.media_type().as_deref() != Some("application/json") {
            return Err(error(415, "Content-Type must be application/json"));
        }
        self.arrival.json_object().map_err(|mistake| error(400, &mistake))
    }
}

fn api(world: &World, arrival: &Arrival) -> Result<Answer, Answer> {
    let unknown = || error(404, "no such resource");
    // The longer of two base paths is no prefix of the other: "/daas" and "/sbx-daas".
    let production = arrival.segments_below(PRODUCTION);
    let sandbox = production.is_none();
    let raw = production.or_else(|| arrival.segments_below(SANDBOX)).ok_or_else(unknown)?;
    let account = gate(world, arrival)?;
    let call = Call { world, arrival, account, sandbox };
    let segments: Vec<String> =
        raw.iter().map(|raw| decode(raw)).collect::<Option<_>>().ok_or_else(unknown)?;
    let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
    match (&arrival.method, segments.as_slice()) {
        (&Method::GET, ["deliveries"]) => Ok(list(&call)),
        (&Method::POST, ["deliveries"]) => book(&call),
        (&Method::POST, ["deliveries", "quote"]) => quote(&call),
        (&Method::GET, ["deliveries", id]) => read(&call, id),
        (&Method::PUT, ["deliveries", id, "update"]) => update(&call, id),
        (&Method::PUT, ["deliveries", id, "cancel"]) => cancel(&call, id),
        (&Method::POST, ["clients", "tips"]) => tip(&call),
        (_, ["deliveries"]) => Err(wrong_method("GET, POST")),
        (_, ["deliveries", "quote"] | ["clients", "tips"]) => Err(wrong_method("POST")),
        (_, ["deliveries", _]) => Err(wrong_method("GET")),
        (_, ["deliveries", _, "update" | "cancel"]) => Err(wrong_method("PUT")),
        _ => Err(unknown()),
    }
}

fn wrong_method(allowed: &str) -> Answer {
    error(405, &format!("allowed here: {allowed}")).header("allow", allowed)
}

fn gate(world: &World, arrival: &Arrival) -> Result<String, Answer> {
    if let Some(name) = arrival.doubled(&SINGLE) {
        return Err(error(400, &format!("the header {name} came twice")));
    }
    let failed = "Authentication failed due to missing Authorization header or invalid WM_CONSUMER.ID";
    let consumer = arrival.filled("wm_consumer.id").ok_or_else(|| error(401, failed))?;
    let presented = credential::bearer(arrival).ok_or_else(|| error(401, failed))?;
    let dead = |why: Dead| match why {
        Dead::Expired => "Access token validation failed with error : expired token",
        Dead::Revoked => "Access token validation failed with error : revoked token",
        Dead::Unknown => "Access token validation failed with error : unknown token",
    };
    let token = credential::look_up(world, arrival, presented).map_err(|why| error(401, dead(why)))?;
    if consumer != &*token.account {
        return Err(error(403, "consumer id is not subscribed to the service"));
    }
    Ok(token.account.to_string())
}

fn unknown_delivery() -> Answer {
    error(404, "no such delivery")
}

fn list(call: &Call<'_>) -> Answer {
    let deliveries: Vec<Value> = call.fleet(|fleet| fleet.0.values().cloned().collect());
    Answer::json(200, &json!({ "deliveries": deliveries }))
}

fn read(call: &Call<'_>, id: &str) -> Result<Answer, Answer> {
    let delivery = call.fleet(|fleet| fleet.0.get(id).cloned()).ok_or_else(unknown_delivery)?;
    Ok(Answer::json(200, &delivery))
}

/// Both ends of a delivery are needed for a price and for a booking.
fn ends_of(body: &Value) -> Result<(), Answer> {
    let missing = ["pickupInfo", "dropOffInfo"].into_iter().find(|name| !body[*name].is_object());
    missing.map_or(Ok(()), |name| Err(error(422, &format!("{name} is missing"))))
}

fn quote(call: &Call<'_>) -> Result<Answer, Answer> {
    let body = call.json()?;
    ends_of(&body)?;
    let mut dice = call.world.fresh();
    let quote = json!({
        "quoteId": dice.uuid(),
        "deliveryFee": dice.price(500, 2500),
        "currency": "USD",
        "expiresAt": rfc3339(call.arrival.epoch + 900_000),
    });
    Ok(Answer::json(200, &quote))
}

/// Every booking is another delivery: the vendor knows no idempotency key.
fn book(call: &Call<'_>) -> Result<Answer, Answer> {
    let mut delivery = call.json()?;
    ends_of(&delivery)?;
    let external = delivery["externalDeliveryId"].as_str().filter(|id| !id.is_empty());
    external.ok_or_else(|| error(422, "externalDeliveryId is missing"))?;
    let id = call.world.fresh().uuid();
    delivery["deliveryId"] = json!(id);
    delivery["status"] = json!("SCHEDULED");
    delivery["createdAt"] = json!(rfc3339(call.arrival.epoch));
    delivery["tip"] = json!(0);
    call.fleet(|fleet| fleet.0.insert(id, delivery.clone()));
    Ok(Answer::json(201, &delivery))
}

fn update(call: &Call<'_>, id: &str) -> Result<Answer, Answer> {
    let body = call.json()?;
    open_delivery(call, id, |delivery| {
        let changes = body.as_object().into_iter().flatten();
        changes.filter(|(name, _)| !matches!(name.as_str(), "deliveryId" | "status")).for_each(
            |(name, value)| {
                delivery[name.as_str()] = value.clone();
            },
        );
    })
}

fn cancel(call: &Call<'_>, id: &str) -> Result<Answer, Answer> {
    let reason = call.json()?["cancellationReason"].clone();
    open_delivery(call, id, |delivery| {
        delivery["status"] = json!("CANCELLED");
        delivery["cancellationReason"] = reason;
    })
}

/// Changes a delivery that is neither over nor cancelled.
fn open_delivery(call: &Call<'_>, id: &str, change: impl FnOnce(&mut Value)) -> Result<Answer, Answer> {
    call.fleet(|fleet| {
        let delivery = fleet.0.get_mut(id).ok_or_else(unknown_delivery)?;
        let status = delivery["status"].as_str().unwrap_or_default();
        if matches!(status, "CANCELLED" | "DELIVERED") {
            return Err(error(409, &format!("the delivery is already {status}")));
        }
        change(delivery);
        Ok(Answer::json(200, delivery))
    })
}

fn tip(call: &Call<'_>) -> Result<Answer, Answer> {
    let body = call.json()?;
    let id = body["deliveryId"].as_str().ok_or_else(|| error(422, "deliveryId is missing"))?;
    let amount = body["tip"].as_f64().filter(|amount| *amount > 0.0);
    let amount = amount.ok_or_else(|| error(422, "tip is missing or not above 0"))?;
    let tipped = call.fleet(|fleet| fleet.0.get_mut(id).map(|delivery| delivery["tip"] = json!(amount)));
    tipped.ok_or_else(unknown_delivery)?;
    Ok(Answer::json(200, &json!({ "deliveryId": id, "tip": amount, "status": "ACCEPTED" })))
}
