//! Certificates of a company's own authority, and marketplaces behind them.

use std::sync::Arc;

use marketgate::sim::Simulator;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, date_time_ymd};
use rustls::{
    RootCertStore, ServerConfig,
    server::{WebPkiClientVerifier, danger::ClientCertVerifier},
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};

/// A certificate authority nobody trusts unless told to.
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    /// Its certificate, as it is written into `upstream.ca_file`.
    pub(crate) pem: String,
}

/// What a server's certificate is like.
#[derive(Clone, Copy)]
pub(crate) enum Leaf {
    Good,
    Expired,
    /// For `other.test` instead of this machine.
    ForAnother,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let pem = params.self_signed(&key).unwrap().pem();
        Self { issuer: Issuer::new(params, key), pem }
    }

    /// A server with a certificate of this authority that speaks `protocols`.
    pub(crate) fn server(&self, leaf: Leaf, protocols: &[&str]) -> Arc<ServerConfig> {
        self.serve(leaf, protocols, None)
    }

    /// The same, for clients with a certificate of this authority only.
    pub(crate) fn server_that_asks_for_certificates(&self, protocols: &[&str]) -> Arc<ServerConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(self.pem.as_bytes()).unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let verifier =
            WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build().unwrap();
        self.serve(Leaf::Good, protocols, Some(verifier))
    }

    /// A client's certificate and its key, in PEM form.
    pub(crate) fn client(&self) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new(vec!["client.test".to_owned()]).unwrap();
        (certificate.signed_by(&key, &self.issuer).unwrap().pem(), key.serialize_pem())
    }

    fn serve(
        &self,
        leaf: Leaf,
        protocols: &[&str],
        clients: Option<Arc<dyn ClientCertVerifier>>,
    ) -> Arc<ServerConfig> {
        let names = match leaf {
            Leaf::ForAnother => vec!["other.test".to_owned()],
            Leaf::Good | Leaf::Expired => vec!["localhost".to_owned(), "127.0.0.1".to_owned()],
        };
        let mut params = CertificateParams::new(names).unwrap();
        if matches!(leaf, Leaf::Expired) {
            (params.not_before, params.not_after) = (date_time_ymd(2020, 1, 1), date_time_ymd(2021, 1, 1));
        }
        let key = KeyPair::generate().unwrap();
        let certificate: CertificateDer<'static> = params.signed_by(&key, &self.issuer).unwrap().into();
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let server =
            ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let server = match clients {
            None => server.with_no_client_auth(),
            Some(verifier) => server.with_client_cert_verifier(verifier),
        };
        let mut server = server.with_single_cert(vec![certificate], key).unwrap();
        server.alpn_protocols = protocols.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
        Arc::new(server)
    }
}

/// Simulated marketplaces behind TLS on a thread of their own, for as long as this lives.
pub(crate) struct Secured {
    pub(crate) sim: Simulator,
    /// Their origin, `https://localhost:PORT`.
    pub(crate) origin: String,
    stop: tokio_util::sync::CancellationToken,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Secured {
    pub(crate) fn start(tls: Arc<ServerConfig>) -> Self {
        let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        socket.set_nonblocking(true).unwrap();
        let origin = format!("https://localhost:{}", socket.local_addr().unwrap().port());
        let (sim, stop) = (Simulator::new(11), tokio_util::sync::CancellationToken::new());
        let (served, stopped) = (sim.clone(), stop.clone().cancelled_owned());
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async move {
                let listener = tokio::net::TcpListener::from_std(socket).unwrap();
                served.serve_tls(listener, tls, stopped).await;
            });
        });
        Self { sim, origin, stop, thread: Some(thread) }
    }
}

impl Drop for Secured {
    fn drop(&mut self) {
        self.stop.cancel();
        drop(self.thread.take().map(std::thread::JoinHandle::join));
    }
}
