//! From an origin's name to a byte stream with it, for requests and for token calls. The one rule: name, TLS server name and
//! the dialled address all come from the configured origin; no request and no environment variable has a say.
//!
//! With a forward proxy every destination is reached through `CONNECT`, except loopback, which is on this machine and
//! which the proxy could not reach. Nothing is ever sent in absolute form: `http://` goes through `CONNECT` as well.

use std::{fmt, io, net::SocketAddr, sync::Arc, time::Duration};

use http::{HeaderValue, Uri, uri::Authority};
use rustls_pki_types::ServerName;
use tokio::{
    net::TcpStream,
    task::JoinSet,
    time::{sleep, timeout},
};
use tokio_rustls::TlsConnector;
use tokio_util::either::Either;

use super::{
    error::{DialError, TlsFault},
    gather::Gathered,
    resolve::{Resolve, System},
    secured::Secured,
    tunnel, unsent,
};
use crate::{
    provider::{ForwardProxy, HttpUrl, Transport, WayOut, http_url::is_loopback},
    tls::{Client, Offer, TlsError},
};

/// How long one address has before the next is tried beside it (RFC 8305 §5).
const STAGGER: Duration = Duration::from_millis(250);

/// An origin, prepared once: all that connecting to it and naming it need.
#[derive(Debug, Clone)]
pub struct Destination {
    /// Whether TLS is spoken there.
    pub tls: bool,
    /// Without brackets.
    pub host: String,
    /// The port.
    pub port: u16,
    /// `host:port` for people, and for `CONNECT`.
    pub place: Arc<str>,
    /// For `:authority` (RFC 9113 §8.3.1).
    pub authority: Authority,
    /// For `Host` (RFC 9110 §7.2).
    pub host_field: HeaderValue,
    /// How it is reached.
    pub transport: Arc<Transport>,
}

impl Destination {
    /// Where this URL points.
    pub fn new(url: &HttpUrl) -> Self {
        Self { transport: url.transport.clone(), ..Self::at(url.tls, &url.host, url.port, &url.authority) }
    }

    /// Where an address of a server points that a person gave; None where it is no `http` or `https` URL,
    /// has credentials in it, or no proper port.
    pub fn of_uri(uri: &Uri) -> Option<Self> {
        let tls = match uri.scheme_str()? {
            "https" => true,
            "http" => false,
            _ => return None,
        };
        let authority = uri.authority()?;
        let host = authority.host().trim_matches(['[', ']']);
        let has_port = authority.as_str().len() > authority.host().len();
        let port = match authority.port_u16() {
            Some(port) => port,
            None if has_port => return None,
            None if tls => 443,
            None => 80,
        };
        Some(Self::at(tls, host, port, authority))
    }

    fn at(tls: bool, host: &str, port: u16, authority: &Authority) -> Self {
        let bracketed = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
        // An authority is visible ASCII; a value that were none would be refused by every server, not sent elsewhere.
        let host_field =
            HeaderValue::from_str(authority.as_str()).unwrap_or_else(|_| HeaderValue::from_static("invalid"));
        Self {
            tls,
            host: host.to_owned(),
            port,
            place: format!("{bracketed}:{port}").into(),
            authority: authority.clone(),
            host_field,
            transport: Arc::default(),
        }
    }

    /// Whether this URL points there, and is reached in the same way.
    pub fn is(&self, url: &HttpUrl) -> bool {
        self.tls == url.tls
            && self.port == url.port
            && self.host == url.host
            && (Arc::ptr_eq(&self.transport, &url.transport) || self.transport == url.transport)
    }

    /// What is offered there.
    pub fn offer(&self) -> Offer {
        if self.tls && !self.transport.http1_only { Offer::Both } else { Offer::Http1 }
    }

    fn is_loopback(&self) -> bool {
        is_loopback(&self.host)
    }
}

/// A connection, in the clear or secured.
pub type Connected = Either<TcpStream, Secured>;

/// Whether HTTP/2 was agreed on.
pub fn speaks_h2(stream: &Connected) -> bool {
    matches!(stream, Either::Right(secured) if secured.speaks_h2())
}

/// Opens connections. Clones share everything.
#[derive(Clone)]
pub struct Dialer {
    tls: Client,
    proxy: Option<ForwardProxy>,
    names: Arc<dyn Resolve>,
}

impl fmt::Debug for Dialer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dialer").finish_non_exhaustive()
    }
}

