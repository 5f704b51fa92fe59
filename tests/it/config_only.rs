//! Marketplaces nobody prepared anything for: configuration alone.

use crate::harness::{Time, gate};

#[test]
fn a_marketplace_with_a_second_static_header_needs_only_configuration() {
    // Etsy's shape: a bearer token, and a key made of both credentials on every request.
    let configuration = r#"
[apps.etsy]
provider = "generic"
api = "SIM/generic/api"
token_url = "SIM/generic/oauth/token"
client_id = "etsy-1"
client_secret = "etsy-1-secret"
client_auth = "body"
headers = { x-shop-key = "{client_id}:{client_secret}" }
"#;
    gate(Time::Runs, configuration, |w| async move {
        let forged = w.http.get(w.url("/etsy/v3/shops")).header("X-Shop-Key", "forged");
        assert_eq!(w.send(forged).await.status, 200);
        let requests = w.sim.requests();
        let call = requests.last().unwrap();
        assert_eq!(call.header("x-shop-key"), Some("etsy-1:etsy-1-secret"));
    });
}

#[test]
fn a_marketplace_with_an_unusual_token_header_needs_only_configuration() {
    // Amazon's Selling Partner API: the bare token in a header of its own.
    let configuration = r#"
[apps.amazon]
provider = "generic"
api = "SIM/generic/api"
token_url = "SIM/generic/oauth/token"
client_id = "amazon-1"
client_secret = "amazon-1-secret"
client_auth = "body"
scopes = ["sellingpartnerapi::notifications"]
token_header = "x-amz-access-token"
token_prefix = ""
"#;
    gate(Time::Runs, configuration, |w| async move {
        let call =
            w.http.get(w.url("/amazon/orders")).header("X-Amz-Access-Token", "mine").bearer_auth("mine");
        let answer = w.send(call).await;
        assert_eq!(
            (answer.status, answer.json()["account"].as_str()),
            (200, Some("amazon-1")),
            "{}",
            answer.body
        );
        let requests = w.sim.requests();
        let call = requests.last().unwrap();
        assert!(call.header("authorization").is_none() && call.header("x-amz-access-token").is_some());
    });
}
