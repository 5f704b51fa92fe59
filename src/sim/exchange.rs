//! The path of one request through the simulator: recorded, befallen by its faults, read to the end, answered by its
//! marketplace. The one rule: a request is on record before anything else happens to it.

use bytes::BytesMut;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::http::request::Parts;
use hyper::{HeaderMap, Method, Request, Response};
use sha2::{Digest, Sha256};
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use super::answer::Answer;
use super::arrival::{Arrival, Received, authority, origin};
use super::body::AnswerBody;
use super::fault::{Befallen, Fault};
use super::hash::hex;
use super::marketplace::{Kind, Marketplace};
use super::record::{RecordedRequest, shown};
use super::violations::{violations, violations_of_trailers};
use super::wire::Switch;
use super::world::World;
use super::{clients, control, credential, form, vendor};

/// The connection ends here, in the middle of things.
#[derive(Debug)]
pub(super) struct Broken;

impl fmt::Display for Broken {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("the simulator breaks this connection")
    }
}

impl std::error::Error for Broken {}

/// The connection a request came on.
#[derive(Clone)]
pub(super) struct Connection {
    pub(super) number: u64,
    pub(super) peer: IpAddr,
    pub(super) tls: bool,
    pub(super) switch: Arc<Switch>,
}

/// Answers one request, or breaks the connection.
pub(super) async fn answer(
    world: &World,
    connection: &Connection,
    request: Request<Incoming>,
) -> Result<Response<AnswerBody>, Broken> {
    let (parts, body) = request.into_parts();
    if control::owns(parts.uri.path()) {
        return control::answer(world, &parts, body).await;
    }
    let place = Place::of(&parts);
    let number =
        world.recorder.arrived(place.marketplace, place.kind, taken_down(world, connection, &parts, place));
    let befallen = world.faults.take(place.marketplace, place.kind, place.path);
    note_faults(world, number, &befallen);
    if let Some(Fault::Early { status }) = befallen.answer {
        return Ok(early(world, place, number, status));
    }
    let Ok(received) = receive(body, kept(place, &parts.method)).await else {
        world.recorder.amend(number, |request| request.body_broken = true);
        return Err(Broken);
    };
    let mut arrival = arrive(world, connection, &parts, place, received);
    note_body(world, number, &arrival);
    if let Some(ms) = befallen.pause_ms {
        tokio::time::sleep(Duration::from_millis(ms)).await;
        (arrival.now, arrival.epoch) = (world.clock.now(), world.clock.epoch());
    }
    arrival.lifetime = befallen.lifetime;
    let answer = settle(world, connection, &arrival, befallen.answer).await?;
    world.recorder.answered(number, answer.status.as_u16());
    Ok(shaped(answer, connection, befallen.shape.as_ref()))
}

/// A refusal that does not wait for the request's body.
fn early(world: &World, place: Place<'_>, number: u64, status: u16) -> Response<AnswerBody> {
    world.recorder.answered(number, status);
    let refusal = vendor::refusal(world, place.marketplace, place.kind, status, "refused early");
    refusal.header("connection", "close").into_response(|body| body)
}

/// Where a request wants to go.
#[derive(Clone, Copy)]
struct Place<'a> {
    marketplace: Marketplace,
    kind: Kind,
    path: &'a str,
}

impl<'a> Place<'a> {
    fn of(parts: &'a Parts) -> Self {
        let (marketplace, path) = Marketplace::of_path(parts.uri.path());
        Self { marketplace, kind: marketplace.kind_of(path), path }
    }
}

fn target(parts: &Parts) -> String {
    let in_form = parts.uri.path_and_query().map_or("*", hyper::http::uri::PathAndQuery::as_str);
    if parts.uri.scheme().is_some() && parts.version < hyper::Version::HTTP_2 {
        return parts.uri.to_string();
    }
    in_form.to_owned()
}

fn taken_down(world: &World, connection: &Connection, parts: &Parts, place: Place<'_>) -> RecordedRequest {
    RecordedRequest {
        number: 0,
        at_ms: world.clock.now(),
        marketplace: place.marketplace.name(),
        kind: place.kind.name(),
        method: parts.method.to_string(),
        target: target(parts),
        authority: authority(&parts.uri, &parts.headers).map(str::to_owned),
        version: format!("{:?}", parts.version),
        headers: shown(&parts.headers),
        trailers: Vec::new(),
        connection: connection.number,
        body_length: None,
        body_sha256: None,
        body_text: None,
        body_broken: false,
        account: None,
        fault: None,
        status: None,
        violations: violations(place.marketplace, place.kind, &parts.headers),
        duplicate_correlation_id: false,
    }
}

fn note_faults(world: &World, number: u64, befallen: &Befallen) {
    let named = befallen.answer.iter().chain(befallen.shape.iter());
    let mut names: Vec<String> = named
        .filter_map(|fault| Some(serde_json::to_value(fault).ok()?["kind"].as_str()?.to_owned()))
        .collect();
    names.extend(befallen.pause_ms.map(|_| "delay".to_owned()));
    names.extend(befallen.lifetime.map(|_| "lifetime".to_owned()));
    if !names.is_empty() {
        world.recorder.amend(number, |request| request.fault = Some(names.join("+")));
    }
}

