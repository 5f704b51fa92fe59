//! `proxy.toml`: from text to checked [`Settings`]. The one rule: all mistakes are reported at once, each where it stands,
//! and none of them shows a secret.
//!
//! [`find`] names the file, [`load`] reads it, [`parse`] does the same for a text at hand. The text becomes a tree with
//! spans; the private `reader` and `values` take typed values out of it and note what is wrong; `doors`, `keys`, `limits`,
//! `store`, `apps` and `accounts` read one section each into the shape of [`settings`]; `mask` hides secrets in what is shown
//! of the text.

mod accounts;
mod admin_address;
mod app;
mod apps;
mod capacity;
mod doors;
mod finding;
mod grammar;
mod keys;
mod later;
mod ledger;
mod lexer;
mod limits;
mod lines;
mod locate;
mod mask;
mod overrides;
mod reader;
mod schema;
mod secrets;
pub mod settings;
pub mod slips;
mod starter;
mod store;
mod stored;
mod templates;
#[cfg(test)]
mod tests;
mod transport;
mod values;

use std::{
    collections::{BTreeMap, BTreeSet},
    io::Read,
    ops::Range,
    path::Path,
};

use toml::de::DeTable;

pub use admin_address::{DEFAULT_ADMIN, admin_address};
pub use capacity::{Capacity, capacity};
pub use finding::{ConfigError, Finding, Severity};
pub use locate::{NotFound, find};
pub use settings::{Account, App, Client, Credentials, Settings};
pub use starter::{ProviderChoice, starter};

use lines::Lines;
use mask::Masked;
use reader::{Note, Reading, Section};

/// A configuration that can be used, and what should be mended in it all the same.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The configuration.
    pub settings: Settings,
    /// What should be mended.
    pub warnings: Vec<Finding>,
}

/// Reads and checks a configuration file.
///
/// # Errors
/// Every mistake in it, or that it cannot be read.
pub fn load(path: &Path) -> Result<Loaded, ConfigError> {
    load_with(path, &|variable| std::env::var(variable).ok())
}

/// As [`load`], with another environment.
///
/// # Errors
/// As there.
pub fn load_with(path: &Path, env: &dyn Fn(&str) -> Option<String>) -> Result<Loaded, ConfigError> {
    let name = path.display().to_string();
    let text = read_file(path).map_err(|(reason, hint)| unreadable(&name, &reason, hint))?;
    parse(&name, &text, path.parent().unwrap_or(Path::new("")), env)
}

/// A configuration is far shorter; whoever names a disk image by mistake is told so.
const LONGEST_FILE: u64 = 16 << 20;

/// The text of a file, or why there is none and what helps.
fn read_file(path: &Path) -> Result<String, (String, &'static str)> {
    let init = "`marketgate init` writes a first one";
    let own = "name the file itself: --config proxy.toml";
    let cannot = |error: std::io::Error| {
        let denied = error.kind() == std::io::ErrorKind::PermissionDenied;
        let hint = if denied { "run this as a user who may read it, or let this user" } else { init };
        (error.to_string(), hint)
    };
    let found = std::fs::metadata(path).map_err(cannot)?;
    if found.is_dir() {
        return Err(("it is a directory".to_owned(), own));
    }
    if found.len() > LONGEST_FILE {
        return Err((format!("it has {} MiB", found.len() >> 20), own));
    }
    let bytes = match found.is_file() {
        true => std::fs::read(path).map_err(cannot)?,
        false => read_in_time(path).ok_or(("it is no file, and nothing comes out of it".to_owned(), own))?,
    };
    let text = String::from_utf8(bytes).ok().filter(|text| !text.contains('\0'));
    let hint = "save it as UTF-8, which TOML asks for, or name the right file: --config proxy.toml";
    text.ok_or_else(|| ("it is not UTF-8 text".to_owned(), hint))
}

/// How long a pipe may take. `<(…)` of a shell has something to say at once; one that nobody writes to never does.
const PIPE: std::time::Duration = std::time::Duration::from_secs(5);

/// What comes out of a pipe or a device to its end.
fn read_in_time(path: &Path) -> Option<Vec<u8>> {
    let (path, (done, read)) = (path.to_owned(), std::sync::mpsc::channel());
    // One that is never done ends with the process.
    std::thread::spawn(move || {
        let file = std::fs::File::open(path).ok()?;
        let mut bytes = Vec::new();
        file.take(LONGEST_FILE).read_to_end(&mut bytes).ok()?;
        done.send(bytes).ok()
    });
    read.recv_timeout(PIPE).ok()
}

