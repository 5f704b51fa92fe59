//! The way of a request through the admin door. The one rule: what changes something goes on to its end though the client
//! hangs up, and the program waits for that before it ends.

use std::{
    fmt::Write,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    time::Duration,
};

use http::{HeaderValue, Method, Request, header, request::Parts};
use hyper::body::Incoming;
use tokio::sync::Semaphore;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    access::{Access, Entrance, Visitor},
    answer::Answer,
    body,
    call::Call,
    health::Readiness,
    liveness::Liveness,
    refusal::{bad_request, draining},
    router::{self, Found, Route},
    stop::{self, AskToStop},
};
use crate::{
    config::settings::AdminSettings,
    http::{
        problem::{Code, Problem},
        socket::Peer,
    },
    proxy::Door,
};

/// How many may wait for something at once: probes must not find the door taken.
const MOST_WAITS: usize = 64;

/// What the admin door and the control socket know.
pub struct AdminDoor {
    door: Arc<Door>,
    access: Access,
    leaving: AtomicBool,
    draining: CancellationToken,
    waits: Semaphore,
    changes: TaskTracker,
    readiness: Readiness,
    liveness: Arc<Liveness>,
    stop: Option<AskToStop>,
}

impl AdminDoor {
    /// An admin door beside a proxy door with these workers. Without `stop` nobody can end the program here.
    pub fn new(
        door: Arc<Door>,
        settings: &AdminSettings,
        liveness: Arc<Liveness>,
        stop: Option<AskToStop>,
    ) -> Self {
        Self {
            door,
            access: Access::new(settings.keys.clone()),
            leaving: AtomicBool::new(false),
            draining: CancellationToken::new(),
            waits: Semaphore::new(MOST_WAITS),
            changes: TaskTracker::new(),
            readiness: Readiness::default(),
            liveness,
            stop,
        }
    }

    /// From now on not ready.
    pub fn start_leaving(&self) {
        self.leaving.store(true, SeqCst);
    }

    /// From now on not ready, and nothing is changed any more.
    pub fn start_draining(&self) {
        self.start_leaving();
        self.draining.cancel();
        self.changes.close();
    }

    /// Waits for the changes under way, at most so long.
    pub async fn finish(&self, grace: Duration) {
        if tokio::time::timeout(grace, self.changes.wait()).await.is_err() {
            tracing::warn!("a change to accounts was still under way at the end");
        }
    }

    /// Answers one request to the admin door.
    pub async fn answer(self: Arc<Self>, request: Request<Incoming>) -> Answer {
        let (head, body) = request.into_parts();
        match self.door.callbacks.visit(&head) {
            Some(visit) => self.door.callbacks.answer(visit, body).await,
            None => self.respond(Entrance::Door, &head, body).await,
        }
    }

    /// Answers one request to the control socket.
    pub async fn answer_command(self: Arc<Self>, request: Request<Incoming>, peer: Peer) -> Answer {
        let (head, body) = request.into_parts();
        self.respond(Entrance::Control(peer), &head, body).await
    }

    pub(super) fn door(&self) -> &Arc<Door> {
        &self.door
    }

    pub(super) fn is_leaving(&self) -> bool {
        self.leaving.load(SeqCst)
    }

    pub(super) fn draining(&self) -> &CancellationToken {
        &self.draining
    }

    pub(super) fn waits(&self) -> &Semaphore {
        &self.waits
    }

    pub(super) fn readiness(&self) -> &Readiness {
        &self.readiness
    }

    pub(super) fn asks_to_stop(&self) -> Option<&AskToStop> {
        self.stop.as_ref()
    }

    pub(super) fn liveness(&self) -> &Liveness {
        &self.liveness
    }

    async fn respond(self: &Arc<Self>, entrance: Entrance, head: &Parts, body: Incoming) -> Answer {
        let (route, captures) = match router::find(&head.method, head.uri.path()) {
            Found::Route(route, captures) => (route, captures),
            Found::OtherMethods(methods) => return other_methods(head, &methods),
            Found::Nothing => return refuse(head, &no_such_path(head.uri.path())),
        };
        let outcome = self.run(entrance, head, body, route, captures).await;
        outcome.unwrap_or_else(|problem| refuse(head, &problem))
    }

    async fn run(
        self: &Arc<Self>,
        entrance: Entrance,
        head: &Parts,
        body: Incoming,
        route: &'static Route,
        captures: Vec<String>,
    ) -> Result<Answer, Problem> {
        let visitor = self.access.admit(entrance, route.needs, &head.headers)?;
        let changes = route.method != Method::GET;
        if changes && self.draining.is_cancelled() && route.path != stop::PATH {
            return Err(draining());
        }
        let body = body::read(route.body, &head.headers, body).await?;
        let by_command = matches!(entrance, Entrance::Control(_));
        let query = head.uri.query().unwrap_or_default().to_owned();
        let accept = head.headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok());
        let accept = accept.unwrap_or_default().to_owned();
        let work = (route.answer)(Call { admin: self.clone(), captures, query, accept, body, by_command });
        if !changes {
            return work.await;
        }
        let outcome = self.changes.spawn(work).await.map_err(|_| broke_down())?;
        log(head, &visitor, &outcome);
        outcome
    }
}

/// Who did what; neither query nor body, which may hold secrets.
fn log(head: &Parts, visitor: &Visitor, outcome: &Result<Answer, Problem>) {
    let (method, path) = (&head.method, head.uri.path());
    match outcome {
        Ok(answer) => tracing::info!(%method, path, by = %visitor, status = answer.status().as_u16(), "done"),
        Err(problem) => {
            tracing::info!(%method, path, by = %visitor, code = problem.code.as_str(), "refused: {}", problem.detail);
        }
    }
}

fn refuse(head: &Parts, problem: &Problem) -> Answer {
    problem.answer(&head.headers, &uuid::Uuid::new_v4().to_string())
}

fn other_methods(head: &Parts, methods: &[&'static Method]) -> Answer {
    let mut allowed = String::new();
    for method in methods {
        // Writing to a String cannot fail.
        let _ = write!(allowed, "{}{method}", if allowed.is_empty() { "" } else { ", " });
    }
    let detail = format!("{} takes {allowed}, not {}", head.uri.path(), head.method);
    let code = Code::Own { word: "wrong_method", status: http::StatusCode::METHOD_NOT_ALLOWED };
    let mut answer = refuse(head, &Problem::new(code, detail, format!("use {allowed}")));
    // RFC 9110 §15.5.6: a 405 says what is allowed.
    if let Ok(allowed) = HeaderValue::from_str(&allowed) {
        answer.headers_mut().insert(header::ALLOW, allowed);
    }
    answer
}

fn no_such_path(path: &str) -> Problem {
    bad_request(format!("the admin door has no {path:?}"), "GET / lists what there is")
}

fn broke_down() -> Problem {
    Problem::new(
        Code::Internal,
        "the request failed half-way",
        "look at the log, and at the account, before repeating it",
    )
}
