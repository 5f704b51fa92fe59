//! Which account a request means, and what the upstream is asked for. The one rule: forms that disagree are refused,
//! never guessed at, and what follows the route prefix goes on byte for byte.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use http::{HeaderMap, HeaderName, Uri};

use super::addressed;
use crate::{
    accounts::Missing,
    config::{App, settings::FixedRoute},
    dots,
    http::problem::{Code, Problem},
    names::{AccountName, AppName, is_name},
    provider::GrantKind,
};

/// Names the app, for clients whose URL joining drops a base path.
pub static APP_HEADER: HeaderName = HeaderName::from_static("marketgate-app");
/// Names the account.
pub static ACCOUNT_HEADER: HeaderName = HeaderName::from_static("marketgate-account");

/// A request's app and account, and what is left of its target.
#[derive(Debug, Clone)]
pub struct Route<'a> {
    /// The app.
    pub app: &'a Arc<App>,
    /// The account, when it is named.
    pub account: Option<AccountName>,
    /// Path and query below the API's base, byte for byte; empty, or beginning with `/` or `?`.
    pub rest: &'a str,
    /// What stood before it: empty, or `/app` or `/app@account` as the caller wrote it.
    pub prefix: &'a str,
}

/// What a request says about its account, form by form.
struct Named<'a> {
    /// As it was written: perhaps no name at all.
    app: &'a str,
    account: Option<AccountName>,
    rest: &'a str,
    prefix: &'a str,
}

/// Finds the route of a request.
///
/// # Errors
/// A problem that names the mistake: no such app, forms that disagree, an ambiguous path.
pub fn find<'a>(
    apps: &'a BTreeMap<AppName, Arc<App>>,
    fixed: Option<&'a FixedRoute>,
    target: &'a Uri,
    headers: &'a HeaderMap,
) -> Result<Route<'a>, Problem> {
    addressed::refuse_unknown(headers)?;
    let target = origin_form(target)?;
    let app_header = selector(headers, &APP_HEADER)?;
    let account_header = selector(headers, &ACCOUNT_HEADER)?;
    let mut named = match (fixed, app_header) {
        (Some(fixed), app) => by_listener(apps, fixed, app, account_header, target)?,
        (None, Some(app)) => by_header(apps, app, account_header, target)?,
        (None, None) => by_prefix(apps, target)?,
    };
    named.account = agreed(named.account, account_header)?;
    let app = apps.get(named.app).ok_or_else(|| match app_header {
        Some(app) => no_such_app_header(apps, app),
        None => no_such_app(apps, named.app, target),
    })?;
    dots::refuse(named.rest).map_err(|why| climbing(why).about(&app.name, named.account.as_ref()))?;
    Ok(Route { app, account: named.account, rest: named.rest, prefix: named.prefix })
}

/// RFC 9112 §3.2.1: a path with its query. Anything else would name an authority, which is ours alone to say.
fn origin_form(target: &Uri) -> Result<&str, Problem> {
    let plain = target.scheme().is_none() && target.authority().is_none();
    let path = target.path_and_query().map(http::uri::PathAndQuery::as_str);
    path.filter(|path| plain && path.starts_with('/')).ok_or_else(|| {
        bad_route("the request target must be a path: its host would be ignored, so it is refused".to_owned())
    })
}

fn by_listener<'a>(
    apps: &BTreeMap<AppName, Arc<App>>,
    fixed: &'a FixedRoute,
    app: Option<&str>,
    account: Option<&str>,
    target: &'a str,
) -> Result<Named<'a>, Problem> {
    if let Some(app) = app.filter(|app| *app != fixed.app.as_str()) {
        let why = format!("this listener stands for `{}`, but Marketgate-App says `{app}`", fixed.app);
        return Err(bad_route(why));
    }
    let segment = first_segment(target);
    if names_account(segment) && split_at_sign(segment).is_some_and(|(app, _)| apps.contains_key(app)) {
        return Err(bad_route(format!("`/{}` is a prefix, and this listener takes none", shown(segment))));
    }
    check_own_path(segment, fixed.account.is_some() || account.is_some())?;
    Ok(Named { app: fixed.app.as_str(), account: fixed.account.clone(), rest: target, prefix: "" })
}

