//! Marketplaces that end a kept connection just as a request goes out. The one rule: a GET has its answer all the same,
//! and a POST reaches a marketplace at most once.
//!
//! `RACES_TRIES=10000 cargo test --test it races -- --nocapture` tries more; `RACES_SEED` repeats the choices of a run.

use std::{
    cell::{Cell, RefCell},
    fmt::Debug,
    rc::Rc,
    time::{Duration, Instant},
};

use rand::RngExt;
use tokio::task::{JoinSet, yield_now};

use crate::{
    by_hand::{End, Frame, Frames, Peer, Upstream},
    harness::{Answer, Time, gate},
    lanes::{Lane, drive},
    wire::Wire,
};

/// How many tries unless the environment says otherwise.
const USUALLY: u64 = 1_000;

/// When a marketplace ends the connection on which the next request will come.
#[derive(Clone, Copy, Debug)]
enum Moment {
    /// So long after the request was begun to be sent, or before.
    Around { request_first: bool, apart: Duration },
    /// When it has read the request.
    AfterReading,
}

/// What is sent at that moment.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Sent {
    Get,
    Post,
    PostInChunks,
}

/// What came of all tries.
#[derive(Debug, Default)]
struct Tally {
    /// Requests that got the marketplace's answer.
    answered: Cell<u64>,
    /// GETs among them that were read twice.
    repeated: Cell<u64>,
    /// POSTs that got a 502.
    failed: Cell<u64>,
}

impl Lane {
    fn moment(&mut self) -> Moment {
        if self.dice.random_ratio(1, 10) {
            return Moment::AfterReading;
        }
        let apart = Duration::from_micros(self.dice.random_range(0..400));
        Moment::Around { request_first: self.dice.random(), apart }
    }

    /// A request as it is written, its body included.
    fn written(&mut self, sent: Sent, id: &str) -> Vec<u8> {
        let body = "x".repeat(self.dice.random_range(1..30_000));
        let length = body.len();
        let request = match sent {
            Sent::Get => self.request("GET", id) + "\r\n",
            Sent::Post => self.request("POST", id) + &format!("Content-Length: {length}\r\n\r\n{body}"),
            Sent::PostInChunks => {
                self.request("POST", id)
                    + &format!("Transfer-Encoding: chunked\r\n\r\n{length:x}\r\n{body}\r\n0\r\n\r\n")
            }
        };
        request.into_bytes()
    }
}

impl Moment {
    /// For the side that comes second: waits to the microsecond, as no timer does, while all others go on.
    async fn wait(self, is_end: bool) {
        let Self::Around { request_first, apart } = self else { return };
        let began = Instant::now();
        while request_first == is_end && began.elapsed() < apart {
            yield_now().await;
        }
    }
}

impl Tally {
    /// Takes down the answer to a request that was read `readings` times, unless it breaks the rule.
    fn judge(&self, answer: &Answer, sent: Sent, id: &str, readings: u64, case: &str) {
        let add = |count: &Cell<u64>, more| count.set(count.get() + more);
        match (answer.status, sent) {
            (200, _) => {
                assert_eq!(answer.body, id, "{case}: another request's answer");
                let most = if sent == Sent::Get { 2 } else { 1 };
                assert!((1..=most).contains(&readings), "{case}: read {readings} times");
                add(&self.answered, 1);
                add(&self.repeated, readings - 1);
            }
            (502, Sent::Post | Sent::PostInChunks) => {
                // Whoever is told that nothing was seen may send it again.
                let most = if answer.code() == "upstream_broken" { 1 } else { 0 };
                assert!(readings <= most, "{case}: read {readings} times, yet {}", answer.body);
                add(&self.failed, 1);
            }
            _ => panic!("{case}: {} {}", answer.status, answer.body),
        }
    }

    /// Every course that is allowed was taken.
    fn is_varied(&self) -> bool {
        println!("{self:?}");
        [&self.answered, &self.repeated, &self.failed].iter().all(|count| count.get() > 0)
    }
}

/// One request after another on a connection kept from the one before, which ends at its moment; `end` and `serve` count how
/// often a request is read to its end.
async fn race<K, H: Copy + Debug>(
    mut lane: Lane,
    tally: Rc<Tally>,
    ways: &[H],
    end: impl AsyncFn(K, Moment, H, &Cell<u64>),
    serve: impl AsyncFn(&Upstream, &str, &Cell<u64>, &RefCell<Option<K>>),
) {
    let mut caller = lane.caller().await;
    let kept = RefCell::<Option<K>>::new(None);
    for number in 0..lane.tries {
        let (id, sent) = (format!("/{number}"), lane.pick(&[Sent::Get, Sent::Post, Sent::PostInChunks]));
        let (moment, how) = (lane.moment(), lane.pick(ways));
        let case = format!("{number}: {sent:?} {moment:?} {how:?}");
        let (request, readings, former) = (lane.written(sent, &id), Cell::new(0), kept.take());
        let ending = async {
            let Some(former) = former else { return };
            moment.wait(true).await;
            end(former, moment, how, &readings).await;
        };
        let asking = async {
            moment.wait(false).await;
            caller.write(&request).await;
            caller.answer().await.unwrap_or_else(|| panic!("{case}: no answer"))
        };
        let answer = tokio::select! {
            (answer, ()) = async { tokio::join!(asking, ending) } => answer,
            () = serve(&lane.upstream, &id, &readings, &kept) => unreachable!(),
        };
        tally.judge(&answer, sent, &id, readings.get(), &case);
        if answer.headers.get("connection").is_some_and(|value| value == "close") {
            caller = lane.caller().await;
        }
    }
}

