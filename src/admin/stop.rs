//! Ends the program, as a signal does.

use http::StatusCode;

use super::{
    answer::{self, Answer},
    call::Call,
    refusal::bad_request,
};
use crate::http::problem::Problem;

/// Where.
pub(super) const PATH: &str = "/api/stop";

/// What has the program end in order.
pub type AskToStop = Box<dyn Fn() + Send + Sync>;

/// Answered before the end begins, and any number of times.
pub(super) async fn stop(call: Call) -> Result<Answer, Problem> {
    call.parameters(&[])?;
    let ask = call.admin.asks_to_stop().ok_or_else(|| {
        bad_request(
            "a command is serving here, and ends by itself",
            "wait for its end, or interrupt the command",
        )
    })?;
    ask();
    Ok(answer::json(StatusCode::ACCEPTED, &serde_json::json!({ "stopping": true })))
}
