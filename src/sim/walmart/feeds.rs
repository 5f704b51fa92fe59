//! Feeds: files sent as `multipart/form-data`. The one rule: the acknowledgement says what arrived, so that a client
//! can prove that no byte was touched on the way.

use hyper::Method;
use serde_json::{Value, json};

use super::seller::Feed;
use super::{Call, api_error, only, refusal, wrong_method};
use crate::sim::answer::Answer;
use crate::sim::body::Source;
use crate::sim::hash::sha256;
use crate::sim::multipart::{Part, boundary_of, parse};

pub(super) fn answer(call: &Call<'_>, rest: &[&str]) -> Result<Answer, Answer> {
    match rest {
        [] if call.arrival.method == Method::POST => upload(call),
        [] if call.arrival.method == Method::GET => list(call),
        [] => Err(wrong_method("GET, POST")),
        [feed] => only(call.arrival, &Method::GET).and_then(|()| status(call, feed)),
        [feed, "errorReport"] => only(call.arrival, &Method::GET).and_then(|()| errors(call, feed)),
        _ => Err(unknown()),
    }
}

fn unknown() -> Answer {
    api_error(404, "CONTENT_NOT_FOUND.GMP_FEED_API", "no such feed")
}

fn wrong(description: &str) -> Answer {
    api_error(400, "INVALID_REQUEST_CONTENT.GMP_FEED_API", description)
}

fn upload(call: &Call<'_>) -> Result<Answer, Answer> {
    let feed_type = call.arrival.query_value("feedType").unwrap_or_default();
    if feed_type.is_empty() || !feed_type.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
        return Err(api_error(400, "INVALID_REQUEST_PARAM.GMP_FEED_API", "feedType is missing or wrong"));
    }
    if call.arrival.media_type().as_deref() != Some("multipart/form-data") {
        return Err(refusal(415, "Content-Type must be multipart/form-data"));
    }
    let content_type = call.arrival.header("content-type").unwrap_or_default();
    let boundary = boundary_of(content_type).map_err(|mistake| wrong(&mistake))?;
    let parts = parse(&call.arrival.body.bytes, &boundary).map_err(|mistake| wrong(&mistake))?;
    let file =
        parts.iter().find(|part| part.name == "file").ok_or_else(|| wrong("there is no part \"file\""))?;
    let (feed_id, file) = keep(call, feed_type, file);
    let acknowledged = json!({ "feedId": feed_id, "additionalAttributes": { "file": file }, "errors": null });
    Ok(Answer::json(200, &acknowledged))
}

fn keep(call: &Call<'_>, feed_type: String, file: &Part<'_>) -> (String, Value) {
    let id = call.world.fresh().uuid().replace('-', "").to_ascii_uppercase();
    let feed_id = format!("{id}@AVMBAgA");
    let received = json!({
        "length": file.bytes.len(),
        "sha256": sha256(file.bytes),
        "filename": file.filename,
        "contentType": file.content_type,
    });
    let feed = Feed {
        feed_type,
        file: received.clone(),
        items: items_in(file.bytes),
        submitted: call.arrival.epoch,
        looks: 0,
    };
    call.seller(|seller| seller.feeds.insert(feed_id.clone(), feed));
    (feed_id, received)
}

/// The length of the longest list in a JSON file; 1 for anything else.
fn items_in(file: &[u8]) -> u64 {
    let members = serde_json::from_slice::<Value>(file).ok().and_then(|value| value.as_object().cloned());
    let lists =
        members.unwrap_or_default().into_iter().filter_map(|(_, value)| Some(value.as_array()?.len()));
    lists.max().unwrap_or(1) as u64
}

impl Feed {
    fn state(&self) -> &'static str {
        ["RECEIVED", "INPROGRESS"].get(self.looks as usize).copied().unwrap_or("PROCESSED")
    }

    fn shown(&self, feed_id: &str) -> Value {
        let processed = if self.state() == "PROCESSED" { self.items } else { 0 };
        json!({
            "feedId": feed_id,
            "feedType": self.feed_type,
            "feedStatus": self.state(),
            "feedSubmissionDate": self.submitted,
            "itemsReceived": self.items,
            "itemsSucceeded": processed,
            "itemsFailed": 0,
            "itemsProcessing": self.items - processed,
            "additionalAttributes": { "file": self.file },
        })
    }
}

fn list(call: &Call<'_>) -> Result<Answer, Answer> {
    let limit = call.limit(50, 50)?;
    let (total, page) = call.seller(|seller| {
        let shown = seller.feeds.iter().take(limit).map(|(id, feed)| feed.shown(id));
        (seller.feeds.len(), shown.collect::<Vec<_>>())
    });
    let answer = json!({ "totalResults": total, "offset": 0, "limit": limit, "results": { "feed": page } });
    Ok(Answer::json(200, &answer))
}

fn status(call: &Call<'_>, feed_id: &str) -> Result<Answer, Answer> {
    let shown = call.seller(|seller| {
        let feed = seller.feeds.get_mut(feed_id)?;
        feed.looks = feed.looks.saturating_add(1);
        Some(feed.shown(feed_id))
    });
    Ok(Answer::json(200, &shown.ok_or_else(unknown)?))
}

fn errors(call: &Call<'_>, feed_id: &str) -> Result<Answer, Answer> {
    call.seller(|seller| seller.feeds.get(feed_id).map(|_| ())).ok_or_else(unknown)?;
    let file = Answer::of(200, Source::Sample { total: 4096, declared: true });
    Ok(file.headers(&[
        ("content-type", "application/octet-stream"),
        ("content-disposition", "attachment; filename=\"errors.zip\""),
    ]))
}
