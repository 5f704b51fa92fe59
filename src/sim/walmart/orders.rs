//! Orders. The one rule: `nextCursor` is a ready query string, and a page is found only by exactly those bytes.

use hyper::Method;
use serde_json::{Value, json};

use super::seller::Seller;
use super::{Call, api_error, only};
use crate::sim::answer::Answer;
use crate::sim::hash::fingerprint;

pub(super) fn answer(call: &Call<'_>, rest: &[&str]) -> Result<Answer, Answer> {
    match rest {
        [] | ["released"] => only(call.arrival, &Method::GET).and_then(|()| list(call)),
        [order] => only(call.arrival, &Method::GET).and_then(|()| read(call, order)),
        [order, "acknowledge"] => change(call, order, "Acknowledged"),
        [order, "shipping"] => change(call, order, "Shipped"),
        [order, "cancel"] => change(call, order, "Cancelled"),
        _ => Err(unknown()),
    }
}

fn unknown() -> Answer {
    api_error(404, "CONTENT_NOT_FOUND.GMP_ORDER_API", "no such order")
}

/// The query of a following page: signed, and spelled so that every re-encoding changes it.
fn cursor(seller: &Seller, limit: usize, index: usize) -> String {
    let signature = fingerprint(&format!("{} {limit} {index}", seller.partner));
    format!(
        "limit={limit}&hasMoreElements=true&soIndex={index}&poIndex={index}&partnerId={}\
         &sellerId={}&sig={signature}%2B+%2f/=~*'%3D==",
        seller.partner, seller.partner
    )
}

fn list(call: &Call<'_>) -> Result<Answer, Answer> {
    let limit = call.limit(10, 200)?;
    let query = &call.arrival.query;
    call.seller(|seller| {
        let start = if query.contains("soIndex=") {
            let place = (1..seller.orders.len()).find(|index| cursor(seller, limit, *index) == *query);
            place.ok_or_else(|| {
                api_error(400, "INVALID_REQUEST_PARAM.GMP_ORDER_API", "nextCursor was altered")
            })?
        } else {
            0
        };
        let end = (start + limit).min(seller.orders.len());
        let page: Vec<Value> = seller.orders[start..end].iter().map(super::seller::Order::shown).collect();
        let mut meta = json!({ "totalCount": seller.orders.len(), "limit": limit });
        if end < seller.orders.len() {
            meta["nextCursor"] = json!(format!("?{}", cursor(seller, limit, end)));
        }
        Ok(Answer::json(200, &json!({ "list": { "meta": meta, "elements": { "order": page } } })))
    })
}

fn read(call: &Call<'_>, order: &str) -> Result<Answer, Answer> {
    let shown = call.seller(|seller| {
        seller.orders.iter().find(|one| one.purchase_order == order).map(super::seller::Order::shown)
    });
    Ok(Answer::json(200, &json!({ "order": shown.ok_or_else(unknown)? })))
}

fn change(call: &Call<'_>, order: &str, status: &'static str) -> Result<Answer, Answer> {
    only(call.arrival, &Method::POST)?;
    // An acknowledgement has no body; shipping and cancelling say what they mean.
    let body = if status == "Acknowledged" { Value::Null } else { call.json()? };
    call.seller(|seller| {
        let found = seller.orders.iter_mut().find(|one| one.purchase_order == order).ok_or_else(unknown)?;
        if matches!(found.status, "Shipped" | "Cancelled") {
            let words = format!("the order is already {}", found.status);
            return Err(api_error(409, "INVALID_ORDER_STATUS.GMP_ORDER_API", &words));
        }
        found.status = status;
        found.tracking = Some(body["orderShipment"].clone()).filter(|tracking| !tracking.is_null());
        Ok(Answer::json(200, &json!({ "order": found.shown() })))
    })
}
