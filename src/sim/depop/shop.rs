//! What one shop owns at Depop. The one rule: made from the dice alone.

use hyper::Method;
use serde_json::{Value, json};

use super::Call;
use crate::sim::answer::Answer;
use crate::sim::dice::Dice;

/// Products, orders and the seller.
pub(in crate::sim) struct Shop {
    seller_id: u64,
    username: String,
    pub(super) products: Vec<Product>,
    pub(super) orders: Vec<Value>,
    next_product: u64,
}

pub(super) struct Product {
    pub(super) id: u64,
    pub(super) sku: Option<String>,
    pub(super) slug: String,
    pub(super) sold: bool,
    pub(super) created_at: String,
    pub(super) updated_at: String,
    /// As the seller described it.
    pub(super) fields: Value,
}

impl Shop {
    pub(super) fn of(mut dice: Dice, account: &str) -> Self {
        let seller_id = dice.between(1_000_000, 99_000_000);
        let mut shop = Self {
            seller_id,
            username: account.to_owned(),
            products: Vec::new(),
            orders: Vec::new(),
            next_product: dice.between(7_000_000, 8_000_000),
        };
        for number in 1..=45 {
            let mark = ["-", "-", "/", "+", " ", "-"][number % 6];
            let sku = format!("{account}{mark}{number:03}");
            let sku: String = sku.chars().rev().take(50).collect::<Vec<_>>().into_iter().rev().collect();
            let fields = described(&mut dice);
            shop.add(Some(sku), fields, "2026-01-15T10:30:00Z");
        }
        shop.orders = (0..25).map(|number| order(&mut dice, seller_id, &shop.products[number])).collect();
        shop
    }

    pub(super) fn add(&mut self, sku: Option<String>, fields: Value, now: &str) -> &Product {
        self.next_product += 1;
        let words = fields["description"].as_str().unwrap_or_default();
        let slug: String =
            words.to_ascii_lowercase().split_whitespace().take(4).collect::<Vec<_>>().join("-");
        let product = Product {
            id: self.next_product,
            sku,
            slug: format!("{slug}-{}", self.next_product),
            sold: false,
            created_at: now.to_owned(),
            updated_at: now.to_owned(),
            fields,
        };
        self.products.push(product);
        let last = self.products.len() - 1;
        &self.products[last]
    }
}

impl Product {
    pub(super) fn shown(&self) -> Value {
        let mut shown = self.fields.clone();
        shown["product_id"] = json!(self.id);
        shown["slug"] = json!(self.slug);
        shown["sku"] = json!(self.sku);
        shown["status"] = json!(if self.sold { "STATUS_SOLD" } else { "STATUS_ONSALE" });
        shown["created_at"] = json!(self.created_at);
        shown["updated_at"] = json!(self.updated_at);
        shown
    }

    pub(super) fn named(&self) -> Value {
        json!({ "product_id": self.id, "slug": self.slug, "sku": self.sku })
    }
}

fn described(dice: &mut Dice) -> Value {
    json!({
        "description": format!("{}, worn with care", dice.article()),
        "address": { "country_code": "GB", "state": "Greater London" },
        "price_currency": "GBP",
        "price_amount": dice.price(500, 9000),
        "national_shipping_cost": dice.price(200, 500),
        "quantity": 1,
        "pictures": [{ "url": format!("https://media.example/{}.jpg", dice.letters(16)), "width": 1280, "height": 1280 }],
        "department": dice.pick(&["menswear", "womenswear", "kidswear"]),
        "product_type": dice.pick(&["tshirts", "jackets", "boots"]),
        "condition": dice.pick(&["brand_new", "used_excellent", "used_good"]),
        "brand_name": dice.pick(&["Unbranded", "Northwind", "Contoso"]),
        "attributes": { "material": ["cotton"] },
    })
}

fn order(dice: &mut Dice, seller_id: u64, product: &Product) -> Value {
    json!({
        "purchase_id": dice.digits(9),
        "seller_id": seller_id,
        "status": "SHIPPING_PENDING",
        "currency": "GBP",
        "buyer_pays_amount": product.fields["price_amount"],
        "line_items": [{
            "purchase_item_id": dice.between(2_000_000, 3_000_000),
            "sku": product.sku,
            "product_id": product.id,
            "slug": product.slug,
            "parcel_id": dice.uuid(),
            "sold_price": product.fields["price_amount"],
        }],
        "created_at": "2026-02-01T12:00:00Z",
    })
}

pub(super) fn details(call: &Call<'_>) -> Result<Answer, Answer> {
    if call.arrival.method != Method::GET {
        return Err(call.wrong_method("GET"));
    }
    let details =
        call.shop(|shop| json!({ "id": shop.seller_id, "username": shop.username, "country_code": "GB" }));
    Ok(Answer::json(200, &details))
}

pub(super) fn addresses(call: &Call<'_>) -> Result<Answer, Answer> {
    if call.arrival.method != Method::GET {
        return Err(call.wrong_method("GET"));
    }
    let address = call.shop(|shop| {
        json!({ "id": shop.seller_id + 1, "name": shop.username, "address": "1 High Street", "city": "London",
            "state": "Greater London", "postal_code": "N1 1AA", "country": "GB" })
    });
    Ok(Answer::json(200, &json!({ "data": [address] })))
}
