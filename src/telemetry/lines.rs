//! Writes lines to stderr on a thread of its own: whoever reads them slowly, or not at all, holds up nothing else. What does
//! not fit into the queue is dropped, counted, and told of once there is room again.

use std::{
    cell::Cell,
    io::{self, Write},
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
        mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel},
    },
    time::{Duration, Instant},
};

use tracing_subscriber::fmt::MakeWriter;

thread_local! {
    /// Whether this is the thread that writes: its own lines need no queue.
    static WRITES: Cell<bool> = const { Cell::new(false) };
}

/// Lines that wait, at most.
const MOST_LINES: usize = 8192;

/// Bytes of lines that wait, at most.
const MOST_BYTES: usize = 4 * 1024 * 1024;

/// How often it is told at most that lines were dropped.
const TOLD_EVERY: Duration = Duration::from_secs(1);

/// The way to the thread that writes. Clones share it.
#[derive(Debug, Clone)]
pub(super) struct Lines {
    sender: SyncSender<Piece>,
    counts: Arc<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    waiting_bytes: AtomicUsize,
    dropped: AtomicU64,
}

enum Piece {
    Line(Vec<u8>),
    /// Answered when everything before it was written.
    Flush(SyncSender<()>),
}

impl Lines {
    /// Begins to write.
    ///
    /// # Errors
    /// When the operating system grants no thread.
    pub(super) fn start() -> io::Result<Self> {
        let (sender, receiver) = sync_channel(MOST_LINES);
        let counts = Arc::<Counts>::default();
        let own = Arc::clone(&counts);
        std::thread::Builder::new().name("log".to_owned()).spawn(move || write(&receiver, &own))?;
        Ok(Self { sender, counts })
    }

    /// Lines dropped so far.
    pub(super) fn dropped(&self) -> u64 {
        self.counts.dropped.load(Relaxed)
    }

    /// Queues lines, or drops them where there is no room.
    pub(super) fn push(&self, text: Vec<u8>) {
        if WRITES.get() {
            return self.counts.write(&text);
        }
        let length = text.len();
        let waiting = self.counts.waiting_bytes.fetch_add(length, Relaxed);
        if waiting + length > MOST_BYTES || self.sender.try_send(Piece::Line(text)).is_err() {
            self.counts.waiting_bytes.fetch_sub(length, Relaxed);
            self.counts.dropped.fetch_add(1, Relaxed);
        }
    }

    /// Waits until all that was queued is written, `limit` at most.
    pub(super) fn flush(&self, limit: Duration) {
        let end = Instant::now() + limit;
        let (done, written) = sync_channel(1);
        let mut flush = Piece::Flush(done);
        while let Err(TrySendError::Full(back)) = self.sender.try_send(flush) {
            if Instant::now() >= end {
                return;
            }
            flush = back;
            std::thread::sleep(Duration::from_millis(5));
        }
        // A reader that does not read is not waited for any longer.
        let _ = written.recv_timeout(end.saturating_duration_since(Instant::now()));
    }
}

/// Until nobody can queue anything any more, and that is never.
fn write(receiver: &Receiver<Piece>, counts: &Counts) {
    WRITES.set(true);
    let mut told = (0, Instant::now());
    loop {
        match receiver.recv_timeout(TOLD_EVERY) {
            Ok(Piece::Line(line)) => {
                counts.waiting_bytes.fetch_sub(line.len(), Relaxed);
                counts.write(&line);
            }
            Ok(Piece::Flush(done)) => {
                counts.tell(&mut told, Duration::ZERO);
                let _ = done.send(());
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        counts.tell(&mut told, TOLD_EVERY);
    }
}

impl Counts {
    /// A stderr that is closed, or a disk that is full, costs the line.
    fn write(&self, line: &[u8]) {
        if io::stderr().lock().write_all(line).is_err() {
            self.dropped.fetch_add(1, Relaxed);
        }
    }

    /// `told`: how many dropped lines were told of, and when.
    fn tell(&self, told: &mut (u64, Instant), every: Duration) {
        let dropped = self.dropped.load(Relaxed);
        if dropped > told.0 && told.1.elapsed() >= every {
            tracing::warn!(
                dropped = dropped - told.0,
                "log lines were dropped: whoever reads them is too slow, or their disk is full"
            );
            *told = (dropped, Instant::now());
        }
    }
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Line<'a>;

    fn make_writer(&'a self) -> Line<'a> {
        Line(self)
    }
}

/// Takes one line, which comes in one piece.
pub(super) struct Line<'a>(&'a Lines);

impl Write for Line<'_> {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        self.0.push(text.to_vec());
        Ok(text.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
