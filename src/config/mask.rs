//! The text of `proxy.toml` as findings may show it. The one rule: a value is shown only when its key is known to hold no
//! secret; everything else, misspelt keys and broken syntax included, is shown as `…`.
//!
//! The scan is lexical and forgiving, since it must hold just when the file is no TOML: a quote that was forgotten must
//! not show a secret. Comments are left out of what is shown: old secrets live there.

use std::ops::Range;

use super::{lexer, lexer::Kind, lines::Lines, schema};

/// A text with its secrets replaced. It has the lines of the original, so that line numbers stay true.
#[derive(Debug)]
pub(super) struct Masked {
    text: String,
    /// Replaced ranges: of the original, and of the text.
    moved: Vec<(Range<usize>, Range<usize>)>,
    lines: Lines,
}

impl Masked {
    pub(super) fn new(source: &str) -> Self {
        let (text, lines) = (String::with_capacity(source.len()), Lines::new(""));
        let mut masked = Self { text, moved: Vec::new(), lines };
        for (range, shown) in Scan::new(source).run() {
            let start = masked.text.len();
            match shown {
                None => masked.text.push_str(&source[range]),
                Some(instead) => {
                    masked.text.push_str(&instead);
                    masked.moved.push((range, start..masked.text.len()));
                }
            }
        }
        masked.lines = Lines::new(&masked.text);
        masked
    }

    /// The line (from 0) as it may be shown, with the place in it of a span that begins there.
    pub(super) fn line(&self, number: usize, span: &Range<usize>) -> (String, Range<usize>) {
        let begin = self.lines.begin(number);
        let line = self.text[begin..].lines().next().unwrap_or_default().trim_end();
        let within = |position: usize| position.saturating_sub(begin).min(line.len());
        let mark = within(self.place(span.start, false))..within(self.place(span.end, true));
        (line.to_owned(), mark.start..mark.end.max(mark.start))
    }

    /// Where a place of the original is now; inside a replaced range it is one of the two ends.
    fn place(&self, position: usize, end: bool) -> usize {
        let before = self.moved.partition_point(|(from, _)| from.end <= position);
        if let Some((from, to)) = self.moved.get(before)
            && from.start < position
        {
            return if end { to.end } else { to.start };
        }
        let last = before.checked_sub(1).map(|last| &self.moved[last]);
        last.map_or(position, |(from, to)| to.end + (position - from.end))
    }
}

/// What surrounds a value.
enum Frame {
    Array { shown: bool },
    Table,
}

/// What the scan expects.
#[derive(Clone, Copy, PartialEq)]
enum Mode {
    Header,
    Key,
    Value { shown: bool },
}

/// One walk over the tokens.
struct Scan<'a> {
    source: &'a str,
    tokens: Vec<lexer::Token>,
    frames: Vec<Frame>,
    mode: Mode,
    key: &'a str,
    /// Whether the value of a hidden key is still to come.
    awaited: bool,
}

impl<'a> Scan<'a> {
    fn new(source: &'a str) -> Self {
        let tokens = lexer::tokens(source);
        Self { source, tokens, frames: Vec::new(), mode: Mode::Key, key: "", awaited: false }
    }

    /// Every token's range and, when it may not be shown, what stands for it.
    fn run(mut self) -> Vec<(Range<usize>, Option<String>)> {
        (0..self.tokens.len()).map(|index| (self.tokens[index].range.clone(), self.step(index))).collect()
    }

    fn step(&mut self, index: usize) -> Option<String> {
        match self.tokens[index].kind {
            Kind::Space => None,
            Kind::Comment => Some(String::new()),
            Kind::Newline => {
                self.key = "";
                self.mode = match self.frames.last() {
                    Some(Frame::Array { shown }) => Mode::Value { shown: *shown },
                    Some(Frame::Table) | None => Mode::Key,
                };
                None
            }
            Kind::Equals => self.equals(),
            Kind::Comma => {
                self.key = "";
                self.mode = match self.frames.last() {
                    Some(Frame::Array { shown }) => Mode::Value { shown: *shown },
                    Some(Frame::Table) => Mode::Key,
                    None => self.mode,
                };
                None
            }
            Kind::Open(bracket) => self.open(index, bracket),
            Kind::Close => self.close(),
            Kind::Dot => (self.mode == Mode::Value { shown: false }).then(ellipsis),
            Kind::Text | Kind::Atom => self.word(index),
        }
    }

