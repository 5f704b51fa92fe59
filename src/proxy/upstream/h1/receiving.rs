//! The body of an answer. The one rule: it ends where its framing says; the stream's end is an error everywhere else.

use std::{
    cell::RefCell,
    rc::Rc,
    task::{Context, Poll, ready},
};

use bytes::{Bytes, BytesMut};
use http_body::{Frame, SizeHint};
use tokio::task::AbortHandle;

use super::{
    chunked::{Decoder, Step},
    framing::Framing,
    wire::Wire,
};

/// The rest of an exchange whose answer's head has come.
pub(in super::super) struct Receiving {
    /// None once the exchange is over: then it may be another's.
    wire: Option<Rc<RefCell<Wire>>>,
    rest: Rest,
    keeps_alive: bool,
    /// What sends the rest of the request body meanwhile.
    sender: Option<AbortHandle>,
}

/// What is still to come.
#[derive(Debug)]
pub(super) enum Rest {
    Length(u64),
    Chunked(Decoder),
    /// Until the stream ends.
    Close,
    Ended,
}

impl Receiving {
    pub(super) fn new(
        wire: Rc<RefCell<Wire>>,
        framing: Framing,
        keeps_alive: bool,
        sender: Option<AbortHandle>,
    ) -> Self {
        let rest = Rest::of(framing);
        let keeps_alive = keeps_alive && !rest.ends_with_the_stream();
        Self { wire: Some(wire), rest, keeps_alive, sender }
    }

    /// Whether the upstream means to answer another request on this connection.
    pub(in super::super) fn keeps_alive(&self) -> bool {
        self.keeps_alive
    }

    /// Lets go of the connection. What of the request is not yet taken from its caller is not sent any more.
    pub(in super::super) fn let_go(&mut self) {
        self.wire = None;
        if let Some(sender) = self.sender.take() {
            sender.abort();
        }
    }

    pub(in super::super) fn is_end_stream(&self) -> bool {
        matches!(self.rest, Rest::Length(0) | Rest::Chunked(Decoder::Ended) | Rest::Ended)
    }

    pub(in super::super) fn size_hint(&self) -> SizeHint {
        match self.rest {
            Rest::Length(left) => SizeHint::with_exact(left),
            Rest::Chunked(_) | Rest::Close | Rest::Ended => SizeHint::default(),
        }
    }

    /// The next piece, or why there will be none.
    pub(in super::super) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, String>>> {
        let Some(wire) = &self.wire else { return Poll::Ready(None) };
        let wire = &mut *wire.borrow_mut();
        loop {
            let expected = match self.rest.step(&mut wire.received) {
                Ok(Step::Frame(frame)) => return Poll::Ready(Some(Ok(frame))),
                Ok(Step::End) => return Poll::Ready(None),
                Ok(Step::More(expected)) => expected,
                Err(reason) => return Poll::Ready(Some(Err(reason.to_owned()))),
            };
            match ready!(wire.poll_fill(expected, cx)) {
                Ok(0) if self.rest.ends_with_the_stream() => self.rest = Rest::Ended,
                Ok(0) => {
                    return Poll::Ready(Some(Err("the connection ended before the body did".to_owned())));
                }
                Ok(_) => {}
                Err(error) => return Poll::Ready(Some(Err(error.to_string()))),
            }
        }
    }
}

impl Rest {
    pub(super) fn of(framing: Framing) -> Self {
        match framing {
            Framing::Length(length) => Self::Length(length),
            Framing::Chunked => Self::Chunked(Decoder::Size),
            Framing::Close => Self::Close,
        }
    }

    /// Whether the stream's end is the body's.
    pub(super) fn ends_with_the_stream(&self) -> bool {
        matches!(self, Self::Close)
    }

    /// Takes what it can out of `received`. An error says what is wrong.
    pub(super) fn step(&mut self, received: &mut BytesMut) -> Result<Step, &'static str> {
        match self {
            Self::Length(0) | Self::Ended => Ok(Step::End),
            Self::Length(left) if received.is_empty() => Ok(Step::More(*left)),
            Self::Length(left) => {
                let taken = received.len().min(usize::try_from(*left).unwrap_or(usize::MAX));
                *left -= taken as u64;
                Ok(Step::Frame(Frame::data(received.split_to(taken).freeze())))
            }
            Self::Chunked(decoder) => decoder.step(received),
            Self::Close if received.is_empty() => Ok(Step::More(u64::MAX)),
            Self::Close => Ok(Step::Frame(Frame::data(received.split().freeze()))),
        }
    }
}

impl Drop for Receiving {
    fn drop(&mut self) {
        self.let_go();
    }
}