fn unreadable(name: &str, reason: &str, hint: &str) -> ConfigError {
    ConfigError::new(vec![Finding::whole(name, format!("cannot be read: {reason}"), Some(hint.to_owned()))])
}

/// Checks a configuration text. `name` is what findings call it, `directory` what its relative paths are relative to,
/// `env` its environment. Nothing else is looked at but the files it names.
///
/// # Errors
/// Every mistake in it.
pub fn parse(
    name: &str,
    text: &str,
    directory: &Path,
    env: &dyn Fn(&str) -> Option<String>,
) -> Result<Loaded, ConfigError> {
    let (tree, broken) = DeTable::parse_recoverable(text);
    let reading = Reading::new(directory, env);
    let settings = read(&Section::root(&reading, tree.get_ref()));
    let findings = findings(name, text, &broken, reading.into_notes());
    if findings.iter().any(|finding| finding.severity == Severity::Error) {
        return Err(ConfigError::new(findings));
    }
    Ok(Loaded { settings, warnings: findings })
}

/// The settings, with defaults where there are mistakes: then nobody gets to see them.
fn read(root: &Section<'_>) -> Settings {
    root.check_keys(&[]);
    let callers = keys::callers(root);
    let apps = apps::read(root);
    let store = store::read(root, apps.served.values().map(AsRef::as_ref));
    let (proxy, admin) = doors::read(root, &apps, store.as_ref(), &callers);
    Settings {
        proxy,
        admin,
        store,
        upstream: limits::upstream(root),
        limits: limits::limits(root),
        callers,
        metrics: limits::metrics(root),
        log: limits::log(root),
        apps: apps.served,
    }
}

/// Syntax errors and notes together, in the order of the file. Of what stands on a line with a syntax error only that is
/// reported, and nothing is missed that the error may have swallowed.
fn findings(name: &str, text: &str, broken: &[toml::de::Error], notes: Vec<Note>) -> Vec<Finding> {
    let lines = Lines::new(text);
    let line_of = |at: usize| lines.number(at);
    let broken_lines: BTreeSet<usize> =
        broken.iter().map(|error| line_of(error.span().unwrap_or_default().start)).collect();
    let swallowed = |note: &Note| {
        let on_broken_line = |span: &Range<usize>| broken_lines.contains(&line_of(span.start));
        (note.absence && !broken.is_empty()) || note.span.as_ref().is_some_and(on_broken_line)
    };
    let mut all = syntax_errors(text, broken, line_of);
    all.extend(notes.into_iter().filter(|note| !swallowed(note)));
    all.sort_by_key(|note| note.span.as_ref().map_or(0, |span| span.start));
    let masked = Masked::new(text);
    all.into_iter().map(|note| note.into_finding(name, text, &lines, &masked)).collect()
}

/// The first error of each line. In a list that is never closed every further line is an error: the first says it.
fn syntax_errors(text: &str, broken: &[toml::de::Error], line_of: impl Fn(usize) -> usize) -> Vec<Note> {
    let mut lines: BTreeMap<usize, &toml::de::Error> = BTreeMap::new();
    for error in broken {
        lines.entry(line_of(error.span().unwrap_or_default().start)).or_insert(error);
    }
    let mut inside = false;
    let said = |error: &&toml::de::Error| {
        let still = std::mem::replace(&mut inside, error.message().starts_with(UNCLOSED));
        !(still && inside)
    };
    let note =
        |error: &toml::de::Error| syntax_error(text, error.message(), error.span().unwrap_or_default());
    lines.into_values().filter(said).map(note).collect()
}

/// How the parser sees the line after a list that was not closed.
const UNCLOSED: &str = "missing comma between array elements";

/// The parser's message in words that help. It never holds a piece of the text.
fn syntax_error(text: &str, message: &str, span: Range<usize>) -> Note {
    let found = text.get(span.clone()).unwrap_or_default();
    let word = found.starts_with(char::is_alphabetic);
    // For a word without quotes the parser guesses at numbers, dates and `inf`.
    let unquoted =
        message.starts_with("string values must be quoted") || (word && message.starts_with("invalid "));
    let (message, hint) = if unquoted {
        ("a text must stand in quotes", Some("write \"…\" around it"))
    } else if message.starts_with(UNCLOSED) {
        (UNCLOSED, Some("or a `]` is missing above"))
    } else {
        (message, None)
    };
    let hint = hint.map(str::to_owned);
    Note { span: Some(span), severity: Severity::Error, absence: false, message: message.to_owned(), hint }
}
