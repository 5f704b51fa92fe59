//! The token client over real sockets: servers whose every byte is written here. The rule: what was sent is compared
//! whole, so that a header too many fails as surely as one too few.

use std::{
    borrow::Cow,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use http_body_util::Full;
use hyper_util::rt::{TokioExecutor, TokioIo};
use marketgate::{
    config::settings::ForwardProxy,
    oauth::{Class, GrantRequest, Granted, TokenClient, TokenError, TokenRequest},
    provider::{ClientAuth, TokenEndpoint},
    secret::Secret,
};
use rustls::{ClientConfig, RootCertStore, ServerConfig, crypto::aws_lc_rs};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};
use tokio_rustls::TlsAcceptor;

const SECRET: &str = "s3cret-of-the-client";
const OK: &str = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 37\r\n\r\n{\"access_token\":\"t\",\"expires_in\":900}";
const USER_AGENT: &str = concat!("user-agent: marketgate/", env!("CARGO_PKG_VERSION"));
const LIMIT: Duration = Duration::from_secs(20);

// ---- servers ----

pub(crate) async fn listen() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

/// Reads one request, body included.
pub(crate) async fn read_request(stream: &mut (impl AsyncRead + Unpin)) -> String {
    let mut request = Vec::new();
    loop {
        let mut piece = [0; 4096];
        let length = stream.read(&mut piece).await.unwrap();
        assert!(length > 0, "the client hung up in the middle of its request");
        request.extend_from_slice(&piece[..length]);
        let text = String::from_utf8(request.clone()).unwrap();
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let declared = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        if body.len() >= declared.map_or(0, |length| length.parse().unwrap()) {
            return text;
        }
    }
}

/// Answers each connection's first request with `answer`, closes it, and tells what was asked.
pub(crate) async fn serve(
    answer: impl Into<Vec<u8>>,
    connections: usize,
) -> (SocketAddr, JoinHandle<Vec<String>>) {
    let (listener, address) = listen().await;
    let answer = answer.into();
    let task = tokio::spawn(async move {
        let mut requests = Vec::new();
        for _ in 0..connections {
            let (mut stream, _) = listener.accept().await.unwrap();
            requests.push(read_request(&mut stream).await);
            stream.write_all(&answer).await.unwrap();
        }
        requests
    });
    (address, task)
}

/// Makes the stream end in a reset rather than in order.
pub(crate) fn reset(stream: TcpStream) {
    stream.set_zero_linger().unwrap();
    drop(stream);
}

pub(crate) struct Certificates {
    pub(crate) client: ClientConfig,
    pub(crate) server: ServerConfig,
}

/// A certificate for `name`, and a client that trusts it alone.
pub(crate) fn certificates(name: &str) -> Certificates {
    let made = rcgen::generate_simple_self_signed(vec![name.to_owned()]).unwrap();
    let key = rustls_pki_types::PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()).into();
    let mut roots = RootCertStore::empty();
    roots.add(made.cert.der().clone()).unwrap();
    let provider = Arc::new(aws_lc_rs::default_provider());
    let client =
        ClientConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions();
    let server = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    Certificates {
        client: client.unwrap().with_root_certificates(roots).with_no_client_auth(),
        server: server
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key)
            .unwrap(),
    }
}

// ---- calls ----

pub(crate) fn endpoint(url: &str, client_auth: ClientAuth) -> TokenEndpoint {
    TokenEndpoint {
        url: url.parse().unwrap(),
        client_auth,
        scope: None,
        headers: Vec::new(),
        params: Vec::new(),
        budget: None,
        at_once: None,
        answers: Default::default(),
    }
}

pub(crate) fn at(address: SocketAddr) -> TokenEndpoint {
    endpoint(&format!("http://{address}/oauth/token/"), ClientAuth::Body)
}

pub(crate) fn client() -> TokenClient {
    TokenClient::new(certificates("unused.test").client, None)
}

fn settings(name: &str) -> Option<Cow<'static, str>> {
    match name {
        "market" => Some("us".into()),
        "uuid" => Some("a-uuid".into()),
        "broken" => Some("a\r\nb".into()),
        _ => None,
    }
}

