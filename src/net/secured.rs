//! A TLS stream that is cheap to ask in vain. The one rule: nothing that rustls holds is ever left waiting.
//!
//! An HTTP connection is asked for bytes several times per request when there are none: before a request goes out, after
//! an answer's end, beside every write. A look at the socket's readiness answers that without a walk through rustls.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};
use tokio_rustls::client::TlsStream;

use super::gather::Gathered;

/// A TLS stream over TCP, after its handshake.
pub struct Secured(pub(super) TlsStream<Gathered<TcpStream>>);

impl Secured {
    /// Whether HTTP/1.1 was agreed on (RFC 7301), and not merely nothing else.
    pub fn speaks_http1(&self) -> bool {
        self.0.get_ref().1.alpn_protocol() == Some(b"http/1.1")
    }

    /// Whether HTTP/2 was agreed on (RFC 7301).
    pub fn speaks_h2(&self) -> bool {
        self.0.get_ref().1.alpn_protocol() == Some(b"h2")
    }
}

impl AsyncRead for Secured {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let (socket, session) = self.0.get_ref();
        // rustls wants bytes only when it holds none that the reader could have.
        if session.wants_read() {
            ready!(socket.0.poll_read_ready(cx))?;
        }
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl AsyncWrite for Secured {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.0.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}
