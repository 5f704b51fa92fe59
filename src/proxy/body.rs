//! Bodies in both directions. The one rule: they stream; only what a repeat after a 401 needs is kept, up to a limit.

use std::{
    cell::RefCell,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use http_body::{Body, Frame, SizeHint};
use http_body_util::Full;
use hyper::body::Incoming;

use super::upstream::{UpstreamBody, UpstreamError};

/// Why a caller's body could not be read to its end.
#[derive(Debug, thiserror::Error)]
pub enum RequestBodyError {
    /// The caller broke off, stalled or framed it wrongly.
    #[error("the caller's request body broke off: {0}")]
    Broken(#[from] hyper::Error),
    /// It is larger than `limits.body`.
    #[error("the request body is larger than limits.body allows")]
    TooLarge,
}

/// A request body on its way to the upstream. Trailers end here: nothing could vouch for them.
#[derive(Debug)]
pub struct RequestBody(Source);

#[derive(Debug)]
enum Source {
    Whole(Option<Bytes>),
    Stream { incoming: Incoming, kept: Rc<RefCell<Kept>>, left: Option<u64> },
}

/// What of a request body is kept for a repeat.
#[derive(Debug, Default)]
pub struct Kept {
    chunks: Vec<Bytes>,
    length: usize,
    limit: usize,
    complete: bool,
    too_large: bool,
}

impl RequestBody {
    /// The caller's body as it arrives. At most `limit` bytes of it are kept; more than `most` bytes are an error.
    pub fn stream(incoming: Incoming, limit: usize, most: Option<u64>) -> (Self, Rc<RefCell<Kept>>) {
        let complete = incoming.is_end_stream();
        let kept = Rc::new(RefCell::new(Kept { limit, complete, ..Kept::default() }));
        (Self(Source::Stream { incoming, kept: kept.clone(), left: most }), kept)
    }

    /// A body that is whole in memory.
    pub fn whole(bytes: Bytes) -> Self {
        Self(Source::Whole(Some(bytes).filter(|bytes| !bytes.is_empty())))
    }
}

impl Kept {
    /// The whole body, if all of it was read and kept.
    pub fn whole(&self) -> Option<Bytes> {
        if !self.complete || self.length > self.limit {
            return None;
        }
        match self.chunks.as_slice() {
            [] => Some(Bytes::new()),
            [only] => Some(only.clone()),
            chunks => Some(chunks.iter().fold(BytesMut::with_capacity(self.length), joined).freeze()),
        }
    }

    /// Whether reading ended because the body exceeds `limits.body`.
    pub fn is_too_large(&self) -> bool {
        self.too_large
    }

    fn keep(&mut self, chunk: &Bytes) {
        self.length = self.length.saturating_add(chunk.len());
        if self.length <= self.limit {
            self.chunks.push(chunk.clone());
        } else {
            self.chunks.clear();
        }
    }
}

fn joined(mut all: BytesMut, chunk: &Bytes) -> BytesMut {
    all.extend_from_slice(chunk);
    all
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = RequestBodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, RequestBodyError>>> {
        let (incoming, kept, left) = match &mut self.0 {
            Source::Whole(bytes) => return Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Source::Stream { incoming, kept, left } => (incoming, kept, left),
        };
        loop {
            let Some(frame) = ready!(Pin::new(&mut *incoming).poll_frame(cx)).transpose()? else {
                kept.borrow_mut().complete = true;
                return Poll::Ready(None);
            };
            let Ok(chunk) = frame.into_data() else { continue };
            let mut kept = kept.borrow_mut();
            if let Some(left) = left {
                *left = match left.checked_sub(chunk.len() as u64) {
                    Some(rest) => rest,
                    None => {
                        kept.too_large = true;
                        return Poll::Ready(Some(Err(RequestBodyError::TooLarge)));
                    }
                };
            }
            kept.keep(&chunk);
            kept.complete = incoming.is_end_stream();
            return Poll::Ready(Some(Ok(Frame::data(chunk))));
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Source::Whole(bytes) => bytes.is_none(),
            Source::Stream { incoming, .. } => incoming.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Source::Whole(bytes) => {
                SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64))
            }
            Source::Stream { incoming, .. } => incoming.size_hint(),
        }
    }
}

/// A reply body on its way to the caller.
#[derive(Debug)]
pub enum ReplyBody {
    /// An answer of our own.
    Own(Full<Bytes>),
    /// The marketplace's.
    Upstream(UpstreamBody),
    /// The marketplace's, of which the beginning was read already.
    Begun(Begun),
}

/// A body whose first frames were read ahead.
#[derive(Debug)]
pub struct Begun {
    frames: std::collections::VecDeque<Frame<Bytes>>,
    rest: UpstreamBody,
    length: SizeHint,
}

/// Reads at most `limit` bytes of a body ahead, to look at them. The body given back is the same, byte for byte.
///
/// # Errors
/// When the upstream breaks off meanwhile.
pub async fn read_ahead(mut body: UpstreamBody, limit: usize) -> Result<(Vec<u8>, Begun), UpstreamError> {
    let length = body.size_hint();
    let (mut frames, mut seen) = (std::collections::VecDeque::new(), Vec::new());
    while seen.len() < limit && !body.is_end_stream() {
        let Some(frame) = std::future::poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await.transpose()?
        else {
            break;
        };
        if let Some(chunk) = frame.data_ref() {
            seen.extend_from_slice(&chunk[..chunk.len().min(limit - seen.len())]);
        }
        frames.push_back(frame);
    }
    Ok((seen, Begun { frames, rest: body, length }))
}

/// How much of an unwanted body is read, and for how long, to spare its connection: a new one costs more than that.
const UNWANTED: (usize, Duration) = (8 * 1024, Duration::from_millis(100));

/// Reads a short body to its end, so that its connection can be used again.
pub async fn discard(mut body: ReplyBody) {
    let (most, limit) = UNWANTED;
    let reading = async {
        let mut read = 0;
        while read < most && !body.is_end_stream() {
            match std::future::poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
                Some(Ok(frame)) => read += frame.data_ref().map_or(0, Bytes::len),
                // What ends it cuts its connection off, which is all there is to do.
                Some(Err(_)) | None => return,
            }
        }
    };
    // A connection that is not spared in time is cut off with the body.
    let _ = tokio::time::timeout(limit, reading).await;
}

impl Body for ReplyBody {
    type Data = Bytes;
    type Error = UpstreamError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, UpstreamError>>> {
        match &mut *self {
            Self::Own(full) => Pin::new(full).poll_frame(cx).map_err(|never| match never {}),
            Self::Upstream(body) => Pin::new(body).poll_frame(cx),
            Self::Begun(begun) => match begun.frames.pop_front() {
                Some(frame) => Poll::Ready(Some(Ok(frame))),
                None => Pin::new(&mut begun.rest).poll_frame(cx),
            },
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Own(full) => full.is_end_stream(),
            Self::Upstream(body) => body.is_end_stream(),
            Self::Begun(begun) => begun.frames.is_empty() && begun.rest.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Own(full) => full.size_hint(),
            Self::Upstream(body) => body.size_hint(),
            Self::Begun(begun) => begun.length,
        }
    }
}
