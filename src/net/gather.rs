//! Short writes in one piece. The rule: what is written is the same, byte for byte.
//!
//! The kernel takes one piece from `send` a tenth of a microsecond sooner than several from `writev`, and a proxied request
//! is two writes.

use std::{
    io::{self, IoSlice},
    mem::MaybeUninit,
    pin::Pin,
    task::{Context, Poll},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Up to here copying pieces together costs less than it saves, in bytes.
const SHORT: usize = 2048;

/// Writes several pieces: together when they are short, else as they are.
pub fn poll_write<W: AsyncWrite>(
    io: Pin<&mut W>,
    cx: &mut Context<'_>,
    pieces: &[IoSlice<'_>],
) -> Poll<io::Result<usize>> {
    match pieces {
        [only] => io.poll_write(cx, only),
        several if several.iter().map(|piece| piece.len()).sum::<usize>() <= SHORT => {
            let mut room = [MaybeUninit::uninit(); SHORT];
            let mut together = ReadBuf::uninit(&mut room);
            several.iter().for_each(|piece| together.put_slice(piece));
            io.poll_write(cx, together.filled())
        }
        several => io.poll_write_vectored(cx, several),
    }
}

/// A stream that writes so.
pub struct Gathered<S>(pub S);

impl<S: AsyncRead + Unpin> AsyncRead for Gathered<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Gathered<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        poll_write(Pin::new(&mut self.0), cx, pieces)
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

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::io::AsyncReadExt;

    use super::*;

    #[tokio::test]
    async fn pieces_arrive_as_they_are_together_or_not_and_however_much_is_taken_at_once() {
        for (lengths, room) in
            [(&[600][..], 700), (&[450, 0, 150], 700), (&[450, 150], 100), (&[2000, 60], 4096)]
        {
            let (near, mut far) = tokio::io::duplex(room);
            let bytes: Vec<u8> = (0..lengths.iter().sum::<usize>()).map(|i| i as u8).collect();
            let mut rest = &bytes[..];
            let cut = |length: &usize| rest.split_off(..*length).unwrap();
            let pieces: Vec<_> = lengths.iter().map(cut).map(IoSlice::new).collect();
            let mut near = Gathered(near);
            let written = poll_fn(|cx| Pin::new(&mut near).poll_write_vectored(cx, &pieces)).await.unwrap();
            assert!(written == bytes.len().min(room) || written == lengths[0], "{written} of {lengths:?}");
            drop(near);
            let mut came = Vec::new();
            far.read_to_end(&mut came).await.unwrap();
            assert_eq!(came, bytes[..written]);
        }
    }
}
