//! TLS towards the outside: which certificate authorities are trusted, what is shown to servers, and by which cryptography. The
//! one rule: whoever opens a connection asks [`Client`] for what holds at that moment, so that a file that was replaced is in use
//! with the next handshake.
//!
//! The provider is named explicitly: a build with two of them in its tree would otherwise panic at the first handshake.
//! No key log is ever written, whatever `SSLKEYLOGFILE` says. No early data is sent: whoever records it could replay it
//! (RFC 8446 §8), and a token call must be sent once. ALPN is left to each user, who knows its protocols.

use std::{
    collections::HashMap,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::{Arc, LazyLock, Mutex, PoisonError},
};

use rustls::{
    ClientConfig, RootCertStore,
    crypto::aws_lc_rs,
    version::{TLS12, TLS13},
};
use rustls_pki_types::{
    CertificateDer, PrivateKeyDer,
    pem::{self, PemObject},
};

use crate::provider::ClientCertificate;

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
    /// A client certificate cannot be used.
    #[error("`client_certificate`: {path}: {reason}")]
    ClientCertificate {
        /// The file.
        path: PathBuf,
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
    build(ca_file, None)
}

/// What is offered to a server (RFC 7301).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Offer {
    /// HTTP/2, and HTTP/1.1 for those who do not speak it.
    Both,
    /// HTTP/1.1 alone.
    Http1,
}

/// TLS for connections that are opened. Clones share everything.
///
/// Each client certificate has a configuration of its own: a session that was begun with one must not be resumed with another.
#[derive(Debug, Clone)]
pub struct Client(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    /// Authorities trusted beside the system's.
    ca_file: Option<PathBuf>,
    configs: Mutex<HashMap<Option<ClientCertificate>, Loaded>>,
}

/// A configuration, and the state of its files when it was made.
#[derive(Debug)]
struct Loaded {
    files: Vec<Stamp>,
    /// Files that were tried since and cannot be used.
    refused: Option<Vec<Stamp>>,
    both: Arc<ClientConfig>,
    http1: Arc<ClientConfig>,
}

/// What changes when a file is written or replaced; None where there is no file.
type Stamp = Option<(u64, u64, u64, i64, i64)>;

impl Client {
    /// Reads `ca_file`.
    ///
    /// # Errors
    /// As [`client_config`].
    pub fn open(ca_file: Option<&Path>) -> Result<Self, TlsError> {
        let client =
            Self(Arc::new(Shared { ca_file: ca_file.map(Path::to_owned), configs: Mutex::default() }));
        client.config(None, Offer::Both)?;
        Ok(client)
    }

    /// What holds now for a handshake. Where a file has changed and cannot be used, the configuration made of it before stays, and
    /// the log says so once.
    ///
    /// # Errors
    /// When a file cannot be used, and could not before.
    pub fn config(
        &self,
        certificate: Option<&ClientCertificate>,
        offer: Offer,
    ) -> Result<Arc<ClientConfig>, TlsError> {
        let mut configs = self.0.configs.lock().unwrap_or_else(PoisonError::into_inner);
        let key = certificate.cloned();
        let files = self.stamps(certificate);
        if configs.get(&key).is_none_or(|loaded| loaded.is_outdated(&files)) {
            match (build(self.0.ca_file.as_deref(), certificate), configs.get_mut(&key)) {
                (Ok(config), before) => {
                    if before.is_some() {
                        tracing::info!("files of certificates have changed: they are used from now on");
                    }
                    configs.insert(key.clone(), Loaded::new(config, files));
                }
                (Err(error), Some(before)) => {
                    tracing::warn!("{error}: what was read before is still used");
                    before.refused = Some(files);
                }
                (Err(error), None) => return Err(error),
            }
        }
        let loaded = &configs[&key];
        Ok(match offer {
            Offer::Both => loaded.both.clone(),
            Offer::Http1 => loaded.http1.clone(),
        })
    }

    fn stamps(&self, certificate: Option<&ClientCertificate>) -> Vec<Stamp> {
        let shown = certificate.into_iter().flat_map(|certificate| [&certificate.cert, &certificate.key]);
        self.0.ca_file.iter().chain(shown).map(|path| stamp(path)).collect()
    }
}

/// One that is never read again.
impl From<ClientConfig> for Client {
    fn from(config: ClientConfig) -> Self {
        let configs = HashMap::from([(None, Loaded::new(config, Vec::new()))]);
        Self(Arc::new(Shared { ca_file: None, configs: Mutex::new(configs) }))
    }
}

impl Loaded {
    fn new(mut config: ClientConfig, files: Vec<Stamp>) -> Self {
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        let http1 = Arc::new(config.clone());
        config.alpn_protocols.insert(0, b"h2".to_vec());
        Self { files, refused: None, both: Arc::new(config), http1 }
    }

    fn is_outdated(&self, files: &Vec<Stamp>) -> bool {
        self.files != *files && self.refused.as_ref() != Some(files)
    }
}

fn stamp(path: &Path) -> Stamp {
    let found = std::fs::metadata(path).ok()?;
    Some((found.dev(), found.ino(), found.size(), found.mtime(), found.mtime_nsec()))
}

/// Longer than any bundle of authorities.
const LONGEST: u64 = 16 << 20;

