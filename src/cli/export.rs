//! `marketgate export`: hands a grant out, into a file. The one rule: the file is there and can be written before anything is
//! handed out, and what was handed out is on the disk before success is told.

use std::{
    fs::File,
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use clap::Args;
use zeroize::Zeroizing;

use super::{
    Exit, Failure, Place,
    remote::{self, full_name},
    session::{self, ServerArguments},
    streams,
};
use crate::{accounts::change::Exported, names::AccountId};

/// Arguments of `export`.
#[derive(Debug, Args)]
pub struct ExportArguments {
    /// APP@ACCOUNT
    #[arg(value_parser = full_name)]
    account: AccountId,
    /// New file for it, which only you can read; `marketgate import` takes it in elsewhere
    #[arg(long, value_name = "FILE")]
    to_file: PathBuf,
    #[command(flatten)]
    server: ServerArguments,
}

/// Hands out the grant of an account, which is not spent here any more afterwards.
///
/// # Errors
/// When the file cannot be written, or there is no grant to hand out.
pub fn run(place: &Place, arguments: &ExportArguments) -> Result<(), Failure> {
    let (id, path) = (&arguments.account, &arguments.to_file);
    let mut file = create(path)?;
    let exported = session::with(place, &arguments.server, async |client| {
        Ok(remote::act::<Exported>(&client, id, "export").await?)
    });
    let exported = exported.map_err(|failure| {
        drop(std::fs::remove_file(path));
        match failure.exit() {
            // Nobody knows whether the request arrived.
            Exit::Unreachable | Exit::Interrupted => failure
                .mend(format!("export {id} again: that can be repeated, should it have been handed out")),
            _ => failure,
        }
    })?;
    write(&mut file, path, &exported).map_err(|e| {
        Failure::new(Exit::Failure, format!("{}: {e}; the grant of {id} is still here", path.display()))
            .mend("remove that file, make room, and export it again: that can be repeated")
    })?;
    streams::talk(format_args!(
        "{id} is in {}, and is not refreshed here any more. Elsewhere: marketgate import {id} < {}",
        path.display(),
        path.display()
    ));
    Ok(())
}

fn create(path: &Path) -> Result<File, Failure> {
    let created = File::options().write(true).create_new(true).mode(0o600).open(path);
    created.map_err(|e| {
        let failure = Failure::new(Exit::Failure, format!("{}: {e}", path.display()));
        match e.kind() {
            io::ErrorKind::AlreadyExists => failure.mend("name a file that is not there yet"),
            _ => failure.mend("name a file in a directory that can be written"),
        }
    })
}

fn write(file: &mut File, path: &Path, exported: &Exported) -> io::Result<()> {
    let mut text = Zeroizing::new(serde_json::to_string(exported).map_err(io::Error::other)?);
    text.push('\n');
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    // The name, too, must outlast a crash.
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder)?.sync_all()
}
