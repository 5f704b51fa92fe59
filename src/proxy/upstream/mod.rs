//! The connections to marketplaces. The one rule: a connection on which one account's answers come (HTTP/1.1) is never
//! used for another account, and a request that may have been written is never written again.
//!
//! Every proxy worker is one thread with a runtime and a `LocalSet` of its own, and has a [`Pool`] of its own; what the
//! workers share is the [`Connector`]. Top to bottom: [`pool`](Pool) (what a request waits for) over `origin` and
//! `stack` (which connections there are, and whose) over `h1` and `h2` (one connection) over [`crate::net`]
//! (how one comes about); `gate` counts connections over all workers, `room` shares them between accounts and callers,
//! `share` is one such part on one worker;
//! `attempt` and `flight` are connections under way, and who waits for them; `exchange`, `outgoing` and `body` are one
//! request and its answer; `lease` is what makes sure that nothing is lost on the way.

use std::time::Duration;

use bytes::Bytes;
use http_body::Body;

mod alarm;
mod attempt;
mod body;
mod connection_metrics;
mod connector;
mod error;
mod exchange;
mod flight;
mod gate;
mod h1;
mod h2;
mod idle;
mod lease;
mod origin;
mod outgoing;
mod pool;
mod room;
mod share;
mod stack;

pub use body::UpstreamBody;
pub use connection_metrics::UpstreamMetrics;
pub use connector::Connector;
pub use error::{Cause, Exceeded, SendFailure, Side, UpstreamError};
pub use exchange::Reply;
pub use pool::{Lane, Pool};

/// Longest life of a connection on which new requests are sent, so that a changed DNS answer and a rolling restart
/// behind a load balancer are noticed.
const MAX_AGE: Duration = Duration::from_secs(300);

/// Longest head of an answer, and longest trailers, in bytes.
const MAX_HEAD: usize = 256 * 1024;

/// Any error a request body may have.
type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// What can be sent as a request's body.
pub trait RequestBody: Body<Data = Bytes, Error: Into<BoxError>> + Unpin + 'static {}

impl<B: Body<Data = Bytes, Error: Into<BoxError>> + Unpin + 'static> RequestBody for B {}
