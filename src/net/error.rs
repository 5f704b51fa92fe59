//! Why there is no connection. Nothing of what was to be sent has left this machine.

use std::time::Duration;

/// What went wrong; shown, it goes on from "no connection to …: ".
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DialError {
    /// The host's name could not be resolved.
    #[error("its name cannot be resolved")]
    Dns {
        /// What the resolver said.
        reason: String,
    },
    /// Nothing listens there.
    #[error("connection refused")]
    Refused,
    /// There is no way to the address, or the way broke while connecting.
    #[error("{reason}")]
    Unreachable {
        /// What the operating system said.
        reason: String,
    },
    /// There was no connection in time.
    #[error("nothing within {} s", limit.as_secs_f32())]
    Late {
        /// How much time there was.
        limit: Duration,
    },
    /// The TLS handshake failed.
    #[error("{reason}")]
    Tls {
        /// What failed in it.
        fault: TlsFault,
        /// What the TLS library said.
        reason: String,
    },
    /// The forward proxy did not open the way.
    #[error("the forward proxy {proxy} {}", of_proxy(*status, reason))]
    ForwardProxy {
        /// Its host and port.
        proxy: String,
        /// Its answer to `CONNECT`, when there was one.
        status: Option<u16>,
        /// What happened, where there was no answer.
        reason: String,
    },
    /// The attempt to connect was abandoned within Marketgate.
    #[error("interrupted within Marketgate")]
    Interrupted,
}

fn of_proxy(status: Option<u16>, reason: &str) -> String {
    match status {
        Some(407) => "wants credentials (407)".to_owned(),
        Some(status) => format!("does not open a way to it (it answered {status})"),
        None => format!("does not work ({reason})"),
    }
}

/// What failed in a TLS handshake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TlsFault {
    /// The server's certificate: issuer, name or date.
    Certificate,
    /// The server speaks none of the protocols offered to it (RFC 7301 §3.2).
    NoProtocol,
    /// The server sent another alert (RFC 8446 §6).
    Alert,
    /// Anything else.
    Protocol,
}
