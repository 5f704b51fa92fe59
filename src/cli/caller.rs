//! `marketgate caller`.

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use clap::Args;

use super::{Exit, Failure, streams};
use crate::secret::sha256;

/// Arguments of `caller`.
#[derive(Debug, Args)]
pub struct CallerArguments {
    /// What to call the program: [callers.NAME], or [admin.keys.NAME] for the admin door
    name: crate::names::AppName,
}

/// Draws a key, prints it on stdout and what belongs into the configuration on stderr.
///
/// # Errors
/// When the operating system gives no randomness.
pub fn run(arguments: &CallerArguments) -> Result<(), Failure> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(|e| Failure::new(Exit::Failure, e))?;
    let key = format!("mgk_{}", BASE64_URL_SAFE_NO_PAD.encode(bytes));
    let digest: String = sha256(&key).iter().map(|byte| format!("{byte:02x}")).collect();
    let name = quoted(arguments.name.as_str());
    streams::talk("Give this key to the program; it is shown once. Put this into proxy.toml:\n");
    streams::talk(format_args!("[callers.{name}]\nsha256 = \"{digest}\"\n"));
    streams::talk(format_args!(
        "# or, for the admin door, with what it may do there:\n# [admin.keys.{name}]\n# sha256 = \"{digest}\"\n\
         # allow = [\"accounts:read\"]\n"
    ));
    streams::data(key);
    Ok(())
}

/// A name as a TOML key: one with a dot stands in quotes.
fn quoted(name: &str) -> String {
    if name.contains('.') { format!("\"{name}\"") } else { name.to_owned() }
}
