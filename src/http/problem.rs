//! Answers of our own. The one rule: they can be told from a marketplace's, and say what mends them.
//!
//! Each is `application/problem+json` (RFC 9457) with a stable `code` and an `action`, and carries `Proxy-Status`
//! (RFC 9209). None is a 404: a client that deletes what it is told is gone must never hear that from us.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use http_body_util::Full;
use serde::Serialize;

use super::gate::Violation;
use crate::names::{AccountName, AccountRef, AppName};

/// Stable codes of our own answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Code {
    /// The app has several accounts and the request names none.
    AccountRequired,
    /// Ambiguous path, or forms of naming that disagree.
    BadRoute,
    /// A request that cannot be passed on.
    BadRequest,
    /// No caller key, or an unknown one.
    CallerUnknown,
    /// A `Host` that is not ours.
    HostRefused,
    /// A request that a web page caused.
    BrowserRefused,
    /// A method that this door does not take.
    NotAllowed,
    /// A request that was meant for a forward proxy.
    NoForwardProxy,
    /// The request target is too long.
    TargetTooLong,
    /// The head is longer than `limits.head`, or has more fields than `limits.headers`.
    HeadTooLarge,
    /// The body is larger than `limits.body`.
    BodyTooLarge,
    /// The path names no app.
    NoSuchApp,
    /// The app has no such account.
    NoSuchAccount,
    /// No connection to the marketplace.
    UpstreamUnreachable,
    /// The marketplace broke off or answered nonsense.
    UpstreamBroken,
    /// No valid token in time.
    TokenUnavailable,
    /// No valid token before a person has connected the account again.
    LoginRequired,
    /// Too many requests wait already.
    Overloaded,
    /// The marketplace did not answer in time.
    UpstreamTimeout,
    /// A defect of ours.
    Internal,
    /// A word coined elsewhere, as stable as these.
    Own {
        /// The word in `code`.
        word: &'static str,
        /// The HTTP status; never 404.
        status: StatusCode,
    },
}

impl Code {
    /// All but those that were coined elsewhere.
    pub const KNOWN: &[Self] = &[
        Self::AccountRequired,
        Self::BadRoute,
        Self::BadRequest,
        Self::CallerUnknown,
        Self::HostRefused,
        Self::BrowserRefused,
        Self::NotAllowed,
        Self::NoForwardProxy,
        Self::TargetTooLong,
        Self::HeadTooLarge,
        Self::BodyTooLarge,
        Self::NoSuchApp,
        Self::NoSuchAccount,
        Self::UpstreamUnreachable,
        Self::UpstreamBroken,
        Self::TokenUnavailable,
        Self::LoginRequired,
        Self::Overloaded,
        Self::UpstreamTimeout,
        Self::Internal,
    ];

    /// The word in `code`.
    pub fn as_str(self) -> &'static str {
        self.row().0
    }

    /// The HTTP status.
    pub fn status(self) -> StatusCode {
        self.row().1
    }

    /// Word, status, RFC 9209 error type, title.
    fn row(self) -> (&'static str, StatusCode, &'static str, &'static str) {
        use StatusCode as S;
        match self {
            Self::AccountRequired => {
                ("account_required", S::BAD_REQUEST, "http_request_error", "The request must name an account")
            }
            Self::BadRoute => {
                ("bad_route", S::BAD_REQUEST, "http_request_error", "The request's target is ambiguous")
            }
            Self::BadRequest => {
                ("bad_request", S::BAD_REQUEST, "http_request_error", "The request cannot be passed on")
            }
            Self::CallerUnknown => {
                ("caller_unknown", S::UNAUTHORIZED, "http_request_denied", "The caller is not known")
            }
            Self::HostRefused => {
                ("host_refused", S::FORBIDDEN, "http_request_denied", "This host name is not served")
            }
            Self::BrowserRefused => {
                ("browser_refused", S::FORBIDDEN, "http_request_denied", "Web pages may not call")
            }
            Self::NotAllowed => {
                ("not_allowed", S::FORBIDDEN, "http_request_denied", "The caller may not do this")
            }
            Self::NoForwardProxy => {
                ("no_forward_proxy", S::BAD_REQUEST, "http_request_error", "This is no forward proxy")
            }
            Self::TargetTooLong => {
                ("target_too_long", S::URI_TOO_LONG, "http_request_error", "The request target is too long")
            }
            Self::HeadTooLarge => (
                "head_too_large",
                S::REQUEST_HEADER_FIELDS_TOO_LARGE,
                "http_request_error",
                "The request's head is too large",
            ),
            Self::BodyTooLarge => (
                "body_too_large",
                S::PAYLOAD_TOO_LARGE,
                "http_request_error",
                "The request body is too large",
            ),
            Self::NoSuchApp => ("no_such_app", S::BAD_REQUEST, "destination_not_found", "No such app"),
            Self::NoSuchAccount => {
                ("no_such_account", S::BAD_REQUEST, "destination_not_found", "No such account")
            }
            Self::UpstreamUnreachable => (
                "upstream_unreachable",
                S::BAD_GATEWAY,
                "destination_unavailable",
                "The marketplace cannot be reached",
            ),
            Self::UpstreamBroken => {
                ("upstream_broken", S::BAD_GATEWAY, "http_protocol_error", "The marketplace broke off")
            }
            Self::TokenUnavailable => (
                "token_unavailable",
                S::SERVICE_UNAVAILABLE,
                "destination_unavailable",
                "No valid access token",
            ),
            Self::LoginRequired => (
                "login_required",
                S::SERVICE_UNAVAILABLE,
                "destination_unavailable",
                "The account must be connected again",
            ),
            Self::Overloaded => {
                ("overloaded", S::SERVICE_UNAVAILABLE, "connection_limit_reached", "Too many requests wait")
            }
            Self::UpstreamTimeout => (
                "upstream_timeout",
                S::GATEWAY_TIMEOUT,
                "http_response_timeout",
                "The marketplace did not answer in time",
            ),
            Self::Internal => {
                ("internal", S::INTERNAL_SERVER_ERROR, "proxy_internal_error", "Marketgate failed")
            }
            Self::Own { word, status } => (word, status, error_type(status), title(status)),
        }
    }
}

