//! Log lines. The rules: stdout is data, so they go to stderr; a program's log is one JSON object a line; and writing one never
//! waits for whoever reads it (`lines`).

mod dropped;
mod lines;
mod rate;

use std::{io::IsTerminal, sync::OnceLock, time::Duration};

pub use dropped::LogMetrics;
use lines::Lines;
pub use rate::Rate;
use tracing_subscriber::{
    Layer, Registry, filter::Targets, fmt, layer::SubscriberExt, util::SubscriberInitExt,
};

use crate::config::settings::{LogFormat, LogSettings};

/// The thread that writes, once logging has started.
static LINES: OnceLock<Lines> = OnceLock::new();

/// How long a text for a person is waited for: so that a question and an answer keep their order.
const SOON: Duration = Duration::from_millis(100);

/// How long the last lines may take at the end.
const LAST_LINES: Duration = Duration::from_secs(1);

/// Starts logging for the process. A second call changes nothing.
///
/// # Errors
/// When the level is no filter of targets and levels, or the operating system grants no thread.
pub fn start(settings: &LogSettings) -> Result<(), String> {
    let filter: Targets = settings.level.parse().map_err(|e| {
        format!("log.level `{}` is no filter: {e}; write \"info\" or \"marketgate=debug\"", settings.level)
    })?;
    if LINES.get().is_some() {
        // Only tests start twice, in one process.
        return Ok(());
    }
    let lines = Lines::start().map_err(|e| format!("no thread for the log: {e}"))?;
    let writer = LINES.get_or_init(|| lines).clone();
    let layer = if is_json(settings) { json(writer) } else { text(writer) };
    drop(tracing_subscriber::registry().with(layer.with_filter(filter)).try_init());
    std::panic::set_hook(Box::new(|panic| tracing::error!("a defect of Marketgate's: {panic}")));
    Ok(())
}

/// Whether every line is one JSON object, for programs to read.
pub fn is_json(settings: &LogSettings) -> bool {
    match settings.format {
        LogFormat::Auto => !std::io::stderr().is_terminal(),
        LogFormat::Text => false,
        LogFormat::Json => true,
    }
}

/// Writes text for a person to stderr: in its turn among the log lines where there are such, and before what is written to
/// stdout next unless nobody reads it.
pub fn say(text: &str) {
    use std::io::Write;
    match LINES.get() {
        Some(lines) => {
            lines.push(text.as_bytes().to_vec());
            lines.flush(SOON);
        }
        // Whoever closed stderr has seen enough.
        None => drop(std::io::stderr().lock().write_all(text.as_bytes())),
    }
}

/// Waits until the lines so far are written, a second at most.
pub fn flush() {
    if let Some(lines) = LINES.get() {
        lines.flush(LAST_LINES);
    }
}

/// Log lines that nobody took in time, so far.
pub fn dropped_lines() -> u64 {
    LINES.get().map_or(0, Lines::dropped)
}

// `log_internal_errors` is off in both: it would tell of a line it cannot write on the very stderr it cannot write to.
fn text(lines: Lines) -> Box<dyn Layer<Registry> + Send + Sync> {
    let wants_colour = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let colour = wants_colour && std::io::stderr().is_terminal();
    fmt::layer().log_internal_errors(false).with_writer(lines).with_ansi(colour).with_target(false).boxed()
}

fn json(lines: Lines) -> Box<dyn Layer<Registry> + Send + Sync> {
    fmt::layer()
        .log_internal_errors(false)
        .json()
        .flatten_event(true)
        .with_current_span(false)
        .with_writer(lines)
        .boxed()
}
