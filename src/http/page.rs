//! The page a person sees after a consent. The one rule: whatever came from outside is text on it, and it needs nothing
//! from anywhere: no script, no picture, no other address.

use std::sync::LazyLock;

use askama::Template;
use base64::{Engine, prelude::BASE64_STANDARD};
use bytes::Bytes;
use http::{HeaderName, HeaderValue, Response, StatusCode, header};
use http_body_util::Full;

use crate::{
    accounts::{AccountsError, consent::Connected},
    secret::sha256,
};

const STYLE: &str = "body{font:1rem/1.5 system-ui,sans-serif;max-width:36rem;margin:4rem auto;padding:0 1rem;\
    color:#1b1b1b;background:#fff}h1{font-size:1.5rem}code{overflow-wrap:anywhere}p.helps{border-left:.25rem solid \
    #2a6f97;padding-left:1rem}footer{margin-top:3rem;font-size:.875rem;color:#595959}\
    @media(prefers-color-scheme:dark){body{color:#e8e8e8;background:#161616}footer{color:#a3a3a3}}";

/// The style is allowed by its digest (CSP Level 3 §2.3.1), so that no other one is.
static POLICY: LazyLock<HeaderValue> = LazyLock::new(|| {
    let digest = BASE64_STANDARD.encode(sha256(STYLE));
    let policy = format!(
        "default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    );
    HeaderValue::from_str(&policy).unwrap_or_else(|_| HeaderValue::from_static("default-src 'none'"))
});

/// One page: what happened, in which words, and what helps.
#[derive(Template)]
#[template(
    ext = "html",
    source = r#"<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{ title }} – Marketgate</title>
<style>{{ style|safe }}</style>
</head>
<body>
<main>
<h1>{{ title }}</h1>
{%- for line in lines %}
<p>{{ line }}</p>
{%- endfor %}
{%- if let Some(helps) = helps %}
<p class="helps">{% for (is_code, part) in helps %}{% if *is_code %}<code>{{ part }}</code>{% else %}{{ part }}{% endif %}{% endfor %}</p>
{%- endif %}
</main>
<footer>Marketgate</footer>
</body>
</html>
"#
)]
struct Page<'a> {
    title: &'a str,
    style: &'static str,
    lines: Vec<String>,
    helps: Option<Vec<(bool, &'a str)>>,
}

impl Page<'_> {
    fn html(&self) -> String {
        // Writing to a String cannot fail, and no part of the page is computed while it is written.
        self.render().unwrap_or_default()
    }
}

/// What became of a consent.
pub fn outcome(outcome: &Result<Connected, AccountsError>) -> String {
    match outcome {
        Ok(connected) => {
            let lines = told(connected);
            Page { title: "Connected", style: STYLE, lines, helps: None }.html()
        }
        Err(error) => {
            let (lines, helps) = (vec![sentence(&error.detail)], Some(spans(&error.action)));
            let stored_later = error.code == "not_stored_yet";
            let title = if stored_later { "Connected, but not stored yet" } else { "Not connected" };
            Page { title, style: STYLE, lines, helps }.html()
        }
    }
}

/// A page that says one thing.
pub fn note(title: &str, text: &str) -> String {
    Page { title, style: STYLE, lines: vec![text.to_owned()], helps: None }.html()
}

/// A page as an answer that no cache keeps, no other page frames, and no link on it tells of.
pub fn answer(status: StatusCode, html: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(html)));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    headers.insert(header::CONTENT_SECURITY_POLICY, POLICY.clone());
    protect(headers);
    response
}

/// What every answer carries that has to do with a callback.
pub fn protect(headers: &mut http::HeaderMap) {
    let fixed: [(HeaderName, &'static str); 3] = [
        (header::CACHE_CONTROL, "no-store"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    for (name, value) in fixed {
        headers.insert(name, HeaderValue::from_static(value));
    }
}

fn told(connected: &Connected) -> Vec<String> {
    let mut lines = vec![match &connected.identity {
        Some(identity) => {
            format!("{} is connected; the marketplace knows the seller as {identity}.", connected.account)
        }
        None => format!("{} is connected.", connected.account),
    }];
    if let Some(proof) = &connected.proof {
        lines.push(match (proof.accepted, proof.status) {
            (true, _) => "A first call to the marketplace succeeded.".to_owned(),
            (false, Some(status)) => {
                format!("But a first call, of {}, was answered with {status}.", proof.path)
            }
            (false, None) => format!("But a first call, of {}, was not answered.", proof.path),
        });
    }
    lines.extend(
        connected
            .login_required_by
            .as_ref()
            .map(|by| format!("The marketplace wants the seller to log in again by {by}.")),
    );
    lines.push("You can close this page.".to_owned());
    lines
}

fn sentence(detail: &str) -> String {
    let mut letters = detail.chars();
    let first: String = letters.next().into_iter().flat_map(char::to_uppercase).collect();
    format!("{first}{}.", letters.as_str())
}

/// The parts of a text that stand between backticks, and those that do not.
fn spans(text: &str) -> Vec<(bool, &str)> {
    text.split('`').enumerate().map(|(number, part)| (number % 2 == 1, part)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::accounts::error::Refusal;

    #[test]
    fn what_a_marketplace_said_is_text_on_the_page_and_nothing_else() {
        let said = "the seller did not consent (access_denied: <script>alert('x')</script>&amp;\")";
        let error = AccountsError::new(
            Refusal::Marketplace,
            "consent_denied",
            said,
            "start again: `marketgate login a@b`",
        );
        let page = outcome(&Err(error));
        assert!(!page.contains("<script"), "{page}");
        assert!(page.contains("&#60;script&#62;") && page.contains("&#38;amp;"), "{page}");
        assert!(page.contains("start again: <code>marketgate login a@b</code>"), "{page}");
    }

    #[test]
    fn a_page_names_no_other_address_and_allows_its_own_style_alone() {
        let connected = Connected {
            account: "depop@shop-1".into(),
            identity: Some("<b>".into()),
            token_expires_at: "2026-01-01T00:00:00Z".into(),
            login_required_by: None,
            proof: None,
        };
        let html = outcome(&Ok(connected));
        assert!(!html.contains("http") && !html.contains("<b>"), "{html}");
        let style = html.split_once("<style>").unwrap().1.split_once("</style>").unwrap().0;
        let digest = BASE64_STANDARD.encode(sha256(style));
        let response = answer(StatusCode::OK, html.clone());
        let policy = response.headers()["content-security-policy"].to_str().unwrap().to_owned();
        assert!(policy.starts_with("default-src 'none'; ") && policy.contains(&digest), "{policy}");
    }
}
