//! Answers of a token endpoint that are broken on the wire: wrong framing, connections that end early, and content codings
//! nobody asked for. What had come is searched; nothing here may cost a refresh token.

use std::{
    io::Write as _,
    sync::Arc,
    time::{Duration, Instant},
};

use flate2::{Compression, write};
use marketgate::{
    oauth::{Class, GrantRequest, Granted, TokenClient, TokenError},
    provider::{ClientAuth, TokenEndpoint},
    secret::Secret,
};
use ruzstd::encoding::{CompressionLevel, compress_to_vec};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_rustls::TlsAcceptor;

use crate::{
    by_hand::Frame,
    oauth_client::{at, call_within, certificates, client, endpoint, listen, read_request, reset, serve},
    upstream_pool::frame,
};

const BODY: &str = r#"{"access_token":"t","refresh_token":"new-refresh","expires_in":900,"scope":"a"}"#;
const LIMIT: Duration = Duration::from_secs(20);

async fn refresh_within(
    client: &TokenClient,
    endpoint: &TokenEndpoint,
    limit: Duration,
) -> Result<Granted, TokenError> {
    let token = Secret::new("refresh-1");
    call_within(client, endpoint, GrantRequest::RefreshToken(&token), limit).await
}

/// The access token, if it can be used, and the successor.
fn brought(outcome: &Result<Granted, TokenError>) -> (Option<&str>, Option<&str>) {
    let token = |secret: &'_ Option<Secret>| secret.as_ref().map(|secret| secret.expose().to_owned());
    let (access, successor) = match outcome {
        Ok(granted) => (Some("t"), token(&granted.refresh_token)),
        Err(error) => (None, token(&error.successor)),
    };
    assert!(outcome.as_ref().is_ok_and(|granted| granted.access_token.expose() == "t") || outcome.is_err());
    (access, successor.map(|successor| if successor == "new-refresh" { "new-refresh" } else { "another" }))
}

const WHOLE: (Option<&str>, Option<&str>) = (Some("t"), Some("new-refresh"));
const SUCCESSOR: (Option<&str>, Option<&str>) = (None, Some("new-refresh"));
const NOTHING: (Option<&str>, Option<&str>) = (None, None);

fn chunk(body: &str) -> String {
    format!("{:x}\r\n{body}\r\n", body.len())
}

/// The access token and the new refresh token that are found.
type Brought = (Option<&'static str>, Option<&'static str>);

