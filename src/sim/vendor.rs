//! From an arrival to its marketplace, and the few answers that faults need from any of them. The one rule: every
//! refusal is in the vendor's own shape.

use super::answer::Answer;
use super::arrival::Arrival;
use super::marketplace::{Kind, Marketplace};
use super::world::World;
use super::{clients, depop, generic, golocal, wallapop, walmart};

/// What the marketplace answers.
pub(super) fn answer(world: &World, arrival: &Arrival) -> Answer {
    if arrival.body.too_long {
        return refusal(world, arrival.marketplace, arrival.kind, 413, "the body is too large");
    }
    match arrival.marketplace {
        Marketplace::WalmartSellers | Marketplace::WalmartSuppliers => walmart::answer(world, arrival),
        Marketplace::WalmartGolocal => golocal::answer(world, arrival),
        Marketplace::Depop => depop::answer(world, arrival),
        Marketplace::Wallapop => wallapop::answer(world, arrival),
        Marketplace::Generic => generic::answer(world, arrival),
        Marketplace::Nowhere => nowhere(404, "no marketplace lives here; GET /sim lists them"),
    }
}

/// A refusal that has no cause in the request, in the vendor's shape.
pub(super) fn refusal(
    world: &World,
    marketplace: Marketplace,
    kind: Kind,
    status: u16,
    message: &str,
) -> Answer {
    match marketplace {
        Marketplace::WalmartSellers | Marketplace::WalmartSuppliers => walmart::refusal(status, message),
        Marketplace::WalmartGolocal => golocal::refusal(kind, status, message),
        Marketplace::Depop => depop::refusal(world, kind, status, message),
        Marketplace::Wallapop => wallapop::refusal(kind, status, message),
        Marketplace::Generic => generic::refusal(status, message),
        Marketplace::Nowhere => nowhere(status, message),
    }
}

/// Walmart's older way to say that a token expired.
pub(super) fn expired_as_400() -> Answer {
    walmart::error(400, "INVALID_TOKEN.GMP_GATEWAY_API", "Invalid token")
}

/// The text with `{token}` replaced by a new token of the client that asks.
pub(super) fn with_token(world: &World, arrival: &Arrival, body: String) -> String {
    if !body.contains("{token}") {
        return body;
    }
    let account = clients::claimed(arrival).unwrap_or_default();
    body.replace("{token}", &issue(world, arrival, &account).0)
}

/// A new token for an account, and its lifetime in seconds.
pub(super) fn issue(world: &World, arrival: &Arrival, account: &str) -> (String, u64) {
    let lifetime = arrival.lifetime.unwrap_or_else(|| arrival.marketplace.token_lifetime());
    (world.tokens.issue(arrival.marketplace, account, lifetime, arrival.now), lifetime)
}

fn nowhere(status: u16, message: &str) -> Answer {
    Answer::json(status, &serde_json::json!({ "error": message }))
}