impl Dialer {
    /// All but loopback is reached through `proxy`, where there is one, unless the proxy or the destination's transport says
    /// otherwise.
    pub fn new(tls: impl Into<Client>, proxy: Option<&ForwardProxy>) -> Self {
        Self::resolving(tls, proxy, System)
    }

    /// As [`Dialer::new`], with somebody else than the operating system to ask for addresses.
    pub fn resolving(
        tls: impl Into<Client>,
        proxy: Option<&ForwardProxy>,
        names: impl Resolve + 'static,
    ) -> Self {
        Self { tls: tls.into(), proxy: proxy.cloned(), names: Arc::new(names) }
    }

    fn way_out<'a>(&'a self, to: &'a Destination) -> Option<&'a ForwardProxy> {
        match &to.transport.way_out {
            _ if to.is_loopback() => None,
            Some(WayOut::Direct) => None,
            Some(WayOut::Proxy(proxy)) => Some(proxy),
            None => self.proxy.as_ref().filter(|proxy| !proxy.spares(&to.host)),
        }
    }

    /// A stream on which HTTP can be spoken.
    ///
    /// # Errors
    /// When there is none within `limit`, or at all.
    pub async fn connect(&self, to: &Destination, limit: Duration) -> Result<Connected, DialError> {
        let connected = async {
            let (stream, _) = self.tcp(to).await?;
            Ok(if to.tls {
                Either::Right(self.tls(to, stream, to.offer()).await?)
            } else {
                Either::Left(stream)
            })
        };
        timeout(limit, connected).await.map_err(|_| DialError::Late { limit })?
    }

    /// A TCP stream to the destination, through the forward proxy where there is one. The address is that of the
    /// destination itself; behind a proxy nobody here knows it.
    ///
    /// # Errors
    /// When there is no way to it.
    pub async fn tcp(&self, to: &Destination) -> Result<(TcpStream, Option<SocketAddr>), DialError> {
        let names = &*self.names;
        match self.way_out(to) {
            None => {
                let stream = reach(names, &to.host, to.port).await?;
                let peer = stream.peer_addr().ok();
                Ok((stream, peer))
            }
            Some(proxy) => {
                let stream = reach(names, &proxy.host, proxy.port).await;
                let mut stream = stream.map_err(|error| of_proxy(proxy, error))?;
                tunnel::open(&mut stream, proxy, &to.place).await?;
                Ok((stream, None))
            }
        }
    }

    /// The TLS handshake, with the configured host as server name (RFC 6066 §3) and as the name the certificate must bear.
    ///
    /// # Errors
    /// When it fails: nothing was sent then.
    pub async fn tls(&self, to: &Destination, stream: TcpStream, offer: Offer) -> Result<Secured, DialError> {
        let no_name = |e: rustls_pki_types::InvalidDnsNameError| DialError::Tls {
            fault: TlsFault::Protocol,
            reason: format!("`{}` cannot be a server name: {e}", to.host),
        };
        let name = ServerName::try_from(to.host.clone()).map_err(no_name)?;
        let config = self.tls.config(to.transport.client_certificate.as_ref(), offer);
        let unusable = |e: TlsError| DialError::Tls { fault: TlsFault::OwnFile, reason: e.to_string() };
        let connector = TlsConnector::from(config.map_err(unusable)?);
        connector.connect(name, Gathered(stream)).await.map(Secured).map_err(|e| tls_failure(&e))
    }
}

fn tls_failure(error: &io::Error) -> DialError {
    let of_tls = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    let fault = of_tls.map_or(TlsFault::Protocol, TlsFault::of);
    let reason = of_tls.map_or_else(|| error.to_string(), ToString::to_string);
    DialError::Tls { fault, reason }
}

fn of_proxy(proxy: &ForwardProxy, error: DialError) -> DialError {
    let reason = match error {
        DialError::Dns { reason } => format!("its name cannot be resolved: {reason}"),
        DialError::Refused => "it refuses connections".to_owned(),
        DialError::Unreachable { reason } => reason,
        other => return other,
    };
    DialError::ForwardProxy { proxy: format!("{}:{}", proxy.host, proxy.port), status: None, reason }
}

async fn reach(names: &dyn Resolve, host: &str, port: u16) -> Result<TcpStream, DialError> {
    let unknown = |e: io::Error| DialError::Dns { reason: e.to_string() };
    let addresses = names.addresses(host, port).await.map_err(unknown)?;
    race(alternate(addresses)).await
}

