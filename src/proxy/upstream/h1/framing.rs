//! How long an answer's body is (RFC 9112 §6.3). The one rule: where the fields leave a
//! doubt, no length is guessed.

use http::{
    HeaderMap, Method, StatusCode, Version,
    header::{CONTENT_LENGTH, TRANSFER_ENCODING},
};

/// Where a body ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Framing {
    /// After so many bytes.
    Length(u64),
    /// After the chunk that has none.
    Chunked,
    /// With the connection.
    Close,
}

impl Framing {
    /// That of an answer's body, or why none can be told.
    pub(super) fn of(
        method: &Method,
        status: StatusCode,
        version: Version,
        fields: &HeaderMap,
    ) -> Result<Self, &'static str> {
        let has_no_body = matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
        if has_no_body || *method == Method::HEAD {
            return Ok(Self::Length(0));
        }
        if fields.contains_key(TRANSFER_ENCODING) {
            return match is_chunked_last(fields) {
                _ if version != Version::HTTP_11 => Err("its answer has a Transfer-Encoding, in HTTP/1.0"),
                true => Ok(Self::Chunked),
                false => Ok(Self::Close),
            };
        }
        length(fields).map(|length| length.map_or(Self::Close, Self::Length))
    }
}

/// Several lengths are one if they are equal (RFC 9110 §8.6).
fn length(fields: &HeaderMap) -> Result<Option<u64>, &'static str> {
    let lines = fields.get_all(CONTENT_LENGTH).iter();
    let mut lengths = lines
        .flat_map(|line| line.as_bytes().split(|byte| *byte == b','))
        .map(|digits| number(digits.trim_ascii()).ok_or("its answer has a Content-Length that is no number"));
    let Some(first) = lengths.next().transpose()? else { return Ok(None) };
    for other in lengths {
        if other? != first {
            return Err("its answer has several Content-Lengths that differ");
        }
    }
    Ok(Some(first))
}

/// Has what was found to be one length stand there as one number, and nothing where it is none: what follows is a reader who may
/// take another of them. Only of an answer without a body can that be.
pub(super) fn settle(fields: &mut HeaderMap) {
    let mut lines = fields.get_all(CONTENT_LENGTH).iter();
    let Some(first) = lines.next() else { return };
    let is_alone = lines.next().is_none();
    if is_alone
        && matches!(first.as_bytes(), [b'0'] | [b'1'..=b'9', ..])
        && number(first.as_bytes()).is_some()
    {
        return;
    }
    match length(fields) {
        Ok(Some(length)) => drop(fields.insert(CONTENT_LENGTH, length.into())),
        _ => drop(fields.remove(CONTENT_LENGTH)),
    }
}

/// Digits and nothing else.
pub(super) fn number(digits: &[u8]) -> Option<u64> {
    let is_plain = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    is_plain.then(|| str::from_utf8(digits).ok()?.parse().ok())?
}

fn is_chunked_last(fields: &HeaderMap) -> bool {
    let last = fields.get_all(TRANSFER_ENCODING).iter().next_back();
    let last = last.and_then(|value| value.to_str().ok()?.rsplit(',').next());
    last.is_some_and(|coding| coding.trim().eq_ignore_ascii_case("chunked"))
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};

    use super::*;

    fn of(fields: &[(&'static str, &'static str)]) -> Result<Framing, &'static str> {
        under(&Method::GET, 200, Version::HTTP_11, fields)
    }

    fn under(
        method: &Method,
        status: u16,
        version: Version,
        fields: &[(&'static str, &'static str)],
    ) -> Result<Framing, &'static str> {
        let fields: HeaderMap = fields
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
            .collect();
        Framing::of(method, StatusCode::from_u16(status).unwrap(), version, &fields)
    }

    #[test]
    fn a_length_is_digits_and_several_are_one_only_if_they_are_equal() {
        assert_eq!(of(&[("content-length", "12")]), Ok(Framing::Length(12)));
        assert_eq!(of(&[("content-length", "12, 12")]), Ok(Framing::Length(12)));
        assert_eq!(of(&[("content-length", "18446744073709551615")]), Ok(Framing::Length(u64::MAX)));
        for bad in ["", " ", "+1", "-1", "0x1", "1 2", "1,", "12,13", "18446744073709551616", "1\u{b9}"] {
            let fields = HeaderMap::from_iter([(CONTENT_LENGTH, HeaderValue::from_str(bad).unwrap())]);
            let framing = Framing::of(&Method::GET, StatusCode::OK, Version::HTTP_11, &fields);
            assert!(framing.is_err(), "{bad:?}: {framing:?}");
        }
        let mut twice = HeaderMap::from_iter([(CONTENT_LENGTH, HeaderValue::from_static("3"))]);
        twice.append(CONTENT_LENGTH, HeaderValue::from_static("4"));
        assert!(Framing::of(&Method::GET, StatusCode::OK, Version::HTTP_11, &twice).is_err());
    }

    #[test]
    fn one_length_is_passed_on_and_none_where_they_differ() {
        for (lines, expected) in [
            (&["2"][..], Some("2")),
            (&["0"], Some("0")),
            (&["2, 2"], Some("2")),
            (&["2", "2"], Some("2")),
            (&["002"], Some("2")),
            (&[" 2 "], Some("2")),
            (&["2, 3"], None),
            (&["2", "x"], None),
            (&[""], None),
            (&[], None),
        ] {
            let mut fields = HeaderMap::new();
            for line in lines {
                fields.append(CONTENT_LENGTH, HeaderValue::from_static(line));
            }
            settle(&mut fields);
            let settled: Vec<_> = fields.get_all(CONTENT_LENGTH).iter().collect();
            assert_eq!(settled, expected.into_iter().collect::<Vec<_>>(), "{lines:?}");
        }
    }

    #[test]
    fn only_a_last_coding_of_chunked_ends_with_a_chunk() {
        assert_eq!(of(&[("transfer-encoding", "chunked")]), Ok(Framing::Chunked));
        assert_eq!(of(&[("transfer-encoding", "gzip, Chunked ")]), Ok(Framing::Chunked));
        assert_eq!(of(&[("transfer-encoding", "chunked, gzip")]), Ok(Framing::Close));
        assert_eq!(of(&[("transfer-encoding", "xchunked")]), Ok(Framing::Close));
        assert_eq!(of(&[]), Ok(Framing::Close));
    }

    #[test]
    fn a_coding_goes_before_a_length_and_is_not_known_to_http_1_0() {
        assert_eq!(of(&[("content-length", "1"), ("transfer-encoding", "chunked")]), Ok(Framing::Chunked));
        let chunked = [("transfer-encoding", "chunked")];
        assert!(under(&Method::GET, 200, Version::HTTP_10, &chunked).is_err());
    }

    #[test]
    fn answers_without_a_body_have_none_whatever_their_fields_say() {
        let long = [("content-length", "5")];
        assert_eq!(under(&Method::HEAD, 200, Version::HTTP_11, &long), Ok(Framing::Length(0)));
        assert_eq!(under(&Method::GET, 204, Version::HTTP_11, &long), Ok(Framing::Length(0)));
        let chunked = [("transfer-encoding", "chunked")];
        assert_eq!(under(&Method::GET, 304, Version::HTTP_11, &chunked), Ok(Framing::Length(0)));
    }
}
