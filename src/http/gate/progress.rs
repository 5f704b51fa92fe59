//! What is going on on one connection, seen from its bytes. The rule: the gate and the service write it, the one who
//! limits the connection in time reads it.

use std::{
    cell::{Cell, RefCell},
    io,
    rc::Rc,
    task::{Context, Poll, Waker},
};

use tokio::time::Instant;

use super::{Stage, Violation};

/// The state of one connection, shared by those who live on its task.
#[derive(Debug, Default)]
pub struct Progress {
    stage: Cell<Stage>,
    messages: Cell<u64>,
    head_memory: Cell<usize>,
    holds_heads_back: Cell<bool>,
    read: Cell<u64>,
    written: Cell<u64>,
    waits_for_bytes: Cell<bool>,
    waits_for_room: Cell<bool>,
    refused: Cell<Option<Violation>>,
    closing: Cell<bool>,
    owes_end: Cell<bool>,
    hurried: Cell<Option<Instant>>,
    in_flight: Cell<usize>,
    exchanges: Cell<u64>,
    waits_for_answer: RefCell<Option<Waker>>,
}

impl Progress {
    /// Where in the stream of requests the connection stands.
    pub fn stage(&self) -> Stage {
        self.stage.get()
    }

    /// How many heads were read to their end.
    pub fn messages(&self) -> u64 {
        self.messages.get()
    }

    /// Bytes of memory that an unfinished head takes: those that were read of it, and the room for more that was made.
    pub fn head_memory(&self) -> usize {
        self.head_memory.get()
    }

    /// Bytes read.
    pub fn read(&self) -> u64 {
        self.read.get()
    }

    /// Bytes written.
    pub fn written(&self) -> u64 {
        self.written.get()
    }

    /// Whether a read was asked for since [`Progress::begin`] and had to wait for the caller.
    pub fn waits_for_bytes(&self) -> bool {
        self.waits_for_bytes.get()
    }

    /// Whether written bytes wait for the caller to read.
    pub fn waits_for_room(&self) -> bool {
        self.waits_for_room.get()
    }

    /// Whether our side is shut and only leftovers are being read.
    pub fn is_closing(&self) -> bool {
        self.closing.get()
    }

    /// Whether an answer is under way whose end is the connection's own, so that no other end may look like that.
    pub fn owes_end(&self) -> bool {
        self.owes_end.get()
    }

    /// The program ends: from now on there is little time for leftovers.
    pub fn hurry(&self) {
        self.hurried.set(Some(Instant::now()));
    }

    /// Since when there is little time.
    pub(super) fn hurried(&self) -> Option<Instant> {
        self.hurried.get()
    }

    /// Whether a request is being served, its answer's body included.
    pub fn is_in_flight(&self) -> bool {
        self.in_flight.get() > 0
    }

    /// A service begins to serve a request: in flight until the returned mark is dropped.
    pub fn begin_exchange(self: &Rc<Self>) -> InFlight {
        self.in_flight.set(self.in_flight.get() + 1);
        self.exchanges.set(self.exchanges.get() + 1);
        InFlight { progress: Rc::clone(self), number: self.exchanges.get() }
    }

    /// The connection is about to be driven: forgets that a read waited. Whoever still wants bytes asks again.
    pub fn begin(&self) {
        self.waits_for_bytes.set(false);
    }

    pub(super) fn stand(&self, stage: Stage, messages: u64) {
        self.stage.set(stage);
        self.messages.set(messages);
    }

    /// Whether no more of a head that has begun may be read now.
    pub fn hold_heads_back(&self, hold: bool) {
        self.holds_heads_back.set(hold);
    }

    pub(super) fn holds_heads_back(&self) -> bool {
        self.holds_heads_back.get()
    }

    pub(super) fn hold_head(&self, bytes: usize) {
        self.head_memory.set(bytes);
    }

    pub(super) fn count_read(&self, bytes: usize) {
        self.read.set(self.read.get() + bytes as u64);
    }

    /// Wakes the reader as soon as a request in flight is answered.
    pub(super) fn wake_when_answered(&self, cx: &Context<'_>) {
        self.waits_for_answer.replace(Some(cx.waker().clone()));
    }

    pub(super) fn wait_for_bytes(&self, waits: bool) {
        self.waits_for_bytes.set(waits);
    }

    pub(super) fn wait_for_room(&self, waits: bool) {
        self.waits_for_room.set(waits);
    }

    pub(super) fn write(&self, written: &Poll<io::Result<usize>>) {
        self.wait_for_room(written.is_pending());
        if let Poll::Ready(Ok(bytes)) = written {
            self.written.set(self.written.get() + *bytes as u64);
        }
    }

    pub(super) fn refuse(&self, violation: Violation) {
        self.refused.set(Some(violation));
    }

    pub(super) fn close(&self) {
        self.closing.set(true);
    }

    /// Whether the caller may still be sending something nobody wants.
    pub(super) fn expects_leftovers(&self) -> bool {
        self.refused.get().is_some() || self.stage.get() != Stage::Between
    }
}

/// Marks a request as in flight as long as it lives.
#[derive(Debug)]
pub struct InFlight {
    progress: Rc<Progress>,
    /// Which request of the connection it is.
    number: u64,
}

impl InFlight {
    /// Whether bytes of this very request's body are still to come; those of one sent behind it do not count.
    pub fn is_incomplete(&self) -> bool {
        self.progress.stage() == Stage::Body && self.progress.messages() == self.number
    }

    /// Why the head was refused for which this request stands; None for one that a caller sent.
    pub fn refusal(&self) -> Option<Violation> {
        let is_behind_all_heads = self.number > self.progress.messages();
        self.progress.refused.get().filter(|_| is_behind_all_heads)
    }

    /// See [`Progress::owes_end`].
    pub fn owe_end(&self, owes: bool) {
        self.progress.owes_end.set(owes);
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.progress.in_flight.set(self.progress.in_flight.get() - 1);
        if let Some(reader) = self.progress.waits_for_answer.take() {
            reader.wake();
        }
    }
}
