//! Items: listed, read, made, changed, published and taken down. The one rule: what is sold stays sold.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hyper::Method;
use serde_json::{Value, json};

use super::stall::{Item, State, image};
use super::{Call, error, unknown, wrong_method};
use crate::sim::answer::Answer;

const PAGE: usize = 40;

pub(super) fn answer(call: &Call<'_>, rest: &[&str]) -> Result<Answer, Answer> {
    let method = &call.arrival.method;
    match rest {
        [] if method == Method::GET => list(call, |item| item.state != State::Inactive),
        [] if method == Method::POST => create(call),
        [] => Err(wrong_method("GET, POST")),
        ["categories" | "limits" | "inactive"] if method != Method::GET => Err(wrong_method("GET")),
        ["categories"] => Ok(categories(call)),
        ["categories", id, "attributes"] => attributes(id),
        ["limits"] => Ok(limits(call)),
        ["inactive"] => list(call, |item| item.state == State::Inactive),
        [id] => match *method {
            Method::GET => with_item(call, id, |item| Ok(Answer::json(200, &item.shown()))),
            Method::PUT => update(call, id),
            Method::DELETE => delete(call, id),
            _ => Err(wrong_method("GET, PUT, DELETE")),
        },
        [id, "images"] if method == Method::POST => add_image(call, id),
        [id, "images", image] if method == Method::DELETE => delete_image(call, id, image),
        [_, "images"] => Err(wrong_method("POST")),
        [_, "images", _] => Err(wrong_method("DELETE")),
        [id, action] => act(call, id, action),
        _ => Err(unknown()),
    }
}

/// The token of a page; the letters that base64 spells differently in URLs are in it.
fn next(place: usize) -> String {
    URL_SAFE_NO_PAD.encode(format!("I#{place}~?>D_U#"))
}

fn list(call: &Call<'_>, wanted: impl Fn(&Item) -> bool) -> Result<Answer, Answer> {
    let since = call.arrival.query_value("since");
    let all: Vec<Value> =
        call.stall(|stall| stall.items.iter().filter(|item| wanted(item)).map(Item::brief).collect());
    let start = match since {
        None => 0,
        Some(text) => {
            let place = (1..all.len()).find(|place| next(*place) == text);
            place.ok_or_else(|| error(400, "INVALID_BODY_REQUEST", "since is not a token of ours"))?
        }
    };
    let end = (start + PAGE).min(all.len());
    let pagination = if end < all.len() { json!({ "next": next(end) }) } else { Value::Null };
    Ok(Answer::json(200, &json!({ "data": all[start..end], "meta": { "pagination": pagination } })))
}

/// The item of a body that says everything that is required.
fn complete(body: &Value) -> Result<Value, Answer> {
    let item = &body["item"];
    let wrong = |what: &str| error(400, "INVALID_BODY_REQUEST", &format!("item.{what} is missing or wrong"));
    for name in ["category_leaf_id", "title", "description"] {
        item[name].as_str().filter(|text| !text.is_empty()).ok_or_else(|| wrong(name))?;
    }
    item["price"]["cash_amount"]
        .as_f64()
        .filter(|amount| *amount > 0.0)
        .ok_or_else(|| wrong("price.cash_amount"))?;
    item["price"]["currency"].as_str().ok_or_else(|| wrong("price.currency"))?;
    Ok(item.clone())
}

fn create(call: &Call<'_>) -> Result<Answer, Answer> {
    let body = call.json()?;
    let said = complete(&body)?;
    let picture = body["main_image"]["url"].as_str();
    picture.ok_or_else(|| error(400, "MISSING_MAIN_IMAGE", "main_image.url is missing"))?;
    let item = Item::of(&mut call.world.fresh(), said, body["stock"].clone());
    let id = item.id.clone();
    call.stall(|stall| stall.items.insert(0, item));
    Ok(Answer::json(201, &json!({ "id": id })))
}

fn update(call: &Call<'_>, id: &str) -> Result<Answer, Answer> {
    let body = call.json()?;
    let said = complete(&body)?;
    with_item(call, id, |item| {
        if item.state == State::Sold {
            return Err(error(409, "INVALID_STATUS", "the item is sold"));
        }
        item.said = said;
        if !body["stock"].is_null() {
            item.stock = body["stock"].clone();
        }
        Ok(Answer::empty(204))
    })
}

