//! A conversation, held with the upstream itself and through the gate. The rule: both hear the same requests in the same
//! order, and what the gate does with its connection must be sound by itself.

use std::net::SocketAddr;

use crate::{
    compare::{differences, mistakes},
    exchange::{Connection, Heard},
    generator::Turn,
    policy::{Rule, foretell},
    request::{Request, Way, Written},
    response::Response,
};

/// A difference nobody foretold, with both exchanges as they were.
#[derive(Debug)]
pub(crate) struct Unexplained {
    pub(crate) what: Vec<String>,
    pub(crate) direct: Option<(Written, Heard)>,
    pub(crate) through: (Written, Heard),
}

/// What became of a conversation.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) requests: u64,
    pub(crate) refused: u64,
    pub(crate) rules: Vec<Rule>,
    pub(crate) unexplained: Vec<Unexplained>,
}

/// Both ways to one upstream, and the connections that are open.
pub(crate) struct Talk<'a> {
    way: &'a Way,
    direct: Line,
    through: Line,
}

/// A connection that is opened when it is needed.
#[derive(Default)]
struct Line(Option<(SocketAddr, Connection)>);

impl Line {
    fn to(&mut self, address: SocketAddr) -> &mut Connection {
        if self.0.as_ref().is_none_or(|(there, _)| *there != address) {
            self.0 = None;
        }
        &mut self.0.get_or_insert_with(|| (address, Connection::open(address))).1
    }

    fn hang_up(&mut self) {
        self.0 = None;
    }
}

impl<'a> Talk<'a> {
    pub(crate) fn new(way: &'a Way) -> Self {
        Self { way, direct: Line::default(), through: Line::default() }
    }

    /// Holds one conversation, on new connections.
    pub(crate) fn hold(&mut self, turns: &[Turn]) -> Outcome {
        let mut outcome = Outcome::default();
        self.through.hang_up();
        for turn in turns {
            self.take(turn, &mut outcome);
        }
        outcome
    }

    fn take(&mut self, turn: &Turn, outcome: &mut Outcome) {
        let mut requests = turn.requests();
        // What stood behind an answer that ended its connection was not heard, and is sent again (RFC 9112 §9.3.2).
        while !requests.is_empty() {
            let judged = self.send(requests, outcome);
            requests = &requests[judged..];
        }
    }

    /// Sends requests at once and judges the answers, up to the first that ends the connection. Says how many that were.
    fn send(&mut self, requests: &[Request], outcome: &mut Outcome) -> usize {
        let written: Vec<Written> = requests.iter().map(|request| request.through(self.way)).collect();
        let connection = self.through.to(requests[0].door(self.way));
        let heard = match written.as_slice() {
            [one] => vec![connection.exchange(one)],
            several => connection.pipeline(several),
        };
        let mut judged = 0;
        for ((request, written), heard) in requests.iter().zip(written).zip(heard) {
            judged += 1;
            outcome.requests += 1;
            self.judge(request, written, heard, outcome);
            if self.through.0.is_none() {
                break;
            }
        }
        outcome.unexplained.extend(self.surplus(&requests[judged - 1]));
        judged
    }

    /// What the gate said behind the last answer it was asked for.
    fn surplus(&mut self, request: &Request) -> Option<Unexplained> {
        let raw = self.through.0.as_ref()?.1.surplus().to_vec();
        let heard = Heard { answer: Err("nobody asked for this".to_owned()), raw, stale: false };
        let through = (request.through(self.way), heard);
        let what = vec!["the gate said more than it was asked".to_owned()];
        (!through.1.raw.is_empty()).then_some(Unexplained { what, direct: None, through })
    }

    fn judge(&mut self, request: &Request, written: Written, heard: Heard, outcome: &mut Outcome) {
        let (direct, mut what) = match (request.refusal, &heard.answer) {
            (Some(refusal), Ok(actual)) => {
                outcome.refused += 1;
                (None, mistakes(refusal, actual))
            }
            (Some(_), Err(why)) => (None, vec![format!("no answer: {why}")]),
            (None, _) => {
                let (direct, what, rules) = self.compare(request, &heard);
                outcome.rules.extend(rules);
                (Some(direct), what)
            }
        };
        what.extend(self.lifetime(request, heard.answer.as_ref().ok()));
        if !what.is_empty() {
            outcome.unexplained.push(Unexplained { what, direct, through: (written, heard) });
            self.through.hang_up();
        }
    }

    fn compare(&mut self, request: &Request, through: &Heard) -> ((Written, Heard), Vec<String>, Vec<Rule>) {
        let written = request.direct(self.way);
        let heard = self.ask_directly(&written);
        let (what, rules) = match (&heard.answer, &through.answer) {
            (Ok(direct), Ok(actual)) => {
                let foretold = foretell(request, self.way, direct);
                (differences(request, &foretold, actual), foretold.rules)
            }
            (Err(why), _) => (vec![format!("the upstream gives no answer: {why}")], Vec::new()),
            (_, Err(why)) => (vec![format!("no answer: {why}")], Vec::new()),
        };
        ((written, heard), what, rules)
    }

    /// Servers end connections when they like (RFC 9112 §9.6), so one that was used before may be dead.
    fn ask_directly(&mut self, written: &Written) -> Heard {
        let mut heard = self.direct.to(self.way.upstream).exchange(written);
        if heard.stale {
            self.direct.hang_up();
            heard = self.direct.to(self.way.upstream).exchange(written);
        }
        if heard.answer.as_ref().map_or(true, Response::is_last) {
            self.direct.hang_up();
        }
        heard
    }

    /// What is wrong with how the gate treats its connection.
    fn lifetime(&mut self, request: &Request, answer: Option<&Response>) -> Option<String> {
        let answer = answer?;
        let is_end = request.refusal.is_some_and(|refusal| refusal.ends);
        let must_end = request.closes() || (request.http10 && !request.has("connection")) || is_end;
        // An answer that came before the end of its request ends the connection, which none from an application does
        // that has read all; and so does one of unknown length to a caller that knows no chunks.
        let may_be_early = !request.wire_body.is_empty() && !answer.has("x-echo");
        let may_end = must_end || request.http10 || may_be_early;
        if must_end && !answer.is_last() {
            return Some("the gate keeps a connection that should end".to_owned());
        }
        if !answer.is_last() {
            return None;
        }
        let ended = self.through.0.as_mut().is_some_and(|(_, connection)| connection.ends());
        self.through.hang_up();
        if !may_end {
            return Some("the gate ends a connection without need".to_owned());
        }
        (!ended).then(|| "the gate says that it ends the connection, and does not".to_owned())
    }
}
