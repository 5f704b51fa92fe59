//! The listener: accepts, numbers and serves connections. The one rule: every connection is a task of this listener,
//! and ends with it.

use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use super::exchange::{self, Connection};
use super::wire::{Socket, Switch, Wire};
use super::world::World;

/// Serves until `stop`; answers that are under way then are cut.
pub(super) async fn serve(
    world: Arc<World>,
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    stop: impl Future<Output = ()>,
) {
    let mut connections = JoinSet::new();
    let mut stop = pin!(stop);
    loop {
        tokio::select! {
            () = &mut stop => break,
            accepted = listener.accept() => match accepted {
                Ok((socket, peer)) => {
                    connections.spawn(welcome(world.clone(), socket, peer, tls.clone()));
                }
                // Out of file descriptors, most likely: others must close before the next can be accepted.
                Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
            },
            Some(_) = connections.join_next() => {}
        }
    }
    drop(listener);
    connections.shutdown().await;
}

/// Counts a connection for as long as it is open.
struct Open(Arc<World>);

impl Open {
    fn count(world: Arc<World>) -> (Self, u64) {
        let number = world.connections.accepted.fetch_add(1, Ordering::Relaxed) + 1;
        world.connections.open.fetch_add(1, Ordering::Relaxed);
        (Self(world), number)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.connections.open.fetch_sub(1, Ordering::Relaxed);
        self.0.recorder.wake();
    }
}

async fn welcome(world: Arc<World>, socket: TcpStream, peer: SocketAddr, tls: Option<TlsAcceptor>) {
    let (open, number) = Open::count(world.clone());
    let _ = socket.set_nodelay(true);
    let switch = Arc::new(Switch::new());
    let connection = Connection { number, peer: peer.ip(), tls: tls.is_some(), switch };
    match tls {
        None => converse(world, socket, connection, false).await,
        Some(tls) => match tls.accept(socket).into_fallible().await {
            Ok(socket) => {
                let http2 = socket.get_ref().1.alpn_protocol() == Some(b"h2");
                converse(world, socket, connection, http2).await;
            }
            Err((_, socket)) => let_it_be_read(socket).await,
        },
    }
    drop(open);
}

/// Closes a connection whose handshake failed so that the alert arrives: with unread bytes it would end with a reset.
async fn let_it_be_read(mut socket: TcpStream) {
    let _ = socket.shutdown().await;
    let mut nowhere = tokio::io::sink();
    let rest = tokio::io::copy(&mut socket, &mut nowhere);
    let _ = tokio::time::timeout(Duration::from_secs(1), rest).await;
}

async fn converse<S: Socket + Send + 'static>(
    world: Arc<World>,
    socket: S,
    connection: Connection,
    http2: bool,
) {
    let io = TokioIo::new(Wire::new(socket, connection.switch.clone()));
    let service = service_fn(move |request| {
        let (world, connection) = (world.clone(), connection.clone());
        async move { exchange::answer(&world, &connection, request).await }
    });
    // A client that goes away or a fault that breaks the connection ends it; both are expected.
    if http2 {
        let mut builder = http2::Builder::new(TokioExecutor::new());
        builder
            .timer(TokioTimer::new())
            .initial_stream_window_size(1 << 20)
            .initial_connection_window_size(4 << 20);
        let _ = builder.serve_connection(io, service).await;
    } else {
        let mut builder = http1::Builder::new();
        // Idle connections stay open however far a test moves its clock; faults close them.
        builder.timer(TokioTimer::new()).header_read_timeout(None);
        let _ = builder.serve_connection(io, service).await;
    }
}
