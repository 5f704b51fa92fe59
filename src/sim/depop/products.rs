//! Products by SKU, by id and by slug. The one rule: PUT by SKU makes or changes, and is the same twice as once.

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use hyper::Method;
use serde_json::{Value, json};

use super::Call;
use super::shop::Product;
use crate::sim::answer::Answer;
use crate::sim::arrival::segment;
use crate::sim::clock::rfc3339;

const REQUIRED: [&str; 10] = [
    "address",
    "description",
    "price_currency",
    "price_amount",
    "quantity",
    "pictures",
    "department",
    "product_type",
    "condition",
    "brand_name",
];

/// How a path names a product.
#[derive(Clone)]
enum Name {
    Sku(String),
    Id(u64),
    Slug(String),
}

impl Name {
    fn is_of(&self, product: &Product) -> bool {
        match self {
            Self::Sku(sku) => product.sku.as_ref() == Some(sku),
            Self::Id(id) => product.id == *id,
            Self::Slug(slug) => product.slug == *slug,
        }
    }
}

pub(super) fn answer(call: &Call<'_>, rest: &[&str]) -> Result<Answer, Answer> {
    let method = &call.arrival.method;
    let (name, action) = match rest {
        [] if method == Method::GET => return list(call),
        [] if method == Method::POST => return create(call),
        [] => return Err(call.wrong_method("GET, POST")),
        ["by-product-id", id, action @ ..] => (Name::Id(id.parse().map_err(|_| call.unknown())?), action),
        ["by-slug", slug, action @ ..] => (Name::Slug(segment(slug).ok_or_else(|| call.unknown())?), action),
        ["by-sku", sku, action @ ..] | [sku, action @ ..] => (sku_of(call, sku)?, action),
    };
    match (method, action) {
        (&Method::GET, []) => read(call, &name),
        (&Method::PUT, []) => put(call, &name),
        (&Method::PATCH, []) => patch(call, &name),
        (&Method::DELETE, []) => delete(call, &name),
        (_, []) => Err(call.wrong_method("GET, PUT, PATCH, DELETE")),
        (&Method::POST, ["mark-as-sold"]) => mark_as_sold(call, &name),
        (_, ["mark-as-sold"]) => Err(call.wrong_method("POST")),
        _ => Err(call.unknown()),
    }
}

fn sku_of(call: &Call<'_>, raw: &str) -> Result<Name, Answer> {
    let sku = segment(raw).filter(|sku| sku.chars().count() <= 50);
    sku.map(Name::Sku)
        .ok_or_else(|| call.error(400, "bad-request", "the SKU is no text of 1 to 50 characters"))
}

fn not_found(call: &Call<'_>, name: &Name) -> Answer {
    let (sku, id, slug) = match name {
        Name::Sku(sku) => (sku.as_str(), "None".to_owned(), "None"),
        Name::Id(id) => ("None", id.to_string(), "None"),
        Name::Slug(slug) => ("None", "None".to_owned(), slug.as_str()),
    };
    let message = format!("Product (sku: {sku}, id: {id}, slug: {slug}) not found");
    call.error(404, "product_not_found", &message)
}

/// The cursor of a page: opaque base64, the place and a mark of the shop it belongs to.
fn cursor(account: &str, place: usize) -> String {
    STANDARD_NO_PAD.encode(format!("{place}|>>>???|{account}"))
}

fn list(call: &Call<'_>) -> Result<Answer, Answer> {
    let limit = call.limit(100)?;
    let wanted = call.arrival.query_value("state");
    let asked = call.arrival.query_value("cursor");
    let ascending = match call.arrival.query_value("sort_by").as_deref() {
        None | Some("id_desc") => false,
        Some("id_asc") => true,
        Some(_) => return Err(call.error(400, "bad-request", "sort_by is id_desc or id_asc")),
    };
    let mut all: Vec<Value> = call.shop(|shop| {
        let shown = shop.products.iter().filter(|product| match wanted.as_deref() {
            Some("selling") => !product.sold,
            Some("sold") => product.sold,
            _ => true,
        });
        shown.map(Product::shown).collect()
    });
    if !ascending {
        all.reverse();
    }
    page(call, &all, limit, asked.as_deref())
}

