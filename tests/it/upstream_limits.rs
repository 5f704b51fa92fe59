//! The limits of `[upstream]` as callers see them, each configured short. The one rule: the marketplace is a socket that the
//! test plays, so that each limit passes because of what it is for.

use std::{net::SocketAddr, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use crate::{
    harness::{Answer, Time, World, gate},
    wire::{Wire, soon},
};

/// Runs a test before a marketplace of its own, whose app is `shop`.
fn before<F: Future<Output = ()>>(
    scheme: &str,
    upstream: &str,
    test: impl FnOnce(std::rc::Rc<World>, TcpListener) -> F,
) {
    let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    socket.set_nonblocking(true).unwrap();
    let address: SocketAddr = socket.local_addr().unwrap();
    let configuration = format!(
        "[upstream]\n{upstream}\n[apps.shop]\nprovider = \"generic\"\ngrant = \"static\"\n\
         api = \"{scheme}://{address}\"\napi_key = \"key-x\"\n"
    );
    gate(Time::Runs, &configuration, |w| async move {
        soon("the end of the test", test(w, TcpListener::from_std(socket).unwrap())).await;
    });
}

/// Reads a request's head off a new connection.
async fn asked(listener: &TcpListener) -> TcpStream {
    let mut stream = soon("a connection", listener.accept()).await.unwrap().0;
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(soon("a request", stream.read_u8()).await.unwrap());
    }
    stream
}

async fn asking(w: &World) -> Wire {
    let mut wire = Wire::to(w.proxy).await;
    wire.write(b"GET /shop/x HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    wire
}

fn has(answer: &Answer, status: u16, code: &str, error: &str, limit: &str) {
    assert_eq!((answer.status, answer.code().as_str()), (status, code), "{}", answer.body);
    let told = answer.headers["proxy-status"].to_str().unwrap();
    assert!(told.contains(&format!("error={error}")), "{told}");
    assert!(answer.body.contains(limit), "{}", answer.body);
}

#[test]
fn beyond_the_cap_and_its_queue_a_request_gets_503_overloaded_at_once_and_the_others_their_turn() {
    before("http", "limits = { connections = 1, queue = 1 }", |w, market| async move {
        let mut first = asking(&w).await;
        let mut stream = asked(&market).await;
        // One of the two waits, and which one is theirs to settle.
        let (mut second, mut third) = (asking(&w).await, asking(&w).await);
        let (refusal, mut waits) = tokio::select! {
            answer = second.answer() => (answer.unwrap(), third),
            answer = third.answer() => (answer.unwrap(), second),
        };
        has(&refusal, 503, "overloaded", "connection_limit_reached", "upstream.limits");
        assert_eq!(refusal.headers["retry-after"], "1");
        for caller in [&mut first, &mut waits] {
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await.unwrap();
            assert_eq!(caller.answer().await.unwrap().body, "ok");
        }
    });
}

#[test]
fn whoever_waits_for_a_connection_longer_than_an_answer_may_take_gets_503_overloaded() {
    let upstream = "limits = { connections = 1, queue = 1 }\ntimeouts = { head = \"200ms\" }";
    before("http", upstream, |w, market| async move {
        let mut first = asking(&w).await;
        let mut stream = asked(&market).await;
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\no").await.unwrap();
        assert_eq!(first.head().await.unwrap().status, 200);
        let refusal = asking(&w).await.answer().await.unwrap();
        has(&refusal, 503, "overloaded", "connection_limit_reached", "upstream.limits");
        stream.write_all(b"k").await.unwrap();
        assert_eq!(first.bytes(2).await, b"ok", "the body that moves has no limit on its whole");
    });
}

#[test]
fn a_handshake_that_stands_still_is_504_after_connect() {
    before("https", "timeouts = { connect = \"200ms\" }", |w, market| async move {
        let mut caller = asking(&w).await;
        let _silent = soon("a connection", market.accept()).await.unwrap();
        let answer = caller.answer().await.unwrap();
        has(&answer, 504, "upstream_timeout", "connection_timeout", "upstream.timeouts.connect");
    });
}

#[test]
fn a_head_that_does_not_come_is_504_after_head() {
    before("http", "timeouts = { head = \"200ms\" }", |w, market| async move {
        let mut caller = asking(&w).await;
        let mut stream = asked(&market).await;
        // Part of a head is no head.
        stream.write_all(b"HTTP/1.1 200 OK\r\n").await.unwrap();
        let answer = caller.answer().await.unwrap();
        has(&answer, 504, "upstream_timeout", "http_response_timeout", "upstream.timeouts.head");
        assert_eq!(soon("the end", stream.read_to_end(&mut Vec::new())).await.unwrap(), 0);
    });
}

#[test]
fn a_marketplace_that_takes_no_more_of_a_request_is_504_after_stall() {
    before("http", "timeouts = { stall = \"200ms\" }", |w, market| async move {
        let (mut reading, mut writing) = TcpStream::connect(w.proxy).await.unwrap().into_split();
        let head = "PUT /shop/x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 67108864\r\n\r\n";
        writing.write_all(head.as_bytes()).await.unwrap();
        let _never_reads = asked(&market).await;
        let upload = async {
            // Until nothing more is taken.
            while writing.write_all(&[b'x'; 1 << 16]).await.is_ok() {}
            std::future::pending::<()>().await;
        };
        let mut answer = Vec::new();
        tokio::select! {
            // A reset is an end, too.
            _ = soon("an answer", reading.read_to_end(&mut answer)) => {}
            () = upload => {}
        }
        let answer = String::from_utf8(answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 504 "), "{answer}");
        for told in ["\"upstream_timeout\"", "error=connection_write_timeout", "upstream.timeouts.stall"] {
            assert!(answer.contains(told), "{answer}");
        }
    });
}

#[test]
fn an_answer_that_stands_still_is_cut_after_stall_and_one_that_creeps_is_not() {
    before("http", "timeouts = { stall = \"300ms\" }", |w, market| async move {
        let mut caller = asking(&w).await;
        let mut stream = asked(&market).await;
        stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").await.unwrap();
        assert_eq!(caller.head().await.unwrap().status, 200);
        let begun = std::time::Instant::now();
        let mut crept = 0;
        // Longer than the limit in all, never for as long at once.
        let mut beat = tokio::time::interval(Duration::from_millis(50));
        while begun.elapsed() < Duration::from_millis(600) {
            beat.tick().await;
            stream.write_all(b"1\r\nx\r\n").await.unwrap();
            crept += 1;
        }
        let cut = caller.chunks().await.expect_err("half an answer looks whole");
        assert_eq!(cut.len(), crept);
        assert_eq!(soon("the end", stream.read_to_end(&mut Vec::new())).await.unwrap(), 0);
    });
}

#[test]
fn a_caller_who_stands_still_within_its_body_is_cut_after_stall_and_the_marketplace_gets_no_whole_body() {
    before("http", "timeouts = { stall = \"200ms\" }", |w, market| async move {
        let mut caller = Wire::to(w.proxy).await;
        caller
            .write(b"POST /shop/x HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n4\r\npart\r\n")
            .await;
        let mut stream = asked(&market).await;
        let mut body = Vec::new();
        // A reset is an end, too.
        let _ = soon("the end of the request", stream.read_to_end(&mut body)).await;
        assert_eq!(body, b"4\r\npart\r\n");
        let answer = caller.answer().await;
        assert!(answer.is_none(), "an answer where none was due: {}", answer.unwrap().body);
    });
}
