//! Paths that some server would read as climbing upwards. The one rule: ambiguity is refused, not repaired.
//!
//! The path goes on byte for byte, so whatever decodes it next decides what it means. A segment that reads `.` or `..`
//! in any of the usual ways (decoded up to twice, `\` for `/`, cut at `;`, NUL or an encoded `?` or `#`, overlong UTF-8)
//! would leave the upstream's base path there, and with it the environment or the account.

use std::borrow::Cow;

/// Refuses a path and query whose path holds a dot segment for any reader.
///
/// # Errors
/// A sentence that names the mistake.
pub fn refuse(path_and_query: &str) -> Result<(), String> {
    let path = path_and_query.split('?').next().unwrap_or_default();
    // Nothing can decode to a dot segment without a dot, a percent sign or a backslash.
    if !path.bytes().any(|b| matches!(b, b'.' | b'%' | b'\\')) {
        return Ok(());
    }
    let mut bytes = Cow::Borrowed(path.as_bytes());
    for _ in 0..=2 {
        if has_dot_segment(&bytes) {
            return Err("the path holds a `.` or `..` segment, perhaps encoded: write the path it leads to"
                .to_owned());
        }
        bytes = Cow::Owned(decode(&bytes));
    }
    Ok(())
}

fn has_dot_segment(path: &[u8]) -> bool {
    let plain = without_overlong(path);
    plain.split(|b| matches!(b, b'/' | b'\\')).any(|segment| {
        let cut = segment.iter().position(|b| matches!(b, b';' | b'?' | b'#' | 0)).unwrap_or(segment.len());
        matches!(&segment[..cut], b"." | b"..")
    })
}

/// One round of percent-decoding, `%uXXXX` (as some servers of Microsoft's read it) included.
fn decode(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let Some((&first, tail)) = rest.split_first() {
        match (first, hex(tail.get(..2)), tail) {
            (b'%', Some(byte), _) => {
                out.push((byte & 0xff) as u8);
                rest = &tail[2..];
            }
            (b'%', None, [b'u' | b'U', digits @ ..]) if hex(digits.get(..4)).is_some_and(|c| c < 0x80) => {
                out.push((hex(digits.get(..4)).unwrap_or_default() & 0x7f) as u8);
                rest = &digits[4..];
            }
            _ => {
                out.push(first);
                rest = tail;
            }
        }
    }
    out
}

fn hex(digits: Option<&[u8]>) -> Option<u32> {
    let digits = digits?;
    let digit = |value: Option<u32>, b: &u8| Some(value? * 16 + char::from(*b).to_digit(16)?);
    digits.iter().fold(Some(0), digit)
}

/// Folds overlong UTF-8 forms of ASCII (`C0 AE` for `.`) into the character that careless decoders read.
fn without_overlong(bytes: &[u8]) -> Cow<'_, [u8]> {
    if !bytes.iter().any(|b| matches!(b, 0xc0 | 0xc1 | 0xe0 | 0xf0)) {
        return Cow::Borrowed(bytes);
    }
    let mut out = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let Some(&first) = rest.first() {
        let (byte, taken) = match rest {
            [high @ (0xc0 | 0xc1), low @ 0x80..=0xbf, ..] => ((high & 1) << 6 | (low & 0x3f), 2),
            [0xe0, middle @ (0x80 | 0x81), low @ 0x80..=0xbf, ..] => ((middle & 1) << 6 | (low & 0x3f), 3),
            [0xf0, 0x80, middle @ (0x80 | 0x81), low @ 0x80..=0xbf, ..] => {
                ((middle & 1) << 6 | (low & 0x3f), 4)
            }
            _ => (first, 1),
        };
        out.push(byte);
        rest = &rest[taken..];
    }
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn dot_segments_are_refused_in_every_encoding() {
        for bad in [
            "/..",
            "/../x",
            "/a/..",
            "/a/./b",
            "/.",
            "/%2e%2e/x",
            "/%2E./x",
            "/.%2e",
            "/%252e%252e/x",
            "/%25%32%65.",
            "/..;/x",
            "/..;a=b/x",
            "/%2e%2e%3b/x",
            "/a\\..\\b",
            "/a%5c..%5cb",
            "/a%2f..%2fb",
            "/a%252f..%252fb",
            "/..%00/x",
            "/..%3f/x",
            "/..%23",
            "/%c0%ae%c0%ae/x",
            "/%c0%ae./x",
            "/..%c0%af",
            "/%e0%80%ae%e0%80%ae/",
            "/%f0%80%80%ae./x",
            "/%u002e%u002e/x",
            "\\..",
            "/a/%2e;/b",
            "/%2e%2e",
            "..",
            "./x",
        ] {
            assert!(refuse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn legal_paths_pass_whatever_their_query_holds() {
        for good in [
            "",
            "/",
            "/a/b",
            "/a//b",
            "/a%2Fb",
            "/a+b",
            "/a%20b/",
            "/.well-known/x",
            "/a..b",
            "/...",
            "/..a",
            "/a.",
            "/v3/items?x=/../y",
            "?a=..",
            "/caf%C3%A9",
            "/%E2%82%AC",
            "/100%",
            "/%zz",
            "/a;b=..",
            "/sku%252F1",
        ] {
            assert!(refuse(good).is_ok(), "{good}");
        }
    }

    /// What other software makes of a path: one or two decodings, then the URL standard's own resolution.
    fn escapes(path: &str) -> bool {
        let mut text = path.to_owned();
        for _ in 0..3 {
            let url = url::Url::parse(&format!("http://x/base/{}", text.trim_start_matches('/'))).unwrap();
            if !url.path().starts_with("/base/") {
                return true;
            }
            text = String::from_utf8_lossy(&decode(text.as_bytes())).into_owned();
        }
        false
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4000))]
        #[test]
        fn what_passes_never_climbs_for_another_reader(parts in proptest::collection::vec(
            prop_oneof!["/", "\\.", "\\.\\.", "%2e", "%2E", "%252e", "%5c", "\\\\", ";", "%2f", "%252f", "a", "%25", "2e", "%3b", "\\?", "%00"], 0..10)) {
            let path = format!("/{}", parts.concat());
            prop_assert!(refuse(&path).is_err() || !escapes(path.split('?').next().unwrap()), "{path}");
        }
    }
}
