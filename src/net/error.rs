//! Why there is no connection. Nothing of what was to be sent has left this machine.

use std::time::Duration;

use rustls::AlertDescription;

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

/// What failed in a TLS handshake, or because of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TlsFault {
    /// The server's certificate is not valid any more.
    Expired,
    /// The server's certificate is not valid yet.
    NotYetValid,
    /// The server's certificate is for another name.
    WrongName,
    /// Nobody who is trusted has issued the server's certificate.
    UnknownIssuer,
    /// The server shows an authority's certificate as its own.
    Authority,
    /// Anything else that is wrong with the server's certificate.
    Certificate,
    /// The server speaks none of the protocols offered to it (RFC 7301 §3.2).
    NoProtocol,
    /// The server wants a certificate from us, or another one.
    ClientCertificate,
    /// The server sent another alert (RFC 8446 §6).
    Alert,
    /// A file of ours cannot be used: `upstream.ca_file`, or one of `client_certificate`.
    OwnFile,
    /// Anything else.
    Protocol,
}

impl TlsFault {
    /// What rustls says, sorted.
    pub fn of(error: &rustls::Error) -> Self {
        use rustls::CertificateError::{
            Expired, ExpiredContext, NotValidForName, NotValidForNameContext, NotValidYet,
            NotValidYetContext, UnknownIssuer,
        };
        match error {
            rustls::Error::InvalidCertificate(Expired | ExpiredContext { .. }) => Self::Expired,
            rustls::Error::InvalidCertificate(NotValidYet | NotValidYetContext { .. }) => Self::NotYetValid,
            rustls::Error::InvalidCertificate(NotValidForName | NotValidForNameContext { .. }) => {
                Self::WrongName
            }
            rustls::Error::InvalidCertificate(UnknownIssuer) => Self::UnknownIssuer,
            rustls::Error::InvalidCertificate(other)
                if format!("{other:?}").contains("CaUsedAsEndEntity") =>
            {
                Self::Authority
            }
            rustls::Error::InvalidCertificate(_) | rustls::Error::NoCertificatesPresented => {
                Self::Certificate
            }
            rustls::Error::AlertReceived(AlertDescription::NoApplicationProtocol) => Self::NoProtocol,
            rustls::Error::AlertReceived(alert) if ABOUT_CERTIFICATE.contains(alert) => {
                Self::ClientCertificate
            }
            rustls::Error::AlertReceived(_) => Self::Alert,
            _ => Self::Protocol,
        }
    }

    /// What helps, in words that go on from a description of the fault.
    pub fn help(self) -> &'static str {
        match self {
            Self::Expired => {
                "whoever runs that server must renew it; where it is valid elsewhere, set this machine's clock right"
            }
            Self::NotYetValid => "set this machine's clock right, or wait until it is valid",
            Self::WrongName => "write the host in `api` or `token_url` as the certificate names it",
            Self::UnknownIssuer => {
                "where a company's proxy intercepts TLS or the issuer is your own, name its certificate in \
                 `upstream.ca_file`; where the issuer is a public one, the server does not send the certificates between its \
                 own and that one, and whoever runs it must add them"
            }
            Self::Authority => {
                "make the server's with basicConstraints=CA:FALSE, and name it or its issuer in `upstream.ca_file`"
            }
            Self::Certificate => "whoever runs that server must replace it",
            Self::NoProtocol => "is this an HTTP server?",
            Self::ClientCertificate => {
                "write `client_certificate` for the app, with a certificate that the server knows and its key"
            }
            Self::Alert => "the server's own log says why",
            Self::OwnFile => "mend that file: it is read again for every connection",
            Self::Protocol => "it may not speak TLS on this port, or something on the way interferes",
        }
    }

    /// Whether it is about the server's certificate.
    pub fn is_of_certificate(self) -> bool {
        matches!(
            self,
            Self::Expired
                | Self::NotYetValid
                | Self::WrongName
                | Self::UnknownIssuer
                | Self::Authority
                | Self::Certificate
        )
    }
}

/// Alerts by which a server refuses our certificate, or the want of one.
const ABOUT_CERTIFICATE: [AlertDescription; 9] = [
    AlertDescription::CertificateRequired,
    AlertDescription::BadCertificate,
    AlertDescription::UnsupportedCertificate,
    AlertDescription::CertificateRevoked,
    AlertDescription::CertificateExpired,
    AlertDescription::CertificateUnknown,
    AlertDescription::UnknownCA,
    AlertDescription::AccessDenied,
    // Its signature is wrong, or its issuer another one of the same name.
    AlertDescription::DecryptError,
];

/// Whether a connection failed in these words because the server refused our certificate. Over TLS 1.3 it does so when the handshake
/// has ended on our side, and looks at nothing that was sent since. The words are rustls's, which HTTP libraries pass on when
/// they have lost the error itself.
pub fn is_refused_certificate(words: &str) -> bool {
    let alert = words.split_once("received fatal alert: ").map_or("", |(_, alert)| alert);
    let name = alert.split(|c: char| !c.is_ascii_alphanumeric()).next().unwrap_or_default();
    ABOUT_CERTIFICATE.iter().any(|about| format!("{about:?}") == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_of_our_certificate_is_known_by_its_words() {
        let words = |alert| rustls::Error::AlertReceived(alert).to_string();
        for alert in ABOUT_CERTIFICATE {
            assert!(is_refused_certificate(&format!("connection error: {}", words(alert))), "{alert:?}");
        }
        assert!(!is_refused_certificate(&words(AlertDescription::InternalError)));
        assert!(!is_refused_certificate("connection reset by peer"));
    }
}
