//! Log lines. The one rule: stdout is data, so they go to stderr, and a program's log is one JSON object a line.

use std::io::IsTerminal;

use tracing_subscriber::{
    Layer, Registry, filter::Targets, fmt, layer::SubscriberExt, util::SubscriberInitExt,
};

use crate::config::settings::{LogFormat, LogSettings};

/// Starts logging for the process. A second call changes nothing.
///
/// # Errors
/// When the level is no filter of targets and levels.
pub fn start(settings: &LogSettings) -> Result<(), String> {
    let filter: Targets = settings.level.parse().map_err(|e| {
        format!("log.level `{}` is no filter: {e}; write \"info\" or \"marketgate=debug\"", settings.level)
    })?;
    let lines = match settings.format {
        LogFormat::Auto if std::io::stderr().is_terminal() => text(),
        LogFormat::Text => text(),
        LogFormat::Auto | LogFormat::Json => json(),
    };
    // Only tests start twice, in one process.
    drop(tracing_subscriber::registry().with(lines.with_filter(filter)).try_init());
    Ok(())
}

// `log_internal_errors` is off in both: it would tell of a line it cannot write on the very stderr it cannot write to, and
// panic within a request.
fn text() -> Box<dyn Layer<Registry> + Send + Sync> {
    let wants_colour = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let colour = wants_colour && std::io::stderr().is_terminal();
    fmt::layer()
        .log_internal_errors(false)
        .with_writer(std::io::stderr)
        .with_ansi(colour)
        .with_target(false)
        .boxed()
}

fn json() -> Box<dyn Layer<Registry> + Send + Sync> {
    fmt::layer()
        .log_internal_errors(false)
        .json()
        .flatten_event(true)
        .with_current_span(false)
        .with_writer(std::io::stderr)
        .boxed()
}
