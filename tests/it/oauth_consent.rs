//! Revocations and plain GETs over real sockets. The rule: what was sent is compared whole, and what was to be revoked is
//! never called revoked without the server's word.

use std::{borrow::Cow, net::SocketAddr, sync::Arc, time::Duration};

use http::{HeaderMap, HeaderValue};
use marketgate::{
    oauth::{Class, Fetched, NoAnswer, RevocationRequest, RevokeError, TokenClient},
    provider::{ClientAuth, HttpUrl, TokenEndpoint},
    secret::Secret,
};
use rustls::{ClientConfig, RootCertStore, crypto::aws_lc_rs};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

const SECRET: &str = "s3cret-of-the-client";
const TOKEN: &str = "refresh-1+/=";
const USER_AGENT: &str = concat!("user-agent: marketgate/", env!("CARGO_PKG_VERSION"));
const LIMIT: Duration = Duration::from_secs(20);

// ---- servers ----

async fn listen() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

/// Reads one request, body included.
async fn read_request(stream: &mut TcpStream) -> String {
    let mut request = String::new();
    loop {
        let mut piece = [0; 4096];
        let length = stream.read(&mut piece).await.unwrap();
        assert!(length > 0, "the client hung up in the middle of its request");
        request.push_str(std::str::from_utf8(&piece[..length]).unwrap());
        let Some((head, body)) = request.split_once("\r\n\r\n") else { continue };
        let declared = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        if body.len() >= declared.map_or(0, |length| length.parse().unwrap()) {
            return request;
        }
    }
}

/// Answers one request, closes the connection, and tells what was asked.
async fn serve(answer: String) -> (SocketAddr, JoinHandle<String>) {
    let (listener, address) = listen().await;
    let task = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let request = read_request(&mut stream).await;
        stream.write_all(answer.as_bytes()).await.unwrap();
        request
    });
    (address, task)
}

fn answer(status: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n\r\n{body}", body.len())
}

/// Reads one request and breaks the connection off.
async fn break_off() -> (SocketAddr, JoinHandle<()>) {
    let (listener, address) = listen().await;
    let task = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        read_request(&mut stream).await;
        stream.set_zero_linger().unwrap();
    });
    (address, task)
}

/// Whether nobody ever connected.
fn nobody_came(listener: TcpListener) -> bool {
    let listener = listener.into_std().unwrap();
    matches!(listener.accept(), Err(error) if error.kind() == std::io::ErrorKind::WouldBlock)
}

// ---- calls ----

fn client() -> TokenClient {
    let tls = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()));
    let tls = tls.with_safe_default_protocol_versions().unwrap();
    TokenClient::new(tls.with_root_certificates(RootCertStore::empty()).with_no_client_auth(), None)
}

fn at(address: SocketAddr, path: &str) -> HttpUrl {
    format!("http://{address}{path}").parse().unwrap()
}

fn setting(name: &str) -> Option<Cow<'static, str>> {
    (name == "uuid").then(|| "a-uuid".into())
}

/// Service tasks run on whatever thread there is.
fn can_be_spawned<F: Future + Send>(future: F) -> F {
    future
}

async fn revoke(address: SocketAddr, client_auth: ClientAuth) -> Result<(), RevokeError> {
    revoke_as(address, client_auth, SECRET).await
}

async fn revoke_as(
    address: SocketAddr,
    client_auth: ClientAuth,
    client_secret: &str,
) -> Result<(), RevokeError> {
    let endpoint = TokenEndpoint {
        url: at(address, "/token"),
        client_auth,
        scope: Some("not sent".into()),
        headers: vec![("wm_qos.correlation_id".parse().unwrap(), "{uuid}".parse().unwrap())],
        params: vec![("audience".into(), "not sent".parse().unwrap())],
        budget: None,
        at_once: None,
        answers: Default::default(),
    };
    let (client_secret, refresh_token) = (Secret::new(client_secret), Secret::new(TOKEN));
    let request = RevocationRequest {
        url: &at(address, "/realms/x/revoke"),
        endpoint: &endpoint,
        client_id: "the client",
        client_secret: &client_secret,
        refresh_token: &refresh_token,
        settings: &|name| setting(name),
        limit: LIMIT,
    };
    let result = can_be_spawned(client().revoke(&request)).await;
    if let Err(error) = &result {
        let shown = format!("{error} {error:?}");
        assert!(!shown.contains(SECRET) && !shown.contains("refresh-1"), "{shown}");
    }
    result
}

