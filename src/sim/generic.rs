//! An OAuth 2.0 API without quirks, for whatever the other marketplaces do not exercise: it answers every method with
//! an echo of what arrived, and makes bodies, statuses and redirects to order.

use bytes::Bytes;
use hyper::Method;
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::time::Duration;

use super::answer::Answer;
use super::arrival::Arrival;
use super::body::Source;
use super::clients;
use super::credential::{self, GENERIC_HEADERS};
use super::form::Form;
use super::grants::{Asked, BadCode, BadRefresh, InvalidGrant, Unasked, entitled};
use super::marketplace::Kind;
use super::record::shown;
use super::vendor::{issue, refused};
use super::world::World;

pub(super) fn answer(world: &World, arrival: &Arrival) -> Answer {
    match arrival.kind {
        Kind::Token => token(world, arrival).unwrap_or_else(|refusal| refusal),
        _ => api(world, arrival).unwrap_or_else(|refusal| refusal),
    }
}

pub(super) fn refusal(status: u16, message: &str) -> Answer {
    let error = match status {
        400 => "invalid_request",
        401 => "invalid_token",
        403 => "insufficient_scope",
        404 => "not_found",
        429 => "too_many_requests",
        503 => "temporarily_unavailable",
        500.. => "server_error",
        _ => "refused",
    };
    error_of(status, error, message)
}

fn error_of(status: u16, error: &str, description: &str) -> Answer {
    Answer::json(status, &json!({ "error": error, "error_description": description }))
}

/// RFC 6749 §4.1.3, §4.4 and §6 to the letter; `lifetime` is the only parameter of our own.
fn token(world: &World, arrival: &Arrival) -> Result<Answer, Answer> {
    if arrival.path != arrival.marketplace.token_path() {
        return Err(refusal(404, "no such path"));
    }
    if arrival.method != Method::POST {
        return Err(refusal(405, "the token endpoint takes POST").header("allow", "POST"));
    }
    if let Some(name) = arrival.doubled(&["authorization", "content-type"]) {
        return Err(refusal(400, &format!("the header {name} came twice")));
    }
    if !arrival.is_form() {
        return Err(refusal(400, "Content-Type must be application/x-www-form-urlencoded"));
    }
    let form = Form::parse(&arrival.body.bytes).map_err(|mistake| refusal(400, &mistake))?;
    let client = authenticated(arrival, &form)?;
    let asked = Asked::of(&form).map_err(unasked)?;
    let lifetime = lifetime(&form)?;
    let mut entitled = entitled(world, arrival, &client, &asked)
        .map_err(|why| refused(world, arrival, why, invalid_grant))?;
    entitled.lifetime = lifetime.or(entitled.lifetime);
    let (token, lifetime) = issue(world, arrival, &entitled);
    let answer = json!({ "access_token": token, "token_type": "Bearer", "expires_in": lifetime });
    Ok(Answer::json(200, &entitled.complete(answer))
        .headers(&[("cache-control", "no-store"), ("pragma", "no-cache")]))
}

fn authenticated(arrival: &Arrival, form: &Form) -> Result<String, Answer> {
    let unknown = || {
        error_of(401, "invalid_client", "client authentication failed")
            .header("www-authenticate", "Basic realm=\"generic\"")
    };
    let presented = match arrival.header("authorization") {
        Some(_) if clients::authenticates(form) => {
            return Err(refusal(400, "the client authenticates both in the header and in the body"));
        }
        Some(value) => clients::of_basic(value),
        None => clients::of_form(form),
    };
    let client = presented.filter(clients::Presented::is_genuine).ok_or_else(unknown)?.id;
    match form.value("client_id") {
        Some(other) if other != client => Err(refusal(400, "client_id is not the client that authenticates")),
        _ => Ok(client),
    }
}

/// RFC 6749 §5.2, RFC 7636 §4.6.
fn invalid_grant(why: InvalidGrant) -> Answer {
    let words = match why {
        InvalidGrant::Code(BadCode::NoVerifier) => return refusal(400, "code_verifier is missing"),
        InvalidGrant::Code(BadCode::WrongVerifier) => "the code_verifier does not match the code_challenge",
        InvalidGrant::Code(BadCode::Used(_)) => "the code was used before",
        InvalidGrant::Refresh(BadRefresh::Reused) => {
            "the refresh token was used before; its grant is revoked"
        }
        _ => "the grant is invalid, expired, revoked or another client's",
    };
    error_of(400, "invalid_grant", words)
}

fn unasked(why: Unasked) -> Answer {
    match why {
        Unasked::NoGrantType => refusal(400, "grant_type is missing"),
        Unasked::Lacks(name) => refusal(400, &format!("{name} is missing")),
        Unasked::UnknownGrantType(other) => error_of(400, "unsupported_grant_type", &other),
    }
}

