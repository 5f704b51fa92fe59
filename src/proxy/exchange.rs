//! One request and its answer, told in order. The one rule: nothing goes upstream before everything that could refuse it
//! has spoken, and never without a valid credential.

use std::{cell::RefCell, rc::Rc, sync::Arc, time::Instant};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, header, request::Parts};
use http_body_util::Full;
use hyper::body::{Body, Incoming};

use super::{
    body::{self, Kept, ReplyBody, RequestBody},
    door::Worker,
    expiry::{self, Verdict},
    explanation::{Explanation, Leg},
    guard::Admitted,
    headers,
    location::WayBack,
    outgoing::{Outgoing, repeatable, untokened},
    placeholder,
    record::{Record, Recorded},
    refusal::{about, no_token, too_large, upstream_failed},
    reply,
    route::{self, Route},
    shortlist::Way,
    upstream::{Cause, Reply, SendFailure},
};
use crate::{
    accounts::Changes,
    grant::{Credential, LiveAccount, Replacement},
    http::{
        absolute::{AbsoluteForm, no_forward_proxy},
        callback::read_form,
        problem::{Code, Problem, proxy_status},
    },
};

/// How often a request may be repeated with another token.
const REPETITIONS: usize = 2;

impl Worker {
    /// Answers one request.
    pub fn answer(self: Rc<Self>, request: Request<Incoming>) -> impl Future<Output = Response<Recorded>> {
        let started = Instant::now();
        // Taken apart outside of the future, which would else have room for the request twice.
        let (head, body) = request.into_parts();
        async move { self.answer_to(&head, body, started).await }
    }

    async fn answer_to(&self, head: &Parts, body: Incoming, started: Instant) -> Response<Recorded> {
        let record = Record::new(&self.door, head, started);
        if let Some(visit) = self.door.callbacks.visit(head) {
            // Boxed, as is whatever else is rare: its states would make every request's future large.
            let response = Box::pin(self.door.callbacks.answer(visit, body)).await;
            return record.answered(None, response.map(ReplyBody::Own));
        }
        let outcome = self.exchange(&record, head, body, started).await;
        let mut response = match outcome {
            Ok((account, response)) => record.answered(account, response),
            Err(problem) => record.refused(&problem),
        };
        if let Some(origin) = self.door.guard.allowed_origin(&head.headers) {
            headers::allow_origin(response.headers_mut(), &origin);
        }
        response
    }

