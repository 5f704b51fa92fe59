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

use super::arrival::{Arrival, Place, Received, origin, target};
use super::body::AnswerBody;
use super::fault::Fault;
use super::hash::hex;
use super::marketplace::{Kind, Marketplace};
use super::wire::Switch;
use super::world::World;
use super::{befall, control, recording, vendor};

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
    world: &Arc<World>,
    connection: &Connection,
    request: Request<Incoming>,
) -> Result<Response<AnswerBody>, Broken> {
    let (parts, body) = request.into_parts();
    if control::owns(parts.uri.path()) {
        return control::answer(world, &parts, body).await;
    }
    let place = Place::of(&parts);
    let number = world.recorder.arrived(
        place.marketplace,
        place.kind,
        recording::taken_down(world, connection, &parts, place),
    );
    let befallen = world.faults.take(place.marketplace, place.kind, place.path);
    recording::note_faults(world, number, &befallen);
    if let Some(Fault::Early { status }) = befallen.answer {
        return Ok(early(world, place, number, status));
    }
    let Ok(received) = receive(body, kept(place, &parts.method)).await else {
        world.recorder.amend(number, |request| request.body_broken = true);
        return Err(Broken);
    };
    let mut arrival = arrive(world, connection, &parts, place, received);
    recording::note_body(world, number, &arrival);
    if let Some(ms) = befallen.pause_ms {
        tokio::time::sleep(Duration::from_millis(ms)).await;
        (arrival.now, arrival.epoch) = (world.clock.now(), world.clock.epoch());
    }
    (arrival.lifetime, arrival.same_token) = (befallen.lifetime, befallen.same_token);
    let answer = befall::settle(world, connection, arrival, befallen.answer).await?;
    world.recorder.answered(number, answer.status.as_u16());
    Ok(befall::shaped(answer, connection, befallen.shape.as_ref()))
}

/// A refusal that does not wait for the request's body.
fn early(world: &World, place: Place<'_>, number: u64, status: u16) -> Response<AnswerBody> {
    world.recorder.answered(number, status);
    let refusal = vendor::refusal(world, place.marketplace, place.kind, status, "refused early");
    refusal.header("connection", "close").into_response(|body| body)
}

/// How many bytes of a body are kept; `None` where it is only counted and hashed.
fn kept(place: Place<'_>, method: &Method) -> Option<usize> {
    match (place.marketplace, place.kind) {
        (_, Kind::Token | Kind::Consent | Kind::Revocation | Kind::Discovery) => Some(64 << 10),
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
        same_token: false,
        found: None,
    }
}
