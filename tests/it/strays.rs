//! Bytes that no request asked for. The one rule: they end their connection, and every answer is its own request's.
//!
//! `STRAYS_TRIES=10000 cargo test --test it strays -- --nocapture` tries more; `STRAYS_SEED` repeats a run.

use rand::RngExt;
use tokio::task::JoinSet;

use crate::{
    by_hand::{Frame, Frames, Peer},
    lanes::{Lane, drive},
    wire::Wire,
};

/// How many tries unless the environment says otherwise.
const USUALLY: u64 = 1_000;

/// Where bytes go astray.
#[derive(Clone, Copy, Debug)]
enum Stray {
    /// None do: the connection is used again.
    Not,
    /// On an idle connection.
    Idle,
    /// Behind a body with a length, together with it.
    BehindLength,
    BehindChunks,
    /// As the body of an answer that has none.
    NoContent,
    NotModified,
    Head,
    HeadInChunks,
}

const STRAYS: [Stray; 8] = [
    Stray::Not,
    Stray::Idle,
    Stray::BehindLength,
    Stray::BehindChunks,
    Stray::NoContent,
    Stray::NotModified,
    Stray::Head,
    Stray::HeadInChunks,
];

impl Stray {
    fn method(self) -> &'static str {
        if matches!(self, Self::Head | Self::HeadInChunks) { "HEAD" } else { "GET" }
    }

    fn status(self) -> u16 {
        match self {
            Self::NoContent => 204,
            Self::NotModified => 304,
            _ => 200,
        }
    }

    /// The answer to the request for `id`, and what follows it at once.
    fn answer(self, id: &str, junk: &[u8]) -> Vec<u8> {
        let status = self.status();
        let length = id.len();
        let (framing, body) = match self {
            Self::Not | Self::Idle | Self::BehindLength => {
                (format!("Content-Length: {length}"), id.to_owned())
            }
            Self::BehindChunks => chunked(id),
            Self::NoContent => ("X-None: 1".to_owned(), String::new()),
            Self::NotModified | Self::Head => (format!("Content-Length: {}", junk.len()), String::new()),
            Self::HeadInChunks => (chunked(id).0, chunked(id).1),
        };
        let junk = if matches!(self, Self::Not | Self::Idle) { b"" } else { junk };
        [format!("HTTP/1.1 {status} X\r\nX-Id: {id}\r\n{framing}\r\n\r\n{body}").as_bytes(), junk].concat()
    }
}

fn chunked(body: &str) -> (String, String) {
    ("Transfer-Encoding: chunked".to_owned(), format!("{:x}\r\n{body}\r\n0\r\n\r\n", body.len()))
}

/// What somebody might be made to take for an answer, or for nothing.
fn junk(lane: &mut Lane) -> Vec<u8> {
    const EVIL: &str = "HTTP/1.1 200 OK\r\nX-Id: evil\r\nContent-Length: 4\r\n\r\nevil";
    match lane.dice.random_range(0..6) {
        0 => b"\r\n".to_vec(),
        1 => vec![lane.dice.random()],
        2 => (0..lane.dice.random_range(1..3000)).map(|_| lane.dice.random()).collect(),
        3 => EVIL.repeat(lane.dice.random_range(2..4000)).into(),
        4 => b"HTTP/1.1 408 Request Timeout\r\nX-Id: evil\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
            .to_vec(),
        _ => EVIL.into(),
    }
}

/// The answer to the request for `id` and no other one, read to its end.
async fn own_answer(caller: &mut Wire, stray: Stray, id: &str) {
    let status = stray.status();
    if stray.method() == "HEAD" {
        let head = caller.head().await.unwrap();
        assert_eq!((head.status, head.text("x-id")), (status, Some(id)), "{stray:?}");
        return;
    }
    let answer = caller.answer().await.unwrap();
    let body = if status == 200 { id } else { "" };
    assert_eq!((answer.status, answer.body.as_str()), (status, body), "{stray:?} of {id}");
    assert_eq!(answer.headers["x-id"], id, "{stray:?}");
}