async fn get(address: SocketAddr, limit: Duration) -> Result<Fetched, NoAnswer> {
    let mut headers = HeaderMap::new();
    headers.insert("authorization", HeaderValue::from_static("Bearer access-1"));
    can_be_spawned(client().get(&at(address, "/api/v1/shop/"), headers, limit)).await
}

/// The request line, the header lines in alphabetical order, and the body.
fn parts(request: &str) -> (String, Vec<String>, String) {
    let (head, body) = request.split_once("\r\n\r\n").unwrap();
    let mut lines: Vec<String> = head.split("\r\n").map(str::to_owned).collect();
    let first = lines.remove(0);
    lines.sort();
    (first, lines, body.to_owned())
}

// ---- revocation ----

#[tokio::test]
async fn a_revocation_is_sent_as_the_rfc_writes_it() {
    for (client_auth, authorization, client) in [
        (ClientAuth::Body, None, "&client_id=the+client&client_secret=s3cret-of-the-client"),
        (ClientAuth::Basic, Some("authorization: Basic dGhlK2NsaWVudDpzM2NyZXQtb2YtdGhlLWNsaWVudA=="), ""),
    ] {
        let (address, server) = serve(answer("200 OK", "")).await;
        revoke(address, client_auth).await.unwrap();
        let (line, headers, body) = parts(&server.await.unwrap());
        assert_eq!(line, "POST /realms/x/revoke HTTP/1.1");
        assert_eq!(body, format!("token=refresh-1%2B%2F%3D&token_type_hint=refresh_token{client}"));
        let length = format!("content-length: {}", body.len());
        let host = format!("host: {address}");
        let mut expected = vec![
            "accept-encoding: identity",
            "accept: application/json",
            &length,
            "content-type: application/x-www-form-urlencoded",
            &host,
            USER_AGENT,
            "wm_qos.correlation_id: a-uuid",
        ];
        expected.extend(authorization);
        expected.sort_unstable();
        assert_eq!(headers, expected);
    }
}

#[tokio::test]
async fn a_client_without_a_secret_names_itself_in_the_form() {
    for client_auth in [ClientAuth::Body, ClientAuth::Basic] {
        let (address, server) = serve(answer("200 OK", "")).await;
        revoke_as(address, client_auth, "").await.unwrap();
        let (_, headers, body) = parts(&server.await.unwrap());
        assert_eq!(body, "token=refresh-1%2B%2F%3D&token_type_hint=refresh_token&client_id=the+client");
        assert!(!headers.iter().any(|line| line.starts_with("authorization")), "{headers:?}");
    }
}

#[tokio::test]
async fn only_success_means_that_a_token_is_revoked() {
    for (answer, in_doubt, detail) in [
        (answer("503 Service Unavailable", ""), false, "the server did not say why"),
        (answer("500 Internal Server Error", "<html>"), true, "the server did not say why"),
        (
            answer(
                "400 Bad Request",
                r#"{"error":"unsupported_token_type","error_description":"refresh-1+/= no"}"#,
            ),
            false,
            "unsupported_token_type: … no",
        ),
        (
            answer(
                "401 Unauthorized",
                r#"{"error":"invalid_client","error_description":"s3cret-of-the-client"}"#,
            ),
            false,
            "invalid_client: …",
        ),
        (answer("404 Not Found", ""), false, "the server did not say why"),
        (answer("404 Not Found", "nothing here"), false, "nothing here"),
    ] {
        let (address, server) = serve(answer.clone()).await;
        let error = revoke(address, ClientAuth::Body).await.unwrap_err();
        assert_eq!((error.in_doubt, error.detail.as_str()), (in_doubt, detail), "{answer}");
        assert_eq!(error.status.unwrap().to_string(), answer[9..12]);
        server.await.unwrap();
    }
}

#[tokio::test]
async fn a_revocation_put_off_says_for_how_long() {
    let busy = "HTTP/1.1 503 Busy\r\nretry-after: 7\r\ncontent-length: 0\r\n\r\n";
    let (address, _server) = serve(busy.to_owned()).await;
    let error = revoke(address, ClientAuth::Body).await.unwrap_err();
    assert_eq!(error.retry_after, Some(Duration::from_secs(7)));
    assert_eq!(
        error.to_string(),
        "the refresh token is not revoked (status 503): the server did not say why"
    );
}

