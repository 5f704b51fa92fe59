//! A request body on its way into a stream. The one rule: it is asked for more only when the upstream has room for what it
//! gave.

use std::{
    future::poll_fn,
    ops::ControlFlow,
    pin::Pin,
    task::{Context, Poll, Waker, ready},
    time::Duration,
};

use bytes::Bytes;
use h2::{Reason, SendStream};
use http_body::Body;
use tokio::{
    task::{AbortHandle, spawn_local},
    time::sleep,
};

use super::super::{RequestBody, outgoing::Outgoing};

/// How long a request's body may go on when its answer is complete. Until then its stream counts for the upstream.
const LATE: Duration = Duration::from_secs(10);

/// A request body that is being sent, by a task of its own. Dropped, it breaks off, and the stream is reset.
pub(super) struct Upload(Option<AbortHandle>);

impl Upload {
    /// Sends what is at hand, and the rest as it comes. None if that was all.
    pub(super) fn begin<B: RequestBody>(body: Outgoing<B>, stream: SendStream<Bytes>) -> Option<Self> {
        let mut pipe = Pipe { body, stream, chunk: Bytes::new() };
        if pipe.poll(&mut Context::from_waker(Waker::noop())).is_ready() {
            return None;
        }
        let task = spawn_local(poll_fn(move |cx| pipe.poll(cx)));
        Some(Self(Some(task.abort_handle())))
    }

    /// The answer is complete; the rest may go on its way for a while, if the upstream takes it.
    pub(super) fn let_go(&mut self) {
        if let Some(task) = self.0.take() {
            spawn_local(async move {
                sleep(LATE).await;
                task.abort();
            });
        }
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        if let Some(task) = &self.0 {
            task.abort();
        }
    }
}

struct Pipe<B> {
    body: Outgoing<B>,
    stream: SendStream<Bytes>,
    /// What the body gave and the upstream has no room for yet.
    chunk: Bytes,
}

impl<B: RequestBody> Pipe<B> {
    /// Ready when nothing more is to be sent, for whatever reason. Whoever waits for the answer learns of a reset.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            if self.stream.poll_reset(cx).is_ready() {
                return Poll::Ready(());
            }
            if !self.chunk.is_empty() {
                if ready!(self.poll_write(cx)).is_break() {
                    return Poll::Ready(());
                }
                continue;
            }
            match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(chunk) if chunk.is_empty() => {}
                    Ok(chunk) => {
                        self.stream.reserve_capacity(chunk.len());
                        self.chunk = chunk;
                    }
                    Err(frame) => {
                        let trailers = frame.into_trailers().unwrap_or_default();
                        let _sent = self.stream.send_trailers(trailers);
                        return Poll::Ready(());
                    }
                },
                Some(Err(_)) => {
                    self.stream.send_reset(Reason::CANCEL);
                    return Poll::Ready(());
                }
                None => {
                    let _sent = self.stream.send_data(Bytes::new(), true);
                    return Poll::Ready(());
                }
            }
            if self.body.is_end_stream() && self.chunk.is_empty() {
                let _sent = self.stream.send_data(Bytes::new(), true);
                return Poll::Ready(());
            }
        }
    }

    /// Sends as much of the chunk as there is room for. Break: nothing may follow.
    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<ControlFlow<()>> {
        while self.stream.capacity() == 0 {
            match ready!(self.stream.poll_capacity(cx)) {
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return Poll::Ready(ControlFlow::Break(())),
            }
        }
        let part = self.chunk.split_to(self.chunk.len().min(self.stream.capacity()));
        let is_last = self.chunk.is_empty() && self.body.is_end_stream();
        let sent = self.stream.send_data(part, is_last);
        let goes_on = sent.is_ok() && !is_last;
        Poll::Ready(if goes_on { ControlFlow::Continue(()) } else { ControlFlow::Break(()) })
    }
}
