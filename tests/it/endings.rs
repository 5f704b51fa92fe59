//! Exchanges that end before their end, seen from the other side of the program. The one rule: what ended short never
//! looks whole, and its connection carries nothing more.

use std::rc::Rc;

use crate::{
    by_hand::{End, Frame, Frames, Upstream, trust},
    certificates::Authority,
    harness::{Time, World, gate},
    wire::Wire,
};

/// What of every answer's body has come when it ends.
const PART: &str = "half!";

/// Framings of an answer, each with [`PART`] as the beginning of its body.
const FRAMINGS: [(&str, &str); 5] = [
    ("Content-Length: 10\r\n\r\n", PART),
    ("Transfer-Encoding: chunked\r\n\r\n", "a\r\nhalf!"),
    ("Transfer-Encoding: chunked\r\n\r\n", "5\r\nhalf!\r\n"),
    ("Transfer-Encoding: chunked\r\n\r\n", "5\r\nhalf!\r\n0\r\n"),
    ("\r\n", PART),
];

const VERSIONS: [&str; 2] = ["1.1", "1.0"];

/// Runs a test against an upstream that speaks `protocols` over TLS, or HTTP/1.1 without TLS where there are none.
fn before<F: Future<Output = ()>>(protocols: &[&str], test: impl FnOnce(Rc<World>, Upstream) -> F) {
    let (authority, folder) = (Authority::new(), tempfile::tempdir().unwrap());
    let upstream = match protocols {
        [] => Upstream::plain(),
        _ => Upstream::secured(&authority, protocols),
    };
    let configuration = trust(&authority, folder.path()) + &upstream.app("hand");
    gate(Time::Runs, &configuration, |w| test(w, upstream));
}

/// A request on a connection of its own.
async fn ask(w: &World, version: &str) -> Wire {
    let mut wire = Wire::to(w.proxy).await;
    wire.write(format!("GET /hand/x HTTP/{version}\r\nHost: localhost\r\n\r\n").as_bytes()).await;
    wire
}

/// What the caller has of an answer is plainly not all of it, and his connection has ended.
async fn is_cut_short(mut wire: Wire, case: &str) {
    let Some(head) = wire.head().await else { return };
    if head.status == 502 {
        return;
    }
    assert_eq!(head.status, 200, "{case}");
    match (head.text("content-length"), head.text("transfer-encoding")) {
        (Some(length), _) => {
            let (body, _) = wire.rest_and_end().await;
            assert!(body.len() < length.parse().unwrap(), "{case}: {length} bytes came");
        }
        (_, Some(_)) => {
            let broken = wire.chunks().await.expect_err(case);
            assert!(PART.as_bytes().starts_with(&broken), "{case}: {broken:?}");
        }
        (None, None) => {
            let (_, end) = wire.rest_and_end().await;
            assert!(end.is_err(), "{case}: to this caller it looks whole");
        }
    }
}

// ---- answers: HTTP/1.1 -------------------------------------------------------------------------------------------

/// The upstream answers in part and ends; `watched`, only when the caller has begun to read.
async fn breaks_off(
    w: &World,
    upstream: &Upstream,
    answer: (&str, &str),
    end: End,
    version: &str,
    watched: bool,
) {
    let case = format!("{answer:?} {end:?} to HTTP/{version}, watched: {watched}");
    let mut wire = ask(w, version).await;
    let mut peer = upstream.accept().await;
    assert!(peer.head().await.is_some());
    peer.say(format!("HTTP/1.1 200 OK\r\n{}{}", answer.0, answer.1)).await;
    if watched {
        wire.peek().await;
    }
    peer.part(end).await;
    is_cut_short(wire, &case).await;
    // The next request finds a connection of its own, and its own answer.
    let mut wire = ask(w, "1.1").await;
    let mut peer = upstream.accept().await;
    assert!(peer.head().await.is_some());
    peer.say("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 3\r\n\r\nown").await;
    assert_eq!(wire.answer().await.unwrap().body, "own", "{case}");
}

