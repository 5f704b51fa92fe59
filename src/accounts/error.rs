//! Why something was not done to an account. The one rule: it says what mends it, and nothing was changed.

use std::fmt;

use crate::{
    names::{AccountId, AppName},
    store::StoreError,
};

/// What kind of refusal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// No such app or account.
    Unknown,
    /// What was sent cannot be used.
    Invalid,
    /// It contradicts what is there.
    Conflict,
    /// The marketplace or token endpoint did not play its part.
    Marketplace,
    /// The store cannot be used now.
    Store,
    /// Something is under way that has to end first.
    Busy,
}

/// Why something was not done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccountsError {
    /// What kind of refusal.
    pub refusal: Refusal,
    /// A stable word for programs.
    pub code: &'static str,
    /// What happened; holds no secret.
    pub detail: String,
    /// What mends it.
    pub action: String,
}

impl AccountsError {
    /// A refusal of that kind.
    pub fn new(
        refusal: Refusal,
        code: &'static str,
        detail: impl Into<String>,
        action: impl Into<String>,
    ) -> Self {
        Self { refusal, code, detail: detail.into(), action: action.into() }
    }

    /// What was sent cannot be used.
    pub fn invalid(detail: impl Into<String>, action: impl Into<String>) -> Self {
        Self::new(Refusal::Invalid, "invalid", detail, action)
    }

    pub(super) fn no_such_app<'a>(name: &AppName, known: impl Iterator<Item = &'a AppName>) -> Self {
        let known = known.map(AppName::as_str).collect::<Vec<_>>().join(", ");
        let detail = format!("there is no app `{name}`");
        Self::new(Refusal::Unknown, "no_such_app", detail, format!("the configuration has: {known}"))
    }

    pub(super) fn no_such_account(id: &AccountId) -> Self {
        let detail = format!("app `{}` has no account `{}`", id.app, id.account);
        let action = format!("`marketgate accounts {}` lists them; `marketgate login {id}` adds it", id.app);
        Self::new(Refusal::Unknown, "no_such_account", detail, action)
    }

    pub(super) fn written(id: &AccountId) -> Self {
        let detail = format!("{id} is written in the configuration");
        let action = format!("change [apps.{}.accounts.{}] or [apps.{}] there", id.app, id.account, id.app);
        Self::new(Refusal::Conflict, "written_in_configuration", detail, action)
    }

    pub(super) fn takes_none(app: &AppName) -> Self {
        let detail = format!("app `{app}` has its credentials in the configuration and takes no accounts");
        let action = "use an app with grant `authorization_code`, or one with credentials = \"per-account\"";
        Self::new(Refusal::Conflict, "takes_no_accounts", detail, action)
    }

    pub(super) fn no_store() -> Self {
        let detail = "there is no store to keep accounts in";
        Self::new(Refusal::Conflict, "no_store", detail, "add [store] to the configuration and start again")
    }

    pub(super) fn busy(id: &AccountId, with: Option<String>) -> Self {
        let with = with.unwrap_or_else(|| "what is under way with it".to_owned());
        let detail = format!("this has to wait for {with}, and nothing of {id} was changed");
        Self::new(Refusal::Busy, "busy", detail, "repeat it in a moment")
    }

    pub(super) fn draining(id: &AccountId) -> Self {
        let detail = format!(
            "Marketgate is about to end; the login of {id} was not completed, and nothing of it spent"
        );
        Self::new(
            Refusal::Busy,
            "draining",
            detail,
            "load this page again in a moment, or start the login again",
        )
    }

    pub(super) fn overtaken(id: &AccountId) -> Self {
        let detail = format!("{id} was changed by something else at the same time");
        Self::new(Refusal::Conflict, "overtaken", detail, "look at it again, and repeat what is still wanted")
    }
}

impl From<StoreError> for AccountsError {
    fn from(error: StoreError) -> Self {
        Self::new(Refusal::Store, "store_unavailable", error.to_string(), error.action())
    }
}

impl fmt::Display for AccountsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.detail)
    }
}

impl std::error::Error for AccountsError {}
