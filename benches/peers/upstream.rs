//! The marketplace: TLS 1.3 over HTTP/1.1 or HTTP/2, a token endpoint, and answers of a set size. The one rule: it is the
//! same for every proxy.

use std::{
    convert::Infallible,
    net::{SocketAddr, TcpListener},
    path::Path,
    sync::Arc,
};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::{
    body::{Frame, Incoming},
    server::conn::{http1, http2},
    service::service_fn,
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio_rustls::TlsAcceptor;

/// Bytes of a piece of a large answer.
const PIECE: usize = 64 * 1024;

pub(crate) struct Upstream {
    /// Offers HTTP/1.1 only.
    pub(crate) h1: SocketAddr,
    /// Offers HTTP/2 as well.
    pub(crate) h2: SocketAddr,
    /// Speaks HTTP/1.1 without TLS, for measuring what the load itself takes.
    pub(crate) plain: SocketAddr,
    folder: tempfile::TempDir,
}

impl Upstream {
    pub(crate) fn start() -> Self {
        let mut parameters = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        parameters.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let (authority, key) = (parameters, rcgen::KeyPair::generate().unwrap());
        let certificate = authority.self_signed(&key).unwrap();
        let issuer = rcgen::Issuer::from_params(&authority, &key);
        let own = rcgen::KeyPair::generate().unwrap();
        let mut leaf = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        // With the issuer's own name OpenSSL takes it for self-signed.
        leaf.distinguished_name.push(rcgen::DnType::CommonName, "localhost");
        let leaf = leaf.signed_by(&own, &issuer).unwrap();
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("ca.pem"), certificate.pem()).unwrap();
        let tls = |protocols: &[&str]| {
            let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(own.serialize_der()));
            let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
            let builder = rustls::ServerConfig::builder_with_provider(provider);
            let builder = builder.with_protocol_versions(&[&rustls::version::TLS13]).unwrap();
            let config = builder.with_no_client_auth().with_single_cert(vec![leaf.der().clone()], key);
            let mut config = config.unwrap();
            config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
            TlsAcceptor::from(Arc::new(config))
        };
        let (h1, h2) = (tls(&["http/1.1"]), tls(&["h2", "http/1.1"]));
        Self { h1: serve(Some(h1)), h2: serve(Some(h2)), plain: serve(None), folder }
    }

    /// The certificate of its authority.
    pub(crate) fn authority(&self) -> std::path::PathBuf {
        Path::join(self.folder.path(), "ca.pem")
    }
}

fn serve(tls: Option<TlsAcceptor>) -> SocketAddr {
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    socket.set_nonblocking(true).unwrap();
    let address = socket.local_addr().unwrap();
    std::thread::spawn(move || {
        crate::load::keep_to_first_core();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async move {
            let socket = tokio::net::TcpListener::from_std(socket).unwrap();
            loop {
                let (stream, _) = socket.accept().await.unwrap();
                stream.set_nodelay(true).unwrap();
                let tls = tls.clone();
                tokio::spawn(async move {
                    let Some(tls) = tls else { return speak(stream, false).await };
                    // A proxy that breaks a handshake off is told by its own log.
                    let Ok(stream) = tls.accept(stream).await else { return };
                    let is_h2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
                    speak(stream, is_h2).await;
                });
            }
        });
    });
    address
}

async fn speak<S>(stream: S, is_h2: bool)
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    let (stream, service) = (TokioIo::new(stream), service_fn(answer));
    // Connections end with their proxies, in order or not.
    if is_h2 {
        let mut builder = http2::Builder::new(TokioExecutor::new());
        builder.max_concurrent_streams(256).initial_stream_window_size(1 << 20);
        let _ = builder.initial_connection_window_size(16 << 20).serve_connection(stream, service).await;
    } else {
        let _ = http1::Builder::new().serve_connection(stream, service).await;
    }
}

type Body = UnsyncBoxBody<Bytes, Infallible>;

/// `/token` is the token endpoint, `/v1/NUMBER` answers with so many bytes; what is uploaded is read to its end.
async fn answer(request: Request<Incoming>) -> Result<Response<Body>, hyper::Error> {
    let (head, mut body) = request.into_parts();
    while let Some(frame) = body.frame().await {
        frame?;
    }
    let whole = |bytes: Bytes| Full::new(bytes).boxed_unsync();
    let (body, length) = match head.uri.path() {
        "/token" => {
            let text = "{\"access_token\":\"peers-access-token-0123456789\",\"token_type\":\"Bearer\",\"expires_in\":36000}";
            (whole(Bytes::from_static(text.as_bytes())), text.len())
        }
        path => {
            let authorized =
                head.headers.get("authorization").is_some_and(|v| v.as_bytes().starts_with(b"Bearer peers-"));
            let size =
                path.strip_prefix("/v1/").and_then(|size| size.parse::<usize>().ok()).filter(|_| authorized);
            match size {
                None => return Ok(Response::builder().status(401).body(whole(Bytes::new())).unwrap()),
                Some(size) if size <= PIECE => (whole(PATTERN.slice(..size)), size),
                Some(size) => {
                    (StreamBody::new(futures_util::stream::iter(pieces(size))).boxed_unsync(), size)
                }
            }
        }
    };
    let response =
        Response::builder().header("content-type", "application/json").header("content-length", length);
    Ok(response.body(body).unwrap())
}

static PATTERN: std::sync::LazyLock<Bytes> = std::sync::LazyLock::new(|| Bytes::from(vec![b'x'; PIECE]));

fn pieces(size: usize) -> impl Iterator<Item = Result<Frame<Bytes>, Infallible>> {
    (0..size.div_ceil(PIECE)).map(move |n| Ok(Frame::data(PATTERN.slice(..PIECE.min(size - n * PIECE)))))
}
