//! The bytes of one connection, and the switch by which a fault breaks it. The one rule: a connection breaks here,
//! below HTTP, so that a client sees exactly what a dying server would have sent.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

/// A stream that can end its TCP connection with a reset instead of a farewell.
pub(super) trait Socket: AsyncRead + AsyncWrite + Unpin {
    fn tcp(&self) -> &TcpStream;
}

impl Socket for TcpStream {
    fn tcp(&self) -> &TcpStream {
        self
    }
}

impl Socket for TlsStream<TcpStream> {
    fn tcp(&self) -> &TcpStream {
        self.get_ref().0
    }
}

/// What a fault may do to the connection that carries its request.
pub(super) struct Switch {
    /// Bytes that may still be written; `u64::MAX` where nothing limits them.
    allowance: AtomicU64,
    reset: AtomicBool,
}

impl Switch {
    pub(super) fn new() -> Self {
        Self { allowance: AtomicU64::new(u64::MAX), reset: AtomicBool::new(false) }
    }

    /// From now on this many bytes are written, then the connection ends.
    pub(super) fn cut_after(&self, bytes: u64) {
        self.allowance.store(bytes, Ordering::Relaxed);
    }

    /// The connection ends with a TCP reset.
    pub(super) fn reset(&self) {
        self.reset.store(true, Ordering::Relaxed);
        self.cut_after(0);
    }

    fn spend(&self, written: usize) {
        let left = self.allowance.load(Ordering::Relaxed);
        if left != u64::MAX {
            self.allowance.store(left.saturating_sub(written as u64), Ordering::Relaxed);
        }
    }
}

/// A socket under the control of its switch.
pub(super) struct Wire<S: Socket> {
    socket: S,
    switch: Arc<Switch>,
}

impl<S: Socket> Wire<S> {
    pub(super) fn new(socket: S, switch: Arc<Switch>) -> Self {
        Self { socket, switch }
    }

    /// The length that may be written now; `None` where there is no limit.
    fn limit(&self) -> Option<usize> {
        match self.switch.allowance.load(Ordering::Relaxed) {
            u64::MAX => None,
            left => Some(usize::try_from(left).unwrap_or(usize::MAX)),
        }
    }

    /// What was written before must arrive before the connection ends.
    fn poll_end<T>(&mut self, context: &mut Context<'_>) -> Poll<io::Result<T>> {
        if !self.switch.reset.load(Ordering::Relaxed) {
            ready!(Pin::new(&mut self.socket).poll_flush(context))?;
        }
        Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()))
    }
}

impl<S: Socket> Drop for Wire<S> {
    fn drop(&mut self) {
        if self.switch.reset.load(Ordering::Relaxed) {
            let _ = self.socket.tcp().set_zero_linger();
        }
    }
}

impl<S: Socket> AsyncRead for Wire<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.limit() == Some(0) {
            return self.poll_end(context);
        }
        Pin::new(&mut self.socket).poll_read(context, buffer)
    }
}

impl<S: Socket> AsyncWrite for Wire<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let limit = match self.limit() {
            Some(0) => return self.poll_end(context),
            Some(limit) => limit.min(bytes.len()),
            None => bytes.len(),
        };
        let written = ready!(Pin::new(&mut self.socket).poll_write(context, &bytes[..limit]))?;
        self.switch.spend(written);
        Poll::Ready(Ok(written))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.limit().is_some() {
            let first = pieces.iter().find(|piece| !piece.is_empty()).map_or(&[][..], |piece| piece);
            return self.poll_write(context, first);
        }
        Pin::new(&mut self.socket).poll_write_vectored(context, pieces)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(context)
    }
}
