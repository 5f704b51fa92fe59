//! Consents, begun, completed and looked at. The one rule: whoever owns the redirect address may complete one, and it is
//! completed once.

use std::time::Duration;

use http::StatusCode;

use super::{
    answer::{self, Answer},
    body,
    call::Call,
    document::ConsentDocument,
    refusal::{bad_request, refused, refused_about},
};
use crate::{
    accounts::consent::BeginConsent,
    http::problem::Problem,
    names::{AccountId, AccountName, AccountRef},
    oauth::with_form,
};

pub(super) async fn begin(call: Call) -> Result<Answer, Problem> {
    call.parameters(&[])?;
    let members = body::known_object(&call.body, &["account", "replace_identity", "again"])?;
    let id = named(body::text(&members, "account")?)?;
    let replace_identity = body::flag(&members, "replace_identity")?;
    let again = body::flag(&members, "again")?;
    let wanted = BeginConsent { id: id.clone(), replace_identity, again, by_command: call.by_command };
    let mut begun = call.accounts().begin_consent(&wanted).await.map_err(refused_about(&id))?;
    begun.answered_here = call.callbacks().answer_at(&begun.redirect_uri);
    Ok(answer::json(StatusCode::CREATED, &begun))
}

pub(super) async fn complete(call: Call) -> Result<Answer, Problem> {
    call.parameters(&[])?;
    let members = body::known_object(&call.body, &["url", "form"])?;
    let url = body::text(&members, "url")?;
    let form = if members.contains_key("form") { body::text(&members, "form")? } else { "" };
    let connected = call.accounts().complete_consent(&with_form(url, form)).await.map_err(refused)?;
    Ok(answer::json(StatusCode::OK, &connected))
}

pub(super) async fn show(call: Call) -> Result<Answer, Problem> {
    let wait = call.parameters(&["wait"])?.wait(Duration::ZERO)?;
    let state = call.patiently(wait, call.accounts().consent_state(call.capture(0), wait)).await?;
    let state = state.ok_or_else(|| {
        let action = "begin one with POST /api/consents; a consent is forgotten a while after its end";
        bad_request("no consent of that id is known here", action)
    })?;
    Ok(answer::json(StatusCode::OK, &ConsentDocument::from(state)))
}

/// `APP@ACCOUNT`, or `APP` for its account `default`.
fn named(text: &str) -> Result<AccountId, Problem> {
    let wrong = |_| bad_request(format!("{text:?} names no account"), "write APP@ACCOUNT, or APP");
    let AccountRef { app, account } = text.parse().map_err(wrong)?;
    Ok(AccountId { app, account: account.unwrap_or_else(AccountName::implicit) })
}
