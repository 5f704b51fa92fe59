//! HTTP/2 connections on which something goes wrong for one caller: the others notice as little as can be.

use std::time::Duration;

use http::Request;
use http_body_util::BodyExt;
use tokio::{
    task::spawn_local,
    time::{Instant, pause, resume, sleep},
};

use crate::{
    h2_stage::{
        DATA, GOAWAY, HEADERS, LAST, RST_STREAM, SETTINGS, Stage, WINDOW_UPDATE, answer_of, idle, number,
        program,
    },
    upstream_pool::{
        Authority, Http2, TestBody, TestPool, TlsServer, begin, capped, frame, get, local, post, settings,
        settle,
    },
    wire::{Wire, soon},
};

/// CANCEL (RFC 9113 §7).
const CANCEL: [u8; 4] = [0, 0, 0, 8];

#[test]
fn callers_who_give_up_before_the_ping_do_not_keep_a_dead_connection_in_use() {
    local(|| async {
        let stage = Stage::set(&settings()).await;
        let _dead = idle(&stage).await;
        pause();
        for _ in 0..5 {
            let asked = stage.ask("/");
            sleep(Duration::from_secs(5)).await;
            asked.abort();
        }
        sleep(Duration::from_secs(6)).await;
        resume();
        drop(idle(&stage).await);
    });
}

#[test]
fn a_connection_that_takes_nothing_more_gives_its_place_back_soon_after_nobody_can_use_it() {
    local(|| async {
        let stage = Stage::set(&capped(1, 10)).await;
        let sent = begin(&stage.pool, &stage.url, "a", post(TestBody::frames(4096)));
        let mut stuck = stage.accept(Some(10)).await;
        stuck.request().await;
        // Room for all of it, and nobody who takes it from the socket.
        let room = frame(WINDOW_UPDATE, 0, 0, &(1_u32 << 27).to_be_bytes());
        stuck.say(&[room, frame(WINDOW_UPDATE, 0, 1, &(1_u32 << 27).to_be_bytes())]).await;
        settle().await;
        pause();
        assert!(sent.await.unwrap().is_err(), "nothing was stuck");
        // Idle for 55 s, and 10 s to end in order.
        sleep(Duration::from_secs(70)).await;
        resume();
        drop(idle(&stage).await);
    });
}

const BOTH: [&str; 2] = ["h2", "http/1.1"];

