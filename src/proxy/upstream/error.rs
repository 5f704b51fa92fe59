//! Why an upstream gave no answer, or not a whole one. The one rule: an error names the place, whose fault it is and
//! what helps, and it never claims that a request stayed unsent when a byte of it may have gone out.

use std::{fmt, sync::Arc, time::Duration};

use http::Request;

use crate::net::{DialError, TlsFault};

/// What went wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cause {
    /// The host's name could not be resolved.
    Dns {
        /// What the resolver said.
        reason: String,
    },
    /// Nothing listens there.
    Refused,
    /// There is no way to the address, or the way broke while connecting.
    Unreachable {
        /// What the operating system said.
        reason: String,
    },
    /// Name lookup, TCP and TLS took longer than `upstream.timeouts.connect`.
    ConnectTimeout {
        /// The limit.
        limit: Duration,
    },
    /// The TLS handshake failed.
    Tls {
        /// What failed in it.
        fault: TlsFault,
        /// What the TLS library said.
        reason: String,
    },
    /// The forward proxy did not open the way.
    ForwardProxy {
        /// Its host and port.
        proxy: String,
        /// Its answer to `CONNECT`, when there was one.
        status: Option<u16>,
        /// What happened, where there was no answer.
        reason: String,
    },
    /// The connection, or of one over HTTP/2 this request's stream, ended before the answer's head.
    Closed {
        /// What was wrong with it, in words.
        reason: String,
    },
    /// The HTTP/2 connection ended before the answer's head. Any of its requests may have been the reason.
    ConnectionError {
        /// What was wrong with it, in words.
        reason: String,
    },
    /// No answer within `upstream.timeouts.head` of the request's end.
    HeadTimeout {
        /// The limit.
        limit: Duration,
    },
    /// Nothing moved for `upstream.timeouts.stall`.
    Stall {
        /// Which body stood still, and because of whom.
        side: Side,
        /// The limit.
        limit: Duration,
    },
    /// The answer's body ended early.
    Incomplete {
        /// What was wrong with it, in words.
        reason: String,
    },
    /// What came is not HTTP, or not what was asked for.
    Protocol {
        /// What was wrong with it, in words.
        reason: String,
    },
    /// The upstream refused the exchange unprocessed (RFC 9113 §8.7).
    RefusedStream,
    /// The upstream wants this over HTTP/1.1 (RFC 9113 §7).
    Http11Required,
    /// What the request needs was no longer valid when a connection came free.
    NotReady,
    /// The caller's request body ended early.
    RequestBody,
    /// All connections that this caller may use for this account are in use.
    Overloaded {
        /// Which limit ended the wait for one.
        limit: Exceeded,
    },
    /// The attempt to connect was abandoned within Marketgate.
    Interrupted,
}

/// The limit for which a request got no connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exceeded {
    /// `upstream.limits.queue`.
    Queue {
        /// Requests that may wait.
        places: usize,
    },
    /// `upstream.timeouts.head`: the turn did not come in time.
    Wait {
        /// How long a request waits.
        limit: Duration,
    },
}

impl Exceeded {
    /// All of [`Exceeded::label`].
    pub const LABELS: [&'static str; 2] = ["queue", "wait"];

    /// A word for it in metrics.
    pub fn label(self) -> &'static str {
        match self {
            Self::Queue { .. } => "queue",
            Self::Wait { .. } => "wait",
        }
    }
}

impl From<DialError> for Cause {
    fn from(error: DialError) -> Self {
        match error {
            DialError::Dns { reason } => Self::Dns { reason },
            DialError::Refused => Self::Refused,
            DialError::Unreachable { reason } => Self::Unreachable { reason },
            DialError::Late { limit } => Self::ConnectTimeout { limit },
            DialError::Tls { fault, reason } => Self::Tls { fault, reason },
            DialError::ForwardProxy { proxy, status, reason } => Self::ForwardProxy { proxy, status, reason },
            DialError::Interrupted => Self::Interrupted,
        }
    }
}

/// Whose turn it was when a body stood still.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// The caller sent no more of its request body.
    Caller,
    /// The upstream took no more of the request body.
    UpstreamTaking,
    /// The upstream sent no more of its answer's body.
    UpstreamSending,
}

/// A failed exchange with an upstream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpstreamError {
    cause: Cause,
    place: Arc<str>,
    may_have_arrived: bool,
}

impl UpstreamError {
    /// Before anything was sent.
    pub(super) fn unsent(place: &Arc<str>, cause: Cause) -> Self {
        Self { cause, place: place.clone(), may_have_arrived: false }
    }

