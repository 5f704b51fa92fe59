//! Naming an account, and what of the request arrives.

use crate::harness::{ALL_APPS, Time, gate, gate_with};

#[test]
fn a_plain_request_reaches_each_marketplace_with_its_credential() {
    gate(Time::Runs, ALL_APPS, |w| async move {
        for (path, header) in [
            ("/walmart/v3/items", "wm_sec.access_token"),
            ("/supplier/v3/orders", "wm_sec.access_token"),
            ("/golocal/deliveries", "authorization"),
            ("/depop/api/v1/products/", "authorization"),
            ("/any/hello", "authorization"),
        ] {
            let answer = w.get(path).await;
            assert_eq!(answer.status, 200, "{path}: {}", answer.body);
            let requests = w.sim.requests();
            let arrived = requests.iter().rev().find(|r| r.header(header).is_some()).unwrap();
            assert!(arrived.violations.is_empty(), "{path}: {:?}", arrived.violations);
        }
    });
}

#[test]
fn the_four_ways_to_name_an_account_lead_to_the_same_place() {
    gate_with(Time::Runs, ALL_APPS, Some("app = \"many\"\naccount = \"b\""), 100, |w| async move {
        let by_prefix = w.get("/many@b/x?y=1").await;
        let by_encoded_prefix = w.get("/many%40b/x?y=1").await;
        let headers =
            w.http.get(w.url("/x?y=1")).header("Marketgate-App", "many").header("Marketgate-Account", "b");
        let by_headers = w.send(headers).await;
        let mixed = w.send(w.http.get(w.url("/many/x?y=1")).header("marketgate-account", "b")).await;
        let by_listener = w.send(w.http.get(format!("http://{}/x?y=1", w.fixed.unwrap()))).await;
        for answer in [by_prefix, by_encoded_prefix, by_headers, mixed, by_listener] {
            assert_eq!(answer.status, 200, "{}", answer.body);
            assert_eq!(answer.json()["account"], "many-b");
            assert!(answer.json()["target"].as_str().unwrap().ends_with("/api/x?y=1"), "{}", answer.body);
        }
    });
}

#[test]
fn forms_that_disagree_are_refused_never_guessed_at() {
    gate_with(Time::Runs, ALL_APPS, Some("app = \"many\"\naccount = \"b\""), 100, |w| async move {
        let fixed = format!("http://{}/x", w.fixed.unwrap());
        let get = |url: &str| w.http.get(url.to_owned());
        for request in [
            get(&w.url("/many@a/x")).header("Marketgate-Account", "b"),
            get(&w.url("/any/x")).header("Marketgate-App", "many"),
            get(&w.url("/many/x")).header("Marketgate-Account", "a").header("Marketgate-Account", "a"),
            get(&w.url("/x")).header("Marketgate-App", "many").header("Marketgate-App", "any"),
            get(&w.url("/many/x")).header("Marketgate-Account", "a/b"),
            get(&fixed).header("Marketgate-App", "any"),
            get(&fixed).header("Marketgate-Account", "a"),
        ] {
            let answer = w.send(request).await;
            assert_eq!((answer.status, answer.code().as_str()), (400, "bad_route"), "{}", answer.body);
        }
        assert_eq!(w.sim.api_calls("*"), 0);
    });
}

#[test]
fn what_names_no_account_says_what_would() {
    gate(Time::Runs, ALL_APPS, |w| async move {
        let several = w.get("/many/x").await;
        assert_eq!((several.status, several.code().as_str()), (400, "account_required"));
        let unknown = w.get("/many@c/x").await;
        assert_eq!((unknown.status, unknown.code().as_str()), (400, "no_such_account"));
        assert_eq!(unknown.json()["app"], "many");
        let no_app = w.get("/nope/x").await;
        assert_eq!((no_app.status, no_app.code().as_str()), (400, "no_such_app"));
        assert!(no_app.json()["action"].as_str().unwrap().contains("/walmart/"), "{}", no_app.body);
        let dropped = w.get("/v3/items").await;
        assert_eq!(dropped.status, 400);
        assert!(dropped.json()["action"].as_str().unwrap().contains("Marketgate-App"), "{}", dropped.body);
        assert!(dropped.headers["proxy-status"].to_str().unwrap().starts_with("marketgate; error="));
        let root = w.get("/").await;
        assert_eq!(root.status, 400);
    });
}