fn lifetime(form: &Form) -> Result<Option<u64>, Answer> {
    let wrong = |_| refusal(400, "lifetime is a number of seconds");
    form.value("lifetime").map(|text| text.parse().map_err(wrong)).transpose()
}

fn api(world: &World, arrival: &Arrival) -> Result<Answer, Answer> {
    let Some(segments) = arrival.segments_below("/api") else {
        return Err(refusal(404, "the API lives below /generic/api/"));
    };
    let account = account(world, arrival)?;
    match segments.as_slice() {
        ["bytes", count] => bytes(arrival, count),
        ["status", code] => status(arrival, code),
        ["redirect"] => redirect(arrival),
        ["sse"] => events(arrival),
        _ => Ok(Answer::json(200, &echo(arrival, &account))),
    }
}

fn account(world: &World, arrival: &Arrival) -> Result<String, Answer> {
    if let Some(name) =
        arrival.doubled(&GENERIC_HEADERS).or_else(|| arrival.doubled(&["content-type", "host"]))
    {
        return Err(refusal(400, &format!("the header {name} came twice")));
    }
    let unauthorized = |words: &str| {
        let challenge =
            format!("Bearer realm=\"generic\", error=\"invalid_token\", error_description=\"{words}\"");
        refusal(401, words).header("www-authenticate", &challenge)
    };
    let found =
        |name: &&str| arrival.header(name).is_some_and(|value| owner(world, arrival, value).is_some());
    let holders: Vec<&str> = GENERIC_HEADERS.iter().copied().filter(found).collect();
    match holders.as_slice() {
        [] if credential::presented(arrival).is_none() => Err(unauthorized("no credential")),
        [] => Err(unauthorized("the token is unknown, expired or revoked")),
        [one] if *one == "authorization" || arrival.header("authorization").is_none() => {
            let value = arrival.header(one).unwrap_or_default();
            owner(world, arrival, value).ok_or_else(|| unauthorized("the token expired just now"))
        }
        [_] => Err(unauthorized("the Authorization header carries no valid token")),
        _ => Err(refusal(400, &format!("credentials in more than one header: {}", holders.join(", ")))),
    }
}

/// The account that a header's value speaks for: a live token or a static key, after any scheme.
fn owner(world: &World, arrival: &Arrival, value: &str) -> Option<String> {
    let credential = credential::without_scheme(value);
    if let Some(name) = credential::static_key(arrival.marketplace, credential) {
        return Some(name.to_owned());
    }
    Some(credential::look_up(world, arrival, credential).ok()?.account.to_string())
}

fn echo(arrival: &Arrival, account: &str) -> Value {
    json!({
        "method": arrival.method.as_str(),
        "target": arrival.target,
        "headers": shown(&arrival.headers),
        "trailers": shown(&arrival.body.trailers),
        "account": account,
        "seller": account,
        "body_length": arrival.body.length,
        "body_sha256": arrival.body.sha256,
    })
}

fn bytes(arrival: &Arrival, count: &str) -> Result<Answer, Answer> {
    let total = count.parse().map_err(|_| refusal(400, "bytes/{n}: n is a number"))?;
    let declared = arrival.query_value("chunked").as_deref() != Some("1");
    Ok(Answer::of(200, Source::Sample { total, declared }).header("content-type", "application/octet-stream"))
}

fn status(arrival: &Arrival, code: &str) -> Result<Answer, Answer> {
    let code = code.parse().ok().filter(|code| (200..=999).contains(code));
    let code: u16 = code.ok_or_else(|| refusal(400, "status/{code}: 200 to 999"))?;
    Ok(match code {
        204 | 205 | 304 => Answer::empty(code),
        _ => Answer::json(code, &json!({ "status": code, "method": arrival.method.as_str() })),
    })
}

fn redirect(arrival: &Arrival) -> Result<Answer, Answer> {
    let to = arrival.query_value("to").ok_or_else(|| refusal(400, "redirect?to=: where to"))?;
    let code = arrival.query_number("code", 300..=399).map_err(|()| refusal(400, "code: 300 to 399"))?;
    let code = code.and_then(|code| u16::try_from(code).ok()).unwrap_or(302);
    Ok(Answer::empty(code).header("location", &to))
}

fn events(arrival: &Arrival) -> Result<Answer, Answer> {
    let wrong = |()| refusal(400, "count: 1 to 10000; interval_ms: 0 to 60000");
    let count = arrival.query_number("count", 1..=10_000).map_err(wrong)?.unwrap_or(3);
    let pause = arrival.query_number("interval_ms", 0..=60_000).map_err(wrong)?.unwrap_or(100);
    let event = |number| Bytes::from(format!("id: {number}\ndata: {{\"event\":{number}}}\n\n"));
    let pieces: VecDeque<Bytes> = (1..=count).map(event).collect();
    let source = Source::Paced { pieces, pause: Duration::from_millis(pause) };
    Ok(Answer::of(200, source)
        .headers(&[("content-type", "text/event-stream"), ("cache-control", "no-store")]))
}