    /// After the request, or a part of it, may have gone out.
    pub(super) fn sent(place: &Arc<str>, cause: Cause) -> Self {
        // A refused certificate of ours comes after the handshake, and before anything that was sent is looked at.
        let may_have_arrived =
            !matches!(cause, Cause::RefusedStream | Cause::Http11Required | Cause::Tls { .. });
        Self { cause, place: place.clone(), may_have_arrived }
    }

    /// What went wrong.
    pub fn cause(&self) -> &Cause {
        &self.cause
    }

    /// Host and port of the upstream.
    pub fn place(&self) -> &str {
        &self.place
    }

    /// Whether any byte of the request may have been acted upon. When false, sending it again is safe for every method.
    pub fn may_have_arrived(&self) -> bool {
        self.may_have_arrived
    }

    /// Whether the upstream does not speak HTTP/1.1 there.
    pub(super) fn is_http2_only(&self) -> bool {
        matches!(self.cause, Cause::Tls { fault: TlsFault::NoProtocol, .. })
    }

    /// Whether it was a time limit.
    pub fn is_timeout(&self) -> bool {
        matches!(self.cause, Cause::ConnectTimeout { .. } | Cause::HeadTimeout { .. } | Cause::Stall { .. })
    }

    /// Whether it was our own limit on connections.
    pub fn is_overload(&self) -> bool {
        matches!(self.cause, Cause::Overloaded { .. })
    }

    /// Whether the caller broke off, so that nobody waits for an answer.
    pub fn is_by_caller(&self) -> bool {
        matches!(self.cause, Cause::RequestBody | Cause::Stall { side: Side::Caller, .. })
    }

    /// All of [`UpstreamError::proxy_status_error`].
    pub const KINDS: [&'static str; 18] = [
        "dns_error",
        "connection_refused",
        "destination_ip_unroutable",
        "connection_timeout",
        "tls_certificate_error",
        "tls_alert_received",
        "tls_protocol_error",
        "destination_unavailable",
        "connection_terminated",
        "http_response_timeout",
        "connection_read_timeout",
        "connection_write_timeout",
        "http_request_error",
        "http_response_incomplete",
        "http_protocol_error",
        "connection_limit_reached",
        "proxy_configuration_error",
        "proxy_internal_error",
    ];

