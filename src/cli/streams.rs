//! Where commands write: stdout is data, stderr is talk. The one rule: a reader that went away has seen enough, and is no
//! reason to fail.

use std::{
    fmt::Display,
    io::{self, Write},
    sync::{
        OnceLock,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

use crate::telemetry;

/// Why stdout took no more.
static BROKEN: OnceLock<String> = OnceLock::new();

/// Whether errors are told as data.
static DATA: AtomicBool = AtomicBool::new(false);

/// One piece of data, with its line end. What comes from another machine must not command a terminal.
pub fn data(text: impl Display) {
    let mut out = io::stdout().lock();
    if let Err(error) = writeln!(out, "{}", harmless(&text.to_string())).and_then(|()| out.flush())
        && error.kind() != io::ErrorKind::BrokenPipe
    {
        BROKEN.get_or_init(|| error.to_string());
    }
}

/// Why data was lost, if any was. A reader that has gone away lost nothing.
pub fn lost() -> Option<&'static str> {
    BROKEN.get().map(String::as_str)
}

/// From now on errors are told as data.
pub fn tell_errors_as_data() {
    DATA.store(true, Relaxed);
}

/// Whether errors are told as data.
pub fn errors_are_data() -> bool {
    DATA.load(Relaxed)
}

/// Without what a terminal obeys: control characters but the ends of lines and tabs, and those that turn the direction.
pub fn harmless(text: &str) -> String {
    let is_obeyed = |c: char| {
        let turns = matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        turns || (c.is_control() && !matches!(c, '\n' | '\t'))
    };
    text.chars().map(|c| if is_obeyed(c) { ' ' } else { c }).collect()
}

/// Something to know beside the data.
pub fn talk(text: impl Display) {
    telemetry::say(&format!("{text}\n"));
}

/// A question, after which the cursor stays on its line.
pub fn ask(text: impl Display) {
    telemetry::say(&text.to_string());
}