/// What stands on the wire before the connection ends, and what that brings.
fn broken() -> Vec<(&'static str, String, Brought)> {
    let of_length = |status: &str, length: usize, body: &str| {
        format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\n\r\n{body}")
    };
    let chunked = |rest: &str| format!("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n{rest}");
    let (first, second) = BODY.split_at(30);
    let length = BODY.len();
    vec![
        ("a length that is right", of_length("200 OK", length, BODY), WHOLE),
        ("a length that is too great", of_length("200 OK", length + 100, BODY), WHOLE),
        ("a length that is too small by a brace", of_length("200 OK", length - 1, BODY), WHOLE),
        ("a length that is too small by half", of_length("200 OK", 52, BODY), WHOLE),
        ("a length that cuts the successor", of_length("200 OK", 45, BODY), WHOLE),
        ("a length that cuts the access token", of_length("200 OK", 3, BODY), WHOLE),
        ("no length at all by its number", of_length("200 OK", 0, BODY), WHOLE),
        ("a status that has no body", format!("HTTP/1.1 204 No Content\r\n\r\n{BODY}"), WHOLE),
        ("a failure whose length cuts the successor", of_length("500 Oops", 45, BODY), SUCCESSOR),
        (
            "two lengths",
            format!("HTTP/1.1 200 OK\r\ncontent-length: 45\r\ncontent-length: 80\r\n\r\n{BODY}"),
            SUCCESSOR,
        ),
        (
            "a length that is no number",
            format!("HTTP/1.1 200 OK\r\ncontent-length: many\r\n\r\n{BODY}"),
            SUCCESSOR,
        ),
        ("chunks that are none", chunked(BODY), WHOLE),
        ("a chunk whose size is too small", chunked(&format!("20\r\n{BODY}\r\n0\r\n\r\n")), WHOLE),
        ("a last chunk before the body", chunked(&format!("0\r\n\r\n{BODY}")), WHOLE),
        ("no status line", format!("content-type: application/json\r\n\r\n{BODY}"), SUCCESSOR),
        ("a status that is no number", format!("HTTP/1.1 OK\r\n\r\n{BODY}"), SUCCESSOR),
        ("a header that is none", format!("HTTP/1.1 200 OK\r\nnonsense\r\n\r\n{BODY}"), WHOLE),
        ("a folded header", format!("HTTP/1.1 200 OK\r\nx: a\r\n b\r\n\r\n{BODY}"), WHOLE),
        ("a body without a head", BODY.to_owned(), SUCCESSOR),
        (
            "an interim answer first",
            format!("HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n{}", of_length("200 OK", 45, BODY)),
            WHOLE,
        ),
        (
            "a form whose length cuts its last value",
            of_length("200 OK", 40, "access_token=t&x=1&refresh_token=new-refresh"),
            WHOLE,
        ),
        (
            "a form whose length ends before its last value",
            of_length("200 OK", 18, "access_token=t&x=1&refresh_token=new-refresh"),
            WHOLE,
        ),
        ("a form in no chunks", chunked("access_token=t&refresh_token=new-refresh"), WHOLE),
        (
            "a second chunk whose size is too small",
            chunked(&format!("{}{:x}\r\n{second}\r\n0\r\n\r\n", chunk(first), second.len() - 9)),
            WHOLE,
        ),
        (
            "a first chunk whose size is too small, with an extension",
            chunked(&format!("3;x=y\r\n{first}\r\n{}0\r\n\r\n", chunk(second))),
            WHOLE,
        ),
        // What stands between the pieces may be a part of neither: then no token may be made of both.
        (
            "a size that is none within the successor",
            chunked(&format!(
                "{}zz\r\nfresh\"}}\r\n0\r\n\r\n",
                chunk(r#"{"access_token":"t","refresh_token":"new-re"#)
            )),
            NOTHING,
        ),
        (
            "a chunk without a line end within the successor",
            chunked("26\r\n{\"access_token\":\"t\",\"refresh_token\":\"new-re7\r\nfresh\"}\r\n0\r\n\r\n"),
            NOTHING,
        ),
        (
            "a size that is none within the access token",
            chunked(&format!(
                "{}zz\r\nt\",\"refresh_token\":\"new-refresh\"}}\r\n0\r\n\r\n",
                chunk(r#"{"access_token":"t"#)
            )),
            SUCCESSOR,
        ),
        ("many interim answers", "HTTP/1.1 100\r\n\r\n".repeat(50) + &of_length("200 OK", 45, BODY), WHOLE),
        ("no length", format!("HTTP/1.1 200 OK\r\n\r\n{BODY}"), WHOLE),
        ("HTTP/1.0", format!("HTTP/1.0 200 OK\r\n\r\n{BODY}"), WHOLE),
        ("no last chunk", chunked(&chunk(BODY)), WHOLE),
        ("no last chunk after two", chunked(&(chunk(first) + &chunk(second))), WHOLE),
        ("a chunk that is cut", chunked(&format!("{:x}\r\n{BODY}", length + 10)), WHOLE),
        ("a chunk with nonsense behind it", chunked(&(chunk(BODY) + "nonsense\r\n")), WHOLE),
        ("a cut within the last member", of_length("200 OK", length, &BODY[..length - 4]), WHOLE),
        ("a cut within the successor", of_length("200 OK", length, &BODY[..45]), NOTHING),
        ("a failure that holds the successor", of_length("500 Oops", length + 9, BODY), SUCCESSOR),
        ("a refusal that holds the successor", of_length("400 Bad", length + 9, BODY), SUCCESSOR),
        ("a form", of_length("200 OK", 99, "access_token=t&refresh_token=new-refresh&x="), WHOLE),
        (
            "a form that ends with the successor",
            of_length("200 OK", 99, "access_token=t&refresh_token=new-ref"),
            NOTHING,
        ),
    ]
}

#[tokio::test]
async fn what_came_before_the_connection_ended_is_searched() {
    for (name, answer, expected) in broken() {
        let (address, _server) = serve(answer, 1).await;
        let outcome = refresh_within(&client(), &at(address), LIMIT).await;
        assert_eq!(brought(&outcome), expected, "{name}: {outcome:?}");
    }
}

#[tokio::test]
async fn what_came_before_a_reset_is_searched() {
    for (name, answer, expected) in
        broken().into_iter().filter(|(name, ..)| *name != "HTTP/1.0" && *name != "no length")
    {
        let (listener, address) = listen().await;
        let server = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            read_request(&mut stream).await;
            stream.write_all(answer.as_bytes()).await.unwrap();
            reset(stream);
        });
        let outcome = refresh_within(&client(), &at(address), LIMIT).await;
        assert_eq!(brought(&outcome), expected, "{name}: {outcome:?}");
        server.await.unwrap();
    }
}

