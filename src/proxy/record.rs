//! What is counted and logged of a request: one count and one line for each, however it ends. A line about a request that
//! was answered is written when its answer has ended, so that it says whether the caller has got all of it.

use std::{
    cell::{Cell, OnceCell},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Instant,
};

use http::{Response, request::Parts};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Bytes;

use super::{body::ReplyBody, door::Door, route::Route, upstream::UpstreamError};
use crate::{grant::LiveAccount, http::problem::Problem, names::AccountId, telemetry::Rate};

/// What of a path is logged, in bytes.
const LONGEST_LOGGED: usize = 256;

/// The status that is counted and logged where the connection ended before there was an answer: nginx's.
const UNANSWERED: u16 = 499;

/// A request under way. Dropped before its answer was told of, it was given up.
pub(super) struct Record<'a> {
    door: &'a Door,
    head: &'a Parts,
    started: Instant,
    caller: Cell<Option<&'a str>>,
    route: OnceCell<Route<'a>>,
    is_told: Cell<bool>,
}

impl<'a> Record<'a> {
    pub(super) fn new(door: &'a Door, head: &'a Parts, started: Instant) -> Self {
        door.metrics.in_flight.inc();
        Self {
            door,
            head,
            started,
            caller: Cell::default(),
            route: OnceCell::new(),
            is_told: Cell::new(false),
        }
    }

    /// Whose key was shown.
    pub(super) fn is_of(&self, caller: Option<&'a str>) {
        self.caller.set(caller);
    }

    /// Where the request goes.
    pub(super) fn goes(&self, route: Route<'a>) -> &Route<'a> {
        self.route.get_or_init(|| route)
    }

    /// There is an answer to a request of this account, or to one of none.
    pub(super) fn answered(
        self,
        account: Option<Arc<LiveAccount>>,
        response: Response<ReplyBody>,
    ) -> Response<Recorded> {
        self.is_told.set(true);
        let status = response.status().as_u16();
        if let Some(live) = &account {
            live.answers().count(status, self.started.elapsed());
        }
        let line = self
            .door
            .access_log
            .then(|| Box::new(self.line(status, account.as_deref().map(LiveAccount::id))));
        response.map(|body| Recorded::new(body, line, account))
    }

    /// The request is answered by ourselves, with this problem.
    pub(super) fn refused(self, problem: &Problem) -> Response<Recorded> {
        self.is_told.set(true);
        let request_id = uuid::Uuid::new_v4().to_string();
        let code = problem.code;
        let status = code.status().as_u16();
        let about = problem.about.as_ref();
        self.door.metrics.refused(about.map(|about| &about.app), status, code.as_str());
        if let Some(unlogged) = self.admitted() {
            let (account, caller) = (about.map(tracing::field::display), self.caller.get());
            let (method, path, ms) = (&self.head.method, logged_path(self.head), self.ms());
            tracing::info!(request_id, code = code.as_str(), %method, path, account, caller, status, ms, unlogged,
                "refused: {}", problem.detail);
        }
        let response = problem.answer(&self.head.headers, &request_id);
        response.map(|own| Recorded::new(ReplyBody::Own(own), None, None))
    }

    /// Nobody is there any more to be answered.
    fn unanswered(&self) {
        let route = self.route.get();
        self.door.metrics.unanswered(route.map(|route| &route.app.name), UNANSWERED);
        if let Some(unlogged) = self.admitted() {
            let (app, account) = (route.map(|r| r.app.name.as_str()), route.and_then(|r| r.account.as_ref()));
            let account = account.map(tracing::field::display);
            let (method, path, caller, ms) =
                (&self.head.method, logged_path(self.head), self.caller.get(), self.ms());
            tracing::info!(%method, path, app, account, caller, status = UNANSWERED, ms, unlogged,
                "the connection ended before the answer; the marketplace may have carried the request out");
        }
    }

    /// Whether a line may be written that was not asked for by `proxy.access_log`, and how many were left out before it.
    fn admitted(&self) -> Option<Option<u64>> {
        if self.door.access_log {
            return Some(None);
        }
        let left_out = self.door.unasked_lines.admit(Instant::now())?;
        Some(Some(left_out).filter(|left_out| *left_out > 0))
    }

    fn ms(&self) -> u64 {
        self.started.elapsed().as_millis() as u64
    }

    fn line(&self, status: u16, account: Option<&AccountId>) -> Line {
        Line {
            method: self.head.method.to_string(),
            path: logged_path(self.head).to_owned(),
            account: account.map(ToString::to_string),
            caller: self.caller.get().map(str::to_owned),
            status,
            ms: self.ms(),
            started: self.started,
            bytes: 0,
            end: None,
        }
    }
}

impl Drop for Record<'_> {
    fn drop(&mut self) {
        self.door.metrics.in_flight.dec();
        // A defect is told where panics are.
        if !self.is_told.get() && !std::thread::panicking() {
            self.unanswered();
        }
    }
}