/// Keepers run on whatever thread there is.
fn can_be_spawned<F: Future + Send>(future: F) -> F {
    future
}

pub(crate) async fn call_within(
    client: &TokenClient,
    endpoint: &TokenEndpoint,
    grant: GrantRequest<'_>,
    limit: Duration,
) -> Result<Granted, TokenError> {
    let client_secret = Secret::new(SECRET);
    let request = TokenRequest {
        endpoint,
        client_id: "the client",
        client_secret: &client_secret,
        grant,
        settings: &|name| settings(name),
        limit,
    };
    let result = can_be_spawned(client.call(&request)).await;
    if let Err(error) = &result {
        let shown = format!("{error} {error:?} {:?}", error.action());
        assert!(!shown.contains(SECRET) && !shown.contains("refresh-1"), "{shown}");
    }
    result
}

async fn call(client: &TokenClient, endpoint: &TokenEndpoint) -> Result<Granted, TokenError> {
    call_within(client, endpoint, GrantRequest::ClientCredentials, LIMIT).await
}

/// The request line, the header lines in alphabetical order, and the body.
fn parts(request: &str) -> (String, Vec<String>, String) {
    let (head, body) = request.split_once("\r\n\r\n").unwrap();
    let mut lines: Vec<String> = head.split("\r\n").map(str::to_owned).collect();
    let first = lines.remove(0);
    lines.sort();
    (first, lines, body.to_owned())
}

// ---- what is sent ----

#[tokio::test]
async fn basic_credentials_go_into_the_header_and_templates_into_theirs() {
    let (address, server) = serve(OK, 1).await;
    let mut endpoint = endpoint(&format!("http://{address}/v3/token"), ClientAuth::Basic);
    endpoint.scope = Some("read write".into());
    for (name, template) in
        [("wm_market", "{market}"), ("wm_qos.correlation_id", "{uuid}"), ("wm_partner.id", "{partner_id}")]
    {
        endpoint.headers.push((name.parse().unwrap(), template.parse().unwrap()));
    }
    endpoint.params = vec![
        ("audience".into(), "a&b={market}".parse().unwrap()),
        ("unset".into(), "{partner_id}".parse().unwrap()),
    ];
    let granted = call(&client(), &endpoint).await.unwrap();
    assert_eq!((granted.access_token.expose(), granted.lifetime), ("t", Some(Duration::from_secs(900))));
    let (line, headers, body) = parts(&server.await.unwrap()[0]);
    assert_eq!(line, "POST /v3/token HTTP/1.1");
    assert_eq!(body, "grant_type=client_credentials&scope=read+write&audience=a%26b%3Dus");
    // `the client`, form-encoded as RFC 6749 §2.3.1 wants it: the+client:s3cret-of-the-client.
    let expected = [
        "accept-encoding: identity",
        "accept: application/json",
        "authorization: Basic dGhlK2NsaWVudDpzM2NyZXQtb2YtdGhlLWNsaWVudA==",
        &format!("content-length: {}", body.len()),
        "content-type: application/x-www-form-urlencoded",
        &format!("host: {address}"),
        USER_AGENT,
        "wm_market: us",
        "wm_qos.correlation_id: a-uuid",
    ];
    assert_eq!(headers, expected);
}

#[tokio::test]
async fn credentials_in_the_body_leave_no_authorization_header() {
    let (address, server) = serve(OK, 1).await;
    call(&client(), &at(address)).await.unwrap();
    let (line, headers, body) = parts(&server.await.unwrap()[0]);
    assert_eq!(line, "POST /oauth/token/ HTTP/1.1");
    assert_eq!(body, "grant_type=client_credentials&client_id=the+client&client_secret=s3cret-of-the-client");
    let expected = [
        "accept-encoding: identity",
        "accept: application/json",
        &format!("content-length: {}", body.len()),
        "content-type: application/x-www-form-urlencoded",
        &format!("host: {address}"),
        USER_AGENT,
    ];
    assert_eq!(headers, expected);
}

