//! How a command fails. The one rule: what went wrong, what mends it, and an exit code that scripts can rely on.

use std::{fmt::Display, process::ExitCode, process::Termination};

use super::streams;

/// Exit codes, a contract with scripts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Done.
    Ok = 0,
    /// Failed.
    Failure = 1,
    /// Called wrongly (clap's own code as well).
    Usage = 2,
    /// The configuration is invalid.
    Configuration = 3,
    /// An account must log in again.
    LoginRequired = 4,
    /// A marketplace, token endpoint or Marketgate itself cannot be reached.
    Unreachable = 5,
    /// The store cannot be used.
    Store = 6,
    /// Ended by a signal, in order.
    Interrupted = 130,
}

impl Exit {
    /// Its word in errors that programs read.
    pub fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Failure => "failure",
            Self::Usage => "usage",
            Self::Configuration => "configuration",
            Self::LoginRequired => "login_required",
            Self::Unreachable => "unreachable",
            Self::Store => "store",
            Self::Interrupted => "interrupted",
        }
    }
}

impl Termination for Exit {
    fn report(self) -> ExitCode {
        ExitCode::from(self as u8)
    }
}

/// Why a command failed.
#[derive(Debug)]
pub struct Failure {
    exit: Exit,
    message: String,
    action: Option<String>,
    is_told: bool,
}

impl Failure {
    /// A failure with what happened.
    pub fn new(exit: Exit, message: impl Display) -> Self {
        Self { exit, message: format!("error: {message}"), action: None, is_told: false }
    }

    /// A failure whose message is laid out already.
    pub fn rendered(exit: Exit, message: String) -> Self {
        Self { exit, message, action: None, is_told: false }
    }

    /// Adds what mends it.
    #[must_use]
    pub fn mend(mut self, action: impl Display) -> Self {
        self.action = Some(action.to_string());
        self
    }

    /// The same exit code with another message, for a failure that was told already.
    #[must_use]
    pub fn summed_up(self, message: &str) -> Self {
        Self { message: format!("error: {message}"), action: None, ..self }
    }

    /// The same with another exit code.
    #[must_use]
    pub fn with_exit(self, exit: Exit) -> Self {
        Self { exit, ..self }
    }

    /// Its exit code.
    pub fn exit(&self) -> Exit {
        self.exit
    }

    /// Tells it as a log line, where the log is to be nothing but such.
    #[must_use]
    pub fn logged(self) -> Self {
        if !tracing::enabled!(tracing::Level::ERROR) {
            return self;
        }
        let message = self.message.strip_prefix("error: ").unwrap_or(&self.message);
        tracing::error!(exit = self.exit as u8, help = self.action, "{}", message.trim_end());
        Self { is_told: true, ..self }
    }

    /// As programs read it.
    pub fn as_data(&self) -> serde_json::Value {
        as_data(self.exit, &self.message, self.action.as_deref())
    }

    /// Says so on stderr, unless it was told: as one JSON object where errors are to be data.
    pub fn report(&self) -> Exit {
        match &self.action {
            _ if self.is_told => {}
            _ if streams::errors_are_data() => streams::talk(self.as_data()),
            Some(action) => streams::talk(format_args!("{}\n  help: {action}", self.message.trim_end())),
            None => streams::talk(self.message.trim_end()),
        }
        self.exit
    }
}

/// An error for programs.
pub fn as_data(exit: Exit, message: &str, help: Option<&str>) -> serde_json::Value {
    let message = message.trim().trim_start_matches("error: ");
    serde_json::json!({ "error": { "code": exit.word(), "exit": exit as u8, "message": message, "help": help } })
}
