//! What is read from stdin. The one rule: nothing waits for a person in a way that keeps the process from ending, and a
//! secret that is typed is not shown.

use std::io::{BufRead, IsTerminal};

use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use tokio::sync::mpsc;
use zeroize::Zeroizing;

/// The longest line taken, in bytes.
pub const LONGEST: usize = 1 << 20;

/// Whether a person sits there.
pub fn is_a_person() -> bool {
    std::io::stdin().is_terminal()
}

/// The lines of stdin as they come.
#[derive(Debug)]
pub struct Lines(mpsc::UnboundedReceiver<Zeroizing<String>>);

impl Lines {
    /// Begins to read. What was read and not taken is lost.
    pub fn begin() -> Self {
        let (tell, lines) = mpsc::unbounded_channel();
        // A thread of its own, since a read from a terminal can be ended by nobody, and the process must not wait for it.
        drop(std::thread::Builder::new().name("stdin".to_owned()).spawn(move || follow(&tell)));
        Self(lines)
    }

    /// The next line without its end; None at the end of stdin.
    pub async fn next(&mut self) -> Option<Zeroizing<String>> {
        self.0.recv().await
    }

    /// All that is still to come.
    pub async fn rest(&mut self) -> Vec<Zeroizing<String>> {
        let mut lines = Vec::new();
        while let Some(line) = self.next().await {
            lines.push(line);
        }
        lines
    }
}

fn follow(tell: &mpsc::UnboundedSender<Zeroizing<String>>) {
    let mut stdin = std::io::BufReader::new(std::io::stdin());
    loop {
        let mut line = Zeroizing::new(String::new());
        let read = std::io::Read::take(&mut stdin, LONGEST as u64).read_line(&mut line);
        if read.is_err() || line.is_empty() {
            return;
        }
        let length = line.trim_end_matches(['\n', '\r']).len();
        line.truncate(length);
        if tell.send(line).is_err() {
            return;
        }
    }
}

/// A terminal that does not show what is typed, until this is dropped.
#[derive(Debug)]
pub struct Hidden(Option<Termios>);

impl Hidden {
    /// Stops showing what is typed.
    pub fn begin() -> Self {
        let stdin = std::io::stdin();
        let Ok(before) = tcgetattr(&stdin) else { return Self(None) };
        let mut hidden = before.clone();
        hidden.local_modes.remove(LocalModes::ECHO);
        hidden.local_modes.insert(LocalModes::ECHONL);
        let set = tcsetattr(&stdin, OptionalActions::Now, &hidden);
        Self(set.is_ok().then_some(before))
    }
}

impl Drop for Hidden {
    fn drop(&mut self) {
        if let Some(before) = &self.0 {
            // Whoever took the terminal away has no use for it either.
            let _ = tcsetattr(std::io::stdin(), OptionalActions::Now, before);
        }
    }
}
