//! What one seller owns at Wallapop. The one rule: made from the dice alone.

use serde_json::{Value, json};

use crate::sim::dice::Dice;

/// Items and webhooks of one seller.
pub(in crate::sim) struct Stall {
    pub(super) items: Vec<Item>,
    pub(super) webhooks: Vec<Value>,
}

/// What the seller said about an item, and what became of it.
pub(super) struct Item {
    pub(super) id: String,
    pub(super) said: Value,
    pub(super) stock: Value,
    pub(super) images: Vec<Value>,
    pub(super) state: State,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    OnSale,
    Reserved,
    Inactive,
    Sold,
}

impl Stall {
    pub(super) fn of(mut dice: Dice) -> Self {
        let items = (0..95).map(|_| {
            let title = dice.article();
            let said = json!({
                "category_leaf_id": dice.pick(&["9931", "12467", "24201"]),
                "title": title,
                "description": format!("{title}, as good as new"),
                "price": { "cash_amount": dice.between(5, 400), "currency": "EUR" },
                "attributes": { "condition": "good" },
            });
            Item::of(&mut dice, said, Value::Null)
        });
        Self { items: items.collect(), webhooks: Vec::new() }
    }
}

impl Item {
    pub(super) fn of(dice: &mut Dice, said: Value, stock: Value) -> Self {
        let images = vec![image(&dice.letters(12))];
        Self { id: dice.letters(12), said, stock, images, state: State::OnSale }
    }

    /// As a list shows it.
    pub(super) fn brief(&self) -> Value {
        let mut shown = json!({
            "id": self.id,
            "title": self.said["title"],
            "price": self.said["price"],
            "images": self.images,
        });
        match self.state {
            State::OnSale => {}
            State::Reserved => shown["reserved"] = json!({ "flag": true }),
            State::Inactive => shown["inactive"] = json!({ "flag": true }),
            State::Sold => shown["sold"] = json!({ "flag": true }),
        }
        shown
    }

    pub(super) fn shown(&self) -> Value {
        let mut shown = self.brief();
        for name in ["category_leaf_id", "description", "attributes", "hashtags", "delivery"] {
            if !self.said[name].is_null() {
                shown[name] = self.said[name].clone();
            }
        }
        if !self.stock.is_null() {
            shown["stock"] = self.stock.clone();
        }
        shown
    }
}

pub(super) fn image(id: &str) -> Value {
    let url = |width: u32| format!("https://images.example/{id}.jpg?pictureSize=W{width}");
    json!({ "id": id, "urls": { "small": url(320), "medium": url(640), "big": url(800) } })
}
