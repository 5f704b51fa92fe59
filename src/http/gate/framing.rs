//! Where one message ends and the next begins on a connection (RFC 9112 §6.3, §9.3). The rule: a violation ends the
//! judgement; what comes after it was never read.

use super::{
    Limits,
    chunked::Chunked,
    fields::{Body, Message},
    head::Head,
    violation::Violation,
};

/// Where in the stream of messages a connection stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Stage {
    /// Between messages: nothing of the next one has been seen.
    #[default]
    Between,
    /// Within a head.
    Head,
    /// Within a body.
    Body,
}

/// What was wrong, and where.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refusal {
    /// Offset of the first refused octet in the bytes that were judged.
    pub at: usize,
    /// Offset of the first octet of its head there, or of what else it stands in; 0 if that began earlier.
    pub begins: usize,
    /// What is wrong with it.
    pub violation: Violation,
    /// Where in the stream it stood: a refused head was never seen by a service, a refused body may have been begun.
    pub stage: Stage,
}

/// The framing of all requests of one connection.
#[derive(Debug)]
pub struct Framing {
    limits: Limits,
    phase: Phase,
    /// What the message being read asked for beyond its own end.
    after: After,
    messages: u64,
}

#[derive(Debug)]
enum Phase {
    Head(Head),
    /// So many octets of a body are to come.
    Length(u64),
    Chunked(Chunked),
    /// Complete; whether anything may follow depends on [`After`].
    Complete,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum After {
    Anything,
    /// Nothing until the answer is out: the message asked for another protocol.
    Answer,
    Nothing,
}

impl Framing {
    /// A connection on which nothing was read yet.
    pub fn new(limits: Limits) -> Self {
        Self { limits, phase: Phase::Head(Head::new(limits)), after: After::Anything, messages: 0 }
    }

    /// Where the connection stands.
    pub fn stage(&self) -> Stage {
        match &self.phase {
            Phase::Head(head) if head.is_untouched() => Stage::Between,
            Phase::Head(_) => Stage::Head,
            Phase::Length(_) | Phase::Chunked(_) => Stage::Body,
            Phase::Complete => Stage::Between,
        }
    }

    /// How many octets of an unfinished head were read.
    pub fn head_length(&self) -> usize {
        match &self.phase {
            Phase::Head(head) => head.length(),
            _ => 0,
        }
    }

    /// Whether an unfinished head asks for a head alone, so that its answer has no body.
    pub(super) fn is_for_head(&self) -> bool {
        matches!(&self.phase, Phase::Head(head) if head.is_for_head())
    }

    /// How many heads were read to their end.
    pub fn messages(&self) -> u64 {
        self.messages
    }

    /// Every request read so far has been answered, so one that asked for another protocol did not get it and the
    /// connection goes on as it is (RFC 9110 §7.8).
    pub fn all_answered(&mut self) {
        if self.after == After::Answer && matches!(self.phase, Phase::Complete) {
            self.next();
        }
    }

    /// Judges the next bytes of the connection.
    ///
    /// # Errors
    /// The first octet that must not stand where it stands. Do not go on after that.
    pub fn judge(&mut self, bytes: &[u8]) -> Result<(), Refusal> {
        let mut at = 0;
        while let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty()) {
            at += self.step(rest).map_err(|(offset, violation)| self.refusal(at, at + offset, violation))?;
        }
        Ok(())
    }

    fn refusal(&self, begins: usize, at: usize, violation: Violation) -> Refusal {
        let stage = match self.phase {
            Phase::Head(_) => Stage::Head,
            Phase::Length(_) | Phase::Chunked(_) => Stage::Body,
            Phase::Complete => Stage::Between,
        };
        Refusal { at, begins, violation, stage }
    }

    /// Reads at most to the end of a phase and says how far.
    fn step(&mut self, rest: &[u8]) -> Result<usize, (usize, Violation)> {
        let end = match &mut self.phase {
            Phase::Head(head) => {
                let Some((end, message)) = head.scan(rest)? else { return Ok(rest.len()) };
                self.enter(message);
                return Ok(end);
            }
            Phase::Length(left) => count(left, rest),
            Phase::Chunked(chunked) => chunked.scan(rest)?,
            Phase::Complete => return Err((0, Violation::AfterLast)),
        };
        if end.is_some() {
            self.complete();
        }
        Ok(end.unwrap_or(rest.len()))
    }

    /// A head has ended.
    fn enter(&mut self, message: Message) {
        self.messages += 1;
        self.after = match message {
            Message { last: true, .. } => After::Nothing,
            Message { upgrade: true, .. } => After::Answer,
            _ => After::Anything,
        };
        match message.body {
            Body::Length(0) => self.complete(),
            Body::Length(length) => self.phase = Phase::Length(length),
            Body::Chunked => self.phase = Phase::Chunked(Chunked::new()),
        }
    }

    /// A message has ended.
    fn complete(&mut self) {
        match self.after {
            After::Anything => self.next(),
            After::Answer | After::Nothing => self.phase = Phase::Complete,
        }
    }

    fn next(&mut self) {
        self.phase = Phase::Head(Head::new(self.limits));
    }
}

fn count(left: &mut u64, rest: &[u8]) -> Option<usize> {
    match usize::try_from(*left) {
        Ok(end) if end <= rest.len() => Some(end),
        _ => {
            *left -= rest.len() as u64;
            None
        }
    }
}
