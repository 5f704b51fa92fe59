//! A strict reader of answers. The rule: it shares no code with the program, and what RFC 9112 does not allow is an error,
//! whoever wrote it.

/// An answer, read to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Response {
    pub(crate) minor: u8,
    pub(crate) status: u16,
    pub(crate) reason: Vec<u8>,
    /// Names in lower case, values without the white space around them, in order.
    pub(crate) fields: Vec<(String, Vec<u8>)>,
    pub(crate) framing: Framing,
    pub(crate) body: Vec<u8>,
    pub(crate) trailers: Vec<(String, Vec<u8>)>,
    /// The statuses of the informational answers that came before.
    pub(crate) informational: Vec<u16>,
}

/// How the end of a body is told (RFC 9112 §6.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Framing {
    /// There is none: the method or the status says so.
    NoBody,
    Length(usize),
    Chunked,
    UntilClose,
}

/// Why there is no answer in these bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Unread {
    /// There is more to come.
    Short,
    Wrong(String),
}

type Read<T> = Result<T, Unread>;

fn wrong<T>(why: impl Into<String>) -> Read<T> {
    Err(Unread::Wrong(why.into()))
}

impl Response {
    /// Reads one answer from the beginning of `bytes`, and says how long it is. `ended`: nothing more will come.
    ///
    /// # Errors
    /// [`Unread`].
    pub(crate) fn read(bytes: &[u8], is_head: bool, ended: bool) -> Read<(Self, usize)> {
        let mut informational = Vec::new();
        let mut at = 0;
        loop {
            let (mut response, used) = head(&bytes[at..])?;
            at += used;
            if (100..200).contains(&response.status) {
                informational.push(response.status);
                continue;
            }
            response.informational = informational;
            response.framing = response.framed(is_head)?;
            at += response.read_body(&bytes[at..], ended)?;
            return Ok((response, at));
        }
    }

    /// Every value of a field, whose name is in lower case.
    pub(crate) fn values<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
        self.fields.iter().filter(move |(n, _)| n == name).map(|(_, value)| value.as_slice())
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.values(name).next().is_some()
    }

    /// The members of a comma-separated list field, in lower case.
    pub(crate) fn members(&self, name: &str) -> Vec<String> {
        let lists = self.values(name).map(|list| String::from_utf8_lossy(list).to_ascii_lowercase());
        let split = |list: String| list.split(',').map(|member| member.trim().to_owned()).collect::<Vec<_>>();
        lists.flat_map(split).filter(|member| !member.is_empty()).collect()
    }

    /// Whether its sender will take nothing more on this connection (RFC 9112 §9.3).
    pub(crate) fn is_last(&self) -> bool {
        let options = self.members("connection");
        let says = |option: &str| options.iter().any(|o| o == option);
        says("close") || self.framing == Framing::UntilClose || (self.minor == 0 && !says("keep-alive"))
    }

    fn framed(&self, is_head: bool) -> Read<Framing> {
        let codings = self.members("transfer-encoding");
        let lengths: Vec<&[u8]> = self.values("content-length").collect();
        if !codings.is_empty() && !lengths.is_empty() {
            return wrong("Content-Length beside Transfer-Encoding");
        }
        if !codings.is_empty() && (codings != ["chunked"] || self.minor == 0) {
            return wrong(format!("Transfer-Encoding {codings:?} in HTTP/1.{}", self.minor));
        }
        if !codings.is_empty() && self.status == 204 {
            return wrong("Transfer-Encoding in a 204");
        }
        if is_head || matches!(self.status, 204 | 304) {
            return Ok(Framing::NoBody);
        }
        match lengths.as_slice() {
            _ if !codings.is_empty() => Ok(Framing::Chunked),
            [] => Ok(Framing::UntilClose),
            [one] => decimal(one).map(Framing::Length),
            _ => wrong("more than one Content-Length"),
        }
    }

    fn read_body(&mut self, bytes: &[u8], ended: bool) -> Read<usize> {
        match self.framing {
            Framing::NoBody => Ok(0),
            Framing::Length(length) => {
                self.body = bytes.get(..length).ok_or(Unread::Short)?.to_vec();
                Ok(length)
            }
            Framing::UntilClose if ended => {
                self.body = bytes.to_vec();
                Ok(bytes.len())
            }
            Framing::UntilClose => Err(Unread::Short),
            Framing::Chunked => self.read_chunks(bytes),
        }
    }

    fn read_chunks(&mut self, bytes: &[u8]) -> Read<usize> {
        let mut at = 0;
        loop {
            let line = line(bytes, &mut at)?;
            let digits = line.split(|&octet| octet == b';').next().unwrap_or_default().trim_ascii_end();
            let size = std::str::from_utf8(digits).ok().filter(|d| d.bytes().all(|b| b.is_ascii_hexdigit()));
            let Some(size) = size.and_then(|digits| usize::from_str_radix(digits, 16).ok()) else {
                return wrong(format!("chunk size {:?}", String::from_utf8_lossy(line)));
            };
            if size == 0 {
                self.trailers = fields(bytes, &mut at)?;
                return Ok(at);
            }
            self.body.extend_from_slice(bytes.get(at..at + size).ok_or(Unread::Short)?);
            at += size;
            match bytes.get(at..at + 2) {
                Some(b"\r\n") => at += 2,
                Some(_) => return wrong("a chunk does not end in CRLF"),
                None => return Err(Unread::Short),
            }
        }
    }
}

