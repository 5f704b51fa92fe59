//! A request body on its way onto the wire. The one rule: exactly what the head promised is written, or the connection
//! is of no more use.

use std::{
    cell::RefCell,
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{BufMut, Bytes};
use http_body::Body;

use super::{
    super::{RequestBody, outgoing::Outgoing},
    head::RequestFraming,
    wire::{Outbox, Wire},
};

/// A request body that is being sent.
pub(super) struct Upload<B> {
    body: Outgoing<B>,
    encoder: Encoder,
    /// All of it is in the outbox.
    taken: bool,
    broken: bool,
}

/// Why it will not be sent to its end.
pub(super) enum Broken {
    /// The caller broke off, or gave another length than promised.
    Caller,
    Upstream(io::Error),
}

enum Encoder {
    Length { left: u64 },
    Chunked,
}

/// How a body is to be framed.
pub(super) fn framing<B: RequestBody>(body: &Outgoing<B>) -> RequestFraming {
    match body.size_hint().exact() {
        _ if body.is_end_stream() => RequestFraming::None,
        Some(length) => RequestFraming::Length(length),
        None => RequestFraming::Chunked,
    }
}

impl<B: RequestBody> Upload<B> {
    /// Puts what the body has at hand behind the head.
    pub(super) fn begin(
        body: Outgoing<B>,
        framing: RequestFraming,
        wire: &RefCell<Wire>,
        cx: &mut Context<'_>,
    ) -> Self {
        let (encoder, taken) = match framing {
            RequestFraming::None => (Encoder::Length { left: 0 }, true),
            RequestFraming::Length(left) => (Encoder::Length { left }, false),
            RequestFraming::Chunked => (Encoder::Chunked, false),
        };
        let mut upload = Self { body, encoder, taken, broken: false };
        if !taken {
            upload.broken =
                matches!(upload.poll_take(&mut wire.borrow_mut().outbox, cx), Poll::Ready(Err(_)));
        }
        upload
    }

    /// Sends all that is left.
    pub(super) fn poll(&mut self, wire: &RefCell<Wire>, cx: &mut Context<'_>) -> Poll<Result<(), Broken>> {
        if self.broken {
            return Poll::Ready(Err(Broken::Caller));
        }
        loop {
            // Only then the body is asked for more: an upstream that takes nothing holds its caller back.
            ready!(wire.borrow_mut().poll_drain(cx)).map_err(Broken::Upstream)?;
            if self.taken {
                return Poll::Ready(Ok(()));
            }
            ready!(self.poll_take(&mut wire.borrow_mut().outbox, cx))?;
        }
    }

    /// Puts the body's next piece into the outbox.
    fn poll_take(&mut self, out: &mut Outbox, cx: &mut Context<'_>) -> Poll<Result<(), Broken>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        // Trailers are for nobody: no head announced them.
        let data = frame.transpose().map_err(|_| Broken::Caller)?.and_then(|frame| frame.into_data().ok());
        self.taken = data.is_none() || self.body.is_end_stream();
        Poll::Ready(self.encoder.write(data.unwrap_or_default(), self.taken, out))
    }
}

impl Encoder {
    /// Writes a piece, and what ends the body behind its last.
    fn write(&mut self, data: Bytes, is_last: bool, out: &mut Outbox) -> Result<(), Broken> {
        match self {
            Self::Length { left } => {
                *left = left.checked_sub(data.len() as u64).ok_or(Broken::Caller)?;
                if is_last && *left > 0 {
                    return Err(Broken::Caller);
                }
                out.put(data, "");
            }
            Self::Chunked if data.is_empty() => out.put(data, if is_last { "0\r\n\r\n" } else { "" }),
            Self::Chunked => {
                out.small.put_slice(format!("{:x}\r\n", data.len()).as_bytes());
                out.put(data, if is_last { "\r\n0\r\n\r\n" } else { "\r\n" });
            }
        }
        Ok(())
    }
}
