//! A request until its answer's head. The one rule: a request comes back only if not a byte of it was given to the
//! connection.

use std::{
    future::Future,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
};

use h2::{Reason, client::ResponseFuture};
use http::{Request, Response};

use super::{
    super::{
        error::Cause,
        exchange::NoAnswer,
        outgoing::{Outgoing, Progress},
    },
    Receiving, Upload, Wire, words,
};

/// A request under way. Dropped, it resets its stream.
pub(in super::super) struct Sending<B>(State<B>);

enum State<B> {
    Sent(Sent),
    /// None once it was given back.
    Unsent(Option<Box<Request<Outgoing<B>>>>),
    Failed(Cause),
}

struct Sent {
    answer: ResponseFuture,
    upload: Option<Upload>,
    progress: Option<Rc<Progress>>,
    wire: Rc<Wire>,
}

impl<B> Sending<B> {
    pub(super) fn sent(
        answer: ResponseFuture,
        upload: Option<Upload>,
        progress: Option<Rc<Progress>>,
        wire: &Rc<Wire>,
    ) -> Self {
        Self(State::Sent(Sent { answer, upload, progress, wire: wire.clone() }))
    }

    /// The connection takes no more requests.
    pub(super) fn unsent(request: Box<Request<Outgoing<B>>>) -> Self {
        Self(State::Unsent(Some(request)))
    }

    /// The connection takes no such request.
    pub(super) fn failed(error: &h2::Error) -> Self {
        Self(State::Failed(Cause::Protocol { reason: words(error) }))
    }
}

impl<B: Unpin> Future for Sending<B> {
    type Output = Result<Response<Receiving>, NoAnswer<B>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let sent = match &mut self.0 {
            State::Sent(sent) => sent,
            State::Failed(cause) => return Poll::Ready(Err(NoAnswer::Failed(cause.clone()))),
            State::Unsent(request) => {
                let given_back = request.take().map(NoAnswer::Unsent);
                return Poll::Ready(Err(given_back.unwrap_or(NoAnswer::Failed(Cause::Interrupted))));
            }
        };
        Poll::Ready(match ready!(Pin::new(&mut sent.answer).poll(cx)) {
            Ok(response) => {
                sent.wire.hear();
                let upload = sent.upload.take();
                Ok(Receiving::of(response, upload, &sent.wire))
            }
            Err(error) => Err(NoAnswer::Failed(cause(&error, sent.progress.as_deref()))),
        })
    }
}

fn cause(error: &h2::Error, upload: Option<&Progress>) -> Cause {
    let reason = words(error);
    if upload.is_some_and(Progress::is_broken) {
        Cause::RequestBody
    } else if is_refused(error) {
        Cause::RefusedStream
    } else if error.is_remote() && error.reason() == Some(Reason::HTTP_1_1_REQUIRED) {
        Cause::Http11Required
    } else if error.is_library() && error.is_reset() {
        // This very answer is at fault.
        Cause::Protocol { reason }
    } else if error.is_reset() {
        Cause::Closed { reason }
    } else {
        Cause::ConnectionError { reason }
    }
}

/// RFC 9113 §8.7: REFUSED_STREAM, and a GOAWAY without error for a stream above its last one, mean "not processed".
fn is_refused(error: &h2::Error) -> bool {
    let reason = error.reason();
    error.is_remote()
        && (error.is_reset() && reason == Some(Reason::REFUSED_STREAM)
            || error.is_go_away() && reason == Some(Reason::NO_ERROR))
}
