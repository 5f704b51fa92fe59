//! Everything the admin door has. The one rule: what stands in this table exists, and nothing else does.

use std::pin::Pin;

use http::Method;

use super::{
    access::Needs, accounts, answer::Answer, body::Taken, call::Call, consents, grants, health, imports,
    openapi, stop, store,
};
use crate::{config::settings::Permission, http::problem::Problem};

/// An answer under way.
pub(super) type Answering = Pin<Box<dyn Future<Output = Result<Answer, Problem>> + Send>>;

/// One method of one path.
pub struct Route {
    /// The method; a GET answers HEAD too.
    pub method: Method,
    /// The path; `{name}` stands for one segment.
    pub path: &'static str,
    /// Who may.
    pub needs: Needs,
    /// What it brings.
    pub body: Taken,
    pub(super) answer: fn(Call) -> Answering,
}

const READ: Needs = Needs::Permission(Permission::AccountsRead);
const WRITE: Needs = Needs::Permission(Permission::AccountsWrite);
const EXPORT: Needs = Needs::Permission(Permission::AccountsExport);
const CONSENT: Needs = Needs::Permission(Permission::ConsentsWrite);

/// The table.
#[rustfmt::skip]
pub static ROUTES: &[Route] = &[
    get("/livez", Needs::Nothing, |call| Box::pin(health::live(call))),
    get("/readyz", Needs::Nothing, |call| Box::pin(health::ready(call))),
    get("/metrics", Needs::Address, |call| Box::pin(health::metrics(call))),
    get("/", Needs::NoPage, |call| Box::pin(health::index(call))),
    get("/api/openapi.json", READ, |call| Box::pin(openapi::show(call))),
    get("/api/accounts", READ, |call| Box::pin(accounts::list(call))),
    get("/api/accounts/{app}/{account}", READ, |call| Box::pin(accounts::show(call))),
    put("/api/accounts/{app}/{account}", WRITE, Taken::Json, |call| Box::pin(accounts::put(call))),
    delete("/api/accounts/{app}/{account}", WRITE, |call| Box::pin(accounts::remove(call))),
    post("/api/accounts/{app}/{account}/refresh", WRITE, Taken::Nothing, |call| Box::pin(accounts::refresh(call))),
    post("/api/accounts/{app}/{account}/logout", WRITE, Taken::Nothing, |call| Box::pin(accounts::log_out(call))),
    post("/api/accounts/{app}/{account}/resume", WRITE, Taken::Nothing, |call| Box::pin(accounts::resume(call))),
    post("/api/accounts/{app}/{account}/export", EXPORT, Taken::Nothing, |call| Box::pin(grants::export(call))),
    post("/api/accounts/{app}/{account}/token", EXPORT, Taken::Nothing, |call| Box::pin(grants::token(call))),
    post("/api/imports", WRITE, Taken::Lines, |call| Box::pin(imports::import(call))),
    post("/api/consents", CONSENT, Taken::Json, |call| Box::pin(consents::begin(call))),
    post("/api/consents/complete", CONSENT, Taken::Json, |call| Box::pin(consents::complete(call))),
    get("/api/consents/{id}", CONSENT, |call| Box::pin(consents::show(call))),
    post("/api/store/backup", Needs::Control, Taken::Json, |call| Box::pin(store::back_up(call))),
    post(stop::PATH, Needs::Permission(Permission::Stop), Taken::Nothing, |call| Box::pin(stop::stop(call))),
    post("/api/store/rekey", Needs::Control, Taken::Nothing, |call| Box::pin(store::rekey(call))),
];

const fn get(path: &'static str, needs: Needs, answer: fn(Call) -> Answering) -> Route {
    Route { method: Method::GET, path, needs, body: Taken::Nothing, answer }
}

const fn put(path: &'static str, needs: Needs, body: Taken, answer: fn(Call) -> Answering) -> Route {
    Route { method: Method::PUT, path, needs, body, answer }
}

const fn post(path: &'static str, needs: Needs, body: Taken, answer: fn(Call) -> Answering) -> Route {
    Route { method: Method::POST, path, needs, body, answer }
}

const fn delete(path: &'static str, needs: Needs, answer: fn(Call) -> Answering) -> Route {
    Route { method: Method::DELETE, path, needs, body: Taken::Nothing, answer }
}

/// Where a request leads.
pub(super) enum Found {
    /// To a route, with what the path's variables stand for.
    Route(&'static Route, Vec<String>),
    /// To a path that takes other methods.
    OtherMethods(Vec<&'static Method>),
    /// Nowhere.
    Nothing,
}

/// Finds the route of a request.
pub(super) fn find(method: &Method, path: &str) -> Found {
    let wanted = if method == Method::HEAD { &Method::GET } else { method };
    let mut others = Vec::new();
    for route in ROUTES {
        match captures(route.path, path) {
            Some(captures) if route.method == *wanted => return Found::Route(route, captures),
            Some(_) => others.push(&route.method),
            None => {}
        }
    }
    if others.is_empty() { Found::Nothing } else { Found::OtherMethods(others) }
}

/// What the variables of a pattern stand for in a path; None when the path is another one.
fn captures(pattern: &str, path: &str) -> Option<Vec<String>> {
    let (mut wanted, mut there) = (pattern.split('/'), path.split('/'));
    let mut captures = Vec::new();
    loop {
        match (wanted.next(), there.next()) {
            (None, None) => return Some(captures),
            (Some(variable), Some(segment)) if variable.starts_with('{') && !segment.is_empty() => {
                captures.push(segment.to_owned());
            }
            (Some(wanted), Some(segment)) if wanted == segment => {}
            _ => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_taken_segment_by_segment() {
        let of = |path: &str| captures("/api/accounts/{app}/{account}", path);
        assert_eq!(of("/api/accounts/a/b"), Some(vec!["a".to_owned(), "b".to_owned()]));
        for other in [
            "/api/accounts/a",
            "/api/accounts/a/",
            "/api/accounts//b",
            "/api/accounts/a/b/",
            "/API/accounts/a/b",
        ] {
            assert_eq!(of(other), None, "{other}");
        }
    }

    #[test]
    fn a_known_path_tells_which_methods_it_takes() {
        let Found::OtherMethods(methods) = find(&Method::PATCH, "/api/accounts/a/b") else { panic!() };
        assert_eq!(methods, [&Method::GET, &Method::PUT, &Method::DELETE]);
        assert!(matches!(find(&Method::HEAD, "/livez"), Found::Route(..)));
        assert!(
            matches!(find(&Method::POST, "/api/consents/complete"), Found::Route(route, _) if route.path.ends_with("complete"))
        );
        assert!(matches!(find(&Method::GET, "/api"), Found::Nothing));
    }

    #[test]
    fn whatever_brings_secrets_out_asks_for_leave_to_export() {
        for route in
            ROUTES.iter().filter(|route| route.path.ends_with("/export") || route.path.ends_with("/token"))
        {
            assert_eq!(route.needs, EXPORT);
        }
        for route in ROUTES.iter().filter(|route| route.path.starts_with("/api/store/")) {
            assert_eq!(route.needs, Needs::Control);
        }
        for route in ROUTES.iter().filter(|route| route.path.starts_with("/api/")) {
            assert!(matches!(route.needs, Needs::Permission(_) | Needs::Control), "{}", route.path);
        }
    }
}
