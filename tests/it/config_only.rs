//! Marketplaces nobody prepared anything for: configuration alone.

use crate::{
    harness::{Time, gate},
    program::{command, ended, say},
};

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

#[test]
fn init_writes_apps_whose_sellers_consent_and_names_the_login_as_the_next_step() {
    for (arguments, app, credentials) in [
        (&["wallapop"][..], "wallapop", "WALLAPOP_CLIENT"),
        (&["depop:staging", "--grant", "authorization_code"], "depop", "DEPOP_CLIENT"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let said = say(folder.path(), &[&["init", "--provider"], arguments].concat());
        assert_eq!((said.code, said.out.as_str()), (Some(0), ""), "{}", said.err);
        assert!(said.err.contains(&format!("marketgate login {app} ")), "{}", said.err);
        let mut check = command(folder.path(), &["check"]);
        check.env(format!("{credentials}_ID"), "id").env(format!("{credentials}_SECRET"), "secret");
        let checked = ended(check);
        assert_eq!(checked.code, Some(0), "{}", checked.err);
        assert!(!checked.err.contains("warning"), "{}", checked.err);
    }
    let folder = tempfile::tempdir().unwrap();
    for (grant, words) in [("static", "authorization_code"), ("password", "client_credentials")] {
        let said = say(folder.path(), &["init", "--provider", "wallapop", "--grant", grant]);
        assert_eq!(said.code, Some(2), "{grant}: {}", said.err);
        assert!(said.err.contains(words), "{grant}: {}", said.err);
    }
}

#[test]
fn check_warns_of_a_redirect_address_that_is_missing_and_passes() {
    let folder = tempfile::tempdir().unwrap();
    let text =
        "[apps.w]\nprovider = \"wallapop\"\nclient_id = \"id\"\nclient_secret = { env = \"W_SECRET\" }\n";
    std::fs::write(folder.path().join("proxy.toml"), text).unwrap();
    let mut check = command(folder.path(), &["check"]);
    check.env("W_SECRET", "secret");
    let checked = ended(check);
    assert_eq!(checked.code, Some(0), "{}", checked.err);
    assert!(checked.err.contains("warning: app `w`: `redirect_uri` is missing"), "{}", checked.err);
    assert!(checked.err.contains("`marketgate import` does without"), "{}", checked.err);
}

#[test]
fn check_looks_at_no_store_that_is_still_to_be_made() {
    let folder = tempfile::tempdir().unwrap();
    let text = "[store]\npath = \"gate.db\"\nkey = { file = \"gate.key\" }\n[apps.s]\nprovider = \"walmart-supplier\"\n\
                environment = \"sandbox\"\ncredentials = \"per-account\"\n";
    std::fs::write(folder.path().join("proxy.toml"), text).unwrap();
    let checked = say(folder.path(), &["check"]);
    assert_eq!(checked.code, Some(0), "{}", checked.err);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "checking makes nothing");
}
