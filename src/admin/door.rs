//! The admin door's answers. The one rule: ready means able to serve, never "another company is well".

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::Incoming;
use serde::Serialize;
use tokio::sync::Semaphore;

use crate::{
    accounts::{AccountsError, error::Refusal, list::Query},
    http::problem::{Code, Problem},
    names::{AccountId, AccountName, AppName, NameError},
    proxy::{Door, guard::host_name},
};

/// The longest a client may have the door wait for a token.
const LONGEST_WAIT: Duration = Duration::from_secs(300);

/// How many may wait for a token at once.
const MOST_WAITS: usize = 16;

/// What the admin door knows.
pub struct AdminDoor {
    door: Arc<Door>,
    draining: AtomicBool,
    /// Room for those who wait for a token: probes must not find the door taken.
    waits: Semaphore,
}

impl AdminDoor {
    /// An admin door beside a proxy door.
    pub fn new(door: Arc<Door>) -> Self {
        Self { door, draining: AtomicBool::new(false), waits: Semaphore::new(MOST_WAITS) }
    }

    /// From now on not ready.
    pub fn start_draining(&self) {
        self.draining.store(true, Relaxed);
    }

    /// Answers one request.
    pub async fn answer(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let outcome = self.route(&request).await;
        outcome.unwrap_or_else(|problem| problem.answer(request.headers(), &uuid::Uuid::new_v4().to_string()))
    }

    async fn route(&self, request: &Request<Incoming>) -> Result<Response<Full<Bytes>>, Problem> {
        let path = request.uri().path();
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            return Err(method_refused());
        }
        // Probes and scrapers call by address, so these are exempt from the Host check; they tell nothing worth stealing.
        match path {
            "/livez" => return Ok(text(StatusCode::OK, "ok\n")),
            "/readyz" => return Ok(self.ready()),
            "/metrics" => return Ok(self.metrics()),
            _ => same_origin(request)?,
        }
        match path {
            "/" => Ok(text(StatusCode::OK, INDEX)),
            "/api/accounts" => self.accounts(request.uri().query().unwrap_or_default()).await,
            _ => match path.strip_prefix("/api/accounts/").and_then(|rest| rest.split_once('/')) {
                Some((app, account)) => {
                    self.account(app, account, request.uri().query().unwrap_or_default()).await
                }
                None => Err(no_such_path(path)),
            },
        }
    }

    fn ready(&self) -> Response<Full<Bytes>> {
        if self.draining.load(Relaxed) {
            text(StatusCode::SERVICE_UNAVAILABLE, "draining\n")
        } else {
            text(StatusCode::OK, "ready\n")
        }
    }

    fn metrics(&self) -> Response<Full<Bytes>> {
        for (endpoint, load) in self.door.accounts.live().meters() {
            self.door.metrics.meter(&endpoint, load.used, load.calls, load.waiting);
        }
        let expiries = self.door.accounts.live().expiries();
        self.door.metrics.token_expiries(expiries.iter().map(|(id, at)| (id, *at)));
        let body = self.door.metrics.text();
        respond(StatusCode::OK, "application/openmetrics-text; version=1.0.0; charset=utf-8", body)
    }

    async fn accounts(&self, query: &str) -> Result<Response<Full<Bytes>>, Problem> {
        let mut asked = Query { limit: 1000, ..Query::default() };
        for (key, value) in url::form_urlencoded::parse(query.as_bytes()) {
            match key.as_ref() {
                "app" => asked.app = Some(name(&value)?),
                "state" => asked.state = Some(value.into_owned()),
                "after" => asked.after = Some(place(&value)?),
                "limit" => asked.limit = whole_number(&value, 1, 10_000)?,
                other => return Err(unknown_parameter(other, "app, state, after, limit")),
            }
        }
        Ok(json(&self.door.accounts.page(&asked).await.map_err(refused)?))
    }

    async fn account(&self, app: &str, account: &str, query: &str) -> Result<Response<Full<Bytes>>, Problem> {
        let id = AccountId { app: name(app)?, account: name(account)? };
        let mut wait = Duration::ZERO;
        for (key, value) in url::form_urlencoded::parse(query.as_bytes()) {
            match key.as_ref() {
                "wait" => {
                    let seconds = whole_number(&value, 0, LONGEST_WAIT.as_secs() as usize)?;
                    wait = Duration::from_secs(seconds as u64);
                }
                other => return Err(unknown_parameter(other, "wait")),
            }
        }
        if !wait.is_zero() {
            let _waiting = self.waits.try_acquire().map_err(|_| too_many_waits())?;
            // Whether a token came is told by the document.
            drop(self.door.accounts.token(&id, wait).await);
        }
        Ok(json(&self.door.accounts.show(&id).await.map_err(refused)?))
    }
}