    async fn exchange<'a>(
        &'a self,
        record: &Record<'a>,
        head: &'a Parts,
        body: Incoming,
        started: Instant,
    ) -> Result<(Option<Arc<LiveAccount>>, Response<ReplyBody>), Problem> {
        // What is wrong with it is told to those only who are let in.
        let route = route::find(self.door.accounts.apps(), self.fixed.as_deref(), &head.uri, &head.headers);
        let app = route.as_ref().ok().map(|route| route.app);
        let token_header = app.map(|app| &app.profile.token_header);
        let admitted = self.door.guard.admit(&head.method, &head.headers, token_header);
        let admitted = admitted.map_err(|p| self.advise(head, p));
        if let Err(problem) = &admitted
            && problem.code == Code::CallerUnknown
        {
            let answer = match &route {
                Ok(route) => Box::pin(self.token_for_secret(head, route, body)).await,
                Err(_) => None,
            };
            return Ok((None, answer.ok_or_else(|| problem.clone())?.map(ReplyBody::Own)));
        }
        let Admitted::Request(caller) = admitted? else {
            return Ok((None, preflight(&head.headers)));
        };
        record.is_of(caller.map(|caller| caller.name.as_str()));
        let caller = caller.map_or(0, |caller| caller.number);
        let route = record.goes(route.map_err(|p| self.advise(head, p))?);
        let mut way = self.way(route, caller, started).await?;
        if placeholder::is_asked_for(route, &head.method) {
            let key = self.door.guard.key_shown(&head.headers, &route.app.profile.token_header);
            let token = key.as_deref().unwrap_or(placeholder::TOKEN);
            return Ok((None, placeholder::answer(route, &head.headers, token).map(ReplyBody::Own)));
        }
        self.check_length(&head.headers)?;
        let uploads = way.live.refresh_ends_token() && !self.can_keep(&head.headers, &body);
        let credential = match way.live.borrow_token().filter(|_| !uploads) {
            Some(credential) => credential,
            None => Box::pin(self.credential(route, &mut way, uploads, started)).await?,
        };
        let _upload = if uploads { way.live.upload() } else { None };
        let explanation = Explanation::asked(&head.headers, started);
        let outgoing = Outgoing::new(head, route, &way, &explanation)?;
        let mut response =
            self.forward(&outgoing, body, credential).await.map_err(|p| about(p, &way.live))?;
        let way_back = || WayBack::of(head, route.app.api(), route.prefix, route.rest);
        WayBack::map_all(response.headers_mut(), way_back);
        explanation.write(way.live.id(), response.headers_mut());
        name_dropped(&head.headers, response.headers_mut());
        Ok((Some(way.live), response))
    }

    /// The answer to a token request whose client shows a caller's key as its secret, in the body and nowhere else.
    async fn token_for_secret(
        &self,
        head: &Parts,
        route: &Route<'_>,
        body: Incoming,
    ) -> Option<Response<Full<Bytes>>> {
        if !placeholder::is_asked_for(route, &head.method) {
            return None;
        }
        let form = read_form(body).await.ok()?;
        let secret = placeholder::secret_in(&form).filter(|secret| self.door.guard.is_key(secret))?;
        Some(placeholder::answer(route, &head.headers, &secret))
    }

    /// A refusal with what fits the one who sent this.
    fn advise(&self, head: &Parts, problem: Problem) -> Problem {
        let is_for_another = matches!(problem.code, Code::HostRefused | Code::NoSuchApp);
        let is_absolute = head.extensions.get::<AbsoluteForm>().is_some();
        if is_for_another && is_absolute && !self.door.guard.is_own_host(&head.headers) {
            return no_forward_proxy(&head.headers);
        }
        self.door.callbacks.advise(head, problem)
    }

    /// The account, and the connections its requests go out on for this caller.
    async fn way(&self, route: &Route<'_>, caller: u32, now: Instant) -> Result<Way, Problem> {
        let as_of = self.door.accounts.changes();
        // Nearly every request finds its account without waiting.
        let way = match self.shortlist.find(route.app, route.account.as_ref(), as_of, now) {
            Some(way) => way,
            None => Box::pin(self.look_up(route, as_of, now)).await?,
        };
        Ok(Way { lane: way.lane.for_caller(caller), ..way })
    }

    async fn look_up(&self, route: &Route<'_>, as_of: Changes, now: Instant) -> Result<Way, Problem> {
        let (app, name) = (route.app, route.account.as_ref());
        let wait = self.door.timeouts.token_wait;
        let found = tokio::time::timeout(wait, self.door.accounts.find(app, name)).await;
        let found = found.map_err(|_| route::not_found_in_time(app, name, wait))?;
        let live = found.map_err(|missing| route::missing(app, name, missing))?;
        let lane = self.pool.lane(live.app().api(), live.id());
        let way = Way { live, lane };
        self.shortlist.note(app, name, &way, as_of, now);
        Ok(way)
    }

    /// A valid token. An account that is changed while its token is waited for is found anew.
    async fn credential(
        &self,
        route: &Route<'_>,
        way: &mut Way,
        uploads: bool,
        started: Instant,
    ) -> Result<Arc<Credential>, Problem> {
        loop {
            let left = self.door.timeouts.token_wait.saturating_sub(started.elapsed());
            let token = match uploads {
                true => way.live.token_for_upload(left).await,
                false => way.live.token(left).await,
            };
            match token {
                Ok(credential) => return Ok(credential),
                Err(unavailable) if unavailable.changed && !left.is_zero() => {
                    *way = self.way(route, way.lane.caller(), Instant::now()).await?;
                }
                Err(unavailable) => return Err(no_token(&way.live, unavailable)),
            }
        }
    }

    /// Whether the body will be whole in memory, so that the request can be repeated.
    fn can_keep(&self, headers: &HeaderMap, body: &Incoming) -> bool {
        let length = headers.get(header::CONTENT_LENGTH).and_then(|v| v.to_str().ok()?.parse::<u64>().ok());
        body.is_end_stream() || length.is_some_and(|length| length <= self.door.replay_body as u64)
    }

    fn check_length(&self, headers: &HeaderMap) -> Result<(), Problem> {
        let length: Option<u64> =
            headers.get(header::CONTENT_LENGTH).and_then(|v| v.to_str().ok()).and_then(|v| v.parse().ok());
        match (length, self.door.body_limit) {
            (Some(length), Some(most)) if length > most => Err(too_large()),
            _ => Ok(()),
        }
    }

    /// Sends, and once more with a fresh token if the marketplace refused this one and the body is still at hand.
    async fn forward(
        &self,
        outgoing: &Outgoing<'_>,
        body: Incoming,
        credential: Arc<Credential>,
    ) -> Result<Response<ReplyBody>, Problem> {
        let (body, kept) = RequestBody::stream(body, self.door.replay_body, self.door.body_limit);
        match self.send(outgoing, body, &credential, &kept).await? {
            (false, response) => Ok(response),
            (true, response) => Box::pin(self.replay(outgoing, response, credential, &kept)).await,
        }
    }

    /// Repeats a request that the marketplace refused, as long as there is a better token for it. One repetition may have
    /// caused a refresh; a second one happens only if that token was replaced meanwhile as well.
    async fn replay(
        &self,
        outgoing: &Outgoing<'_>,
        mut response: Response<ReplyBody>,
        mut credential: Arc<Credential>,
        kept: &Rc<RefCell<Kept>>,
    ) -> Result<Response<ReplyBody>, Problem> {
        let tried = credential.token.generation;
        for _ in 0..REPETITIONS {
            let whole = kept.borrow().whole().filter(|_| outgoing.may_repeat());
            let wait = self.door.timeouts.token_wait;
            let replacement = match whole {
                Some(_) => {
                    let named = expiry::names_invalid_token(response.headers());
                    outgoing.live.replace_refused(&credential, tried, named, wait).await
                }
                None => outgoing.live.note_refused(&credential),
            };
            let better = match replacement {
                Replacement::Repeat(better) => better,
                Replacement::Over(unavailable) => return Err(no_token(outgoing.live, unavailable)),
                Replacement::PassOn => break,
            };
            body::discard(response.into_body()).await;
            self.door.metrics.replayed(&outgoing.live.id().app);
            let whole = RequestBody::whole(whole.unwrap_or_default());
            let refused;
            (refused, response) = self.send(outgoing, whole, &better, kept).await?;
            if !refused {
                outgoing.live.note_accepted(&credential, &better);
                return Ok(response);
            }
            credential = better;
        }
        Ok(self.pass_on_refusal(response, &credential, outgoing))
    }

    async fn send(
        &self,
        outgoing: &Outgoing<'_>,
        body: RequestBody,
        credential: &Credential,
        kept: &Rc<RefCell<Kept>>,
    ) -> Result<(bool, Response<ReplyBody>), Problem> {
        let ready = |headers: &mut HeaderMap| outgoing.keep_valid(headers, credential);
        let mut sent = outgoing.lane.send_when(outgoing.request(body, credential), ready).await;
        if let Err(failure) = &sent
            && let Some(whole) = repeatable(failure, &outgoing.head.method, kept)
        {
            let request = outgoing.request(RequestBody::whole(whole), credential);
            let lost = failure.error.cause().clone();
            sent = Box::pin(outgoing.lane.send_anew(&lost, request, ready)).await;
        }
        if let Some(request) = sent.as_mut().err().and_then(untokened) {
            sent = Box::pin(self.send_late(outgoing, request)).await?;
        }
        let explain = |failure: SendFailure<RequestBody>| {
            self.door.metrics.upstream_failed(failure.error.proxy_status_error());
            if let Cause::Overloaded { limit } = failure.error.cause() {
                self.door.metrics.overloaded(limit.label());
            }
            match kept.borrow().is_too_large() {
                true => too_large(),
                false => upstream_failed(&failure.error),
            }
        };
        let Reply { mut response, peer, protocol, reused } = sent.map_err(explain)?;
        outgoing.explanation.answered(|| {
            let token = &credential.token;
            let (token_age, token_generation) = (token.age(self.door.clock.now()), token.generation);
            Leg { token_age, token_generation, peer, protocol, reused }
        });
        headers::clean_reply(response.headers_mut());
        outgoing.cut_out(&mut response, credential);
        reply::confine(&mut response);
        match expiry::judge(response.status(), response.headers(), &outgoing.live.app().profile.expired_when)
        {
            Verdict::Passed => Ok((false, response.map(ReplyBody::Upstream))),
            Verdict::Refused => Ok((true, response.map(ReplyBody::Upstream))),
            Verdict::Doubtful(codes) => {
                Box::pin(expiry::look_into(response, codes)).await.map_err(|e| upstream_failed(&e))
            }
        }
    }

    /// Sends a request whose token ended while it waited for a connection, once there is a new one; as often as that
    /// happens while the caller waits for a token.
    async fn send_late(
        &self,
        outgoing: &Outgoing<'_>,
        mut request: Box<Request<RequestBody>>,
    ) -> Result<Result<Reply, SendFailure<RequestBody>>, Problem> {
        let (live, started) = (outgoing.live, Instant::now());
        loop {
            let left = self.door.timeouts.token_wait.saturating_sub(started.elapsed());
            let fresh = live.token(left).await.map_err(|why| no_token(live, why))?;
            outgoing.note_exchanged(&fresh);
            request.headers_mut().insert(live.app().profile.token_header.clone(), fresh.header.clone());
            let ready = |headers: &mut HeaderMap| outgoing.keep_valid(headers, &fresh);
            let mut sent = outgoing.lane.send_when(*request, ready).await;
            request = match sent.as_mut().err().and_then(untokened) {
                Some(unsent) if !left.is_zero() => unsent,
                _ => return Ok(sent),
            };
        }
    }

    /// A refusal that goes to the caller says what we know of the token, so that nobody blames a stale one for a wrong scope.
    fn pass_on_refusal(
        &self,
        mut response: Response<ReplyBody>,
        credential: &Credential,
        outgoing: &Outgoing<'_>,
    ) -> Response<ReplyBody> {
        let age = credential.token.age(self.door.clock.now()).as_secs();
        let (id, environment) = (outgoing.live.id(), &outgoing.live.app().profile.environment);
        let details = format!("token {age} s old; account {id}; environment {environment}");
        let received = format!("received-status={}", response.status().as_u16());
        response.headers_mut().append("proxy-status", proxy_status(&received, &details));
        response
    }
}

