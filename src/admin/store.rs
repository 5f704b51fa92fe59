//! What is done to the store as a whole. The one rule: only whoever may open the store's files may have it done.

use std::path::Path;

use http::StatusCode;

use super::{
    answer::{self, Answer},
    body,
    call::Call,
    document::{BackupReport, RekeyReport},
    refusal::{bad_request, refused},
};
use crate::{
    accounts::AccountsError,
    http::problem::Problem,
    store::{Store, StoreError},
};

pub(super) async fn back_up(call: Call) -> Result<Answer, Problem> {
    call.parameters(&[])?;
    let members = body::known_object(&call.body, &["path"])?;
    let path = Path::new(body::text(&members, "path")?);
    if !path.is_absolute() {
        return Err(bad_request("`path` is not absolute", "begin it with `/`: it is this machine's"));
    }
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    if ["-wal", "-journal", "-shm", ".lock", ".mark", ".spill", ".sock"].iter().any(|end| name.ends_with(end))
    {
        let detail = format!("{name} is what a store calls a file of its own");
        return Err(bad_request(detail, "name the copy otherwise, such as backup.db"));
    }
    if path.symlink_metadata().is_ok() {
        let detail = format!("{} is there already, and a copy replaces nothing", path.display());
        return Err(bad_request(detail, "name a file that is not there yet"));
    }
    store(&call)?.backup(path).await.map_err(failed)?;
    Ok(answer::json(StatusCode::OK, &BackupReport { path: path.display().to_string() }))
}

pub(super) async fn rekey(call: Call) -> Result<Answer, Problem> {
    call.parameters(&[])?;
    let sealed = store(&call)?.rekey().await.map_err(failed)?;
    Ok(answer::json(StatusCode::OK, &RekeyReport { sealed }))
}

fn store(call: &Call) -> Result<&dyn Store, Problem> {
    let store = call.accounts().store().map(AsRef::as_ref);
    store.ok_or_else(|| bad_request("there is no store", "add [store] to the configuration and start again"))
}

fn failed(error: StoreError) -> Problem {
    refused(AccountsError::from(error))
}
