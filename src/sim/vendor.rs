//! From an arrival to its marketplace, and the few answers that faults need from any of them. The one rule: every
//! refusal is in the vendor's own shape.

use super::answer::Answer;
use super::arrival::Arrival;
use super::form::Form;
use super::grants::{Asked, BadRefresh, Entitled, InvalidGrant, Refusal, entitled};
use super::lock::locked;
use super::marketplace::{Kind, Marketplace};
use super::tokens::Holder;
use super::world::World;
use super::{clients, consent, depop, generic, golocal, revocation, wallapop, walmart};

/// What the marketplace answers.
pub(super) fn answer(world: &World, arrival: &Arrival) -> Answer {
    if arrival.body.too_long {
        return refusal(world, arrival.marketplace, arrival.kind, 413, "the body is too large");
    }
    match arrival.kind {
        Kind::Consent => return consent::answer(world, arrival),
        Kind::Revocation => return revocation::answer(world, arrival),
        Kind::Discovery => return wallapop::configuration(arrival),
        Kind::Token | Kind::Api => {}
    }
    let answer = own(world, arrival);
    if arrival.kind == Kind::Api
        && answer.status == 401
        && let Some(refusal) = &world.policies.of(arrival.marketplace).api_refused_as
    {
        return refusal.answer();
    }
    answer
}

fn own(world: &World, arrival: &Arrival) -> Answer {
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
    if kind == Kind::Consent {
        return consent::refused(status, message);
    }
    match marketplace {
        Marketplace::WalmartSellers | Marketplace::WalmartSuppliers => walmart::refusal(status, message),
        Marketplace::WalmartGolocal => golocal::refusal(kind, status, message),
        Marketplace::Depop => depop::refusal(world, kind, status, message),
        Marketplace::Wallapop => wallapop::refusal(kind, status, message),
        Marketplace::Generic => generic::refusal(status, message),
        Marketplace::Nowhere => nowhere(status, message),
    }
}

/// The refusal of a token call: of a refresh, in the words that the policy has for its cause; or else in the vendor's own.
pub(super) fn refused(
    world: &World,
    arrival: &Arrival,
    why: InvalidGrant,
    own: impl FnOnce(InvalidGrant) -> Answer,
) -> Answer {
    let InvalidGrant::Refresh(bad) = why else { return own(why) };
    match (world.policies.of(arrival.marketplace).refused_as.get(&bad.into()), bad) {
        (Some(refusal), _) => refusal.answer(),
        (None, BadRefresh::Broken) => {
            refusal(world, arrival.marketplace, arrival.kind, 500, "the server fails for this user")
        }
        (None, BadRefresh::Simultaneous) => {
            Refusal::error(400, "invalid_request", "The token is in use. Please retry the request.").answer()
        }
        (None, _) => own(why),
    }
}

/// Walmart's older way to say that a token expired.
pub(super) fn expired_as_400() -> Answer {
    walmart::error(400, "INVALID_TOKEN.GMP_GATEWAY_API", "Invalid token")
}

/// The text with `{token}` replaced by a new token of the client or seller that asks. Where `{refresh_token}` is in it
/// too, what was asked is done and the new refresh token put there.
pub(super) fn with_token(world: &World, arrival: &Arrival, body: String) -> String {
    if !body.contains("{token}") && !body.contains("{refresh_token}") {
        return body;
    }
    let client = clients::claimed(arrival).unwrap_or_default();
    let asked = Form::parse(&arrival.body.bytes).ok().and_then(|form| Asked::of(&form).ok());
    let done = asked
        .filter(|_| body.contains("{refresh_token}"))
        .and_then(|asked| entitled(world, arrival, &client, &asked).ok());
    let entitled =
        done.unwrap_or_else(|| Entitled::itself(whose(world, arrival).as_deref().unwrap_or(&client)));
    let token = issue(world, arrival, &entitled).0;
    body.replace("{token}", &token)
        .replace("{refresh_token}", entitled.refresh_token.as_deref().unwrap_or_default())
}

/// The seller whose code or refresh token a token call brings.
pub(super) fn whose(world: &World, arrival: &Arrival) -> Option<String> {
    let grants = locked(&world.grants);
    match Asked::of(&Form::parse(&arrival.body.bytes).ok()?).ok()? {
        Asked::ClientCredentials => None,
        Asked::Code { code, .. } => grants.codes.seller(arrival.marketplace, &code).map(str::to_owned),
        Asked::Refresh(token) => grants.families.seller(arrival.marketplace, &token).map(str::to_owned),
    }
}

/// Counts the refresh token that a token call brings as shown.
pub(super) fn note_shown(world: &World, arrival: &Arrival) {
    if let Some(token) = refresh_token(arrival) {
        locked(&world.grants).families.note_shown(arrival.marketplace, &token);
    }
}

/// The refresh token that a token call brings.
pub(super) fn refresh_token(arrival: &Arrival) -> Option<String> {
    Form::parse(&arrival.body.bytes).ok()?.value("refresh_token").map(str::to_owned)
}

/// A new access token for whoever is entitled, and its lifetime in seconds.
pub(super) fn issue(world: &World, arrival: &Arrival, entitled: &Entitled) -> (String, u64) {
    if let Some(again) = again(world, arrival, entitled) {
        return again;
    }
    let policy = world.policies.of(arrival.marketplace);
    let lifetime = arrival.lifetime.or(entitled.lifetime).unwrap_or(policy.access_token_seconds);
    let holder = Holder {
        account: &entitled.account,
        client: &entitled.client,
        scope: &entitled.scope,
        bond: entitled.bond.as_ref(),
    };
    let token = world.tokens.issue(arrival.marketplace, &holder, lifetime, arrival.moment());
    if policy.refresh_ends_access_token
        && let Some(earlier) = &entitled.earlier
    {
        world.tokens.revoke(earlier);
    }
    if let Some(bond) = &entitled.bond {
        locked(&world.grants).families.note_access_token(bond.family, &token);
    }
    (token, lifetime)
}

/// The access token that the grant has already, with the seconds it still has, where a fault wants that.
fn again(world: &World, arrival: &Arrival, entitled: &Entitled) -> Option<(String, u64)> {
    let earlier = entitled.earlier.as_ref().filter(|_| arrival.same_token)?;
    let token = world.tokens.look_up(arrival.marketplace, earlier, arrival.now).ok()?;
    Some((earlier.clone(), (token.expires_at - arrival.now) / 1000))
}

fn nowhere(status: u16, message: &str) -> Answer {
    Answer::json(status, &serde_json::json!({ "error": message }))
}
