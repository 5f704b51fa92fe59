//! The callback of a consent at a door's own address. The one rule: only a browser that goes there by itself is a callback;
//! what a page fetches, frames or posts is a request like any other, and its `state` stays unspent.
//!
//! A seller who consented comes from the marketplace's page, so the request is cross-site, and no guard would let it pass.
//! What protects it is its `state`: only who was sent by us can have one, and it is good for one callback.

use std::{collections::BTreeSet, net::IpAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, header, request::Parts};
use http_body_util::Full;
use url::{Host, Url, form_urlencoded};

use super::page;
use crate::{
    accounts::{
        Accounts,
        consent::{Completed, ConsentState},
    },
    config::Settings,
    oauth::state,
};

/// The parameter that names the consent whose outcome is to be shown.
const DONE: &str = "done";

/// The redirect addresses of apps at which our own doors listen.
#[derive(Debug)]
pub struct Callbacks {
    accounts: Arc<Accounts>,
    places: Vec<Place>,
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
    /// A look at a consent's outcome.
    Done { consent: String },
}

impl Callbacks {
    /// The callbacks of these settings, completed by `accounts`.
    pub fn new(settings: &Settings, accounts: Arc<Accounts>) -> Self {
        let proxy = settings.proxy.listeners.iter().map(|listener| listener.address.port());
        let ports: BTreeSet<u16> = proxy.chain([settings.admin.address.port()]).collect();
        let addresses = settings.apps.values().filter_map(|app| app.redirect_uri.as_deref());
        let mut places: Vec<Place> = Vec::new();
        for place in addresses.filter_map(|address| Place::at(address, &ports)) {
            if !places.contains(&place) {
                places.push(place);
            }
        }
        Self { accounts, places }
    }

    /// What the request is for, if it is a callback or a look at the outcome of one.
    pub fn visit<'a>(&'a self, head: &'a Parts) -> Option<Visit<'a>> {
        // Nearly every request is told from a callback by its path.
        let place = self.places.iter().find(|place| place.path == head.uri.path())?;
        let host = head.headers.get(header::HOST)?.to_str().ok()?;
        let here = head.method == Method::GET && host.eq_ignore_ascii_case(&place.authority);
        let purpose = purpose(head.uri.query()?)?;
        (here && is_navigation(&head.headers)).then_some(Visit { place, purpose })
    }

    /// The answer to it.
    pub async fn answer(&self, Visit { place, purpose }: Visit<'_>) -> Response<Full<Bytes>> {
        match purpose {
            Purpose::Callback { query } => self.complete(place, query).await,
            Purpose::Done { consent } => self.show(&consent).await,
        }
    }

    async fn complete(&self, place: &Place, query: &str) -> Response<Full<Bytes>> {
        let url = format!("{}?{query}", place.address);
        let Completed { consent, outcome } = self.accounts.complete_callback(&url).await;
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
    fn at(redirect_uri: &str, ports: &BTreeSet<u16>) -> Option<Self> {
        let url = Url::parse(redirect_uri).ok().filter(|url| url.scheme() == "http")?;
        let host = url.host().filter(is_loopback)?;
        let port = url.port_or_known_default().filter(|port| ports.contains(port))?;
        // Browsers leave the default port out.
        let authority = if port == 80 { host.to_string() } else { format!("{host}:{port}") };
        let address = redirect_uri.split_once('?').map_or(redirect_uri, |(address, _)| address);
        let (_, rest) = address.split_once("://")?;
        let path = rest.find('/').map_or("/", |slash| &rest[slash..]);
        Some(Self { authority, path: path.to_owned(), address: address.to_owned() })
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

fn purpose(query: &str) -> Option<Purpose<'_>> {
    let mut pairs = form_urlencoded::parse(query.as_bytes());
    // A `state` of somebody else's consent belongs to whoever is behind us.
    if pairs.clone().any(|(name, value)| name == "state" && value.starts_with(state::PREFIX)) {
        return Some(Purpose::Callback { query });
    }
    let (name, consent) = pairs.next().filter(|_| pairs.next().is_none())?;
    (name == DONE).then(|| Purpose::Done { consent: consent.into_owned() })
}

/// Whether a browser shows the answer as a page of its own (Fetch Metadata), as far as it says so.
fn is_navigation(headers: &HeaderMap) -> bool {
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
        Place::at(address, &BTreeSet::from([80, 8080]))
    }

    #[test]
    fn only_plain_loopback_addresses_at_our_ports_are_places_for_a_callback() {
        let found = place("http://localhost:8080/cb?tenant=1").unwrap();
        assert_eq!(
            found,
            Place {
                authority: "localhost:8080".into(),
                path: "/cb".into(),
                address: "http://localhost:8080/cb".into()
            }
        );
        assert_eq!(place("http://127.0.0.1").unwrap().path, "/");
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
