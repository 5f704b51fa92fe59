//! The callback of a consent at a door's own address. Only a browser that goes there by itself is a callback, by GET or with
//! a form (OAuth 2.0 Form Post Response Mode); what a page fetches or frames is a request like any other, and its `state`
//! stays unspent.
//!
//! A seller who consented comes from the marketplace's page, so the request is cross-site, and no guard would let it pass.
//! What protects it is its `state`: only who was sent by us can have one, and it is good for one callback.

use std::{
    collections::BTreeSet,
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, header, request::Parts};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use url::{Host, Url, form_urlencoded};

use super::{
    page,
    problem::{Code, Problem},
};
use crate::{
    accounts::{
        Accounts,
        consent::{Completed, ConsentState},
    },
    config::{Settings, settings::ProxyListener},
    oauth::{callback::LONGEST, state, with_form},
};

/// How long a form may take to arrive.
const FORM_LIMIT: Duration = Duration::from_secs(10);

/// The parameter that names the consent whose outcome is to be shown.
const DONE: &str = "done";

/// The redirect addresses of apps at which our own doors listen.
#[derive(Debug)]
pub struct Callbacks {
    accounts: Arc<Accounts>,
    places: Vec<Place>,
    /// The paths of all redirect addresses, wherever they are.
    paths: BTreeSet<String>,
    /// Whether the doors are open: a command that serves the store alone has none.
    is_open: AtomicBool,
}

/// One of them.
#[derive(Debug, PartialEq, Eq)]
struct Place {
    /// What a browser sends as `Host`.
    authority: String,
    /// The path, as it is registered.
    path: String,
    /// The whole address without its query.
    address: String,
    /// Whether callers' requests could be meant for this path.
    is_routed: bool,
}

/// A request that came back from a marketplace.
pub struct Visit<'a> {
    place: &'a Place,
    purpose: Purpose<'a>,
}

