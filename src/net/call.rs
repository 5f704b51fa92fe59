//! One request on a connection of its own.

use std::{error::Error, future::poll_fn};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::{
    body::Incoming,
    client::conn::{http1, http2},
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncRead, AsyncWrite, copy, sink};
use tokio_util::task::AbortOnDropHandle;

/// Header fields of an answer over HTTP/1.1, at most.
const MOST_HEADERS: usize = 1000;

/// Longest head of an answer over HTTP/2, in bytes.
const LONGEST_HEAD: u32 = 1024 * 1024;

/// An answer whose body comes for as long as this lives: the connection ends with it.
pub struct Call {
    /// The answer, or why what came is none.
    pub response: hyper::Result<Response<Incoming>>,
    /// Ends when nothing more comes on the connection. HTTP/1.1 is read on behind an answer that has ended or is none.
    pub connection: AbortOnDropHandle<()>,
    /// Keeps a connection of HTTP/2 open behind its answer.
    pub sender: Option<Sender>,
}

/// What sends requests over HTTP/2.
pub type Sender = http2::SendRequest<Full<Bytes>>;

/// Over HTTP/1.1, where the target has no scheme and authority, and `Host` stands among the headers.
///
/// # Errors
/// When nothing can be sent.
pub async fn over_http_1<S>(stream: S, request: Request<Full<Bytes>>) -> hyper::Result<Call>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    // What RFC 9112 §5.2 asks of a recipient, and what careless servers send, is no reason to lose an answer.
    let mut builder = http1::Builder::new();
    builder
        .allow_obsolete_multiline_headers_in_responses(true)
        .allow_spaces_after_header_name_in_responses(true)
        .ignore_invalid_headers_in_responses(true)
        .max_headers(MOST_HEADERS);
    let (mut sender, mut connection) = builder.handshake(TokioIo::new(stream)).await?;
    let connection = tokio::spawn(async move {
        // How it ends is told by the answer's body.
        drop(poll_fn(|context| connection.poll_without_shutdown(context)).await);
        drop(copy(&mut connection.into_parts().io.into_inner(), &mut sink()).await);
    });
    let connection = AbortOnDropHandle::new(connection);
    Ok(Call { response: sender.send_request(request).await, connection, sender: None })
}

/// Over HTTP/2, where the target has both.
///
/// # Errors
/// When nothing can be sent.
pub async fn over_http_2<S>(stream: S, request: Request<Full<Bytes>>) -> hyper::Result<Call>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder.max_header_list_size(LONGEST_HEAD);
    let (mut sender, connection) = builder.handshake(TokioIo::new(stream)).await?;
    let connection = AbortOnDropHandle::new(tokio::spawn(async { drop(connection.await) }));
    Ok(Call { response: sender.send_request(request).await, connection, sender: Some(sender) })
}

/// The plainest words for what went wrong: the innermost cause.
pub fn innermost(error: &hyper::Error) -> String {
    let mut innermost = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let inner = cause.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        innermost = inner.map_or_else(|| cause.to_string(), ToString::to_string);
        next = cause.source();
    }
    innermost
}
