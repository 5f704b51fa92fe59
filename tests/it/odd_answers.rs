//! Token answers that are whole but odd, broken, encoded, misframed or empty, through the whole program: relay, keeper, store.
//!
//! Each row of the table is one seller. The seller's second token call is granted by a real (simulated) server, and what that
//! server said is then put into the row's words. Whatever these are: a successor that was in them is kept and used next, no
//! older refresh token is shown after it, and where there was none in them the calls stay few.

mod relay;
mod reply;
mod rows;

use std::{rc::Rc, sync::Arc, time::Duration};

use marketgate::{
    accounts::import::{ImportOptions, NewGrant},
    names::{AccountId, AccountRef},
    sim::{Connect, Family, Simulator, fingerprint},
    store::{Grant, Stored},
};
use serde_json::{Value, json};
use tokio::{sync::Semaphore, task::JoinSet};

use crate::{
    certificates::{Authority, Leaf},
    harness::{Time, World, gate, settle},
    wire::soon,
};
use relay::{Relay, Seen};
use rows::{Row, Sees, rows};

/// How the server treats a refresh token that is shown again.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Server {
    /// It ends the grant.
    Strict,
    /// It counts: the second use ends the grant and its access token. The app says that there is no window.
    Counting,
    /// It forgives for ten seconds.
    Grace,
}

#[test]
fn a_successor_in_an_odd_answer_is_kept_whatever_the_answer_looks_like_at_a_strict_server() {
    table(Server::Strict);
}

#[test]
fn a_successor_in_an_odd_answer_is_kept_whatever_the_answer_looks_like_at_a_server_that_counts_uses() {
    table(Server::Counting);
}

#[test]
fn a_successor_in_an_odd_answer_is_kept_whatever_the_answer_looks_like_at_a_server_with_a_grace_period() {
    table(Server::Grace);
}

/// Accounts at work at the same time.
const AT_ONCE: usize = 24;

fn table(server: Server) {
    let table: Arc<Vec<Row>> = Arc::new(rows());
    assert!(table.len() >= 150, "{} rows", table.len());
    let authority = Authority::new();
    let folder = tempfile::tempdir().unwrap();
    let ca_file = folder.path().join("ca.pem");
    std::fs::write(&ca_file, &authority.pem).unwrap();
    let (plain, secured, market) = (socket(), socket(), socket());
    let address = |socket: &std::net::TcpListener| socket.local_addr().unwrap();
    let market_address = address(&market);
    let mut text = format!("[upstream]\nca_file = \"{}\"\n", ca_file.display());
    for (number, row) in table.iter().enumerate() {
        let port = address(if row.over_tls { &secured } else { &plain }).port();
        text += &app(server, number, row.over_tls, port, market_address.port());
    }
    let tls = authority.server(Leaf::Good, &["http/1.1"]);
    gate(Time::Runs, &text, |w| async move {
        let simulator = serve_market(server, market);
        let relay = Relay::new(table.clone(), market_address);
        relay.serve(plain, None);
        relay.serve(secured, Some(tls));
        let (mut cases, places) = (JoinSet::new(), Arc::new(Semaphore::new(AT_ONCE)));
        for number in 0..table.len() {
            let (w, relay, simulator, places) = (w.clone(), relay.clone(), simulator.clone(), places.clone());
            cases.spawn_local(async move {
                let _place = places.acquire().await.unwrap();
                let case = Case { w, relay, simulator, server, number };
                soon("a verdict", case.verdict()).await
            });
        }
        let mut wrong: Vec<String> = Vec::new();
        while let Some(verdict) = cases.join_next().await {
            wrong.extend(verdict.unwrap());
        }
        wrong.sort();
        assert!(wrong.is_empty(), "{} of {} rows:\n{}", wrong.len(), table.len(), wrong.join("\n"));
    });
}

fn socket() -> std::net::TcpListener {
    let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    socket.set_nonblocking(true).unwrap();
    socket
}

fn serve_market(server: Server, socket: std::net::TcpListener) -> Simulator {
    let simulator = Simulator::new(3);
    simulator.change_policy("generic", |policy| match server {
        Server::Strict => {}
        Server::Counting => policy.max_reuse = Some(0),
        Server::Grace => policy.grace_seconds = 10,
    });
    let listener = tokio::net::TcpListener::from_std(socket).unwrap();
    tokio::spawn(simulator.clone().serve(listener, std::future::pending()));
    simulator
}

/// An app for each row, with a token endpoint of its own: what one row does to an endpoint is no other row's business.
fn app(server: Server, number: usize, over_tls: bool, port: u16, market: u16) -> String {
    let scheme = if over_tls { "https" } else { "http" };
    let window = if server == Server::Counting { "reuse_window = \"0s\"\n" } else { "" };
    format!(
        "[apps.row-{number}]\nprovider = \"generic\"\ngrant = \"authorization_code\"\n\
         api = \"http://127.0.0.1:{market}/generic/api\"\n\
         token_url = \"{scheme}://localhost:{port}/{number}/generic/oauth/token\"\n\
         authorize_url = \"http://127.0.0.1:{market}/generic/oauth/authorize\"\n\
         client_id = \"any-1\"\nclient_secret = \"any-1-secret\"\n{window}"
    )
}

