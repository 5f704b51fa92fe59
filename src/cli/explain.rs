//! `marketgate explain`.

use std::{collections::BTreeMap, fmt::Write as _, time::Duration};

use clap::Args;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri, header::HOST};
use serde::Serialize;

use super::{
    Exit, Failure, Output, Place, admin_client::AdminClient, place::UNKNOWN, run::block_on, streams,
};
use crate::{
    accounts::{AccountDocument, Missing},
    config::{Account, App, Client, Credentials, Settings},
    http::{
        gate::Violation,
        problem::{Code, Problem},
    },
    names::AccountName,
    provider::Dressing,
    proxy::{guard::Guard, headers, outgoing, placeholder, route},
};

/// Arguments of `explain`.
#[derive(Debug, Args)]
pub struct ExplainArguments {
    /// The request's method
    method: String,
    /// Its path and query as a client would send them, such as /walmart/v3/items
    path: String,
    /// A header the client sends, such as 'Marketgate-Account: shop-42'
    #[arg(long, short = 'H', value_name = "FIELD")]
    header: Vec<String>,
    /// URL of the admin door to ask for the token's fingerprint [default: admin.listen of the configuration]
    #[arg(long, value_name = "URL")]
    server: Option<String>,
}

/// What would happen to a request.
#[derive(Debug, Serialize)]
struct Explanation {
    app: String,
    account: String,
    provider: String,
    environment: String,
    method: String,
    url: String,
    headers: Vec<(String, String)>,
    answered_here: bool,
    token: String,
}

/// Prints route, upstream URL and headers of a request; nothing is sent to a marketplace.
///
/// # Errors
/// A request the proxy would refuse, with the proxy's own words.
pub fn run(place: &Place, arguments: &ExplainArguments) -> Result<(), Failure> {
    // No secret is needed for what is shown.
    let settings = place.outline()?;
    let explanation = explain(place, &settings, arguments)?;
    match place.output {
        Output::Text => streams::data(text(&explanation).trim_end()),
        // Strings and lists of them always serialise.
        Output::Json => streams::data(serde_json::to_string_pretty(&explanation).unwrap_or_default()),
    }
    Ok(())
}

fn explain(place: &Place, settings: &Settings, arguments: &ExplainArguments) -> Result<Explanation, Failure> {
    let method = Method::from_bytes(arguments.method.as_bytes()).map_err(|_| {
        usage(&format!("`{}` is no method: that comes first, then the path", arguments.method))
    })?;
    if !arguments.path.starts_with('/') && !arguments.path.contains("://") {
        return Err(usage("the path must begin with `/`, as in a client's request"));
    }
    let uri: Uri =
        arguments.path.parse().map_err(|_| usage(&format!("`{}` is no request target", arguments.path)))?;
    let sent = sent_headers(&arguments.header)?;
    let route = route::find(&settings.apps, None, &uri, &sent);
    guard(settings, &method, &sent, route.as_ref().ok())?;
    let route = route.map_err(refused)?;
    let account = account(settings, route.app, route.account.as_ref()).map_err(refused)?;
    let profile = &route.app.profile;
    // A header may be made of the client secret: who reads an explanation need not know it.
    let dressing = Dressing::new(profile, |name| match name {
        "client_secret" => Some("(client_secret)".into()),
        _ => account.setting(name),
    });
    let secrets: Vec<HeaderValue> = dressing.secrets().to_vec();
    let mut fields = headers::clean_request(&sent, profile, &dressing);
    dressing.dress(&mut fields, || "(a new UUID)".to_owned());
    let target = outgoing::target(profile.api.base_path(), route.rest)
        .ok_or_else(|| usage("the target is too long"))?;
    let token = fingerprint(place, arguments, &account);
    fields.remove(HOST);
    let mut shown = vec![("host".to_owned(), profile.api.authority.to_string())];
    shown.extend(fields.iter().map(|(name, value)| (name.to_string(), shown_value(value, &secrets))));
    shown.push((profile.token_header.to_string(), format!("{}<token {token}>", profile.token_prefix)));
    Ok(Explanation {
        app: route.app.name.to_string(),
        account: account.id.account.to_string(),
        provider: profile.provider.clone(),
        environment: profile.environment.clone(),
        answered_here: placeholder::is_asked_for(&route, &method),
        method: method.to_string(),
        url: format!("{}{target}", profile.api.origin()),
        headers: shown,
        token,
    })
}

