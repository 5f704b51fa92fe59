//! The head of a marketplace's answer, before it goes on: our own credential is cut out of it, and what a browser would show
//! as a page is confined. Bodies stay as they are.

use std::ops::Range;

use bytes::BytesMut;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use hyper::ext::ReasonPhrase;

use crate::{grant::Credential, provider::Dressing};

/// A shorter credential may be a word by chance.
const SHORTEST: usize = 8;

/// What stands in the place of a credential: it may stand in a URL and in a quoted string.
const CUT: &[u8] = b"***";

/// Cuts the credential, and the other secrets that went out with it, out of an answer's head, wherever they stand, also
/// percent-encoded.
pub fn cut_out<B>(response: &mut Response<B>, credential: &Credential, dressing: &Dressing) {
    cut_secret(response, credential.token.secret.expose().as_bytes());
    for secret in dressing.secrets() {
        cut_secret(response, secret.as_bytes());
    }
}

fn cut_secret<B>(response: &mut Response<B>, secret: &[u8]) {
    if secret.len() < SHORTEST {
        return;
    }
    for value in response.headers_mut().values_mut() {
        // Nearly every value is shorter than a token.
        if value.len() >= secret.len()
            && let Some(rest) = without(value.as_bytes(), secret)
        {
            *value = HeaderValue::from_maybe_shared(rest.freeze())
                .unwrap_or_else(|_| HeaderValue::from_static(""));
        }
    }
    let reason = response.extensions().get::<ReasonPhrase>();
    if reason.is_some_and(|reason| find(reason.as_bytes(), secret).is_some()) {
        response.extensions_mut().remove::<ReasonPhrase>();
    }
}

/// A value without a secret; None where it does not hold it.
fn without(value: &[u8], secret: &[u8]) -> Option<BytesMut> {
    let mut found = find(value, secret)?;
    let (mut rest, mut left) = (BytesMut::with_capacity(value.len()), value);
    loop {
        rest.extend_from_slice(&left[..found.start]);
        rest.extend_from_slice(CUT);
        left = &left[found.end..];
        match find(left, secret) {
            Some(next) => found = next,
            None => break,
        }
    }
    rest.extend_from_slice(left);
    Some(rest)
}

fn find(value: &[u8], secret: &[u8]) -> Option<Range<usize>> {
    if !value.contains(&b'%') {
        return memchr::memmem::find(value, secret).map(|start| start..start + secret.len());
    }
    (0..value.len()).find_map(|start| Some(start..start + encoded(&value[start..], secret)?))
}

/// The length of the secret at the beginning of a text, each octet as it is or percent-encoded, once or twice.
fn encoded(text: &[u8], secret: &[u8]) -> Option<usize> {
    let mut at = 0;
    for octet in secret {
        at += spelling(&text[at..], *octet)?;
    }
    Some(at)
}

fn spelling(text: &[u8], octet: u8) -> Option<usize> {
    let coded = |prefix: &[u8]| {
        let digits = text.strip_prefix(prefix)?.get(..2)?;
        let number = u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
        (number == octet).then_some(prefix.len() + 2)
    };
    if text.first() == Some(&octet) { Some(1) } else { coded(b"%").or_else(|| coded(b"%25")) }
}

/// Confines an answer that a browser would show as a page, or might take for one: at our address it would stand beside
/// every other app's. What the marketplace itself says of it stays.
pub fn confine<B>(response: &mut Response<B>) {
    if !may_be_a_page(response.status(), response.headers()) {
        return;
    }
    let headers = response.headers_mut();
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.append(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static("sandbox"));
}

fn may_be_a_page(status: StatusCode, headers: &HeaderMap) -> bool {
    let mut types = headers.get_all(header::CONTENT_TYPE).iter().peekable();
    if types.peek().is_some() {
        return types.any(|kind| kind.as_bytes().split(|byte| *byte == b',').any(is_page_type));
    }
    let is_empty = headers.get(header::CONTENT_LENGTH).is_some_and(|length| length.as_bytes() == b"0");
    !is_empty && !matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
}

