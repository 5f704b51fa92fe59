//! System calls as strace writes them down. The one rule: a call has its place by when it began and when it returned, which
//! strace tells in the order in which it saw both.

use std::collections::HashMap;

/// One system call.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    /// Where in the order it began.
    pub(crate) began: usize,
    /// Where in the order it returned; `usize::MAX` if it never did.
    pub(crate) ended: usize,
    pub(crate) name: String,
    /// Everything between the brackets.
    pub(crate) arguments: String,
    /// What it returned, where that is a number.
    pub(crate) result: Option<i64>,
}

impl Call {
    fn parse(text: &str, began: usize, ended: usize) -> Option<Self> {
        let (name, rest) = text.split_once('(')?;
        let (arguments, result) = rest.rsplit_once(" = ").unwrap_or((rest, "?"));
        let result = result.split([' ', '<']).next().and_then(|number| number.parse().ok());
        let arguments = arguments.trim_end().trim_end_matches(')').to_owned();
        Some(Self { began, ended, name: name.to_owned(), arguments, result })
    }

    /// What its first file descriptor stands for: a path, or `TCP:[from->to]`.
    pub(crate) fn on(&self) -> &str {
        let number = self.arguments.trim_start_matches(|c: char| c.is_ascii_digit());
        let Some(named) = number.strip_prefix('<') else { return "" };
        // A socket's name has a `>` of its own.
        let end = named.find(">,").unwrap_or_else(|| named.len().saturating_sub(1));
        named.get(..end).unwrap_or_default()
    }

    /// Its strings, one after another, as the bytes they stand for.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut rest = self.arguments.bytes().peekable();
        while rest.by_ref().any(|byte| byte == b'"') {
            while let Some(byte) = rest.next().filter(|byte| *byte != b'"') {
                bytes.push(if byte == b'\\' { unescaped(&mut rest) } else { byte });
            }
        }
        bytes
    }

    /// The same as text, whatever is none left out.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes()).into_owned()
    }

    /// Its last argument: an offset, a length.
    pub(crate) fn last_number(&self) -> usize {
        self.arguments.rsplit(", ").next().unwrap().parse().unwrap()
    }

    /// Whether it sends or writes.
    pub(crate) fn writes(&self) -> bool {
        const WRITING: [&str; 9] = [
            "write", "writev", "pwrite64", "pwritev", "pwritev2", "sendto", "sendmsg", "sendmmsg", "sendfile",
        ];
        WRITING.contains(&self.name.as_str())
    }

    /// Whether it receives or reads.
    pub(crate) fn reads(&self) -> bool {
        ["read", "readv", "recvfrom", "recvmsg"].contains(&self.name.as_str())
    }

    /// Whether it is to make a file durable.
    pub(crate) fn syncs(&self) -> bool {
        ["fsync", "fdatasync"].contains(&self.name.as_str())
    }

    /// Whether it did so.
    pub(crate) fn synced(&self) -> bool {
        self.syncs() && self.result == Some(0)
    }
}

/// What stands behind a backslash in a string.
fn unescaped(rest: &mut std::iter::Peekable<std::str::Bytes<'_>>) -> u8 {
    match rest.next() {
        Some(b'n') => b'\n',
        Some(b'r') => b'\r',
        Some(b't') => b'\t',
        Some(b'v') => 0x0b,
        Some(b'f') => 0x0c,
        Some(first @ b'0'..=b'7') => {
            let mut value = first - b'0';
            for _ in 0..2 {
                let Some(digit) = rest.next_if(|next| (b'0'..=b'7').contains(next)) else { break };
                value = value.wrapping_mul(8).wrapping_add(digit - b'0');
            }
            value
        }
        other => other.unwrap_or_default(),
    }
}

/// The calls in a file of strace's, in the order in which they began.
pub(crate) fn read(text: &str) -> Vec<Call> {
    let mut calls: Vec<Call> = Vec::new();
    // The calls under way, by thread.
    let mut begun: HashMap<&str, (usize, String)> = HashMap::new();
    for (place, line) in text.lines().enumerate() {
        let mut words = line.trim_start().splitn(2, ' ');
        let (Some(thread), Some(rest)) = (words.next(), words.next()) else { continue };
        let Some((_, told)) = rest.trim_start().split_once(' ') else { continue };
        if let Some(head) = told.strip_suffix(" <unfinished ...>") {
            begun.insert(thread, (place, head.to_owned()));
        } else if let Some((_, tail)) = told.strip_prefix("<... ").and_then(|t| t.split_once(" resumed>")) {
            let (began, head) = begun.remove(thread).unwrap_or_default();
            calls.extend(Call::parse(&(head + tail), began, place));
        } else {
            calls.extend(Call::parse(told, place, place));
        }
    }
    calls.extend(begun.into_values().filter_map(|(place, head)| Call::parse(&head, place, usize::MAX)));
    calls.sort_by_key(|call| call.began);
    calls
}
