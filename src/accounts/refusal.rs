//! Why a seller was not connected, as the authorization server says it (RFC 6749 §4.1.2.1, OpenID Connect Core §3.1.2.6), and
//! what helps: pure, and by the server's own words where its code says too little.

use super::{AccountsError, consent::start_again, error::Refusal};
use crate::{config::App, names::AccountId};

/// The seller did not consent, or the server would not ask.
pub(super) fn denied(id: &AccountId, error: &str, description: Option<&str>) -> AccountsError {
    let words = description.map_or_else(String::new, |description| format!(": {description}"));
    let detail = match error {
        "access_denied" => format!("the seller did not consent ({error}{words})"),
        _ => format!("the marketplace refused the consent ({error}{words})"),
    };
    let action = helps(id, error, description.unwrap_or_default());
    AccountsError::new(Refusal::Marketplace, "consent_denied", detail, action)
}

/// A code brought an access token alone.
pub(super) fn no_refresh_token(app: &App) -> AccountsError {
    let detail =
        "the marketplace gave an access token without a refresh token: the seller could not stay connected";
    let asked = |wanted: &str| {
        let authorization = app.profile.authorization.as_ref();
        authorization.is_some_and(|a| a.scope.as_deref().unwrap_or_default().contains(wanted))
    };
    let action = if asked("offline_access") {
        "the scope offline_access was asked for: some servers grant it only after the seller was asked anew, with \
         authorize_params = { prompt = \"consent\" }, and only to clients that may use refresh tokens; look at how the app \
         is registered"
    } else {
        "ask for offline access, in the server's own way: the scope offline_access (OpenID Connect) with \
         authorize_params = { prompt = \"consent\" }, or authorize_params = { access_type = \"offline\", prompt = \"consent\" } \
         (Google); and look at how the app is registered"
    };
    AccountsError::new(Refusal::Marketplace, "no_refresh_token", detail, action)
}

/// What the server's words tell that its code does not.
const TOLD: [(&[&str], &str); 8] = [
    (
        &["pushed authorization", "par request", "par_required", "request_uri"],
        "the server demands pushed authorization requests (PAR, RFC 9126), which Marketgate cannot make: have them made \
         optional for this client",
    ),
    (
        &["request object", "signed request", "jar"],
        "the server demands signed authorization requests (JAR, RFC 9101), which Marketgate cannot make: have them made \
         optional for this client",
    ),
    (
        &["dpop"],
        "the server demands DPoP (RFC 9449), which Marketgate cannot do: have it made optional for this client",
    ),
    (&["authentication_expired", "login page", "page has expired"], "the login page ran out of time"),
    (&["code_challenge", "pkce", "code challenge"], "set `pkce` of the app as the server demands it"),
    (&["nonce"], "add \"openid\" to `scopes`, and Marketgate sends a nonce"),
    (&["response_mode", "response mode"], "leave `response_mode` out of authorize_url and authorize_params"),
    (
        &["redirect_uri", "redirect uri"],
        "write `redirect_uri` byte for byte as it is registered at the server",
    ),
];

fn helps(id: &AccountId, error: &str, description: &str) -> String {
    let again = start_again(id);
    let words = description.to_ascii_lowercase();
    let said = |wanted: &&str| {
        // `jar` is part of other words.
        words.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').any(|word| word == *wanted)
            || (wanted.len() > 3 && words.contains(wanted))
    };
    let told = TOLD.iter().find(|(words, _)| words.iter().any(said));
    if let Some((_, help)) = told.filter(|_| error != "access_denied") {
        return format!("{help}; then {again}");
    }
    let app = &id.app;
    match error {
        "invalid_scope" => {
            format!("set `scopes` of [apps.{app}] right, as the marketplace's portal has them; then {again}")
        }
        "invalid_request" => format!(
            "set `redirect_uri`, `scopes` and `pkce` of [apps.{app}] right, as the marketplace's portal has them; then {again}"
        ),
        "unauthorized_client" | "unsupported_response_type" => {
            format!("have the marketplace allow this client to ask sellers for consent; then {again}")
        }
        "login_required" | "interaction_required" | "consent_required" | "account_selection_required" => {
            format!(
                "the server would have had to show the seller a page and was told not to: remove prompt=none from \
             authorize_url or authorize_params of [apps.{app}]; then {again}"
            )
        }
        "request_not_supported" | "request_uri_not_supported" | "registration_not_supported" => {
            format!("take `request` and `request_uri` out of authorize_url of [apps.{app}]; then {again}")
        }
        "server_error" | "temporarily_unavailable" => {
            format!("the marketplace has trouble of its own: try later; {again}")
        }
        _ => again,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_server_demands_is_named_and_whether_marketgate_can_do_it() {
        let id = AccountId { app: "any".parse().unwrap(), account: "shop".parse().unwrap() };
        for (error, words, helps) in [
            ("access_denied", "the user said no to nonce", "start again: `marketgate login any@shop`"),
            (
                "invalid_request",
                "Pushed Authorization Request is required",
                "PAR, RFC 9126), which Marketgate cannot",
            ),
            ("invalid_request", "PAR request required.", "PAR, RFC 9126)"),
            ("invalid_request", "Request object is required", "JAR, RFC 9101), which Marketgate cannot"),
            ("invalid_request", "DPoP proof is missing", "DPoP (RFC 9449), which Marketgate cannot"),
            ("invalid_request", "Missing parameter: code_challenge_method", "set `pkce`"),
            ("invalid_request", "Missing parameter: nonce", "\"openid\" to `scopes`"),
            ("invalid_request", "Invalid parameter: redirect_uri", "byte for byte"),
            ("invalid_request", "a spar part of a jargon", "`redirect_uri`, `scopes` and `pkce`"),
            ("invalid_request", "", "`redirect_uri`, `scopes` and `pkce`"),
            (
                "temporarily_unavailable",
                "authentication_expired",
                "the login page ran out of time; then start again",
            ),
            ("temporarily_unavailable", "", "try later"),
            ("server_error", "boom", "try later"),
            ("login_required", "", "remove prompt=none"),
            ("interaction_required", "", "remove prompt=none"),
            ("consent_required", "", "remove prompt=none"),
            ("invalid_scope", "Invalid scopes: x", "set `scopes`"),
            ("unauthorized_client", "", "allow this client"),
            ("unsupported_response_mode", "response_mode jwt", "leave `response_mode` out"),
            ("something_of_its_own", "", "start again"),
        ] {
            let refusal = denied(&id, error, Some(words).filter(|words| !words.is_empty()));
            assert!(refusal.action.contains(helps), "{error}, {words}: {}", refusal.action);
            assert!(refusal.action.contains("marketgate login any@shop"), "{}", refusal.action);
            assert!(refusal.detail.contains(error), "{}", refusal.detail);
        }
    }
}