/// The path is the upstream's, unless it begins with an app of ours as well: the same one is the prefix form, another one
/// is a contradiction.
fn by_header<'a>(
    apps: &BTreeMap<AppName, Arc<App>>,
    app: &'a str,
    account: Option<&str>,
    target: &'a str,
) -> Result<Named<'a>, Problem> {
    let segment = first_segment(target);
    let (named, _) = split_at_sign(segment).unwrap_or((segment, ""));
    if !apps.contains_key(named) {
        check_own_path(segment, account.is_some())?;
        return Ok(Named { app, account: None, rest: target, prefix: "" });
    }
    match named == app {
        true => prefix_of(target),
        false => Err(bad_route(format!("the path names `{named}`, but Marketgate-App says `{app}`"))),
    }
}

fn by_prefix<'a>(apps: &BTreeMap<AppName, Arc<App>>, target: &'a str) -> Result<Named<'a>, Problem> {
    let named = prefix_of(target)?;
    if apps.contains_key(named.app) {
        Ok(named)
    } else {
        Err(no_such_app(apps, first_segment(target), target))
    }
}

/// `/{app}` or `/{app}@{account}`.
fn prefix_of(target: &str) -> Result<Named<'_>, Problem> {
    let segment = first_segment(target);
    let (prefix, rest) = target.split_at(1 + segment.len());
    let Some((app, account)) = split_at_sign(segment) else {
        return Ok(Named { app: segment, account: None, rest, prefix });
    };
    match account.parse() {
        Ok(account) if is_name(app) => Ok(Named { app, account: Some(account), rest, prefix }),
        _ => Err(no_prefix(segment)),
    }
}

/// What stands before and after the first `@`, which some clients encode.
fn split_at_sign(segment: &str) -> Option<(&str, &str)> {
    // Nearly every segment has neither.
    segment.bytes().position(|b| matches!(b, b'@' | b'%'))?;
    let splits = ["@", "%40"].into_iter().filter_map(|at| segment.split_once(at));
    splits.min_by_key(|(app, _)| app.len())
}

/// Whether a segment means to name an account, encoded twice at most.
fn names_account(segment: &str) -> bool {
    split_at_sign(segment).is_some() || segment.contains("%2540")
}

/// A path that is the upstream's own may begin like a prefix only where the account is named elsewhere: else a mistyped name
/// would be served as the default account.
fn check_own_path(segment: &str, is_named: bool) -> Result<(), Problem> {
    if is_named || !names_account(segment) { Ok(()) } else { Err(no_prefix(segment)) }
}

fn no_prefix(segment: &str) -> Problem {
    let detail =
        format!("the path begins with `/{}`, which is no APP@ACCOUNT of this Marketgate", shown(segment));
    let action = "write /APP@ACCOUNT/… with both names as they are configured: letters, digits, `.`, `_` and `-`. If the path \
        is the marketplace's own, name the account with Marketgate-Account";
    Problem::new(Code::BadRoute, detail, action)
}

fn shown(segment: &str) -> String {
    segment.chars().take(40).collect()
}

fn first_segment(target: &str) -> &str {
    let path = &target[1..];
    &path[..path.bytes().position(|b| matches!(b, b'/' | b'?')).unwrap_or(path.len())]
}

/// The one value of a header field that selects something.
fn selector<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<Option<&'a str>, Problem> {
    let mut values = headers.get_all(name).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(bad_route(format!("{name} is given more than once")));
    }
    let named = value.to_str().ok().map(str::trim).filter(|text| is_name(text));
    named.map(Some).ok_or_else(|| bad_route(format!("{name} holds no well-formed name")))
}

fn agreed(here: Option<AccountName>, there: Option<&str>) -> Result<Option<AccountName>, Problem> {
    match (here, there) {
        (Some(here), Some(there)) if here.as_str() != there => {
            Err(bad_route(format!("the route names account `{here}`, but Marketgate-Account says `{there}`")))
        }
        (Some(here), _) => Ok(Some(here)),
        // It was judged to be a name.
        (None, there) => Ok(there.and_then(|name| name.parse().ok())),
    }
}

