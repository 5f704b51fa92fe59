//! What a configuration may say, and what is said of one that may not. The one rule: nothing here needs a network, and no
//! test looks at the machine's own environment.

mod bad;
mod example;
mod good;
mod masks;

use std::path::Path;

use super::{ConfigError, Loaded, Severity, parse};

/// An app that needs nothing else.
const APP: &str = "
[apps.good]
provider = \"walmart-supplier\"
environment = \"simulator\"
client_id = \"id\"
client_secret = { env = \"SECRET\" }
";

/// The environment of these tests.
fn variable(name: &str) -> Option<String> {
    match name {
        "SECRET" => Some("a-secret".to_owned()),
        "ADDRESS" => Some("127.0.0.1:7000".to_owned()),
        "TWO_LINES" => Some("one\ntwo".to_owned()),
        "EMPTY" => Some(String::new()),
        "FORWARD_PROXY" => Some("http://user:p%40ss@egress:3128".to_owned()),
        _ => None,
    }
}

fn read_in(directory: &Path, text: &str) -> Result<Loaded, ConfigError> {
    parse("proxy.toml", text, directory, &variable)
}

fn read(text: &str) -> Result<Loaded, ConfigError> {
    read_in(Path::new("/nowhere"), text)
}

fn loaded(text: &str) -> Loaded {
    read(text).unwrap_or_else(|error| panic!("{}", error.render(false)))
}

/// The errors, without warnings: line, column, message and hint.
fn errors(text: &str) -> Vec<(usize, usize, String)> {
    let Err(error) = read(text) else { return Vec::new() };
    let errors = error.findings().iter().filter(|finding| finding.severity == Severity::Error);
    let text = |finding: &super::Finding| {
        format!("{} | {}", finding.message, finding.hint.as_deref().unwrap_or_default())
    };
    errors.map(|f| (f.line.unwrap_or(0), f.column.unwrap_or(0), text(f))).collect()
}
