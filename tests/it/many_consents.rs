//! A flood of consents: a number of them is under way at once, and none of those is pushed out.

use std::sync::Arc;

use marketgate::{accounts::consent::MOST, store::MemoryStore};
use serde_json::json;

use crate::harness::{Answer, Time, World, gate_keeping};

const APPS: &str = r#"
[apps.wallapop]
provider = "wallapop"
environment = "simulator"
simulator = "SIM"
client_id = "app"
client_secret = "app-secret"
redirect_uri = "https://yourapp.com/callback"
"#;

async fn begin(w: &World, control: bool, number: usize) -> Answer {
    let to =
        if control { w.to_control("POST", "/api/consents") } else { w.to_admin("POST", "/api/consents") };
    let body = json!({ "account": format!("wallapop@shop-{number}") }).to_string();
    w.send(to.header("content-type", "application/json").body(body)).await
}

#[test]
fn a_flood_of_consents_is_refused_and_pushes_no_seller_out() {
    gate_keeping(Time::Runs, APPS, Arc::new(MemoryStore::new()), async |w| {
        w.sim.answer_consents(marketgate::sim::AutoConsent::Allow, Some("shop-0"));
        let (_, callback) = w.consented("wallapop@shop-0").await;
        for number in 1..MOST {
            let begun = begin(&w, false, number).await;
            assert_eq!(begun.status, 201, "{number}: {}", begun.body);
        }
        for number in 0..3 {
            let refused = begin(&w, false, number).await;
            assert_eq!((refused.status, refused.code().as_str()), (503, "overloaded"), "{}", refused.body);
            assert!(refused.headers.contains_key("retry-after"));
        }
        // The operator has places of his own.
        assert_eq!(begin(&w, true, MOST).await.status, 201);
        let completed = w.told("POST", "/api/consents/complete", &json!({ "url": callback })).await;
        assert_eq!(completed.status, 200, "{}", completed.body);
        assert_eq!(begin(&w, false, 0).await.code(), "overloaded", "the operator's place counts too");
    });
}