#[tokio::test]
async fn tls_that_ends_without_close_notify_loses_nothing() {
    for (name, answer, expected) in broken() {
        let tls = certificates("localhost");
        let acceptor = TlsAcceptor::from(Arc::new(tls.server));
        let (listener, address) = listen().await;
        let server = tokio::spawn(async move {
            let mut stream = acceptor.accept(listener.accept().await.unwrap().0).await.unwrap();
            read_request(&mut stream).await;
            stream.write_all(answer.as_bytes()).await.unwrap();
            stream.flush().await.unwrap();
            let (mut stream, _) = stream.into_inner();
            stream.shutdown().await.unwrap();
        });
        let client = TokenClient::new(tls.client, None);
        let endpoint = endpoint(&format!("https://localhost:{}/", address.port()), ClientAuth::Body);
        let outcome = refresh_within(&client, &endpoint, LIMIT).await;
        assert_eq!(brought(&outcome), expected, "{name}: {outcome:?}");
        server.await.unwrap();
    }
}

/// Answers whose second piece comes in a packet of its own, while the connection stays open.
fn in_two_pieces() -> Vec<(&'static str, String, String, Brought)> {
    let of_length =
        |length: usize, body: &str| format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n{body}");
    let (first, second) = BODY.split_at(30);
    let form = "access_token=t&expires_in=900&refresh_token=new-refresh&x=";
    let (form_first, form_second) = form.split_at(30);
    vec![
        ("a length that cuts JSON", of_length(30, first), second.to_owned(), WHOLE),
        ("a length that cuts a form within a name", of_length(30, form_first), form_second.to_owned(), WHOLE),
        (
            "a length that cuts a form between two",
            of_length(29, "access_token=t&expires_in=900"),
            "&refresh_token=new-refresh&x=".to_owned(),
            WHOLE,
        ),
        ("no length at all by its number", of_length(0, ""), BODY.to_owned(), WHOLE),
        (
            "a failure whose length cuts it",
            of_length(30, first).replace("200 OK", "500 Oops"),
            second.to_owned(),
            SUCCESSOR,
        ),
        (
            "a head that is none",
            "HTTP/1.1 200 OK\r\ncontent-length: many\r\n\r\n".to_owned(),
            BODY.to_owned(),
            SUCCESSOR,
        ),
        ("no head", first.to_owned(), second.to_owned(), SUCCESSOR),
        (
            "a length that cuts the last value of a form",
            of_length(40, "access_token=t&x=1&refresh_token=new-refr"),
            "esh".to_owned(),
            WHOLE,
        ),
        (
            "a last chunk that is too early",
            format!("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n{}0\r\n\r\n", chunk(first)),
            second.to_owned(),
            WHOLE,
        ),
        ("a length that is too great", of_length(500, BODY), String::new(), WHOLE),
        (
            "a form that ends within a name",
            of_length(35, "access_token=t&expires_in=900&refre"),
            String::new(),
            NOTHING,
        ),
    ]
}

