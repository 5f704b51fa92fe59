//! Many grants at once, one a line. The one rule: a bad line never stops the others, and nothing of a line but its account's
//! name is said or written anywhere.

use std::{collections::HashSet, sync::Arc, time::Duration};

use http::StatusCode;
use tokio::{task::JoinSet, time::Instant};

use super::{
    answer::{self, Answer},
    body,
    call::Call,
    document::{ImportReport, LineReport},
    refusal::{bad_request, refused},
};
use crate::{
    accounts::{
        Accounts, AccountsError,
        error::Refusal,
        import::{ImportOptions, Imported, NewGrant},
    },
    config::App,
    http::problem::{Code, Problem},
    names::{AccountId, AccountName},
};

/// Lines taken at once: the store commits them in groups.
const CHUNK: usize = 100;

/// Lines of one import.
const MOST_LINES: usize = 1000;

/// How long all first token calls together may take.
const VALIDATION: Duration = Duration::from_secs(60);

/// One line that may be taken in.
struct Line {
    at: usize,
    id: AccountId,
    grant: NewGrant,
}

pub(super) async fn import(call: Call) -> Result<Answer, Problem> {
    let parameters = call.parameters(&["app", "dry_run", "validate", "replace_identity", "again"])?;
    let app = parameters.name("app")?.ok_or_else(|| bad_request("`app` is missing", "write ?app=APP"))?;
    let app = call.accounts().app(&app).map_err(refused)?.clone();
    let (dry_run, replace_identity) = (parameters.flag("dry_run")?, parameters.flag("replace_identity")?);
    let again = parameters.flag("again")?;
    let validate = is_now(parameters.text("validate"), dry_run)?;
    let (mut results, lines) = read(&app, &call.body)?;
    take_in(call.accounts(), lines, ImportOptions { dry_run, replace_identity, again }, &mut results).await;
    if validate {
        // What was taken in is told in any case; an account without a state was not validated.
        drop(call.patiently(VALIDATION, prove(call.accounts(), &app, &mut results)).await);
    }
    Ok(answer::json(StatusCode::OK, &ImportReport { results }))
}

fn is_now(validate: Option<&str>, dry_run: bool) -> Result<bool, Problem> {
    match validate {
        None | Some("first-use") => Ok(false),
        Some("now") if dry_run => {
            Err(bad_request("a dry run takes nothing in that could be validated", "leave one of the two out"))
        }
        Some("now") => Ok(true),
        Some(other) => Err(bad_request(format!("`validate` cannot be {other:?}"), "write first-use or now")),
    }
}

/// Every line, refused or ready to be taken in; `at` is its place among the results.
fn read(app: &App, body: &[u8]) -> Result<(Vec<LineReport>, Vec<Line>), Problem> {
    let text = std::str::from_utf8(body)
        .map_err(|_| bad_request("the body is no UTF-8 text", "send it as UTF-8"))?;
    let written: Vec<(usize, &str)> =
        text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()).collect();
    if written.len() > MOST_LINES {
        let detail = format!("the body has more than {MOST_LINES} lines");
        return Err(Problem::new(Code::BodyTooLarge, detail, "send them in parts"));
    }
    let (mut results, mut lines, mut seen) = (Vec::new(), Vec::new(), HashSet::new());
    for (number, line) in written {
        let mut report = LineReport { line: number + 1, ..LineReport::default() };
        match read_line(app, line, &mut report.account, &mut seen) {
            Ok((id, grant)) => lines.push(Line { at: results.len(), id, grant }),
            Err(error) => report.refuse(error),
        }
        results.push(report);
    }
    Ok((results, lines))
}

fn read_line(
    app: &App,
    line: &str,
    account: &mut Option<String>,
    seen: &mut HashSet<AccountName>,
) -> Result<(AccountId, NewGrant), AccountsError> {
    let action = "write one JSON object a line, with `account` and the account's grant";
    let mut members = body::object(line.as_bytes()).map_err(|wrong| AccountsError::invalid(wrong, action))?;
    let named = members.remove("account").and_then(|name| name.as_str().map(str::to_owned));
    let named = named.ok_or_else(|| AccountsError::invalid("`account` is missing or no text", action))?;
    let name: AccountName =
        named.parse().map_err(|error| AccountsError::invalid(format!("`account`: {error}"), action))?;
    *account = Some(named);
    // An export names its app, and may come back as it is.
    if members.get("app").is_some_and(|named| named == app.name.as_str()) {
        members.remove("app");
    }
    if !seen.insert(name.clone()) {
        let detail = format!("`{name}` stands on an earlier line already");
        return Err(AccountsError::new(Refusal::Conflict, "twice", detail, "keep one of the lines"));
    }
    let grant = NewGrant::read(app, &members)?;
    Ok((AccountId { app: app.name.clone(), account: name }, grant))
}

async fn take_in(
    accounts: &Arc<Accounts>,
    lines: Vec<Line>,
    options: ImportOptions,
    results: &mut [LineReport],
) {
    let mut lines = lines.into_iter().peekable();
    while lines.peek().is_some() {
        let mut chunk = JoinSet::new();
        for Line { at, id, grant } in lines.by_ref().take(CHUNK) {
            let accounts = accounts.clone();
            chunk.spawn(async move { (at, accounts.import(&id, grant, options).await) });
        }
        while let Some(done) = chunk.join_next().await {
            match done {
                Ok((at, Ok(outcome))) => results[at].outcome = Some(outcome),
                Ok((at, Err(error))) => results[at].refuse(error),
                // Below.
                Err(_panicked) => {}
            }
        }
    }
    for report in results.iter_mut().filter(|report| report.outcome.is_none() && report.code.is_none()) {
        let action = "look at the log, and at the account, before repeating it";
        report.refuse(AccountsError::new(Refusal::Store, "internal", "this line failed half-way", action));
    }
}

/// One token call for each account that was taken in, and what came of it.
async fn prove(accounts: &Arc<Accounts>, app: &App, results: &mut [LineReport]) {
    let until = Instant::now() + VALIDATION;
    let mut calls = JoinSet::new();
    for (at, report) in results.iter().enumerate() {
        let new = matches!(report.outcome, Some(Imported::Created | Imported::Replaced));
        let name = report.account.as_ref().filter(|_| new).and_then(|name| name.parse().ok());
        let Some(account) = name else { continue };
        let (accounts, id) = (accounts.clone(), AccountId { app: app.name.clone(), account });
        let wait = until.saturating_duration_since(Instant::now());
        calls.spawn(async move { (at, accounts.refresh(&id, wait).await) });
    }
    while let Some(done) = calls.join_next().await {
        if let Ok((at, Ok(account))) = done {
            results[at].state = Some(account.state);
            results[at].trouble = account.trouble;
        }
    }
}

impl LineReport {
    fn refuse(&mut self, error: AccountsError) {
        self.code = Some(error.code.to_owned());
        self.detail = Some(error.detail);
        self.action = Some(error.action);
    }
}