#[test]
fn a_request_that_breaks_the_connection_of_others_is_repeated_beside_them() {
    program(&BOTH, |w, stage| async move {
        let (mut one, mut two) = (Wire::to(w.proxy).await, Wire::to(w.proxy).await);
        one.write(b"GET /shop/one HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
        let mut poisoned = stage.accept(Some(10)).await;
        poisoned.request().await;
        two.write(b"GET /shop/two HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
        poisoned.request().await;
        // ENHANCE_YOUR_CALM, and the connection's end: so does nginx where a head is too large.
        poisoned.say(&[frame(GOAWAY, 0, 0, &[0, 0, 0, 3, 0, 0, 0, 11])]).await;
        drop(poisoned);
        let mut first = soon("the first repetition", stage.accept_http1()).await;
        let mut second = soon("the second repetition", stage.accept_http1()).await;
        let asked = [first.request().await.unwrap(), second.request().await.unwrap()];
        assert!(asked.iter().any(|head| head.starts_with("GET /two ")), "{asked:?}");
        // The one who is the reason meets the same again, and alone.
        let (culprit, other) =
            if asked[0].starts_with("GET /one ") { (first, second) } else { (second, first) };
        drop(culprit);
        let mut other = other;
        other.say("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nwhole").await;
        let answer = soon("the other's answer", two.answer()).await.unwrap();
        assert_eq!((answer.status, answer.body.as_str()), (200, "whole"));
        assert_eq!(one.answer().await.unwrap().status, 502);
    });
}

#[test]
fn an_answer_that_breaks_its_connection_costs_its_neighbours_nothing() {
    program(&BOTH, |w, stage| async move {
        let mut wire = Wire::to(w.proxy).await;
        wire.write(b"GET /shop/one HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
        let mut poisoned = stage.accept(Some(10)).await;
        let stream = poisoned.request().await;
        // A field of the table that holds none (RFC 7541 §6.1).
        poisoned.say(&[frame(HEADERS, 4, stream, &[0x80])]).await;
        let mut peer = stage.accept_http1().await;
        peer.request().await.unwrap();
        peer.say("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nwhole").await;
        assert_eq!(wire.answer().await.unwrap().body, "whole");
    });
}

/// A head that some servers find too large.
fn large(path: &str) -> Request<TestBody> {
    Request::get(path).header("x-large", "x".repeat(7000)).body(TestBody::text("")).unwrap()
}

#[test]
fn a_request_with_a_large_head_shares_no_connection() {
    local(|| async {
        let stage = Stage::speaking(&BOTH, &settings()).await;
        let small = stage.ask("/small");
        let mut peer = stage.accept(Some(10)).await;
        let stream = peer.request().await;
        let large = begin(&stage.pool, &stage.url, "a", large("/large"));
        let mut alone = stage.accept_http1().await;
        assert!(alone.request().await.unwrap().contains("x-large: xxx"));
        alone.say("HTTP/1.1 431 Too Large\r\nContent-Length: 2\r\n\r\nno").await;
        assert_eq!(answer_of(large).await, "no");
        peer.answer(stream, "yes").await;
        assert_eq!(answer_of(small).await, "yes");
    });
}

#[test]
fn a_request_with_a_large_head_goes_over_http2_where_nothing_else_is_spoken() {
    local(|| async {
        let stage = Stage::set(&settings()).await;
        let mut peer = idle(&stage).await;
        let sent = begin(&stage.pool, &stage.url, "a", large("/large"));
        let refused = stage.listener.accept().await.unwrap().0;
        assert!(stage.acceptor.accept(refused).await.is_err());
        let stream = peer.request().await;
        peer.answer(stream, "yes").await;
        assert_eq!(answer_of(sent).await, "yes");
        // That is not tried again.
        let sent = begin(&stage.pool, &stage.url, "a", large("/large"));
        let stream = peer.request().await;
        peer.answer(stream, "again").await;
        assert_eq!(answer_of(sent).await, "again");
    });
}

#[test]
fn a_marketplace_that_wants_http_1_1_gets_it_for_this_request_and_all_later_ones() {
    program(&BOTH, |w, stage| async move {
        let mut wire = Wire::to(w.proxy).await;
        wire.write(b"POST /shop/x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\n\r\nbody").await;
        let mut peer = stage.accept(Some(10)).await;
        let stream = peer.request().await;
        peer.until(DATA, LAST).await;
        // HTTP_1_1_REQUIRED (RFC 9113 §7).
        peer.say(&[frame(RST_STREAM, 0, stream, &[0, 0, 0, 13])]).await;
        let mut alone = stage.accept_http1().await;
        assert!(alone.request().await.unwrap().ends_with("\r\n\r\nbody"));
        alone.say("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ndone").await;
        assert_eq!(wire.answer().await.unwrap().body, "done");
        wire.write(b"GET /shop/next HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
        assert!(alone.request().await.unwrap().starts_with("GET /next "));
        alone.say("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nnext").await;
        assert_eq!(wire.answer().await.unwrap().body, "next");
    });
}

#[test]
fn an_answer_in_very_small_frames_that_nobody_reads_ends_no_other() {
    local(|| async {
        let stage = Stage::set(&settings()).await;
        let unread = stage.ask("/unread");
        let mut peer = stage.accept(Some(10)).await;
        let stream = peer.request().await;
        peer.say(&[frame(SETTINGS, LAST, 0, &[]), frame(HEADERS, 4, stream, &[0x88])]).await;
        let unread = unread.await.unwrap().unwrap();
        let small: Vec<_> = (0..60_000).map(|_| frame(DATA, 0, stream, b"x")).collect();
        peer.say(&small).await;
        let next = stage.ask("/next");
        let there = peer.request().await;
        peer.answer(there, "yes").await;
        assert_eq!(answer_of(next).await, "yes");
        peer.say(&[frame(DATA, LAST, stream, b"x")]).await;
        let whole = unread.response.into_body().collect().await.unwrap();
        assert_eq!(whole.to_bytes().len(), 60_001);
    });
}

#[test]
fn what_still_comes_for_a_crowd_of_callers_who_have_left_ends_no_other_answer() {
    local(|| async {
        let stage = Stage::set(&settings()).await;
        let mut peer = None;
        let mut left = Vec::new();
        for _ in 0..1_500 {
            let asked = stage.ask("/");
            if peer.is_none() {
                peer = Some(stage.accept(Some(200)).await);
            }
            let peer = peer.as_mut().unwrap();
            left.push(peer.request().await);
            asked.abort();
            assert_eq!(peer.until(RST_STREAM, 0).await.payload, CANCEL);
        }
        let mut peer = peer.unwrap();
        for stream in left {
            peer.say(&[frame(HEADERS, 4, stream, &[0x88]), frame(DATA, 0, stream, b"late")]).await;
        }
        let next = stage.ask("/next");
        let stream = peer.request().await;
        peer.answer(stream, "yes").await;
        assert_eq!(answer_of(next).await, "yes");
        assert!(stage.is_quiet().await);
    });
}

#[test]
fn the_rest_of_a_request_behind_its_complete_answer_has_ten_seconds() {
    local(|| async {
        let stage = Stage::set(&settings()).await;
        let (body, _never) = TestBody::held("begun");
        let sent = begin(&stage.pool, &stage.url, "a", post(body));
        let mut peer = stage.accept(Some(10)).await;
        let stream = peer.request().await;
        peer.until(DATA, 0).await;
        peer.answer(stream, "early").await;
        assert_eq!(answer_of(sent).await, "early");
        pause();
        let start = Instant::now();
        let reset = peer.until(RST_STREAM, 0).await;
        let after = start.elapsed().as_secs_f64().round();
        resume();
        assert_eq!((reset.stream, number(&reset.payload), after), (stream, 8, 10.0));
    });
}

#[test]
fn two_workers_that_may_have_one_connection_between_them_serve_everybody() {
    local(|| async {
        let authority = Authority::new();
        let acceptor = authority.acceptor("localhost", &["h2"]);
        let server = TlsServer::start(acceptor, Some(Http2 { streams: 100 })).await;
        let connector = authority.connector(&capped(1, 100));
        let pools = [TestPool::new(connector.clone()), TestPool::new(connector)];
        // Each is read by itself: one that nobody reads would hold the connection.
        let ask = |n: usize| spawn_local(answer_of(begin(&pools[n % 2], &server.url, "a", get("/"))));
        let sent: Vec<_> = (0..20).map(ask).collect();
        for one in sent {
            soon("an answer", one).await.unwrap();
        }
        let connections = server.connections.get();
        assert!(connections <= 10, "{connections} connections for two workers");
    });
}