#[tokio::test]
async fn a_refresh_and_a_code_are_sent_as_the_rfc_writes_them() {
    let (address, server) = serve(OK, 3).await;
    let mut endpoint = at(address);
    endpoint.scope = Some("not sent again".into());
    endpoint.params = vec![("client_id".into(), "other".parse().unwrap())];
    let (refresh, code, verifier) = (Secret::new("refresh-1+/="), Secret::new("c&d"), Secret::new("v~v"));
    let redirect_uri = "http://localhost:8082/callback?a=b";
    for grant in [
        GrantRequest::RefreshToken(&refresh),
        GrantRequest::AuthorizationCode { code: &code, redirect_uri, verifier: Some(&verifier) },
        GrantRequest::AuthorizationCode { code: &code, redirect_uri, verifier: None },
    ] {
        call_within(&client(), &endpoint, grant, LIMIT).await.unwrap();
    }
    let client = format!("client_id=other&client_secret={SECRET}");
    let redirect = "redirect_uri=http%3A%2F%2Flocalhost%3A8082%2Fcallback%3Fa%3Db";
    let bodies: Vec<String> = server.await.unwrap().iter().map(|request| parts(request).2).collect();
    assert_eq!(
        bodies,
        [
            format!("grant_type=refresh_token&refresh_token=refresh-1%2B%2F%3D&{client}"),
            format!("grant_type=authorization_code&code=c%26d&{redirect}&code_verifier=v~v&{client}"),
            format!("grant_type=authorization_code&code=c%26d&{redirect}&{client}"),
        ]
    );
}

#[tokio::test]
async fn credentials_in_headers_are_marked_sensitive() {
    let mut endpoint = endpoint("https://auth.example.test/", ClientAuth::Basic);
    endpoint.headers.push(("x-api-key".parse().unwrap(), "{market}".parse().unwrap()));
    let client_secret = Secret::new(SECRET);
    let request = TokenRequest {
        endpoint: &endpoint,
        client_id: "id",
        client_secret: &client_secret,
        grant: GrantRequest::ClientCredentials,
        settings: &|name| settings(name),
        limit: LIMIT,
    };
    let headers = request.headers().unwrap();
    assert!(headers["authorization"].is_sensitive() && headers["x-api-key"].is_sensitive());
    assert!(!format!("{headers:?}").contains("Basic"));
}

#[tokio::test]
async fn a_setting_that_no_header_can_carry_costs_no_call() {
    let (listener, address) = listen().await;
    let mut endpoint = at(address);
    endpoint.headers.push(("x-broken".parse().unwrap(), "{broken}".parse().unwrap()));
    let error = call(&client(), &endpoint).await.unwrap_err();
    assert_eq!((error.class, error.status), (Class::Misconfigured, None));
    assert!(error.detail.contains("x-broken"), "{error}");
    assert!(nobody_came(listener));
}

/// Whether no connection is waiting: asked of the kernel itself, whose queue is filled before `connect` returns.
fn nobody_came(listener: TcpListener) -> bool {
    let accepted = listener.into_std().unwrap().accept();
    accepted.is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock)
}

#[tokio::test]
async fn every_call_has_a_connection_of_its_own_and_carries_no_cookie() {
    let cookie = OK.replacen("\r\n", "\r\nset-cookie: a=b; path=/\r\nconnection: keep-alive\r\n", 1);
    let (address, server) = serve(cookie, 2).await;
    let client = client();
    call(&client, &at(address)).await.unwrap();
    call(&client, &at(address)).await.unwrap();
    let requests = server.await.unwrap();
    assert_eq!(parts(&requests[0]), parts(&requests[1]));
}

// ---- what comes back ----

#[tokio::test]
async fn a_redirect_is_not_followed() {
    for status in
        ["301 Moved", "302 Found", "303 See Other", "307 Temporary Redirect", "308 Permanent Redirect"]
    {
        let (target, target_address) = listen().await;
        let answer =
            format!("HTTP/1.1 {status}\r\nlocation: http://{target_address}/x\r\ncontent-length: 0\r\n\r\n");
        let (address, server) = serve(answer, 1).await;
        let error = call(&client(), &at(address)).await.unwrap_err();
        assert_eq!(error.class, Class::Misconfigured, "{error}");
        assert!(error.detail.contains("127.0.0.1"), "{error}");
        assert!(nobody_came(target), "{status}");
        assert_eq!(server.await.unwrap().len(), 1);
    }
}

