//! HTTP/2 connections whose upstream changes its mind: fewer streams, a farewell in the middle of answers, silence, old age.

use std::time::Duration;

use http_body_util::BodyExt;
use marketgate::proxy::upstream::Cause;
use tokio::{io::AsyncReadExt, task::JoinHandle};

use crate::{
    h2_stage::{
        DATA, GOAWAY, HEADERS, LARGEST, LAST, PIECE, PING, Peer, Poured, RST_STREAM, SETTINGS, SMALLEST,
        Stage, WINDOW_UPDATE, answer_of, idle, number, program,
    },
    upstream_pool::{
        Authority, Http2, TestBody, TlsServer, begin, capped, failure, fetch, frame, get, local, outwaited,
        post, settings, settle, text,
    },
    wire::Wire,
};

#[test]
fn where_a_connection_takes_one_stream_requests_at_once_have_one_each_up_to_the_cap() {
    local(|| async {
        let authority = Authority::new();
        let acceptor = authority.acceptor("localhost", &["h2"]);
        let server = TlsServer::start(acceptor, Some(Http2 { streams: 1 })).await;
        let pool = authority.pool(&capped(3, 10));
        server.held.set(true);
        let sent: Vec<_> = (0..5).map(|_| begin(&pool, &server.url, "a", get("/"))).collect();
        server.has_seen(3).await;
        settle().await;
        assert_eq!((server.connections.get(), server.requests.borrow().len()), (3, 3));
        server.held.set(false);
        server.go.notify_waiters();
        for one in sent {
            answer_of(one).await;
        }
        assert_eq!((server.connections.get(), server.requests.borrow().len()), (3, 5));
    });
}

#[test]
fn a_limit_on_streams_that_is_lowered_later_holds_from_then_on() {
    local(|| async {
        let stage = Stage::set(&settings()).await;
        let first = stage.ask("/1");
        let mut peer = stage.accept(Some(10)).await;
        let stream = peer.request().await;
        peer.allow(Some(1)).await;
        // Of the two acknowledgements the second is for this one.
        peer.until(SETTINGS, LAST).await;
        let second = stage.ask("/2");
        let mut other = stage.accept(Some(10)).await;
        let there = other.request().await;
        other.answer(there, "two").await;
        assert_eq!(answer_of(second).await, "two");
        peer.answer(stream, "one").await;
        assert_eq!(answer_of(first).await, "one");
    });
}

#[test]
fn a_limit_on_streams_that_is_raised_later_is_used() {
    local(|| async {
        let stage = Stage::set(&capped(1, 10)).await;
        let first = stage.ask("/1");
        let mut peer = stage.accept(Some(1)).await;
        let stream = peer.request().await;
        let second = stage.ask("/2");
        settle().await;
        peer.allow(Some(2)).await;
        peer.until(SETTINGS, LAST).await;
        let third = stage.ask("/3");
        let at_once = peer.request().await;
        peer.answer(at_once, "more").await;
        peer.answer(stream, "one").await;
        assert_eq!(answer_of(first).await, "one");
        let last = peer.request().await;
        peer.answer(last, "more").await;
        assert_eq!((answer_of(second).await, answer_of(third).await), ("more".into(), "more".into()));
    });
}

#[test]
fn where_no_limit_on_streams_is_named_a_connection_gets_256() {
    local(|| async {
        let stage = Stage::set(&settings()).await;
        let sent: Vec<_> = (0..257).map(|_| stage.ask("/")).collect();
        let mut peer = stage.accept(None).await;
        for number in 0..256 {
            assert_eq!(peer.request().await, 2 * number + 1);
        }
        let mut other = stage.accept(None).await;
        assert_eq!(other.request().await, 1);
        sent.iter().for_each(JoinHandle::abort);
    });
}

#[test]
fn a_caller_who_reads_is_sent_more_at_once_until_others_need_their_part() {
    local(|| async {
        let stage = Stage::set(&settings()).await;
        let (mut peer, stream, read) = stage.download().await;
        let Poured { sent, windows, .. } =
            peer.pour(stream, |windows| windows.last() == Some(&LARGEST)).await;
        assert_eq!(windows, [2 * SMALLEST, 4 * SMALLEST, 8 * SMALLEST, 16 * SMALLEST, LARGEST]);
        peer.say(&[frame(DATA, LAST, stream, b"")]).await;
        assert_eq!(read.await.unwrap().len(), sent);
        let sent: Vec<_> = (0..3).map(|_| stage.ask("/small")).collect();
        // Told before the third request, whose stream would be one too many for so large a window.
        let mut requests = 0;
        let smaller = loop {
            let frame = peer.frame().await.unwrap();
            requests += usize::from(frame.kind == HEADERS);
            if let Some(window) = frame.window() {
                break window;
            }
        };
        assert!(smaller == SMALLEST && requests < 3, "{smaller} after {requests} requests");
        sent.iter().for_each(JoinHandle::abort);
    });
}