/// What a request at such a place is for.
#[derive(Debug, PartialEq, Eq)]
enum Purpose<'a> {
    /// The marketplace's answer.
    Callback { query: &'a str },
    /// The same in a form, which is still to be read; the address has this query of its own.
    Form { query: &'a str },
    /// A look at a consent's outcome.
    Done { consent: String },
}

impl Callbacks {
    /// The callbacks of these settings, completed by `accounts`.
    pub fn new(settings: &Settings, accounts: Arc<Accounts>) -> Self {
        let proxy = settings.proxy.listeners.iter().map(|listener| listener.address.port());
        let ports: BTreeSet<u16> = proxy.chain([settings.admin.address.port()]).collect();
        let addresses: Vec<&str> =
            settings.apps.values().filter_map(|app| app.redirect_uri.as_deref()).collect();
        let mut places: Vec<Place> = Vec::new();
        for address in &addresses {
            let place = Place::at(address, &ports, |port, path| is_routed(settings, port, path));
            if let Some(place) = place.filter(|place| !places.contains(place)) {
                places.push(place);
            }
        }
        let paths = addresses.iter().filter_map(|address| Some(Url::parse(address).ok()?.path().to_owned()));
        Self { accounts, places, paths: paths.collect(), is_open: AtomicBool::new(false) }
    }

    /// From now on the doors are open.
    pub fn open(&self) {
        self.is_open.store(true, Relaxed);
    }

    /// Whether a door of ours takes the answer at this redirect address.
    pub fn answer_at(&self, redirect_uri: &str) -> bool {
        let address = without_query(redirect_uri);
        self.is_open.load(Relaxed) && self.places.iter().any(|place| place.address == address)
    }

    /// What the request is for, if it is a callback or a look at the outcome of one.
    pub fn visit<'a>(&'a self, head: &'a Parts) -> Option<Visit<'a>> {
        // Nearly every request is told from a callback by its path.
        let place = self.places.iter().find(|place| place.path == head.uri.path())?;
        let host = head.headers.get(header::HOST)?.to_str().ok()?;
        let here = host.eq_ignore_ascii_case(&place.authority) && is_navigation(&head.headers);
        let query = head.uri.query();
        let purpose = match head.method {
            Method::GET => purpose(query?)?,
            // A program's own form, to a path at which it may have business.
            Method::POST if place.is_routed && !is_browser(&head.headers) => return None,
            Method::POST if is_form(&head.headers) => Purpose::Form { query: query.unwrap_or_default() },
            _ => return None,
        };
        here.then_some(Visit { place, purpose })
    }

    /// The same refusal with advice that fits: a marketplace's page must never be let in as an origin.
    pub fn advise(&self, head: &Parts, problem: Problem) -> Problem {
        if problem.code != Code::BrowserRefused || !self.looks_like_one(head) {
            return problem;
        }
        let action = "if this is a seller who comes back from a marketplace: `redirect_uri` of the app must be this very \
            address, with the port of this door, and the marketplace must send the browser here by GET or with a form \
            (response_mode query or form_post); a marketplace's page is never to be added to proxy.allowed_origins";
        Problem { action: action.to_owned(), ..problem }
    }

    fn looks_like_one(&self, head: &Parts) -> bool {
        const WORDS: [&str; 4] = ["callback", "oauth", "redirect", "consent"];
        const ANSWERS: [&str; 4] = ["state", "code", "error", "response"];
        let path = head.uri.path();
        let lower = path.to_ascii_lowercase();
        let named = WORDS.iter().any(|word| lower.contains(word)) || lower.ends_with("/cb");
        let query = head.uri.query().unwrap_or_default();
        let mut names = form_urlencoded::parse(query.as_bytes()).map(|(name, _)| name);
        named || self.paths.contains(path) || names.any(|name| ANSWERS.contains(&name.as_ref()))
    }

    /// The answer to it.
    pub async fn answer(&self, Visit { place, purpose }: Visit<'_>, body: Incoming) -> Response<Full<Bytes>> {
        match purpose {
            Purpose::Callback { query } => self.complete(place, &format!("{}?{query}", place.address)).await,
            Purpose::Form { query } => self.read(place, query, body).await,
            Purpose::Done { consent } => self.show(&consent).await,
        }
    }

    async fn read(&self, place: &Place, query: &str, body: Incoming) -> Response<Full<Bytes>> {
        let form = match read_form(body).await {
            Ok(form) => form,
            Err(why) => return page::answer(StatusCode::BAD_REQUEST, page::note("Not connected", why)),
        };
        let url = with_form(&with_form(&place.address, query), &form);
        if !holds_our_state(&form) && !holds_our_state(query) {
            let text = "This form does not answer a login of Marketgate's. Start the login again.";
            return page::answer(StatusCode::BAD_REQUEST, page::note("Not connected", text));
        }
        self.complete(place, &url).await
    }

    async fn complete(&self, place: &Place, url: &str) -> Response<Full<Bytes>> {
        let Completed { consent, outcome } = self.accounts.complete_callback(url).await;
        let onward = consent.and_then(|id| place.done(&id));
        match onward {
            // Neither code nor state stays in the address bar, nor in the history.
            Some(location) => see_other(location),
            None => page::answer(status(outcome.is_ok()), page::outcome(&outcome)),
        }
    }

    async fn show(&self, consent: &str) -> Response<Full<Bytes>> {
        let outcome = match self.accounts.consent_state(consent, Duration::ZERO).await {
            Some(ConsentState::Connected(connected)) => Ok(connected),
            Some(ConsentState::Failed(error)) => Err(error),
            Some(ConsentState::Pending) => {
                let text = "The marketplace has not sent the seller back yet. Load this page again later.";
                return page::answer(StatusCode::OK, page::note("Not connected yet", text));
            }
            None => {
                let text =
                    "This login is not known here any more. The list of accounts shows what became of it.";
                return page::answer(StatusCode::BAD_REQUEST, page::note("Nothing to see", text));
            }
        };
        page::answer(status(outcome.is_ok()), page::outcome(&outcome))
    }
}

impl Place {
    /// A redirect address on loopback, if it leads to one of these ports.
    fn at(redirect_uri: &str, ports: &BTreeSet<u16>, is_routed: impl Fn(u16, &str) -> bool) -> Option<Self> {
        let url = Url::parse(redirect_uri).ok().filter(|url| url.scheme() == "http")?;
        let host = url.host().filter(is_loopback)?;
        let port = url.port_or_known_default().filter(|port| ports.contains(port))?;
        // Browsers leave the default port out.
        let authority = if port == 80 { host.to_string() } else { format!("{host}:{port}") };
        let address = without_query(redirect_uri);
        let (_, rest) = address.split_once("://")?;
        let path = rest.find('/').map_or("/", |slash| &rest[slash..]);
        let is_routed = is_routed(port, path);
        Some(Self { authority, path: path.to_owned(), address: address.to_owned(), is_routed })
    }

    fn done(&self, consent: &str) -> Option<HeaderValue> {
        HeaderValue::from_str(&format!("{}?{DONE}={consent}", self.address)).ok()
    }
}

fn is_loopback(host: &Host<&str>) -> bool {
    match host {
        Host::Domain(name) => name.eq_ignore_ascii_case("localhost"),
        Host::Ipv4(address) => IpAddr::from(*address).is_loopback(),
        Host::Ipv6(address) => IpAddr::from(*address).is_loopback(),
    }
}

fn without_query(address: &str) -> &str {
    address.split_once('?').map_or(address, |(address, _)| address)
}

/// Whether the path could be a caller's, at a door with that port.
fn is_routed(settings: &Settings, port: u16, path: &str) -> bool {
    let first = path.trim_start_matches('/').split(['/', '@', '%']).next().unwrap_or_default();
    let is_fixed = |listener: &ProxyListener| listener.fixed.is_some() && listener.address.port() == port;
    first == "api"
        || settings.apps.keys().any(|app| app.as_str() == first)
        || settings.proxy.listeners.iter().any(is_fixed)
}

/// A `state` of somebody else's consent belongs to whoever is behind us.
fn holds_our_state(pairs: &str) -> bool {
    let mut pairs = form_urlencoded::parse(pairs.as_bytes());
    pairs.any(|(name, value)| name == "state" && value.starts_with(state::PREFIX))
}

fn purpose(query: &str) -> Option<Purpose<'_>> {
    if holds_our_state(query) {
        return Some(Purpose::Callback { query });
    }
    let mut pairs = form_urlencoded::parse(query.as_bytes());
    let (name, consent) = pairs.next().filter(|_| pairs.next().is_none())?;
    (name == DONE).then(|| Purpose::Done { consent: consent.into_owned() })
}