#[tokio::test]
async fn a_refusal_is_read_and_cleaned() {
    let body = format!("{{\"error\":\"invalid_client\",\"error_description\":\"bad {SECRET}\"}}");
    let answer = format!(
        "HTTP/1.1 401 Unauthorized\r\nretry-after: 7\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    let (address, _server) = serve(answer, 1).await;
    let error = call(&client(), &at(address)).await.unwrap_err();
    assert_eq!((error.class, error.status), (Class::InvalidClient, Some(401)));
    assert_eq!(error.retry_after, Some(Duration::from_secs(7)));
    assert_eq!(error.detail, "the credentials were refused: invalid_client: bad …");
}

#[tokio::test]
async fn an_endless_body_is_cut_off() {
    for (head, class) in [
        ("HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n", Class::Ambiguous),
        ("HTTP/1.1 200 OK\r\ncontent-length: 10000000000\r\n\r\n", Class::Ambiguous),
        ("HTTP/1.1 401 Unauthorized\r\nconnection: close\r\n\r\n", Class::InvalidClient),
    ] {
        let (listener, address) = listen().await;
        let server = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            read_request(&mut stream).await;
            stream.write_all(head.as_bytes()).await.unwrap();
            // Ends only when the client has hung up.
            while stream.write_all(&[b' '; 65536]).await.is_ok() {}
        });
        let error = call(&client(), &at(address)).await.unwrap_err();
        assert_eq!(error.class, class, "{error}");
        server.await.unwrap();
    }
}

#[tokio::test]
async fn a_body_of_a_mebibyte_is_still_read() {
    for (padding, fits) in [(1024 * 1024 - 37, true), (1024 * 1024 - 12, false)] {
        let (before, body) = OK.split_once("{").unwrap();
        let head = before.replace("content-length: 37", &format!("content-length: {}", 37 + padding));
        let (address, _server) = serve(format!("{head}{}{{{body}", " ".repeat(padding)), 1).await;
        assert_eq!(call(&client(), &at(address)).await.is_ok(), fits, "{padding}");
    }
}

#[tokio::test]
async fn answers_that_break_off_are_ambiguous() {
    for answer in [
        "",
        "HTTP/1.1 200",
        "HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{\"access_token\":\"t",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n14\r\n{\"access_tok",
        "\0\0\0\0",
        "SSH-2.0-OpenSSH_9.9\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\n{\"access_token\":\"t\"}",
    ] {
        let (address, _server) = serve(answer, 1).await;
        let error = call(&client(), &at(address)).await.unwrap_err();
        assert_eq!(error.class, Class::Ambiguous, "{answer:?}: {error}");
        assert!(error.may_have_rotated());
    }
}

#[tokio::test]
async fn a_refusal_whose_body_breaks_off_is_sorted_by_its_status() {
    let (address, _server) = serve("HTTP/1.1 401 No\r\ncontent-length: 100\r\n\r\n{\"error\":", 1).await;
    assert_eq!(call(&client(), &at(address)).await.unwrap_err().class, Class::InvalidClient);
}

// ---- what does not arrive ----

#[tokio::test]
async fn a_reset_after_the_request_was_written_is_ambiguous() {
    let (listener, address) = listen().await;
    let server = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        read_request(&mut stream).await;
        reset(stream);
    });
    let refresh = Secret::new("refresh-1");
    let error =
        call_within(&client(), &at(address), GrantRequest::RefreshToken(&refresh), LIMIT).await.unwrap_err();
    assert_eq!((error.class, error.status), (Class::Ambiguous, None), "{error}");
    server.await.unwrap();
}

#[tokio::test]
async fn a_refused_connection_sent_nothing() {
    let (listener, address) = listen().await;
    drop(listener);
    let error = call(&client(), &at(address)).await.unwrap_err();
    assert_eq!(error.class, Class::NotSent, "{error}");
    assert!(error.detail.contains("refused") && !error.may_have_rotated(), "{error}");
}

