//! What leaves with a secret in it. The one rule: nothing here is reached without leave to export, and it is never cached.

use http::StatusCode;

use super::{
    accounts::USUAL_WAIT,
    answer::{self, Answer},
    call::Call,
    document::TokenAnswer,
    refusal::refused_about,
};
use crate::http::problem::Problem;

pub(super) async fn export(call: Call) -> Result<Answer, Problem> {
    let id = call.account()?;
    call.parameters(&[])?;
    Ok(answer::json(StatusCode::OK, &call.accounts().export(&id).await.map_err(refused_about(&id))?))
}

pub(super) async fn token(call: Call) -> Result<Answer, Problem> {
    let id = call.account()?;
    let wait = call.parameters(&["wait"])?.wait(USUAL_WAIT)?;
    let credential = call.patiently(wait, call.accounts().token(&id, wait)).await?;
    let credential = credential.map_err(refused_about(&id))?;
    let app = call.accounts().app(&id.app).map_err(refused_about(&id))?;
    let (token, now) = (&credential.token, call.admin.door().clock.now());
    let answer = TokenAnswer {
        access_token: token.secret.expose().to_owned(),
        expires_in: token.life_left(now).map(|left| left.as_secs()),
        header: app.profile.token_header.to_string(),
        prefix: app.profile.token_prefix.clone(),
        generation: token.generation,
    };
    Ok(answer::json(StatusCode::OK, &answer))
}
