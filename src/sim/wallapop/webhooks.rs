//! Webhooks: registered here, never called. The one rule: a new one is answered with its signing token, a secret that
//! no log may hold.

use hyper::Method;
use serde_json::{Value, json};

use super::{Call, error, unknown, wrong_method};
use crate::sim::answer::Answer;

pub(super) fn answer(call: &Call<'_>, rest: &[&str]) -> Result<Answer, Answer> {
    match (&call.arrival.method, rest) {
        (&Method::GET, []) => Ok(Answer::json(200, &json!(call.stall(|stall| stall.webhooks.clone())))),
        (&Method::POST, []) => create(call),
        (&Method::DELETE, [id]) => delete(call, id),
        (_, []) => Err(wrong_method("GET, POST")),
        (_, [_]) => Err(wrong_method("DELETE")),
        _ => Err(unknown()),
    }
}

fn create(call: &Call<'_>) -> Result<Answer, Answer> {
    let mut webhook: Value = call.json()?;
    let url = webhook["url"].as_str().filter(|url| url.starts_with("https://"));
    url.ok_or_else(|| error(400, "INVALID_BODY_REQUEST", "url is missing or not https"))?;
    let mut dice = call.world.fresh();
    let (id, token) = (dice.uuid(), dice.letters(40));
    webhook["id"] = json!(id);
    call.stall(|stall| stall.webhooks.push(webhook));
    Ok(Answer::json(200, &json!({ "id": id, "token": token })))
}

fn delete(call: &Call<'_>, id: &str) -> Result<Answer, Answer> {
    let deleted = call.stall(|stall| {
        let before = stall.webhooks.len();
        stall.webhooks.retain(|webhook| webhook["id"] != id);
        stall.webhooks.len() < before
    });
    if deleted { Ok(Answer::empty(204)) } else { Err(error(404, "NOT_FOUND", "no such webhook")) }
}
