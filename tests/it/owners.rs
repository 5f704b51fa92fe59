//! Whose a token is: learnt before it is used, pinned, compared after refreshes. No request of one seller goes out with the
//! token of another.

use std::{rc::Rc, sync::Arc};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use marketgate::{
    sim::{AutoConsent, Connect, Fault},
    store::{Grant, MemoryStore, Record, Stored},
};
use serde_json::{Value, json};
use url::Url;

use crate::harness::{Answer, Time, World, gate_keeping};

const APPS: &str = r#"
[apps.any]
provider = "generic"
grant = "authorization_code"
api = "SIM/generic/api"
token_url = "SIM/generic/oauth/token"
authorize_url = "SIM/generic/oauth/authorize"
client_id = "any-1"
client_secret = "any-1-secret"
redirect_uri = "https://yourapp.test/any"
[apps.oidc]
provider = "generic"
grant = "authorization_code"
api = "SIM/generic/api"
token_url = "SIM/generic/oauth/token"
authorize_url = "SIM/generic/oauth/authorize"
issuer = "https://issuer.test"
client_id = "oidc-1"
client_secret = "oidc-1-secret"
scopes = ["openid"]
redirect_uri = "https://yourapp.test/oidc"
[apps.asked]
provider = "generic"
grant = "authorization_code"
api = "SIM/generic/api"
token_url = "SIM/generic/oauth/token"
authorize_url = "SIM/generic/oauth/authorize"
userinfo_url = "SIM/generic/api/userinfo"
client_id = "asked-1"
client_secret = "asked-1-secret"
redirect_uri = "https://yourapp.test/asked"
[apps.shops]
provider = "depop"
environment = "simulator"
simulator = "SIM"
grant = "authorization_code"
client_id = "shops-1"
client_secret = "shops-1-secret"
redirect_uri = "https://yourapp.test/shops"
scopes = ["products_read", "shop_read"]
[apps.wallapop]
provider = "wallapop"
environment = "simulator"
simulator = "SIM"
client_id = "wp-1"
client_secret = "wp-1-secret"
redirect_uri = "https://yourapp.test/wallapop"
"#;

fn run<F: Future<Output = ()>>(test: impl FnOnce(Rc<World>) -> F) {
    gate_keeping(Time::Runs, APPS, Arc::new(MemoryStore::new()), test);
}

/// The client of an app, as it is registered at the marketplace.
fn client(app: &str) -> (&'static str, String) {
    match app {
        "wallapop" => ("wallapop", "wp-1".to_owned()),
        "shops" => ("depop", "shops-1".to_owned()),
        other => ("generic", format!("{other}-1")),
    }
}

impl World {
    async fn imports(&self, account: &str, seller: &str) -> Answer {
        let (app, name) = account.split_once('@').unwrap();
        let (marketplace, client) = client(app);
        let connect = Connect::new(marketplace, &client, seller);
        let grant = json!({ "refresh_token": self.sim.connect(connect).refresh_token });
        self.told("PUT", &format!("/api/accounts/{app}/{name}"), &grant).await
    }

    async fn shows(&self, account: &str) -> Value {
        self.admin(&format!("/api/accounts/{}", account.replace('@', "/"))).await.json()
    }

    async fn refreshes(&self, account: &str) -> Value {
        let path = format!("/api/accounts/{}/refresh", account.replace('@', "/"));
        self.send(self.to_admin("POST", &path)).await.json()
    }

    /// A seller's login, up to what is answered to the callback.
    async fn logs_in(&self, account: &str, seller: &str, more: &Value) -> Answer {
        let (callback, _) = self.begins(account, seller, more).await;
        self.told("POST", "/api/consents/complete", &json!({ "url": callback })).await
    }