/// Families in turn, beginning with the resolver's favourite (RFC 8305 §4).
fn alternate(addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let favourite = addresses.first().is_some_and(SocketAddr::is_ipv6);
    let (first, second): (Vec<_>, Vec<_>) =
        addresses.into_iter().partition(|address| address.is_ipv6() == favourite);
    let (mut first, mut second) = (first.into_iter(), second.into_iter());
    let mut order = Vec::new();
    loop {
        let pair = [first.next(), second.next()];
        if pair == [None, None] {
            return order;
        }
        order.extend(pair.into_iter().flatten());
    }
}

/// Happy Eyeballs (RFC 8305 §5): the first address that answers wins, the others are dropped.
async fn race(addresses: Vec<SocketAddr>) -> Result<TcpStream, DialError> {
    if let [only] = addresses[..] {
        return attempt(only).await;
    }
    let mut waiting = addresses.into_iter();
    let mut attempts = JoinSet::new();
    let mut last = DialError::Dns { reason: "the name has no address".to_owned() };
    loop {
        if let Some(address) = waiting.next() {
            attempts.spawn(attempt(address));
        }
        tokio::select! {
            biased;
            ended = attempts.join_next() => match ended {
                Some(Ok(Ok(stream))) => return Ok(stream),
                Some(Ok(Err(error))) => last = error,
                Some(Err(_)) => last = DialError::Interrupted,
                None => return Err(last),
            },
            () = sleep(STAGGER), if waiting.len() > 0 => {}
        }
    }
}

async fn attempt(address: SocketAddr) -> Result<TcpStream, DialError> {
    let stream = TcpStream::connect(address).await.map_err(|e| match e.kind() {
        io::ErrorKind::ConnectionRefused => DialError::Refused,
        _ => DialError::Unreachable { reason: e.to_string() },
    })?;
    // Requests are written whole; waiting for more to fill a packet would only delay them.
    stream.set_nodelay(true).map_err(|e| DialError::Unreachable { reason: e.to_string() })?;
    unsent::bound(&stream);
    Ok(stream)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn address_families_take_turns_beginning_with_the_resolvers_favourite() {
        let texts = ["[::1]:1", "[::2]:1", "[::3]:1", "127.0.0.1:1", "127.0.0.2:1"];
        let addresses = texts.map(|text| text.parse::<SocketAddr>().unwrap());
        let order: Vec<_> = alternate(addresses.to_vec()).iter().map(ToString::to_string).collect();
        assert_eq!(order, ["[::1]:1", "127.0.0.1:1", "[::2]:1", "127.0.0.2:1", "[::3]:1"]);
        assert!(alternate(Vec::new()).is_empty());
    }

    #[test]
    fn a_destination_names_its_port_and_brackets_ipv6() {
        let of = |text: &str| Destination::new(&text.parse().unwrap());
        assert_eq!(&*of("https://api.test/x").place, "api.test:443");
        assert_eq!(of("https://api.test/x").host_field, "api.test");
        assert_eq!(&*of("https://[::1]:8443").place, "[::1]:8443");
        assert!(of("https://[::1]:8443").is_loopback() && of("http://localhost:1").is_loopback());
        assert!(!of("https://127.example.com").is_loopback());
    }

    #[tokio::test]
    async fn an_address_that_refuses_hands_over_to_the_next_at_once() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let good = listener.local_addr().unwrap();
        let closed = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let local = tokio::task::LocalSet::new();
        let stream = local.run_until(race(vec![closed, good])).await.unwrap();
        assert_eq!(stream.peer_addr().unwrap(), good);
        assert_eq!(local.run_until(race(vec![closed, closed])).await.unwrap_err(), DialError::Refused);
        assert!(matches!(local.run_until(race(vec![])).await, Err(DialError::Dns { .. })));
    }

    #[tokio::test]
    async fn an_address_that_swallows_packets_costs_a_quarter_of_a_second() {
        let hole = tokio::net::TcpSocket::new_v4().unwrap();
        hole.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let hole = hole.listen(0).unwrap();
        // A full backlog answers no SYN.
        let address = hole.local_addr().unwrap();
        let _first = TcpStream::connect(address).await.unwrap();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let good = listener.local_addr().unwrap();
        tokio::time::pause();
        let start = tokio::time::Instant::now();
        let local = tokio::task::LocalSet::new();
        let stream = local.run_until(race(vec![address, good])).await.unwrap();
        assert_eq!(stream.peer_addr().unwrap(), good);
        assert!((STAGGER..2 * STAGGER).contains(&start.elapsed()), "{:?}", start.elapsed());
    }
}
