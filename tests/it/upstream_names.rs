//! What an upstream's name means, and when that is asked: dual-stack hosts, names that move, names that are gone. The one
//! rule: the answers are the test's, the sockets are real.

use std::{
    cell::Cell,
    io,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use marketgate::{
    net::{Resolve, Resolving},
    provider::HttpUrl,
    proxy::upstream::{Cause, Connector, Pool},
};
use tokio::{
    net::{TcpSocket, TcpStream},
    time::Instant,
};

use crate::upstream_pool::{
    Authority, TestPool, TlsServer, begin, failure, fetch, get, local, outwaited, settings, text,
};

const HOST: &str = "api.test";

/// What a name means just now.
#[derive(Clone)]
enum Meaning {
    At(Vec<SocketAddr>),
    Gone,
    /// No answer comes.
    Silence,
}

#[derive(Clone)]
struct Names {
    meaning: Arc<Mutex<Meaning>>,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Names {
    fn mean(&self, meaning: Meaning) {
        *self.meaning.lock().unwrap() = meaning;
    }

    fn asked(&self) -> usize {
        self.asked.lock().unwrap().len()
    }
}

impl Resolve for Names {
    fn addresses<'a>(&'a self, host: &'a str, port: u16) -> Resolving<'a> {
        self.asked.lock().unwrap().push(format!("{host}:{port}"));
        let meaning = self.meaning.lock().unwrap().clone();
        Box::pin(async move {
            match meaning {
                Meaning::At(addresses) => Ok(addresses),
                Meaning::Gone => Err(io::Error::other("NXDOMAIN")),
                Meaning::Silence => std::future::pending().await,
            }
        })
    }
}

/// A marketplace by name, and a pool that asks for it.
struct Market {
    authority: Authority,
    names: Names,
    pool: TestPool,
    url: HttpUrl,
}

impl Market {
    fn new(meaning: Meaning) -> Self {
        let names = Names { meaning: Arc::new(Mutex::new(meaning)), asked: Arc::default() };
        let authority = Authority::new();
        let connector = Connector::resolving(authority.trusted(), &settings(), names.clone());
        let url = format!("https://{HOST}").parse().unwrap();
        Self { authority, names, pool: Pool::new(connector), url }
    }

    /// A server of that name, on IPv4.
    async fn server(&self, protocol: &str) -> (TlsServer, SocketAddr) {
        let http2 = (protocol == "h2").then_some(crate::upstream_pool::Http2 { streams: 10 });
        let server = TlsServer::start(self.authority.acceptor(HOST, &[protocol]), http2).await;
        let address = SocketAddr::from(([127, 0, 0, 1], server.port));
        (server, address)
    }
}

/// An address that answers no SYN: its backlog is full. It lasts as long as what is returned beside it.
async fn hole(v6: bool) -> (SocketAddr, impl Sized) {
    let (socket, any) = match v6 {
        true => (TcpSocket::new_v6().unwrap(), "[::1]:0"),
        false => (TcpSocket::new_v4().unwrap(), "127.0.0.1:0"),
    };
    socket.bind(any.parse().unwrap()).unwrap();
    let listener = socket.listen(0).unwrap();
    let address = listener.local_addr().unwrap();
    let first = TcpStream::connect(address).await.unwrap();
    (address, (listener, first))
}

#[test]
fn a_host_of_which_one_family_does_not_answer_is_reached_by_the_other() {
    local(|| async {
        for v6 in [true, false] {
            let (silent, _held) = hole(v6).await;
            let market = Market::new(Meaning::Gone);
            let (server, answers) = market.server("http/1.1").await;
            market.names.mean(Meaning::At(vec![silent, answers]));
            let start = Instant::now();
            let reply = begin(&market.pool, &market.url, "a", get("/")).await.unwrap().unwrap();
            assert!(start.elapsed() >= Duration::from_millis(250), "the first address was not tried first");
            assert_eq!(reply.peer, Some(answers), "IPv6 silent: {v6}");
            text(reply).await;
            assert_eq!(server.connections.get(), 1);
        }
    });
}

#[test]
fn a_host_none_of_whose_addresses_answers_is_given_up_after_the_connect_limit() {
    local(|| async {
        let ((one, _held), (other, _too)) = (hole(true).await, hole(false).await);
        let market = Market::new(Meaning::At(vec![one, other]));
        let sent = begin(&market.pool, &market.url, "a", get("/"));
        tokio::task::yield_now().await;
        let (failure, after) = outwaited(async { sent.await.unwrap() }).await;
        assert!(matches!(failure.error.cause(), Cause::ConnectTimeout { .. }), "{}", failure.error);
        assert_eq!(after.as_secs(), 5);
    });
}

#[test]
fn a_look_up_without_an_answer_counts_towards_the_connect_limit() {
    local(|| async {
        let market = Market::new(Meaning::Silence);
        let sent = begin(&market.pool, &market.url, "a", get("/"));
        tokio::task::yield_now().await;
        let (failure, after) = outwaited(async { sent.await.unwrap() }).await;
        assert!(matches!(failure.error.cause(), Cause::ConnectTimeout { .. }), "{}", failure.error);
        assert_eq!((after.as_secs(), market.names.asked()), (5, 1));
    });
}

#[test]
fn a_name_that_has_moved_is_followed_once_its_connections_are_five_minutes_old() {
    for protocol in ["http/1.1", "h2"] {
        local(move || async move {
            let market = Market::new(Meaning::Gone);
            let ((old, old_address), (new, new_address)) =
                (market.server(protocol).await, market.server(protocol).await);
            market.names.mean(Meaning::At(vec![old_address]));
            fetch(&market.pool, &market.url, "a").await;
            market.names.mean(Meaning::At(vec![new_address]));
            let rounds = Cell::new(0);
            while new.requests.borrow().is_empty() {
                tokio::time::pause();
                tokio::time::advance(Duration::from_secs(49)).await;
                tokio::time::resume();
                fetch(&market.pool, &market.url, "a").await;
                rounds.set(rounds.get() + 1);
                assert!(rounds.get() <= 7, "the old address is still used after {} s", 49 * rounds.get());
            }
            assert_eq!((rounds.get(), old.requests.borrow().len()), (7, 7), "{protocol}");
            assert_eq!((old.connections.get(), new.connections.get(), market.names.asked()), (1, 1, 2));
        });
    }
}

#[test]
fn a_new_connection_goes_where_the_name_leads_by_then() {
    local(|| async {
        let market = Market::new(Meaning::Gone);
        let ((old, old_address), (new, new_address)) =
            (market.server("http/1.1").await, market.server("http/1.1").await);
        market.names.mean(Meaning::At(vec![old_address]));
        fetch(&market.pool, &market.url, "a").await;
        market.names.mean(Meaning::At(vec![new_address]));
        fetch(&market.pool, &market.url, "b").await;
        fetch(&market.pool, &market.url, "a").await;
        assert_eq!((old.requests.borrow().len(), new.requests.borrow().len()), (2, 1));
    });
}

#[test]
fn while_a_name_is_gone_connections_go_on_and_only_new_ones_fail() {
    local(|| async {
        let market = Market::new(Meaning::Gone);
        let (server, address) = market.server("http/1.1").await;
        assert!(matches!(failure(&market.pool, &market.url).await.cause(), Cause::Dns { .. }));
        market.names.mean(Meaning::At(vec![address]));
        fetch(&market.pool, &market.url, "b").await;
        market.names.mean(Meaning::Gone);
        fetch(&market.pool, &market.url, "b").await;
        let error = failure(&market.pool, &market.url).await;
        assert!(error.sentence().contains("NXDOMAIN") && error.sentence().contains(HOST), "{error}");
        assert_eq!((error.proxy_status_error(), error.may_have_arrived()), ("dns_error", false));
        market.names.mean(Meaning::At(vec![address]));
        fetch(&market.pool, &market.url, "a").await;
        assert_eq!((server.connections.get(), server.requests.borrow().len()), (2, 3));
    });
}