/// What callers count on and nobody passes on is named in the answer, or they would look for the reason at the marketplace.
fn name_dropped(request: &HeaderMap, answer: &mut HeaderMap) {
    let wants_websocket = request
        .get(header::UPGRADE)
        .is_some_and(|protocol| protocol.as_bytes().eq_ignore_ascii_case(b"websocket"));
    if wants_websocket {
        let note = "marketgate; details=\"Upgrade is not passed on: there is no WebSocket here\"";
        answer.append("proxy-status", HeaderValue::from_static(note));
    }
    if request.contains_key(header::COOKIE) {
        let note =
            "marketgate; details=\"Cookie is not passed on: it would be a credential of the caller's\"";
        answer.append("proxy-status", HeaderValue::from_static(note));
    }
}

/// The answer to a preflight of an allowed origin: this page may send what it asked for.
fn preflight(request: &HeaderMap) -> Response<ReplyBody> {
    let mut response = Response::new(ReplyBody::Own(Full::default()));
    *response.status_mut() = StatusCode::NO_CONTENT;
    let headers = response.headers_mut();
    let asked = [
        (header::ACCESS_CONTROL_REQUEST_METHOD, header::ACCESS_CONTROL_ALLOW_METHODS),
        (header::ACCESS_CONTROL_REQUEST_HEADERS, header::ACCESS_CONTROL_ALLOW_HEADERS),
    ];
    for (question, answer) in asked {
        if let Some(value) = request.get(question) {
            headers.insert(answer, value.clone());
        }
    }
    headers.insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("600"));
    response
}