    /// A seller's consent: where the browser is sent back to, and the nonce that was sent.
    async fn begins(&self, account: &str, seller: &str, more: &Value) -> (String, Option<String>) {
        self.sim.answer_consents(AutoConsent::Allow, Some(seller));
        let mut wanted = json!({ "account": account });
        wanted.as_object_mut().unwrap().extend(more.as_object().cloned().unwrap_or_default());
        let begun = self.told("POST", "/api/consents", &wanted).await;
        assert_eq!(begun.status, 201, "{}", begun.body);
        let url = begun.json()["authorize_url"].as_str().unwrap().to_owned();
        (self.visited(&url).await, query(&url, "nonce"))
    }

    async fn record(&self, account: &str) -> Record {
        let (app, account) = account.split_once('@').unwrap();
        let id =
            marketgate::names::AccountId { app: app.parse().unwrap(), account: account.parse().unwrap() };
        match self.service.store().unwrap().account(&id).await.unwrap() {
            Some(Stored::Whole(record)) => *record,
            other => panic!("{other:?}"),
        }
    }

    /// The next token call of `marketplace` is answered with these members, what was asked is done.
    fn answers(&self, marketplace: &str, members: &Value) {
        let body = members.to_string();
        let answer = Fault::TokenAnswer { status: 200, content_type: "application/json".to_owned(), body };
        self.sim.add_fault(answer.at(marketplace).on_token());
    }

    /// What the API says below a path from now on.
    fn says(&self, marketplace: &str, path: &str, status: u16, body: &Value) {
        let body = body.to_string();
        let answer = Fault::TokenAnswer { status, content_type: "application/json".to_owned(), body };
        self.sim.add_fault(answer.at(marketplace).on_api().below(path).for_ever());
    }

    /// Whether a request of the account is answered, and if so as whom it went out.
    async fn goes_out_as(&self, account: &str) -> Option<String> {
        let answer = self.get(&format!("/{account}/x")).await;
        (answer.status == 200).then(|| answer.json()["seller"].as_str().unwrap_or_default().to_owned())
    }
}

fn query(url: &str, wanted: &str) -> Option<String> {
    let url = Url::parse(url).unwrap();
    url.query_pairs().find(|(name, _)| name == wanted).map(|(_, value)| value.into_owned())
}

fn id_token(claims: &Value) -> String {
    format!("e30.{}.c2ln", URL_SAFE_NO_PAD.encode(claims.to_string()))
}

/// What an honest server says of this seller.
fn claims(seller: &str, nonce: Option<&str>) -> Value {
    json!({ "iss": "https://issuer.test", "sub": seller, "aud": "oidc-1", "exp": 9_999_999_999_u64, "nonce": nonce })
}

fn tokens_with(id_token: &str) -> Value {
    json!({ "access_token": "{token}", "refresh_token": "{refresh_token}", "token_type": "Bearer", "expires_in": 300,
        "id_token": id_token })
}

fn refresh_token(record: &Record) -> &str {
    let Some(Grant::Refresh { token, .. }) = &record.grant else { panic!("{record:?}") };
    token.expose()
}

#[test]
fn a_refresh_answered_with_another_accounts_tokens_is_refused_and_both_accounts_are_told() {
    for both in [true, false] {
        run(async |w| {
            for (account, seller) in [("any@one", "seller-1"), ("any@two", "seller-2")] {
                assert_eq!(w.imports(account, seller).await.status, 201);
                assert_eq!(w.goes_out_as(account).await.as_deref(), Some(seller));
            }
            let (one, two) = (w.record("any@one").await, w.record("any@two").await);
            let refresh = if both { refresh_token(&two) } else { "{refresh_token}" };
            let access = two.token.as_ref().unwrap().secret.expose();
            w.answers(
                "generic",
                &json!({ "access_token": access, "refresh_token": refresh, "expires_in": 300 }),
            );
            let shown = w.refreshes("any@one").await;
            assert_eq!(shown["state"], "identity_mismatch", "{shown}");
            assert!(shown["trouble"]["detail"].as_str().unwrap().contains("any@two"), "{shown}");
            assert_eq!(w.get("/any@one/x").await.status, 503);
            let kept = w.record("any@one").await;
            if both {
                assert_eq!(refresh_token(&kept), refresh_token(&one), "the last that was its own");
            } else {
                let family = w.sim.families().into_iter().find(|family| family.seller == "seller-1").unwrap();
                let fingerprint = marketgate::sim::fingerprint(refresh_token(&kept));
                assert_eq!(
                    fingerprint, family.refresh_token,
                    "a new one that nobody else has is not dropped"
                );
            }
            let other = w.shows("any@two").await;
            assert!(other["notices"][0].as_str().unwrap().contains("any@one"), "{other}");
            assert_eq!(w.goes_out_as("any@two").await.as_deref(), Some("seller-2"), "whose tokens they are");
            let again = w.refreshes("any@two").await;
            assert_eq!(again["state"], "ready", "{again}");
        });
    }
}