    fn equals(&mut self) -> Option<String> {
        match self.mode {
            Mode::Value { shown: false } => Some(ellipsis()),
            Mode::Value { shown: true } => None,
            Mode::Key | Mode::Header => {
                let shown = self.mode == Mode::Key && schema::shows(self.key);
                self.mode = Mode::Value { shown };
                self.awaited = !shown;
                None
            }
        }
    }

    fn open(&mut self, index: usize, bracket: char) -> Option<String> {
        match self.mode {
            Mode::Key if self.frames.is_empty() => {
                let header = bracket == '[' && self.begins_line(index) && self.is_closed(index);
                self.mode = if header { Mode::Header } else { Mode::Value { shown: false } };
            }
            Mode::Header | Mode::Key => {}
            Mode::Value { shown } => {
                self.awaited = false;
                if bracket == '[' {
                    self.frames.push(Frame::Array { shown });
                } else {
                    self.frames.push(Frame::Table);
                    (self.mode, self.key) = (Mode::Key, "");
                }
            }
        }
        None
    }

    /// What follows a whole value on its line belongs to no key that is known.
    fn close(&mut self) -> Option<String> {
        if self.mode != Mode::Header && self.frames.pop().is_some() {
            self.mode = Mode::Value { shown: false };
        }
        None
    }

    fn word(&mut self, index: usize) -> Option<String> {
        if self.is_key(index) {
            self.key = self.text(index).trim_matches(['"', '\'']);
            (self.mode, self.awaited) = (Mode::Key, false);
            return None;
        }
        match self.mode {
            Mode::Header => self.name(index),
            // A word without `=` is perhaps a value whose key stands elsewhere.
            Mode::Key => {
                self.key = "";
                let name = self.text(index).trim_end_matches(':');
                (!schema::is_key(name)).then(|| self.instead(index))
            }
            Mode::Value { shown } => {
                self.awaited = false;
                // A number may go on behind its dot; whatever else comes before the next comma is no part of it.
                let goes_on = self.tokens.get(index + 1).is_some_and(|next| next.kind == Kind::Dot);
                self.mode = Mode::Value { shown: shown && goes_on };
                if shown { self.partly(index) } else { Some(self.instead(index)) }
            }
        }
    }

    /// A word in a table's header. What is not plainly part of its name is perhaps a value that lost its key.
    fn name(&mut self, index: usize) -> Option<String> {
        let bare = self.tokens[index].kind == Kind::Atom && is_bare_key(self.text(index));
        let part = self.follows(index, Kind::Dot) || (bare && self.follows(index, Kind::Open('[')));
        if part {
            return None;
        }
        self.mode = Mode::Value { shown: false };
        Some(self.instead(index))
    }

    /// Whether the word is a key, though perhaps a bracket before it was never closed. Where a secret may be meant, only a
    /// name that is known is one: base64 ends with `=`.
    fn is_key(&self, index: usize) -> bool {
        let next = self.tokens[index + 1..].iter().find(|token| token.kind != Kind::Space).map(|t| t.kind);
        let known = || schema::is_key(self.text(index));
        if self.tokens[index].kind == Kind::Atom && !is_bare_key(self.text(index)) {
            return false;
        }
        match self.mode {
            Mode::Header => false,
            Mode::Key => matches!(next, Some(Kind::Equals | Kind::Dot)) && (!self.awaited || known()),
            Mode::Value { shown } => {
                let atom = self.tokens[index].kind == Kind::Atom;
                let leads = next == Some(Kind::Equals) && self.begins_line(index);
                !self.frames.is_empty() && atom && leads && (shown || known())
            }
        }
    }

