//! A request on a connection until its answer's head. The one rule: before the first byte the request can be taken back
//! whole; from the first byte on it has been sent, whatever happens.

use std::{
    future::{Future, poll_fn},
    io, mem,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
};

use http::{HeaderMap, Method, Request, Response};

use super::{
    super::{RequestBody, error::Cause, exchange::NoAnswer, outgoing::Outgoing},
    H1, Receiving,
    head::{self, Head, Reader},
    upload::{self, Broken, Upload},
};
use crate::net::{TlsFault, is_refused_certificate};

/// The way of a request to the head of its answer.
pub(in super::super) struct Sending<B: RequestBody> {
    connection: Rc<H1<B>>,
    stage: Stage<B>,
}

enum Stage<B> {
    Untouched(Box<Request<Outgoing<B>>>),
    Begun(Begun<B>),
    Over,
}

/// An exchange without an answer so far.
struct Begun<B> {
    method: Method,
    /// The request's, to be used again for the answer's.
    fields: HeaderMap,
    /// None once all of it is written.
    upload: Option<Upload<B>>,
    /// Why not all of it will be. An upstream that refuses a body may have answered before it closed.
    refused: Option<io::Error>,
    reader: Reader,
}

impl<B: RequestBody> Sending<B> {
    pub(super) fn new(connection: Rc<H1<B>>, request: Box<Request<Outgoing<B>>>) -> Self {
        Self { connection, stage: Stage::Untouched(request) }
    }
}

impl<B: RequestBody> Future for Sending<B> {
    type Output = Result<Response<Receiving>, NoAnswer<B>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Self { connection, stage } = &mut *self;
        if let Stage::Untouched(_) = stage
            && let Stage::Untouched(request) = mem::replace(stage, Stage::Over)
        {
            if !connection.wire.borrow_mut().is_quiet(cx) {
                return Poll::Ready(Err(NoAnswer::Unsent(request)));
            }
            let mut begun = Begun::new(connection, *request, cx);
            let sent = begun.poll_upload(connection, cx);
            *stage = Stage::Begun(begun);
            // Nothing has come yet, as was just seen, and whatever comes now wakes this task.
            return sent.map_or_else(|cause| Poll::Ready(Err(NoAnswer::Failed(cause))), |()| Poll::Pending);
        }
        let Stage::Begun(begun) = stage else { return Poll::Pending };
        let head = ready!(begun.poll(connection, cx));
        let Stage::Begun(begun) = mem::replace(stage, Stage::Over) else { return Poll::Pending };
        Poll::Ready(head.map(|head| begun.receive(connection, head)).map_err(NoAnswer::Failed))
    }
}

impl<B: RequestBody> Begun<B> {
    /// Nothing is written yet: what the body has at hand goes out with the head.
    fn new(connection: &H1<B>, request: Request<Outgoing<B>>, cx: &mut Context<'_>) -> Self {
        let framing = upload::framing(request.body());
        head::write(&request, framing, &connection.transport, &mut connection.wire.borrow_mut().outbox.small);
        let (parts, body) = request.into_parts();
        Self {
            method: parts.method,
            fields: parts.headers,
            upload: Some(Upload::begin(body, framing, &connection.wire, cx)),
            refused: None,
            reader: Reader::default(),
        }
    }

    fn poll(&mut self, connection: &H1<B>, cx: &mut Context<'_>) -> Poll<Result<Head, Cause>> {
        self.poll_upload(connection, cx)?;
        let wire = &mut *connection.wire.borrow_mut();
        loop {
            let head = self.reader.read(&self.method, &mut wire.received, &mut self.fields);
            match head.map_err(|reason| Cause::Protocol { reason })? {
                Some(head) => return Poll::Ready(Ok(head)),
                None => match ready!(wire.poll_fill(0, cx)) {
                    Ok(0) => return Poll::Ready(Err(self.closed(wire.received.is_empty(), None))),
                    Ok(_) => {}
                    Err(error) => {
                        return Poll::Ready(Err(self.closed(wire.received.is_empty(), Some(error))));
                    }
                },
            }
        }
    }

    /// Sends what can be sent. Only a caller who breaks off is an error here.
    fn poll_upload(&mut self, connection: &H1<B>, cx: &mut Context<'_>) -> Result<(), Cause> {
        let Some(upload) = self.upload.as_mut().filter(|_| self.refused.is_none()) else { return Ok(()) };
        match upload.poll(&connection.wire, cx) {
            Poll::Pending => {}
            Poll::Ready(Ok(())) => self.upload = None,
            Poll::Ready(Err(Broken::Upstream(error))) => self.refused = Some(error),
            Poll::Ready(Err(Broken::Caller)) => return Err(Cause::RequestBody),
        }
        Ok(())
    }

    fn closed(&mut self, nothing_came: bool, error: Option<io::Error>) -> Cause {
        let reason = match error.or(self.refused.take()) {
            Some(error) => error.to_string(),
            None if nothing_came => "not a byte of an answer came".to_owned(),
            None => "within the answer's head".to_owned(),
        };
        match nothing_came && is_refused_certificate(&reason) {
            true => Cause::Tls { fault: TlsFault::ClientCertificate, reason },
            false => Cause::Closed { reason },
        }
    }

    /// The rest of the exchange. An answer may come before the request has ended, which then goes on by itself: its caller
    /// may not read before he has written.
    fn receive(self, connection: &H1<B>, head: Head) -> Response<Receiving> {
        connection.announced.set(head.kept_for);
        let wire = connection.wire.clone();
        let upload = self.upload.filter(|_| self.refused.is_none());
        let sender = upload.map(|mut upload| {
            let wire = wire.clone();
            let send = async move {
                if poll_fn(|cx| upload.poll(&wire, cx)).await.is_err() {
                    wire.borrow_mut().say_farewell();
                }
            };
            tokio::task::spawn_local(send).abort_handle()
        });
        head.response.map(|()| Receiving::new(wire, head.framing, head.keeps_alive, sender))
    }
}
