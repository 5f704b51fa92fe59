//! What is started, which signals it gets, and how it must end.

use rustix::process::Signal;

/// What is started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Subject {
    Run,
    Token,
    Refresh,
    Import,
}

pub(crate) const SUBJECTS: [Subject; 4] = [Subject::Run, Subject::Token, Subject::Refresh, Subject::Import];

/// One signal, or a pair of them.
pub(crate) const SIGNALS: [&[&str]; 19] = [
    &["TERM"],
    &["INT"],
    &["QUIT"],
    &["HUP"],
    &["USR1"],
    &["USR2"],
    &["ALRM"],
    &["TERM", "TERM"],
    &["INT", "INT"],
    &["QUIT", "QUIT"],
    &["HUP", "HUP"],
    &["TERM", "INT"],
    &["INT", "TERM"],
    &["HUP", "TERM"],
    &["TERM", "HUP"],
    &["QUIT", "USR1"],
    &["USR2", "INT"],
    &["ALRM", "TERM"],
    &["USR1", "ALRM"],
];

impl Subject {
    pub(crate) fn arguments(self) -> &'static [&'static str] {
        match self {
            Self::Run => &["run"],
            Self::Token => &["token", "any@shop"],
            Self::Refresh => &["accounts", "refresh", "any@shop"],
            Self::Import => &["import", "any@shop", "--validate", "now"],
        }
    }
}

/// Whether one of the signals means the end.
pub(crate) fn ends(subject: Subject, signals: &[&str]) -> bool {
    let means_it = |signal: &&str| match *signal {
        "TERM" | "INT" | "QUIT" => true,
        // Somebody else's terminal is nothing to a server.
        "HUP" => subject != Subject::Run,
        _ => false,
    };
    signals.iter().any(means_it)
}

/// A command that is broken off says so, unless it had done its work by then.
pub(crate) fn may_end_with(subject: Subject, ends: bool, code: Option<i32>) -> bool {
    let broken_off = ends && subject != Subject::Run;
    code == Some(0) || (broken_off && code == Some(130))
}

pub(crate) fn number(name: &str) -> Signal {
    match name {
        "TERM" => Signal::TERM,
        "INT" => Signal::INT,
        "QUIT" => Signal::QUIT,
        "HUP" => Signal::HUP,
        "USR1" => Signal::USR1,
        "USR2" => Signal::USR2,
        "ALRM" => Signal::ALARM,
        other => panic!("no such signal: {other}"),
    }
}
