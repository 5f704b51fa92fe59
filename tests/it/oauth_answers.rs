//! Every shape of answer that a token endpoint has been seen or feared to give, and what is made of it: a row for each shape. If
//! you meet a new one, add a row. How answers break off on the wire is in `oauth_wire.rs`.

use std::{
    borrow::Cow,
    time::{Duration, SystemTime},
};

use http::{HeaderMap, HeaderName, StatusCode};
use marketgate::{
    oauth::{
        Answer, Class, EndReason, GrantRequest, Granted, RefreshLifetime, TokenError, TokenRequest, judge,
    },
    provider::{AnswerRules, ClientAuth, GrantEnd, TokenEndpoint, TokenMember, TokenTypes},
    secret::Secret,
};
use proptest::prelude::*;

use Class::{Ambiguous, InvalidClient, InvalidGrant, Misconfigured, Refused, ServerTrouble, Throttled};
use Shown::{Client, Code, Refresh};

/// What the call showed.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Shown {
    Client,
    Refresh,
    Code,
}

const REFRESH_TOKEN: &str = "old-refresh-token";
const CODE: &str = "the-code-4711";
const CLIENT_SECRET: &str = "client-s3cret";

struct Reply<'a> {
    status: u16,
    headers: &'a [(&'a str, &'a str)],
    body: &'a [u8],
}

fn endpoint(client_auth: ClientAuth, answers: AnswerRules) -> TokenEndpoint {
    TokenEndpoint {
        url: "https://auth.example.com/oauth/token".parse().unwrap(),
        client_auth,
        scope: None,
        headers: Vec::new(),
        params: Vec::new(),
        budget: None,
        at_once: None,
        answers,
    }
}

fn judged_at(endpoint: &TokenEndpoint, shown: Shown, reply: &Reply<'_>) -> Result<Granted, TokenError> {
    let mut headers = HeaderMap::new();
    for (name, value) in reply.headers {
        headers.append(name.parse::<HeaderName>().unwrap(), value.parse().unwrap());
    }
    let status = StatusCode::from_u16(reply.status).unwrap();
    let received = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000); // 2027-01-15T08:00:00Z
    let answer = Answer { status, headers: &headers, body: reply.body, cut: None, received };
    let (refresh, code, secret) = (Secret::new(REFRESH_TOKEN), Secret::new(CODE), Secret::new(CLIENT_SECRET));
    let request = TokenRequest {
        endpoint,
        client_id: "the-client",
        client_secret: &secret,
        grant: match shown {
            Client => GrantRequest::ClientCredentials,
            Refresh => GrantRequest::RefreshToken(&refresh),
            Code => GrantRequest::AuthorizationCode {
                code: &code,
                redirect_uri: "http://localhost/",
                verifier: None,
            },
        },
        settings: &|_: &str| -> Option<Cow<'_, str>> { None },
        limit: Duration::from_secs(1),
    };
    judge(&answer, &request)
}

fn judged(shown: Shown, reply: &Reply<'_>) -> Result<Granted, TokenError> {
    judged_at(&endpoint(ClientAuth::Basic, AnswerRules::default()), shown, reply)
}

fn refused(shown: Shown, status: u16, body: &str) -> TokenError {
    judged(shown, &Reply { status, headers: &[], body: body.as_bytes() }).unwrap_err()
}

fn granted(shown: Shown, body: &str) -> Granted {
    judged(shown, &Reply { status: 200, headers: &[], body: body.as_bytes() })
        .unwrap_or_else(|e| panic!("{body}: {e}"))
}

fn granted_with(answers: AnswerRules, body: &str) -> Result<Granted, TokenError> {
    let reply = Reply { status: 200, headers: &[], body: body.as_bytes() };
    judged_at(&endpoint(ClientAuth::Basic, answers), Client, &reply)
}

const TOKEN: &str = r#"{"access_token":"t","expires_in":900}"#;

