//! `multipart/form-data` (RFC 7578) as the strictest server reads it: no preamble, no missing final boundary, no
//! part without a name. A proxy that touches a byte of such a body is found out here.

/// One part of an upload.
pub(super) struct Part<'a> {
    pub(super) name: String,
    pub(super) filename: Option<String>,
    pub(super) content_type: Option<String>,
    pub(super) bytes: &'a [u8],
}

/// The boundary that a `Content-Type` declares; words for the sender where it is missing or malformed.
pub(super) fn boundary_of(content_type: &str) -> Result<String, String> {
    let (media, parameters) = content_type.split_once(';').unwrap_or((content_type, ""));
    if !media.trim().eq_ignore_ascii_case("multipart/form-data") {
        return Err("Content-Type must be multipart/form-data".to_owned());
    }
    let boundary =
        parameter(parameters, "boundary").ok_or("Content-Type multipart/form-data has no boundary")?;
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"'()+_,-./:=? ".contains(&byte);
    if boundary.is_empty() || boundary.len() > 70 || !boundary.bytes().all(allowed) || boundary.ends_with(' ')
    {
        return Err(format!("the boundary {boundary:?} is not one of RFC 2046 section 5.1.1"));
    }
    Ok(boundary)
}

/// Splits a body; words for the sender where it does not follow the boundary.
pub(super) fn parse<'a>(body: &'a [u8], boundary: &str) -> Result<Vec<Part<'a>>, String> {
    let opening = format!("--{boundary}");
    let delimiter = format!("\r\n--{boundary}");
    let mut rest =
        body.strip_prefix(opening.as_bytes()).ok_or("the body does not begin with its boundary")?;
    let mut parts = Vec::new();
    loop {
        if let Some(epilogue) = rest.strip_prefix(b"--") {
            return if matches!(epilogue, b"" | b"\r\n") { Ok(parts) } else { Err(after_end()) };
        }
        rest = rest.strip_prefix(b"\r\n").ok_or("a boundary is followed by neither a part nor the end")?;
        let end = find(rest, delimiter.as_bytes()).ok_or("the final boundary is missing")?;
        parts.push(parse_part(&rest[..end])?);
        rest = &rest[end + delimiter.len()..];
    }
}

fn after_end() -> String {
    "bytes follow the final boundary".to_owned()
}

fn parse_part(part: &[u8]) -> Result<Part<'_>, String> {
    let end = find(part, b"\r\n\r\n").ok_or("a part has no empty line after its headers")?;
    let headers = std::str::from_utf8(&part[..end]).map_err(|_| "a part's headers are not text")?;
    let header = |wanted: &str| {
        let pairs = headers.split("\r\n").filter_map(|line| line.split_once(':'));
        pairs.into_iter().find(|(name, _)| name.eq_ignore_ascii_case(wanted)).map(|(_, value)| value.trim())
    };
    let disposition = header("Content-Disposition").ok_or("a part has no Content-Disposition")?;
    let parameters = disposition.strip_prefix("form-data").ok_or("a part's disposition is not form-data")?;
    Ok(Part {
        name: parameter(parameters, "name").ok_or("a part has no name")?,
        filename: parameter(parameters, "filename"),
        content_type: header("Content-Type").map(str::to_owned),
        bytes: &part[end + 4..],
    })
}

/// One parameter of `; a=b; c="d"`.
fn parameter(parameters: &str, wanted: &str) -> Option<String> {
    let mut rest = parameters;
    loop {
        rest = rest.trim_start_matches([';', ' ', '\t']);
        let (name, after) = rest.split_once('=')?;
        let (value, remainder) = match after.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"')?,
            None => after.split_once(';').unwrap_or((after, "")),
        };
        if name.trim().eq_ignore_ascii_case(wanted) {
            return Some(value.to_owned());
        }
        rest = remainder;
    }
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    let first = *needle.first()?;
    let mut from = 0;
    while let Some(at) = haystack[from..].iter().position(|byte| *byte == first) {
        if haystack[from + at..].starts_with(needle) {
            return Some(from + at);
        }
        from += at + 1;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::{boundary_of, parse};

    const BODY: &[u8] = b"--x\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a;b.json\"\r\n\
        Content-Type: application/json\r\n\r\n{\"a\":\"\r\n--y\"}\r\n--x\r\n\
        Content-Disposition: form-data; name=note\r\n\r\n\r\n--x--\r\n";

    #[test]
    fn parts_come_out_byte_for_byte() {
        let parts = parse(BODY, "x").unwrap();
        assert_eq!(parts.len(), 2);
        assert_eq!((parts[0].name.as_str(), parts[0].filename.as_deref()), ("file", Some("a;b.json")));
        assert_eq!(parts[0].bytes, b"{\"a\":\"\r\n--y\"}");
        assert_eq!(parts[0].content_type.as_deref(), Some("application/json"));
        assert_eq!((parts[1].name.as_str(), parts[1].bytes), ("note", &b""[..]));
    }

    #[test]
    fn a_body_that_lost_or_gained_a_byte_is_refused() {
        for cut in 1..BODY.len() - 2 {
            assert!(parse(&BODY[..cut], "x").is_err(), "cut at {cut}");
        }
        assert!(parse(&[b"\r\n", BODY].concat(), "x").is_err());
        assert!(parse(&[BODY, b"x"].concat(), "x").is_err());
        assert!(parse(BODY, "z").is_err());
    }

    #[test]
    fn a_boundary_is_mandatory() {
        assert_eq!(boundary_of("multipart/form-data; boundary=abc").as_deref(), Ok("abc"));
        assert_eq!(boundary_of("Multipart/Form-Data; charset=x; Boundary=\"a b\"").as_deref(), Ok("a b"));
        for bad in ["multipart/form-data", "multipart/form-data; boundary=", "application/json; boundary=a"] {
            assert!(boundary_of(bad).is_err(), "{bad}");
        }
    }
}