fn with_item(
    call: &Call<'_>,
    id: &str,
    act: impl FnOnce(&mut Item) -> Result<Answer, Answer>,
) -> Result<Answer, Answer> {
    call.stall(|stall| match stall.items.iter_mut().find(|item| item.id == id) {
        Some(item) => act(item),
        None => Err(error(404, "INVALID_ITEM_ID", "no such item")),
    })
}

fn delete(call: &Call<'_>, id: &str) -> Result<Answer, Answer> {
    with_item(call, id, |_| Ok(Answer::empty(204))).inspect(|_| {
        call.stall(|stall| stall.items.retain(|item| item.id != id));
    })
}

fn act(call: &Call<'_>, id: &str, action: &str) -> Result<Answer, Answer> {
    let (from, to): (&[State], State) = match action {
        "sold" => (&[State::OnSale, State::Reserved, State::Inactive, State::Sold], State::Sold),
        "activate" => (&[State::Inactive, State::OnSale], State::OnSale),
        "inactivate" => (&[State::OnSale, State::Inactive], State::Inactive),
        "reserve" => (&[State::OnSale, State::Reserved], State::Reserved),
        "unreserve" => (&[State::Reserved, State::OnSale], State::OnSale),
        _ => return Err(unknown()),
    };
    if call.arrival.method != Method::PUT {
        return Err(wrong_method("PUT"));
    }
    with_item(call, id, |item| {
        if !from.contains(&item.state) {
            return Err(error(400, "INVALID_STATUS", "the item is in no state for that"));
        }
        item.state = to;
        Ok(Answer::empty(204))
    })
}

fn add_image(call: &Call<'_>, id: &str) -> Result<Answer, Answer> {
    let body = call.json()?;
    body["url"].as_str().ok_or_else(|| error(400, "INVALID_IMAGE", "url is missing"))?;
    let order = body["order"].as_u64().ok_or_else(|| error(400, "INVALID_IMAGE", "order is missing"))?;
    let name = call.world.fresh().letters(12);
    with_item(call, id, |item| {
        if item.images.len() >= 10 {
            return Err(error(400, "MAX_IMAGES_EXCEED", "an item has at most 10 images"));
        }
        let place = usize::try_from(order).unwrap_or(usize::MAX).min(item.images.len());
        item.images.insert(place, image(&name));
        Ok(Answer::json(201, &json!({ "id": name })))
    })
}

fn delete_image(call: &Call<'_>, id: &str, image: &str) -> Result<Answer, Answer> {
    with_item(call, id, |item| {
        let place = item.images.iter().position(|one| one["id"] == image);
        let place = place.ok_or_else(|| error(404, "INVALID_IMAGE", "no such image"))?;
        if item.images.len() == 1 {
            return Err(error(400, "INSUFFICIENT_IMAGES", "an item has at least one image"));
        }
        item.images.remove(place);
        Ok(Answer::empty(204))
    })
}

/// Titles in the language that `Accept-Language` asks for: a proxy that drops the header is found out.
fn categories(call: &Call<'_>) -> Answer {
    let language = call.arrival.header("accept-language").unwrap_or("es");
    let titles = if language.starts_with("en") {
        ["Shoes", "Lamps", "Chairs"]
    } else {
        ["Zapatos", "Lámparas", "Sillas"]
    };
    let ids = ["9931", "12467", "24201"];
    let shown =
        ids.iter().zip(titles).map(|(id, title)| json!({ "id": id, "title": title, "assignable": true }));
    Answer::json(200, &json!({ "categories": shown.collect::<Vec<_>>() }))
}

fn attributes(id: &str) -> Result<Answer, Answer> {
    if !["9931", "12467", "24201"].contains(&id) {
        return Err(error(404, "INVALID_CATEGORY_LEAF", "no such category"));
    }
    let attributes = json!([
        { "id": "condition", "type": "discrete_values", "is_mandatory": true, "options": { "max_choices": 1,
            "values": [{ "id": "new" }, { "id": "good" }, { "id": "fair" }] } },
        { "id": "brand", "type": "text", "is_mandatory": false, "max_length": 75 },
    ]);
    Ok(Answer::json(200, &json!({ "attributes": attributes })))
}

fn limits(call: &Call<'_>) -> Answer {
    let used = call.stall(|stall| stall.items.iter().filter(|item| item.state == State::OnSale).count());
    let limit = json!({ "total": 1000, "used": used, "available": 1000_usize.saturating_sub(used),
        "category_ids": [9931, 12467, 24201] });
    Answer::json(200, &json!({ "limits": [limit] }))
}
