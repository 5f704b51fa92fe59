//! Items, prices and inventory. The one rule: `nextCursor` of the item list is opaque and must come back decoded
//! exactly once.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hyper::Method;
use serde_json::{Value, json};

use super::{Call, api_error, only, wrong_method};
use crate::sim::answer::Answer;

pub(super) fn items(call: &Call<'_>, rest: &[&str]) -> Result<Answer, Answer> {
    match rest {
        [] => only(call.arrival, &Method::GET).and_then(|()| list(call)),
        [sku] if call.arrival.method == Method::GET => read(call, sku),
        [sku] if call.arrival.method == Method::DELETE => retire(call, sku),
        [_] => Err(wrong_method("GET, DELETE")),
        _ => Err(unknown("resource")),
    }
}

fn unknown(what: &str) -> Answer {
    api_error(404, "CONTENT_NOT_FOUND.GMP_ITEM_QUERY_API", &format!("no such {what}"))
}

/// A cursor whose base64 holds all three characters that need encoding in a query.
fn cursor(index: usize) -> String {
    let place = u32::try_from(index).unwrap_or(u32::MAX).to_be_bytes();
    STANDARD.encode([&[2, 130, 5, 64, 47, 63, 0xfb, 0xef, 0xbe, 0xff, 0xff, 0xff][..], &place].concat())
}

fn list(call: &Call<'_>) -> Result<Answer, Answer> {
    let limit = call.limit(20, 50)?;
    let sku = call.arrival.query_value("sku");
    let asked = call.arrival.query_value("nextCursor");
    call.seller(|seller| {
        let items: Vec<_> =
            seller.items.iter().filter(|item| sku.as_ref().is_none_or(|sku| *sku == item.sku)).collect();
        let start = match asked.as_deref() {
            None | Some("*") => 0,
            Some(text) => {
                let place = (1..items.len()).find(|index| cursor(*index) == text);
                place
                    .ok_or_else(|| api_error(400, "INVALID_REQUEST_PARAM", "nextCursor is not one of ours"))?
            }
        };
        let end = (start + limit).min(items.len());
        let page: Vec<Value> = items[start..end].iter().map(|item| item.shown()).collect();
        let mut answer = json!({ "ItemResponse": page, "totalItems": items.len() });
        if end < items.len() {
            answer["nextCursor"] = json!(cursor(end));
        }
        Ok(Answer::json(200, &answer))
    })
}

fn read(call: &Call<'_>, sku: &str) -> Result<Answer, Answer> {
    let shown = call.seller(|seller| seller.item(sku).map(|item| item.shown()));
    let shown = shown.ok_or_else(|| unknown("item"))?;
    Ok(Answer::json(200, &json!({ "ItemResponse": [shown], "totalItems": 1 })))
}

fn retire(call: &Call<'_>, sku: &str) -> Result<Answer, Answer> {
    let retired = call.seller(|seller| seller.item(sku).map(|item| item.retired = true));
    retired.ok_or_else(|| unknown("item"))?;
    Ok(Answer::json(200, &json!({ "sku": sku, "message": "the item will be retired" })))
}

pub(super) fn price(call: &Call<'_>) -> Result<Answer, Answer> {
    only(call.arrival, &Method::PUT)?;
    let body = call.json()?;
    let lacking =
        |what: &str| api_error(400, "DATA_ERROR.GMP_PRICE_API", &format!("{what} is missing or wrong"));
    let sku = body["sku"].as_str().ok_or_else(|| lacking("sku"))?;
    let current = &body["pricing"][0]["currentPrice"];
    let amount = current["amount"].as_f64().filter(|amount| *amount > 0.0);
    let amount = amount.ok_or_else(|| lacking("pricing[0].currentPrice.amount"))?;
    current["currency"].as_str().ok_or_else(|| lacking("pricing[0].currentPrice.currency"))?;
    let changed = call.seller(|seller| seller.item(sku).map(|item| item.price = amount));
    changed.ok_or_else(|| unknown("item"))?;
    let answer = json!({ "sku": sku, "mart": "WALMART_US", "message": "the price will be updated" });
    Ok(Answer::json(200, &answer))
}

pub(super) fn inventory(call: &Call<'_>) -> Result<Answer, Answer> {
    let lacking = |what: &str| api_error(400, "INVALID_REQUEST_PARAM.GMP_INVENTORY_API", what);
    let sku = call.arrival.query_value("sku").ok_or_else(|| lacking("the query parameter sku is missing"))?;
    let wanted = match call.arrival.method {
        Method::GET => None,
        Method::PUT => {
            let body = call.json()?;
            if body["sku"].as_str() != Some(&sku) {
                return Err(lacking("sku of the body and sku of the query differ"));
            }
            let amount = body["quantity"]["amount"].as_u64();
            Some(amount.ok_or_else(|| lacking("quantity.amount is missing or wrong"))?)
        }
        _ => return Err(wrong_method("GET, PUT")),
    };
    let quantity = call.seller(|seller| {
        seller.item(&sku).map(|item| {
            item.quantity = wanted.unwrap_or(item.quantity);
            item.quantity
        })
    });
    let quantity = quantity.ok_or_else(|| unknown("item"))?;
    Ok(Answer::json(200, &json!({ "sku": sku, "quantity": { "unit": "EACH", "amount": quantity } })))
}