/// The RFC 9209 error type of a status that stands for nothing more special.
fn error_type(status: StatusCode) -> &'static str {
    match status {
        StatusCode::BAD_GATEWAY => "destination_unavailable",
        StatusCode::SERVICE_UNAVAILABLE => "proxy_internal_response",
        _ if status.is_server_error() => "proxy_internal_error",
        _ => "http_request_error",
    }
}

/// What is wrong, as far as a status says so.
fn title(status: StatusCode) -> &'static str {
    match status {
        StatusCode::METHOD_NOT_ALLOWED => "The path takes another method",
        StatusCode::REQUEST_TIMEOUT => "The request did not arrive in time",
        StatusCode::CONFLICT => "It contradicts what is there",
        StatusCode::UNSUPPORTED_MEDIA_TYPE => "The body is of another type",
        StatusCode::BAD_GATEWAY => "The marketplace did not play its part",
        _ if status.is_server_error() => "Not possible now",
        _ => "What was sent cannot be used",
    }
}

/// One answer of our own.
#[derive(Debug, Clone)]
pub struct Problem {
    /// Its stable code.
    pub code: Code,
    /// What happened to this request.
    pub detail: String,
    /// What mends it.
    pub action: String,
    /// The app, and the account, once they are known.
    pub about: Option<Box<AccountRef>>,
    /// When asking again may help.
    pub retry_after: Option<Duration>,
    /// A more telling RFC 9209 error type than the code's usual one.
    pub error: Option<&'static str>,
}

/// The members of the problem document (RFC 9457 §3.1), with ours beside them.
#[derive(Serialize)]
struct Document<'a> {
    r#type: String,
    title: &'static str,
    status: u16,
    detail: &'a str,
    code: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    app: Option<&'a AppName>,
    #[serde(skip_serializing_if = "Option::is_none")]
    account: Option<&'a AccountName>,
    request_id: &'a str,
    action: &'a str,
}

impl Problem {
    /// An answer with a code, what happened and what mends it.
    pub fn new(code: Code, detail: impl Into<String>, action: impl Into<String>) -> Self {
        let (detail, action) = (detail.into(), action.into());
        Self { code, detail, action, about: None, retry_after: None, error: None }
    }

    /// The answer to a head that was refused.
    pub fn refused(violation: Violation) -> Self {
        let code = match violation {
            Violation::Connect => Code::NoForwardProxy,
            Violation::TargetTooLong => Code::TargetTooLong,
            Violation::HeadTooLong | Violation::TooManyFields => Code::HeadTooLarge,
            _ => Code::BadRequest,
        };
        Self::new(code, format!("the request is refused: {}", violation.sentence()), violation.help())
    }

    /// Names the account it is about.
    #[must_use]
    pub fn about(mut self, app: &AppName, account: Option<&AccountName>) -> Self {
        self.about = Some(Box::new(AccountRef { app: app.clone(), account: account.cloned() }));
        self
    }

    /// Says when asking again may help.
    #[must_use]
    pub fn retry_after(mut self, after: Duration) -> Self {
        self.retry_after = Some(after);
        self
    }