#[test]
fn an_answer_that_ends_short_looks_whole_to_nobody() {
    for (protocols, ends) in
        [(&[][..], &[End::Fin, End::Reset][..]), (&["http/1.1"], &[End::Farewell, End::Fin, End::Reset])]
    {
        before(protocols, |w, upstream| async move {
            for (framing, part) in FRAMINGS {
                for end in ends {
                    // What has no length and no chunks ends as it should when its connection does.
                    let in_order = if protocols.is_empty() { End::Fin } else { End::Farewell };
                    if framing == "\r\n" && *end == in_order {
                        continue;
                    }
                    for version in VERSIONS {
                        for watched in [true, false] {
                            breaks_off(&w, &upstream, (framing, part), *end, version, watched).await;
                        }
                    }
                }
            }
        });
    }
}

#[test]
fn an_answer_that_ends_with_its_connection_is_whole_only_after_a_proper_farewell() {
    for (protocols, end) in [(&[][..], End::Fin), (&["http/1.1"], End::Farewell)] {
        before(protocols, |w, upstream| async move {
            for version in VERSIONS {
                let mut wire = ask(&w, version).await;
                let mut peer = upstream.accept().await;
                assert!(peer.head().await.is_some());
                peer.say(format!("HTTP/1.1 200 OK\r\n\r\n{PART}")).await;
                wire.peek().await;
                peer.part(end).await;
                let head = wire.head().await.unwrap();
                let body = match head.text("transfer-encoding") {
                    Some(_) => wire.chunks().await.unwrap(),
                    None => {
                        let (body, end) = wire.rest_and_end().await;
                        assert!(end.is_ok(), "what is whole ended with a reset");
                        body
                    }
                };
                assert_eq!(body, PART.as_bytes(), "HTTP/{version}");
            }
        });
    }
}

// ---- answers: HTTP/2 ---------------------------------------------------------------------------------------------

/// How a stream ends before its end.
#[derive(Clone, Copy, Debug)]
enum Short {
    /// RST_STREAM with this code; the connection goes on.
    Stream(u8),
    /// GOAWAY that has this stream answered, and then nothing but the end.
    Goaway,
    Connection(End),
}

const SHORTS: [Short; 7] = [
    Short::Stream(0),
    Short::Stream(2),
    Short::Stream(8),
    Short::Goaway,
    Short::Connection(End::Farewell),
    Short::Connection(End::Fin),
    Short::Connection(End::Reset),
];

async fn cut_stream(mut frames: Frames, stream: u32, short: Short) -> Option<Frames> {
    match short {
        Short::Stream(code) => {
            frames.reset(stream, code).await;
            return Some(frames);
        }
        Short::Goaway => frames.goaway(stream).await,
        Short::Connection(_) => {}
    }
    let end = if let Short::Connection(end) = short { end } else { End::Farewell };
    frames.0.end(end).await;
    if end != End::Reset {
        // What a connection has to say of itself at its end may still come, but nothing of any stream.
        while let Some(frame) = frames.next().await {
            assert_eq!(frame.kind, Frame::RST_STREAM, "{frame:?}");
        }
    }
    None
}

