//! What one account owns at Walmart. The one rule: made from the dice alone, so that the same seed gives the same shop.

use serde_json::{Value, json};
use std::collections::BTreeMap;

use crate::sim::dice::Dice;

/// Items, orders, feeds and reports of one account.
pub(in crate::sim) struct Seller {
    pub(super) partner: String,
    pub(super) items: Vec<Item>,
    pub(super) orders: Vec<Order>,
    pub(super) feeds: BTreeMap<String, Feed>,
    pub(super) reports: BTreeMap<String, Report>,
}

pub(super) struct Item {
    pub(super) sku: String,
    pub(super) wpid: String,
    pub(super) upc: String,
    pub(super) name: String,
    pub(super) price: f64,
    pub(super) quantity: u64,
    pub(super) retired: bool,
}

pub(super) struct Order {
    pub(super) purchase_order: String,
    pub(super) sku: String,
    pub(super) name: String,
    pub(super) charge: f64,
    pub(super) status: &'static str,
    pub(super) tracking: Option<Value>,
}

pub(super) struct Feed {
    pub(super) feed_type: String,
    pub(super) file: Value,
    pub(super) items: u64,
    pub(super) submitted: u64,
    /// How often its status was looked at; each look moves it on.
    pub(super) looks: u32,
}

pub(super) struct Report {
    pub(super) report_type: String,
    pub(super) version: String,
    pub(super) submitted: u64,
    pub(super) looks: u32,
    pub(super) bytes: u64,
}

impl Seller {
    pub(super) fn of(mut dice: Dice, account: &str) -> Self {
        let items: Vec<Item> = (1..=45).map(|number| Item::of(&mut dice, account, number)).collect();
        let orders = (0..25).map(|number| Order::of(&mut dice, &items[number])).collect();
        Self { partner: dice.digits(11), items, orders, feeds: BTreeMap::new(), reports: BTreeMap::new() }
    }

    pub(super) fn item(&mut self, sku: &str) -> Option<&mut Item> {
        self.items.iter_mut().find(|item| item.sku == sku && !item.retired)
    }
}

impl Item {
    fn of(dice: &mut Dice, account: &str, number: usize) -> Self {
        // Some SKUs hold what a path may only carry encoded.
        let mark = ["-", "-", "-", "/", "+", " ", "%", "-"][number % 8];
        Self {
            sku: format!("{account}{mark}{number:04}"),
            wpid: dice.letters(12).to_ascii_uppercase(),
            upc: dice.digits(12),
            name: dice.article(),
            price: amount(dice, 500, 20_000),
            quantity: dice.below(60),
            retired: false,
        }
    }

    pub(super) fn shown(&self) -> Value {
        json!({
            "mart": "WALMART_US",
            "sku": self.sku,
            "wpid": self.wpid,
            "upc": self.upc,
            "gtin": format!("00{}", self.upc),
            "productName": self.name,
            "productType": "Home",
            "price": { "currency": "USD", "amount": self.price },
            "publishedStatus": if self.retired { "UNPUBLISHED" } else { "PUBLISHED" },
            "lifecycleStatus": if self.retired { "RETIRED" } else { "ACTIVE" },
        })
    }
}

impl Order {
    fn of(dice: &mut Dice, item: &Item) -> Self {
        Self {
            purchase_order: dice.digits(13),
            sku: item.sku.clone(),
            name: item.name.clone(),
            charge: item.price,
            status: "Created",
            tracking: None,
        }
    }

    pub(super) fn shown(&self) -> Value {
        json!({
            "purchaseOrderId": self.purchase_order,
            "customerOrderId": format!("200{}", self.purchase_order),
            "orderDate": 1_767_225_600_000_u64,
            "orderLines": { "orderLine": [{
                "lineNumber": "1",
                "item": { "productName": self.name, "sku": self.sku },
                "charges": { "charge": [{
                    "chargeType": "PRODUCT",
                    "chargeAmount": { "currency": "USD", "amount": self.charge },
                }] },
                "orderLineQuantity": { "unitOfMeasurement": "EACH", "amount": "1" },
                "orderLineStatuses": { "orderLineStatus": [{
                    "status": self.status,
                    "statusQuantity": { "unitOfMeasurement": "EACH", "amount": "1" },
                    "trackingInfo": self.tracking,
                }] },
            }] },
        })
    }
}

fn amount(dice: &mut Dice, low: u32, high: u32) -> f64 {
    let span = u64::from(high - low);
    let cents = low + u32::try_from(dice.below(span)).unwrap_or(0);
    f64::from(cents) / 100.0
}
