//! Opens the store for `run` and for commands that serve it themselves. The one rule: this is the only place that does.

use std::{sync::Arc, time::Duration};

use super::service::NotStarted;
use crate::{
    cli::Failure,
    config::Settings,
    gateway::open_store,
    store::{OpenError, Store},
};

/// The store of these settings, if they ask for one. Blocks while another process has it, as long as they say.
///
/// # Errors
/// When it cannot be opened.
pub fn open(settings: &Settings) -> Result<Option<Arc<dyn Store>>, Failure> {
    Ok(open_store(settings)?)
}

/// The same without waiting for another process to let go of it.
///
/// # Errors
/// When another process has it, or it cannot be opened.
pub fn open_at_once(settings: &Settings) -> Result<Option<Arc<dyn Store>>, NotStarted> {
    let mut settings = settings.clone();
    if let Some(store) = &mut settings.store {
        store.wait_for_lock = Duration::ZERO;
    }
    open_store(&settings).map_err(|error| NotStarted {
        is_held: matches!(error, OpenError::StoreInUse { .. }),
        failure: error.into(),
    })
}
