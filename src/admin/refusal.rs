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
    Problem::new(code(&error), error.detail, error.action)
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
    let code = Code::Own {
        word: "draining",
        status: StatusCode::SERVICE_UNAVAILABLE,
        title: "This Marketgate is about to end",
    };
    let action = "ask again: another one may have taken its place";
    Problem::new(code, "nothing new is begun any more", action).retry_after(Duration::from_secs(1))
}

fn code(error: &AccountsError) -> Code {
    let word = error.code;
    match (error.refusal, word) {
        (_, "no_such_app") => Code::NoSuchApp,
        (_, "no_such_account") => Code::NoSuchAccount,
        (_, "login_required") => Code::LoginRequired,
        (_, "token_unavailable") => Code::TokenUnavailable,
        (_, "internal") => Code::Internal,
        (Refusal::Unknown, _) => own(word, StatusCode::BAD_REQUEST, "Not known here"),
        (Refusal::Invalid, _) => own(word, StatusCode::BAD_REQUEST, "What was sent cannot be used"),
        (Refusal::Conflict, _) => own(word, StatusCode::CONFLICT, "It contradicts what is there"),
        (Refusal::Marketplace, _) => {
            own(word, StatusCode::BAD_GATEWAY, "The marketplace did not play its part")
        }
        (Refusal::Store, _) => own(word, StatusCode::SERVICE_UNAVAILABLE, "The store cannot be used now"),
    }
}

fn own(word: &'static str, status: StatusCode, title: &'static str) -> Code {
    Code::Own { word, status, title }
}