/// One page of anything, with `meta.cursor` and `meta.has_more`.
pub(super) fn page(
    call: &Call<'_>,
    all: &[Value],
    limit: usize,
    asked: Option<&str>,
) -> Result<Answer, Answer> {
    let start = match asked {
        None => 0,
        Some(text) => {
            let place = (1..=all.len()).find(|place| cursor(&call.account, *place) == text);
            place.ok_or_else(|| call.error(400, "bad-request", "the cursor is not one of ours"))?
        }
    };
    let end = (start + limit).min(all.len());
    let meta = json!({ "cursor": cursor(&call.account, end), "has_more": end < all.len() });
    Ok(Answer::json(200, &json!({ "meta": meta, "data": all[start..end] })))
}

fn read(call: &Call<'_>, name: &Name) -> Result<Answer, Answer> {
    let shown = call.shop(|shop| shop.products.iter().find(|one| name.is_of(one)).map(Product::shown));
    Ok(Answer::json(200, &shown.ok_or_else(|| not_found(call, name))?))
}

/// A description that says everything that is required.
fn complete(call: &Call<'_>) -> Result<Value, Answer> {
    let fields = call.json()?;
    let missing: Vec<_> = REQUIRED.into_iter().filter(|name| fields[*name].is_null()).collect();
    if !missing.is_empty() {
        let message = format!("Missing fields for request: {}", missing.join(", "));
        return Err(call.error(422, "validation", &message));
    }
    if fields["pictures"].as_array().is_none_or(|pictures| pictures.len() > 8) {
        return Err(call.error(422, "too_many_pictures", "pictures is a list of at most 8"));
    }
    Ok(fields)
}

fn create(call: &Call<'_>) -> Result<Answer, Answer> {
    let fields = complete(call)?;
    let sku = fields["sku"].as_str().map(str::to_owned);
    let now = rfc3339(call.arrival.epoch);
    let named = call.shop(|shop| {
        let taken = sku.is_some() && shop.products.iter().any(|product| product.sku == sku);
        (!taken).then(|| shop.add(sku, fields, &now).named())
    });
    let named = named.ok_or_else(|| call.error(400, "bad-request", "the SKU is already in use"))?;
    Ok(Answer::json(200, &named))
}

fn put(call: &Call<'_>, name: &Name) -> Result<Answer, Answer> {
    let fields = complete(call)?;
    let now = rfc3339(call.arrival.epoch);
    let named =
        call.shop(|shop| match (shop.products.iter_mut().find(|product| name.is_of(product)), name) {
            (Some(product), _) => {
                product.fields = fields;
                product.updated_at = now;
                product.sold = false;
                Some(product.named())
            }
            (None, Name::Sku(sku)) => Some(shop.add(Some(sku.clone()), fields, &now).named()),
            (None, _) => None,
        });
    Ok(Answer::json(200, &named.ok_or_else(|| not_found(call, name))?))
}

fn patch(call: &Call<'_>, name: &Name) -> Result<Answer, Answer> {
    let changes = call.json()?;
    let now = rfc3339(call.arrival.epoch);
    change(call, name, |product| {
        for (field, value) in changes.as_object().into_iter().flatten() {
            product.fields[field.as_str()] = value.clone();
        }
        product.updated_at = now;
    })
}

fn mark_as_sold(call: &Call<'_>, name: &Name) -> Result<Answer, Answer> {
    change(call, name, |product| product.sold = true)
}

/// Changes a product and answers nothing but that it is done.
fn change(call: &Call<'_>, name: &Name, change: impl FnOnce(&mut Product)) -> Result<Answer, Answer> {
    let changed = call.shop(|shop| shop.products.iter_mut().find(|product| name.is_of(product)).map(change));
    changed.map(|()| Answer::empty(200)).ok_or_else(|| not_found(call, name))
}

/// Says 200 even where there was nothing to delete.
fn delete(call: &Call<'_>, name: &Name) -> Result<Answer, Answer> {
    call.shop(|shop| shop.products.retain(|product| !name.is_of(product)));
    Ok(Answer::empty(200))
}