/// What `run` would say before it looks at the route. A caller's key need not be shown here.
fn guard(
    settings: &Settings,
    method: &Method,
    sent: &HeaderMap,
    route: Option<&route::Route<'_>>,
) -> Result<(), Failure> {
    if *method == Method::CONNECT {
        return Err(refused(Problem::refused(Violation::Connect)));
    }
    let guard = Guard::new(&settings.proxy, &settings.callers);
    let token_header = route.map(|route| &route.app.profile.token_header);
    match guard.admit(method, sent, token_header) {
        Err(problem) if problem.code == Code::CallerUnknown => Ok(()),
        Err(problem) => Err(refused(problem)),
        Ok(_) => Ok(()),
    }
}

/// The account of the configuration, or one of the store as far as the configuration tells of it.
fn account(settings: &Settings, app: &App, named: Option<&AccountName>) -> Result<Account, Problem> {
    let written = match named {
        Some(name) => app.accounts.get(name),
        None => app.implicit_account(),
    };
    if let Some(account) = written {
        return Ok(Account::clone(account));
    }
    let missing = |missing| route::missing(app, named, missing);
    let may_be_stored = app.takes_accounts() && settings.store.is_some();
    if !may_be_stored || (named.is_none() && !app.accounts.is_empty()) {
        return Err(missing(match named {
            Some(name) => Missing::NoSuchAccount(name.clone()),
            None => Missing::AccountRequired,
        }));
    }
    let name = named.cloned().unwrap_or_else(AccountName::implicit);
    let nothing = Credentials::Client { id: String::new(), secrets: Vec::new() };
    let credentials = app.client.as_ref().map_or(nothing, Client::credentials);
    app.account_with(name.clone(), credentials, BTreeMap::new())
        .map_err(|why| missing(Missing::Unfit(name, why)))
}

/// A header that is a credential, by what it is made of or by its name, is not for everybody who reads an explanation.
fn shown_value(value: &HeaderValue, secrets: &[HeaderValue]) -> String {
    if secrets.contains(value) && !value.as_bytes().starts_with(b"(") {
        return "(a secret)".to_owned();
    }
    String::from_utf8_lossy(value.as_bytes()).replace(UNKNOWN, "(not set here)")
}

/// What a client sends, with the `Host` that it would send if it says none.
fn sent_headers(fields: &[String]) -> Result<HeaderMap, Failure> {
    let mut headers = HeaderMap::new();
    for field in fields {
        let (name, value) = field
            .split_once(':')
            .ok_or_else(|| usage(&format!("`{field}` is no header: write it as 'Name: value'")))?;
        let name: HeaderName =
            name.trim().parse().map_err(|_| usage(&format!("`{field}` begins with no header name")))?;
        let value: HeaderValue =
            value.trim().parse().map_err(|_| usage(&format!("`{field}` ends with no header value")))?;
        headers.append(name, value);
    }
    headers.entry(HOST).or_insert(HeaderValue::from_static("localhost"));
    Ok(headers)
}

/// A static key is at hand; any other token only the running Marketgate knows.
fn fingerprint(place: &Place, arguments: &ExplainArguments, account: &Account) -> String {
    if let Credentials::Key(source) = &account.credentials {
        return match source.read() {
            Ok(key) if key.expose() == UNKNOWN => "not known here: its variable is not set".to_owned(),
            Ok(key) => key.fingerprint().to_string(),
            Err(error) => error.to_string(),
        };
    }
    let unknown = "not known here: asked for at the first request";
    let Ok(client) = place.server(arguments.server.as_deref()).and_then(|server| AdminClient::new(&server))
    else {
        return unknown.to_owned();
    };
    let path = format!("/api/accounts/{}/{}", account.id.app, account.id.account);
    let asked =
        block_on(async { Ok(client.document::<AccountDocument>(&path, Duration::from_secs(2)).await?) });
    asked.ok().and_then(|account| account.token).map_or_else(|| unknown.to_owned(), |token| token.fingerprint)
}

fn text(explanation: &Explanation) -> String {
    let e = explanation;
    let mut out = format!("app {}, account {} ({}, {})\n", e.app, e.account, e.provider, e.environment);
    if e.answered_here {
        out.push_str("a token path: answered by Marketgate with a placeholder, nothing is sent\n");
        return out;
    }
    // Writing to a String cannot fail.
    let _ = writeln!(out, "\n{} {}", e.method, e.url);
    for (name, value) in &e.headers {
        let _ = writeln!(out, "{name}: {value}");
    }
    out
}

fn usage(message: &str) -> Failure {
    Failure::new(Exit::Usage, message).mend("marketgate explain GET /walmart/v3/items")
}

fn refused(problem: Problem) -> Failure {
    let status = problem.code.status().as_u16();
    Failure::new(
        Exit::Failure,
        format!("refused with {status} {}: {}", problem.code.as_str(), problem.detail),
    )
    .mend(problem.action)
}
