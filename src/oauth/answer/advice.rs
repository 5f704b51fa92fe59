//! What helps after a refusal: what the server demands, and whether Marketgate can do it. What is known is data, in one table.

use std::borrow::Cow;

use crate::{
    oauth::{
        form,
        request::{GrantRequest, TokenRequest},
        token_error::Class,
    },
    provider::ClientAuth,
};

/// Advice for a refusal whose code is one of these, or whose words hold one of these, without case.
struct Advice {
    codes: &'static [&'static str],
    contains: &'static [&'static str],
    advice: &'static str,
}

#[rustfmt::skip]
const ADVICE: &[Advice] = &[
    Advice {
        codes: &["use_dpop_nonce", "invalid_dpop_proof"],
        contains: &["dpop"],
        advice: "the server demands DPoP (RFC 9449), which Marketgate cannot do: have the client registered for plain \
                 bearer tokens",
    },
    Advice {
        codes: &["invalid_request_uri"],
        contains: &["pushed authorization", "par required", "require_pushed", "request_uri"],
        advice: "the server demands pushed authorization requests (RFC 9126), which Marketgate cannot do: have that \
                 switched off for this client",
    },
    Advice {
        codes: &[],
        contains: &["client_assertion", "client assertion", "private_key_jwt", "client_secret_jwt"],
        advice: "the server wants the client to sign its calls (RFC 7523), which Marketgate cannot do: register the \
                 client with a secret, for client_secret_basic or client_secret_post",
    },
    Advice {
        codes: &[],
        contains: &["tls_client_auth", "client certificate", "mutual tls", "mtls"],
        advice: "the server wants a client certificate (RFC 8705): write client_certificate = { cert = \"…\", key = \"…\" } for the \
                 app; beside it the client needs a secret",
    },
    Advice {
        codes: &[],
        contains: &["retrieve service account", "service account"],
        advice: "the client may not use client credentials: switch on \"Service account roles\" for it in Keycloak, or write \
                 grant = \"authorization_code\"",
    },
    Advice {
        codes: &[],
        contains: &["append_slash", "doesn't end in a slash"],
        advice: "write token_url with a slash at its end",
    },
    Advice {
        codes: &[],
        contains: &["'client_secret_basic', but", "must use client_secret_basic", "use http basic"],
        advice: "the server wants the client's credentials in the header: write client_auth = \"basic\"",
    },
    Advice {
        codes: &[],
        contains: &["'client_secret_post', but", "must use client_secret_post"],
        advice: "the server wants the client's credentials in the form: write client_auth = \"body\"",
    },
    Advice {
        codes: &[],
        contains: &["code_verifier", "code verifier", "code_challenge", "pkce"],
        advice: "check pkce: the server and the authorization request do not agree on it",
    },
    Advice {
        codes: &["redirect_uri_mismatch", "invalid_redirect_uri"],
        contains: &["redirect_uri", "redirect uri"],
        advice: "check redirect_uri: it has to be registered at the marketplace byte for byte",
    },
    Advice {
        codes: &["unsupported_grant_type"],
        contains: &[],
        advice: "the server does not offer this grant: check grant and token_url",
    },
    Advice {
        codes: &["invalid_target"],
        contains: &[],
        advice: "check `resource` or `audience` in token_request_params",
    },
];

/// What is known of a refusal.
pub(super) struct Case<'a> {
    pub(super) class: Class,
    pub(super) status: u16,
    pub(super) code: Option<&'a str>,
    /// All that the server says.
    pub(super) words: &'a str,
    pub(super) is_html: bool,
}

/// What helps; None where the class says all.
pub(super) fn advise(case: &Case<'_>, request: &TokenRequest<'_>) -> Option<Cow<'static, str>> {
    let words = case.words.to_lowercase();
    let fits = |advice: &&Advice| {
        case.code.is_some_and(|code| advice.codes.contains(&code))
            || advice.contains.iter().any(|text| words.contains(text))
    };
    let is_refusal = matches!(case.class, Class::Misconfigured | Class::InvalidClient | Class::Refused);
    let known = ADVICE
        .iter()
        .filter(|_| is_refusal || case.is_html)
        .find(fits)
        .map(|known| Cow::Borrowed(known.advice));
    known.or_else(|| by_code(case, request)).or_else(|| by_status(case).map(Cow::Borrowed))
}

fn by_code(case: &Case<'_>, request: &TokenRequest<'_>) -> Option<Cow<'static, str>> {
    let refreshes = matches!(request.grant, GrantRequest::RefreshToken(_));
    Some(match (case.class, case.code) {
        (Class::InvalidClient, _) => Cow::Borrowed(of_client(request)),
        (Class::Misconfigured, Some("unauthorized_client")) => Cow::Owned(format!(
            "allow the grant type `{}` for this client at the marketplace, or check grant",
            request.grant.grant_type()
        )),
        (Class::Misconfigured, Some("invalid_scope")) if refreshes => Cow::Borrowed(
            "the client may no longer have what the seller granted: write the scopes it may have into `scopes` and log in \
             again: marketgate login APP@ACCOUNT",
        ),
        (Class::Misconfigured, Some("invalid_scope")) => Cow::Borrowed(
            "check scopes: the server does not know them, or does not allow them for this client",
        ),
        _ => return None,
    })
}

/// A server that wants the credentials elsewhere says the same as for wrong ones.
fn of_client(request: &TokenRequest<'_>) -> &'static str {
    let changes = |text: &str| form::encode(text) != text;
    match request.endpoint.client_auth {
        ClientAuth::Basic if changes(request.client_id) || changes(request.client_secret.expose()) => {
            "check client_id and client_secret, and whether the secret has expired; they hold characters that form encoding \
             changes (RFC 6749 section 2.3.1), and servers that do not decode it want client_auth = \"basic-raw\", others \
             client_auth = \"body\""
        }
        ClientAuth::Basic | ClientAuth::BasicRaw => {
            "check client_id and client_secret, that they belong to this environment, and whether the secret has expired; \
             some servers want client_auth = \"body\""
        }
        ClientAuth::Body => {
            "check client_id and client_secret, that they belong to this environment, and whether the secret has expired; \
             some servers want client_auth = \"basic\""
        }
    }
}

fn by_status(case: &Case<'_>) -> Option<&'static str> {
    let is_refusal = case.class == Class::Misconfigured;
    Some(match case.status {
        _ if case.class == Class::Ambiguous && case.is_html => {
            "a page for people came in place of tokens: check token_url, and whether a login page or a portal of the \
             network stands between"
        }
        404 | 410 if is_refusal => "there is no token endpoint: check token_url",
        405 if is_refusal => "check token_url: it takes no POST, and may lack its path or a slash at its end",
        407 => "the forward proxy wants credentials: write them into upstream.proxy_url",
        406 if is_refusal => {
            "the server cannot answer with JSON: set another Accept in token_request_headers"
        }
        415 if is_refusal => {
            "the server takes no form (RFC 6749 section 4): check token_url; a server that wants JSON cannot be served by \
             this version"
        }
        403 if case.is_html && is_refusal => {
            "a firewall or a proxy refused the call before the token endpoint saw it: ask whoever runs it to let it pass"
        }
        _ => return None,
    })
}
