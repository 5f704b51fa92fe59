//! `marketgate caller`.

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use clap::Args;

use super::{Exit, Failure, streams};
use crate::secret::sha256;

/// Arguments of `caller`.
#[derive(Debug, Args)]
pub struct CallerArguments {
    /// What to call the program: [callers.NAME]
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
    streams::talk("Give this key to the program; it is shown once. Put this into proxy.toml:\n");
    streams::talk(format_args!("[callers.{}]\nsha256 = \"{digest}\"\n", arguments.name));
    streams::data(key);
    Ok(())
}
