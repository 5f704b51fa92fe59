//! Orders. The one rule: what is shipped or refunded stays so.

use hyper::Method;
use serde_json::{Value, json};

use super::{Call, products};
use crate::sim::answer::Answer;

pub(super) fn answer(call: &Call<'_>, rest: &[&str]) -> Result<Answer, Answer> {
    match (&call.arrival.method, rest) {
        (&Method::GET, []) => list(call),
        (&Method::GET, [id]) => read(call, id),
        (&Method::POST, [id, "parcels", parcel, "mark-as-shipped"]) => mark_as_shipped(call, id, parcel),
        (&Method::POST, [id, "refund"]) => refund(call, id),
        (_, [] | [_]) => Err(call.wrong_method("GET")),
        (_, [_, "refund"] | [_, "parcels", _, "mark-as-shipped"]) => Err(call.wrong_method("POST")),
        _ => Err(call.unknown()),
    }
}

fn list(call: &Call<'_>) -> Result<Answer, Answer> {
    let limit = call.limit(200)?;
    let all = call.shop(|shop| shop.orders.clone());
    products::page(call, &all, limit, call.arrival.query_value("cursor").as_deref())
}

fn not_found(call: &Call<'_>) -> Answer {
    call.error(404, "order_not_found", "no such order")
}

fn read(call: &Call<'_>, id: &str) -> Result<Answer, Answer> {
    let order = call.shop(|shop| shop.orders.iter().find(|order| order["purchase_id"] == id).cloned());
    Ok(Answer::json(200, &order.ok_or_else(|| not_found(call))?))
}

fn mark_as_shipped(call: &Call<'_>, id: &str, parcel: &str) -> Result<Answer, Answer> {
    let body = call.json()?;
    if body["tracking_number"].as_str().is_none() || body["carrier"].as_str().is_none() {
        return Err(call.error(400, "bad-request", "tracking_number and carrier are needed"));
    }
    pending(call, id, |order| {
        if order["line_items"][0]["parcel_id"] != parcel {
            return Err(call.error(400, "bad-request", "no such parcel in this order"));
        }
        order["status"] = json!("SHIPPED");
        order["tracking"] = body;
        Ok(Answer::empty(200))
    })
}

fn refund(call: &Call<'_>, id: &str) -> Result<Answer, Answer> {
    let body = call.json()?;
    let amounts = ["items_refund_amount", "shipping_refund_amount"];
    let positive =
        |name: &str| body[name].as_str().and_then(|text| text.parse::<f64>().ok()).is_some_and(|x| x > 0.0);
    if !amounts.iter().any(|name| positive(name)) {
        let message = format!("Refund for purchase id {id} must have a positive amount to refund.");
        return Err(call.error(422, "validation", &message));
    }
    pending(call, id, |order| {
        order["status"] = json!("REFUNDED");
        Ok(Answer::empty(200))
    })
}

/// Lets `act` at an order that is not refunded.
fn pending(
    call: &Call<'_>,
    id: &str,
    act: impl FnOnce(&mut Value) -> Result<Answer, Answer>,
) -> Result<Answer, Answer> {
    call.shop(|shop| {
        let order = shop.orders.iter_mut().find(|order| order["purchase_id"] == id);
        let order = order.ok_or_else(|| not_found(call))?;
        if order["status"] == "REFUNDED" {
            return Err(call.error(409, "conflict", "the order is already refunded"));
        }
        act(order)
    })
}
