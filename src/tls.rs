//! TLS towards the outside: which certificate authorities are trusted, and by which cryptography. The one rule: there
//! is one root store, loaded once, and whoever needs TLS clones the configuration made from it.
//!
//! The provider is named explicitly: a build with two of them in its tree would otherwise panic at the first handshake.
//! No key log is ever written, whatever `SSLKEYLOGFILE` says. ALPN is left to each user, who knows its protocols.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use rustls::{
    ClientConfig, RootCertStore,
    crypto::aws_lc_rs,
    version::{TLS12, TLS13},
};
use rustls_pki_types::{
    CertificateDer,
    pem::{self, PemObject},
};

/// Why there is no TLS configuration. Always the operator's to mend.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// `upstream.ca_file` cannot be read.
    #[error("`upstream.ca_file`: {path} cannot be read: {reason}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the operating system or the PEM reader said.
        reason: String,
    },
    /// `upstream.ca_file` holds no certificate.
    #[error(
        "`upstream.ca_file`: {path} holds no certificate: it must be PEM, with -----BEGIN CERTIFICATE-----"
    )]
    NoCertificate {
        /// The file.
        path: PathBuf,
    },
    /// `upstream.ca_file` holds something that is no certificate authority.
    #[error("`upstream.ca_file`: certificate {number} in {path} is unusable: {reason}")]
    BadCertificate {
        /// The file.
        path: PathBuf,
        /// Which of its certificates, counted from 1.
        number: usize,
        /// What is wrong with it.
        reason: String,
    },
    /// The cryptography offers neither TLS 1.2 nor 1.3: a build fault.
    #[error("this build's cryptography lacks TLS 1.2 and 1.3: {0}")]
    Provider(#[source] rustls::Error),
}

/// TLS 1.2 and 1.3 with the system's certificate authorities and those of `ca_file`; the Mozilla roots built into the
/// program stand in where the system has none (a container made from scratch).
///
/// Reads files: a few milliseconds, so once at the start and once per reload. Clones share everything.
///
/// # Errors
/// When `ca_file` cannot be read or holds no usable certificate. A broken certificate of the system is only skipped.
pub fn client_config(ca_file: Option<&Path>) -> Result<ClientConfig, TlsError> {
    let mut roots = system_roots();
    if let Some(path) = ca_file {
        add_file(&mut roots, path)?;
    }
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13, &TLS12])
        .map_err(TlsError::Provider)?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}

fn system_roots() -> RootCertStore {
    let mut roots = RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    for error in &found.errors {
        tracing::warn!("the system's certificate authorities: {error}");
    }
    roots.add_parsable_certificates(found.certs);
    if roots.is_empty() {
        tracing::info!("the system has no certificate authorities: the built-in ones are used");
        roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    }
    roots
}

fn add_file(roots: &mut RootCertStore, path: &Path) -> Result<(), TlsError> {
    let path_buf = || path.to_path_buf();
    let unreadable = |e: pem::Error| TlsError::Unreadable { path: path_buf(), reason: reason(&e) };
    let mut number = 0;
    for certificate in CertificateDer::pem_file_iter(path).map_err(unreadable)? {
        number += 1;
        roots.add(certificate.map_err(unreadable)?).map_err(|e| TlsError::BadCertificate {
            path: path_buf(),
            number,
            reason: e.to_string(),
        })?;
    }
    if number == 0 { Err(TlsError::NoCertificate { path: path_buf() }) } else { Ok(()) }
}

/// The operating system's own words where there are any.
fn reason(error: &pem::Error) -> String {
    match error {
        pem::Error::Io(io) => io.to_string(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(content: &str) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), content).unwrap();
        file
    }

    #[test]
    fn a_ca_file_is_trusted_beside_the_others() {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut ca = rcgen::CertificateParams::new(Vec::new()).unwrap();
        ca.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let pem = ca.self_signed(&key).unwrap().pem();
        let mut roots = RootCertStore::empty();
        add_file(&mut roots, file(&pem).path()).unwrap();
        assert_eq!(roots.len(), 1);
        assert!(client_config(Some(file(&pem).path())).is_ok());
    }

    #[test]
    fn a_ca_file_without_a_usable_certificate_is_refused_by_name() {
        let complaint = |path: &Path| client_config(Some(path)).unwrap_err().to_string();
        assert!(complaint(Path::new("/no/such/ca.pem")).contains("/no/such/ca.pem cannot be read"));
        assert!(complaint(file("hello").path()).contains("holds no certificate"));
        let bad = file("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
        assert!(complaint(bad.path()).contains("certificate 1"));
    }

    #[test]
    fn no_protocol_is_offered_before_a_user_says_so() {
        assert!(client_config(None).unwrap().alpn_protocols.is_empty());
    }
}