#[tokio::test]
async fn what_a_wrong_length_cuts_off_is_waited_for() {
    for (name, first, second, expected) in in_two_pieces() {
        let (listener, address) = listen().await;
        let (asked, gap) = (tokio::sync::Notify::new(), Duration::from_millis(60));
        let server = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            stream.set_nodelay(true).unwrap();
            read_request(&mut stream).await;
            stream.write_all(first.as_bytes()).await.unwrap();
            // The pause is what is tested: a server's own between two pieces.
            tokio::time::sleep(gap).await;
            stream.write_all(second.as_bytes()).await.unwrap();
            asked.notified().await;
        };
        let call = async {
            let outcome = refresh_within(&client(), &at(address), LIMIT).await;
            asked.notify_one();
            outcome
        };
        let (outcome, ()) = tokio::join!(call, server);
        assert_eq!(brought(&outcome), expected, "{name}: {outcome:?}");
    }
}

#[tokio::test]
async fn a_mebibyte_of_heads_is_read_in_one_pass() {
    let mebibyte = |piece: &str| piece.repeat(1024 * 1024 / piece.len());
    for answer in [
        mebibyte("HTTP/1.1 100\r\n\r\n"),
        "HTTP/1.1 200 OK\r\n\r\n".to_owned() + &mebibyte("HTTP/1.1 200 OK\r\n\r\n"),
        "HTTP/1.1 200 OK\r\n\r\n".to_owned() + &mebibyte("\r\n"),
        mebibyte("x: y\r\n"),
    ] {
        let (address, _server) = serve(answer, 1).await;
        let begun = Instant::now();
        let outcome = refresh_within(&client(), &at(address), LIMIT).await;
        assert_eq!(brought(&outcome), NOTHING, "{outcome:?}");
        assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    }
}

#[tokio::test]
async fn a_body_without_a_head_may_hold_an_empty_line() {
    let body = BODY.replace(",\"expires_in\"", ",\n\n\"expires_in\"");
    for body in [body.clone(), body.replace('\n', "\r\n")] {
        let (address, _server) = serve(body, 1).await;
        let outcome = refresh_within(&client(), &at(address), LIMIT).await;
        assert_eq!(brought(&outcome), SUCCESSOR, "{outcome:?}");
    }
}

