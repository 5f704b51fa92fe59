//! Every shape of answer that a token endpoint has been seen or feared to give, and how it is sorted. The rule: a row a
//! shape; whoever meets a new one adds a row.

use std::time::{Duration, SystemTime};

use http::{HeaderMap, HeaderName, StatusCode};
use marketgate::{
    oauth::{Answer, Class, GrantRequest, Granted, TokenError, sort},
    secret::Secret,
};
use proptest::prelude::*;

use Class::{Ambiguous, InvalidClient, InvalidGrant, Misconfigured, ServerTrouble, Throttled};
use Shown::{Client, Code, Refresh};

/// What the call showed.
#[derive(Debug, Clone, Copy)]
enum Shown {
    Client,
    Refresh,
    Code,
}

const REFRESH_TOKEN: &str = "old-refresh-token";
const CLIENT_SECRET: &str = "client-s3cret";

struct Reply<'a> {
    status: u16,
    headers: &'a [(&'a str, &'a str)],
    body: &'a [u8],
}

fn sorted(shown: Shown, reply: &Reply<'_>) -> Result<Granted, TokenError> {
    let mut headers = HeaderMap::new();
    for (name, value) in reply.headers {
        headers.append(name.parse::<HeaderName>().unwrap(), value.parse().unwrap());
    }
    let status = StatusCode::from_u16(reply.status).unwrap();
    let answer = Answer { status, headers: &headers, body: reply.body, received: SystemTime::now() };
    let (refresh, code) = (Secret::new(REFRESH_TOKEN), Secret::new("the-code"));
    let grant = match shown {
        Client => GrantRequest::ClientCredentials,
        Refresh => GrantRequest::RefreshToken(&refresh),
        Code => {
            GrantRequest::AuthorizationCode { code: &code, redirect_uri: "http://localhost/", verifier: None }
        }
    };
    sort(&answer, &grant, &Secret::new(CLIENT_SECRET))
}

fn refused(shown: Shown, status: u16, body: &str) -> TokenError {
    sorted(shown, &Reply { status, headers: &[], body: body.as_bytes() }).unwrap_err()
}

fn granted(shown: Shown, body: &str) -> Granted {
    sorted(shown, &Reply { status: 200, headers: &[], body: body.as_bytes() })
        .unwrap_or_else(|e| panic!("{body}: {e}"))
}

const TOKEN: &str = r#"{"access_token":"t","expires_in":900}"#;

