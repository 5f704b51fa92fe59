//! On-request reports: asked for, looked at until ready, downloaded from an absolute address. The one rule: the address
//! carries its own signature over its exact bytes, so that a rewritten one opens nothing.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hyper::Method;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::seller::Report;
use super::{Call, api_error, only, refusal, wrong_method};
use crate::sim::answer::Answer;
use crate::sim::arrival::Arrival;
use crate::sim::body::Source;
use crate::sim::clock::rfc3339;
use crate::sim::form::query_value;
use crate::sim::world::World;

const USUAL_BYTES: u64 = 20_000_000;
/// How long a download address is good, milliseconds.
const ADDRESS_LIFETIME: u64 = 3_600_000;

pub(super) fn answer(call: &Call<'_>, rest: &[&str], raw_last: &str) -> Result<Answer, Answer> {
    let method = &call.arrival.method;
    match rest {
        ["reportRequests"] if method == Method::POST => request(call),
        ["reportRequests"] if method == Method::GET => list(call),
        ["reportRequests"] => Err(wrong_method("GET, POST")),
        ["reportRequests", id] => only(call.arrival, &Method::GET).and_then(|()| status(call, id)),
        ["downloadReport"] => only(call.arrival, &Method::GET).and_then(|()| address(call)),
        ["getReport", _] => signed_download(call.world, call.arrival, raw_last),
        _ => Err(unknown()),
    }
}

fn unknown() -> Answer {
    api_error(404, "CONTENT_NOT_FOUND.GMP_REPORT_API", "no such report")
}

fn wrong(description: &str) -> Answer {
    api_error(400, "INVALID_REQUEST_PARAM.GMP_REPORT_API", description)
}

/// `simulatedBytes` sets the length of the download; the vendor knows no such parameter.
fn request(call: &Call<'_>) -> Result<Answer, Answer> {
    let parameter = |name: &str| call.arrival.query_value(name).filter(|value| !value.is_empty());
    let report_type = parameter("reportType").ok_or_else(|| wrong("reportType is missing"))?;
    let version = parameter("reportVersion").ok_or_else(|| wrong("reportVersion is missing"))?;
    let bytes = call.arrival.query_number("simulatedBytes", 0..=1 << 40);
    let bytes = bytes.map_err(|()| wrong("simulatedBytes is a number"))?.unwrap_or(USUAL_BYTES);
    let id = call.world.fresh().uuid();
    let report = Report { report_type, version, submitted: call.arrival.epoch, looks: 0, bytes };
    let shown = report.shown(&id);
    call.seller(|seller| seller.reports.insert(id, report));
    Ok(Answer::json(200, &shown))
}

impl Report {
    fn state(&self) -> &'static str {
        ["RECEIVED", "INPROGRESS"].get(self.looks as usize).copied().unwrap_or("READY")
    }

    fn shown(&self, id: &str) -> Value {
        json!({
            "requestId": id,
            "requestStatus": self.state(),
            "requestSubmissionDate": rfc3339(self.submitted),
            "reportType": self.report_type,
            "reportVersion": self.version,
        })
    }
}

fn list(call: &Call<'_>) -> Result<Answer, Answer> {
    let limit = call.limit(10, 50)?;
    let (total, page) = call.seller(|seller| {
        let shown = seller.reports.iter().take(limit).map(|(id, report)| report.shown(id));
        (seller.reports.len(), shown.collect::<Vec<_>>())
    });
    Ok(Answer::json(200, &json!({ "page": 1, "totalCount": total, "limit": limit, "requests": page })))
}

fn status(call: &Call<'_>, id: &str) -> Result<Answer, Answer> {
    let shown = call.seller(|seller| {
        let report = seller.reports.get_mut(id)?;
        report.looks = report.looks.saturating_add(1);
        Some(report.shown(id))
    });
    Ok(Answer::json(200, &shown.ok_or_else(unknown)?))
}

fn address(call: &Call<'_>) -> Result<Answer, Answer> {
    let id = call.arrival.query_value("requestId").ok_or_else(|| wrong("requestId is missing"))?;
    let bytes = call.seller(|seller| {
        let report = seller.reports.get(&id).ok_or_else(unknown)?;
        if report.state() == "READY" { Ok(report.bytes) } else { Err(wrong("the report is not ready")) }
    })?;
    let ends = rfc3339(call.arrival.epoch + ADDRESS_LIFETIME);
    let file = format!("{id}.zip");
    let parameters =
        format!("sv=2021-08-06&se={}&sr=b&sp=r&size={bytes}", utf8_percent_encode(&ends, NON_ALPHANUMERIC));
    let signature = signature(call.world, &file, &parameters);
    let below = format!("{}/v3/reports/getReport/{file}", call.arrival.marketplace.name());
    Ok(Answer::json(
        200,
        &json!({
            "requestId": id,
            "downloadURL": format!("{}/{below}?{parameters}&sig={signature}", call.arrival.origin),
            "downloadURLExpirationTime": ends,
        }),
    ))
}

fn signature(world: &World, file: &str, parameters: &str) -> String {
    let signed = format!("{} {file} {parameters}", world.seed);
    utf8_percent_encode(&STANDARD.encode(Sha256::digest(signed)), NON_ALPHANUMERIC).to_string()
}

/// The download itself: opened by its signature, with or without a token.
pub(super) fn signed_download(world: &World, arrival: &Arrival, file: &str) -> Result<Answer, Answer> {
    if arrival.method != Method::GET && arrival.method != Method::HEAD {
        return Err(wrong_method("GET, HEAD"));
    }
    let forbidden = || refusal(403, "the signature does not match or is no longer good");
    let (parameters, signed) = arrival.query.rsplit_once("&sig=").ok_or_else(forbidden)?;
    let ends = query_value(parameters, "se").unwrap_or_default();
    if signed != signature(world, file, parameters) || ends < rfc3339(arrival.epoch) {
        return Err(forbidden());
    }
    let total = query_value(parameters, "size").and_then(|size| size.parse().ok()).unwrap_or(USUAL_BYTES);
    let disposition = format!("attachment; filename=\"{file}\"");
    Ok(Answer::of(200, Source::Sample { total, declared: true }).headers(&[
        ("content-type", "application/octet-stream"),
        ("content-disposition", &disposition),
        ("etag", "\"simulated\""),
    ]))
}
