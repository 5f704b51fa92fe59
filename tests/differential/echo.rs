//! What an upstream says it was sent. The rule: names are kept in lower case, values and bodies as they are.

/// A request as it arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Arrived {
    /// Method, target and version as the upstream saw them.
    pub(crate) line: String,
    pub(crate) fields: Vec<(String, Vec<u8>)>,
    pub(crate) trailers: Vec<(String, Vec<u8>)>,
    pub(crate) body: Vec<u8>,
}

/// The one spelling of a name that all servers have: to a CGI program all that is neither letter nor digit is the same.
pub(crate) fn plain(name: &str) -> String {
    let fold = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' };
    name.chars().map(fold).collect()
}

impl Arrived {
    /// Reads an echo: request line, fields, an empty line, trailers, an empty line, the body.
    pub(crate) fn read(echo: &[u8]) -> Option<Self> {
        let (line, rest) = split_line(echo)?;
        let (fields, rest) = section(rest)?;
        let (trailers, body) = section(rest)?;
        Some(Self { line: text(line), fields, trailers, body: body.to_vec() })
    }
}

type Section<'a> = (Vec<(String, Vec<u8>)>, &'a [u8]);

fn section(mut rest: &[u8]) -> Option<Section<'_>> {
    let mut fields = Vec::new();
    loop {
        let (line, after) = split_line(rest)?;
        rest = after;
        if line.is_empty() {
            return Some((fields, rest));
        }
        let colon = line.iter().position(|&octet| octet == b':')?;
        fields.push((text(&line[..colon]).to_ascii_lowercase(), line[colon + 1..].trim_ascii().to_vec()));
    }
}

fn split_line(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = bytes.iter().position(|&octet| octet == b'\n')?;
    Some((&bytes[..end], &bytes[end + 1..]))
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_echo_is_read_whatever_its_body_holds() {
        let arrived = Arrived::read(b"PUT /x HTTP/1.1\nX_A: \xe9 \n\nT: 1\n\na\n\nb").unwrap();
        assert_eq!(arrived.line, "PUT /x HTTP/1.1");
        assert_eq!(arrived.fields, [("x_a".to_owned(), b"\xe9".to_vec())]);
        assert_eq!(arrived.trailers, [("t".to_owned(), b"1".to_vec())]);
        assert_eq!(arrived.body, b"a\n\nb");
    }
}
