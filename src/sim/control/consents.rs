//! The controls of consents: who answers, who may be sent where, how strict grants are, grants without a browser, and
//! what became of each. The one rule: what a family is shown as carries no token; only what has just been issued does.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

use super::{known_marketplace, meant, pretty, read};
use crate::sim::answer::Answer;
use crate::sim::clients::is_client_id;
use crate::sim::connect::{Connect, connect_one};
use crate::sim::consent::{AutoConsent, may_be_registered};
use crate::sim::form::query_value;
use crate::sim::grants::{Ended, Policy, SERVERS, User};
use crate::sim::lock::locked;
use crate::sim::marketplace::{Kind, Marketplace};
use crate::sim::world::World;

pub(super) fn standing(world: &World) -> Answer {
    let standing = locked(&world.consent).clone();
    let auto = match standing.auto {
        AutoConsent::Off => json!(false),
        AutoConsent::Allow => json!(true),
        AutoConsent::Deny => json!("deny"),
    };
    let mut shown = json!({ "auto": auto, "seller": standing.seller });
    if let Some(session) = standing.session {
        shown["session"] = json!(session);
    }
    pretty(&shown)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Stand {
    auto: Option<Value>,
    seller: Option<String>,
    session: Option<String>,
}

pub(super) fn stand(world: &World, body: &[u8]) -> Result<Answer, String> {
    let Stand { auto, seller, session } = read(body)?;
    let auto = match auto {
        None => None,
        Some(Value::Bool(false)) => Some(AutoConsent::Off),
        Some(Value::Bool(true)) => Some(AutoConsent::Allow),
        Some(Value::String(word)) if word == "deny" => Some(AutoConsent::Deny),
        Some(other) => return Err(format!("auto is true, false or \"deny\", not {other}")),
    };
    let seller = seller.map(well_formed).transpose()?;
    {
        let mut standing = locked(&world.consent);
        standing.auto = auto.unwrap_or(standing.auto);
        standing.seller = seller.or_else(|| standing.seller.take());
        standing.session = session.or_else(|| standing.session.take()).filter(|name| !name.is_empty());
    }
    Ok(standing(world))
}

/// A seller or a client, as they are named here.
fn well_formed(name: String) -> Result<String, String> {
    if is_client_id(&name) { Ok(name) } else { Err(format!("{name:?} is not of [A-Za-z0-9._-]{{1,128}}")) }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Pin {
    marketplace: String,
    client_id: String,
    redirect_uris: Vec<String>,
}

pub(super) fn pin(world: &World, body: &[u8]) -> Result<Answer, String> {
    let Pin { marketplace, client_id, redirect_uris } = read(body)?;
    let marketplaces = consenting(marketplace)?;
    let client_id = well_formed(client_id)?;
    if let Some(wrong) = redirect_uris.iter().find(|address| !may_be_registered(address)) {
        return Err(format!(
            "{wrong:?} is not an absolute https address, or http on this machine, without fragment"
        ));
    }
    for marketplace in marketplaces {
        world.redirects.pin(marketplace, &client_id, redirect_uris.clone());
    }
    Ok(clients(world))
}

pub(super) fn clients(world: &World) -> Answer {
    let shown = |(marketplace, client, addresses): (Marketplace, String, Vec<String>)| json!({ "marketplace": marketplace.name(), "client_id": client, "redirect_uris": addresses });
    let all: Vec<Value> = world.redirects.all().into_iter().map(shown).collect();
    pretty(&json!({ "clients": all }))
}

/// The marketplaces of that name where sellers give consent.
fn consenting(name: String) -> Result<Vec<Marketplace>, String> {
    let words = format!("no seller gives consent at {name}");
    let found: Vec<_> =
        meant(name)?.into_iter().filter(|one| one.endpoint(Kind::Consent).is_some()).collect();
    if found.is_empty() { Err(words) } else { Ok(found) }
}

pub(super) fn policies(world: &World) -> Answer {
    let all: BTreeMap<_, _> = Marketplace::ALL
        .into_iter()
        .map(|one| (one.name(), Policy::clone(&world.policies.of(one))))
        .collect();
    pretty(&json!({ "policies": all }))
}

pub(super) fn change_policy(world: &World, body: &[u8]) -> Result<Answer, String> {
    let mut change: Map<String, Value> = read(body)?;
    let Some(Value::String(marketplace)) = change.remove("marketplace") else {
        return Err("marketplace is missing: its name, or \"*\"".to_owned());
    };
    let like = change.remove("like");
    let changed: Vec<_> = meant(marketplace)?
        .into_iter()
        .map(|one| Ok((one, liking(&world.policies.of(one), like.as_ref())?.with(change.clone())?)))
        .collect::<Result<_, String>>()?;
    for (marketplace, policy) in changed {
        world.policies.set(marketplace, policy);
    }
    Ok(policies(world))
}

/// The policy, with a real server's habits where one is named.
fn liking(policy: &Policy, like: Option<&Value>) -> Result<Policy, String> {
    let Some(server) = like else { return Ok(policy.clone()) };
    let known = server.as_str().and_then(|name| policy.like(name));
    known.ok_or_else(|| format!("like {server} is none of {}", SERVERS.join(", ")))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    marketplace: String,
    client_id: String,
    #[serde(default = "first_shop")]
    seller: String,
    session: Option<String>,
    lifetime: Option<u64>,
    consent_lifetime: Option<u64>,
    #[serde(default)]
    scope: String,
    count: Option<u32>,
}

fn first_shop() -> String {
    "shop-1".to_owned()
}

/// What one new grant is shown as.
#[derive(Serialize)]
struct Shown<'a> {
    marketplace: &'static str,
    client_id: &'a str,
    seller: &'a str,
    family: u64,
    access_token: &'a str,
    expires_in: u64,
    refresh_token: &'a str,
    ends_at_ms: u64,
}

pub(super) fn connect(world: &World, body: &[u8]) -> Result<Answer, String> {
    let wanted: Wanted = read(body)?;
    let [marketplace] = consenting(wanted.marketplace)?[..] else {
        return Err("one marketplace at a time".to_owned());
    };
    let client_id = well_formed(wanted.client_id)?;
    let seller = well_formed(wanted.seller)?;
    let one = |seller: String| {
        let connect = Connect {
            session: wanted.session.clone(),
            lifetime: wanted.lifetime,
            consent_lifetime: wanted.consent_lifetime,
            scope: wanted.scope.clone(),
            ..Connect::new(marketplace.name(), &client_id, &seller)
        };
        let grant = connect_one(world, marketplace, connect);
        json!(Shown {
            marketplace: marketplace.name(),
            client_id: &client_id,
            seller: &seller,
            family: grant.family,
            access_token: &grant.access_token,
            expires_in: grant.expires_in,
            refresh_token: &grant.refresh_token,
            ends_at_ms: grant.ends_at_ms,
        })
    };
    Ok(match wanted.count {
        None => pretty(&one(seller)),
        Some(count) => {
            let all: Vec<Value> = (1..=count).map(|number| one(format!("{seller}-{number}"))).collect();
            pretty(&json!({ "grants": all }))
        }
    })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Whom {
    marketplace: String,
    seller: String,
}

pub(super) fn disconnect(world: &World, body: &[u8]) -> Result<Answer, String> {
    Ok(pretty(&json!({ "disconnected": end_seller(world, body, Ended::Disconnected)? })))
}

pub(super) fn end_sessions(world: &World, body: &[u8]) -> Result<Answer, String> {
    Ok(pretty(&json!({ "ended": end_seller(world, body, Ended::SessionEnded)? })))
}

fn end_seller(world: &World, body: &[u8], why: Ended) -> Result<usize, String> {
    let Whom { marketplace, seller } = read(body)?;
    let mut grants = locked(&world.grants);
    Ok(meant(marketplace)?.into_iter().map(|one| grants.families.end_seller(one, &seller, why)).sum())
}

pub(super) fn users(world: &World) -> Answer {
    let shown = |(marketplace, seller, state): (Marketplace, String, User)| json!({ "marketplace": marketplace.name(), "seller": seller, "state": state });
    let all: Vec<Value> = world.users.all().into_iter().map(shown).collect();
    pretty(&json!({ "users": all }))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Standing {
    marketplace: String,
    seller: String,
    state: User,
}

pub(super) fn set_user(world: &World, body: &[u8]) -> Result<Answer, String> {
    let Standing { marketplace, seller, state } = read(body)?;
    for one in meant(marketplace)? {
        world.users.set(one, &seller, state);
    }
    Ok(users(world))
}

pub(super) fn families(world: &World, query: &str) -> Result<Answer, String> {
    let marketplace = query_value(query, "marketplace").map(known_marketplace).transpose()?;
    let seller = query_value(query, "seller");
    let mut families = locked(&world.grants).families.reports();
    families.retain(|family| {
        marketplace.as_deref().is_none_or(|name| name == "*" || name == family.marketplace)
            && seller.as_deref().is_none_or(|seller| seller == family.seller)
    });
    let sum = |count: fn(&crate::sim::Family) -> u64| families.iter().map(count).sum::<u64>();
    Ok(pretty(&json!({
        "total": families.len(),
        "ended": families.iter().filter(|family| family.ended.is_some()).count(),
        "refreshes": sum(|family| family.refreshes),
        "rotations": sum(|family| family.rotations),
        "shown_again": sum(|family| family.shown_again),
        "reuse_attempts": sum(|family| family.reuse_attempts),
        "forgiven": sum(|family| family.forgiven),
        "families": families,
    })))
}
