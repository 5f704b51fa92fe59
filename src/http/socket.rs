//! Sockets a door may listen on. The rule: whoever connects is known by what the kernel says of him, not by what he says.

use std::{fmt, io, net::SocketAddr, time::Duration};

use rustix::{io::Errno, net::sockopt::set_socket_linger};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream, UnixListener, UnixStream},
};

/// Who is at the other end of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Peer {
    /// Somebody at an address.
    Address(SocketAddr),
    /// A process of this machine.
    Process {
        /// The effective user it runs as (`SO_PEERCRED`).
        user: u32,
    },
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => address.fmt(f),
            Self::Process { user } => write!(f, "a process of user {user}"),
        }
    }
}

/// A socket that listens.
pub trait Socket {
    /// One connection.
    type Stream: Stream + 'static;

    /// The next connection. Nothing is lost when the future is dropped.
    fn accept(&self) -> impl Future<Output = io::Result<(Self::Stream, Peer)>>;
}

/// One connection of a socket.
pub trait Stream: AsyncRead + AsyncWrite + Unpin {
    /// Whether the connection ends with a reset from now on, however it is let go of, or in order.
    fn end_with_reset(&self, reset: bool);
}

impl Stream for TcpStream {
    fn end_with_reset(&self, reset: bool) {
        // Only a dead socket refuses it, and nobody is misled by the end of that.
        let _ = set_socket_linger(self, reset.then_some(Duration::ZERO));
    }
}

impl Stream for UnixStream {
    /// A Unix socket knows no reset; what is served on one are answers of our own, whose length is told.
    fn end_with_reset(&self, _reset: bool) {}
}

impl Socket for TcpListener {
    type Stream = TcpStream;

    async fn accept(&self) -> io::Result<(TcpStream, Peer)> {
        let (stream, address) = TcpListener::accept(self).await?;
        // Only a matter of speed, and only a dead socket refuses it.
        let _ = stream.set_nodelay(true);
        Ok((stream, Peer::Address(address)))
    }
}

impl Socket for UnixListener {
    type Stream = UnixStream;

    async fn accept(&self) -> io::Result<(UnixStream, Peer)> {
        let (stream, _) = UnixListener::accept(self).await?;
        // Whoever cannot be named is not let in.
        let user = stream.peer_cred().map_err(|_| Errno::CONNABORTED)?.uid();
        Ok((stream, Peer::Process { user }))
    }
}