#[tokio::test]
async fn the_framing_of_chunks_is_never_taken_for_a_part_of_what_they_hold() {
    // Each brings no refresh token, or none that was issued, however its chunks are cut.
    for pieces in [
        [r#"{"access_token":"t","refresh_token":""#, r#"","x":1}"#],
        [r#"{"access_token":"t","previ"#, r#"ous":{"refresh_token":"rt-evil-0"}}"#],
        [r#"{"access_token":"t","mess"#, r#"age":"{\"refresh_token\":\"rt-talk-0\"}"}"#],
        [r#"{"access_token":"t","refresh_token":"[FILT"#, r#"ERED]"}"#],
    ] {
        let body = pieces.map(chunk).concat();
        for end in ["0\r\n\r\n", ""] {
            let answer = format!("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n{body}{end}");
            let (address, _server) = serve(answer, 1).await;
            let outcome = refresh_within(&client(), &at(address), LIMIT).await;
            let successor = match &outcome {
                Ok(granted) => &granted.refresh_token,
                Err(error) => &error.successor,
            };
            assert!(successor.is_none(), "{pieces:?} {end:?}: {outcome:?}");
        }
    }
}

const END_HEADERS: u8 = 0x4;
const END_STREAM: u8 = 0x1;
const PADDED: u8 = 0x8;

/// Answers over HTTP/2, as frames. `:status` by its index in the static table, `content-length` as a literal with the name
/// at 28 (RFC 7541 §6.2.2, appendix A).
fn over_http_2() -> Vec<(&'static str, Vec<Vec<u8>>, Brought)> {
    let (ok, failed) = (0x88, 0x8e);
    let head = |status: u8| frame(Frame::HEADERS, END_HEADERS, 1, &[status]);
    let of_length = |status: u8, length: &str| {
        let length = [&[status, 0x0f, 0x0d, u8::try_from(length.len()).unwrap()], length.as_bytes()].concat();
        frame(Frame::HEADERS, END_HEADERS, 1, &length)
    };
    let reset = frame(Frame::RST_STREAM, 0, 1, &[0, 0, 0, 2]);
    let body = |flags: u8| frame(Frame::DATA, flags, 1, BODY.as_bytes());
    let (first, second) = BODY.as_bytes().split_at(30);
    let padded = [&[4], second, &[0; 4]].concat();
    vec![
        ("reset after its data", vec![head(ok), body(0), reset.clone()], WHOLE),
        ("a failure that is reset", vec![head(failed), body(0), reset], SUCCESSOR),
        ("a length that is too small", vec![of_length(ok, "9"), body(END_STREAM)], WHOLE),
        ("a length that is too great", vec![of_length(ok, "999"), body(END_STREAM)], WHOLE),
        (
            "a length that cuts the second piece",
            vec![
                of_length(ok, "30"),
                frame(Frame::DATA, 0, 1, first),
                frame(Frame::DATA, PADDED | END_STREAM, 1, &padded),
            ],
            WHOLE,
        ),
        (
            "data behind the end",
            vec![
                head(ok),
                frame(Frame::DATA, END_STREAM, 1, first),
                frame(Frame::DATA, END_STREAM, 1, second),
            ],
            WHOLE,
        ),
        ("no head", vec![body(END_STREAM)], SUCCESSOR),
        ("HTTP/1.1", vec![format!("HTTP/1.1 200 OK\r\n\r\n{BODY}").into_bytes()], SUCCESSOR),
        (
            "a head that ends the stream",
            vec![frame(Frame::HEADERS, END_HEADERS | END_STREAM, 1, &[ok]), body(END_STREAM)],
            WHOLE,
        ),
    ]
}

#[tokio::test]
async fn an_http_2_stream_whose_framing_is_wrong_loses_nothing() {
    for (name, frames, expected) in over_http_2() {
        let settings = 4;
        let mut tls = certificates("localhost");
        tls.server.alpn_protocols = vec![b"h2".to_vec()];
        let acceptor = TlsAcceptor::from(Arc::new(tls.server));
        let (listener, address) = listen().await;
        let server = tokio::spawn(async move {
            let mut stream = acceptor.accept(listener.accept().await.unwrap().0).await.unwrap();
            let speaks_h2 = !frames[0].starts_with(b"HTTP/");
            if speaks_h2 {
                stream.write_all(&frame(settings, 0, 0, b"")).await.unwrap();
            }
            let mut request = Vec::new();
            while !request.windows(9).any(|part| part == b"refresh-1") {
                stream.read_buf(&mut request).await.unwrap();
            }
            stream.write_all(&frames.concat()).await.unwrap();
            // Until the client hangs up.
            while stream.read(&mut [0; 1024]).await.is_ok_and(|read| read > 0) {}
        });
        let client = TokenClient::new(tls.client, None);
        let endpoint = endpoint(&format!("https://localhost:{}/", address.port()), ClientAuth::Body);
        let outcome = refresh_within(&client, &endpoint, LIMIT).await;
        assert_eq!(brought(&outcome), expected, "{name}: {outcome:?}");
        drop(client);
        server.await.unwrap();
    }
}

#[tokio::test]
async fn what_came_before_the_time_limit_is_searched() {
    let (listener, address) = listen().await;
    let server = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        read_request(&mut stream).await;
        let answer = format!("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n{}", chunk(BODY));
        stream.write_all(answer.as_bytes()).await.unwrap();
        // Until the client hangs up.
        _ = stream.read(&mut [0; 16]).await;
    });
    let outcome = refresh_within(&client(), &at(address), Duration::from_millis(300)).await;
    assert_eq!(brought(&outcome), WHOLE, "{outcome:?}");
    server.await.unwrap();
}

#[tokio::test]
async fn a_successor_in_front_of_an_endless_body_is_kept() {
    let (listener, address) = listen().await;
    let server = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        read_request(&mut stream).await;
        stream.write_all(format!("HTTP/1.1 200 OK\r\n\r\n{BODY}").as_bytes()).await.unwrap();
        // Ends only when the client has hung up.
        while stream.write_all(&[b' '; 65536]).await.is_ok() {}
    });
    let outcome = refresh_within(&client(), &at(address), LIMIT).await;
    assert_eq!(brought(&outcome), WHOLE, "{outcome:?}");
    server.await.unwrap();
}