#[tokio::test]
async fn a_reset_within_the_handshake_sent_nothing() {
    let (listener, address) = listen().await;
    let server = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        _ = stream.read(&mut [0; 16]).await.unwrap();
        reset(stream);
    });
    let endpoint = endpoint(&format!("https://{address}/"), ClientAuth::Body);
    let error = call(&client(), &endpoint).await.unwrap_err();
    assert_eq!(error.class, Class::NotSent, "{error}");
    server.await.unwrap();
}

#[tokio::test]
async fn a_certificate_not_trusted_ends_before_anything_is_sent() {
    let (listener, address) = listen().await;
    let acceptor = TlsAcceptor::from(Arc::new(certificates("localhost").server));
    let server = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        acceptor.accept(stream).await.is_err()
    });
    let endpoint = endpoint(&format!("https://localhost:{}/", address.port()), ClientAuth::Body);
    let error = call(&client(), &endpoint).await.unwrap_err();
    assert_eq!(error.class, Class::NotSent);
    assert!(error.detail.contains("certificate"), "{error}");
    assert!(server.await.unwrap());
}

#[tokio::test]
async fn a_silent_server_runs_into_the_limit() {
    for answer in ["", "HTTP/1.1 200 OK\r\ncontent-length: 37\r\n\r\n{\"access"] {
        let (listener, address) = listen().await;
        let server = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            read_request(&mut stream).await;
            stream.write_all(answer.as_bytes()).await.unwrap();
            // Until the client hangs up.
            _ = stream.read(&mut [0; 16]).await;
        });
        let begun = Instant::now();
        let limit = Duration::from_millis(300);
        let error =
            call_within(&client(), &at(address), GrantRequest::ClientCredentials, limit).await.unwrap_err();
        assert_eq!(error.class, Class::Ambiguous);
        assert!(error.detail.contains("0.3 s"), "{error}");
        assert!(begun.elapsed() >= limit);
        server.await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_handshake_that_never_ends_is_given_up_after_five_seconds() {
    let (_listener, address) = listen().await;
    let endpoint = endpoint(&format!("https://{address}/"), ClientAuth::Body);
    let begun = tokio::time::Instant::now();
    let error = call(&client(), &endpoint).await.unwrap_err();
    assert_eq!(error.class, Class::NotSent, "{error}");
    assert_eq!(begun.elapsed().as_secs(), 5);
}

// ---- TLS, HTTP/2, forward proxies ----

#[tokio::test]
async fn over_tls_http_2_is_spoken_where_the_server_does_and_each_call_connects_anew() {
    for (alpn, version) in [(&b"h2"[..], http::Version::HTTP_2), (b"http/1.1", http::Version::HTTP_11)] {
        let mut tls = certificates("localhost");
        tls.server.alpn_protocols = vec![alpn.to_vec()];
        let acceptor = TlsAcceptor::from(Arc::new(tls.server));
        let (listener, address) = listen().await;
        let connections = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&connections);
        let server = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                counted.fetch_add(1, Ordering::SeqCst);
                let stream = TokioIo::new(acceptor.accept(stream).await.unwrap());
                let service = hyper::service::service_fn(
                    move |request: http::Request<hyper::body::Incoming>| async move {
                        assert_eq!(request.version(), version);
                        assert!(request.headers().contains_key("user-agent"));
                        let body = Full::new(&b"{\"access_token\":\"t\"}"[..]);
                        Ok::<_, std::convert::Infallible>(http::Response::new(body))
                    },
                );
                if version == http::Version::HTTP_2 {
                    tokio::spawn(
                        hyper::server::conn::http2::Builder::new(TokioExecutor::new())
                            .serve_connection(stream, service),
                    );
                } else {
                    tokio::spawn(
                        hyper::server::conn::http1::Builder::new().serve_connection(stream, service),
                    );
                }
            }
        });
        let client = TokenClient::new(tls.client, None);
        let endpoint = endpoint(&format!("https://localhost:{}/", address.port()), ClientAuth::Body);
        call(&client, &endpoint).await.unwrap();
        let (one, two) = tokio::join!(call(&client, &endpoint), call(&client, &endpoint));
        assert!(one.is_ok() && two.is_ok());
        assert_eq!(connections.load(Ordering::SeqCst), 3);
        server.abort();
    }
}

