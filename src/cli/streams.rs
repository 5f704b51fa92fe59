//! Where commands write: stdout is data, stderr is talk. The one rule: a reader that went away has seen enough, and is no
//! reason to fail.

use std::{fmt::Display, io::Write};

/// One piece of data, with its line end.
pub fn data(text: impl Display) {
    let mut out = std::io::stdout().lock();
    drop(writeln!(out, "{text}").and_then(|()| out.flush()));
}

/// Something to know beside the data.
pub fn talk(text: impl Display) {
    drop(writeln!(std::io::stderr().lock(), "{text}"));
}

/// A question, after which the cursor stays on its line.
pub fn ask(text: impl Display) {
    let mut err = std::io::stderr().lock();
    drop(write!(err, "{text}").and_then(|()| err.flush()));
}