/// Whether a file can be read to its end: a pipe in its place would hold up every connection.
fn can_be_read(path: &Path) -> Result<(), String> {
    let found = std::fs::metadata(path).map_err(|e| e.to_string())?;
    match found.is_file() && found.len() <= LONGEST {
        true => Ok(()),
        false => Err("it is no regular file, or far too long".to_owned()),
    }
}

fn build(ca_file: Option<&Path>, certificate: Option<&ClientCertificate>) -> Result<ClientConfig, TlsError> {
    static SYSTEM: LazyLock<RootCertStore> = LazyLock::new(system_roots);
    let mut roots = SYSTEM.clone();
    if let Some(path) = ca_file {
        add_file(&mut roots, path)?;
    }
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13, &TLS12])
        .map_err(TlsError::Provider)?;
    let builder = builder.with_root_certificates(roots);
    let Some(certificate) = certificate else { return Ok(builder.with_no_client_auth()) };
    let (chain, key) = read_certificate(certificate)?;
    builder.with_client_auth_cert(chain, key).map_err(|error| {
        let reason = match error {
            rustls::Error::InconsistentKeys(_) => {
                format!("it is not for the key in {}", certificate.key.display())
            }
            other => other.to_string(),
        };
        TlsError::ClientCertificate { path: certificate.cert.clone(), reason }
    })
}

/// Whether a client certificate can be used.
///
/// # Errors
/// With the file and what is wrong with it.
pub fn check_certificate(files: &ClientCertificate) -> Result<(), TlsError> {
    build(None, Some(files)).map(drop)
}

fn read_certificate(
    files: &ClientCertificate,
) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), TlsError> {
    let unusable =
        |path: &Path, reason: String| TlsError::ClientCertificate { path: path.to_owned(), reason };
    for path in [&files.cert, &files.key] {
        can_be_read(path).map_err(|reason| unusable(path, reason))?;
    }
    let chain = CertificateDer::pem_file_iter(&files.cert).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let chain = chain.map_err(|e| unusable(&files.cert, reason(&e)))?;
    if chain.is_empty() {
        let reason = "it holds no certificate: it must be PEM, with -----BEGIN CERTIFICATE-----".to_owned();
        return Err(unusable(&files.cert, reason));
    }
    let key = PrivateKeyDer::from_pem_file(&files.key).map_err(|e| {
        let reason = match e {
            pem::Error::NoItemsFound => {
                "it holds no private key: it must be PEM, with -----BEGIN PRIVATE KEY-----, and not encrypted"
                    .to_owned()
            }
            other => reason(&other),
        };
        unusable(&files.key, reason)
    })?;
    Ok((chain, key))
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
    can_be_read(path).map_err(|reason| TlsError::Unreadable { path: path_buf(), reason })?;
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

    /// A certificate that its own key signed, and that key.
    fn self_signed() -> (String, String) {
        let key = rcgen::KeyPair::generate().unwrap();
        let certificate = rcgen::CertificateParams::new(vec!["client".to_owned()]).unwrap();
        (certificate.self_signed(&key).unwrap().pem(), key.serialize_pem())
    }

    #[test]
    fn a_client_certificate_must_be_for_its_key_and_is_named_where_it_is_not() {
        let ((cert, key), (_, other)) = (self_signed(), self_signed());
        let complaint = |cert: &str, key: &str| {
            let (cert, key) = (file(cert), file(key));
            let files = ClientCertificate { cert: cert.path().to_owned(), key: key.path().to_owned() };
            build(None, Some(&files)).err().map(|error| error.to_string()).unwrap_or_default()
        };
        assert_eq!(complaint(&cert, &key), "");
        assert!(complaint(&cert, &other).contains("it is not for the key in"));
        assert!(complaint("hello", &key).contains("holds no certificate"));
        assert!(complaint(&cert, "hello").contains("holds no private key"));
    }

    #[test]
    fn files_that_change_are_used_from_the_next_handshake_and_bad_ones_leave_what_was() {
        let folder = tempfile::tempdir().unwrap();
        let (cert, key) = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
        let place = |(new_cert, new_key): &(String, String)| {
            for (path, text) in [(&cert, new_cert), (&key, new_key)] {
                let new = path.with_extension("new");
                std::fs::write(&new, text).unwrap();
                std::fs::rename(&new, path).unwrap();
            }
        };
        place(&self_signed());
        let files = ClientCertificate { cert: cert.clone(), key: key.clone() };
        let client = Client::open(None).unwrap();
        let get = || client.config(Some(&files), Offer::Both).unwrap();
        let first = get();
        assert!(Arc::ptr_eq(&first, &get()));
        place(&self_signed());
        let second = get();
        assert!(!Arc::ptr_eq(&first, &second));
        std::fs::write(&key, "torn").unwrap();
        assert!(Arc::ptr_eq(&second, &get()) && Arc::ptr_eq(&second, &get()));
        // A pipe would never come to its end.
        std::fs::remove_file(&key).unwrap();
        assert!(std::process::Command::new("mkfifo").arg(&key).status().unwrap().success());
        assert!(Arc::ptr_eq(&second, &get()));
        place(&self_signed());
        assert!(!Arc::ptr_eq(&second, &get()));
        assert_eq!(get().alpn_protocols, [b"h2".to_vec(), b"http/1.1".to_vec()]);
        let http1 = client.config(Some(&files), Offer::Http1).unwrap();
        assert_eq!(http1.alpn_protocols, [b"http/1.1".to_vec()]);
    }
}