// ---- content codings ----

fn gzip(body: &[u8]) -> Vec<u8> {
    let mut out = write::GzEncoder::new(Vec::new(), Compression::best());
    out.write_all(body).unwrap();
    out.finish().unwrap()
}

fn zlib(body: &[u8]) -> Vec<u8> {
    let mut out = write::ZlibEncoder::new(Vec::new(), Compression::best());
    out.write_all(body).unwrap();
    out.finish().unwrap()
}

fn deflate(body: &[u8]) -> Vec<u8> {
    let mut out = write::DeflateEncoder::new(Vec::new(), Compression::best());
    out.write_all(body).unwrap();
    out.finish().unwrap()
}

fn zstd(body: &[u8]) -> Vec<u8> {
    compress_to_vec(body, CompressionLevel::Fastest)
}

/// One uncompressed block (RFC 7932 §9.2) of at most 64 KiB, and the empty last one.
fn brotli(body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len() - 1).unwrap();
    let head = (length << 4 | 1 << 20).to_le_bytes();
    [&head[..3], body, &[0b11]].concat()
}

/// Brotli's own: `{"access_token":"t","refresh_token":"new-refresh"}` compressed by the reference encoder is covered by its
/// crate; here the way of a coding through the client is.
fn coded() -> Vec<(&'static str, Vec<u8>)> {
    let body = BODY.as_bytes();
    vec![
        ("gzip", gzip(body)),
        ("x-gzip", gzip(body)),
        ("GZip", gzip(body)),
        ("deflate", zlib(body)),
        ("deflate", deflate(body)),
        ("br", brotli(body)),
        ("zstd", zstd(body)),
        ("identity", body.to_vec()),
        ("identity, gzip", gzip(body)),
        ("gzip, br", brotli(&gzip(body))),
        ("zstd, deflate, gzip", gzip(&zlib(&zstd(body)))),
        // The header lies.
        ("identity", gzip(body)),
        ("identity", zstd(body)),
        ("gzip", body.to_vec()),
        ("br", body.to_vec()),
        ("gzip", gzip(&gzip(body))),
        // Several members or frames, and something behind them.
        ("gzip", [gzip(&body[..20]), gzip(&body[20..])].concat()),
        ("zstd", [zstd(&body[..20]), zstd(&body[20..])].concat()),
        ("gzip", [gzip(body), vec![0; 20]].concat()),
    ]
}

fn with_coding(status: &str, coding: &str, body: &[u8]) -> Vec<u8> {
    let head =
        format!("HTTP/1.1 {status}\r\ncontent-encoding: {coding}\r\ncontent-length: {}\r\n\r\n", body.len());
    [head.as_bytes(), body].concat()
}

#[tokio::test]
async fn every_content_coding_is_taken_off_though_none_was_asked_for() {
    for (coding, body) in coded() {
        for (status, expected) in [("200 OK", WHOLE), ("502 Bad Gateway", SUCCESSOR)] {
            let (address, server) = serve(with_coding(status, coding, &body), 1).await;
            let outcome = refresh_within(&client(), &at(address), LIMIT).await;
            assert_eq!(brought(&outcome), expected, "{coding} {status}: {outcome:?}");
            assert!(server.await.unwrap()[0].contains("accept-encoding: identity"));
        }
    }
}