#[test]
fn a_caller_who_has_read_everything_is_sent_more_though_the_window_became_smaller() {
    local(|| async {
        let stage = Stage::set(&settings()).await;
        let (mut peer, stream, read) = stage.download().await;
        let Poured { mut sent, mut credit, .. } =
            peer.pour(stream, |windows| windows.last() == Some(&LARGEST)).await;
        // With the smaller window the stream has less than nothing left.
        for _ in 0..60 {
            peer.say(&[frame(DATA, 0, stream, &PIECE)]).await;
            credit -= PIECE.len() as i64;
            sent += PIECE.len();
        }
        settle().await;
        let small: Vec<_> = (0..3).map(|_| stage.ask("/small")).collect();
        let mut window = LARGEST;
        while !(window == SMALLEST && credit > 0) {
            let frame = peer.frame().await.expect("the connection ended");
            if let Some(told) = frame.window() {
                credit += told - window;
                window = told;
                peer.say(&[self::frame(SETTINGS, LAST, 0, &[])]).await;
            } else if (frame.kind, frame.stream) == (WINDOW_UPDATE, stream) {
                credit += number(&frame.payload);
            }
        }
        peer.say(&[frame(DATA, LAST, stream, b"")]).await;
        assert_eq!(read.await.unwrap().len(), sent);
        small.iter().for_each(JoinHandle::abort);
    });
}

#[test]
fn a_crowd_that_comes_before_a_larger_window_is_acknowledged_waits_for_the_smaller_one() {
    local(|| async {
        let stage = Stage::set(&capped(1, 100)).await;
        let (mut peer, stream, read) = stage.download().await;
        // The first SETTINGS have been acknowledged; the next are not.
        let mut credit = SMALLEST;
        let wider = loop {
            while credit > 0 {
                peer.say(&[frame(DATA, 0, stream, &PIECE)]).await;
                credit -= PIECE.len() as i64;
            }
            let frame = peer.frame().await.unwrap();
            if let Some(window) = frame.window() {
                break window;
            }
            if (frame.kind, frame.stream) == (WINDOW_UPDATE, stream) {
                credit += number(&frame.payload);
            }
        };
        assert_eq!(wider, 2 * SMALLEST);
        let sent: Vec<_> = (0..40).map(|_| stage.ask("/small")).collect();
        for _ in 0..31 {
            peer.request().await;
        }
        settle().await;
        peer.say(&[frame(SETTINGS, LAST, 0, &[]), frame(PING, 0, 0, &[7; 8])]).await;
        // Nothing but the smaller window comes between the thirty-second stream and the rest.
        loop {
            let frame = peer.frame().await.unwrap();
            assert_ne!(frame.kind, HEADERS, "a stream too many for the larger window");
            if let Some(window) = frame.window() {
                break assert_eq!(window, SMALLEST);
            }
        }
        for _ in 0..9 {
            peer.request().await;
        }
        sent.iter().for_each(JoinHandle::abort);
        read.abort();
    });
}

#[test]
fn a_farewell_in_the_middle_of_answers_cuts_none_that_it_promises() {
    local(|| async {
        let stage = Stage::set(&settings()).await;
        let (one, two, three) = (stage.ask("/1"), stage.ask("/2"), stage.ask("/3"));
        let mut peer = stage.accept(Some(10)).await;
        let streams = [peer.request().await, peer.request().await, peer.request().await];
        peer.say(&[frame(HEADERS, 4, streams[0], &[0x88]), frame(DATA, 0, streams[0], b"half ")]).await;
        let begun = one.await.unwrap().unwrap();
        peer.farewell(streams[1]).await;
        // Not carried out: whoever asked may ask again, whatever it was.
        let refused = three.await.unwrap().unwrap_err().error;
        assert_eq!((refused.cause(), refused.may_have_arrived()), (&Cause::RefusedStream, false));
        // The next request goes elsewhere, though the old connection still works.
        let next = stage.ask("/4");
        let mut other = stage.accept(Some(10)).await;
        let there = other.request().await;
        other.answer(there, "next").await;
        assert_eq!(answer_of(next).await, "next");
        peer.say(&[frame(DATA, LAST, streams[0], b"whole")]).await;
        assert_eq!(text(begun).await, "half whole");
        peer.answer(streams[1], "two").await;
        assert_eq!(answer_of(two).await, "two");
        assert!(!peer.see_the_end().await.contains(&HEADERS));
    });
}

