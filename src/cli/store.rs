//! `marketgate store`: copies of the store, and its keys. The one rule: a copy never replaces anything by itself, and what
//! comes out of one is not spent before a person says so.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde_json::json;

use super::{
    Exit, Failure, Output, Place,
    progress::waiting,
    remote,
    session::{self, ServerArguments},
    streams,
};
use crate::{
    admin::document::{BackupReport, RekeyReport},
    config::Settings,
    gateway::store_options,
    store::sqlite::{RestoreError, restore},
};

/// Arguments of `store`.
#[derive(Debug, Args)]
pub struct StoreArguments {
    #[command(subcommand)]
    command: StoreCommand,
}

#[derive(Debug, Subcommand)]
enum StoreCommand {
    /// Write a consistent copy into a new file; the store may be in use
    Backup {
        /// The new file. The key is not in it: keep that elsewhere
        #[arg(value_name = "FILE")]
        to: PathBuf,
    },
    /// Put a copy in the place of the store, which is kept beside it; grants that rotate are parked
    Restore {
        /// A file that `store backup` made
        #[arg(value_name = "FILE")]
        from: PathBuf,
    },
    /// Seal everything with [store] key, so that old_keys are needed no more; the store may be in use
    Rekey,
}

/// Runs one of them.
///
/// # Errors
/// When there is no store, it cannot be used, or the file cannot.
pub fn run(place: &Place, arguments: &StoreArguments) -> Result<(), Failure> {
    match &arguments.command {
        StoreCommand::Backup { to } => back_up(place, to),
        StoreCommand::Restore { from } => bring_back(place, from),
        StoreCommand::Rekey => rekey(place),
    }
}

fn back_up(place: &Place, to: &std::path::Path) -> Result<(), Failure> {
    let path = std::path::absolute(to).map_err(|e| Failure::new(Exit::Usage, e))?;
    let body = json!({ "path": path });
    let done: BackupReport = session::with(place, &ServerArguments::none(), async |client| {
        Ok(waiting("copying the store", remote::post(&client, "/api/store/backup", Some(body))).await?)
    })?;
    tell(place, &done, format_args!("the store is copied to {}; its key is not in there", done.path));
    Ok(())
}

fn rekey(place: &Place) -> Result<(), Failure> {
    let done: RekeyReport = session::with(place, &ServerArguments::none(), async |client| {
        Ok(waiting("sealing the store anew", remote::post(&client, "/api/store/rekey", None)).await?)
    })?;
    let words = format!("sealed {} records anew: [store] old_keys may be removed", done.sealed);
    tell(place, &done, format_args!("{words}"));
    Ok(())
}

impl From<RestoreError> for Failure {
    fn from(error: RestoreError) -> Self {
        let action = error.action();
        Self::new(Exit::Store, &error).mend(action)
    }
}

/// Takes the store's lock itself: nothing may serve it meanwhile.
fn bring_back(place: &Place, from: &std::path::Path) -> Result<(), Failure> {
    let settings = place.load()?;
    let mut options = store_options(wanted(&settings)?);
    options.wait_for_lock = std::time::Duration::ZERO;
    let done = restore(from, &options)?;
    if let Some(aside) = &done.moved_aside {
        streams::talk(format_args!("the store that was there is now {}", aside.display()));
    }
    let words = format!(
        "{} accounts are back. {} of them have refresh tokens that may have been spent since the copy was made, and are \
         parked: `marketgate login` connects one anew; `marketgate accounts resume` goes on with one that is known to be \
         unspent",
        done.accounts, done.parked
    );
    let document =
        json!({ "accounts": done.accounts, "parked": done.parked, "moved_aside": done.moved_aside });
    tell(place, &document, format_args!("{words}"));
    Ok(())
}

fn wanted(settings: &Settings) -> Result<&crate::config::settings::StoreSettings, Failure> {
    settings.store.as_ref().ok_or_else(|| {
        Failure::new(Exit::Store, "this configuration needs no store and names none")
            .mend("add [store], or name the right configuration with --config")
    })
}

fn tell(place: &Place, document: &impl serde::Serialize, words: std::fmt::Arguments<'_>) {
    match place.output {
        // Strings and numbers always serialise.
        Output::Json => streams::data(serde_json::to_string(document).unwrap_or_default()),
        Output::Text => streams::data(words),
    }
}
