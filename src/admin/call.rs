//! One request, as the file that answers it sees it: let in, routed, its body read. The one rule: it owns what it needs, so
//! that it goes on when the client hangs up.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;

use super::{
    AdminDoor,
    parameters::{Parameters, well_formed},
    refusal::draining,
};
use crate::{
    accounts::Accounts,
    http::{
        callback::Callbacks,
        problem::{Code, Problem},
    },
    names::AccountId,
};

/// A request to be answered.
pub(super) struct Call {
    /// The door it came to.
    pub(super) admin: Arc<AdminDoor>,
    /// What the path's variables stand for, in order.
    pub(super) captures: Vec<String>,
    /// What stands behind the `?`.
    pub(super) query: String,
    /// The `Accept` field, where there is one.
    pub(super) accept: String,
    /// The body, read to its end.
    pub(super) body: Bytes,
    /// Whether it came to the control socket.
    pub(super) by_command: bool,
}

impl Call {
    /// The accounts.
    pub(super) fn accounts(&self) -> &Arc<Accounts> {
        &self.admin.door().accounts
    }

    /// Where sellers come back to.
    pub(super) fn callbacks(&self) -> &Callbacks {
        &self.admin.door().callbacks
    }

    /// The parameters, if all of them are known.
    pub(super) fn parameters(&self, known: &[&str]) -> Result<Parameters, Problem> {
        Parameters::read(&self.query, known)
    }

    /// The account of a path `…/{app}/{account}…`.
    pub(super) fn account(&self) -> Result<AccountId, Problem> {
        Ok(AccountId { app: well_formed(self.capture(0))?, account: well_formed(self.capture(1))? })
    }

    /// What one of the path's variables stands for.
    pub(super) fn capture(&self, number: usize) -> &str {
        self.captures.get(number).map_or("", String::as_str)
    }

    /// Waits for `work`, unless too many do so already or the program ends meanwhile.
    pub(super) async fn patiently<T>(
        &self,
        wait: Duration,
        work: impl Future<Output = T>,
    ) -> Result<T, Problem> {
        let _seat = if wait.is_zero() { None } else { Some(self.seat()?) };
        self.admin.draining().run_until_cancelled(work).await.ok_or_else(draining)
    }

    fn seat(&self) -> Result<tokio::sync::SemaphorePermit<'_>, Problem> {
        self.admin.waits().try_acquire().map_err(|_| {
            Problem::new(Code::Overloaded, "too many wait already", "ask again")
                .retry_after(Duration::from_secs(1))
        })
    }
}
