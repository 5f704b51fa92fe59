//! Walmart Marketplace and Walmart Supplier: the same gateway with other required headers and another slice of the
//! API. The one rule: the token counts in `WM_SEC.ACCESS_TOKEN` and nowhere else.

mod catalog;
mod feeds;
mod gate;
mod orders;
mod reports;
mod seller;
mod token;
mod xml;

pub(super) use seller::Seller;

use hyper::Method;
use serde_json::json;

use super::answer::Answer;
use super::arrival::Arrival;
use super::clock::rfc3339;
use super::dice::Dice;
use super::hash::fingerprint;
use super::marketplace::{Kind, Marketplace};
use super::world::World;

pub(super) fn answer(world: &World, arrival: &Arrival) -> Answer {
    let answer = match arrival.kind {
        Kind::Token => return token::answer(world, arrival).unwrap_or_else(|refusal| refusal),
        _ => api(world, arrival).unwrap_or_else(|refusal| refusal),
    };
    let wants_xml = arrival.accepts("application/xml") && !arrival.accepts("application/json");
    let answer = if wants_xml { xml::rewritten(answer) } else { answer };
    with_gateway_headers(answer, arrival)
}

/// An error of the gateway (`{"error": […]}`).
pub(super) fn error(status: u16, code: &str, description: &str) -> Answer {
    Answer::json(status, &json!({ "error": [error_item(code, description)] }))
}

/// An error of the API behind the gateway (`{"errors": […]}`).
fn api_error(status: u16, code: &str, description: &str) -> Answer {
    Answer::json(status, &json!({ "errors": [error_item(code, description)] }))
}

fn error_item(code: &str, description: &str) -> serde_json::Value {
    json!({
        "code": code,
        "description": description,
        "info": description,
        "severity": "ERROR",
        "category": if code.starts_with("SYSTEM") { "SYSTEM" } else { "REQUEST" },
        "causes": [],
        "errorIdentifiers": {},
    })
}

pub(super) fn refusal(status: u16, message: &str) -> Answer {
    let code = match status {
        400 => "INVALID_REQUEST.GMP_GATEWAY_API",
        401 => "UNAUTHORIZED.GMP_GATEWAY_API",
        403 => "FORBIDDEN.GMP_GATEWAY_API",
        404 => "CONTENT_NOT_FOUND.GMP_GATEWAY_API",
        405 => "METHOD_NOT_ALLOWED.GMP_GATEWAY_API",
        413 => "REQUEST_ENTITY_TOO_LARGE.GMP_GATEWAY_API",
        415 => "UNSUPPORTED_MEDIA_TYPE.GMP_GATEWAY_API",
        429 => "REQUEST_THRESHOLD_VIOLATED.GMP_GATEWAY_API",
        _ => "SYSTEM_ERROR.GMP_GATEWAY_API",
    };
    error(status, code, message)
}

/// What the gateway writes on every API answer; a proxy passes some of it on and strips the rest.
fn with_gateway_headers(answer: Answer, arrival: &Arrival) -> Answer {
    let correlation = arrival.header("wm_qos.correlation_id").unwrap_or_default();
    let session = fingerprint(correlation);
    let answer =
        if correlation.is_empty() { answer } else { answer.header("wm_qos.correlation_id", correlation) };
    answer.headers(&[
        ("x-current-token-count", "299"),
        ("x-next-replenishment-time", &rfc3339(arrival.epoch + 60_000)),
        ("access-control-allow-origin", "*"),
        ("set-cookie", &format!("TS01a2b3={session}; Path=/; Secure; HttpOnly")),
        ("set-cookie", &format!("com.wm.reflector=\"reflectorid:{session}\"; Path=/; Secure")),
    ])
}

/// A call that passed the gate, with all its part of the API needs.
struct Call<'a> {
    world: &'a World,
    arrival: &'a Arrival,
    account: &'a str,
}

impl Call<'_> {
    /// Lets `act` see and change what the account owns.
    fn seller<R>(&self, act: impl FnOnce(&mut Seller) -> R) -> R {
        let sellers = match self.arrival.marketplace {
            Marketplace::WalmartSuppliers => &self.world.walmart_suppliers,
            _ => &self.world.walmart_sellers,
        };
        let dice = || Dice::of(self.world.seed, &[self.arrival.marketplace.name(), self.account]);
        sellers.with(self.account, || Seller::of(dice(), self.account), act)
    }

    /// The page length a query asks for.
    fn limit(&self, usual: u64, highest: u64) -> Result<usize, Answer> {
        let wrong = |()| api_error(400, "INVALID_REQUEST_PARAM", &format!("limit must be 1 to {highest}"));
        let limit = self.arrival.query_number("limit", 1..=highest).map_err(wrong)?.unwrap_or(usual);
        Ok(usize::try_from(limit).unwrap_or(1))
    }

    fn json(&self) -> Result<serde_json::Value, Answer> {
        if self.arrival.media_type().as_deref() != Some("application/json") {
            return Err(refusal(415, "Content-Type must be application/json"));
        }
        let malformed = |mistake: String| api_error(400, "INVALID_REQUEST_CONTENT", &mistake);
        self.arrival.json_object().map_err(malformed)
    }
}

fn api(world: &World, arrival: &Arrival) -> Result<Answer, Answer> {
    let unknown = || refusal(404, "no such resource");
    let raw = arrival.segments_below("/v3").ok_or_else(unknown)?;
    if let ["reports", "getReport", file] = raw.as_slice()
        && !arrival.headers.contains_key("wm_sec.access_token")
    {
        return reports::signed_download(world, arrival, file);
    }
    let token = gate::pass(world, arrival)?;
    let call = Call { world, arrival, account: &token.account };
    let segments: Vec<String> =
        raw.iter().map(|raw| super::form::decode(raw)).collect::<Option<_>>().ok_or_else(unknown)?;
    let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
    let sells = arrival.marketplace == Marketplace::WalmartSellers;
    match segments.as_slice() {
        ["token", "detail"] => only(arrival, &Method::GET).map(|()| token::detail(&call, &token)),
        ["items", rest @ ..] if sells => catalog::items(&call, rest),
        ["price"] if sells => catalog::price(&call),
        ["inventory"] => catalog::inventory(&call),
        ["orders", rest @ ..] => orders::answer(&call, rest),
        ["feeds", rest @ ..] => feeds::answer(&call, rest),
        ["reports", rest @ ..] => reports::answer(&call, rest, raw.last().copied().unwrap_or_default()),
        _ => Err(unknown()),
    }
}

fn only(arrival: &Arrival, method: &Method) -> Result<(), Answer> {
    if arrival.method == *method { Ok(()) } else { Err(wrong_method(method.as_str())) }
}

fn wrong_method(allowed: &str) -> Answer {
    refusal(405, &format!("allowed here: {allowed}")).header("allow", allowed)
}
