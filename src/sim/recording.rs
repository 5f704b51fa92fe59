//! What is taken down of a request, and when. The one rule: the head as soon as it has arrived, the body as soon as it is
//! whole, both before anything is done.

use hyper::http::request::Parts;
use hyper::{HeaderMap, Method};

use super::arrival::{Arrival, Place, authority, target};
use super::exchange::Connection;
use super::fault::Befallen;
use super::marketplace::Kind;
use super::record::{RecordedRequest, shown};
use super::violations::{violations, violations_of_trailers};
use super::world::World;
use super::{clients, consent, credential, form, vendor};

/// A request whose head has arrived.
pub(super) fn taken_down(
    world: &World,
    connection: &Connection,
    parts: &Parts,
    place: Place<'_>,
) -> RecordedRequest {
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
        seller: None,
        fault: None,
        status: None,
        violations: out_of_place(&place, &parts.headers),
        duplicate_correlation_id: false,
    }
}

/// Walmart asks for the client's credentials beside the token at one path of its API.
fn out_of_place(place: &Place<'_>, fields: &HeaderMap) -> Vec<String> {
    let mut found = violations(place.marketplace, place.kind, fields);
    if place.marketplace.is_walmart_seller() && place.path == "/v3/token/detail" {
        found.retain(|violation| !violation.starts_with("authorization:"));
    }
    found
}

pub(super) fn note_faults(world: &World, number: u64, befallen: &Befallen) {
    let named = befallen.answer.iter().chain(befallen.shape.iter());
    let mut names: Vec<String> = named
        .filter_map(|fault| Some(serde_json::to_value(fault).ok()?["kind"].as_str()?.to_owned()))
        .collect();
    names.extend(befallen.pause_ms.map(|_| "delay".to_owned()));
    names.extend(befallen.lifetime.map(|_| "lifetime".to_owned()));
    names.extend(befallen.same_token.then(|| "same_token".to_owned()));
    if !names.is_empty() {
        world.recorder.amend(number, |request| request.fault = Some(names.join("+")));
    }
}

pub(super) fn note_body(world: &World, number: u64, arrival: &Arrival) {
    let (account, seller) = (whose(world, arrival), seller(world, arrival));
    let is_form = !matches!(arrival.kind, Kind::Api | Kind::Discovery) && arrival.method == Method::POST;
    let text = is_form.then(|| form_text(arrival));
    let trailers = &arrival.body.trailers;
    let misasked = if arrival.kind == Kind::Consent { consent::violations(arrival) } else { Vec::new() };
    world.recorder.amend(number, |request| {
        request.body_length = Some(arrival.body.length);
        request.body_sha256 = Some(arrival.body.sha256.clone());
        request.body_text = text;
        request.account = account;
        request.seller = seller;
        request.trailers = shown(trailers);
        request.violations.extend(violations_of_trailers(trailers));
        request.violations.extend(misasked);
    });
    world.recorder.wake();
}

/// The account a request speaks for, whether or not its credential is good.
fn whose(world: &World, arrival: &Arrival) -> Option<String> {
    match arrival.kind {
        Kind::Token | Kind::Revocation => clients::claimed(arrival),
        Kind::Api => credential::account_of(world, arrival),
        Kind::Consent => consent::client(arrival),
        Kind::Discovery => None,
    }
}

/// The seller behind what a request presents. A refresh token counts as shown by this.
fn seller(world: &World, arrival: &Arrival) -> Option<String> {
    match arrival.kind {
        Kind::Token => {
            vendor::note_shown(world, arrival);
            vendor::whose(world, arrival)
        }
        Kind::Api => credential::account_of(world, arrival),
        Kind::Consent | Kind::Revocation | Kind::Discovery => None,
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
