//! Why there is no connection. Nothing of what was to be sent has left this machine.

/// What went wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DialError {
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
    /// The attempt to connect was abandoned within Marketgate.
    Interrupted,
}

/// What failed in a TLS handshake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TlsFault {
    /// The server's certificate: issuer, name or date.
    Certificate,
    /// The server sent an alert (RFC 8446 §6).
    Alert,
    /// Anything else.
    Protocol,
}
