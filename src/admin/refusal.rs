//! Refusals of the accounts service, as answers. The one rule: the code is the service's own; none is a 404.

use std::time::Duration;

use http::StatusCode;

use crate::{
    accounts::{AccountsError, error::Refusal},
    http::problem::{Code, Problem},
    names::AccountId,
};

/// The answer to a request that the accounts service refused.
pub(super) fn refused(error: AccountsError) -> Problem {
    let problem = Problem::new(code(&error), error.detail, error.action);
    match error.refusal {
        Refusal::Busy => problem.retry_after(Duration::from_secs(1)),
        _ => problem,
    }
}

/// The same about one account.
pub(super) fn refused_about(id: &AccountId) -> impl FnOnce(AccountsError) -> Problem {
    |error| refused(error).about(&id.app, Some(&id.account))
}

/// A request that cannot be understood.
pub(super) fn bad_request(detail: impl Into<String>, action: impl Into<String>) -> Problem {
    Problem::new(Code::BadRequest, detail, action)
}

/// The program is about to end.
pub(super) fn draining() -> Problem {
    let code = Code::Own { word: "draining", status: StatusCode::SERVICE_UNAVAILABLE };
    let action = "ask again: another one may have taken its place";
    Problem::new(code, "nothing new is begun any more", action).retry_after(Duration::from_secs(1))
}

fn code(error: &AccountsError) -> Code {
    let word = error.code;
    let status = match (error.refusal, word) {
        (_, "no_such_app") => return Code::NoSuchApp,
        (_, "no_such_account") => return Code::NoSuchAccount,
        (_, "login_required") => return Code::LoginRequired,
        (_, "token_unavailable") => return Code::TokenUnavailable,
        (_, "internal") => return Code::Internal,
        (Refusal::Unknown | Refusal::Invalid, _) => StatusCode::BAD_REQUEST,
        (Refusal::Conflict, _) => StatusCode::CONFLICT,
        (Refusal::Marketplace, _) => StatusCode::BAD_GATEWAY,
        (Refusal::Store | Refusal::Busy, _) => StatusCode::SERVICE_UNAVAILABLE,
    };
    Code::Own { word, status }
}