/// A status line and fields, without a body yet.
fn head(bytes: &[u8]) -> Read<(Response, usize)> {
    let mut at = 0;
    let (minor, status, reason) = status_line(line(bytes, &mut at)?)?;
    let fields = fields(bytes, &mut at)?;
    let (framing, body, trailers) = (Framing::NoBody, Vec::new(), Vec::new());
    let informational = Vec::new();
    Ok((Response { minor, status, reason, fields, framing, body, trailers, informational }, at))
}

/// RFC 9112 §4: the space before the reason is there even without a reason.
fn status_line(line: &[u8]) -> Read<(u8, u16, Vec<u8>)> {
    match line {
        [
            b'H',
            b'T',
            b'T',
            b'P',
            b'/',
            b'1',
            b'.',
            minor @ (b'0' | b'1'),
            b' ',
            a,
            b,
            c,
            b' ',
            reason @ ..,
        ] if [a, b, c].iter().all(|digit| digit.is_ascii_digit()) && reason.iter().all(|&b| is_text(b)) => {
            let status = [a, b, c].iter().fold(0, |number, &&digit| number * 10 + u16::from(digit - b'0'));
            Ok((minor - b'0', status, reason.to_vec()))
        }
        _ => wrong(format!("status line {:?}", String::from_utf8_lossy(line))),
    }
}

/// Fields up to and with the empty line.
fn fields(bytes: &[u8], at: &mut usize) -> Read<Vec<(String, Vec<u8>)>> {
    let mut fields = Vec::new();
    loop {
        let line = line(bytes, at)?;
        if line.is_empty() {
            return Ok(fields);
        }
        let shown = || String::from_utf8_lossy(line).into_owned();
        let Some(colon) = line.iter().position(|&octet| octet == b':') else {
            return wrong(format!("field line {:?}", shown()));
        };
        let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
        if name.is_empty() || !name.iter().all(|&b| is_token(b)) || !value.iter().all(|&b| is_text(b)) {
            return wrong(format!("field line {:?}", shown()));
        }
        fields.push((String::from_utf8_lossy(name).to_ascii_lowercase(), value.to_vec()));
    }
}

/// The next line without its CRLF. No line holds a bare CR or LF.
fn line<'a>(bytes: &'a [u8], at: &mut usize) -> Read<&'a [u8]> {
    let rest = &bytes[*at..];
    let end = rest.iter().position(|&octet| octet == b'\n').ok_or(Unread::Short)?;
    *at += end + 1;
    match rest[..end].strip_suffix(b"\r") {
        Some(line) if !line.contains(&b'\r') => Ok(line),
        _ => wrong(format!("a line that does not end in CRLF: {:?}", String::from_utf8_lossy(&rest[..end]))),
    }
}

fn decimal(digits: &[u8]) -> Read<usize> {
    let number = std::str::from_utf8(digits).ok().filter(|d| d.bytes().all(|b| b.is_ascii_digit()));
    match number.and_then(|digits| digits.parse().ok()) {
        Some(number) => Ok(number),
        None => wrong(format!("Content-Length {:?}", String::from_utf8_lossy(digits))),
    }
}

fn is_text(octet: u8) -> bool {
    octet == b'\t' || (octet >= b' ' && octet != 0x7f)
}

fn is_token(octet: u8) -> bool {
    octet.is_ascii_graphic() && !br#"(),/:;<=>?@[\]{}""#.contains(&octet)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &str) -> Read<(Response, usize)> {
        Response::read(bytes.as_bytes(), false, false)
    }

    #[test]
    fn an_answer_is_read_to_its_end_and_not_further() {
        let (response, used) =
            read("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 \r\nX: a \r\nContent-Length: 2\r\n\r\nabHTTP")
                .unwrap();
        assert_eq!((response.status, response.body.as_slice()), (200, b"ab".as_slice()));
        assert_eq!((response.informational.as_slice(), used), ([100].as_slice(), 70));
        assert_eq!(response.fields[0], ("x".to_owned(), b"a".to_vec()));
    }

    #[test]
    fn chunks_are_joined_and_trailers_kept() {
        let coded = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;x\r\nabc\r\n0\r\nT: 1\r\n\r\n";
        let (response, used) = read(coded).unwrap();
        assert_eq!((response.body.as_slice(), used), (b"abc".as_slice(), coded.len()));
        assert_eq!(response.trailers, [("t".to_owned(), b"1".to_vec())]);
        assert_eq!(read(&coded[..coded.len() - 1]), Err(Unread::Short));
    }

    #[test]
    fn what_the_grammar_does_not_allow_is_wrong() {
        for bytes in [
            "HTTP/1.1 200\r\n\r\n",
            "HTTP/2 200 OK\r\n\r\n",
            "HTTP/1.1 200 OK\nContent-Length: 0\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\na",
            "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
            "HTTP/1.1 200 OK\r\nX : 1\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n",
            "HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n",
            "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        ] {
            assert!(matches!(read(bytes), Err(Unread::Wrong(_))), "{bytes:?}");
        }
    }
}
