//! The habits of real authorization servers that the simulator takes on: over sockets, as clients see them.

use std::{sync::Arc, time::Duration};

use marketgate::sim::{Cause, Connect, Ended, Grant, Policy, Refusal, Simulator, Simultaneous, User};
use serde_json::{Value, json};

use crate::harness::{Answer, client};

/// A simulator, and clients of its generic marketplace.
struct Sim {
    simulator: Simulator,
    origin: String,
    http: reqwest::Client,
    serving: tokio::task::JoinHandle<()>,
}

impl Drop for Sim {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn start() -> Arc<Sim> {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let origin = format!("http://{}", listener.local_addr().unwrap());
    let simulator = Simulator::new(7);
    let serving = tokio::spawn(simulator.clone().serve(listener, std::future::pending()));
    Arc::new(Sim { simulator, origin, http: client(), serving })
}

async fn started(change: impl Fn(&mut Policy)) -> Arc<Sim> {
    let sim = start().await;
    sim.simulator.change_policy("generic", change);
    sim
}

impl Sim {
    fn connect(&self, seller: &str) -> Grant {
        self.simulator.connect(Connect::new("generic", "any-1", seller))
    }

    async fn send(&self, request: reqwest::RequestBuilder) -> Answer {
        let response = request.send().await.unwrap();
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        Answer { status, headers, body: response.text().await.unwrap() }
    }

    async fn refresh(&self, token: &str) -> Answer {
        let form = format!(
            "grant_type=refresh_token&refresh_token={token}&client_id=any-1&client_secret=any-1-secret"
        );
        let request = self.http.post(format!("{}/generic/oauth/token", self.origin)).body(form);
        self.send(request.header("content-type", "application/x-www-form-urlencoded")).await
    }

    async fn api(&self, token: &str) -> Answer {
        self.send(self.http.get(format!("{}/generic/api/x", self.origin)).bearer_auth(token)).await
    }

    async fn control(&self, path: &str, body: Value) -> Answer {
        self.send(self.http.post(format!("{}/sim/{path}", self.origin)).body(body.to_string())).await
    }