#[tokio::test]
async fn a_form_that_is_plain_in_spite_of_its_coding_is_whole() {
    for coding in ["gzip", "br", "utf-8", "none"] {
        let form = b"access_token=t&refresh_token=new-refresh";
        let (address, _server) = serve(with_coding("200 OK", coding, form), 1).await;
        let outcome = refresh_within(&client(), &at(address), LIMIT).await;
        assert_eq!(brought(&outcome), WHOLE, "{coding}: {outcome:?}");
    }
}

#[tokio::test]
async fn a_compressed_refusal_is_understood() {
    let (address, _server) =
        serve(with_coding("400 Bad", "gzip", &gzip(br#"{"error":"invalid_grant"}"#)), 1).await;
    let error = refresh_within(&client(), &at(address), LIMIT).await.unwrap_err();
    assert_eq!(error.class, Class::InvalidGrant, "{error}");
}

#[tokio::test]
async fn a_coding_that_cannot_be_read_is_never_a_loss() {
    for (coding, body) in
        [("compress", b"\x1f\x9d\x90".as_slice()), ("aes128gcm", b"\x01"), ("gzip", b"\x1f\x8b\x08\0")]
    {
        let (address, _server) = serve(with_coding("200 OK", coding, body), 1).await;
        let error = refresh_within(&client(), &at(address), LIMIT).await.unwrap_err();
        assert_eq!((error.class, error.may_have_rotated()), (Class::Ambiguous, true), "{coding}: {error}");
        assert!(error.detail.contains("coding") || error.detail.contains("compressed"), "{error}");
    }
}

#[tokio::test]
async fn a_compressed_body_that_is_cut_gives_what_it_held() {
    // What follows the tokens does not compress, so that the cut is behind them.
    let mut noise = 1_u32;
    let mut random = || {
        noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        char::from(b'a' + u8::try_from(noise >> 24).unwrap() % 26)
    };
    let padding: String = (0..60_000).map(|_| random()).collect();
    let body = BODY.replace("\"scope\":\"a\"", &format!("\"scope\":\"a\",\"x\":\"{padding}\""));
    for (coding, coded) in [
        ("gzip", gzip(body.as_bytes())),
        ("deflate", zlib(body.as_bytes())),
        ("deflate", deflate(body.as_bytes())),
        ("br", brotli(body.as_bytes())),
    ] {
        let half = &coded[..coded.len() * 2 / 3];
        let (address, _server) = serve(with_coding("200 OK", coding, half), 1).await;
        let outcome = refresh_within(&client(), &at(address), LIMIT).await;
        assert_eq!(brought(&outcome), WHOLE, "{coding}: {outcome:?}");
    }
}

#[tokio::test]
async fn a_bomb_costs_a_mebibyte() {
    let large = vec![b' '; 20 * 1024 * 1024];
    let begun = Instant::now();
    for (coding, bomb) in [
        ("gzip", gzip(&large)),
        ("gzip, gzip", gzip(&gzip(&large))),
        ("deflate", zlib(&large)),
        ("zstd", zstd(&large)),
    ] {
        let (address, _server) = serve(with_coding("200 OK", coding, &bomb), 1).await;
        let made = begun.elapsed();
        let error = refresh_within(&client(), &at(address), LIMIT).await.unwrap_err();
        assert_eq!(error.class, Class::Ambiguous, "{coding}: {error}");
        assert!(begun.elapsed() - made < Duration::from_secs(10), "{coding}");
    }
    // What stands in front of it is kept.
    let (address, _server) =
        serve(with_coding("200 OK", "gzip", &gzip(&[BODY.as_bytes(), &large].concat())), 1).await;
    assert_eq!(brought(&refresh_within(&client(), &at(address), LIMIT).await), WHOLE);
}