#[test]
fn an_http2_answer_whose_stream_does_not_end_looks_whole_to_nobody() {
    before(&["h2"], |w, upstream| async move {
        let mut connection: Option<Frames> = None;
        for short in SHORTS {
            // Half of what was promised, an unknown part, and all there was to come, but for the word that it was all.
            for length in [Some(10), None, Some(PART.len())] {
                for (version, watched) in [("1.1", true), ("1.1", false), ("1.0", true), ("1.0", false)] {
                    let case = format!("{short:?} of {length:?} to HTTP/{version}, watched: {watched}");
                    let mut wire = ask(&w, version).await;
                    let mut frames = match connection.take() {
                        Some(frames) => frames,
                        None => upstream.accept().await.greet().await,
                    };
                    let stream = frames.request().await;
                    frames.head(stream, length).await;
                    frames.data(stream, PART, false).await;
                    if watched {
                        wire.peek().await;
                    }
                    connection = cut_stream(frames, stream, short).await;
                    is_cut_short(wire, &case).await;
                }
            }
            let mut wire = ask(&w, "1.1").await;
            let mut frames = match connection.take() {
                Some(frames) => frames,
                None => upstream.accept().await.greet().await,
            };
            let stream = frames.request().await;
            frames.answer(stream, "own").await;
            assert_eq!(wire.answer().await.unwrap().body, "own", "{short:?}");
            connection = Some(frames);
        }
    });
}