#[test]
fn a_refusal_is_plain_text_for_a_client_that_prefers_it() {
    gate(Time::Runs, ALL_APPS, |w| async move {
        let answer = w.send(w.http.get(w.url("/nope/")).header("Accept", "text/plain")).await;
        assert_eq!(answer.headers["content-type"], "text/plain; charset=utf-8");
        assert!(
            answer.body.contains("no_such_app") && answer.body.contains("what helps:"),
            "{}",
            answer.body
        );
    });
}

#[test]
fn a_client_that_insists_on_fetching_a_token_gets_a_worthless_one_which_is_dropped() {
    gate(Time::Runs, ALL_APPS, |w| async move {
        let form = "grant_type=client_credentials";
        for (path, api) in [
            ("/walmart/v3/token", "/walmart/v3/items"),
            ("/depop/api/v1/oauth2/access-token/", "/depop/api/v1/shop/"),
            ("/golocal/api-proxy/service/identity/oauth/v1/token", "/golocal/deliveries"),
        ] {
            let request = w.http.post(w.url(path)).basic_auth("me", Some("x")).body(form);
            let answer = w.send(request.header("accept", "application/json")).await;
            assert_eq!(answer.status, 200, "{}", answer.body);
            let token = answer.json()["access_token"].as_str().unwrap().to_owned();
            let call = w.http.get(w.url(api)).bearer_auth(&token).header("WM_SEC.ACCESS_TOKEN", &token);
            let answer = w.send(call).await;
            assert_eq!(answer.status, 200, "{}", answer.body);
        }
        assert!(w.sim.requests().iter().all(|r| r.violations.is_empty()));
        let xml = w.http.post(w.url("/walmart/v3/token")).header("Accept", "application/xml").body(form);
        let answer = w.send(xml).await;
        assert!(
            answer.body.contains("<accessToken>marketgate-placeholder-token</accessToken>"),
            "{}",
            answer.body
        );
    });
}

#[test]
fn an_sdk_that_fetches_its_own_token_is_let_in_with_its_callers_key() {
    const KEY: &str = "sdk-key-0123456789abcdef0123456789";
    let callers = format!("[callers.sdk]\nkey = \"{KEY}\"\n");
    let configuration =
        callers + ALL_APPS.replace("[apps.any]", "[apps.any]\ntoken_paths = [\"/auth/o2/token\"]").as_str();
    gate(Time::Runs, &configuration, |w| async move {
        let form = format!("grant_type=client_credentials&client_id=a&client_secret={KEY}");
        let json = format!("{{\"grant_type\":\"client_credentials\",\"client_secret\":\"{KEY}\"}}");
        let at = |path: &str| w.http.post(w.url(path));
        for request in [
            at("/walmart/v3/token/").basic_auth("client", Some(KEY)).body("grant_type=client_credentials"),
            at("/walmart/v3/token").basic_auth("client", Some(KEY)).body("grant_type=client_credentials"),
            at("/any/auth/o2/token").body(form.clone()),
            at("/any/auth/o2/token").header("content-type", "application/json").body(json),
        ] {
            let answer = w.send(request.header("accept", "application/json")).await;
            assert_eq!(answer.status, 200, "{}", answer.body);
            let token = answer.json()["access_token"].as_str().unwrap().to_owned();
            assert_eq!(token, KEY);
            assert!(answer.json()["expires_in"].is_u64());
            assert_eq!(w.send(w.http.get(w.url("/any/x")).bearer_auth(&token)).await.status, 200);
            // Where the API takes tokens elsewhere, there and only for this API.
            let by_header = |path: &str| w.http.get(w.url(path)).header("WM_SEC.ACCESS_TOKEN", &token);
            assert_eq!(w.send(by_header("/walmart/v3/items")).await.status, 200);
            assert_eq!(w.send(by_header("/any/x")).await.code(), "caller_unknown");
        }
        let calls = w.sim.api_calls("generic");
        for body in [form.replace(KEY, "wrong"), String::new(), "{".to_owned(), "x".repeat(200_000)] {
            let answer = w.send(at("/any/auth/o2/token").body(body)).await;
            assert_eq!((answer.status, answer.code().as_str()), (401, "caller_unknown"), "{}", answer.body);
        }
        // Anywhere else a key in the body opens nothing.
        let answer = w.send(at("/any/x").body(form)).await;
        assert_eq!((answer.status, w.sim.api_calls("generic")), (401, calls));
    });
}

