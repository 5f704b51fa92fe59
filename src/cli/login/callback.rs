//! Takes the seller's browser in at a redirect address on this machine. The one rule: it is there only while the login is
//! pending, and answers nothing but the one callback that is waited for.

use std::{
    cell::{Cell, RefCell},
    io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener},
    rc::Rc,
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::Incoming;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::{COMPLETION, Pending};
use crate::{
    accounts::{AccountsError, consent::Connected, error::Refusal as Kind},
    cli::{
        Failure,
        admin_client::{AdminClient, AskError, Body, Refusal},
        streams,
    },
    config::settings::Limits,
    http::{
        callback::{is_form, is_navigation, read_form},
        listener::{self, ListenerLimits},
        page,
    },
    oauth::{Callback, state},
    secret::Secret,
};

/// How long the browser has to fetch the page that tells the outcome.
const SHOWN: Duration = Duration::from_secs(5);
const GRACE: Duration = Duration::from_secs(1);
const STALL: Duration = Duration::from_secs(10);

/// What is known of the callback.
#[derive(Debug, Clone)]
enum Arrived {
    Nothing,
    Callback,
    Outcome(Result<Connected, Refusal>),
}

/// The listener at the redirect address.
pub(super) struct Landing {
    desk: Rc<Desk>,
    arrived: watch::Receiver<Arrived>,
    shown: CancellationToken,
    stop: CancellationToken,
    served: Vec<tokio::task::JoinHandle<()>>,
}

/// Who answers there.
struct Desk {
    client: AdminClient,
    origin: String,
    path: String,
    state: Secret,
    begun: Cell<bool>,
    told: RefCell<String>,
    arrived: watch::Sender<Arrived>,
    shown: CancellationToken,
}

impl Landing {
    /// Listens where the redirect address is, if that is a plain HTTP port of this machine.
    pub(super) fn open(pending: &Pending<'_>) -> io::Result<Option<Self>> {
        let Some((origin, path, addresses)) = place(&pending.begun.redirect_uri) else { return Ok(None) };
        let sockets = bind(&addresses)?;
        let (tell, arrived) = watch::channel(Arrived::Nothing);
        let (shown, stop) = (CancellationToken::new(), CancellationToken::new());
        let desk = Rc::new(Desk {
            client: pending.client.clone(),
            origin,
            path,
            state: pending.state.clone(),
            begun: Cell::new(false),
            told: RefCell::default(),
            arrived: tell,
            shown: shown.clone(),
        });
        let limits = ListenerLimits::new(&Limits::default(), STALL);
        let served = sockets.into_iter().map(|socket| {
            let desk = desk.clone();
            let answer = move |request: Request<Incoming>, _peer| {
                let desk = desk.clone();
                async move { desk.answer(request).await }
            };
            let serve = listener::serve(socket, answer, limits.clone(), stop.clone(), GRACE);
            tokio::task::spawn_local(async move {
                serve.await;
            })
        });
        let served = served.collect();
        Ok(Some(Self { desk, arrived, shown, stop, served }))
    }

    /// What became of the callback that arrived here.
    pub(super) async fn outcome(&self) -> Result<Connected, Failure> {
        let mut arrived = self.arrived.clone();
        let known = arrived.wait_for(|arrived| matches!(arrived, Arrived::Outcome(_))).await;
        match known.as_deref() {
            Ok(Arrived::Outcome(outcome)) => outcome.clone().map_err(Failure::from),
            // The desk outlives whoever waits for it.
            _ => std::future::pending().await,
        }
    }

    /// Ends, once the browser that came has been told.
    pub(super) async fn close(self) {
        if self.desk.begun.get() {
            // A browser that was closed asks for no page.
            drop(tokio::time::timeout(SHOWN, self.shown.cancelled()).await);
        }
        self.stop.cancel();
        for served in self.served {
            drop(served.await);
        }
    }
}