/// Why the account of a route was not found.
pub fn missing(app: &App, named: Option<&AccountName>, missing: Missing) -> Problem {
    let problem = match missing {
        Missing::NoSuchAccount(name) => no_such_account(app, &name),
        Missing::NoneYet => {
            let action = format!(
                "connect the first one: `marketgate login {0}` or `marketgate import {0}@NAME`",
                app.name
            );
            Problem::new(Code::NoSuchAccount, format!("app `{}` has no account yet", app.name), action)
        }
        Missing::AccountRequired => {
            let action = format!("write /{}@ACCOUNT/…, or send Marketgate-Account", app.name);
            Problem::new(Code::AccountRequired, format!("app `{}` has several accounts", app.name), action)
        }
        Missing::Unfit(_, why) => {
            let action =
                "correct the app's or the account's settings; `marketgate accounts` shows the account's";
            Problem::new(Code::TokenUnavailable, why, action)
        }
        Missing::Store(error) => Problem::new(Code::TokenUnavailable, error.to_string(), error.action())
            .retry_after(Duration::from_secs(1)),
    };
    problem.about(&app.name, named)
}

/// The answer where an account was not found in the time that there is for a token.
pub fn not_found_in_time(app: &App, named: Option<&AccountName>, wait: Duration) -> Problem {
    let detail = format!(
        "the account is being changed, or the store does not answer: it was not found within {} s",
        wait.as_secs_f32()
    );
    let action = "ask again; `marketgate status` shows the account, and /readyz whether the store answers";
    Problem::new(Code::TokenUnavailable, detail, action)
        .retry_after(Duration::from_secs(1))
        .about(&app.name, named)
}

fn no_such_account(app: &App, name: &AccountName) -> Problem {
    let add = match app.profile.grant {
        GrantKind::AuthorizationCode => format!("connect it: `marketgate login {}@{name}`", app.name),
        _ if app.takes_accounts() => {
            format!("add [apps.{0}.accounts.{name}], or `marketgate import {0}@{name}`", app.name)
        }
        _ => format!("add [apps.{}.accounts.{name}]", app.name),
    };
    let action = format!("write an account of `{}`, or {add}", app.name);
    Problem::new(Code::NoSuchAccount, format!("app `{}` has no account `{name}`", app.name), action)
}

fn climbing(why: String) -> Problem {
    Problem::new(Code::BadRoute, why, "send the path it leads to, without `.` and `..` segments")
}

fn bad_route(why: String) -> Problem {
    Problem::new(
        Code::BadRoute,
        why,
        "write the route in one form: /APP/…, /APP@ACCOUNT/… or the Marketgate headers",
    )
}

fn no_such_app_header(apps: &BTreeMap<AppName, Arc<App>>, app: &str) -> Problem {
    let known = apps.keys().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
    let detail = format!("Marketgate-App says `{app}`, which is no app of this Marketgate");
    Problem::new(Code::NoSuchApp, detail, format!("name one of {known}, or add [apps.{app}]"))
}

/// The commonest cause by far is a client that joins URLs by RFC 3986 and so drops the base path.
fn no_such_app(apps: &BTreeMap<AppName, Arc<App>>, segment: &str, target: &str) -> Problem {
    let known = apps.keys().map(|name| format!("/{name}/")).collect::<Vec<_>>().join(", ");
    let detail = format!("the path begins with `/{}`, which is no app of this Marketgate", shown(segment));
    let owners: Vec<&AppName> = candidates(apps, target).collect();
    let action = match owners.as_slice() {
        [] => format!("begin the path with one of {known}, or send Marketgate-App"),
        [first, ..] => {
            let names = owners.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(" or ");
            format!(
                "this looks like a path of {names} whose prefix was dropped when URLs were joined: let the base URL end \
                 with `/{first}/` and join relative paths, or send `Marketgate-App: {first}`"
            )
        }
    };
    Problem::new(Code::NoSuchApp, detail, action)
}

/// Apps whose vendor has such paths; where no vendor is known to, a path that looks like an API's may be anybody's.
fn candidates<'a>(
    apps: &'a BTreeMap<AppName, Arc<App>>,
    target: &'a str,
) -> impl Iterator<Item = &'a AppName> {
    let known = apps.values().any(|app| has_path_like(app, target));
    let fits = move |app: &App, target: &str| {
        if known { has_path_like(app, target) } else { looks_like_api(target) }
    };
    apps.iter().filter(move |(_, app)| fits(app, target)).map(|(name, _)| name)
}

fn has_path_like(app: &App, target: &str) -> bool {
    let first = first_segment(target);
    app.profile.token_paths.iter().any(|path| first_segment(path) == first)
}

fn looks_like_api(target: &str) -> bool {
    let first = first_segment(target);
    let number = first.strip_prefix('v').unwrap_or_default();
    first == "api" || (!number.is_empty() && number.bytes().all(|b| b.is_ascii_digit()))
}
