//! Recognises the answers that mean "this token is no longer good". The one rule: what was read to find out is passed on
//! unchanged.

use std::io::Read;

use http::{HeaderMap, Response, StatusCode, header};

use super::{
    body::{ReplyBody, read_ahead},
    upstream::{UpstreamBody, UpstreamError},
};
use crate::provider::ExpirySignal;

/// How much of an answer is looked at, before and after decoding.
const LOOK: usize = 8 * 1024;

/// What an answer's status says of the token.
pub enum Verdict<'a> {
    /// Nothing.
    Passed,
    /// It was refused.
    Refused,
    /// It was refused if the body holds one of these codes.
    Doubtful(Vec<&'a str>),
}

/// Judges an answer by its status and its challenge (RFC 6750 §3).
pub fn judge<'a>(status: StatusCode, headers: &HeaderMap, signals: &'a [ExpirySignal]) -> Verdict<'a> {
    if status.is_success() {
        return Verdict::Passed;
    }
    if status == StatusCode::UNAUTHORIZED || names_invalid_token(headers) {
        return Verdict::Refused;
    }
    let here: Vec<_> = signals.iter().filter(|signal| signal.status == status.as_u16()).collect();
    if here.iter().any(|signal| signal.contains.is_none()) {
        return Verdict::Refused;
    }
    let texts: Vec<&str> = here.into_iter().filter_map(|signal| signal.contains.as_deref()).collect();
    if texts.is_empty() { Verdict::Passed } else { Verdict::Doubtful(texts) }
}

/// Whether a challenge says `error="invalid_token"` (RFC 6750 §3.1, RFC 9449 §7.1), in whatever scheme. Looked for as text:
/// many servers break the grammar of challenges, with unquoted spaces or quotes within quotes.
pub fn names_invalid_token(headers: &HeaderMap) -> bool {
    headers.get_all(header::WWW_AUTHENTICATE).iter().any(|field| {
        let field = String::from_utf8_lossy(field.as_bytes()).to_ascii_lowercase();
        field.match_indices("error").any(|(at, name)| {
            let begins = !field[..at].ends_with(is_token_character);
            let value = field[at + name.len()..].trim_start().strip_prefix('=');
            let value = value.map(|value| value.trim_start().trim_start_matches(['"', '\'']));
            let rest = value.and_then(|value| value.strip_prefix("invalid_token"));
            begins && rest.is_some_and(|rest| !rest.starts_with(is_token_character))
        })
    })
}

fn is_token_character(c: char) -> bool {
    c.is_ascii_alphanumeric() || "!#$%&*+-.^_`|~".contains(c)
}

/// Whether the body names one of these codes, and the answer as it was.
///
/// # Errors
/// When the upstream breaks off meanwhile.
pub async fn look_into(
    response: Response<UpstreamBody>,
    codes: Vec<&str>,
) -> Result<(bool, Response<ReplyBody>), UpstreamError> {
    let (head, body) = response.into_parts();
    let (seen, body) = read_ahead(body, LOOK).await?;
    let encoding = head.headers.get(header::CONTENT_ENCODING).map(http::HeaderValue::as_bytes);
    let refused = names_a_code(&decoded(seen, encoding), &codes);
    Ok((refused, Response::from_parts(head, ReplyBody::Begun(body))))
}

fn names_a_code(body: &[u8], codes: &[&str]) -> bool {
    let holds = |code: &str| body.windows(code.len()).any(|window| window == code.as_bytes());
    codes.iter().any(|code| !code.is_empty() && holds(code))
}

/// What the body says once decoded, as far as it goes: a cut-off stream gives what it held.
fn decoded(body: Vec<u8>, encoding: Option<&[u8]>) -> Vec<u8> {
    let mut out = Vec::new();
    let read = match encoding {
        Some(b"gzip" | b"x-gzip") => {
            flate2::read::GzDecoder::new(&body[..]).take(LOOK as u64).read_to_end(&mut out)
        }
        Some(b"deflate") => flate2::read::ZlibDecoder::new(&body[..]).take(LOOK as u64).read_to_end(&mut out),
        _ => return body,
    };
    // An error here only means that the stream goes on beyond what was read.
    drop(read);
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn verdict(status: u16, challenge: &str, signals: &[ExpirySignal]) -> &'static str {
        let mut headers = HeaderMap::new();
        headers.insert(header::WWW_AUTHENTICATE, challenge.parse().unwrap());
        match judge(StatusCode::from_u16(status).unwrap(), &headers, signals) {
            Verdict::Passed => "passed",
            Verdict::Refused => "refused",
            Verdict::Doubtful(_) => "doubtful",
        }
    }

    #[test]
    fn a_challenge_that_names_an_invalid_token_is_understood_with_every_status_but_success() {
        for challenge in [
            r#"Bearer error="invalid_token""#,
            "Bearer error=invalid_token",
            r#"Bearer realm="a", error="invalid_token", error_description="expired""#,
            r#"Basic realm="x, y", bearer Error = "invalid_token""#,
            r#"DPoP algs="ES256", error="invalid_token""#,
            r#"Bearer realm=my shop, error="invalid_token", error_description="it "ended"""#,
            r#"Bearer realm="a",error='invalid_token'"#,
        ] {
            for status in [400, 403, 404, 500, 302] {
                assert_eq!(verdict(status, challenge, &[]), "refused", "{status} {challenge}");
            }
            assert_eq!(verdict(200, challenge, &[]), "passed", "{challenge}");
        }
        for challenge in [
            "Bearer",
            r#"Bearer error="insufficient_scope""#,
            r#"Bearer error="invalid_token_type""#,
            r#"Bearer error_description="invalid_token""#,
            r#"Bearer last-error="invalid_token""#,
            r#"Bearer error="", x="invalid_token""#,
        ] {
            assert_eq!(verdict(403, challenge, &[]), "passed", "{challenge}");
            assert_eq!(verdict(401, challenge, &[]), "refused", "{challenge}");
        }
    }

    #[test]
    fn a_status_alone_may_say_it_and_a_text_is_looked_for_otherwise() {
        let signal =
            |contains: Option<&str>| ExpirySignal { status: 403, contains: contains.map(Into::into) };
        assert_eq!(verdict(403, "Bearer", &[signal(None)]), "refused");
        assert_eq!(verdict(403, "Bearer", &[signal(Some("expired"))]), "doubtful");
        assert_eq!(verdict(404, "Bearer", &[signal(None)]), "passed");
    }

    const CODE: &str = "INVALID_TOKEN.GMP_GATEWAY_API";

    #[test]
    fn a_code_is_found_in_plain_and_in_compressed_bodies() {
        let body = format!("{{\"error\":[{{\"code\":\"{CODE}\"}}]}}{}", " ".repeat(20_000)).into_bytes();
        assert!(names_a_code(&decoded(body.clone(), None), &[CODE]));
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        gzip.write_all(&body).unwrap();
        let mut cut = gzip.finish().unwrap();
        cut.truncate(cut.len() - 10);
        assert!(names_a_code(&decoded(cut, Some(b"gzip")), &[CODE]));
        assert!(!names_a_code(b"{}", &[CODE]));
    }
}
