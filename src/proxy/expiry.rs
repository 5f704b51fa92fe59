//! Recognises the answers that mean "this token is no longer good". The one rule: what was read to find out is passed on
//! unchanged.

use std::io::Read;

use http::{Response, StatusCode, header};

use super::{
    body::{ReplyBody, read_ahead},
    upstream::{UpstreamBody, UpstreamError},
};
use crate::provider::ExpirySignal;

/// How much of an answer is looked at, before and after decoding.
const LOOK: usize = 8 * 1024;

/// What an answer's status says of the token.
pub enum Verdict<'a> {
    /// Nothing. A 403 never means that the token is the matter.
    Passed,
    /// It was refused.
    Refused,
    /// It was refused if the body holds one of these codes.
    Doubtful(Vec<&'a str>),
}

/// Judges an answer by its status.
pub fn judge(status: StatusCode, signals: &[ExpirySignal]) -> Verdict<'_> {
    if status == StatusCode::UNAUTHORIZED {
        return Verdict::Refused;
    }
    let here: Vec<_> = signals.iter().filter(|signal| signal.status == status.as_u16()).collect();
    if here.iter().any(|signal| signal.contains.is_none()) {
        return Verdict::Refused;
    }
    let texts: Vec<&str> = here.into_iter().filter_map(|signal| signal.contains.as_deref()).collect();
    if texts.is_empty() { Verdict::Passed } else { Verdict::Doubtful(texts) }
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