#[test]
fn a_farewell_that_comes_in_two_steps_loses_no_request() {
    local(|| async {
        let stage = Stage::set(&settings()).await;
        let sent = [stage.ask("/1"), stage.ask("/2")];
        let mut peer = stage.accept(Some(10)).await;
        // RFC 9113 §6.8: first the highest number there is, then what has arrived.
        let mut streams = vec![peer.request().await];
        peer.farewell(u32::MAX >> 1).await;
        streams.push(peer.request().await);
        peer.farewell(streams[1]).await;
        for stream in streams {
            peer.answer(stream, "yes").await;
        }
        for one in sent {
            assert_eq!(answer_of(one).await, "yes");
        }
        assert!(!peer.see_the_end().await.contains(&HEADERS));
        let next = stage.ask("/3");
        let mut other = stage.accept(Some(10)).await;
        let there = other.request().await;
        other.answer(there, "next").await;
        assert_eq!(answer_of(next).await, "next");
    });
}

#[test]
fn a_connection_that_has_gone_dead_while_idle_costs_its_requests_thirty_seconds_and_no_later_ones() {
    local(|| async {
        let stage = Stage::set(&settings()).await;
        // Held open, never read or written again: so is a connection whose peer lost its power.
        let _dead = idle(&stage).await;
        let (one, two) = (stage.ask("/1"), stage.ask("/2"));
        settle().await;
        let both = async {
            let (one, two) = (one.await.unwrap(), two.await.unwrap());
            assert!(one.unwrap_err().error.may_have_arrived());
            two
        };
        let (failure, after) = outwaited(both).await;
        assert!(matches!(failure.error.cause(), Cause::ConnectionError { .. }), "{}", failure.error);
        assert!(after <= Duration::from_secs(30), "{after:?}");
        let next = stage.ask("/3");
        let mut peer = stage.accept(Some(10)).await;
        let stream = peer.request().await;
        peer.answer(stream, "alive").await;
        assert_eq!(answer_of(next).await, "alive");
    });
}

#[test]
fn a_connection_that_answers_pings_lives_however_long_an_answer_takes() {
    local(|| async {
        let stage = Stage::set(&settings()).await;
        let sent = stage.ask("/");
        let mut peer = stage.accept(Some(10)).await;
        let stream = peer.request().await;
        tokio::time::pause();
        let start = tokio::time::Instant::now();
        // Two pings and more: longer than a dead one is given.
        for _ in 0..2 {
            let ping = ping(&mut peer).await;
            peer.say(&[frame(PING, LAST, 0, &ping)]).await;
        }
        assert!(start.elapsed() > Duration::from_secs(35), "{:?}", start.elapsed());
        tokio::time::resume();
        peer.answer(stream, "at last").await;
        assert_eq!(answer_of(sent).await, "at last");
    });
}

/// What the next ping holds.
async fn ping(peer: &mut Peer) -> [u8; 8] {
    loop {
        let mut head = [0; 9];
        peer.stream.read_exact(&mut head).await.unwrap();
        let mut payload = vec![0; u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize];
        peer.stream.read_exact(&mut payload).await.unwrap();
        if (head[3], head[4] & LAST) == (PING, 0) {
            return payload.try_into().unwrap();
        }
    }
}

#[test]
fn a_body_that_finds_no_window_is_a_stall_and_its_connection_serves_on() {
    local(|| async {
        let stage = Stage::set(&settings()).await;
        let sent = begin(&stage.pool, &stage.url, "a", post(TestBody::frames(64)));
        let mut peer = stage.accept(Some(10)).await;
        peer.request().await;
        // Read, and never given back as window (RFC 9113 §6.9).
        let mut read = 0;
        while read < 65535 {
            let frame = peer.until(DATA, 0).await;
            assert_eq!(frame.stream, 1);
            read += 16384;
        }
        tokio::time::pause();
        let start = tokio::time::Instant::now();
        let pongs = async {
            loop {
                let ping = ping(&mut peer).await;
                peer.say(&[frame(PING, LAST, 0, &ping)]).await;
            }
        };
        let failure = tokio::select! {
            sent = sent => sent.unwrap().unwrap_err(),
            () = pongs => unreachable!(),
        };
        tokio::time::resume();
        assert!(matches!(failure.error.cause(), Cause::Stall { .. }), "{}", failure.error);
        assert_eq!(failure.error.proxy_status_error(), "connection_write_timeout");
        assert!((29..=31).contains(&start.elapsed().as_secs()), "{:?}", start.elapsed());
        peer.say(&[frame(WINDOW_UPDATE, 0, 0, &(1_u32 << 20).to_be_bytes())]).await;
        let next = stage.ask("/next");
        let stream = peer.request().await;
        peer.answer(stream, "yes").await;
        assert_eq!(answer_of(next).await, "yes");
        assert!(stage.is_quiet().await, "a stall of one request ended a connection of all");
    });
}