    fn ended(&self, seller: &str) -> Option<Ended> {
        self.simulator.families().into_iter().find(|family| family.seller == seller).unwrap().ended
    }
}

fn text(answer: &Answer, member: &str) -> String {
    answer.json()[member].as_str().unwrap_or_else(|| panic!("no {member}: {}", answer.body)).to_owned()
}

#[tokio::test]
async fn an_access_token_ends_with_the_refresh_where_the_server_has_one_for_each_grant() {
    let sim = started(|policy| policy.refresh_ends_access_token = true).await;
    let (grant, bystander) = (sim.connect("shop-1"), sim.connect("shop-2"));
    assert_eq!(sim.api(&grant.access_token).await.status, 200);
    let renewed = sim.refresh(&grant.refresh_token).await;
    assert_eq!(sim.api(&grant.access_token).await.status, 401);
    assert_eq!(sim.api(&text(&renewed, "access_token")).await.status, 200);
    assert_eq!(sim.api(&bystander.access_token).await.status, 200);
}

#[tokio::test]
async fn one_use_too_many_ends_the_session_with_its_access_token_and_the_grant_beside_it() {
    let sim = started(|policy| policy.max_reuse = Some(1)).await;
    let together = |seller: &str| Connect {
        session: Some("browser".to_owned()),
        ..Connect::new("generic", "any-1", seller)
    };
    let (grant, neighbour) =
        (sim.simulator.connect(together("shop-1")), sim.simulator.connect(together("shop-2")));
    let stranger = sim.connect("shop-3");
    sim.refresh(&grant.refresh_token).await;
    let again = sim.refresh(&grant.refresh_token).await;
    assert_eq!((again.status, sim.ended("shop-1")), (200, None));
    let access = text(&again, "access_token");
    assert_eq!(sim.refresh(&grant.refresh_token).await.status, 400);
    assert_eq!(sim.ended("shop-1"), Some(Ended::RefreshTokenReused));
    assert_eq!(sim.ended("shop-2"), Some(Ended::SessionEnded));
    assert_eq!(sim.ended("shop-3"), None);
    for (token, status) in [(&access, 401), (&neighbour.access_token, 401), (&stranger.access_token, 200)] {
        assert_eq!(sim.api(token).await.status, status);
    }
}

/// Two uses of one refresh token that are worked on at the same time.
async fn at_once(sim: &Sim, token: &str) -> (Answer, Answer) {
    tokio::join!(sim.refresh(token), async {
        sim.simulator.until(|simulator| simulator.token_calls("generic") == 1).await;
        sim.refresh(token).await
    })
}

#[tokio::test]
async fn simultaneous_uses_both_succeed_without_a_lock_and_what_was_saved_last_works() {
    let sim = started(|policy| *policy = policy.like("spring").unwrap()).await;
    sim.simulator.change_policy("generic", |policy| policy.work_ms = 200);
    let grant = sim.connect("shop-1");
    let (first, second) = at_once(&sim, &grant.refresh_token).await;
    assert_eq!((first.status, second.status), (200, 200), "{} {}", first.body, second.body);
    sim.simulator.change_policy("generic", |policy| policy.work_ms = 0);
    assert_eq!(sim.api(&text(&first, "access_token")).await.status, 401);
    assert_eq!(sim.api(&text(&second, "access_token")).await.status, 200);
    let late = sim.refresh(&text(&first, "refresh_token")).await;
    assert_eq!((late.status, late.body.as_str()), (400, r#"{"error":"invalid_grant"}"#));
    assert_eq!(sim.refresh(&text(&second, "refresh_token")).await.status, 200);
}

#[tokio::test]
async fn of_simultaneous_uses_one_succeeds_with_a_lock_and_the_other_is_a_repetition_or_asked_to_retry() {
    for (simultaneous, error) in
        [(Simultaneous::FirstWins, "invalid_grant"), (Simultaneous::Refused, "invalid_request")]
    {
        let sim = started(|policy| {
            (policy.simultaneous, policy.work_ms, policy.reuse_ends_family) = (simultaneous, 200, false);
        })
        .await;
        let (first, second) = at_once(&sim, &sim.connect("shop-1").refresh_token).await;
        assert_eq!((first.status, text(&second, "error").as_str()), (200, error), "{simultaneous:?}");
    }
}

#[tokio::test]
async fn the_work_on_a_token_call_is_done_although_its_client_has_left() {
    let sim = started(|policy| policy.work_ms = 100).await;
    let grant = sim.connect("shop-1");
    let impatient = sim.refresh(&grant.refresh_token);
    assert!(tokio::time::timeout(Duration::from_millis(20), impatient).await.is_err());
    sim.simulator.until(|simulator| simulator.families()[0].rotations == 1).await;
}

#[tokio::test]
async fn refusals_come_in_the_words_and_the_emptiness_of_the_server_that_is_imitated() {
    for (server, status, words) in [
        ("dex", 400, "already been claimed by another client"),
        ("keycloak", 400, "Maximum allowed refresh token reuse exceeded"),
        ("hydra", 400, "is invalid, expired, revoked"),
        ("go-oauth2", 401, "invalid_grant"),
    ] {
        let sim = started(|policy| *policy = policy.like(server).unwrap()).await;
        let grant = sim.connect("shop-1");
        sim.refresh(&grant.refresh_token).await;
        let refused = sim.refresh(&grant.refresh_token).await;
        assert!(refused.status == status && refused.body.contains(words), "{server}: {}", refused.body);
    }
    let sim = started(|policy| *policy = policy.like("glewlwyd").unwrap()).await;
    let empty = sim.refresh("nobodys").await;
    assert_eq!((empty.status, empty.body.as_str()), (400, ""));
}

#[tokio::test]
async fn a_refresh_token_ends_by_sliding_or_with_its_consent_and_says_so_where_the_server_does() {
    let sim = started(|policy| {
        policy.refresh_token_seconds = Some(120);
        policy.refresh_end_member = Some("refresh_token_expires_in".to_owned());
        policy.refresh_expires_in = None;
    })
    .await;
    let connect = Connect { consent_lifetime: Some(150), ..Connect::new("generic", "any-1", "shop-1") };
    let grant = sim.simulator.connect(connect);
    let minute = Duration::from_secs(60);
    sim.simulator.advance(minute);
    let renewed = sim.refresh(&grant.refresh_token).await;
    let left = renewed.json()["refresh_token_expires_in"].as_u64().unwrap();
    assert!((85..=90).contains(&left), "{left}");
    sim.simulator.change_policy("generic", |policy| policy.refresh_expires_in = Some(0));
    let never = sim.refresh(&text(&renewed, "refresh_token")).await;
    assert_eq!(never.json()["refresh_token_expires_in"], 0);
    sim.simulator.change_policy("generic", |policy| policy.refresh_end_member = None);
    let silent = sim.refresh(&text(&never, "refresh_token")).await;
    assert_eq!(silent.json().get("refresh_token_expires_in"), None);
    sim.simulator.advance(2 * minute);
    assert_eq!(sim.refresh(&text(&silent, "refresh_token")).await.status, 400);
    assert_eq!(sim.ended("shop-1"), None);
}

#[tokio::test]
async fn a_new_access_token_is_too_young_at_the_api_for_a_while() {
    let sim = started(|policy| policy.access_token_young_ms = 3_000).await;
    let grant = sim.connect("shop-1");
    assert_eq!(sim.api(&grant.access_token).await.status, 401);
    sim.simulator.advance(Duration::from_secs(3));
    assert_eq!(sim.api(&grant.access_token).await.status, 200);
}

#[tokio::test]
async fn the_api_refuses_a_dead_token_in_the_way_it_was_told() {
    let challenge = "Bearer error=\"invalid_token\"";
    for refusal in [
        Refusal::empty(403),
        Refusal { challenge: Some(challenge.to_owned()), ..Refusal::empty(403) },
        Refusal::error(403, "forbidden", "the access token has expired"),
    ] {
        let sim = started(|policy| policy.api_refused_as = Some(refusal.clone())).await;
        let grant = sim.connect("shop-1");
        assert_eq!(sim.api(&grant.access_token).await.status, 200);
        sim.simulator.disconnect("generic", "shop-1");
        let refused = sim.api(&grant.access_token).await;
        assert_eq!((refused.status, &refused.body), (403, &refusal.body));
        let said = refused.headers.get("www-authenticate").map(|value| value.to_str().unwrap());
        assert_eq!(said, refusal.challenge.as_deref());
    }
}

#[tokio::test]
async fn a_user_who_was_disabled_or_broken_is_as_before_once_enabled_again() {
    let sim = start().await;
    let (grant, other) = (sim.connect("shop-1"), sim.connect("shop-2"));
    sim.simulator.set_user("generic", "shop-1", User::Broken);
    assert_eq!(
        (sim.refresh(&grant.refresh_token).await.status, sim.api(&grant.access_token).await.status),
        (500, 200)
    );
    sim.simulator.set_user("generic", "shop-1", User::Disabled);
    let refused = sim.refresh(&grant.refresh_token).await;
    assert_eq!((refused.status, text(&refused, "error").as_str()), (400, "invalid_grant"));
    assert_eq!(sim.api(&grant.access_token).await.status, 401);
    assert_eq!(sim.api(&other.access_token).await.status, 200);
    sim.simulator.set_user("generic", "shop-1", User::Enabled);
    assert_eq!(sim.api(&grant.access_token).await.status, 200);
    assert_eq!(sim.refresh(&grant.refresh_token).await.status, 200);
}

#[tokio::test]
async fn a_server_that_refuses_everybody_ends_nothing() {
    let sim = started(|policy| policy.refuses_everybody = true).await;
    let grant = sim.connect("shop-1");
    assert_eq!(sim.refresh(&grant.refresh_token).await.status, 400);
    sim.simulator.change_policy("generic", |policy| policy.refuses_everybody = false);
    assert_eq!(sim.refresh(&grant.refresh_token).await.status, 200);
}

#[tokio::test]
async fn all_of_it_is_reached_over_http_too_and_mistakes_say_what_would_be_right() {
    let sim = start().await;
    let like =
        sim.control("policy", json!({ "marketplace": "generic", "like": "keycloak", "max_reuse": 2 })).await;
    let policy = &like.json()["policies"]["generic"];
    assert_eq!(
        (policy["max_reuse"].as_u64(), policy["refresh_end_member"].as_str()),
        (Some(2), Some("refresh_expires_in"))
    );
    assert_eq!(sim.simulator.policy("generic").unwrap().refused_as[&Cause::Disabled].status, 400);
    let unknown = sim.control("policy", json!({ "marketplace": "generic", "like": "okta" })).await;
    assert!(unknown.status == 400 && unknown.body.contains("keycloak"), "{}", unknown.body);
    for seller in ["shop-1", "shop-2"] {
        let wanted =
            json!({ "marketplace": "generic", "client_id": "any-1", "seller": seller, "session": "browser" });
        assert_eq!(sim.control("grants", wanted).await.status, 200);
    }
    let user = json!({ "marketplace": "generic", "seller": "shop-1", "state": "disabled" });
    assert_eq!(sim.control("users", user).await.json()["users"][0]["state"], "disabled");
    let wrong = json!({ "marketplace": "generic", "seller": "shop-1", "state": "asleep" });
    assert!(sim.control("users", wrong).await.body.contains("`broken`"));
    let whom = json!({ "marketplace": "generic", "seller": "shop-1" });
    assert_eq!(sim.control("end-sessions", whom).await.json()["ended"], 1);
    assert_eq!(
        (sim.ended("shop-1"), sim.ended("shop-2")),
        (Some(Ended::SessionEnded), Some(Ended::SessionEnded))
    );
    assert_eq!(sim.control("consent", json!({ "session": "browser" })).await.json()["session"], "browser");
    assert_eq!(sim.control("consent", json!({ "session": "" })).await.json()["session"], Value::Null);
    sim.simulator.reset();
    assert_eq!(sim.simulator.policy("generic").unwrap().max_reuse, None);
}