#[test]
fn an_http2_answer_whose_end_comes_in_a_frame_of_its_own_is_not_called_off() {
    before(&["h2"], |w, upstream| async move {
        let mut wire = ask(&w, "1.1").await;
        let mut frames = upstream.accept().await.greet().await;
        for _ in 0..20 {
            let stream = frames.request().await;
            frames.head(stream, Some(PART.len())).await;
            frames.data(stream, PART, false).await;
            wire.peek().await;
            frames.data(stream, "", true).await;
            assert_eq!(wire.answer().await.unwrap().body, PART);
            // `request` sees to it that no RST_STREAM comes before this.
            wire.write(b"GET /hand/x HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
        }
    });
}

// ---- uploads -----------------------------------------------------------------------------------------------------

/// How a caller leaves within his body.
#[derive(Clone, Copy, Debug)]
enum Leave {
    Close,
    Reset,
    /// Not at all: he writes what is no chunk.
    Nonsense,
}

/// Framings of a request's body, as far as it comes.
const UPLOADS: [(&str, &str); 3] = [
    ("Content-Length: 10", PART),
    ("Transfer-Encoding: chunked", "5\r\nhalf!\r\n"),
    ("Transfer-Encoding: chunked", "a\r\nhalf!"),
];

async fn begin_upload(w: &World, (framing, part): (&str, &str)) -> Wire {
    let mut wire = Wire::to(w.proxy).await;
    let head = format!("POST /hand/x HTTP/1.1\r\nHost: localhost\r\n{framing}\r\n\r\n");
    wire.write(format!("{head}{part}").as_bytes()).await;
    wire
}

/// Each way of leaving within each framing.
fn leaves() -> impl Iterator<Item = ((&'static str, &'static str), Leave)> {
    let each = UPLOADS
        .into_iter()
        .flat_map(|upload| [Leave::Close, Leave::Reset, Leave::Nonsense].map(|leave| (upload, leave)));
    // Within bytes that are counted nothing is nonsense.
    each.filter(|((_, part), leave)| !matches!(leave, Leave::Nonsense) || part.ends_with("\r\n"))
}

async fn leave(mut wire: Wire, how: Leave) {
    match how {
        Leave::Close => drop(wire),
        Leave::Reset => wire.reset(),
        Leave::Nonsense => {
            wire.write(b"nonsense\r\n").await;
            assert!(wire.head().await.is_none_or(|head| head.status == 400));
        }
    }
}

#[test]
fn an_upload_that_breaks_off_looks_whole_to_no_http1_upstream() {
    for protocols in [&[][..], &["http/1.1"]] {
        before(protocols, |w, upstream| async move {
            for (upload, how) in leaves() {
                let wire = begin_upload(&w, upload).await;
                let mut peer = upstream.accept().await;
                let head = peer.head().await.unwrap();
                let is_chunked = head.contains("transfer-encoding: chunked");
                assert_eq!(is_chunked, upload.0.contains("chunked"), "{head}");
                let begun = if is_chunked { format!("5\r\n{PART}\r\n") } else { PART.to_owned() };
                assert_eq!(peer.bytes(begun.len()).await.unwrap(), begun.as_bytes());
                leave(wire, how).await;
                assert_eq!(peer.rest().await, b"", "{upload:?} {how:?}: more came, perhaps an end");
            }
            // With an answer under way as well.
            let mut wire = begin_upload(&w, UPLOADS[1]).await;
            let mut peer = upstream.accept().await;
            peer.head().await.unwrap();
            peer.say("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf!").await;
            assert_eq!(wire.head().await.unwrap().status, 200);
            drop(wire);
            assert!(!peer.rest().await.ends_with(b"0\r\n\r\n"));
        });
    }
}

#[test]
fn an_upload_that_breaks_off_resets_its_stream_of_an_http2_connection_and_no_other() {
    before(&["h2"], |w, upstream| async move {
        let mut other = ask(&w, "1.1").await;
        let mut frames = upstream.accept().await.greet().await;
        let kept = frames.request().await;
        for (upload, how) in leaves() {
            for is_answered in [false, true] {
                let mut wire = begin_upload(&w, upload).await;
                let stream = frames.request().await;
                let data = frames.next().await.unwrap();
                assert_eq!(
                    (data.stream, &data.payload[..], data.ends_stream()),
                    (stream, PART.as_bytes(), false)
                );
                if is_answered {
                    frames.head(stream, Some(10)).await;
                    frames.data(stream, PART, false).await;
                    assert_eq!(wire.head().await.unwrap().status, 200);
                    wire.bytes(PART.len()).await;
                    drop(wire);
                } else {
                    leave(wire, how).await;
                }
                let end = frames.next().await.unwrap();
                assert_eq!((end.stream, end.code().is_some()), (stream, true), "{upload:?} {how:?}: {end:?}");
            }
        }
        frames.answer(kept, "own").await;
        assert_eq!(other.answer().await.unwrap().body, "own");
    });
}

// ---- downloads nobody wants any more -----------------------------------------------------------------------------

const LEAVES: [Leave; 2] = [Leave::Close, Leave::Reset];

#[test]
fn a_caller_who_goes_away_ends_his_http1_connection_to_the_upstream() {
    for protocols in [&[][..], &["http/1.1"]] {
        before(protocols, |w, upstream| async move {
            for (how, is_answered) in LEAVES.into_iter().flat_map(|how| [(how, false), (how, true)]) {
                let mut wire = ask(&w, "1.1").await;
                let mut peer = upstream.accept().await;
                peer.head().await.unwrap();
                if is_answered {
                    peer.say("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf!").await;
                    wire.peek().await;
                }
                leave(wire, how).await;
                assert_eq!(peer.rest().await, b"", "{how:?}");
            }
        });
    }
}

#[test]
fn a_caller_who_goes_away_cancels_his_http2_stream_and_leaves_the_connection() {
    before(&["h2"], |w, upstream| async move {
        let mut first = ask(&w, "1.1").await;
        let mut frames = upstream.accept().await.greet().await;
        let stream = frames.request().await;
        frames.answer(stream, "own").await;
        assert_eq!(first.answer().await.unwrap().body, "own");
        for (how, is_answered) in LEAVES.into_iter().flat_map(|how| [(how, false), (how, true)]) {
            let mut wire = ask(&w, "1.1").await;
            let stream = frames.request().await;
            if is_answered {
                frames.head(stream, None).await;
                frames.data(stream, PART, false).await;
                wire.peek().await;
            }
            leave(wire, how).await;
            let end = frames.next().await.unwrap();
            // RFC 9113 §7: CANCEL is 8.
            assert_eq!((end.stream, end.code()), (stream, Some(8)), "{how:?}: {end:?}");
        }
        let mut wire = ask(&w, "1.1").await;
        let stream = frames.request().await;
        frames.answer(stream, "own").await;
        assert_eq!(wire.answer().await.unwrap().body, "own");
    });
}
