//! Is the process alive, can it serve, how much did it do. The one rule: ready means able to serve, never "another company
//! is well".

use std::{fmt::Write, time::Duration};

use http::StatusCode;
use tokio::{sync::Mutex, time::Instant};

use super::{
    answer::{self, Answer},
    call::Call,
    router::ROUTES,
};
use crate::{http::problem::Problem, metrics::Format, store::Store};

/// How long what was found out of the store counts.
const FRESH: Duration = Duration::from_secs(1);

/// How long the store may take to prove that it can be written to.
const PROBE: Duration = Duration::from_secs(3);

/// What the store said when it was last asked.
#[derive(Debug, Default)]
pub(super) struct Readiness(Mutex<Option<(Instant, Result<(), String>)>>);

impl Readiness {
    /// Asks the store, unless it was asked a moment ago. Whoever asks meanwhile hears the same.
    async fn of(&self, store: &dyn Store) -> Result<(), String> {
        let mut last = self.0.lock().await;
        if let Some((at, found)) = last.as_ref().filter(|(at, _)| at.elapsed() < FRESH) {
            tracing::trace!(age = ?at.elapsed(), "store probed before");
            return found.clone();
        }
        let found = match tokio::time::timeout(PROBE, store.probe()).await {
            Ok(probed) => probed.map_err(|error| format!("{error}\n  help: {}", error.action())),
            Err(_) => Err(format!("no answer within {} s", PROBE.as_secs())),
        };
        *last = Some((Instant::now(), found.clone()));
        found
    }
}

/// Whether the path is one that probes ask for: it is answered however full the listener is.
pub fn is_probe(path: &str) -> bool {
    matches!(path, "/livez" | "/readyz")
}

pub(super) async fn live(call: Call) -> Result<Answer, Problem> {
    let silent = call.admin.liveness().silent().await;
    if silent.is_empty() {
        return Ok(answer::text(StatusCode::OK, "ok\n"));
    }
    let said = format!("threads that do not answer: {}\n", silent.join(", "));
    Ok(answer::text(StatusCode::SERVICE_UNAVAILABLE, said))
}

pub(super) async fn ready(call: Call) -> Result<Answer, Problem> {
    let unready = |why: String| Ok(answer::text(StatusCode::SERVICE_UNAVAILABLE, why));
    if call.admin.is_leaving() {
        return unready("draining\n".to_owned());
    }
    if let Some(store) = call.accounts().store()
        && let Err(why) = call.admin.readiness().of(store.as_ref()).await
    {
        return unready(format!("store: {why}\n"));
    }
    Ok(answer::text(StatusCode::OK, "ready\n"))
}

pub(super) async fn metrics(call: Call) -> Result<Answer, Problem> {
    let (door, live) = (call.admin.door(), call.accounts().live());
    for ((endpoint, grant_type), load) in live.meters() {
        door.metrics.meter((&endpoint, grant_type), load.used, load.calls, load.waiting);
    }
    if let Some(store) = call.accounts().store() {
        let room = store.spill_room().map(|room| (room.set_aside, room.promised));
        door.metrics.store(store.trouble().is_some(), room);
    }
    let expiries = live.expiries();
    door.metrics.token_expiries(expiries.iter().map(|(id, at)| (id, *at)));
    let format = Format::accepted(&call.accept);
    Ok(answer::with_body(StatusCode::OK, format.content_type(), door.metrics.text(format)))
}

pub(super) async fn index(_: Call) -> Result<Answer, Problem> {
    let mut text = "Marketgate, admin door; /api/openapi.json describes what is below /api\n\n".to_owned();
    for route in ROUTES {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{:<7} {}", route.method, route.path);
    }
    Ok(answer::text(StatusCode::OK, text))
}
