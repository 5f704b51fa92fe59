//! The controls below `/sim`. The one rule: a mistake is answered 400 with words that name it and what would be right.

mod consents;
mod requests;

use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use hyper::http::request::Parts;
use hyper::{Method, Response};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::answer::Answer;
use super::body::AnswerBody;
use super::exchange::Broken;
use super::fault::FaultRule;
use super::marketplace::Marketplace;
use super::world::World;

const HELP: &str = include_str!("../help.txt");

/// Whether the simulator itself answers this path.
pub(super) fn owns(path: &str) -> bool {
    path == "/sim" || path.starts_with("/sim/")
}

pub(super) async fn answer(
    world: &World,
    parts: &Parts,
    body: Incoming,
) -> Result<Response<AnswerBody>, Broken> {
    let body = match Limited::new(body, 1 << 20).collect().await {
        Ok(body) => body.to_bytes(),
        Err(_) => return Ok(mistake("the body is longer than 1 MiB or broke off").into_response(|body| body)),
    };
    let query = parts.uri.query().unwrap_or_default();
    let done = act(world, &parts.method, parts.uri.path(), query, &body);
    Ok(done.unwrap_or_else(|wrong| mistake(&wrong)).into_response(|body| body))
}

fn act(world: &World, method: &Method, path: &str, query: &str, body: &[u8]) -> Result<Answer, String> {
    match (path.trim_end_matches('/'), method) {
        ("/sim", &Method::GET) => Ok(Answer::text(200, "text/plain; charset=utf-8", HELP)),
        ("/sim/requests", &Method::GET) => requests::requests(world, query),
        ("/sim/requests", &Method::DELETE) => Ok(done(|| world.recorder.forget())),
        ("/sim/faults", &Method::GET) => Ok(pretty(&json!({ "faults": world.faults.list() }))),
        ("/sim/faults", &Method::POST) => add_fault(world, body),
        ("/sim/faults", &Method::DELETE) => Ok(done(|| world.faults.clear())),
        ("/sim/clock", &Method::GET) => Ok(clock(world)),
        ("/sim/clock", &Method::POST) => advance(world, body),
        ("/sim/reset", &Method::POST) => Ok(done(|| world.reset())),
        ("/sim/revoke", &Method::POST) => revoke(world, body),
        ("/sim/disconnect", &Method::POST) => consents::disconnect(world, body),
        ("/sim/end-sessions", &Method::POST) => consents::end_sessions(world, body),
        ("/sim/users", &Method::GET) => Ok(consents::users(world)),
        ("/sim/users", &Method::POST) => consents::set_user(world, body),
        ("/sim/consent", &Method::GET) => Ok(consents::standing(world)),
        ("/sim/consent", &Method::POST) => consents::stand(world, body),
        ("/sim/clients", &Method::GET) => Ok(consents::clients(world)),
        ("/sim/clients", &Method::POST) => consents::pin(world, body),
        ("/sim/policy", &Method::GET) => Ok(consents::policies(world)),
        ("/sim/policy", &Method::POST) => consents::change_policy(world, body),
        ("/sim/grants", &Method::POST) => consents::connect(world, body),
        ("/sim/families", &Method::GET) => consents::families(world, query),
        (known, _) => allowed(known).map_or_else(
            || Err(format!("{known} is no control; GET /sim lists them")),
            |methods| Ok(refused_method(known, methods)),
        ),
    }
}

fn allowed(path: &str) -> Option<&'static str> {
    match path {
        "/sim" | "/sim/families" => Some("GET"),
        "/sim/requests" => Some("GET, DELETE"),
        "/sim/faults" => Some("GET, POST, DELETE"),
        "/sim/clock" | "/sim/consent" | "/sim/clients" | "/sim/policy" | "/sim/users" => Some("GET, POST"),
        "/sim/reset" | "/sim/revoke" | "/sim/disconnect" | "/sim/end-sessions" | "/sim/grants" => {
            Some("POST")
        }
        _ => None,
    }
}

fn refused_method(path: &str, methods: &str) -> Answer {
    let error = format!("{path} takes {methods}");
    Answer::json(405, &json!({ "error": error })).header("allow", methods)
}

fn mistake(words: &str) -> Answer {
    Answer::json(400, &json!({ "error": words }))
}

fn pretty(value: &Value) -> Answer {
    Answer::text(200, "application/json", format!("{value:#}\n"))
}

fn done(change: impl FnOnce()) -> Answer {
    change();
    Answer::empty(204)
}

fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, String> {
    serde_json::from_slice(body).map_err(|error| format!("the body is not what is expected here: {error}"))
}

fn known_marketplace(name: String) -> Result<String, String> {
    if name == "*" || name == Marketplace::Nowhere.name() || Marketplace::named(&name).is_some() {
        return Ok(name);
    }
    let known: Vec<_> = Marketplace::ALL.iter().map(|marketplace| marketplace.name()).collect();
    Err(format!("unknown marketplace {name:?}; expected one of {}", known.join(", ")))
}

/// The marketplaces that a name stands for.
fn meant(name: String) -> Result<Vec<Marketplace>, String> {
    let name = known_marketplace(name)?;
    Ok(Marketplace::ALL.into_iter().filter(|one| name == "*" || one.name() == name).collect())
}

fn add_fault(world: &World, body: &[u8]) -> Result<Answer, String> {
    let rule: FaultRule = read(body)?;
    match rule.mistake() {
        Some(mistake) => Err(mistake),
        None => {
            world.faults.add(rule);
            Ok(pretty(&json!({ "faults": world.faults.list() })))
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Advance {
    advance_ms: u64,
}

fn advance(world: &World, body: &[u8]) -> Result<Answer, String> {
    let Advance { advance_ms } = read(body)?;
    world.clock.advance(advance_ms);
    Ok(clock(world))
}

fn clock(world: &World) -> Answer {
    let (clock, epoch) = (&world.clock, world.clock.epoch());
    let now = super::clock::rfc3339(epoch);
    pretty(&json!({ "now_ms": clock.now(), "offset_ms": clock.offset(), "now": now }))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Revoke {
    marketplace: String,
    account: String,
}

fn revoke(world: &World, body: &[u8]) -> Result<Answer, String> {
    let Revoke { marketplace, account } = read(body)?;
    let now = world.clock.now();
    let meant = meant(marketplace)?.into_iter();
    let revoked: usize = meant.map(|one| world.tokens.revoke_account(one, &account, now)).sum();
    Ok(pretty(&json!({ "revoked": revoked })))
}