    /// The type for the `error` parameter of `Proxy-Status` (RFC 9209 §2.3).
    pub fn proxy_status_error(&self) -> &'static str {
        match &self.cause {
            Cause::Dns { .. } => "dns_error",
            Cause::Refused => "connection_refused",
            Cause::Unreachable { .. } => "destination_ip_unroutable",
            Cause::ConnectTimeout { .. } => "connection_timeout",
            Cause::Tls { fault, .. } if fault.is_of_certificate() => "tls_certificate_error",
            Cause::Tls {
                fault: TlsFault::Alert | TlsFault::NoProtocol | TlsFault::ClientCertificate,
                ..
            } => "tls_alert_received",
            Cause::Tls { fault: TlsFault::OwnFile, .. } => "proxy_configuration_error",
            Cause::Tls { .. } => "tls_protocol_error",
            Cause::ForwardProxy { .. } | Cause::RefusedStream | Cause::Http11Required | Cause::NotReady => {
                "destination_unavailable"
            }
            Cause::Closed { .. } | Cause::ConnectionError { .. } => "connection_terminated",
            Cause::HeadTimeout { .. } => "http_response_timeout",
            Cause::Stall { side: Side::UpstreamSending, .. } => "connection_read_timeout",
            Cause::Stall { side: Side::UpstreamTaking, .. } => "connection_write_timeout",
            Cause::Stall { side: Side::Caller, .. } | Cause::RequestBody => "http_request_error",
            Cause::Incomplete { .. } => "http_response_incomplete",
            Cause::Protocol { .. } => "http_protocol_error",
            Cause::Overloaded { .. } => "connection_limit_reached",
            Cause::Interrupted => "proxy_internal_error",
        }
    }

    /// What happened and what helps, for a person.
    pub fn sentence(&self) -> String {
        let place = &self.place;
        match &self.cause {
            Cause::Dns { reason } => format!(
                "the name of {place} cannot be resolved ({reason}): check the machine's DNS, or the app's `api`"
            ),
            Cause::Refused => {
                format!(
                    "{place} refuses connections: the marketplace is down, or the app's `api` names a wrong port"
                )
            }
            Cause::Unreachable { reason } => format!(
                "{place} cannot be reached ({reason}): check the network; where the way out is a proxy, set `upstream.proxy_url`"
            ),
            Cause::ConnectTimeout { limit } => format!(
                "{place} gave no connection within {limit:?}: a firewall may drop the packets (is `upstream.proxy_url` needed?), or the marketplace is down; the limit is `upstream.timeouts.connect`"
            ),
            Cause::Tls { fault, reason } if fault.is_of_certificate() => {
                format!("the certificate of {place} is not trusted ({reason}): {}", fault.help())
            }
            Cause::Tls { fault: TlsFault::NoProtocol, reason } => format!(
                "{place} speaks none of the protocols that Marketgate offers ({reason}): {}",
                TlsFault::NoProtocol.help()
            ),
            Cause::Tls { fault: TlsFault::ClientCertificate, reason } => format!(
                "{place} wants a client certificate, or another one ({reason}): {}",
                TlsFault::ClientCertificate.help()
            ),
            Cause::Tls { fault, reason } => {
                format!("no TLS handshake with {place} ({reason}): {}", fault.help())
            }
            Cause::ForwardProxy { proxy, status: Some(407), .. } => format!(
                "the forward proxy {proxy} wants other credentials (407): correct user and password in `upstream.proxy_url`"
            ),
            Cause::ForwardProxy { proxy, status: Some(status), .. } => format!(
                "the forward proxy {proxy} does not open a way to {place} (it answered {status}): ask whoever runs it to allow this destination"
            ),
            Cause::ForwardProxy { proxy, status: None, reason } => {
                format!("the forward proxy {proxy} does not work ({reason}): check `upstream.proxy_url`")
            }
            Cause::Closed { reason } => format!(
                "{place} broke off before it answered ({reason}); the marketplace may or may not have acted on the request"
            ),
            Cause::ConnectionError { reason } => format!(
                "the HTTP/2 connection to {place} ended before the answer ({reason}), for which another request on it may be the reason; the marketplace may or may not have acted on this one"
            ),
            Cause::HeadTimeout { limit } => format!(
                "{place} gave no answer within {limit:?}; the marketplace may or may not have acted on the request; the limit is `upstream.timeouts.head`"
            ),
            Cause::Stall { side: Side::Caller, limit } => {
                format!("the caller sent nothing of its request body for {limit:?}")
            }
            Cause::Stall { side: Side::UpstreamTaking, limit } => format!(
                "{place} took nothing of the request body for {limit:?}; the limit is `upstream.timeouts.stall`"
            ),
            Cause::Stall { side: Side::UpstreamSending, limit } => format!(
                "{place} stopped within its answer for {limit:?}; the limit is `upstream.timeouts.stall`"
            ),
            Cause::Incomplete { reason } => format!("{place} broke off within its answer ({reason})"),
            Cause::Protocol { reason } => format!("{place} did not answer with proper HTTP ({reason})"),
            Cause::RefusedStream => {
                format!("{place} refused the request without looking at it: send it again")
            }
            Cause::Http11Required => {
                format!("{place} wants this over HTTP/1.1, which it gets from now on: send it again")
            }
            Cause::NotReady => {
                format!("the access token expired while the request waited for a connection to {place}")
            }
            Cause::RequestBody => "the caller broke off within its request body".to_owned(),
            Cause::Overloaded { limit: Exceeded::Queue { places } } => format!(
                "all connections to {place} are in use and {places} requests may wait, no more: the limits are `upstream.limits.connections` and `upstream.limits.queue`"
            ),
            Cause::Overloaded { limit: Exceeded::Wait { limit } } => format!(
                "all connections to {place} are in use and none came free within {limit:?}: the limits are `upstream.limits.connections` and `upstream.timeouts.head`"
            ),
            Cause::Interrupted => format!("connecting to {place} was interrupted within Marketgate"),
        }
    }
}

impl fmt::Display for UpstreamError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.sentence())
    }
}

impl std::error::Error for UpstreamError {}

/// A request that got no answer.
#[derive(Debug)]
pub struct SendFailure<B> {
    /// Why.
    pub error: UpstreamError,
    /// Whether it went out on a connection that had carried requests before. If so, an upstream that closes idle
    /// connections is the likely cause, and an idempotent request may be sent again (RFC 9110 §9.2.2).
    pub reused: bool,
    /// The request, when it was not touched at all. Boxed since only failures pay for it.
    pub request: Option<Box<Request<B>>>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_fault_of_a_certificate_is_told_with_what_helps() {
        let sentence = |fault: TlsFault| {
            let cause = Cause::Tls { fault, reason: "why".to_owned() };
            UpstreamError::sent(&"api.test:443".into(), cause).sentence()
        };
        for (fault, help) in [
            (TlsFault::Expired, "must renew it"),
            (TlsFault::NotYetValid, "clock"),
            (TlsFault::WrongName, "as the certificate names it"),
            (TlsFault::UnknownIssuer, "`upstream.ca_file`"),
            (TlsFault::Authority, "CA:FALSE"),
            (TlsFault::ClientCertificate, "`client_certificate`"),
        ] {
            assert!(sentence(fault).contains(help), "{}", sentence(fault));
        }
    }
}