/// One row at work.
struct Case {
    w: Rc<World>,
    relay: Relay,
    simulator: Simulator,
    server: Server,
    number: usize,
}

impl Case {
    fn seller(&self) -> String {
        format!("seller-{}", self.number)
    }

    fn id(&self) -> AccountId {
        let AccountRef { app, account } = format!("row-{}@shop", self.number).parse().unwrap();
        AccountId { app, account: account.unwrap() }
    }

    fn family(&self) -> Family {
        let seller = self.seller();
        self.simulator.families().into_iter().find(|family| family.seller == seller).unwrap()
    }

    fn seen(&self) -> Seen {
        self.relay.seen(self.number)
    }

    /// Has the token refreshed; what the account then says of itself.
    async fn refresh(&self) -> Value {
        let told = self.w.service.refresh(&self.id(), Duration::from_secs(10)).await.unwrap();
        settle().await;
        serde_json::to_value(told).unwrap()
    }

    /// Whether a request is served, as this seller.
    async fn serves(&self) -> bool {
        let answer = self.w.get(&format!("/row-{}@shop/x", self.number)).await;
        answer.status == 200 && answer.json()["account"] == json!(self.seller())
    }

    async fn holds_the_newest(&self) -> bool {
        let stored = self.w.service.store().unwrap().account(&self.id()).await.unwrap();
        let Some(Stored::Whole(record)) = stored else { return false };
        let Some(Grant::Refresh { token, .. }) = &record.grant else { return false };
        fingerprint(token.expose()) == self.family().refresh_token
    }

    /// What is wrong with the row, if anything.
    async fn verdict(&self) -> Option<String> {
        let name = &self.relay.row(self.number).name;
        self.play().await.err().map(|wrong| {
            let seen = self.seen();
            format!("{name}: {wrong} ({} calls, {:?})", seen.calls, self.family().ended)
        })
    }

    async fn play(&self) -> Result<(), String> {
        let grant = self.simulator.connect(Connect::new("generic", "any-1", &self.seller()));
        let members = json!({ "refresh_token": grant.refresh_token });
        let app = &self.w.settings.apps[&self.id().app];
        let new = NewGrant::read(app, members.as_object().unwrap()).unwrap();
        self.w.service.import(&self.id(), new, ImportOptions::default()).await.unwrap();
        if !self.serves().await {
            return Err("not served by its first token".to_owned());
        }
        let before = self.seen().calls;
        self.relay.arm(self.number);
        let told = self.refresh().await;
        let calls = self.seen().calls - before;
        if self.seen().successor { self.kept(calls).await } else { self.bore_it(calls, &told).await }
    }

    /// There was a successor in the answer.
    async fn kept(&self, calls: usize) -> Result<(), String> {
        demand(calls <= 2, || format!("{calls} calls for one refresh"))?;
        demand(self.seen().outdated == 0, || "an older token was shown after its successor".to_owned())?;
        demand(self.family().ended.is_none(), || "the family was ended".to_owned())?;
        demand(self.holds_the_newest().await, || "the successor is not in the store".to_owned())?;
        demand(self.serves().await, || "not served afterwards".to_owned())?;
        let told = self.refresh().await;
        demand(told["state"] == "ready", || format!("not ready after the next refresh: {told}"))?;
        let calls = calls + 1;
        demand(self.family().shown_again == 0, || format!("a token was shown twice in {calls} calls"))?;
        demand(self.serves().await && self.holds_the_newest().await, || "not whole at the end".to_owned())
    }

    /// There was none: it may be asked for again, where and as often as the server bears it.
    async fn bore_it(&self, calls: usize, told: &Value) -> Result<(), String> {
        let (state, reason) = (told["state"].as_str().unwrap(), told["reason"].as_str());
        let (family, lies) = (self.family(), self.relay.row(self.number).sees == Sees::Refusal);
        match self.server {
            // The access token lives: there is no reason to show the refresh token again, and every reason not to.
            Server::Counting => {
                demand(calls == 1, || format!("{calls} calls while the access token lives"))?;
                demand(family.ended.is_none(), || "the session was ended".to_owned())?;
                demand(lies || self.serves().await, || "not served by the token that lives".to_owned())
            }
            Server::Strict | Server::Grace => {
                demand(calls <= 2, || format!("{calls} calls for one refresh"))?;
                let lost = ("login_required", Some("rotation_response_lost"));
                let ended = family.ended.is_some();
                demand(!ended || self.server == Server::Strict, || "the family was ended".to_owned())?;
                demand(!ended || (state, reason) == lost, || {
                    format!("lost, and said as {state} {reason:?}")
                })?;
                demand(lies || ended || self.serves().await, || format!("not served, {state} {reason:?}"))?;
                let healed = self.server == Server::Grace && calls == 2;
                demand(!healed || self.holds_the_newest().await, || "the repetition was not kept".to_owned())
            }
        }
    }
}

fn demand(holds: bool, words: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(words()) }
}
