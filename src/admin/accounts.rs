//! Accounts, read and changed. The one rule: what is answered is what the accounts service says, nothing is decided here.

use std::time::Duration;

use http::StatusCode;

use super::{
    answer::{self, Answer},
    body,
    call::Call,
    document::PutReport,
    refusal::{bad_request, refused, refused_about},
};
use crate::{
    accounts::{
        import::{ImportOptions, Imported, NewGrant},
        list::Query,
    },
    grant::AccountState,
    http::problem::Problem,
};

/// How long a refresh and its like are waited for unless the request says otherwise.
pub(super) const USUAL_WAIT: Duration = Duration::from_secs(30);

pub(super) async fn list(call: Call) -> Result<Answer, Problem> {
    let parameters = call.parameters(&["app", "state", "after", "limit"])?;
    let query = Query {
        app: parameters.name("app")?,
        state: parameters.one_of("state", &AccountState::words())?.map(str::to_owned),
        after: parameters.place("after")?,
        limit: parameters.number("limit", 1, 10_000)?.unwrap_or(1000) as usize,
    };
    Ok(answer::json(StatusCode::OK, &call.accounts().page(&query).await.map_err(refused)?))
}

pub(super) async fn show(call: Call) -> Result<Answer, Problem> {
    let id = call.account()?;
    let wait = call.parameters(&["wait"])?.wait(Duration::ZERO)?;
    if !wait.is_zero() {
        // Whether a token came is told by the document.
        drop(call.patiently(wait, call.accounts().token(&id, wait)).await?);
    }
    let account = call.accounts().show(&id).await.map_err(refused_about(&id))?;
    Ok(answer::json(StatusCode::OK, &account))
}

pub(super) async fn put(call: Call) -> Result<Answer, Problem> {
    let id = call.account()?;
    let parameters = call.parameters(&["replace_identity", "again", "dry_run"])?;
    let options = ImportOptions {
        dry_run: parameters.flag("dry_run")?,
        replace_identity: parameters.flag("replace_identity")?,
        again: parameters.flag("again")?,
    };
    let app = call.accounts().app(&id.app).map_err(refused)?;
    let unreadable =
        |wrong| bad_request(format!("the body: {wrong}"), "send the account's grant as a JSON object");
    let mut members = body::object(&call.body).map_err(unreadable)?;
    for (name, expected) in [("app", id.app.as_str()), ("account", id.account.as_str())] {
        // An export names its account, and may come back as it is.
        if members.get(name).is_some_and(|named| named == expected) {
            members.remove(name);
        }
    }
    let grant = NewGrant::read(app, &members).map_err(refused_about(&id))?;
    let outcome = call.accounts().import(&id, grant, options).await.map_err(refused_about(&id))?;
    let account = match call.accounts().show(&id).await {
        Err(_) if options.dry_run => None,
        shown => Some(shown.map_err(refused_about(&id))?),
    };
    let created = outcome == Imported::Created && !options.dry_run;
    let status = if created { StatusCode::CREATED } else { StatusCode::OK };
    Ok(answer::json(status, &PutReport { outcome, account }))
}

pub(super) async fn remove(call: Call) -> Result<Answer, Problem> {
    let id = call.account()?;
    let anyway = call.parameters(&["anyway"])?.flag("anyway")?;
    call.accounts().remove(&id, anyway).await.map_err(refused_about(&id))?;
    Ok(answer::nothing())
}

pub(super) async fn refresh(call: Call) -> Result<Answer, Problem> {
    let id = call.account()?;
    let wait = call.parameters(&["wait"])?.wait(USUAL_WAIT)?;
    let refreshed = call.patiently(wait, call.accounts().refresh(&id, wait)).await?;
    Ok(answer::json(StatusCode::OK, &refreshed.map_err(refused_about(&id))?))
}

pub(super) async fn log_out(call: Call) -> Result<Answer, Problem> {
    let id = call.account()?;
    call.parameters(&[])?;
    Ok(answer::json(StatusCode::OK, &call.accounts().log_out(&id).await.map_err(refused_about(&id))?))
}

pub(super) async fn resume(call: Call) -> Result<Answer, Problem> {
    let id = call.account()?;
    call.parameters(&[])?;
    Ok(answer::json(StatusCode::OK, &call.accounts().resume(&id).await.map_err(refused_about(&id))?))
}