/// The gate let only visible ASCII through, so a path cannot forge a line. Query strings may hold secrets.
fn logged_path(head: &Parts) -> &str {
    let path = head.uri.path();
    path.get(..LONGEST_LOGGED).unwrap_or(path)
}

/// A line of the access log, written when it is dropped.
#[derive(Debug)]
struct Line {
    method: String,
    path: String,
    account: Option<String>,
    caller: Option<String>,
    status: u16,
    /// Until the answer's head.
    ms: u64,
    started: Instant,
    bytes: u64,
    /// How the answer's body ended; None: the connection ended before it.
    end: Option<&'static str>,
}

impl Drop for Line {
    fn drop(&mut self) {
        let (method, path, bytes) = (&*self.method, &*self.path, self.bytes);
        let (account, caller) = (self.account.as_deref(), self.caller.as_deref());
        let ended = self.end.unwrap_or("early");
        tracing::info!(target: "marketgate::access", method, path, account, caller, status = self.status, ms = self.ms,
            total_ms = self.started.elapsed().as_millis() as u64, bytes, ended, "request");
    }
}

/// An answer broke off whose head was passed on: whoever gets a part of it hears nothing of the reason.
fn log_broken(error: &UpstreamError, account: &AccountId) {
    static LINES: Rate = Rate::new();
    if let Some(left_out) = LINES.admit(Instant::now()) {
        let unlogged = Some(left_out).filter(|left_out| *left_out > 0);
        tracing::info!(%account, kind = error.proxy_status_error(), unlogged, "an answer broke off: {error}");
    }
}

/// An answer's body, with the line that is written when it has ended.
#[derive(Debug)]
pub struct Recorded {
    body: ReplyBody,
    line: Option<Box<Line>>,
    /// Whose answer it is, if the marketplace gave it.
    account: Option<Arc<LiveAccount>>,
}

impl Recorded {
    fn new(body: ReplyBody, line: Option<Box<Line>>, account: Option<Arc<LiveAccount>>) -> Self {
        let mut recorded = Self { body, line, account };
        recorded.look_for_end();
        recorded
    }

    fn look_for_end(&mut self) {
        if let Some(line) = &mut self.line {
            // Where the length is known, nobody asks for more once that much was taken.
            let is_whole = self.body.is_end_stream() || self.body.size_hint().exact() == Some(0);
            line.end = is_whole.then_some("whole");
        }
    }
}

impl Body for Recorded {
    type Data = Bytes;
    type Error = UpstreamError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, UpstreamError>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        if let Some(line) = &mut self.line {
            match &frame {
                Some(Ok(frame)) => line.bytes += frame.data_ref().map_or(0, |data| data.len() as u64),
                Some(Err(_)) => line.end = Some("broken off"),
                None => line.end = Some("whole"),
            }
            if matches!(frame, Some(Ok(_))) {
                self.look_for_end();
            }
        }
        if let Some(Err(error)) = &frame
            && let Some(live) = self.account.take()
        {
            log_broken(error, live.id());
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
