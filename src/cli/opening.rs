//! Opens the store for `run` and for commands that serve it themselves. This is the only place that does.

use std::{sync::Arc, time::Duration};

use tokio::time::Instant;

use super::{Exit, service::NotStarted};
use crate::{
    cli::Failure,
    config::Settings,
    gateway::open_store,
    store::{AwaitedStore, OpenError, Store},
};

/// How long to rest between two looks at who has the store.
pub const BETWEEN: Duration = Duration::from_millis(100);

/// How long somebody waits who is not told what for.
pub const SILENCE: Duration = Duration::from_secs(1);

/// The store of these settings, if they ask for one, without waiting for another process to let go of it.
///
/// # Errors
/// When another process has it, or it cannot be opened.
pub fn open_at_once(settings: &Settings) -> Result<Option<Arc<dyn Store>>, NotStarted> {
    let mut settings = settings.clone();
    if let Some(store) = &mut settings.store {
        store.wait_for_lock = Duration::ZERO;
    }
    open_store(&settings).map_err(|error| {
        let holder = match &error {
            OpenError::StoreInUse { pid, .. } => Some(*pid),
            _ => None,
        };
        NotStarted { is_held: holder.is_some(), holder: holder.flatten(), failure: error.into() }
    })
}

/// Who is waited for, and for how long.
pub fn waiting_for(holder: Option<u32>, began: Instant, patience: Duration) -> String {
    let holder = holder.map_or_else(|| "another process".to_owned(), |pid| format!("process {pid}"));
    let (waited, most) = (began.elapsed().as_secs(), patience.as_secs());
    format!("waiting for {holder} to let go of it, {waited} s so far, {most} s at most")
}

/// The store as soon as the process that has it lets go of it. `awaited` is told why it is not there.
///
/// # Errors
/// When that takes longer than the settings say, or the store cannot be opened then.
pub async fn open_when_free(settings: &Settings, awaited: &AwaitedStore) -> Result<Arc<dyn Store>, Failure> {
    let patience = settings.store.as_ref().map_or(Duration::ZERO, |store| store.wait_for_lock);
    let (began, mut told) = (Instant::now(), false);
    loop {
        let attempt = settings.clone();
        let opened = tokio::task::spawn_blocking(move || open_at_once(&attempt)).await;
        let held = match opened.map_err(|e| Failure::new(Exit::Failure, e))? {
            Ok(Some(store)) => return Ok(store),
            Ok(None) => return Err(Failure::new(Exit::Store, "the configuration asks for no store")),
            Err(held) if held.is_held && began.elapsed() < patience => held,
            Err(other) => return Err(other.failure),
        };
        let waiting = waiting_for(held.holder, began, patience);
        if !told && began.elapsed() >= SILENCE {
            told = true;
            tracing::warn!(
                "{waiting}: the store {}; what needs no store is served meanwhile",
                path(settings)
            );
        }
        awaited.explain(waiting);
        tokio::time::sleep(BETWEEN).await;
    }
}

fn path(settings: &Settings) -> String {
    settings.store.as_ref().map_or_else(String::new, |store| store.path.display().to_string())
}