#[test]
fn a_login_that_brings_another_accounts_refresh_token_changes_nothing() {
    run(async |w| {
        assert_eq!(w.imports("any@two", "seller-2").await.status, 201);
        assert_eq!(w.goes_out_as("any@two").await.as_deref(), Some("seller-2"));
        let former = refresh_token(&w.record("any@two").await).to_owned();
        w.refreshes("any@two").await;
        for held in [&former, refresh_token(&w.record("any@two").await)] {
            let answer = json!({ "access_token": "{token}", "refresh_token": held, "expires_in": 300 });
            w.answers("generic", &answer);
            let refused = w.logs_in("any@one", "seller-1", &json!({})).await;
            assert_eq!(
                (refused.status, refused.code().as_str()),
                (409, "identity_mismatch"),
                "{}",
                refused.body
            );
            assert!(refused.body.contains("any@two"), "{}", refused.body);
            assert_eq!(w.shows("any@one").await["code"], "no_such_account");
        }
        assert_eq!(w.goes_out_as("any@two").await.as_deref(), Some("seller-2"));
    });
}

#[test]
fn an_access_token_pasted_as_a_refresh_token_is_known_for_another_accounts() {
    run(async |w| {
        assert_eq!(w.imports("any@two", "seller-2").await.status, 201);
        assert_eq!(w.goes_out_as("any@two").await.as_deref(), Some("seller-2"));
        let access = w.record("any@two").await.token.unwrap().secret;
        let grant = json!({ "refresh_token": access.expose() });
        let refused = w.told("PUT", "/api/accounts/any/one", &grant).await;
        assert_eq!((refused.status, refused.code().as_str()), (409, "seen_before"), "{}", refused.body);
    });
}

#[test]
fn an_id_token_names_the_seller_whose_access_token_is_opaque() {
    run(async |w| {
        let (callback, nonce) = w.begins("oidc@one", "seller-1", &json!({})).await;
        let nonce = nonce.expect("a nonce goes with openid");
        w.answers("generic", &tokens_with(&id_token(&claims("seller-1", Some(&nonce)))));
        let connected = w.told("POST", "/api/consents/complete", &json!({ "url": callback })).await;
        assert_eq!(
            (connected.status, &connected.json()["identity"]),
            (200, &json!("seller-1")),
            "{}",
            connected.body
        );

        w.answers("generic", &tokens_with(&id_token(&claims("seller-1", None))));
        assert_eq!(w.refreshes("oidc@one").await["state"], "ready");
        // A refresh may come without one: that names nobody else.
        assert_eq!(w.refreshes("oidc@one").await["state"], "ready");

        w.answers("generic", &tokens_with(&id_token(&claims("seller-3", None))));
        let shown = w.refreshes("oidc@one").await;
        assert_eq!(shown["state"], "identity_mismatch", "{shown}");
        assert!(shown["trouble"]["detail"].as_str().unwrap().contains("pinned to seller-1"), "{shown}");
        assert!(shown["trouble"]["detail"].as_str().unwrap().contains("named seller-3"), "{shown}");
        assert_eq!(w.get("/oidc@one/x").await.status, 503);
    });
}