async fn astray(mut lane: Lane) {
    let mut caller = lane.caller().await;
    let mut kept: Option<Peer> = None;
    // In the background, so that the next request comes at once.
    let mut left = JoinSet::new();
    for number in 0..lane.tries {
        let (id, stray, junk) = (format!("/{number}"), lane.pick(&STRAYS), junk(&mut lane));
        caller.write((lane.request(stray.method(), &id) + "\r\n").as_bytes()).await;
        let mut peer = match kept.take() {
            Some(peer) => peer,
            None => lane.upstream.accept().await,
        };
        assert_eq!(peer.request().await.as_ref(), Some(&id), "{number}: {stray:?}");
        let said = async {
            // The program may have hung up before it has taken all of this.
            peer.say(stray.answer(&id, &junk)).await;
        };
        tokio::join!(said, own_answer(&mut caller, stray, &id));
        match stray {
            Stray::Not => kept = Some(peer),
            Stray::Idle => {
                peer.say(&junk).await;
                drop(left.spawn_local(dropped(peer)));
            }
            _ => drop(left.spawn_local(dropped(peer))),
        }
    }
    left.join_all().await;
}

/// The program hangs up and says nothing more.
async fn dropped(mut peer: Peer) {
    assert_eq!(peer.rest().await, b"", "a connection on which bytes went astray was used again");
}

#[test]
fn bytes_that_no_request_asked_for_end_their_connection_and_are_nobodys_answer() {
    drive("STRAYS", USUALLY, &[&[], &[], &[], &["http/1.1"]], astray);
}

// ---- HTTP/2 ------------------------------------------------------------------------------------------------------

/// Frames that go astray, `5` standing for a stream that is over.
#[derive(Clone, Copy, Debug)]
enum StrayFrame {
    Not,
    /// On the stream of the last answer.
    Data,
    Headers,
    /// On a stream that nobody opened.
    Unopened,
    /// More than was promised.
    TooMuch,
    Push,
}

const STRAY_FRAMES: [StrayFrame; 6] = [
    StrayFrame::Not,
    StrayFrame::Data,
    StrayFrame::Headers,
    StrayFrame::Unopened,
    StrayFrame::TooMuch,
    StrayFrame::Push,
];

async fn answer_astray(frames: &mut Frames, stream: u32, id: &str, stray: StrayFrame) {
    match stray {
        StrayFrame::TooMuch => {
            frames.head(stream, Some(id.len())).await;
            frames.data(stream, &format!("{id}evil"), true).await;
        }
        StrayFrame::Not => frames.answer(stream, id).await,
        StrayFrame::Data => {
            frames.answer(stream, id).await;
            frames.data(stream, "evil", true).await;
        }
        StrayFrame::Headers => {
            frames.answer(stream, id).await;
            frames.answer(stream, "evil").await;
        }
        StrayFrame::Unopened => {
            frames.answer(stream, id).await;
            frames.answer(stream + 2, "evil").await;
        }
        StrayFrame::Push => {
            frames.answer(stream, id).await;
            frames.push(stream, 2).await;
            frames.answer(2, "evil").await;
        }
    }
}

/// The next request, on this connection or on another.
async fn next_request(lane: &Lane, kept: Option<Frames>) -> (Frames, u32) {
    let Some(mut frames) = kept else {
        let mut frames = lane.upstream.accept().await.greet().await;
        let stream = frames.request().await;
        return (frames, stream);
    };
    let here = async {
        while let Some(frame) = frames.next().await {
            if frame.kind == Frame::HEADERS {
                return frame.stream;
            }
        }
        std::future::pending().await
    };
    tokio::select! {
        stream = here => (frames, stream),
        peer = lane.upstream.accept() => {
            let mut frames = peer.greet().await;
            let stream = frames.request().await;
            (frames, stream)
        }
    }
}

async fn frames_astray(mut lane: Lane) {
    let mut caller = lane.caller().await;
    let mut kept = None;
    for number in 0..lane.tries {
        let (id, stray) = (format!("/{number}"), lane.pick(&STRAY_FRAMES));
        caller.write((lane.request("GET", &id) + "\r\n").as_bytes()).await;
        let (mut frames, stream) = next_request(&lane, kept.take()).await;
        answer_astray(&mut frames, stream, &id, stray).await;
        kept = Some(frames);
        let Some(head) = caller.head().await.filter(|head| head.status == 200) else {
            assert!(matches!(stray, StrayFrame::TooMuch), "{number}: {stray:?}");
            caller = lane.caller().await;
            continue;
        };
        assert_eq!(head.text("content-length"), Some(id.len().to_string().as_str()));
        if matches!(stray, StrayFrame::TooMuch) {
            assert!(caller.rest().await.len() < id.len(), "more than was promised looks whole");
            caller = lane.caller().await;
        } else {
            assert_eq!(caller.bytes(id.len()).await, id.as_bytes(), "{number}: {stray:?}");
        }
    }
}

#[test]
fn frames_that_no_request_asked_for_are_nobodys_answer() {
    drive("STRAYS", USUALLY / 2, &[&["h2"], &["h2"]], frames_astray);
}
