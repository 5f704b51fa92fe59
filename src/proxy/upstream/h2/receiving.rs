//! An answer's body as its stream brings it. The one rule: the upstream may send as much more as was read.

use std::{
    rc::Rc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use h2::RecvStream;
use http::{Response, header::CONTENT_LENGTH};
use http_body::{Frame, SizeHint};

use super::{Upload, Wire, wire::Reader, words};

/// The body of an answer. Dropped before its end, it resets the stream.
pub(in super::super) struct Receiving {
    stream: RecvStream,
    /// The rest of what `Content-Length` promised.
    promised: Option<u64>,
    /// Nothing but trailers can follow.
    is_read: bool,
    /// Bytes read since the connection's window was last made larger.
    read: u64,
    upload: Option<Upload>,
    wire: Rc<Wire>,
    reader: Rc<Reader>,
    /// See [`Wire::shrunk`].
    shrunk: u64,
}

impl Receiving {
    pub(super) fn of(
        response: Response<RecvStream>,
        upload: Option<Upload>,
        wire: &Rc<Wire>,
    ) -> Response<Self> {
        let length = response.headers().get(CONTENT_LENGTH).and_then(|length| length.to_str().ok());
        let promised = length.and_then(|length| length.parse().ok());
        response.map(|stream| Self {
            stream,
            promised,
            is_read: false,
            read: 0,
            upload,
            wire: wire.clone(),
            reader: Rc::default(),
            shrunk: wire.shrunk(),
        })
    }

    pub(in super::super) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, String>>> {
        if !self.is_read {
            if self.shrunk != self.wire.shrunk() {
                self.shrunk = self.wire.shrunk();
                // Tells the upstream of what was read, if it must hear of that now.
                let _told = self.stream.flow_control().release_capacity(0);
            }
            let Poll::Ready(data) = self.stream.poll_data(cx) else {
                if self.wire.has_widened(self.read) {
                    self.read = 0;
                }
                if self.reader.waits(cx) {
                    self.wire.wait(&self.reader);
                }
                return Poll::Pending;
            };
            self.wire.hear();
            match data {
                Some(Ok(bytes)) => return Poll::Ready(Some(Ok(Frame::data(self.take(bytes))))),
                Some(Err(error)) => return Poll::Ready(Some(Err(words(&error)))),
                None => self.is_read = true,
            }
        }
        let trailers = ready!(self.stream.poll_trailers(cx));
        Poll::Ready(trailers.transpose().map(|trailers| match trailers {
            Ok(trailers) => Ok(Frame::trailers(trailers)),
            Err(error) => Err(words(&error)),
        }))
    }

    fn take(&mut self, bytes: Bytes) -> Bytes {
        let length = bytes.len();
        // Refused only to one who gives back more than came.
        let _given_back = self.stream.flow_control().release_capacity(length);
        self.read += length as u64;
        self.promised = self.promised.map(|promised| promised.saturating_sub(length as u64));
        bytes
    }

    pub(in super::super) fn is_end_stream(&self) -> bool {
        self.stream.is_end_stream()
    }

    pub(in super::super) fn size_hint(&self) -> SizeHint {
        self.promised.map_or_else(SizeHint::default, SizeHint::with_exact)
    }

    /// The answer is complete: the rest of the request may go on its way.
    pub(in super::super) fn let_go(&mut self) {
        if let Some(upload) = &mut self.upload
            && self.stream.is_end_stream()
        {
            upload.let_go();
        }
    }
}