    /// The whole answer. `request` are the request's header fields: a client that prefers text gets text.
    pub fn answer(&self, request: &HeaderMap, request_id: &str) -> Response<Full<Bytes>> {
        let (content_type, body) = if prefers_text(request) {
            ("text/plain; charset=utf-8", self.text(request_id))
        } else {
            ("application/problem+json", self.document(request_id))
        };
        let mut response = Response::new(Full::new(Bytes::from(body)));
        *response.status_mut() = self.code.status();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert("proxy-status", self.proxy_status());
        if let Some(after) = self.retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(whole_seconds(after)));
        }
        if self.code == Code::CallerUnknown {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"marketgate\""));
        }
        response
    }

    fn document(&self, request_id: &str) -> String {
        let document = Document {
            r#type: format!("urn:marketgate:problem:{}", self.code.as_str()),
            title: self.code.row().3,
            status: self.code.status().as_u16(),
            detail: &self.detail,
            code: self.code.as_str(),
            app: self.about.as_ref().map(|about| &about.app),
            account: self.about.as_ref().and_then(|about| about.account.as_ref()),
            request_id,
            action: &self.action,
        };
        // Strings and numbers always serialise.
        serde_json::to_string(&document).unwrap_or_default() + "\n"
    }

    fn text(&self, request_id: &str) -> String {
        let (code, title) = (self.code.as_str(), self.code.row().3);
        format!(
            "marketgate: {title} ({code})\n{}\nwhat helps: {}\nrequest: {request_id}\n",
            self.detail, self.action
        )
    }

    fn proxy_status(&self) -> HeaderValue {
        let error = self.error.unwrap_or(self.code.row().2);
        proxy_status(&format!("error={error}"), &format!("{}: {}", self.code.as_str(), self.detail))
    }
}

/// A `Proxy-Status` member of ours (RFC 9209 §2): `parameter` as it is, `details` as a quoted string of printable ASCII.
pub fn proxy_status(parameter: &str, details: &str) -> HeaderValue {
    let printable = |c: char| if c == ' ' || c.is_ascii_graphic() { c } else { '?' };
    let details: String = details.chars().map(printable).take(400).collect();
    let details = details.replace('\\', "\\\\").replace('"', "\\\"");
    let value = format!("marketgate; {parameter}; details=\"{details}\"");
    HeaderValue::from_str(&value).unwrap_or_else(|_| HeaderValue::from_static("marketgate"))
}

/// Never zero: a client told to ask again at once would do so in a tight loop.
fn whole_seconds(after: Duration) -> u64 {
    (after.as_secs() + u64::from(after.subsec_nanos() > 0)).max(1)
}

fn prefers_text(request: &HeaderMap) -> bool {
    let accept: Vec<&str> = request.get_all(header::ACCEPT).iter().filter_map(|v| v.to_str().ok()).collect();
    let accept = accept.join(",").to_ascii_lowercase();
    quality(&accept, &["text/plain", "text/*"])
        > quality(&accept, &["application/problem+json", "application/json", "*/*"])
}

/// The best quality (RFC 9110 §12.4.2), in thousandths, that a list gives to any of the media types.
fn quality(accept: &str, types: &[&str]) -> u32 {
    let weight = |range: &str| {
        let mut parts = range.split(';').map(str::trim);
        let media_type = parts.next().unwrap_or_default();
        let q = parts.find_map(|p| p.strip_prefix("q=")).and_then(|q| q.parse::<f32>().ok()).unwrap_or(1.0);
        if types.contains(&media_type) { (q.clamp(0.0, 1.0) * 1000.0) as u32 } else { 0 }
    };
    accept.split(',').map(str::trim).map(weight).max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accepting(accept: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(header::ACCEPT, HeaderValue::from_str(accept).unwrap());
        headers
    }

    #[test]
    fn an_answer_of_ours_names_itself_the_mistake_and_the_mend() {
        let problem = Problem::new(Code::NoSuchApp, "no app `x\"\r\n`", "write /depop/…")
            .about(&"x".parse().unwrap(), None);
        let response = problem.answer(&HeaderMap::new(), "r-1");
        assert_eq!(response.status(), 400);
        assert_eq!(response.headers()["content-type"], "application/problem+json");
        let status = response.headers()["proxy-status"].to_str().unwrap();
        assert_eq!(
            status,
            r#"marketgate; error=destination_not_found; details="no_such_app: no app `x\"??`""#
        );
        let document: serde_json::Value = serde_json::from_str(&problem.document("r-1")).unwrap();
        assert_eq!(document["code"], "no_such_app");
        assert_eq!(document["action"], "write /depop/…");
        assert_eq!(document["request_id"], "r-1");
    }

    #[test]
    fn a_client_that_prefers_text_gets_text() {
        for text in ["text/plain", "text/plain, application/json;q=0.5", "text/*;q=0.9, */*;q=0.1"] {
            assert!(prefers_text(&accepting(text)), "{text}");
        }
        for json in [
            "*/*",
            "application/json",
            "application/json, text/plain, */*",
            "text/plain;q=0.5, application/json",
        ] {
            assert!(!prefers_text(&accepting(json)), "{json}");
        }
    }

    #[test]
    fn retry_after_is_never_zero() {
        assert_eq!(whole_seconds(Duration::ZERO), 1);
        assert_eq!(whole_seconds(Duration::from_millis(1200)), 2);
    }
}