impl Desk {
    async fn answer(self: &Rc<Self>, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let (head, body) = request.into_parts();
        if head.uri.path() != self.path {
            return plain(StatusCode::NOT_FOUND, "There is nothing here.\n");
        }
        // What a page fetches or frames is no seller who comes back.
        if !is_navigation(&head.headers) {
            return plain(StatusCode::BAD_REQUEST, "Only a browser that goes here by itself is answered.\n");
        }
        let query = head.uri.query();
        match head.method {
            Method::GET if query.is_none() && self.begun.get() => self.page().await,
            Method::GET => self.callback(query.unwrap_or_default()),
            Method::POST if is_form(&head.headers) => match read_form(body).await {
                Ok(form) => self.callback(&[query.unwrap_or_default(), &form].join("&")),
                Err(why) => plain(StatusCode::BAD_REQUEST, why),
            },
            _ => plain(StatusCode::BAD_REQUEST, "Only GET, and POST of a form, are answered here.\n"),
        }
    }

    /// Takes the one callback that is waited for, and sends the browser on to an address that holds no code.
    fn callback(self: &Rc<Self>, query: &str) -> Response<Full<Bytes>> {
        let url = format!("{}{}?{query}", self.origin, self.path);
        let ours = match Callback::read(&url) {
            Ok(callback) if state::same(&callback.state, &self.state) => Ok(()),
            Ok(_) => Err("it answers another login, perhaps an earlier one of the same account".to_owned()),
            Err(error) => Err(no_answer(query).map_or_else(|| error.to_string(), str::to_owned)),
        };
        if let Err(why) = ours {
            self.tell(&why);
            return plain(
                StatusCode::BAD_REQUEST,
                format!("This does not answer the login that is waited for: {why}.\n"),
            );
        }
        if !self.begun.replace(true) {
            self.arrived.send_replace(Arrived::Callback);
            let desk = self.clone();
            tokio::task::spawn_local(async move { desk.complete(url).await });
        }
        let mut response = plain(StatusCode::SEE_OTHER, "");
        // A path that was configured and matched is a header value.
        if let Ok(location) = HeaderValue::from_str(&self.path) {
            response.headers_mut().insert(header::LOCATION, location);
        }
        response
    }

    /// Says once at the terminal what arrived in place of an answer.
    fn tell(&self, why: &str) {
        if self.told.borrow().as_str() != why {
            why.clone_into(&mut self.told.borrow_mut());
            streams::talk(format_args!("A browser came to the redirect address, but {why}. Still waiting …"));
        }
    }

    async fn complete(&self, url: String) {
        let body = Body::Json(serde_json::json!({ "url": url }));
        let asked = self.client.ask(Method::POST, "/api/consents/complete", body, COMPLETION).await;
        self.arrived.send_replace(Arrived::Outcome(asked.map_err(refusal)));
    }

    /// What became of it, as soon as that is known.
    async fn page(&self) -> Response<Full<Bytes>> {
        let mut arrived = self.arrived.subscribe();
        let known = arrived.wait_for(|arrived| matches!(arrived, Arrived::Outcome(_))).await;
        let outcome = match known.as_deref() {
            Ok(Arrived::Outcome(outcome)) => outcome.clone().map_err(for_the_page),
            _ => Err(for_the_page(silence("the login has ended".to_owned()))),
        };
        drop(known);
        let status = if outcome.is_ok() { StatusCode::OK } else { StatusCode::BAD_REQUEST };
        self.shown.cancel();
        let mut response = page::answer(status, page::outcome(&outcome));
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        response
    }
}

fn refusal(error: AskError) -> Refusal {
    match error {
        AskError::Refused(refusal) => refusal,
        other => silence(other.to_string()),
    }
}

fn silence(detail: String) -> Refusal {
    Refusal { status: 0, code: "no_answer".to_owned(), detail, action: "start the login again".to_owned() }
}

