//! The gateway before the API: headers first, then the token. The one rule: an `Authorization` header never helps,
//! and beside the right header it is a mistake of its own.

use super::{error, refusal};
use crate::sim::answer::Answer;
use crate::sim::arrival::Arrival;
use crate::sim::clients;
use crate::sim::credential;
use crate::sim::marketplace::Marketplace;
use crate::sim::tokens::{Dead, Token};
use crate::sim::world::World;

const SINGLE: [&str; 13] = [
    "authorization",
    "wm_sec.access_token",
    "wm_qos.correlation_id",
    "wm_svc.name",
    "wm_consumer.channel.type",
    "wm_consumer.id",
    "wm_partner.id",
    "wm_market",
    "wm_global_version",
    "wm_sandbox",
    "content-type",
    "host",
    "user-agent",
];

pub(super) fn pass(world: &World, arrival: &Arrival) -> Result<Token, Answer> {
    singles(arrival)?;
    let presented = credential_in_its_place(arrival)?;
    required(arrival)?;
    market(arrival)?;
    credential::look_up(world, arrival, presented).map_err(|dead| match dead {
        Dead::Expired => unauthorized("the access token expired"),
        Dead::Revoked => unauthorized("the access token was revoked"),
        Dead::Unknown => unauthorized("the access token is unknown here"),
    })
}

/// No header twice that must be single.
pub(super) fn singles(arrival: &Arrival) -> Result<(), Answer> {
    let Some(name) = arrival.doubled(&SINGLE) else { return Ok(()) };
    Err(invalid_header(&format!("the header {name} came twice")))
}

/// The headers without which the gateway does not look further.
pub(super) fn required(arrival: &Arrival) -> Result<(), Answer> {
    let names: &[&str] = match arrival.marketplace {
        Marketplace::WalmartSuppliers => &["wm_qos.correlation_id"],
        _ => &["wm_qos.correlation_id", "wm_svc.name"],
    };
    let Some(missing) = names.iter().find(|name| arrival.filled(name).is_none()) else { return Ok(()) };
    let missing = missing.to_ascii_uppercase();
    Err(error(400, "MISSING_REQUEST_HEADER.GMP_GATEWAY_API", &format!("{missing} set blank or null")))
}

/// Markets other than the United States are served by the global version only.
fn market(arrival: &Arrival) -> Result<(), Answer> {
    let channel = arrival.header("wm_consumer.channel.type").unwrap_or("0");
    if channel.is_empty() || !channel.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-') {
        return Err(invalid_header("WM_CONSUMER.CHANNEL.TYPE is not one that was assigned"));
    }
    match arrival.header("wm_market") {
        None | Some("us") => Ok(()),
        Some("ca" | "mx" | "cl") if arrival.filled("wm_global_version").is_some() => Ok(()),
        Some("ca" | "mx" | "cl") => Err(invalid_header("WM_GLOBAL_VERSION is required with this WM_MARKET")),
        Some(other) => Err(invalid_header(&format!("WM_MARKET {other:?} is none of us, ca, mx, cl"))),
    }
}

/// The one path of the API at which the client shows itself beside the token.
fn is_detail_as_client(arrival: &Arrival) -> bool {
    let shown = arrival.header("authorization").and_then(clients::of_basic);
    arrival.path == "/v3/token/detail" && shown.is_some_and(|client| client.is_genuine())
}

fn credential_in_its_place(arrival: &Arrival) -> Result<&str, Answer> {
    let misplaced = arrival.headers.contains_key("authorization") && !is_detail_as_client(arrival);
    match arrival.filled("wm_sec.access_token") {
        None => Err(unauthorized("no access token where one is expected")),
        Some(_) if misplaced => Err(invalid_header("Authorization beside WM_SEC.ACCESS_TOKEN")),
        Some(token) if token.contains(' ') => Err(unauthorized("WM_SEC.ACCESS_TOKEN takes the token alone")),
        Some(token) => Ok(token),
    }
}

fn invalid_header(description: &str) -> Answer {
    error(400, "INVALID_REQUEST_HEADER.GMP_GATEWAY_API", description)
}

fn unauthorized(description: &str) -> Answer {
    refusal(401, description)
}