    /// Whether the header that opens here has its end, and no value, on its line.
    fn is_closed(&self, index: usize) -> bool {
        let line = self.tokens[index..]
            .iter()
            .take_while(|token| !matches!(token.kind, Kind::Newline | Kind::Comment));
        let mut last = Kind::Space;
        for token in line.filter(|token| token.kind != Kind::Space) {
            last = if token.kind == Kind::Equals { return false } else { token.kind };
        }
        last == Kind::Close
    }

    fn begins_line(&self, index: usize) -> bool {
        let before = self.tokens[..index].iter().rev().find(|token| token.kind != Kind::Space);
        before.is_none_or(|token| token.kind == Kind::Newline)
    }

    fn follows(&self, index: usize, kind: Kind) -> bool {
        let before = self.tokens[..index].iter().rev().find(|token| token.kind != Kind::Space);
        before.is_some_and(|token| token.kind == kind)
    }

    fn text(&self, index: usize) -> &'a str {
        &self.source[self.tokens[index].range.clone()]
    }

    /// What stands for a whole token: as many lines as it had.
    fn instead(&self, index: usize) -> String {
        if self.tokens[index].kind == Kind::Atom {
            return ellipsis();
        }
        match self.text(index).matches('\n').count() {
            0 => "\"…\"".to_owned(),
            breaks => format!("\"…{}…\"", "\n".repeat(breaks)),
        }
    }

    /// A value that may be shown, but for the user and password of a URL, and but for what does not look like a value of
    /// its key: a string that swallowed its neighbours, or a secret where the name of its variable belongs.
    fn partly(&self, index: usize) -> Option<String> {
        let text = self.text(index);
        let bare = text.trim_matches(['"', '\'']);
        let doubtful = match self.key {
            "env" => !is_conventional(bare),
            "api" | "token_url" | "authorize_url" | "redirect_uri" | "simulator" | "proxy_url" => {
                !text.contains('@') && !is_plain_url(bare)
            }
            _ => bare.contains("://") && !text.contains('@') && !is_plain_url(bare),
        };
        if doubtful || (self.tokens[index].kind == Kind::Text && !is_simple(text)) {
            return Some(self.instead(index));
        }
        let hidden = without_userinfo(text);
        (hidden != text).then_some(hidden)
    }
}

/// Whether a string is closed and holds nothing that belongs between values rather than into one.
fn is_simple(text: &str) -> bool {
    let inner = text.strip_prefix(['"', '\'']).and_then(|rest| rest.strip_suffix(['"', '\'']));
    inner
        .is_some_and(|inner| !inner.contains(['"', '\'', '\\', '{', '[', '#', '\n']) && !inner.contains(" ="))
}

/// Whether a word may be a key without quotes.
fn is_bare_key(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
}

fn ellipsis() -> String {
    "…".to_owned()
}

/// Whether a name of an environment variable is written the usual way: capitals, digits and underscores.
pub(super) fn is_conventional(name: &str) -> bool {
    let mut bytes = name.bytes();
    bytes.next().is_some_and(|b| b.is_ascii_uppercase() || b == b'_')
        && bytes.all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_')
}

/// Whether a URL holds host and port at most: with more colons the `@` behind a password may have been forgotten.
fn is_plain_url(text: &str) -> bool {
    let Some((_, rest)) = text.split_once("://") else { return false };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let address = authority.strip_prefix('[').and_then(|rest| rest.split_once(']'));
    let (host, port) = match address {
        Some((_, port)) => ("", port.strip_prefix(':').unwrap_or(port)),
        None => authority.split_once(':').unwrap_or((authority, "")),
    };
    let in_name = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_');
    host.bytes().all(in_name) && port.bytes().all(|b| b.is_ascii_digit())
}

/// A URL, with or without its scheme and quotes, without the user and password it may hold.
pub(super) fn without_userinfo(text: &str) -> String {
    let Some(at) = text.rfind('@') else { return text.to_owned() };
    let quotes = text.len() - text.trim_start_matches(['"', '\'']).len();
    let begin = text.find("://").map_or(quotes, |scheme| scheme + 3).min(at);
    format!("{}…{}", &text[..begin], &text[at..])
}