/// HTML, SVG, and what browsers look into to find out (MIME Sniffing §7). Other XML is what APIs answer with: a browser would
/// have to navigate here to make a page of it, and navigations are refused.
fn is_page_type(kind: &[u8]) -> bool {
    let essence = kind.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
    let is = |known: &[u8]| essence.eq_ignore_ascii_case(known);
    if is(b"application/json") {
        return false;
    }
    let ends = |end: &[u8]| {
        essence.len().checked_sub(end.len()).is_some_and(|at| essence[at..].eq_ignore_ascii_case(end))
    };
    ends(b"html")
        || is(b"application/xhtml+xml")
        || is(b"image/svg+xml")
        || is(b"text/xsl")
        || is(b"multipart/x-mixed-replace")
        || !essence.contains(&b'/')
        || is(b"*/*")
        || is(b"unknown/unknown")
        || is(b"application/unknown")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(value: &str, secret: &str) -> Option<String> {
        without(value.as_bytes(), secret.as_bytes()).map(|rest| String::from_utf8(rest.to_vec()).unwrap())
    }

    #[test]
    fn a_secret_is_cut_out_however_it_is_encoded_and_nothing_else_is_touched() {
        let secret = "tok+en/12=";
        for (value, rest) in [
            ("tok+en/12=", "***"),
            ("Bearer error=\"x\", token=\"tok+en/12=\"", "Bearer error=\"x\", token=\"***\""),
            ("tok+en/12=tok+en/12=", "******"),
            ("/x?t=tok%2Ben%2F12%3D&y=%20", "/x?t=***&y=%20"),
            ("/x?t=tok%2ben%2f12%3d#tok+en/12=", "/x?t=***#***"),
            ("/x?u=%2Fy%3Ft%3Dtok%252Ben%252F12%253D", "/x?u=%2Fy%3Ft%3D***"),
            ("%74%6F%6B%2B%65%6E%2F%31%32%3D", "***"),
        ] {
            assert_eq!(cut(value, secret).as_deref(), Some(rest), "{value}");
        }
        for value in ["", "tok+en/12", "TOK+EN/12=", "tok%2Ben%2F12%3", "%", "%2", "100%"] {
            assert_eq!(cut(value, secret), None, "{value}");
        }
    }

    #[test]
    fn what_a_browser_might_show_as_a_page_is_confined() {
        let confined = |status: u16, fields: &[(&'static str, &'static str)]| {
            let mut response = Response::builder().status(status);
            for (name, value) in fields {
                response = response.header(*name, *value);
            }
            let mut response = response.body(()).unwrap();
            confine(&mut response);
            response.headers().contains_key("content-security-policy")
        };
        for kind in [
            "text/html",
            "TEXT/HTML; charset=utf-8",
            "application/xhtml+xml",
            "image/svg+xml",
            "text/xsl",
            "multipart/x-mixed-replace; boundary=x",
            "text",
            "",
            "*/*",
            "unknown/unknown",
            "application/json, text/html",
        ] {
            assert!(confined(200, &[("content-type", kind)]), "{kind}");
        }
        for kind in [
            "application/json",
            "application/json; charset=utf-8",
            "application/problem+json",
            "text/plain",
            "image/png",
            "text/csv",
            "application/octet-stream",
            "text/event-stream",
            "application/xml",
            "text/xml; charset=utf-8",
            "multipart/mixed; boundary=x",
        ] {
            assert!(!confined(200, &[("content-type", kind)]), "{kind}");
        }
        assert!(confined(200, &[]) && confined(200, &[("content-length", "5")]));
        assert!(!confined(204, &[]) && !confined(304, &[]) && !confined(200, &[("content-length", "0")]));
    }
}