type Row = (&'static str, Shown, u16, &'static [(&'static str, &'static str)], &'static [u8], Class);

/// Refusals and answers that bring nothing: name · what was shown · status · headers · body · class
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
    ("invalid_grant cut short", Refresh, 400, &[], br#"{"error":"invalid_gran"#, Refused),
    ("invalid_grant in capitals", Refresh, 400, &[], br#"{"error":"INVALID_GRANT"}"#, InvalidGrant),
    ("invalid_grant and another error", Refresh, 400, &[], br#"{"error":"invalid_grant","error":"invalid_scope"}"#, Refused),
    ("invalid_grant in a description", Refresh, 400, &[], br#"{"error":"other","error_description":"invalid_grant"}"#, Refused),
    ("invalid_grant after a byte order mark", Refresh, 400, &[], b"\xef\xbb\xbf{\"error\":\"invalid_grant\"}", InvalidGrant),
    ("invalid_grant with a Latin-1 description", Refresh, 400, &[], b"{\"error\":\"invalid_grant\",\"error_description\":\"expir\xe9\"}", InvalidGrant),
    ("invalid_grant that claims to be compressed", Refresh, 400, &[("content-encoding", "gzip")], br#"{"error":"invalid_grant"}"#, InvalidGrant),
    ("invalid_grant in a form", Refresh, 400, &[], b"error=invalid_grant&error_description=gone", InvalidGrant),
    ("invalid_grant in XML", Refresh, 400, &[], b"<oauth><error>invalid_grant</error></oauth>", InvalidGrant),
    ("invalid_grant in a list", Refresh, 400, &[], br#"{"errors":[{"code":"invalid_grant","message":"gone"}]}"#, InvalidGrant),
    ("invalid_grant in an object", Refresh, 400, &[], br#"{"error":{"code":"invalid_grant"}}"#, InvalidGrant),
    ("invalid_grant in a challenge", Refresh, 401, &[("www-authenticate", "Bearer realm=\"x\", error=\"invalid_grant\"")], b"", InvalidGrant),
    ("a wrong secret", Client, 401, &[("www-authenticate", "Basic")], br#"{"error":"invalid_client"}"#, InvalidClient),
    ("a wrong secret with 400", Refresh, 400, &[], br#"{"error":"invalid_client"}"#, InvalidClient),
    ("a wrong secret with 200", Client, 200, &[], br#"{"error":"invalid_client"}"#, InvalidClient),
    ("a wrong secret beside talk of the refresh token", Refresh, 401, &[], br#"{"error":"invalid_client","error_description":"Invalid refresh token or client"}"#, InvalidClient),
    ("Keycloak: a wrong secret", Refresh, 401, &[], br#"{"error":"unauthorized_client","error_description":"Invalid client or Invalid client credentials"}"#, InvalidClient),
    ("a grant type not allowed for the client", Client, 400, &[], br#"{"error":"unauthorized_client"}"#, Misconfigured),
    ("a missing parameter", Client, 400, &[], br#"{"error":"invalid_request"}"#, Misconfigured),
    ("a missing parameter with a code", Code, 400, &[], br#"{"error":"invalid_request"}"#, Misconfigured),
    ("a refresh of which something is wrong", Refresh, 400, &[], br#"{"error":"invalid_request"}"#, Refused),
    ("an unknown grant type", Client, 400, &[], br#"{"error":"unsupported_grant_type"}"#, Misconfigured),
    ("an unknown scope", Client, 400, &[], br#"{"error":"invalid_scope"}"#, Misconfigured),
    ("a scope no longer allowed", Refresh, 400, &[], br#"{"error":"invalid_scope"}"#, Misconfigured),
    ("a redirect address that is not registered", Code, 400, &[], br#"{"error":"redirect_uri_mismatch"}"#, Misconfigured),
    ("a server that is busy, in words", Client, 400, &[], br#"{"error":"temporarily_unavailable"}"#, ServerTrouble),
    ("a server that fails, in words", Client, 400, &[], br#"{"error":"server_error"}"#, ServerTrouble),
    ("a server that wants fewer calls, in words", Client, 400, &[], br#"{"error":"slow_down"}"#, Throttled),
    // A dead refresh token in other words.
    ("GitHub: a bad refresh token", Refresh, 200, &[], br#"{"error":"bad_refresh_token","error_description":"The refresh token passed is incorrect or expired.","error_uri":"https://docs.github.com"}"#, InvalidGrant),
    ("GitHub: the same as a form", Refresh, 200, &[], b"error=bad_refresh_token&error_description=The+refresh+token+passed+is+incorrect+or+expired.", InvalidGrant),
    ("HubSpot: a bad refresh token", Refresh, 400, &[], br#"{"status":"BAD_REFRESH_TOKEN","message":"missing or invalid refresh token"}"#, InvalidGrant),
    ("capitals in the error", Refresh, 400, &[], br#"{"error":"BAD_REFRESH_TOKEN"}"#, InvalidGrant),
    ("Spring Security OAuth", Refresh, 401, &[], br#"{"error":"invalid_token","error_description":"Cannot convert access token to JSON"}"#, InvalidGrant),
    ("invalid_token in a challenge alone", Refresh, 401, &[("www-authenticate", "Bearer error=\"invalid_token\"")], b"", InvalidGrant),
    ("invalid_token for client credentials", Client, 401, &[], br#"{"error":"invalid_token"}"#, InvalidClient),
    ("Shopify: no active refresh token", Refresh, 401, &[], br#"{"error":"invalid_request","error_description":"This request requires an active refresh_token"}"#, InvalidGrant),
    ("Dex: expired", Refresh, 400, &[], br#"{"error":"invalid_request","error_description":"Refresh token expired."}"#, InvalidGrant),
    ("Dex: claimed", Refresh, 400, &[], br#"{"error":"invalid_request","error_description":"Refresh token is invalid or has already been claimed by another client."}"#, InvalidGrant),
    ("Hydra: inactive", Refresh, 401, &[], br#"{"error":"token_inactive","error_description":"Token is inactive because it is malformed, expired or otherwise invalid."}"#, InvalidGrant),
    ("Hydra: two uses at once", Refresh, 400, &[], br#"{"error":"invalid_request","error_description":"The request is missing a required parameter... Failed to refresh token because of multiple concurrent requests using the same token which is not allowed. Please retry the request."}"#, ServerTrouble),
    ("Zoho: a bad code", Refresh, 200, &[], br#"{"error":"invalid_code"}"#, InvalidGrant),
    ("Zoho: too often", Refresh, 400, &[], br#"{"error_description":"You have made too many requests continuously. Please try again after some time.","error":"Access Denied","status":"failure"}"#, Throttled),
    ("Slack: a bad refresh token", Refresh, 200, &[], br#"{"ok":false,"error":"invalid_refresh_token"}"#, InvalidGrant),
    ("WeChat: a bad refresh token", Refresh, 200, &[], br#"{"errcode":40030,"errmsg":"invalid refresh_token"}"#, InvalidGrant),
    ("Alibaba: a bad refresh token", Refresh, 200, &[], br#"{"type":"ISP","code":"IllegalRefreshToken","message":"The specified refresh token is invalid or expired","request_id":"0ba2887315178178017221014"}"#, InvalidGrant),
    ("League: invalid with a hint", Refresh, 401, &[], br#"{"error":"invalid_request","message":"The refresh token is invalid.","hint":"Token has been revoked"}"#, InvalidGrant),
    ("Supabase: used", Refresh, 400, &[], br#"{"code":400,"error_code":"refresh_token_already_used","msg":"Invalid Refresh Token: Already Used"}"#, InvalidGrant),
    ("a session that is not there", Refresh, 404, &[], br#"{"message":"Refresh token not found"}"#, InvalidGrant),
    ("a server that speaks of the refresh token in 500", Refresh, 500, &[], br#"{"message":"Refresh token not found"}"#, ServerTrouble),
    // Words that nobody knows: a person has to read them.
    ("an unknown error", Refresh, 200, &[], br#"{"error":"oops","message":"call your mother"}"#, Refused),
    ("an unknown error for client credentials", Client, 200, &[], br#"{"error":"oops","message":"call your mother"}"#, Misconfigured),
    ("an unknown error that may pass", Refresh, 200, &[], br#"{"error":"oops","message":"try later"}"#, ServerTrouble),
    ("an unknown error with 400", Refresh, 400, &[], br#"{"error":"consent_withdrawn"}"#, Refused),
    ("an unknown error with 401", Refresh, 401, &[], br#"{"message":"the refresh was rejected"}"#, Refused),
    ("an unknown error with 403", Refresh, 403, &[], br#"{"message":"account suspended"}"#, Refused),
    ("an unknown error with 422", Refresh, 422, &[], br#"{"message":"no"}"#, Refused),
    ("an unknown error for a code", Code, 400, &[], br#"{"error":"code_was_consumed"}"#, Refused),
    ("access denied", Refresh, 400, &[], br#"{"error":"access_denied"}"#, Refused),
    ("glewlwyd: an empty 400", Refresh, 400, &[], b"", Refused),
    ("glewlwyd: an empty 403", Refresh, 403, &[], b"", InvalidClient),
    ("a code and a message alone", Refresh, 200, &[], br#"{"code":20026,"msg":"no such session"}"#, Refused),
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
    ("an HTML 400 for a refresh", Refresh, 400, &[], b"<html><title>Bad Request</title>", Misconfigured),
    ("a firewall", Refresh, 403, &[], b"<!doctype html><title>Access denied</title>", Misconfigured),
    ("forbidden, in words", Client, 403, &[], b"Forbidden", Misconfigured),
    ("a wrong token_url", Client, 404, &[], b"<!doctype html>", Misconfigured),
    ("a wrong token_url, in JSON", Refresh, 404, &[], br#"{"timestamp":"2026-11-29","status":404,"error":"Not Found","path":"/oauth/tokn"}"#, Misconfigured),
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
    ("an unknown coding", Refresh, 200, &[("content-encoding", "aes128gcm")], b"\x01\x02\x03", Ambiguous),
    ("gzip that is none", Refresh, 200, &[("content-encoding", "gzip")], b"\x01\x02\x03", Ambiguous),
    ("brotli that is none", Refresh, 200, &[("content-encoding", "br")], b"\xff\xff\xff\xff", Ambiguous),
    ("deflate that is none", Refresh, 200, &[("content-encoding", "deflate")], b"\xff\xff\xff\xff", Ambiguous),
    ("zstd that is none", Refresh, 200, &[("content-encoding", "zstd")], b"\xff\xff\xff\xff", Ambiguous),
    ("a cut answer", Refresh, 200, &[], br#"{"access_token":"t","expires_in":9"#, Ambiguous),
    ("an answer cut within the access token", Client, 200, &[], br#"{"access_token":"t"#, Ambiguous),
    ("an answer cut within the refresh token", Refresh, 200, &[], br#"{"access_token":"t","refresh_token":"r"#, Ambiguous),
    ("a cut name", Refresh, 200, &[], br#"{"access_token":"t","refresh_to"#, Ambiguous),
    ("two answers", Refresh, 200, &[], br#"{"access_token":"t"}{"access_token":"u"}"#, Ambiguous),
    ("two tokens", Refresh, 200, &[], br#"{"access_token":"t","access_token":"u"}"#, Ambiguous),
    ("two spellings that differ", Refresh, 200, &[], br#"{"access_token":"t","accessToken":"u"}"#, Ambiguous),
    ("two tokens in a list", Client, 200, &[], br#"[{"access_token":"t"},{"access_token":"u"}]"#, Ambiguous),
    ("a text", Client, 200, &[], br#""t""#, Ambiguous),
    ("plain text", Client, 200, &[], b"all is well", Ambiguous),
    ("an error beside a token", Refresh, 200, &[], br#"{"error":"oops","access_token":"t"}"#, Ambiguous),
    ("invalid_grant beside a token", Refresh, 200, &[], br#"{"error":"invalid_grant","access_token":"t"}"#, Ambiguous),
    ("no token", Client, 200, &[], br#"{"expires_in":900}"#, Ambiguous),
    ("an empty token", Client, 200, &[], br#"{"access_token":"","expires_in":900}"#, Ambiguous),
    ("a token of null", Client, 200, &[], br#"{"access_token":null}"#, Ambiguous),
    ("a token of \"null\"", Client, 200, &[], br#"{"access_token":"null"}"#, Ambiguous),
    ("a short number as token", Client, 200, &[], br#"{"access_token":123}"#, Ambiguous),
    ("a list as token", Client, 200, &[], br#"{"access_token":["t"]}"#, Ambiguous),
    ("a masked token", Client, 200, &[], br#"{"access_token":"****abcd"}"#, Ambiguous),
    ("a token that would split a header", Client, 200, &[], br#"{"access_token":"t\r\nX-Evil: 1"}"#, Ambiguous),
    ("a token with a NUL", Client, 200, &[], br#"{"access_token":"t\u0000"}"#, Ambiguous),
    ("a token with a space", Client, 200, &[], br#"{"access_token":"t u"}"#, Ambiguous),
    ("a token in Latin-1", Client, 200, &[], b"{\"access_token\":\"t\xe9\"}", Ambiguous),
    ("a token beyond ASCII", Client, 200, &[], "{\"access_token\":\"t\u{e9}\"}".as_bytes(), Ambiguous),
    ("a broken refresh token", Refresh, 200, &[], br#"{"access_token":"t","refresh_token":7}"#, Ambiguous),
    ("a refresh token of true", Refresh, 200, &[], br#"{"access_token":"t","refresh_token":true}"#, Ambiguous),
    ("a refresh token in Latin-1", Refresh, 200, &[], b"{\"access_token\":\"t\",\"refresh_token\":\"r\xe9\"}", Ambiguous),
    ("a masked refresh token", Refresh, 200, &[], br#"{"access_token":"t","refresh_token":"********"}"#, Ambiguous),
    ("a refresh token masked but for its end", Refresh, 200, &[], "{\"access_token\":\"t\",\"refresh_token\":\"xxx\u{2026}abcd\"}".as_bytes(), Ambiguous),
    ("a sentence in the list of a refresh token", Refresh, 200, &[], br#"{"message":"The given data was invalid.","refresh_token":["The refresh token field must be a string."]}"#, Ambiguous),
    ("a sentence in the place of a refresh token", Refresh, 200, &[], br#"{"success":false,"refresh_token":"Please sign in once more"}"#, Ambiguous),
    ("a word in the place of a refresh token", Refresh, 200, &[], br#"{"access_token":"t","refresh_token":"unchanged"}"#, Ambiguous),
    ("several refresh tokens", Refresh, 200, &[], br#"{"access_token":"t","refresh_token":["new-refresh","newer-refresh"]}"#, Ambiguous),
    ("a masked refresh token in a list", Refresh, 200, &[], br#"{"access_token":"t","refresh_token":["********"]}"#, Ambiguous),
    ("a form that ends within a name", Refresh, 200, &[], b"access_token=t&refresh_tok", Ambiguous),
    ("a MAC token", Client, 200, &[], br#"{"access_token":"t","token_type":"mac"}"#, Misconfigured),
    ("a DPoP token", Client, 200, &[], br#"{"access_token":"t","token_type":"DPoP"}"#, Misconfigured),
    ("a token of no type", Client, 200, &[], br#"{"access_token":"t","token_type":"N_A"}"#, Misconfigured),
    ("a token bound to a key", Client, 200, &[], br#"{"access_token":"t","token_type":"hok"}"#, Misconfigured),
    ("XML without a token", Client, 200, &[], b"<OAuthTokenDTO><expiresIn>900</expiresIn></OAuthTokenDTO>", Ambiguous),
    ("XML cut within its token", Client, 200, &[], b"<OAuthTokenDTO><accessToken>t", Ambiguous),
    ("XML closed wrongly", Client, 200, &[], b"<OAuthTokenDTO><accessToken>t</expiresIn></OAuthTokenDTO>", Ambiguous),
    ("XML with entities of its own", Client, 200, &[], b"<!DOCTYPE x [<!ENTITY t 'u'>]><OAuthTokenDTO><accessToken>&t;</accessToken></OAuthTokenDTO>", Ambiguous),
    ("XML with an unknown entity", Client, 200, &[], b"<OAuthTokenDTO><accessToken>&t;</accessToken></OAuthTokenDTO>", Ambiguous),
    ("a page with an example", Client, 200, &[], b"<html><h1>Tokens</h1><pre>{\"access_token\":\"2YotnFZFEjr1\",\"refresh_token\":\"tGzv3JOkF0XG5\"}</pre></html>", Ambiguous),
];

#[test]
fn every_refusal_has_its_class_and_no_successor() {
    let mut wrong = Vec::new();
    for (name, shown, status, headers, body, class) in REFUSALS {
        match judged(*shown, &Reply { status: *status, headers, body }) {
            Err(error)
                if error.class == *class && error.status == Some(*status) && error.successor.is_none() => {}
            other => wrong.push(format!("{name}: should be {class:?}, is {other:?}")),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let distinct: std::collections::BTreeSet<&str> = REFUSALS.iter().map(|row| row.0).collect();
    assert_eq!(distinct.len(), REFUSALS.len(), "two rows share a name");
}

/// Answers with an access token `t`, however it is written.
#[rustfmt::skip]
const ACCESS: &[&str] = &[
    TOKEN,
    r#"{"access_token":"t","token_type":"User Access Token"}"#, // eBay
    r#"{"access_token":"t","token_type":"Application Access Token"}"#, // eBay
    r#"{"access_token":"t","token_type":"BearerToken"}"#, // Apigee
    r#"{"access_token":"t","token_type":""}"#,
    r#"{"access_token":"t","token_type":null}"#,
    r#"{"access_token":"t","token_type":"bearer, mac"}"#,
    r#"{"accessToken":"t","tokenType":"Bearer"}"#,
    r#"{"access-token":"t"}"#,
    r#"{"AccessToken":"t"}"#,
    r#"{"ACCESS_TOKEN":"t"}"#,
    r#"{"access_token":"t","access_token":"t"}"#,
    r#"{"access_token":"t","accessToken":"t"}"#,
    r#"{"access_token":" t\n"}"#,
    r#"{"access_token":"t","error":null,"errors":[]}"#,
    r#"{"access_token":"t","error":"","message":""}"#, // Shopee
    r#"{"access_token":"t","error":false,"code":0,"message":"ok"}"#,
    r#"{"access_token":"t","code":"SUCCESS"}"#,
    r#"{"access_token":"t","code":1,"message":"fine"}"#,
    r#"{"access_token":"t","scope":"a","scope":"b","message":"x","message":"y"}"#,
    r#"{"access_token":"t","user":{"error":"none of ours","status":"error"}}"#,
    r#"{"access_token":"t","x":"\u0000\ud800"}"#,
    "\u{feff}\n{\"access_token\":\"t\"}\r\n",
    "{\"access_token\":\"t\",}",
    "{'access_token': 't', 'expires_in': None, 'ok': True}",
    "{access_token: \"t\", expires_in: NaN}",
    r#"{"access_token":"t"} x"#,
    r#"{"access_token":"t"}HTTP/1.1 200 OK"#,
    r#"{"access_token":"t"}{"access_token":"t"}"#,
    "{\"access_token\":\"t\"}\n<br />\n<b>Warning</b>: Cannot modify header information in <b>/a.php</b>",
    "<br />\n<b>Warning</b>: foo {bar} in <b>/a.php</b> on line <b>3</b><br />\n{\"access_token\":\"t\"}",
    "\nWarning: foo in /a.php on line 3\n{\"access_token\":\"t\"}",
    ")]}',\n{\"access_token\":\"t\"}",
    "while(1);{\"access_token\":\"t\"}",
    "for(;;);{\"access_token\":\"t\"}",
    "callback({\"access_token\":\"t\"});",
    "/**/{\"access_token\":\"t\"}",
    "data: {\"access_token\":\"t\"}\n\n",
    "14\r\n{\"access_token\":\"t\"}\r\n0\r\n\r\n", // chunks within chunks
    "HTTP/1.1 200 OK\r\nserver: x\r\n\r\n{\"access_token\":\"t\"}",
    "\n\u{feff}\u{feff}{\"access_token\":\"t\"}",
    r#"{\"access_token\":\"t\"}"#,
    r#"{"access_token":{"token":"t","expires_in":900}}"#,
    "<T><accessToken type='Bearer'>t</accessToken></T>",
    "<html><head></head><body><pre>{\"access_token\":\"t\"}</pre></body></html>",
    r#"{"data":{"access_token":"t"}}"#,
    r#"{"result":{"token":{"access_token":"t"}}}"#,
    r#"{"success":true,"response":{"accessToken":"t"}}"#,
    r#"{"statusCode":200,"body":"{\"access_token\":\"t\"}"}"#,
    r#"[{"access_token":"t"}]"#,
    r#"{"tokens":[{"access_token":"t"},{"access_token":"t"}]}"#,
    r#""{\"access_token\":\"t\"}""#,
    r#"{"access_token":"t","authed_user":{"access_token":"u"}}"#, // Slack
    "access_token=t&token_type=bearer",
    "access_token=t&expires=5184000",
    "?access_token=t&scope=a%20b\n",
    "#access_token=t",
    "<OAuthTokenDTO><accessToken>t</accessToken><tokenType>Bearer</tokenType></OAuthTokenDTO>",
    "<?xml version='1.0' encoding='UTF-8' standalone='yes'?><ns2:OAuthTokenDTO xmlns:ns2='http://walmart.com/'>\n <ns2:accessToken>t</ns2:accessToken>\n</ns2:OAuthTokenDTO>",
    "<?xml version=\"1.0\"?>\n<!-- c --><n:T xmlns:n='u'><n:accessToken> &#x74;\n</n:accessToken><e/></n:T>\n",
    "<T><accessToken><![CDATA[t]]></accessToken></T>",
    "<T><data><access_token>t</access_token></data></T>",
    "<token access_token='t' expires_in='900'/>",
    "<OAuthTokenDTO><accessToken>t</accessToken>", // cut behind it
    r#"{"access_token":"t","expires_in":9"#,
];

#[test]
fn an_access_token_is_found_wherever_it_is_whole_and_alone() {
    for body in ACCESS {
        assert_eq!(granted(Client, body).access_token.expose(), "t", "{body}");
    }
    assert_eq!(granted(Client, "<a><accessToken>x&amp;y</accessToken></a>").access_token.expose(), "x&y");
    assert_eq!(
        granted(Client, r#"{"access_token":12345678901234567890}"#).access_token.expose(),
        "12345678901234567890"
    );
    assert_eq!(granted(Client, "access_token=a+b%2Fc").access_token.expose(), "a+b/c");
    for body in ["token_type=mac&access_token=t", "token_type=mac"] {
        assert_eq!(
            refused(Client, 200, body).class,
            if body.contains("access") { Misconfigured } else { Ambiguous }
        );
    }
}

#[test]
fn text_in_utf_16_is_read() {
    let body = r#"{"access_token":"t","refresh_token":"new-refresh"}"#;
    let units = |mark: &[u8], order: fn(u16) -> [u8; 2]| {
        [mark, &body.encode_utf16().flat_map(order).collect::<Vec<u8>>()].concat()
    };
    for bytes in [
        units(&[0xff, 0xfe], u16::to_le_bytes),
        units(&[0xfe, 0xff], u16::to_be_bytes),
        units(&[], u16::to_le_bytes),
    ] {
        let granted = judged(Refresh, &Reply { status: 200, headers: &[], body: &bytes }).unwrap();
        assert_eq!(granted.refresh_token.unwrap().expose(), "new-refresh");
    }
}

/// Answers to a refresh with a successor `new-refresh` and no access token that could be used: status · body
#[rustfmt::skip]
const SUCCESSORS: &[(u16, &str)] = &[
    (200, r#"{"access_token":"t t","refresh_token":"new-refresh"}"#),
    (200, r#"{"access_token":"t","refresh_token":"new-refresh","token_type":"mac"}"#),
    (200, r#"{"access_token":"t","refresh_token":"new-refresh","error":"oops"}"#),
    (200, r#"{"access_token":"t","access_token":"u","refresh_token":"new-refresh"}"#),
    (200, r#"{"refresh_token":"new-refresh"}"#),
    (200, r#"{"refresh_token":"new-refresh","access_token":"t"#),
    (200, r#"{"refresh_token":"new-refresh""#),
    (200, "{\"refreshToken\":\"new-refresh\""),
    (200, "refresh_token=new-refresh&access_token="),
    (200, "<T><refreshToken>new-refresh</refreshToken><access"),
    (200, "<html><body>oops</body></html>\n{\"refresh_token\":\"new-refresh\"}"),
    (200, r#"{"error":"invalid_grant","refresh_token":"new-refresh"}"#),
    (400, r#"{"error":"invalid_grant","refresh_token":"new-refresh"}"#),
    (400, r#"{"error":"invalid_client","refresh_token":"new-refresh"}"#),
    (400, r#"{"access_token":"t","refresh_token":"new-refresh"}"#),
    (401, r#"{"data":{"refresh_token":"new-refresh"}}"#),
    (403, "refresh_token=new-refresh&access_token=t"),
    (404, r#"{"refresh_token":"new-refresh"}"#),
    (429, r#"{"access_token":"t","refresh_token":"new-refresh"}"#),
    (500, r#"{"access_token":"t","refresh_token":"new-refresh","expires_in":900}"#),
    (500, "Warning: oops\n{\"access_token\":\"t\",\"refresh_token\":\"new-refresh\"}"),
    (502, r#"{"token":{"access_token":"t","refresh_token":"new-refresh"}}"#),
    (302, r#"{"access_token":"t","refresh_token":"new-refresh"}"#),
];

#[test]
fn a_successor_that_was_seen_is_in_the_error_whatever_else_is_wrong() {
    for (status, body) in SUCCESSORS {
        let error = refused(Refresh, *status, body);
        let found = error.successor.as_ref().map(Secret::expose);
        assert_eq!(found, Some("new-refresh"), "{status} {body}: {error}");
        assert!(!error.may_have_rotated(), "it did, and its successor is here");
        assert!(!matches!(error.class, InvalidGrant | InvalidClient | Refused), "{status} {body}: {error}");
        assert!(!format!("{error} {error:?}").contains("new-refresh"));
    }
    assert!(refused(Client, 200, r#"{"refresh_token":"new-refresh"}"#).successor.is_none());
}

/// Answers to a refresh with an access token `t` and the successor `new-refresh`.
#[rustfmt::skip]
const ROTATED: &[&str] = &[
    r#"{"access_token":"t","refresh_token":"new-refresh","expires_in":900}"#,
    r#"{"access_token":"t","refresh_token":"new-refresh","expires_in":0}"#,
    r#"{"access_token":"t","refresh_token":"new-refresh","expires_in":900,"expiresIn":"900s"}"#,
    r#"{"access_token":"t","refresh_token":"new-refresh","scope":"a","scope":"b"}"#,
    r#"{"access_token":"t","refresh_token":"new-refresh",}"#,
    r#"{"access_token":"t","refresh_token":"new-refresh","sco"#,
    r#"{"access_token":"t","refresh_token":"new-refresh","expires_in":9"#,
    r#"{"access_token":"t","refreshToken":"new-refresh"}"#,
    r#"{"access_token":"t","refresh-token":"new-refresh"}"#,
    r#"{"access_token":"t","RefreshToken":"new-refresh"}"#,
    r#"{"access_token":"t","refresh_token":"old-refresh-token","refresh_token":"new-refresh"}"#,
    r#"{"access_token":"t","refresh_token":"new-refresh","refresh_token":"old-refresh-token"}"#,
    r#"{"access_token":"t","refresh_token":"other","refresh_token":"new-refresh"}"#,
    r#"{"access_token":"t","refresh_token":null,"data":{"refresh_token":"new-refresh"}}"#,
    r#"{"access_token":"t","refresh_token":"new-refresh","request":{"refresh_token":"x"}}"#,
    r#"{"access_token":"t","data":{"refresh_token":"new-refresh"}}"#,
    r#"{"data":{"access_token":"t","refresh_token":"new-refresh"},"previous":{"refresh_token":"x"}}"#,
    r#"{"data":{"access_token":"t"},"result":{"refresh_token":"new-refresh"}}"#,
    r#"{"refresh_token":"x","data":{"access_token":"t","refresh_token":"new-refresh"}}"#,
    r#"[{"access_token":"t","refresh_token":"new-refresh"}]"#,
    r#"{"result":"{\"access_token\":\"t\",\"refresh_token\":\"new-refresh\"}"}"#,
    r#"{"message":{"access_token":"t","refresh_token":"new-refresh"}}"#,
    r#"{"access_token":{"token":"t"},"refresh_token":{"token":"new-refresh","expires_in":1}}"#,
    r#"{"access_token":"t","refresh_token":["new-refresh"]}"#,
    r#"{"access_token":"t","refresh_token":["old-refresh-token","new-refresh"]}"#,
    r#"{"access_token":"t","refresh_token":[null,"new-refresh","new-refresh"]}"#,
    r#"{"access_token":"t","refresh_token":[["new-refresh"]]}"#,
    r#"{"shop":"\ud83d\u0041","access_token":"t","refresh_token":"new-refresh"}"#,
    r#"{"shop":"\ud83d\u2026","access_token":"t","refresh_token":"new-refresh"}"#,
    "access_token=t;expires_in=28800;refresh_token=new-refresh;token_type=bearer",
    r##"{"access_token":{"_":"t","type":"x"},"refresh_token":{"#text":"new-refresh","type":"x"}}"##,
    r#"{"access_token":{"$t":"t"},"refresh_token":{"$t":"new-refresh"}}"#,
    r#"{"data":{"refreshToken":{"accessToken":"t","refreshToken":"new-refresh"}}}"#,
    "{'access_token': 't', 'refresh_token': 'new-refresh', 'x': NaN}",
    "\u{feff})]}'\n{\"access_token\":\"t\",\"refresh_token\":\"new-refresh\"}",
    "<b>Deprecated</b>: x<br />{\"access_token\":\"t\",\"refresh_token\":\"new-refresh\"}",
    "access_token=t&expires_in=28800&refresh_token=new-refresh&token_type=bearer",
    "<T><accessToken>t</accessToken><refreshToken>new-refresh</refreshToken></T>",
    "<T><accessToken>t</accessToken><refreshToken>new-refresh</refreshToken>",
];

#[test]
fn a_successor_is_found_in_every_answer_that_has_one() {
    for body in ROTATED {
        let granted = granted(Refresh, body);
        let found = granted.refresh_token.as_ref().map(Secret::expose);
        assert_eq!((granted.access_token.expose(), found), ("t", Some("new-refresh")), "{body}");
    }
    let crowded = format!(
        r#"{{"x":[{}1],{}"access_token":"t","refresh_token":"new-refresh"}}"#,
        "1,".repeat(30_000),
        r#""a":1,"#.repeat(30_000)
    );
    assert_eq!(granted(Refresh, &crowded).refresh_token.unwrap().expose(), "new-refresh");
    let long = format!(
        r#"{{"padding":"{}","access_token":"t","refresh_token":"new-refresh"}}"#,
        "x".repeat(500_000)
    );
    assert_eq!(granted(Refresh, &long).refresh_token.unwrap().expose(), "new-refresh");
    // Random text that has something of a mask.
    for token in ["AxXxXxB4kQ9vT2mZ7LbR4nWc8YdP1sG5hJ0", "ab..cd", "a--b", "xxx7Qp", "0000a"] {
        let body = format!(r#"{{"access_token":"t","refresh_token":"{token}"}}"#);
        assert_eq!(granted(Refresh, &body).refresh_token.unwrap().expose(), token);
    }
    // What RFC 6749 appendix A.17 allows, and what it does not: it was issued all the same.
    for (written, token) in [("a b", "a b"), (r"a\nb", "a\nb"), ("\u{e9}", "\u{e9}"), (r"a\/b", "a/b")] {
        let body = format!(r#"{{"access_token":"t","refresh_token":"{written}"}}"#);
        assert_eq!(granted(Refresh, &body).refresh_token.unwrap().expose(), token);
    }
    let number = r#"{"access_token":"t","refresh_token":12345678901234567890123}"#;
    assert_eq!(granted(Refresh, number).refresh_token.unwrap().expose(), "12345678901234567890123");
}

/// Answers that hold no successor, though something in them looks like one: status · body
#[rustfmt::skip]
const NO_SUCCESSORS: &[(u16, &str)] = &[
    (400, r#"{"error":"invalid_grant","refresh_token":"old-refresh-token"}"#),
    (400, r#"{"error":"invalid_grant","request":{"refresh_token":"x1234567"}}"#),
    (400, r#"{"error":{"code":"x","refresh_token":"x1234567"}}"#),
    (400, r#"{"error":"x","error_description":"refresh_token=abc is not valid"}"#),
    (400, r#"{"error":"x","error_description":"{\"refresh_token\":\"abc12345\"}"}"#),
    (400, r#"{"error":"x","message":"expected {\"refresh_token\":\"abc12345\"}"}"#),
    (400, r#"{"error":"x","example":{"access_token":"t","refresh_token":"abc12345"}}"#),
    (400, r#"{"error":"x","refresh_token":""}"#),
    (400, r#"{"error":"x","refresh_token":null}"#),
    (400, r#"{"error":"x","refresh_token":"null"}"#),
    (400, r#"{"error":"x","refresh_token":"none"}"#),
    (400, r#"{"error":"x","refresh_token":"****"}"#),
    (400, r#"{"error":"x","refresh_token":"[FILTERED]"}"#),
    (400, r#"{"error":"x","refresh_token":"xxxxxxxx"}"#),
    (400, r#"{"error":"x","refresh_token":"abcd...wxyz"}"#),
    (400, r#"{"error":"x","refresh_token":"<refresh_token>"}"#),
    (400, r#"{"error":"x","refresh_token":"client-s3cret"}"#),
    (400, r#"{"error":"x","refresh_token":"abcdefgh"#),
    (400, r#"{"error":"x","refresh_tokens_left":"abcdefgh"}"#),
    (400, r#"{"error":"x","refresh_token":["is","missing"]}"#),
    (400, r#"{"refresh_token":["This field is required."]}"#),
    (400, r#"{"refresh_token":["unusable"]}"#),
    (400, r#"{"refresh_token":"This field is required."}"#),
    (400, r#"{"refresh_token":"must be a text"}"#),
    (400, r#"{"error":"x","refresh_token":"expired"}"#),
    (400, r#"{"error":"x","refresh_token":"INVALID_TOKEN"}"#),
    (400, "Invalid request. Expected for example {\"refresh_token\":\"abc12345\"}"),
    (400, "Expected:\n{\"refresh_token\":\"abc12345\"}"),
    (400, "<html><h1>Tokens</h1><pre>{\"access_token\":\"t\",\"refresh_token\":\"abc12345\"}</pre></html>"),
    (500, "<html><script>var x = {\"refresh_token\":\"abc12345\"};</script></html>"),
    (400, "refresh_token=abc12345 is unknown"),
    (400, "refresh_token=old-refresh-token"),
    (200, "Expected for example {\"refresh_token\":\"abc12345\"}"),
];

#[test]
fn what_is_not_a_successor_is_not_taken_for_one() {
    for (status, body) in NO_SUCCESSORS {
        let error = refused(Refresh, *status, body);
        assert!(
            error.successor.is_none(),
            "{status} {body}: {:?}",
            error.successor.map(|s| s.expose().to_owned())
        );
    }
    for body in [
        TOKEN,
        r#"{"access_token":"t","refresh_token":null}"#,
        r#"{"access_token":"t","refresh_token":""}"#,
        r#"{"access_token":"t","refresh_token":"None"}"#,
        r#"{"access_token":"t","refresh_token":false}"#,
    ] {
        assert!(granted(Refresh, body).refresh_token.is_none(), "{body}");
    }
    for body in [
        r#"{"access_token":"t","user":{"identities":[{"provider":"google","refresh_token":"x1234567"}]}}"#,
        r#"{"access_token":"t","authed_user":{"access_token":"u","refresh_token":"x1234567"}}"#,
    ] {
        assert!(granted(Refresh, body).refresh_token.is_none(), "{body}");
    }
    let echo = granted(
        Refresh,
        r#"{"access_token":"t","refresh_token":"old-refresh-token","user":{"refresh_token":"x1234567"}}"#,
    );
    assert_eq!(echo.refresh_token.unwrap().expose(), REFRESH_TOKEN, "the answer says that it stays");
    assert!(granted(Client, r#"{"access_token":"t","refresh_token":7}"#).refresh_token.is_none());
}

/// Body · lifetime in seconds
#[rustfmt::skip]
const LIFETIMES: &[(&str, Option<u64>)] = &[
    (r#"{"access_token":"t","expires_in":900}"#, Some(900)),
    (r#"{"access_token":"t","expires_in":"900"}"#, Some(900)),
    (r#"{"access_token":"t","expires_in":299.9}"#, Some(299)),
    (r#"{"access_token":"t","expires_in":" 299.9 "}"#, Some(299)),
    (r#"{"access_token":"t","expires_in":1e3}"#, Some(1000)),
    (r#"{"access_token":"t","expires_in":315360000}"#, Some(315_360_000)),
    (r#"{"access_token":"t","expires_in":3600000}"#, Some(3600)),
    (r#"{"access_token":"t","expires_in":900,"expiresIn":"600"}"#, Some(600)),
    (r#"{"access_token":"t","expire_in":14400}"#, Some(14_400)),
    (r#"{"access_token":"t","expires":5184000}"#, Some(5_184_000)),
    (r#"{"access_token":"t","expires_at":1800003600}"#, Some(3600)),
    (r#"{"access_token":"t","expires_at":"1800003600"}"#, Some(3600)),
    (r#"{"access_token":"t","expiresAt":1800003600000}"#, Some(3600)),
    (r#"{"access_token":"t","expires_at":"2027-01-15T09:00:00Z"}"#, Some(3600)),
    (r#"{"access_token":"t","expires_on":"1800003600","expires_in":"900"}"#, Some(900)),
    (r#"{"access_token":"t","expires_in":0,"expires_at":"2027-01-15T09:00:00Z"}"#, Some(3600)),
    (r#"{"access_token":"t",".expires":"Fri, 15 Jan 2027 09:00:00 GMT"}"#, Some(3600)),
    (r#"{"data":{"access_token":"t"},"expires_in":900}"#, Some(900)),
    (r#"{"data":{"access_token":"t","expires_in":600},"expires_in":900}"#, Some(600)),
    ("access_token=t&expires=5184000", Some(5_184_000)),
    ("<T><accessToken>t</accessToken><expiresIn> 900 </expiresIn></T>", Some(900)),
    // No lifetime, or one that cannot be: the default holds.
    (r#"{"access_token":"t"}"#, None),
    (r#"{"access_token":"t","expires_in":0}"#, None),
    (r#"{"access_token":"t","expires_in":"0"}"#, None),
    (r#"{"access_token":"t","expires_in":-1}"#, None),
    (r#"{"access_token":"t","expires_in":"-1"}"#, None),
    (r#"{"access_token":"t","expires_in":0.9}"#, None),
    (r#"{"access_token":"t","expires_in":null}"#, None),
    (r#"{"access_token":"t","expires_in":""}"#, None),
    (r#"{"access_token":"t","expires_in":"NaN"}"#, None),
    (r#"{"access_token":"t","expires_in":"inf"}"#, None),
    (r#"{"access_token":"t","expires_in":1e999}"#, None),
    (r#"{"access_token":"t","expires_in":"soon"}"#, None),
    (r#"{"access_token":"t","expires_in":"never"}"#, None),
    (r#"{"access_token":"t","expires_in":true}"#, None),
    (r#"{"access_token":"t","expires_in":[900]}"#, None),
    (r#"{"access_token":"t","expires_in":315360001}"#, None),
    (r#"{"access_token":"t","expires_in":9223372036854775807}"#, None),
    (r#"{"access_token":"t","expires_at":"2027-01-15T07:00:00Z"}"#, None),
    (r#"{"access_token":"t","expires_in":90"#, None),
];

#[test]
fn every_lifetime_is_read_and_none_keeps_a_token_from_being_used() {
    for (body, lifetime) in LIFETIMES {
        let seconds = |life: Option<u64>| life.map(Duration::from_secs);
        assert_eq!(granted(Client, body).lifetime, seconds(*lifetime), "{body}");
        let hour = AnswerRules { token_lifetime: Some(Duration::from_secs(7200)), ..AnswerRules::default() };
        let with_default = granted_with(hour, body).unwrap().lifetime;
        assert_eq!(with_default, seconds(lifetime.or(Some(7200))), "{body}");
    }
}

#[test]
fn a_jwt_tells_its_life_where_the_answer_does_not() {
    use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
    let jwt = |payload: &str| format!("eyJhbGciOiJub25lIn0.{}.c2ln", URL_SAFE_NO_PAD.encode(payload));
    let life = |token: &str, member: &str| {
        granted(Client, &format!(r#"{{"access_token":"{token}"{member}}}"#))
            .lifetime
            .map(|life| life.as_secs())
    };
    let hour = jwt(r#"{"exp":1800003600}"#);
    assert_eq!(life(&hour, ""), Some(3600));
    assert_eq!(life(&hour, r#","expires_in":0"#), Some(3600));
    assert_eq!(life(&hour, r#","expires_in":900"#), Some(900));
    for odd in [r#"{"exp":1700000000}"#, r#"{"exp":"soon"}"#, r#"{"exp":1e300}"#, "{}", "[]"] {
        assert_eq!(life(&jwt(odd), ""), None, "{odd}");
    }
}

#[test]
fn dates_are_measured_by_the_servers_own_clock() {
    let headers = [("date", "Fri, 15 Jan 2027 08:50:00 GMT")];
    let body = br#"{"access_token":"t","expires_at":"2027-01-15T09:00:00Z"}"#;
    let granted = judged(Client, &Reply { status: 200, headers: &headers, body }).unwrap();
    assert_eq!(granted.lifetime, Some(Duration::from_secs(600)));
}

#[test]
fn a_refresh_tokens_life_is_read_and_zero_is_told_from_unsaid() {
    let life = |member: &str| {
        let body = format!(r#"{{"access_token":"t","refresh_token":"new-refresh",{member}}}"#);
        granted(Refresh, &body).refresh_lifetime
    };
    let days = |days: u64| Some(RefreshLifetime::For(Duration::from_secs(days * 86_400)));
    for member in [
        r#""refresh_expires_in":15552000"#,
        r#""refresh_token_expires_in":15552000"#,
        r#""x_refresh_token_expires_in":"15552000""#,
        r#""refreshTokenExpiresIn":15552000"#,
        r#""refresh_token_expires_at":1815552000"#,
        r#""refresh_expires_at":"2027-07-14T08:00:00Z""#,
    ] {
        assert_eq!(life(member), days(180), "{member}");
    }
    for zero in ["0", "\"0\"", "-1"] {
        assert_eq!(
            life(&format!("\"refresh_expires_in\":{zero}")),
            Some(RefreshLifetime::Unlimited),
            "{zero}"
        );
    }
    for unsaid in ["-5", "null", "1e300", "\"never\"", "\"\""] {
        assert_eq!(life(&format!("\"refresh_expires_in\":{unsaid}")), None, "{unsaid}");
    }
    assert_eq!(life(r#""x":1"#), None);
}

#[test]
fn what_else_was_granted_is_told() {
    let granted_by = |body: &str| granted(Refresh, body);
    let granted =
        granted_by(r#"{"access_token":"t","id_token":"a.b.c","scope":"a b","token_type":"Bearer"}"#);
    assert_eq!(granted.id_token.unwrap().expose(), "a.b.c");
    assert_eq!((granted.scope.as_deref(), granted.token_type.as_deref()), (Some("a b"), Some("Bearer")));
    assert_eq!(granted_by(r#"{"access_token":"t","scope":["a","b"]}"#).scope.as_deref(), Some("a b"));
    assert_eq!(granted_by(r#"{"access_token":"t","scope":""}"#).scope, None);
    assert!(granted_by(TOKEN).id_token.is_none());
}

#[test]
fn the_configuration_says_where_members_lie() {
    let path = |text: &str| text.parse().unwrap();
    let members = [
        (TokenMember::AccessToken, path("auth.0.key")),
        (TokenMember::RefreshToken, path("auth.0.next")),
        (TokenMember::ExpiresIn, path("auth.0.ttl")),
        (TokenMember::Scope, path("auth.0.may")),
    ];
    let rules = AnswerRules { members: members.into(), ..AnswerRules::default() };
    let body = r#"{"access_token":"no","auth":[{"key":"t","next":"new-refresh","ttl":"900","may":"a"}]}"#;
    let at = endpoint(ClientAuth::Basic, rules.clone());
    let granted =
        judged_at(&at, Refresh, &Reply { status: 200, headers: &[], body: body.as_bytes() }).unwrap();
    assert_eq!(
        (granted.access_token.expose(), granted.refresh_token.unwrap().expose()),
        ("t", "new-refresh")
    );
    assert_eq!((granted.lifetime, granted.scope.as_deref()), (Some(Duration::from_secs(900)), Some("a")));
    // Where nothing lies there, the usual names hold.
    let usual = granted_with(rules, r#"{"access_token":"t","expires_in":600}"#).unwrap();
    assert_eq!((usual.access_token.expose(), usual.lifetime), ("t", Some(Duration::from_secs(600))));
}

#[test]
fn the_configuration_says_which_token_type_is_taken() {
    let with = |token_type, kind: &str| {
        let rules = AnswerRules { token_type, ..AnswerRules::default() };
        granted_with(rules, &format!(r#"{{"access_token":"t","token_type":"{kind}"}}"#)).is_ok()
    };
    assert!(with(TokenTypes::Any, "DPoP") && with(TokenTypes::Any, "mac"));
    assert!(with(TokenTypes::Only("ApiToken".to_owned()), "apitoken"));
    assert!(!with(TokenTypes::Only("ApiToken".to_owned()), "Bearer"));
    assert!(with(TokenTypes::Only("ApiToken".to_owned()), ""));
}

#[test]
fn the_configuration_says_what_ends_a_grant() {
    let class = |end: GrantEnd, shown, status, body: &str| {
        let rules = AnswerRules { grant_ended: vec![end], ..AnswerRules::default() };
        let reply = Reply { status, headers: &[], body: body.as_bytes() };
        judged_at(&endpoint(ClientAuth::Basic, rules), shown, &reply)
            .map_or_else(|error| Some(error.class), |_| None)
    };
    let error = |error: &str| GrantEnd { error: Some(error.to_owned()), ..GrantEnd::default() };
    let contains = |text: &str| GrantEnd { contains: Some(text.to_owned()), ..GrantEnd::default() };
    let odd = r#"{"error":"E-17","message":"L\u00e4den geschlossen"}"#;
    assert_eq!(class(error("E-17"), Refresh, 400, odd), Some(InvalidGrant));
    assert_eq!(class(error("E-17"), Refresh, 200, odd), Some(InvalidGrant));
    assert_eq!(class(error("e-17"), Refresh, 400, odd), Some(Refused), "a code is compared as it is written");
    assert_eq!(
        class(contains("LÄDEN"), Refresh, 400, odd),
        Some(InvalidGrant),
        "a text in any case, decoded"
    );
    assert_eq!(class(contains("läden"), Refresh, 400, "Die Läden sind zu"), Some(InvalidGrant));
    assert_eq!(class(error("E-17"), Client, 400, odd), Some(Misconfigured), "there is no grant");
    // A status that leaves the outcome open ends a grant only where it is named.
    assert_eq!(class(error("E-17"), Refresh, 500, odd), Some(ServerTrouble));
    let named = GrantEnd { status: Some(500), error: Some("E-17".to_owned()), contains: None };
    assert_eq!(class(named.clone(), Refresh, 500, odd), Some(InvalidGrant));
    assert_eq!(class(named, Refresh, 400, odd), Some(Refused));
    // Tokens beside it are worth more.
    let beside = r#"{"error":"E-17","access_token":"t","refresh_token":"new-refresh"}"#;
    assert_eq!(class(error("E-17"), Refresh, 200, beside), Some(Ambiguous));
    assert_eq!(class(error("E-17"), Refresh, 400, beside), Some(Ambiguous));
}

#[test]
fn expired_and_reused_are_told_apart_where_the_server_says_so() {
    let reason = |body: &str| {
        let error = refused(Refresh, 400, body);
        assert!(matches!(error.class, InvalidGrant | Refused), "{body}: {error}");
        error.reason
    };
    for expired in [
        r#"{"error":"invalid_request","error_description":"Refresh token expired."}"#,
        r#"{"error":"invalid_grant","error_description":"Token is not active"}"#,
        r#"{"error":"invalid_request","message":"The refresh token is invalid.","hint":"Token has expired"}"#,
        r#"{"error":"refresh_token_expired"}"#,
        r#"{"error":"odd","message":"your approval has expired"}"#,
    ] {
        assert_eq!(reason(expired), Some(EndReason::Expired), "{expired}");
    }
    for reused in [
        r#"{"error":"invalid_grant","error_description":"Maximum allowed refresh token reuse exceeded"}"#,
        r#"{"error":"invalid_grant","error_description":"Stale token"}"#,
        r#"{"code":400,"error_code":"refresh_token_already_used","msg":"Already Used"}"#,
        r#"{"error":"invalid_grant","error_description":"Refresh token has already been used"}"#,
    ] {
        assert_eq!(reason(reused), Some(EndReason::Reused), "{reused}");
    }
    for neither in [
        r#"{"error":"invalid_grant"}"#,
        r#"{"error":"invalid_grant","error_description":"Token has been expired or revoked."}"#,
        r#"{"error":"invalid_grant","error_description":"The provided authorization grant (e.g., authorization code, resource owner credentials) or refresh token is invalid, expired, revoked, does not match the redirection URI"}"#,
        r#"{"error":"invalid_grant","error_description":"Session not active"}"#,
    ] {
        assert_eq!(reason(neither), None, "{neither}");
    }
    let client =
        refused(Refresh, 401, r#"{"error":"invalid_client","error_description":"the secret has expired"}"#);
    assert_eq!((client.class, client.reason), (InvalidClient, None));
}

#[test]
fn an_answer_of_a_mebibyte_is_judged_at_once_whatever_it_repeats() {
    let fill = |begin: &str, piece: &str, end: &str| {
        format!("{begin}{}{end}", piece.repeat((1024 * 1024 - begin.len() - end.len()) / piece.len()))
    };
    for (status, body) in [
        (502, fill("<html>", "<script>", "")),
        (502, fill("<html>", "<script>x</script>", "")),
        (502, fill("<html>", "<style>", "</script>")),
        (400, fill("{", r#""message":"what was said of it once more","#, r#""x":1}"#)),
        (400, fill("{\"errors\":[", r#"{"message":"what was said"},"#, "{}]}")),
        (200, fill("", "{", "")),
        (200, fill("", "{\"a\":", "")),
        (200, fill("", "[", "")),
        (200, fill("", "a=b&", "")),
        (200, fill("<T>", "<a>", "")),
        (200, fill("\"", "\\\"", "")),
    ] {
        let begun = std::time::Instant::now();
        drop(judged(Refresh, &Reply { status, headers: &[], body: body.as_bytes() }));
        let took = begun.elapsed();
        assert!(took < std::time::Duration::from_secs(3), "{took:?} for {}…", &body[..40]);
    }
}

#[test]
fn what_may_have_been_executed_is_never_called_refused() {
    for (name, shown, status, headers, body, _) in REFUSALS {
        let error = judged(*shown, &Reply { status: *status, headers, body }).unwrap_err();
        if (500..600).contains(status) {
            assert!(error.may_have_rotated() && !error.class.is_definite(), "{name}");
        }
        assert!(!(error.may_have_rotated() && error.class.is_definite()), "{name}");
    }
}

#[test]
fn retry_after_is_read_from_any_refusal_and_capped() {
    let wait = |status, value| {
        let reply = Reply { status, headers: &[("retry-after", value)], body: b"" };
        judged(Refresh, &reply).unwrap_err().retry_after.map(|wait| wait.as_secs())
    };
    assert_eq!(wait(429, "30"), Some(30));
    assert_eq!(wait(503, "86400"), Some(3600));
    assert_eq!(wait(429, "later"), None);
    assert_eq!(wait(401, "5"), Some(5));
}

/// Location · what the detail says · what the action says
#[rustfmt::skip]
const REDIRECTS: &[(&str, &str, &str)] = &[
    ("https://login.example.com/p?secret=x", "https://login.example.com/p", "if tokens are issued there"),
    ("/oauth/token/", "redirected to /oauth/token/ ", "write token_url = \"https://auth.example.com/oauth/token/\""),
    ("https://auth.example.com/oauth/token/?a=secret", "/oauth/token/", "write token_url = \"https://auth.example.com/oauth/token/\""),
    ("/login?next=/oauth/token&secret=1", "redirected to /login ", "a login page"),
    ("token/", "/oauth/token/", "write token_url = \"https://auth.example.com/oauth/token/\""),
];

#[test]
fn a_redirect_names_the_path_to_write_and_no_query() {
    for (location, detail, action) in REDIRECTS {
        let error = judged(Client, &Reply { status: 308, headers: &[("location", location)], body: b"" })
            .unwrap_err();
        assert!(
            error.detail.contains(detail) && error.action().contains(action),
            "{error} {}",
            error.action()
        );
        assert!(!format!("{error} {}", error.action()).contains("secret"), "{error}");
    }
}

/// Status · body · what of it is told
#[rustfmt::skip]
const WORDS: &[(u16, &str, &str)] = &[
    (401, r#"{"error":"invalid_scope","error_description":"Unknown scope: products"}"#, "invalid_scope: Unknown scope: products"),
    (401, r#"{"code":401,"error":"client secret does not match","message":"Depop OAuth2 error"}"#, "client secret does not match: Depop OAuth2 error"),
    (401, r#"{"error":[{"code":"UNAUTHORIZED.GMP_GATEWAY_API","description":"Unauthorized"}]}"#, "UNAUTHORIZED.GMP_GATEWAY_API: Unauthorized"),
    (401, r#"{"error":{"code":"X_1","message":"no"}}"#, "X_1: no"),
    (401, "<errors><error><code>X_1</code><description>no</description></error></errors>", "X_1: no"),
    (400, r#"{"message":"Client is locked"}"#, "Client is locked"),
    (401, r#"{"fault":{"faultstring":"Invalid client identifier","detail":{"errorcode":"oauth.v2.InvalidClientIdentifier"}}}"#, "oauth.v2.InvalidClientIdentifier: Invalid client identifier"), // Apigee
    (401, r#"{"errorCode":"E0000011","errorSummary":"Invalid token provided","errorId":"x"}"#, "E0000011: Invalid token provided"), // Okta
    (400, r#"{"errors":[{"message":"first"},{"message":"second"}]}"#, "first"),
    (400, r#"{"errors":["plain words"]}"#, "plain words"),
    (400, r#"{"error":{"code":400,"message":"Bad thing","status":"INVALID_ARGUMENT"}}"#, "INVALID_ARGUMENT: Bad thing"), // Google
    (400, r#"{"type":"about:blank","title":"Bad Request","status":400,"detail":"Missing audience"}"#, "Bad Request: Missing audience"), // RFC 9457
    (400, r#"{"__type":"NotAuthorizedException","message":"Refresh Token is odd"}"#, "Refresh Token is odd"), // Cognito
    (400, r#"{"errcode":40013,"errmsg":"invalid appid"}"#, "40013: invalid appid"),
    (400, r#"{"error":"invalid_request","error_description":"d","error_hint":"h","error_debug":"g","error_uri":"https://e.example/u"}"#, "invalid_request: d; h; g; https://e.example/u"),
    (400, "something went wrong at gate 7", "something went wrong at gate 7"),
    (502, "<html><head><title>502 Bad Gateway</title></head><body><h1>502 Bad Gateway</h1><hr>nginx</body></html>", "502 Bad Gateway"),
    (500, "<html><head><title>RuntimeError at /o/token</title></head><h1>RuntimeError</h1><pre class=\"exception_value\">You called this URL via POST, but the URL doesn&#x27;t end in a slash and you have APPEND_SLASH set.</pre>", "you have APPEND_SLASH set"),
    (200, r#"{"ok":false,"error":"token_rotation_not_enabled"}"#, "token_rotation_not_enabled"),
    (400, r#"{"error_description":"only a description"}"#, "only a description"),
    (401, "", "the credentials were refused"),
];

#[test]
fn a_detail_tells_the_servers_reason() {
    for (status, body, words) in WORDS {
        let error = refused(Client, *status, body);
        assert!(error.to_string().contains(words), "{error}");
        assert!(error.to_string().contains(&status.to_string()), "{error}");
    }
    let challenge =
        [("www-authenticate", "DPoP error=\"use_dpop_nonce\", error_description=\"Nonce, please\"")];
    let error = judged(Refresh, &Reply { status: 401, headers: &challenge, body: b"" }).unwrap_err();
    assert!(error.detail.ends_with("use_dpop_nonce: Nonce, please"), "{error}");
    // Hydra: what matters comes after a long text that is always the same.
    let fixed = "Client authentication failed (e.g., unknown client, no client authentication included, or unsupported authentication method).";
    let matters = "The OAuth 2.0 Client supports client authentication method 'client_secret_basic', but method 'client_secret_post' was requested.";
    let hydra = format!(
        r#"{{"error":"invalid_client","error_description":"{fixed} {matters} {}"}}"#,
        "x".repeat(700)
    );
    let detail = refused(Client, 401, &hydra).detail;
    assert!(detail.contains(matters) && detail.chars().count() < 700, "{detail}");
}

/// Status · headers · body · what was shown · how the client authenticates · what the action says
type Case = (u16, &'static [(&'static str, &'static str)], &'static str, Shown, ClientAuth, &'static str);

#[rustfmt::skip]
const ADVICE: &[Case] = &[
    (401, &[("dpop-nonce", "n")], r#"{"error":"use_dpop_nonce"}"#, Refresh, ClientAuth::Basic, "DPoP"),
    (400, &[], r#"{"error":"invalid_dpop_proof"}"#, Refresh, ClientAuth::Basic, "DPoP"),
    (400, &[], r#"{"error":"invalid_request","error_description":"DPoP proof is missing"}"#, Code, ClientAuth::Basic, "DPoP"),
    (200, &[], r#"{"access_token":"t","token_type":"DPoP"}"#, Client, ClientAuth::Basic, "DPoP"),
    (200, &[], r#"{"access_token":"t","token_type":"mac"}"#, Client, ClientAuth::Basic, "token_type = \"any\""),
    (400, &[], r#"{"error":"invalid_request","error_description":"Pushed Authorization Request is required"}"#, Code, ClientAuth::Basic, "pushed authorization requests"),
    (401, &[], r#"{"error":"invalid_client"}"#, Refresh, ClientAuth::Basic, "client_auth = \"body\""),
    (401, &[], r#"{"error":"invalid_client"}"#, Refresh, ClientAuth::Body, "client_auth = \"basic\""),
    (401, &[], r#"{"error":"invalid_client"}"#, Refresh, ClientAuth::Basic, "secret has expired"),
    (403, &[], "", Refresh, ClientAuth::Basic, "client_id and client_secret"),
    (401, &[], r#"{"error":"invalid_client","error_description":"The OAuth 2.0 Client supports client authentication method 'client_secret_basic', but method 'client_secret_post' was requested."}"#, Client, ClientAuth::Body, "write client_auth = \"basic\""),
    (401, &[], r#"{"error":"invalid_client","error_description":"supports 'client_secret_post', but method 'client_secret_basic' was requested"}"#, Client, ClientAuth::Basic, "write client_auth = \"body\""),
    (401, &[], r#"{"error":"invalid_client","error_description":"client_assertion is missing"}"#, Client, ClientAuth::Basic, "RFC 7523"),
    (401, &[], r#"{"error":"unauthorized_client","error_description":"Client not enabled to retrieve service account"}"#, Client, ClientAuth::Basic, "Service account"),
    (400, &[], r#"{"error":"unauthorized_client"}"#, Refresh, ClientAuth::Basic, "allow the grant type `refresh_token`"),
    (400, &[], r#"{"error":"unsupported_grant_type"}"#, Client, ClientAuth::Basic, "check grant"),
    (400, &[], r#"{"error":"invalid_scope"}"#, Refresh, ClientAuth::Basic, "marketgate login APP@ACCOUNT"),
    (400, &[], r#"{"error":"invalid_scope"}"#, Client, ClientAuth::Basic, "check scopes"),
    (400, &[], r#"{"error":"redirect_uri_mismatch"}"#, Code, ClientAuth::Basic, "redirect_uri"),
    (400, &[], r#"{"error":"invalid_target"}"#, Client, ClientAuth::Basic, "token_request_params"),
    (400, &[], r#"{"error":"odd_words"}"#, Refresh, ClientAuth::Basic, "grant_ended"),
    (400, &[], r#"{"error":"invalid_grant"}"#, Refresh, ClientAuth::Basic, "marketgate login APP@ACCOUNT"),
    (500, &[], "<html><title>RuntimeError at /o/token</title><pre class=\"exception_value\">the URL doesn&#x27;t end in a slash and you have APPEND_SLASH set.</pre>", Client, ClientAuth::Basic, "slash at its end"),
    (308, &[("location", "/oauth/token/")], "", Client, ClientAuth::Basic, "write token_url = "),
    (404, &[], "", Client, ClientAuth::Basic, "token_url"),
    (405, &[], "", Client, ClientAuth::Basic, "token_url"),
    (415, &[], "", Client, ClientAuth::Basic, "JSON"),
    (407, &[], "", Client, ClientAuth::Basic, "upstream.proxy_url"),
    (403, &[], "<html><title>Attention Required!</title></html>", Client, ClientAuth::Basic, "firewall"),
    (200, &[], "<html><title>Sign in</title></html>", Client, ClientAuth::Basic, "token_url"),
    (429, &[], "", Client, ClientAuth::Basic, "token_budget"),
    (503, &[], "", Client, ClientAuth::Basic, "keeps trying"),
];

#[test]
fn every_action_fits_what_the_server_demands() {
    for (status, headers, body, shown, client_auth, action) in ADVICE {
        let at = endpoint(*client_auth, AnswerRules::default());
        let reply = Reply { status: *status, headers, body: body.as_bytes() };
        let error = judged_at(&at, *shown, &reply).unwrap_err();
        assert!(error.action().contains(action), "{status} {body}: {}", error.action());
    }
}

#[test]
fn a_secret_that_form_encoding_changes_has_basic_raw_named() {
    let endpoint = endpoint(ClientAuth::Basic, AnswerRules::default());
    let secret = Secret::new("a+b/c=%");
    let request = TokenRequest {
        endpoint: &endpoint,
        client_id: "c",
        client_secret: &secret,
        grant: GrantRequest::ClientCredentials,
        settings: &|_: &str| -> Option<Cow<'_, str>> { None },
        limit: Duration::from_secs(1),
    };
    let headers = HeaderMap::new();
    let body = br#"{"error":"invalid_client"}"#;
    let answer = Answer {
        status: StatusCode::UNAUTHORIZED,
        headers: &headers,
        body,
        cut: None,
        received: SystemTime::now(),
    };
    let error = judge(&answer, &request).unwrap_err();
    assert!(error.action().contains("client_auth = \"basic-raw\""), "{}", error.action());
}

#[test]
fn no_error_shows_a_secret_or_a_token() {
    // The last is HTTP Basic of the client's id and secret.
    let echo = format!(
        r#"{{"error":"x {CLIENT_SECRET}","error_description":"{REFRESH_TOKEN}\r\nforged","message":"Basic dGhlLWNsaWVudDpjbGllbnQtczNjcmV0","access_token":"leaky-access-token-0123456789","refresh_token":"leaky refresh"}}"#
    );
    for status in [200, 302, 400, 401, 403, 429, 500] {
        for body in [
            echo.clone(),
            echo[..echo.len() - 1].to_owned(),
            format!("[{echo}]"),
            format!("<html>{echo}"),
            format!("oops {echo}"),
        ] {
            let error = refused(Refresh, status, &body);
            for shown in [format!("{error:?}"), error.to_string(), error.action().to_owned()] {
                for marker in [CLIENT_SECRET, REFRESH_TOKEN, "leaky", "dGhlLWNs", "\n"] {
                    assert!(!shown.contains(marker), "{status} {body} {shown}");
                }
            }
        }
    }
}

#[test]
fn every_class_has_a_name_words_and_a_remedy() {
    let all = Class::ALL;
    let names: std::collections::BTreeSet<_> = all.iter().map(|class| class.outcome()).collect();
    let words: std::collections::BTreeSet<_> = all.iter().map(ToString::to_string).collect();
    assert_eq!((names.len(), words.len()), (all.len(), all.len()));
    assert!(all.iter().all(|class| !TokenError::new(*class, "").action().is_empty()));
    assert_eq!(all.iter().filter(|class| class.is_definite()).count(), 4);
}

#[test]
fn ten_megabytes_of_garbage_cost_no_more_than_a_moment() {
    const SIZE: usize = 10 * 1024 * 1024;
    let begun = std::time::Instant::now();
    for piece in [
        "{",
        "[",
        "{\"a\":",
        "<a>",
        "\"",
        "\\",
        "{\"refresh_token\":\"",
        "<br>{",
        "a=b&",
        "{\"a\":\"{\\\"",
        "<!--",
        "\u{e9}{(",
        "error=",
    ] {
        let body = piece.repeat(SIZE / piece.len());
        for status in [200, 400] {
            _ = judged(Refresh, &Reply { status, headers: &[], body: body.as_bytes() });
        }
    }
    assert!(begun.elapsed() < Duration::from_secs(60), "{:?}", begun.elapsed());
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
            let outcome = judged(shown, &Reply { status, headers: &headers, body: body.as_bytes() });
            prop_assert!(outcome.is_err() || (200..300).contains(&status));
        }
    }

    #[test]
    fn no_bytes_make_it_panic(
        bytes in prop::collection::vec(any::<u8>(), 0..200),
        before in prop::sample::select(vec!["", "{\"error\":", "<a>", "<html>", "a=", "\u{1f}\u{8b}"]),
        coding in prop::sample::select(vec!["identity", "gzip", "deflate", "br", "zstd", "br, gzip", "x"]),
    ) {
        let body = [before.as_bytes(), &bytes].concat();
        for status in [200, 400] {
            _ = judged(Refresh, &Reply { status, headers: &[("content-encoding", coding)], body: &body });
        }
    }

    #[test]
    fn a_whole_successor_survives_every_cut_behind_it(cut in 0..60_usize) {
        let whole = r#"{"access_token":"t","refresh_token":"new-refresh","expires_in":900,"scope":"a b c","x":{"y":[1,2]}}"#;
        let body = &whole[..whole.len() - cut.min(50)];
        let outcome = judged(Refresh, &Reply { status: 200, headers: &[], body: body.as_bytes() });
        let refresh_token = outcome.unwrap().refresh_token.unwrap();
        prop_assert_eq!(refresh_token.expose(), "new-refresh");
    }

    #[test]
    fn a_cut_never_makes_a_shorter_token(cut in 1..80_usize) {
        let whole = r#"{"access_token":"access-0123456789","refresh_token":"new-refresh-0123456789"}"#;
        let body = &whole[..whole.len() - cut.min(whole.len())];
        match judged(Refresh, &Reply { status: 200, headers: &[], body: body.as_bytes() }) {
            Ok(granted) => {
                prop_assert_eq!(granted.access_token.expose(), "access-0123456789");
                let refresh_token = granted.refresh_token.unwrap();
                prop_assert_eq!(refresh_token.expose(), "new-refresh-0123456789");
            }
            Err(error) => prop_assert!(error.successor.is_none() && error.class == Ambiguous),
        }
    }
}
