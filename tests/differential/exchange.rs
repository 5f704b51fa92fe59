//! Connections by hand. The rule: what was written and what came back is kept as it was, for whoever must explain it.

use std::{
    io::{ErrorKind, Read, Write},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use crate::{
    request::Written,
    response::{Response, Unread},
};

/// Far longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(20);

/// How long a body waits for the `100` it asked for (RFC 9110 §10.1.1 lets a client send it all the same).
const EXPECTATION: Duration = Duration::from_millis(300);

/// One connection.
pub(crate) struct Connection {
    stream: TcpStream,
    /// What came and was not yet read as an answer.
    buffer: Vec<u8>,
    ended: bool,
    answers: u32,
}

/// An answer, or why there is none, and the bytes that came.
#[derive(Debug, Clone)]
pub(crate) struct Heard {
    pub(crate) answer: Result<Response, String>,
    pub(crate) raw: Vec<u8>,
    /// Nothing came, on a connection that had carried answers before.
    pub(crate) stale: bool,
}

impl Connection {
    pub(crate) fn open(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).expect("what listens takes a connection");
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        Self { stream, buffer: Vec::new(), ended: false, answers: 0 }
    }

    /// One request and its answer.
    pub(crate) fn exchange(&mut self, request: &Written) -> Heard {
        self.write(request);
        self.hear(request.is_head)
    }

    /// Several requests at once (RFC 9112 §9.3.2) and their answers.
    pub(crate) fn pipeline(&mut self, requests: &[Written]) -> Vec<Heard> {
        let all: Vec<u8> = requests.iter().flat_map(|r| r.head.iter().chain(&r.body)).copied().collect();
        self.put(&all);
        requests.iter().map(|request| self.hear(request.is_head)).collect()
    }

    /// Writes a request, as far as the other side takes it: it may answer before that.
    fn write(&mut self, request: &Written) {
        if request.expects && !request.body.is_empty() {
            self.put(&request.head);
            if self.may_continue() {
                self.put(&request.body);
            }
            return;
        }
        let whole = [request.head.as_slice(), &request.body].concat();
        let size = whole.len().div_ceil(request.pieces.max(1)).max(1);
        whole.chunks(size).for_each(|piece| self.put(piece));
    }

    fn put(&mut self, bytes: &[u8]) {
        // A failure shows when the answer is read.
        let _ = self.stream.write_all(bytes);
    }

    /// Whether the body is wanted, as far as is known after a while.
    fn may_continue(&mut self) -> bool {
        self.stream.set_read_timeout(Some(EXPECTATION)).unwrap();
        while !self.ended && !self.buffer.windows(4).any(|end| end == b"\r\n\r\n") {
            if self.fill().is_err() {
                break;
            }
        }
        self.stream.set_read_timeout(Some(PATIENCE)).unwrap();
        self.buffer.is_empty() || self.buffer.starts_with(b"HTTP/1.1 1")
    }

    /// The next answer.
    fn hear(&mut self, is_head: bool) -> Heard {
        loop {
            match Response::read(&self.buffer, is_head, self.ended) {
                Ok((response, used)) => {
                    self.answers += 1;
                    return Heard {
                        answer: Ok(response),
                        raw: self.buffer.drain(..used).collect(),
                        stale: false,
                    };
                }
                Err(Unread::Wrong(why)) => return self.deaf(why),
                Err(Unread::Short) if self.ended => {
                    return self.deaf("the connection ended within it".to_owned());
                }
                Err(Unread::Short) => {
                    if let Err(why) = self.fill() {
                        return self.deaf(why);
                    }
                }
            }
        }
    }

    fn deaf(&mut self, why: String) -> Heard {
        let raw = std::mem::take(&mut self.buffer);
        self.ended = true;
        Heard { answer: Err(why), stale: raw.is_empty() && self.answers > 0, raw }
    }

    fn fill(&mut self) -> Result<(), String> {
        let mut piece = [0; 64 * 1024];
        match self.stream.read(&mut piece) {
            Ok(0) => self.ended = true,
            Ok(read) => self.buffer.extend_from_slice(&piece[..read]),
            // A reset is an end, too; what it cut off is missed by whoever reads the answer.
            Err(error) if error.kind() == ErrorKind::ConnectionReset => self.ended = true,
            Err(error) => return Err(format!("no answer: {error}")),
        }
        Ok(())
    }

    /// What came though nobody asked for it.
    pub(crate) fn surplus(&self) -> &[u8] {
        &self.buffer
    }

    /// Whether the other side ends the connection now, with nothing more said.
    pub(crate) fn ends(&mut self) -> bool {
        while !self.ended && self.buffer.is_empty() {
            if self.fill().is_err() {
                return false;
            }
        }
        self.ended && self.buffer.is_empty()
    }
}
