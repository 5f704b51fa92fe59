//! What a caller hears in place of the marketplace's answer: whose fault it is, and what helps.

use std::time::Duration;

use http::StatusCode;

use super::upstream::{Cause, UpstreamError};
use crate::{
    grant::{LiveAccount, Unavailable},
    http::problem::{Code, Problem},
};

pub(super) fn about(problem: Problem, live: &LiveAccount) -> Problem {
    problem.about(&live.id().app, Some(&live.id().account))
}

/// There is no token for the request.
pub(super) fn no_token(live: &LiveAccount, unavailable: Unavailable) -> Problem {
    let detail = format!("no valid token for {} ({}): {}", live.id(), unavailable.state, unavailable.detail);
    let code = match unavailable.draining {
        true => Code::Own { word: "draining", status: StatusCode::SERVICE_UNAVAILABLE },
        false if unavailable.retry_after.is_none() => Code::LoginRequired,
        false => Code::TokenUnavailable,
    };
    let problem = about(Problem::new(code, detail, unavailable.action), live);
    match unavailable.retry_after {
        Some(after) => problem.retry_after(after),
        None => problem,
    }
}

/// The body is larger than the configuration allows.
pub(super) fn too_large() -> Problem {
    Problem::new(
        Code::BodyTooLarge,
        "the request body is larger than limits.body",
        "send less, or raise limits.body",
    )
}

/// The marketplace was not reached, or broke off.
pub(super) fn upstream_failed(error: &UpstreamError) -> Problem {
    let code = match error.cause() {
        Cause::Overloaded { .. } => Code::Overloaded,
        _ if error.is_by_caller() => Code::BadRequest,
        _ if error.is_timeout() => Code::UpstreamTimeout,
        Cause::Closed { .. }
        | Cause::ConnectionError { .. }
        | Cause::Incomplete { .. }
        | Cause::Protocol { .. } => Code::UpstreamBroken,
        Cause::NotReady => Code::TokenUnavailable,
        Cause::Interrupted => Code::Internal,
        _ => Code::UpstreamUnreachable,
    };
    let action = if error.may_have_arrived() {
        "look whether the marketplace carried it out before sending it again, unless that is harmless"
    } else {
        "mend what the detail names, then send it again: the marketplace has seen nothing of it"
    };
    let mut problem = Problem::new(code, error.sentence(), action);
    problem.error = Some(error.proxy_status_error());
    if matches!(code, Code::Overloaded | Code::TokenUnavailable) {
        problem = problem.retry_after(Duration::from_secs(1));
    }
    problem
}