#[test]
fn a_shared_connection_takes_nothing_new_after_five_minutes_and_ends_what_it_has() {
    local(|| async {
        let authority = Authority::new();
        let acceptor = authority.acceptor("localhost", &["h2"]);
        let server = TlsServer::start(acceptor, Some(Http2 { streams: 10 })).await;
        let pool = authority.pool(&settings());
        for round in 0..7 {
            assert_eq!(fetch(&pool, &server.url, "a").await, "1", "round {round}");
            tokio::time::pause();
            tokio::time::advance(Duration::from_secs(if round < 6 { 49 } else { 5 })).await;
            tokio::time::resume();
        }
        // 299 s old.
        server.held.set(true);
        let late = begin(&pool, &server.url, "b", get("/late"));
        server.has_seen(8).await;
        server.held.set(false);
        tokio::time::pause();
        tokio::time::advance(Duration::from_secs(2)).await;
        tokio::time::resume();
        assert_eq!(fetch(&pool, &server.url, "a").await, "2");
        server.go.notify_waiters();
        assert_eq!(answer_of(late).await, "1");
    });
}

#[test]
fn an_upstream_that_sends_no_settings_is_given_up_when_connecting_has_had_its_time() {
    local(|| async {
        let stage = Stage::set(&settings()).await;
        let asked = stage.ask("/");
        let silent = async {
            let stream = stage.listener.accept().await.unwrap().0;
            stage.acceptor.accept(stream).await.unwrap()
        };
        let _silent = silent.await;
        let (failure, after) = outwaited(async { asked.await.unwrap() }).await;
        assert!(matches!(failure.error.cause(), Cause::ConnectTimeout { .. }), "{}", failure.error);
        assert_eq!((after.as_secs(), failure.error.may_have_arrived()), (5, false));
    });
}

#[test]
fn a_protocol_that_is_none_ends_its_connection_and_nothing_else() {
    local(|| async {
        let stage = Stage::set(&settings()).await;
        let asked = async {
            // A DATA frame for a stream that nobody opened (RFC 9113 §5.1).
            let mut peer = stage.accept(Some(10)).await;
            let stream = peer.request().await;
            peer.say(&[frame(DATA, 0, stream + 20, b"x")]).await;
            peer.see_the_end().await
        };
        let (error, kinds) = tokio::join!(failure(&stage.pool, &stage.url), asked);
        assert!(error.may_have_arrived(), "{error}");
        assert!(kinds.contains(&GOAWAY), "{kinds:?}");
        drop(idle(&stage).await);
    });
}

#[test]
fn an_answer_that_is_dropped_is_cancelled_and_its_stream_comes_free() {
    local(|| async {
        let stage = Stage::set(&capped(1, 10)).await;
        let sent = stage.ask("/1");
        let mut peer = stage.accept(Some(1)).await;
        let stream = peer.request().await;
        peer.say(&[frame(HEADERS, 4, stream, &[0x88]), frame(DATA, 0, stream, b"half")]).await;
        let mut body = sent.await.unwrap().unwrap().response.into_body();
        body.frame().await.unwrap().unwrap();
        let waiting = stage.ask("/2");
        drop(body);
        let next = peer.request().await;
        peer.answer(next, "two").await;
        assert_eq!(answer_of(waiting).await, "two");
    });
}

const SMALL_POST: &[u8] = b"POST /shop/x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\n\r\nbody";

#[test]
fn a_request_that_the_marketplace_has_not_processed_is_sent_once_more_whatever_its_method() {
    program(&["h2"], |w, stage| async move {
        let mut wire = Wire::to(w.proxy).await;
        wire.write(SMALL_POST).await;
        let mut leaving = stage.accept(Some(10)).await;
        assert_eq!(leaving.request().await, 1);
        leaving.until(DATA, LAST).await;
        leaving.farewell(0).await;
        let mut peer = stage.accept(Some(10)).await;
        let stream = peer.request().await;
        peer.until(DATA, LAST).await;
        peer.answer(stream, "done").await;
        assert_eq!(wire.answer().await.unwrap().body, "done");
        assert!(stage.is_quiet().await);
    });
}

#[test]
fn a_request_that_is_refused_twice_is_told_so_and_that_it_did_not_arrive() {
    program(&["h2"], |w, stage| async move {
        let mut wire = Wire::to(w.proxy).await;
        wire.write(SMALL_POST).await;
        let mut peer = stage.accept(Some(10)).await;
        for stream in [1, 3] {
            assert_eq!(peer.request().await, stream);
            peer.until(DATA, LAST).await;
            // REFUSED_STREAM (RFC 9113 §7).
            peer.say(&[frame(RST_STREAM, 0, stream, &[0, 0, 0, 7])]).await;
        }
        let answer = wire.answer().await.unwrap();
        assert_eq!((answer.status, answer.code().as_str()), (502, "upstream_unreachable"), "{}", answer.body);
        assert!(answer.body.contains("has seen nothing of it"), "{}", answer.body);
    });
}