#[test]
fn a_seller_whom_id_and_access_tokens_name_differently_is_compared_like_with_like() {
    run(async |w| {
        let access = |subject: &str| id_token(&json!({ "sub": subject }));
        let (callback, nonce) = w.begins("oidc@one", "seller-1", &json!({})).await;
        let mut both = tokens_with(&id_token(&claims("pairwise-1", nonce.as_deref())));
        both["access_token"] = access("seller-1").into();
        w.answers("generic", &both);
        let connected = w.told("POST", "/api/consents/complete", &json!({ "url": callback })).await;
        assert_eq!(connected.json()["identity"], "pairwise-1", "{}", connected.body);

        let mut alone = both.clone();
        alone.as_object_mut().unwrap().remove("id_token");
        for subject in ["seller-1", "seller-1", "seller-2"] {
            alone["access_token"] = access(subject).into();
            w.answers("generic", &alone);
            let shown = w.refreshes("oidc@one").await;
            let is_other = subject == "seller-2";
            assert_eq!(shown["state"] == "identity_mismatch", is_other, "{subject}: {shown}");
            assert_eq!(shown["identity"], "pairwise-1");
        }
    });
}

#[test]
fn an_id_token_of_a_login_is_for_this_client_this_issuer_this_login_and_now() {
    let change = |name: &'static str, value: Value| move |claims: &mut Value| claims[name] = value.clone();
    type Change = Box<dyn Fn(&mut Value)>;
    let wrong: [(&str, Change); 5] = [
        ("another client", Box::new(change("aud", json!("somebody")))),
        ("another issuer", Box::new(change("iss", json!("https://evil.test")))),
        ("answers another login", Box::new(change("nonce", json!("of-another-login")))),
        ("answers another login", Box::new(change("nonce", Value::Null))),
        ("expired", Box::new(change("exp", json!(1_000_000)))),
    ];
    for (why, change) in wrong {
        run(async |w| {
            let (callback, nonce) = w.begins("oidc@one", "seller-1", &json!({})).await;
            let mut claims = claims("seller-1", nonce.as_deref());
            change(&mut claims);
            w.answers("generic", &tokens_with(&id_token(&claims)));
            let refused = w.told("POST", "/api/consents/complete", &json!({ "url": callback })).await;
            assert_eq!(
                (refused.status, refused.code().as_str()),
                (502, "identity_unknown"),
                "{}",
                refused.body
            );
            assert!(refused.body.contains(why), "{why}: {}", refused.body);
            assert_eq!(w.shows("oidc@one").await["code"], "no_such_account");
        });
    }
}

#[test]
fn a_refreshed_id_token_for_another_client_stops_the_account() {
    run(async |w| {
        assert_eq!(w.imports("oidc@one", "seller-1").await.status, 201);
        let mut claims = claims("seller-1", None);
        claims["aud"] = json!("somebody");
        w.answers("generic", &tokens_with(&id_token(&claims)));
        assert_eq!(w.get("/oidc@one/x").await.status, 503);
        assert_eq!(w.shows("oidc@one").await["state"], "identity_mismatch");
    });
}

#[test]
fn the_pinned_seller_is_not_refused_because_a_token_names_nobody() {
    run(async |w| {
        let grant = json!({ "refresh_token": w.sim.connect(Connect::new("generic", "any-1", "seller-1")).refresh_token,
            "identity": "seller-1" });
        assert_eq!(w.told("PUT", "/api/accounts/any/one", &grant).await.status, 201);
        assert_eq!(w.goes_out_as("any@one").await.as_deref(), Some("seller-1"));
        let again = w.logs_in("any@one", "seller-1", &json!({})).await;
        assert_eq!((again.status, &again.json()["identity"]), (200, &json!(null)), "{}", again.body);
        assert_eq!(w.shows("any@one").await["identity"], "seller-1", "the pin stays");
    });
}