type Row = (&'static str, Shown, u16, &'static [(&'static str, &'static str)], &'static [u8], Class);

/// name · what was shown · status · headers · body · class
#[rustfmt::skip]
const REFUSALS: &[Row] = &[
    // RFC 6749 §5.2, one by one.
    ("a spent refresh token", Refresh, 400, &[], br#"{"error":"invalid_grant"}"#, InvalidGrant),
    ("Keycloak: reuse noticed", Refresh, 400, &[], br#"{"error":"invalid_grant","error_description":"Maximum allowed refresh token reuse exceeded"}"#, InvalidGrant),
    ("Keycloak: session gone", Refresh, 400, &[], br#"{"error":"invalid_grant","error_description":"Session not active"}"#, InvalidGrant),
    ("a late code", Code, 400, &[], br#"{"error":"invalid_grant","error_description":"Code not valid"}"#, InvalidGrant),
    ("invalid_grant with 401", Refresh, 401, &[], br#"{"error":"invalid_grant"}"#, InvalidGrant),
    ("invalid_grant with 403", Refresh, 403, &[], br#"{"error":"invalid_grant"}"#, InvalidGrant),
    ("invalid_grant with 200", Refresh, 200, &[], br#"{"error":"invalid_grant"}"#, InvalidGrant),
    ("invalid_grant where there is no grant", Client, 400, &[], br#"{"error":"invalid_grant"}"#, InvalidClient),
    ("invalid_grant in a server failure", Refresh, 500, &[], br#"{"error":"invalid_grant"}"#, ServerTrouble),
    ("invalid_grant in a throttling", Refresh, 429, &[], br#"{"error":"invalid_grant"}"#, Throttled),
    ("invalid_grant cut short", Refresh, 400, &[], br#"{"error":"invalid_gran"#, InvalidClient),
    ("invalid_grant in capitals is not the standard code", Refresh, 400, &[], br#"{"error":"INVALID_GRANT"}"#, Misconfigured),
    ("invalid_grant and another error", Refresh, 400, &[], br#"{"error":"invalid_grant","error":"invalid_scope"}"#, InvalidClient),
    ("invalid_grant in a description", Refresh, 400, &[], br#"{"error":"other","error_description":"invalid_grant"}"#, Misconfigured),
    ("invalid_grant after a byte order mark", Refresh, 400, &[], b"\xef\xbb\xbf{\"error\":\"invalid_grant\"}", InvalidGrant),
    ("invalid_grant with a Latin-1 description", Refresh, 400, &[], b"{\"error\":\"invalid_grant\",\"error_description\":\"expir\xe9\"}", InvalidGrant),
    ("invalid_grant compressed", Refresh, 400, &[("content-encoding", "gzip")], br#"{"error":"invalid_grant"}"#, InvalidClient),
    ("a wrong secret", Client, 401, &[("www-authenticate", "Basic")], br#"{"error":"invalid_client"}"#, InvalidClient),
    ("a wrong secret with 400", Refresh, 400, &[], br#"{"error":"invalid_client"}"#, InvalidClient),
    ("a wrong secret with 200", Client, 200, &[], br#"{"error":"invalid_client"}"#, InvalidClient),
    ("Keycloak: a wrong secret", Refresh, 401, &[], br#"{"error":"unauthorized_client","error_description":"Invalid client or Invalid client credentials"}"#, InvalidClient),
    ("a grant type not allowed for the client", Client, 400, &[], br#"{"error":"unauthorized_client"}"#, Misconfigured),
    ("a missing parameter", Client, 400, &[], br#"{"error":"invalid_request"}"#, Misconfigured),
    ("an unknown grant type", Client, 400, &[], br#"{"error":"unsupported_grant_type"}"#, Misconfigured),
    ("an unknown scope", Client, 400, &[], br#"{"error":"invalid_scope"}"#, Misconfigured),
    ("a redirect address that is not registered", Code, 400, &[], br#"{"error":"redirect_uri_mismatch"}"#, Misconfigured),
    ("a server that is busy, in words", Client, 400, &[], br#"{"error":"temporarily_unavailable"}"#, ServerTrouble),
    ("a server that fails, in words", Client, 400, &[], br#"{"error":"server_error"}"#, ServerTrouble),
    ("a server that wants fewer calls, in words", Client, 400, &[], br#"{"error":"slow_down"}"#, Throttled),
    // Vendors.
    ("Depop: a wrong secret", Refresh, 401, &[], br#"{"code":401,"error":"client secret does not match","message":"Depop OAuth2 error"}"#, InvalidClient),
    ("Depop: a wrong PKCE verifier", Code, 400, &[], br#"{"code":400,"error":"invalid_request","message":"Depop OAuth2 error"}"#, Misconfigured),
    ("Walmart: a bare 400", Client, 400, &[], b"", InvalidClient),
    ("Walmart: a bare 400 in words", Client, 400, &[], b"Bad Request", InvalidClient),
    ("Walmart: 401 as a list", Client, 401, &[], br#"{"error":[{"code":"UNAUTHORIZED.GMP_GATEWAY_API","field":"UNAUTHORIZED","description":"Unauthorized","severity":"ERROR"}]}"#, InvalidClient),
    ("Walmart: 401 as another list", Client, 401, &[], br#"{"errors":[{"code":"UNAUTHORIZED.GMP_GATEWAY_API"}]}"#, InvalidClient),
    ("Walmart: 401 in XML", Client, 401, &[], b"<ns2:errors xmlns:ns2='u'><ns2:error><ns2:code>UNAUTHORIZED.GMP_GATEWAY_API</ns2:code></ns2:error></ns2:errors>", InvalidClient),
    ("Walmart: a missing header", Client, 400, &[], br#"{"error":[{"code":"INVALID_REQUEST_HEADER.GMP_GATEWAY_API","description":"WM_SVC.NAME set blank or null"}]}"#, Misconfigured),
    ("Walmart: a missing header, in XML", Client, 400, &[], b"<errors><error><code>INVALID_REQUEST_HEADER.GMP_GATEWAY_API</code></error></errors>", Misconfigured),
    ("Walmart: 520", Client, 520, &[], br#"{"error":[{"code":"SYSTEM_ERROR.GMP_GATEWAY_API"}]}"#, ServerTrouble),
    // Other statuses.
    ("a bare 401", Client, 401, &[], b"", InvalidClient),
    ("an HTML 401", Client, 401, &[], b"<html>401</html>", InvalidClient),
    ("an HTML 400", Client, 400, &[], b"<html>400 The plain HTTP request was sent to HTTPS port</html>", Misconfigured),
    ("forbidden", Client, 403, &[], b"", Misconfigured),
    ("a wrong token_url", Client, 404, &[], b"<!doctype html>", Misconfigured),
    ("a token_url without its final slash", Refresh, 405, &[("allow", "GET")], b"", Misconfigured),
    ("a form not wanted", Client, 415, &[], b"", Misconfigured),
    ("a server that waited too long", Refresh, 408, &[], b"", ServerTrouble),
    ("too early", Refresh, 425, &[], b"", ServerTrouble),
    ("throttled", Refresh, 429, &[], b"", Throttled),
    ("a server failure", Refresh, 500, &[], b"<html>", ServerTrouble),
    ("a bad gateway", Refresh, 502, &[], b"", ServerTrouble),
    ("closed for maintenance", Client, 503, &[], b"", ServerTrouble),
    ("a gateway that gave up", Refresh, 504, &[], b"", ServerTrouble),
    ("a status of nobody's", Client, 999, &[], b"", ServerTrouble),
    ("a redirect to a login page", Client, 302, &[("location", "https://login.example.com/?next=x")], b"", Misconfigured),
    ("a redirect that keeps the method", Refresh, 307, &[("location", "/oauth/token/")], b"", Misconfigured),
    ("a redirect to nowhere", Client, 301, &[], b"", Misconfigured),
    // Success that is none.
    ("no content", Client, 204, &[], b"", Ambiguous),
    ("nothing", Refresh, 200, &[], b"", Ambiguous),
    ("a captive portal", Client, 200, &[("content-type", "text/html")], b"<!DOCTYPE html><html><body>Log in to the Wi-Fi</body></html>", Ambiguous),
    ("a compressed answer", Refresh, 200, &[("content-encoding", "gzip")], TOKEN.as_bytes(), Ambiguous),
    ("an unknown coding after identity", Refresh, 200, &[("content-encoding", "identity"), ("content-encoding", "br")], TOKEN.as_bytes(), Ambiguous),
    ("a cut answer", Refresh, 200, &[], br#"{"access_token":"t","expires_in":9"#, Ambiguous),
    ("garbage behind the answer", Refresh, 200, &[], br#"{"access_token":"t"}HTTP/1.1 200 OK"#, Ambiguous),
    ("two answers", Refresh, 200, &[], br#"{"access_token":"t"}{"access_token":"u"}"#, Ambiguous),
    ("two tokens", Refresh, 200, &[], br#"{"access_token":"t","access_token":"u"}"#, Ambiguous),
    ("two spellings that differ", Refresh, 200, &[], br#"{"access_token":"t","accessToken":"u"}"#, Ambiguous),
    ("a list", Client, 200, &[], br#"[{"access_token":"t"}]"#, Ambiguous),
    ("a text", Client, 200, &[], br#""t""#, Ambiguous),
    ("a form", Client, 200, &[], b"access_token=t&token_type=bearer", Ambiguous),
    ("an envelope", Client, 200, &[], br#"{"data":{"access_token":"t"}}"#, Ambiguous),
    ("an unknown error", Refresh, 200, &[], br#"{"error":"oops","message":"try later"}"#, Ambiguous),
    ("an error beside a token", Refresh, 200, &[], br#"{"error":"oops","access_token":"t"}"#, Ambiguous),
    ("invalid_grant beside a token", Refresh, 200, &[], br#"{"error":"invalid_grant","access_token":"t"}"#, Ambiguous),
    ("no token", Client, 200, &[], br#"{"expires_in":900}"#, Ambiguous),
    ("an empty token", Client, 200, &[], br#"{"access_token":"","expires_in":900}"#, Ambiguous),
    ("a token of null", Client, 200, &[], br#"{"access_token":null}"#, Ambiguous),
    ("a number as token", Client, 200, &[], br#"{"access_token":123}"#, Ambiguous),
    ("a list as token", Client, 200, &[], br#"{"access_token":["t"]}"#, Ambiguous),
    ("a token that would split a header", Client, 200, &[], br#"{"access_token":"t\r\nX-Evil: 1"}"#, Ambiguous),
    ("a token with a NUL", Client, 200, &[], br#"{"access_token":"t\u0000"}"#, Ambiguous),
    ("a token with a space", Client, 200, &[], br#"{"access_token":"t u"}"#, Ambiguous),
    ("a token in Latin-1", Client, 200, &[], b"{\"access_token\":\"t\xe9\"}", Ambiguous),
    ("a token beyond ASCII", Client, 200, &[], "{\"access_token\":\"t\u{e9}\"}".as_bytes(), Ambiguous),
    ("a dead token", Client, 200, &[], br#"{"access_token":"t","expires_in":0}"#, Ambiguous),
    ("a token from the past", Client, 200, &[], br#"{"access_token":"t","expires_in":-1}"#, Ambiguous),
    ("a token for less than a second", Client, 200, &[], br#"{"access_token":"t","expires_in":0.9}"#, Ambiguous),
    ("a dead token in text", Client, 200, &[], br#"{"access_token":"t","expires_in":"0"}"#, Ambiguous),
    ("a lifetime beyond all numbers", Client, 200, &[], br#"{"access_token":"t","expires_in":1e999}"#, Ambiguous),
    ("a broken refresh token", Refresh, 200, &[], br#"{"access_token":"t","refresh_token":7}"#, Ambiguous),
    ("a refresh token that would split a line", Refresh, 200, &[], br#"{"access_token":"t","refresh_token":"a\nb"}"#, Ambiguous),
    ("a MAC token", Client, 200, &[], br#"{"access_token":"t","token_type":"mac"}"#, Misconfigured),
    ("a DPoP token", Client, 200, &[], br#"{"access_token":"t","token_type":"DPoP"}"#, Misconfigured),
    ("a token of no type", Client, 200, &[], br#"{"access_token":"t","token_type":"N_A"}"#, Misconfigured),
    ("XML without a token", Client, 200, &[], b"<OAuthTokenDTO><expiresIn>900</expiresIn></OAuthTokenDTO>", Ambiguous),
    ("cut XML", Client, 200, &[], b"<OAuthTokenDTO><accessToken>t</accessToken>", Ambiguous),
    ("XML with entities of its own", Client, 200, &[], b"<!DOCTYPE x [<!ENTITY t 'u'>]><OAuthTokenDTO><accessToken>&t;</accessToken></OAuthTokenDTO>", Ambiguous),
];

#[test]
fn every_refusal_has_its_class() {
    let mut wrong = Vec::new();
    for (name, shown, status, headers, body, class) in REFUSALS {
        match sorted(*shown, &Reply { status: *status, headers, body }) {
            Err(error) if error.class == *class && error.status == Some(*status) => {}
            other => wrong.push(format!("{name}: should be {class:?}, is {other:?}")),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let distinct: std::collections::BTreeSet<&str> = REFUSALS.iter().map(|row| row.0).collect();
    assert_eq!(distinct.len(), REFUSALS.len(), "two rows share a name");
}

/// body · lifetime in seconds
#[rustfmt::skip]
const GRANTED: &[(&str, Option<u64>)] = &[
    (r#"{"access_token":"t","token_type":"Bearer","expires_in":900}"#, Some(900)),
    (r#"{"access_token":"t","token_type":"bearer","expires_in":"900"}"#, Some(900)),
    (r#"{"access_token":"t","token_type":"BEARER","expires_in":299.9}"#, Some(299)),
    (r#"{"access_token":"t","token_type":"","expires_in":" 299.9 "}"#, Some(299)),
    (r#"{"access_token":"t","expires_in":1e3}"#, Some(1000)),
    (r#"{"access_token":"t","expires_in":315360000}"#, Some(315_360_000)),
    // No lifetime, or one that cannot be: the keeper's default holds.
    (r#"{"access_token":"t"}"#, None),
    (r#"{"access_token":"t","expires_in":null}"#, None),
    (r#"{"access_token":"t","expires_in":""}"#, None),
    (r#"{"access_token":"t","expires_in":"NaN"}"#, None),
    (r#"{"access_token":"t","expires_in":"inf"}"#, None),
    (r#"{"access_token":"t","expires_in":"soon"}"#, None),
    (r#"{"access_token":"t","expires_in":true}"#, None),
    (r#"{"access_token":"t","expires_in":315360001}"#, None),
    (r#"{"access_token":"t","expires_in":1793959200000}"#, None),
    // Other spellings and surroundings.
    (r#"{"accessToken":"t","tokenType":"Bearer","expiresIn":900}"#, Some(900)),
    ("\u{feff}\n{\"access_token\":\"t\",\"expires_in\":900}\r\n", Some(900)),
    (r#"{"access_token":"t","expires_in":900,"error":null,"errors":[]}"#, Some(900)),
    (r#"{"access_token":"t","expires_in":900,"errors":[]}"#, Some(900)),
    (r#"{"access_token":"t","expires_in":900,"error":false,"code":0,"message":"ok"}"#, Some(900)),
    (r#"{"access_token":"t","expires_in":900,"code":"SUCCESS"}"#, Some(900)),
    (r#"{"access_token":"t","access_token":"t","expires_in":900}"#, Some(900)),
    ("<OAuthTokenDTO><accessToken>t</accessToken><tokenType>Bearer</tokenType><expiresIn>900</expiresIn></OAuthTokenDTO>", Some(900)),
    ("<?xml version='1.0' encoding='UTF-8' standalone='yes'?><ns2:OAuthTokenDTO xmlns:ns2='http://walmart.com/'>\n <ns2:accessToken>t</ns2:accessToken>\n <ns2:expiresIn> 900 </ns2:expiresIn></ns2:OAuthTokenDTO>", Some(900)),
];

#[test]
fn every_usable_answer_is_granted_with_its_lifetime() {
    for (body, lifetime) in GRANTED {
        let granted = granted(Client, body);
        assert_eq!(granted.access_token.expose(), "t", "{body}");
        assert_eq!(granted.lifetime, lifetime.map(Duration::from_secs), "{body}");
    }
}

#[test]
fn an_answer_without_a_refresh_token_keeps_the_old_one() {
    for body in
        [TOKEN, r#"{"access_token":"t","refresh_token":null}"#, r#"{"access_token":"t","refresh_token":""}"#]
    {
        assert!(granted(Refresh, body).refresh_token.is_none(), "{body}");
    }
    let rotated = granted(
        Refresh,
        r#"{"access_token":"t","refresh_token":"r2","refresh_expires_in":15552000,"scope":"a b"}"#,
    );
    assert_eq!(rotated.refresh_token.unwrap().expose(), "r2");
    assert_eq!(rotated.refresh_lifetime, Some(Duration::from_secs(15_552_000)));
    assert_eq!(rotated.scope.as_deref(), Some("a b"));
}

#[test]
fn a_refresh_lifetime_of_zero_is_unknown() {
    for lifetime in ["0", "-5", "\"0\"", "null", "1e300", "\"never\""] {
        let body =
            format!("{{\"access_token\":\"t\",\"refresh_token\":\"r2\",\"refresh_expires_in\":{lifetime}}}");
        assert_eq!(granted(Refresh, &body).refresh_lifetime, None, "{lifetime}");
    }
}

#[test]
fn client_credentials_do_not_mind_a_broken_refresh_token() {
    assert!(granted(Client, r#"{"access_token":"t","refresh_token":7}"#).refresh_token.is_none());
    assert_eq!(granted(Client, r#"{"access_token":"t","scope":["a","b"]}"#).scope.as_deref(), Some("a b"));
}

#[test]
fn a_new_refresh_token_is_rescued_from_an_answer_otherwise_unusable() {
    for body in [
        r#"{"access_token":"t\n","refresh_token":"r2"}"#,
        r#"{"access_token":"t","refresh_token":"r2","expires_in":0}"#,
        r#"{"access_token":"t","refresh_token":"r2","token_type":"mac"}"#,
        r#"{"access_token":"t","refresh_token":"r2","error":"oops"}"#,
        r#"{"refresh_token":"r2"}"#,
    ] {
        let error = refused(Refresh, 200, body);
        assert_eq!(error.rescued.as_ref().map(Secret::expose), Some("r2"), "{body}");
        assert!(!error.may_have_rotated(), "it did, and its successor is here");
    }
    assert!(refused(Client, 200, r#"{"refresh_token":"r2"}"#).rescued.is_none());
    assert!(refused(Refresh, 400, r#"{"error":"invalid_grant","refresh_token":"r2"}"#).rescued.is_none());
}

#[test]
fn what_may_have_been_executed_is_never_called_refused() {
    for (name, shown, status, headers, body, _) in REFUSALS {
        let error = sorted(*shown, &Reply { status: *status, headers, body }).unwrap_err();
        if (500..600).contains(status) {
            assert!(error.may_have_rotated() && !error.class.is_definite(), "{name}");
        }
        assert!(!(error.may_have_rotated() && error.class.is_definite()), "{name}");
        if error.class == InvalidGrant {
            assert!(body.windows(13).any(|w| w == b"invalid_grant"), "{name}");
        }
    }
}

#[test]
fn retry_after_is_read_from_any_refusal_and_capped() {
    let wait = |status, value| {
        let reply = Reply { status, headers: &[("retry-after", value)], body: b"" };
        sorted(Refresh, &reply).unwrap_err().retry_after.map(|wait| wait.as_secs())
    };
    assert_eq!(wait(429, "30"), Some(30));
    assert_eq!(wait(503, "86400"), Some(3600));
    assert_eq!(wait(429, "later"), None);
    assert_eq!(wait(401, "5"), Some(5));
}

#[test]
fn a_redirect_names_its_host_and_nothing_else() {
    let reply =
        Reply { status: 302, headers: &[("location", "https://login.example.com/p?secret=x")], body: b"" };
    let detail = sorted(Client, &reply).unwrap_err().detail;
    assert!(detail.contains("login.example.com") && !detail.contains("secret"), "{detail}");
}

#[test]
fn a_detail_tells_the_servers_reason() {
    for (body, words) in [
        (
            r#"{"error":"invalid_scope","error_description":"Unknown scope: products"}"#,
            "invalid_scope: Unknown scope: products",
        ),
        (
            r#"{"code":401,"error":"client secret does not match","message":"Depop OAuth2 error"}"#,
            "client secret does not match: Depop OAuth2 error",
        ),
        (
            r#"{"error":[{"code":"UNAUTHORIZED.GMP_GATEWAY_API","description":"Unauthorized"}]}"#,
            "UNAUTHORIZED.GMP_GATEWAY_API: Unauthorized",
        ),
        (r#"{"error":{"code":"X_1","message":"no"}}"#, "X_1: no"),
        ("<errors><error><code>X_1</code><description>no</description></error></errors>", "X_1: no"),
    ] {
        let error = refused(Client, 401, body);
        assert!(error.to_string().contains(words), "{error}");
        assert!(error.to_string().contains("401"), "{error}");
    }
}

#[test]
fn no_error_shows_a_secret_or_a_token() {
    let echo = format!(
        r#"{{"error":"x {CLIENT_SECRET}","error_description":"{REFRESH_TOKEN}\r\nforged","message":"Basic aWQ6Y2xpZW50LXMzY3JldA==","access_token":"leaky-access-token-0123456789"}}"#
    );
    for status in [200, 302, 400, 401, 403, 429, 500] {
        for body in
            [echo.clone(), echo[..echo.len() - 1].to_owned(), format!("[{echo}]"), format!("<html>{echo}")]
        {
            let error = refused(Refresh, status, &body);
            for shown in [format!("{error:?}"), error.to_string()] {
                for marker in [CLIENT_SECRET, REFRESH_TOKEN, "leaky", "aWQ6", "\n", "\\n"] {
                    assert!(!shown.contains(marker), "{status} {body} {shown}");
                }
            }
        }
    }
}

#[test]
fn every_class_has_a_name_words_and_a_remedy() {
    let all =
        [Class::NotSent, Throttled, ServerTrouble, Ambiguous, InvalidGrant, InvalidClient, Misconfigured];
    let names: std::collections::BTreeSet<_> = all.iter().map(|class| class.outcome()).collect();
    let words: std::collections::BTreeSet<_> = all.iter().map(ToString::to_string).collect();
    assert_eq!((names.len(), words.len()), (all.len(), all.len()));
    assert!(all.iter().all(|class| !class.action().is_empty()));
    assert_eq!(all.iter().filter(|class| class.is_definite()).count(), 3);
}

proptest! {
    #[test]
    fn no_answer_makes_it_panic(
        status in 100..1000_u16,
        member in prop::sample::select(vec!["access_token", "expires_in", "refresh_token", "error", "errors", "scope", "x"]),
        value in "\\PC{0,40}|[0-9eE.+-]{1,12}|\"[^\"]{0,30}\"|[\\[{]{0,20}",
        retry_after in "[ -~]{0,30}",
    ) {
        let body = format!("{{\"access_token\":\"t\",\"{member}\":{value}}}");
        for shown in [Client, Refresh, Code] {
            let headers = [("retry-after", retry_after.as_str())];
            let sorted = sorted(shown, &Reply { status, headers: &headers, body: body.as_bytes() });
            prop_assert!(sorted.is_err() || (200..300).contains(&status));
        }
    }
}
