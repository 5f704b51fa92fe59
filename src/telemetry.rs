//! Log lines. The one rule: stdout is data, so they go to stderr, and a program's log is one JSON object a line.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

use crate::config::settings::{LogFormat, LogSettings};

/// Starts logging for the process. A second call changes nothing.
///
/// # Errors
/// When the level is no filter that `tracing` understands.
pub fn start(settings: &LogSettings) -> Result<(), String> {
    let filter = EnvFilter::try_new(&settings.level).map_err(|e| {
        format!("log.level `{}` is no filter: {e}; write \"info\" or \"marketgate=debug\"", settings.level)
    })?;
    let json = match settings.format {
        LogFormat::Json => true,
        LogFormat::Text => false,
        LogFormat::Auto => !std::io::stderr().is_terminal(),
    };
    let colour = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty());
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // It would tell of a line it cannot write on the very stderr it cannot write to, and panic within a request.
    let lines = lines.log_internal_errors(false);
    let started = if json {
        lines.json().flatten_event(true).with_current_span(false).try_init()
    } else {
        lines.with_ansi(colour).with_target(false).try_init()
    };
    // Only tests start twice, in one process.
    drop(started);
    Ok(())
}