#[test]
fn userinfo_names_the_seller_before_a_token_is_used() {
    run(async |w| {
        w.says("generic", "/api/userinfo", 200, &json!({ "sub": "seller-1" }));
        assert_eq!(w.imports("asked@one", "seller-1").await.status, 201);
        assert_eq!(w.goes_out_as("asked@one").await.as_deref(), Some("seller-1"));
        assert_eq!(w.shows("asked@one").await["identity"], "seller-1");
        let asked: Vec<_> =
            w.sim.requests().into_iter().filter(|r| r.target.ends_with("/userinfo")).collect();
        assert_eq!(asked.len(), 1);
        assert!(asked[0].header("authorization").unwrap().starts_with("Bearer "));

        w.sim.clear_faults();
        w.says("generic", "/api/userinfo", 200, &json!({ "sub": "seller-2" }));
        let other = w.logs_in("asked@one", "seller-2", &json!({})).await;
        assert_eq!((other.status, other.code().as_str()), (409, "identity_mismatch"), "{}", other.body);
        let shown = w.refreshes("asked@one").await;
        assert_eq!(shown["state"], "identity_mismatch", "{shown}");
        assert_eq!(w.goes_out_as("asked@one").await, None);
    });
}

#[test]
fn a_token_whose_owner_can_be_asked_for_waits_until_the_answer_comes() {
    run(async |w| {
        w.says("generic", "/api/userinfo", 503, &json!({}));
        assert_eq!(w.imports("asked@one", "seller-1").await.status, 201);
        let shown = w.refreshes("asked@one").await;
        assert_eq!(shown["state"], "degraded", "{shown}");
        assert!(
            shown["trouble"]["detail"].as_str().unwrap().contains("before its owner is known"),
            "{shown}"
        );
        assert!(shown["token"].is_null(), "{shown}");
        w.sim.clear_faults();
        w.says("generic", "/api/userinfo", 200, &json!({ "sub": "seller-1" }));
        assert_eq!(w.refreshes("asked@one").await["state"], "ready");
        assert_eq!(w.sim.token_calls("generic"), 1, "the token that waited is used, not another one fetched");
        assert_eq!(w.goes_out_as("asked@one").await.as_deref(), Some("seller-1"));
        // Pinned by now: a question that is not answered stops nobody.
        w.sim.clear_faults();
        w.says("generic", "/api/userinfo", 503, &json!({}));
        assert_eq!(w.refreshes("asked@one").await["state"], "ready");
    });
}

#[test]
fn a_login_whose_owner_cannot_be_learnt_does_not_take_a_pinned_account_over() {
    run(async |w| {
        w.says("generic", "/api/userinfo", 200, &json!({ "sub": "seller-1" }));
        assert_eq!(w.logs_in("asked@one", "seller-1", &json!({})).await.status, 200);
        for (status, body) in [(403, json!({})), (200, json!({ "name": "nobody" }))] {
            w.sim.clear_faults();
            w.says("generic", "/api/userinfo", status, &body);
            let refused = w.logs_in("asked@one", "seller-2", &json!({})).await;
            assert_eq!(
                (refused.status, refused.code().as_str()),
                (502, "identity_unknown"),
                "{}",
                refused.body
            );
            assert!(refused.body.contains("belongs to seller-1"), "{}", refused.body);
        }
        assert_eq!(w.goes_out_as("asked@one").await.as_deref(), Some("seller-1"));
    });
}

