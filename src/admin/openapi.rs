//! The description of the API for programs (OpenAPI 3.1). The one rule: what it describes exists, and what exists is in it.

use http::StatusCode;

use super::{
    answer::{self, Answer},
    call::Call,
};
use crate::http::problem::Problem;

/// The document.
pub const DOCUMENT: &str = include_str!("openapi.json");

pub(super) async fn show(_: Call) -> Result<Answer, Problem> {
    Ok(answer::with_body(StatusCode::OK, "application/json", DOCUMENT.to_owned()))
}