const INDEX: &str = "Marketgate, admin door

/livez                       is the process alive
/readyz                      can it serve
/metrics                     OpenMetrics
/api/accounts                accounts and their tokens (?app= &state= &after= &limit=)
/api/accounts/APP/ACCOUNT    one account (?wait=SECONDS waits for a valid token)
";

/// A page must not read what accounts there are, whatever name it found for this address.
fn same_origin(request: &Request<Incoming>) -> Result<(), Problem> {
    let headers = request.headers();
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).and_then(host_name);
    if !host.is_some_and(|host| matches!(host.as_str(), "localhost" | "127.0.0.1" | "::1")) {
        let action = "call by localhost, 127.0.0.1 or [::1]";
        return Err(Problem::new(
            Code::HostRefused,
            "the Host of this request is not the admin door's",
            action,
        ));
    }
    let site = headers.get("sec-fetch-site").map_or(&b"none"[..], HeaderValue::as_bytes);
    if headers.contains_key(header::ORIGIN) || !matches!(site, b"none" | b"same-origin") {
        let action = "open the admin door itself, or call it from a program";
        return Err(Problem::new(Code::BrowserRefused, "another page caused this request", action));
    }
    Ok(())
}

fn method_refused() -> Problem {
    Problem::new(Code::NotAllowed, "the admin door answers GET only", "use GET")
}

fn too_many_waits() -> Problem {
    Problem::new(Code::Overloaded, "too many wait for a token already", "ask again")
        .retry_after(Duration::from_secs(1))
}

fn no_such_path(path: &str) -> Problem {
    Problem::new(Code::BadRequest, format!("the admin door has no {path:?}"), "GET / lists what there is")
}

fn name<N: std::str::FromStr<Err = NameError>>(text: &str) -> Result<N, Problem> {
    text.parse().map_err(|error: NameError| {
        Problem::new(Code::BadRequest, format!("{text:?}: {error}"), "GET /api/accounts lists what there is")
    })
}

fn refused(error: AccountsError) -> Problem {
    let code = match (error.refusal, error.code) {
        (_, "no_such_app") => Code::NoSuchApp,
        (_, "no_such_account") => Code::NoSuchAccount,
        (Refusal::Store, _) => Code::TokenUnavailable,
        _ => Code::BadRequest,
    };
    Problem::new(code, error.detail, error.action)
}

fn unknown_parameter(name: &str, known: &str) -> Problem {
    Problem::new(Code::BadRequest, format!("unknown parameter {name:?}"), format!("known are: {known}"))
}

fn place(text: &str) -> Result<(AppName, AccountName), Problem> {
    let pair =
        text.split_once('@').and_then(|(app, account)| Some((app.parse().ok()?, account.parse().ok()?)));
    pair.ok_or_else(|| {
        Problem::new(Code::BadRequest, format!("{text:?} is no place in the list"), "write APP@ACCOUNT")
    })
}

fn whole_number(text: &str, least: usize, most: usize) -> Result<usize, Problem> {
    let number = text.parse().ok().filter(|n| (least..=most).contains(n));
    number.ok_or_else(|| {
        Problem::new(
            Code::BadRequest,
            format!("{text:?} is out of range"),
            format!("write {least} to {most}"),
        )
    })
}

fn text(status: StatusCode, body: &'static str) -> Response<Full<Bytes>> {
    respond(status, "text/plain; charset=utf-8", body.to_owned())
}

fn json(document: &impl Serialize) -> Response<Full<Bytes>> {
    // Strings, numbers and lists of them always serialise.
    let body = serde_json::to_string_pretty(document).unwrap_or_default() + "\n";
    respond(StatusCode::OK, "application/json", body)
}

fn respond(status: StatusCode, content_type: &'static str, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response.headers_mut().insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}