#[test]
fn a_shop_that_was_imported_is_learnt_at_its_first_use_and_another_shops_login_is_refused() {
    run(async |w| {
        assert_eq!(w.imports("shops@a", "shop-1").await.status, 201);
        assert_eq!(w.get("/shops@a/api/v1/products/?limit=2").await.status, 200);
        let pinned = w.shows("shops@a").await["identity"].as_str().expect("it is pinned").to_owned();
        let first = w.sim.requests().into_iter().find(|r| r.kind == "api").unwrap();
        assert!(first.target.ends_with("/api/v1/shop/"), "asked before anything is sent: {}", first.target);

        let other = w.logs_in("shops@a", "shop-2", &json!({})).await;
        assert_eq!((other.status, other.code().as_str()), (409, "identity_mismatch"), "{}", other.body);
        assert_eq!(w.logs_in("shops@a", "shop-1", &json!({})).await.json()["identity"], json!(pinned));

        w.says("depop", "/api/v1/shop/", 200, &json!({ "id": 4711 }));
        let shown = w.refreshes("shops@a").await;
        assert_eq!(shown["state"], "identity_mismatch", "the shop behind the token has changed: {shown}");
        assert_eq!(w.get("/shops@a/api/v1/products/?limit=2").await.status, 503);
    });
}

#[test]
fn a_seller_who_is_another_account_already_is_refused_by_its_name_unless_that_is_meant() {
    run(async |w| {
        assert_eq!(w.logs_in("wallapop@s3", "seller-3", &json!({})).await.status, 200);
        let refused = w.logs_in("wallapop@s4", "seller-3", &json!({})).await;
        assert_eq!((refused.status, refused.code().as_str()), (409, "already_connected"), "{}", refused.body);
        assert!(refused.body.contains("this seller (seller-3) is already wallapop@s3"), "{}", refused.body);
        assert_eq!(w.shows("wallapop@s4").await["code"], "no_such_account");
        assert_eq!(w.get("/wallapop@s3/items").await.status, 200, "its session goes on");
        let connect = Connect::new("wallapop", "wp-1", "seller-3");
        let grant = json!({ "refresh_token": w.sim.connect(connect).refresh_token, "identity": "seller-3" });
        let refused = w.told("PUT", "/api/accounts/wallapop/s4", &grant).await;
        assert_eq!(refused.code(), "already_connected", "{}", refused.body);
        assert_eq!(w.told("PUT", "/api/accounts/wallapop/s4?again=true", &grant).await.status, 201);
        assert_eq!(w.logs_in("wallapop@s5", "seller-3", &json!({ "again": true })).await.status, 200);
        assert_eq!(w.logs_in("wallapop@s5", "seller-3", &json!({})).await.status, 200, "it was said once");
        assert_eq!(
            w.logs_in("wallapop@s3", "seller-3", &json!({})).await.status,
            200,
            "it is that account itself"
        );
    });
}

#[test]
fn an_import_that_turns_out_to_be_another_accounts_seller_is_stopped_before_its_first_request() {
    run(async |w| {
        assert_eq!(w.logs_in("wallapop@s3", "seller-3", &json!({})).await.status, 200);
        assert_eq!(w.imports("wallapop@s4", "seller-3").await.status, 201);
        assert_eq!(w.get("/wallapop@s4/items").await.status, 503);
        let shown = w.shows("wallapop@s4").await;
        assert_eq!(shown["state"], "identity_mismatch", "{shown}");
        let trouble = &shown["trouble"];
        assert!(
            trouble["detail"].as_str().unwrap().contains("seller-3, who is wallapop@s3 already"),
            "{shown}"
        );
        assert!(trouble["action"].as_str().unwrap().contains("--again"), "{shown}");
        assert_eq!(w.get("/wallapop@s3/items").await.status, 200);
    });
}

#[test]
fn wallapops_sellers_are_asked_to_log_in_even_where_the_browser_is_signed_in() {
    run(async |w| {
        w.sim.answer_consents(AutoConsent::Allow, Some("seller-1"));
        let begun = w.told("POST", "/api/consents", &json!({ "account": "wallapop@s1" })).await.json();
        let url = begun["authorize_url"].as_str().unwrap();
        assert_eq!(query(url, "prompt").as_deref(), Some("login"));
        assert_eq!(query(url, "nonce"), None, "without the scope openid there is none to be compared");
    });
}