// ---- HTTP/1.1 ----------------------------------------------------------------------------------------------------

const ENDS: [End; 3] = [End::Farewell, End::Fin, End::Reset];

/// A kept connection ends at its moment; how often a request was read on it is counted to its very end.
async fn end_kept(mut peer: Peer, moment: Moment, how: End, readings: &Cell<u64>) {
    if let Moment::AfterReading = moment {
        assert!(peer.request().await.is_some(), "a kept connection was not used");
        readings.set(readings.get() + 1);
    }
    peer.end(how).await;
    // After a farewell, whoever wants to may still read what arrives.
    while how != End::Reset && peer.request().await.is_some() {
        readings.set(readings.get() + 1);
    }
}

/// The marketplace as it goes on: fresh connections, and the answer on one of them.
async fn serve_fresh(upstream: &Upstream, id: &str, readings: &Cell<u64>, kept: &RefCell<Option<Peer>>) {
    loop {
        let mut peer = upstream.accept_whenever().await;
        if let Some(target) = peer.request().await {
            assert_eq!(target, id);
            readings.set(readings.get() + 1);
            peer.answer(&target).await;
            *kept.borrow_mut() = Some(peer);
        }
    }
}

#[test]
fn a_kept_connection_that_ends_as_a_request_goes_out_costs_no_get_its_answer_and_doubles_no_post() {
    let tally = Rc::<Tally>::default();
    drive("RACES", USUALLY, &[&[], &[], &["http/1.1"]], |lane| {
        race(lane, tally.clone(), &ENDS, end_kept, serve_fresh)
    });
    assert!(tally.is_varied());
}

#[test]
fn a_get_is_repeated_on_a_connection_that_was_not_kept() {
    let upstream = Upstream::plain();
    gate(Time::Runs, &upstream.app("hand"), |w| async move {
        let get = |wire: Wire| async {
            let mut wire = wire;
            wire.write(b"GET /hand/x HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
            wire
        };
        let (mut first, mut second) =
            (get(Wire::to(w.proxy).await).await, get(Wire::to(w.proxy).await).await);
        let (mut one, mut other) = (upstream.accept().await, upstream.accept().await);
        for peer in [&mut one, &mut other] {
            peer.request().await.unwrap();
            peer.answer("kept").await;
        }
        assert_eq!(first.answer().await.unwrap().body, "kept");
        assert_eq!(second.answer().await.unwrap().body, "kept");
        // A marketplace that restarts ends all its connections, and each of them may lie in wait for a request.
        let mut third = get(first).await;
        let readings = Rc::new(Cell::new(0));
        let mut ending = JoinSet::new();
        for mut peer in [one, other] {
            let readings = readings.clone();
            ending.spawn_local(async move {
                if peer.request().await.is_some() {
                    readings.set(readings.get() + 1);
                    peer.part(End::Farewell).await;
                }
            });
        }
        let mut fresh = upstream.accept().await;
        assert_eq!(fresh.request().await.as_deref(), Some("/x"));
        fresh.answer("fresh").await;
        assert_eq!(third.answer().await.unwrap().body, "fresh");
        assert_eq!(readings.get(), 1, "it was tried on another kept connection");
        ending.abort_all();
    });
}

// ---- HTTP/2 ------------------------------------------------------------------------------------------------------

/// How a kept HTTP/2 connection ends.
#[derive(Clone, Copy, Debug)]
enum Goodbye {
    /// GOAWAY: what came before will be answered, nothing that comes now.
    Goaway,
    Without(End),
}

const GOODBYES: [Goodbye; 4] = [
    Goodbye::Goaway,
    Goodbye::Without(End::Farewell),
    Goodbye::Without(End::Fin),
    Goodbye::Without(End::Reset),
];

/// A connection of frames, and the newest stream on it.
type Kept = (Frames, u32);

/// Reads a request to its end; None when it does not come to it.
async fn read_frames(frames: &mut Frames) -> Option<u32> {
    loop {
        let frame = frames.next().await?;
        if frame.ends_stream() {
            return Some(frame.stream);
        }
        if frame.kind == Frame::RST_STREAM {
            return None;
        }
    }
}

async fn end_frames((mut frames, newest): Kept, moment: Moment, how: Goodbye, readings: &Cell<u64>) {
    let read = || readings.set(readings.get() + 1);
    if let Moment::AfterReading = moment {
        assert!(read_frames(&mut frames).await.is_some(), "a kept connection was not used");
    }
    match how {
        Goodbye::Goaway => {
            // It promises not to act on what is newer.
            frames.goaway(newest).await;
            while frames.next().await.is_some() {}
        }
        Goodbye::Without(end) => {
            if let Moment::AfterReading = moment {
                read();
            }
            frames.0.end(end).await;
            while end != End::Reset && read_frames(&mut frames).await.is_some() {
                read();
            }
        }
    }
}

async fn serve_frames(upstream: &Upstream, id: &str, readings: &Cell<u64>, kept: &RefCell<Option<Kept>>) {
    loop {
        let mut frames = upstream.accept_whenever().await.greet().await;
        if let Some(stream) = read_frames(&mut frames).await {
            readings.set(readings.get() + 1);
            frames.answer(stream, id).await;
            *kept.borrow_mut() = Some((frames, stream));
        }
    }
}

#[test]
fn an_http2_connection_that_ends_as_a_request_goes_out_costs_no_get_its_answer_and_doubles_no_post() {
    let tally = Rc::<Tally>::default();
    drive("RACES", USUALLY / 2, &[&["h2"], &["h2"]], |lane| {
        race(lane, tally.clone(), &GOODBYES, end_frames, serve_frames)
    });
    assert!(tally.is_varied());
}