fn forward(address: SocketAddr, authorization: Option<&str>) -> ForwardProxy {
    let authorization = authorization.map(Secret::new);
    ForwardProxy { host: address.ip().to_string(), port: address.port(), authorization, except: Vec::new() }
}

async fn answer_over_tls(acceptor: TlsAcceptor, stream: impl AsyncRead + AsyncWrite + Unpin) -> String {
    let mut stream = acceptor.accept(stream).await.unwrap();
    let request = read_request(&mut stream).await;
    stream.write_all(OK.as_bytes()).await.unwrap();
    stream.shutdown().await.unwrap();
    request
}

#[tokio::test]
async fn a_configured_forward_proxy_gets_a_tunnel_and_no_secret() {
    let tls = certificates("auth.example.test");
    let acceptor = TlsAcceptor::from(Arc::new(tls.server));
    let (listener, address) = listen().await;
    let server = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let tunnel = read_request(&mut stream).await;
        stream.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").await.unwrap();
        (tunnel, answer_over_tls(acceptor, stream).await)
    });
    let client = TokenClient::new(tls.client, Some(&forward(address, Some("Basic dTpw"))));
    call(&client, &endpoint("https://auth.example.test/token", ClientAuth::Basic)).await.unwrap();
    let (tunnel, request) = server.await.unwrap();
    let (line, headers, _) = parts(&tunnel);
    assert_eq!(line, "CONNECT auth.example.test:443 HTTP/1.1");
    let lower: Vec<String> = headers.iter().map(|header| header.to_ascii_lowercase()).collect();
    assert_eq!(lower, ["host: auth.example.test:443", "proxy-authorization: basic dtpw"]);
    assert!(!request.contains("dTpw") && request.contains("authorization: Basic"), "{request}");
}

#[tokio::test]
async fn a_forward_proxy_that_gives_no_tunnel_means_nothing_was_sent() {
    for answer in
        ["HTTP/1.1 407 Proxy Authentication Required\r\n\r\n", "HTTP/1.1 502 Bad Gateway\r\n\r\n", ""]
    {
        let (address, server) = serve(answer, 1).await;
        let client = TokenClient::new(certificates("unused.test").client, Some(&forward(address, None)));
        let error =
            call(&client, &endpoint("https://auth.example.test/token", ClientAuth::Body)).await.unwrap_err();
        assert_eq!(error.class, Class::NotSent, "{answer}: {error}");
        assert!(!server.await.unwrap()[0].contains("grant_type"));
    }
}

#[tokio::test]
async fn loopback_endpoints_are_reached_past_the_forward_proxy() {
    let (listener, unused) = listen().await;
    let tls = certificates("localhost");
    let client = TokenClient::new(tls.client, Some(&forward(unused, None)));
    let (address, _server) = serve(OK, 1).await;
    call(&client, &at(address)).await.unwrap();
    let (tls_listener, address) = listen().await;
    let acceptor = TlsAcceptor::from(Arc::new(tls.server));
    let server =
        tokio::spawn(async move { answer_over_tls(acceptor, tls_listener.accept().await.unwrap().0).await });
    call(&client, &endpoint(&format!("https://localhost:{}/", address.port()), ClientAuth::Body))
        .await
        .unwrap();
    server.await.unwrap();
    assert!(nobody_came(listener));
}

#[tokio::test]
async fn proxies_named_in_the_environment_are_ignored() {
    const CHILD: &str = "MARKETGATE_TEST_CHILD";
    if std::env::var_os(CHILD).is_some() {
        let (address, _server) = serve(OK, 1).await;
        call(&client(), &at(address)).await.unwrap();
        return;
    }
    let (listener, address) = listen().await;
    let mut child = tokio::process::Command::new(std::env::current_exe().unwrap());
    child
        .args(["--exact", "proxies_named_in_the_environment_are_ignored"])
        .env(CHILD, "1")
        .env_remove("NO_PROXY")
        .env_remove("no_proxy");
    for name in ["HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"] {
        child.env(name, format!("http://{address}"));
    }
    let output = child.kill_on_drop(true).output().await.unwrap();
    assert!(output.status.success(), "{output:?}");
    assert!(nobody_came(listener));
}
