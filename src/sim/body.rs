//! The body of an answer, made while it is sent. The one rule: nothing here is ever held whole, except what was
//! small to begin with.

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::time::{Sleep, sleep};

use super::exchange::Broken;
use super::sample;

/// Where the bytes come from.
pub(super) enum Source {
    Whole(Bytes),
    /// Deterministic data; without a declared length it travels in chunks.
    Sample {
        total: u64,
        declared: bool,
    },
    /// Pieces with a pause before each, the length never declared: an event stream.
    Paced {
        pieces: VecDeque<Bytes>,
        pause: Duration,
    },
}

/// An answer's body as hyper asks for it.
pub(super) struct AnswerBody {
    source: Source,
    sent: u64,
    /// Made by a fault: bytes a second.
    speed: Option<u64>,
    /// Made by a fault: the body breaks after this many bytes.
    cut: Option<Cut>,
    unsent: Bytes,
    rest: Option<Pin<Box<Sleep>>>,
}

struct Cut {
    left: u64,
    flushed: bool,
}

impl AnswerBody {
    pub(super) fn of(source: Source) -> Self {
        Self { source, sent: 0, speed: None, cut: None, unsent: Bytes::new(), rest: None }
    }

    pub(super) fn slowed(mut self, bytes_per_second: u64) -> Self {
        self.speed = Some(bytes_per_second.max(1));
        self
    }

    pub(super) fn cut_after(mut self, bytes: u64) -> Self {
        self.cut = Some(Cut { left: bytes, flushed: false });
        self
    }

    fn length(&self) -> Option<u64> {
        match &self.source {
            Source::Whole(bytes) => Some(bytes.len() as u64),
            Source::Sample { total, declared: true } => Some(*total),
            Source::Sample { .. } | Source::Paced { .. } => None,
        }
    }

    fn poll_source(&mut self, context: &mut Context<'_>) -> Poll<Option<Bytes>> {
        match &mut self.source {
            Source::Whole(bytes) if self.sent == 0 && !bytes.is_empty() => Poll::Ready(Some(bytes.clone())),
            Source::Sample { total, .. } if self.sent < *total => {
                Poll::Ready(Some(sample::chunk_at(self.sent, *total)))
            }
            Source::Paced { pieces, .. } if pieces.is_empty() => Poll::Ready(None),
            Source::Paced { pause, .. } => {
                let pause = *pause;
                ready!(self.poll_rest(context, pause));
                let Source::Paced { pieces, .. } = &mut self.source else { return Poll::Ready(None) };
                Poll::Ready(pieces.pop_front())
            }
            Source::Whole(_) | Source::Sample { .. } => Poll::Ready(None),
        }
    }

    /// The next bytes, as many as the speed allows at once.
    fn poll_bytes(&mut self, context: &mut Context<'_>) -> Poll<Option<Bytes>> {
        if self.unsent.is_empty() {
            let Some(bytes) = ready!(self.poll_source(context)) else { return Poll::Ready(None) };
            self.sent += bytes.len() as u64;
            self.unsent = bytes;
        }
        let Some(speed) = self.speed else { return Poll::Ready(Some(std::mem::take(&mut self.unsent))) };
        let portion = (speed / 20).max(1);
        ready!(self.poll_rest(context, Duration::from_millis((portion * 1000 / speed).max(1))));
        let length = usize::try_from(portion).unwrap_or(usize::MAX).min(self.unsent.len());
        Poll::Ready(Some(self.unsent.split_to(length)))
    }

    fn poll_rest(&mut self, context: &mut Context<'_>, pause: Duration) -> Poll<()> {
        let rest = self.rest.get_or_insert_with(|| Box::pin(sleep(pause)));
        ready!(rest.as_mut().poll(context));
        self.rest = None;
        Poll::Ready(())
    }
}

impl Cut {
    /// Lets hyper send what it has, then breaks.
    fn poll_break(&mut self, context: &mut Context<'_>) -> Poll<Broken> {
        if self.flushed {
            return Poll::Ready(Broken);
        }
        self.flushed = true;
        context.waker().wake_by_ref();
        Poll::Pending
    }

    fn portion(&mut self, mut bytes: Bytes) -> Bytes {
        bytes.truncate(usize::try_from(self.left).unwrap_or(usize::MAX));
        self.left -= bytes.len() as u64;
        bytes
    }
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        if let Some(cut) = self.cut.as_mut().filter(|cut| cut.left == 0) {
            return cut.poll_break(context).map(|broken| Some(Err(broken)));
        }
        let Some(bytes) = ready!(self.poll_bytes(context)) else {
            return Poll::Ready(self.cut.is_some().then_some(Err(Broken)));
        };
        let bytes = match self.cut.as_mut() {
            Some(cut) => cut.portion(bytes),
            None => bytes,
        };
        Poll::Ready(Some(Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        self.cut.is_none()
            && self.unsent.is_empty()
            && self.length().is_some_and(|length| self.sent >= length)
    }

    fn size_hint(&self) -> SizeHint {
        let unsent = self.unsent.len() as u64;
        self.length()
            .map_or_else(SizeHint::default, |length| SizeHint::with_exact(length - self.sent + unsent))
    }
}