/// Whether the body is a form as browsers send one.
pub fn is_form(headers: &HeaderMap) -> bool {
    let mut types = headers.get_all(header::CONTENT_TYPE).iter();
    let (first, second) = (types.next(), types.next());
    let essence = first.and_then(|kind| kind.to_str().ok()).and_then(|kind| kind.split(';').next());
    let is_one = |kind: &str| kind.trim().eq_ignore_ascii_case("application/x-www-form-urlencoded");
    second.is_none() && essence.is_some_and(is_one)
}

/// A form as it was posted: a callback's size at most.
///
/// # Errors
/// What is wrong with it.
pub async fn read_form(body: Incoming) -> Result<String, &'static str> {
    let whole = tokio::time::timeout(FORM_LIMIT, Limited::new(body, LONGEST).collect()).await;
    let whole = whole.map_err(|_| "The form took too long to arrive. Start the login again.")?;
    let whole = whole.map_err(|_| "The form is too long, or broke off. Start the login again.")?;
    String::from_utf8(whole.to_bytes().into()).map_err(|_| "The form is no text. Start the login again.")
}

/// Browsers mark a form that a page posts; programs do not.
fn is_browser(headers: &HeaderMap) -> bool {
    headers.contains_key(header::ORIGIN) || headers.contains_key("sec-fetch-mode")
}

/// Whether a browser shows the answer as a page of its own (Fetch Metadata), as far as it says so.
pub fn is_navigation(headers: &HeaderMap) -> bool {
    let says =
        |name: &str, wanted: &[u8]| headers.get_all(name).iter().all(|value| value.as_bytes() == wanted);
    says("sec-fetch-mode", b"navigate") && says("sec-fetch-dest", b"document")
}

/// Never 404, and no success that is none: whoever watches callbacks by their status must not be misled.
fn status(connected: bool) -> StatusCode {
    if connected { StatusCode::OK } else { StatusCode::BAD_REQUEST }
}

fn see_other(location: HeaderValue) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::default());
    *response.status_mut() = StatusCode::SEE_OTHER;
    response.headers_mut().insert(header::LOCATION, location);
    page::protect(response.headers_mut());
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(address: &str) -> Option<Place> {
        Place::at(address, &BTreeSet::from([80, 8080]), |_, path| path == "/app/cb")
    }

    #[test]
    fn only_plain_loopback_addresses_at_our_ports_are_places_for_a_callback() {
        let found = place("http://localhost:8080/cb?tenant=1").unwrap();
        assert_eq!(
            found,
            Place {
                authority: "localhost:8080".into(),
                path: "/cb".into(),
                address: "http://localhost:8080/cb".into(),
                is_routed: false,
            }
        );
        assert_eq!(place("http://127.0.0.1").unwrap().path, "/");
        assert!(place("http://127.0.0.1/app/cb").unwrap().is_routed);
        assert_eq!(place("http://[::1]:8080/x").unwrap().authority, "[::1]:8080");
        for other in [
            "https://localhost:8080/cb",
            "http://localhost:9090/cb",
            "http://localhost.evil.test:8080/cb",
            "http://10.0.0.1:8080/cb",
            "nonsense",
        ] {
            assert_eq!(place(other), None, "{other}");
        }
    }

    #[test]
    fn a_query_is_a_callback_only_with_a_state_of_ours() {
        assert!(matches!(purpose("code=x&state=mg_1"), Some(Purpose::Callback { .. })));
        assert!(matches!(purpose("state=theirs&state=mg_1"), Some(Purpose::Callback { .. })));
        assert_eq!(purpose("done=id-1"), Some(Purpose::Done { consent: "id-1".into() }));
        for other in ["code=x&state=theirs", "state=", "done=1&x=2", "x=1", ""] {
            assert_eq!(purpose(other), None, "{other}");
        }
    }

    #[test]
    fn what_a_page_fetches_or_frames_is_no_navigation() {
        let with = |name: &'static str, value: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(name, HeaderValue::from_static(value));
            is_navigation(&headers)
        };
        assert!(is_navigation(&HeaderMap::new()) && with("sec-fetch-mode", "navigate"));
        assert!(with("sec-fetch-dest", "document"));
        assert!(!with("sec-fetch-mode", "no-cors") && !with("sec-fetch-dest", "iframe"));
    }
}