fn for_the_page(refusal: Refusal) -> AccountsError {
    AccountsError::new(Kind::Marketplace, "not_connected", refusal.detail, refusal.action)
}

/// Why an address without an answer has none, as far as it shows.
fn no_answer(query: &str) -> Option<&'static str> {
    let mut names = url::form_urlencoded::parse(query.as_bytes()).map(|(name, _)| name);
    if names.any(|name| name == "response") {
        return Some(
            "the answer is a signed one (response_mode=jwt, JARM), which Marketgate does not read: have the server answer by \
             query or form_post",
        );
    }
    query.is_empty().then_some(
        "without an answer: it may stand after `#`, where only the browser sees it (response_mode=fragment); have the server \
         answer by query or form_post",
    )
}

fn plain(status: StatusCode, text: impl Into<String>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(text.into())));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    page::protect(headers);
    response
}

/// Origin, path and socket addresses of a redirect address that this machine can answer.
fn place(redirect_uri: &str) -> Option<(String, String, Vec<SocketAddr>)> {
    let rest = redirect_uri.strip_prefix("http://")?;
    let url = url::Url::parse(redirect_uri).ok()?;
    let port = url.port_or_known_default()?;
    let (four, six) =
        (SocketAddr::from((Ipv4Addr::LOCALHOST, port)), SocketAddr::from((Ipv6Addr::LOCALHOST, port)));
    let addresses = match url.host()? {
        url::Host::Domain("localhost") => vec![four, six],
        url::Host::Ipv4(Ipv4Addr::LOCALHOST) => vec![four],
        url::Host::Ipv6(Ipv6Addr::LOCALHOST) => vec![six],
        _ => return None,
    };
    // As it is written, since the address is compared byte for byte where it is judged.
    let address = rest.split_once('?').map_or(rest, |(address, _)| address);
    let (authority, path) = address.split_at(address.find('/').unwrap_or(address.len()));
    let path = if path.is_empty() { "/" } else { path };
    Some((format!("http://{authority}"), path.to_owned(), addresses))
}

/// All of them, or the reason; an address family that this machine does not have is none.
fn bind(addresses: &[SocketAddr]) -> io::Result<Vec<tokio::net::TcpListener>> {
    let mut sockets = Vec::new();
    let mut missing = None;
    for address in addresses {
        match TcpListener::bind(address) {
            Ok(socket) => {
                socket.set_nonblocking(true)?;
                sockets.push(tokio::net::TcpListener::from_std(socket)?);
            }
            Err(error) if error.kind() == io::ErrorKind::AddrNotAvailable => missing = Some(error),
            Err(error) => return Err(error),
        }
    }
    match missing {
        Some(error) if sockets.is_empty() => Err(error),
        _ => Ok(sockets),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_without_an_answer_says_where_it_may_be() {
        assert!(no_answer("").unwrap().contains("response_mode=fragment"));
        assert!(no_answer("response=eyJhbGciOi&x=1").unwrap().contains("JARM"));
        assert_eq!(no_answer("code=x"), None);
    }

    #[test]
    fn only_plain_ports_of_this_machine_are_listened_at() {
        let here = |uri: &str| place(uri).map(|(origin, path, addresses)| (origin, path, addresses.len()));
        let found = |origin: &str, path: &str, count| Some((origin.to_owned(), path.to_owned(), count));
        assert_eq!(here("http://localhost:8082/callback"), found("http://localhost:8082", "/callback", 2));
        assert_eq!(here("http://127.0.0.1:1/a/b?c=d"), found("http://127.0.0.1:1", "/a/b", 1));
        assert_eq!(here("http://[::1]:9/"), found("http://[::1]:9", "/", 1));
        assert_eq!(here("http://localhost"), found("http://localhost", "/", 2));
        for elsewhere in
            ["https://localhost:8082/callback", "https://yourapp.com/callback", "http://127.0.0.2:1/"]
        {
            assert_eq!(here(elsewhere), None, "{elsewhere}");
        }
    }
}