/// How many bytes of a body are kept; `None` where it is only counted and hashed.
fn kept(place: Place<'_>, method: &Method) -> Option<usize> {
    match (place.marketplace, place.kind) {
        (_, Kind::Token) => Some(64 << 10),
        (Marketplace::Generic | Marketplace::Nowhere, Kind::Api) => None,
        (marketplace, Kind::Api)
            if marketplace.is_walmart_seller() && method == Method::POST && place.path == "/v3/feeds" =>
        {
            Some(32 << 20)
        }
        (_, Kind::Api) => Some(1 << 20),
    }
}

async fn receive(mut body: Incoming, keep: Option<usize>) -> Result<Received, Broken> {
    let (mut digest, mut bytes, mut received) = (Sha256::new(), BytesMut::new(), Received::default());
    while let Some(frame) = body.frame().await {
        match frame.map_err(|_| Broken)?.into_data() {
            Ok(data) => {
                digest.update(&data);
                received.length += data.len() as u64;
                received.too_long = keep.is_some_and(|keep| received.length > keep as u64);
                if keep.is_some() && !received.too_long {
                    bytes.extend_from_slice(&data);
                }
            }
            Err(frame) => received.trailers = frame.into_trailers().unwrap_or_default(),
        }
    }
    received.sha256 = hex(&digest.finalize());
    received.bytes = bytes.freeze();
    Ok(received)
}

fn arrive(
    world: &World,
    connection: &Connection,
    parts: &Parts,
    place: Place<'_>,
    body: Received,
) -> Arrival {
    Arrival {
        marketplace: place.marketplace,
        kind: place.kind,
        method: parts.method.clone(),
        target: target(parts),
        path: place.path.to_owned(),
        query: parts.uri.query().unwrap_or_default().to_owned(),
        headers: HeaderMap::clone(&parts.headers),
        body,
        now: world.clock.now(),
        epoch: world.clock.epoch(),
        origin: origin(&parts.uri, &parts.headers, connection.tls),
        peer: connection.peer,
        lifetime: None,
    }
}

fn note_body(world: &World, number: u64, arrival: &Arrival) {
    let account = whose(world, arrival);
    let text = (arrival.kind == Kind::Token).then(|| form_text(arrival));
    let trailers = &arrival.body.trailers;
    world.recorder.amend(number, |request| {
        request.body_length = Some(arrival.body.length);
        request.body_sha256 = Some(arrival.body.sha256.clone());
        request.body_text = text;
        request.account = account;
        request.trailers = shown(trailers);
        request.violations.extend(violations_of_trailers(trailers));
    });
    world.recorder.wake();
}

/// The account a request speaks for, whether or not its credential is good.
fn whose(world: &World, arrival: &Arrival) -> Option<String> {
    match arrival.kind {
        Kind::Token => clients::claimed(arrival),
        Kind::Api => credential::account_of(world, arrival),
    }
}

fn form_text(arrival: &Arrival) -> String {
    let mut text = match form::Form::parse(&arrival.body.bytes) {
        Ok(form) => form.masked(),
        Err(mistake) => format!("(not a form: {mistake})"),
    };
    let end = (0..=text.len().min(2048)).rev().find(|end| text.is_char_boundary(*end));
    text.truncate(end.unwrap_or(0));
    text
}

/// What the marketplace or the fault in its place answers.
async fn settle(
    world: &World,
    connection: &Connection,
    arrival: &Arrival,
    fault: Option<Fault>,
) -> Result<Answer, Broken> {
    let Some(fault) = fault else { return Ok(vendor::answer(world, arrival)) };
    match fault {
        Fault::Hang {} => std::future::pending().await,
        Fault::Reset {} => {
            connection.switch.reset();
            Err(Broken)
        }
        Fault::Revoke {} => {
            credential::end(world, arrival);
            Ok(vendor::answer(world, arrival))
        }
        Fault::ExpiredAs400 {} => {
            credential::end(world, arrival);
            Ok(vendor::expired_as_400())
        }
        Fault::Status { status, retry_after, body } => {
            let refusal = match body {
                Some(body) => Answer::text(status, literal_type(&body), body),
                None => vendor::refusal(world, arrival.marketplace, arrival.kind, status, "simulated fault"),
            };
            Ok(match retry_after {
                Some(when) => refusal.header("retry-after", &when),
                None => refusal,
            })
        }
        Fault::Garbage {} => Ok(Answer::text(200, "text/html; charset=utf-8", GARBAGE)),
        Fault::TokenAnswer { status, content_type, body } => {
            Ok(Answer::text(status, &content_type, vendor::with_token(world, arrival, body)))
        }
        _ => Ok(vendor::answer(world, arrival)),
    }
}

const GARBAGE: &str = "<!DOCTYPE html>\n<html><head><title>Down for maintenance</title></head>\
    <body><h1>We will be back soon</h1></body></html>\n";

fn literal_type(body: &str) -> &'static str {
    match body.trim_start().bytes().next() {
        Some(b'{' | b'[') => "application/json",
        Some(b'<') => "text/html",
        _ => "text/plain",
    }
}

fn shaped(answer: Answer, connection: &Connection, shape: Option<&Fault>) -> Response<AnswerBody> {
    answer.into_response(|body| match shape {
        Some(Fault::Slow { bytes_per_second }) => body.slowed(*bytes_per_second),
        Some(Fault::CutBody { after_bytes }) => body.cut_after(*after_bytes),
        Some(Fault::Cut { after_bytes }) => {
            connection.switch.cut_after(*after_bytes);
            body
        }
        _ => body,
    })
}