#[test]
fn a_redirect_below_the_base_comes_back_through_the_route_and_others_pass() {
    gate(Time::Runs, ALL_APPS, |w| async move {
        let base = format!("http://{}/generic/api", w.sim_address);
        for (to, expected) in [
            (format!("{base}/x?y=1"), format!("http://{}/many@a/x?y=1", w.proxy)),
            ("/generic/api/z".to_owned(), "/many@a/z".to_owned()),
            ("https://elsewhere.test/x".to_owned(), "https://elsewhere.test/x".to_owned()),
            ("/generic/other".to_owned(), format!("http://{}/generic/other", w.sim_address)),
        ] {
            let query: String =
                url::form_urlencoded::Serializer::new(String::new()).append_pair("to", &to).finish();
            let before = w.sim.api_calls("generic");
            let answer = w.get(&format!("/many@a/redirect?code=302&{query}")).await;
            assert_eq!(
                (answer.status, answer.headers["location"].to_str().unwrap()),
                (302, expected.as_str())
            );
            assert_eq!(w.sim.api_calls("generic"), before + 1, "a redirect was followed");
        }
    });
}

#[test]
fn the_admin_door_tells_health_metrics_and_accounts_but_no_token() {
    gate(Time::Runs, ALL_APPS, |w| async move {
        assert_eq!(w.get("/any/x").await.status, 200);
        assert_eq!(w.admin("/livez").await.body, "ok\n");
        assert_eq!(w.admin("/readyz").await.status, 200);
        let metrics = w.admin("/metrics").await.body;
        for line in ["marketgate_requests_total", "marketgate_refreshes_total", "marketgate_keepers", "# EOF"]
        {
            assert!(metrics.contains(line), "{line} in {metrics}");
        }
        assert!(metrics.contains(r#"marketgate_refreshes_total{app="any",outcome="ok"} 1"#), "{metrics}");
        let accounts = w.admin("/api/accounts").await.json();
        let any =
            accounts["accounts"].as_array().unwrap().iter().find(|a| a["app"] == "any").unwrap().clone();
        assert_eq!((any["state"].as_str(), any["token"]["generation"].as_u64()), (Some("ready"), Some(1)));
        let page = w.admin("/api/accounts?limit=2").await.json();
        assert_eq!(page["next"], "depop@default");
        let across = w.admin("/api/accounts?limit=1&after=many@a").await.json();
        assert_eq!(
            (across["accounts"][0]["account"].as_str(), across["next"].as_str()),
            (Some("b"), Some("many@b"))
        );
        let rest = w.admin("/api/accounts?after=depop@default").await.json();
        assert_eq!(rest["accounts"][0]["app"], "golocal");
        let waited = w.admin("/api/accounts/many/a?wait=5").await.json();
        assert_eq!(waited["token"]["valid"], true);
        for (path, code) in [("/api/accounts/x/y", 400), ("/nope", 400), ("/api/accounts?limt=1", 400)] {
            assert_eq!(w.admin(path).await.status, code, "{path}");
        }
        let foreign =
            w.send(w.http.get(format!("http://{}/api/accounts", w.admin)).header("Host", "evil.test")).await;
        assert_eq!(foreign.code(), "host_refused");
        let page =
            w.http.get(format!("http://{}/api/accounts", w.admin)).header("Origin", "https://evil.test");
        assert_eq!(w.send(page).await.code(), "browser_refused");
        let credential =
            w.sim.requests().iter().find_map(|r| r.header("authorization").map(str::to_owned)).unwrap();
        assert!(!accounts.to_string().contains(credential.trim_start_matches("Bearer ")));
    });
}