#[tokio::test]
async fn no_redirect_leads_a_refresh_token_elsewhere() {
    for status in ["301 Moved", "302 Found", "307 Temporary Redirect", "308 Permanent Redirect"] {
        let (target, elsewhere) = listen().await;
        let redirect =
            format!("HTTP/1.1 {status}\r\nlocation: http://{elsewhere}/x\r\ncontent-length: 0\r\n\r\n");
        let (address, _server) = serve(redirect).await;
        let error = revoke(address, ClientAuth::Body).await.unwrap_err();
        assert!(!error.in_doubt && error.detail == "redirected, and not followed", "{error}");
        assert!(nobody_came(target), "{status}");
    }
}

#[tokio::test]
async fn a_revocation_without_an_answer_is_in_doubt_once_it_was_sent() {
    let (address, server) = break_off().await;
    let error = revoke(address, ClientAuth::Body).await.unwrap_err();
    assert!(error.in_doubt && error.status.is_none(), "{error}");
    assert!(error.to_string().starts_with("it is not known whether"), "{error}");
    server.await.unwrap();
    let (listener, nowhere) = listen().await;
    drop(listener);
    let error = revoke(nowhere, ClientAuth::Body).await.unwrap_err();
    assert!(!error.in_doubt && error.detail.starts_with("no connection to"), "{error}");
}

// ---- plain GETs ----

#[tokio::test]
async fn a_get_carries_the_token_and_asks_for_json() {
    let (address, server) = serve(answer("200 OK", r#"{"id":97082934}"#)).await;
    let fetched = get(address, LIMIT).await.unwrap();
    assert_eq!(fetched.status, 200);
    assert!(!format!("{fetched:?}").contains("97082934"));
    assert_eq!(fetched.body.unwrap().as_slice(), br#"{"id":97082934}"#);
    let (line, headers, body) = parts(&server.await.unwrap());
    assert_eq!((line.as_str(), body.as_str()), ("GET /api/v1/shop/ HTTP/1.1", ""));
    let host = format!("host: {address}");
    let expected = ["accept: application/json", "authorization: Bearer access-1", host.as_str(), USER_AGENT];
    assert_eq!(headers, expected);
}

#[tokio::test]
async fn a_get_with_an_accept_of_its_own_keeps_it() {
    let (address, server) = serve(answer("204 No Content", "")).await;
    let mut headers = HeaderMap::new();
    headers.insert("accept", HeaderValue::from_static("text/plain"));
    client().get(&at(address, "/status"), headers, LIMIT).await.unwrap();
    let (_, headers, _) = parts(&server.await.unwrap());
    assert_eq!(headers[0], "accept: text/plain");
    assert_eq!(headers.iter().filter(|header| header.starts_with("accept")).count(), 1);
}

#[tokio::test]
async fn a_refused_or_redirected_get_brings_its_status() {
    let (target, elsewhere) = listen().await;
    let redirect =
        format!("HTTP/1.1 302 Found\r\nlocation: http://{elsewhere}/x\r\ncontent-length: 0\r\n\r\n");
    for (answer, status) in
        [(answer("401 Unauthorized", "{}"), 401), (answer("500 No", ""), 500), (redirect, 302)]
    {
        let (address, _server) = serve(answer).await;
        assert_eq!(get(address, LIMIT).await.unwrap().status, status);
    }
    assert!(nobody_came(target));
}

#[tokio::test]
async fn a_body_that_is_not_whole_is_none() {
    for (answer, whole) in [
        (answer("200 OK", &" ".repeat(1024 * 1024)), true),
        (answer("200 OK", &" ".repeat(1024 * 1024 + 1)), false),
        ("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n{".to_owned(), false),
    ] {
        let (address, server) = serve(answer).await;
        let fetched = get(address, LIMIT).await.unwrap();
        assert_eq!((fetched.status.as_u16(), fetched.body.is_some()), (200, whole));
        // A server whose body was not read to its end may find the connection closed.
        drop(server);
    }
}

#[tokio::test]
async fn a_get_without_an_answer_says_whether_it_was_sent() {
    let (address, server) = break_off().await;
    assert_eq!(get(address, LIMIT).await.unwrap_err().class, Class::Ambiguous);
    server.await.unwrap();
    let (listener, silent) = listen().await;
    let error = get(silent, Duration::from_millis(50)).await.unwrap_err();
    assert_eq!(error.class, Class::Ambiguous);
    assert_eq!(error.to_string(), format!("no whole answer from {silent} within 0.05 s"));
    drop(listener);
    assert_eq!(get(silent, LIMIT).await.unwrap_err().class, Class::NotSent);
}
