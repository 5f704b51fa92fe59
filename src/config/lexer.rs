//! TOML's tokens, only as fine as [`super::mask`] needs them. The one rule: every byte of the text is in exactly one token,
//! whatever the text is.

use std::ops::Range;

/// What a token is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Blanks and tabs.
    Space,
    /// `\n`.
    Newline,
    /// `#` to the end of its line.
    Comment,
    /// A string of any of the four forms, perhaps without its end.
    Text,
    /// Anything else: bare keys, numbers, words.
    Atom,
    /// `=`.
    Equals,
    /// `,`.
    Comma,
    /// `.`.
    Dot,
    /// `[` or `{`.
    Open(char),
    /// `]` or `}`.
    Close,
}

/// A token and its place in the text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Token {
    pub kind: Kind,
    pub range: Range<usize>,
}

/// The text's tokens, in order and without gaps.
pub(super) fn tokens(text: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    let mut start = 0;
    while let Some(first) = text[start..].chars().next() {
        let (kind, length) = token(&text[start..], first);
        tokens.push(Token { kind, range: start..start + length });
        start += length;
    }
    tokens
}

fn token(rest: &str, first: char) -> (Kind, usize) {
    match first {
        '\n' => (Kind::Newline, 1),
        '=' => (Kind::Equals, 1),
        ',' => (Kind::Comma, 1),
        '.' => (Kind::Dot, 1),
        '[' | '{' => (Kind::Open(first), 1),
        ']' | '}' => (Kind::Close, 1),
        '#' => (Kind::Comment, rest.find('\n').unwrap_or(rest.len())),
        '"' | '\'' => (Kind::Text, quoted(rest, first)),
        _ if is_space(first) => (Kind::Space, rest.find(|c| !is_space(c)).unwrap_or(rest.len())),
        _ => (Kind::Atom, rest.find(|c| is_space(c) || "\n=,.[]{}#\"'".contains(c)).unwrap_or(rest.len())),
    }
}

fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\r')
}

/// The length of a string with its quotes. One that is never closed reaches to the end of its line or, in its
/// multi-line form, of the text.
fn quoted(rest: &str, quote: char) -> usize {
    let escapes = quote == '"';
    let triple = if escapes { "\"\"\"" } else { "'''" };
    if let Some(body) = rest.strip_prefix(triple) {
        let Some(end) = closing(body, triple, escapes, false) else { return rest.len() };
        // Up to two more quotes are the string's own.
        let more = body[end + 3..].chars().take(2).take_while(|c| *c == quote).count();
        return 3 + end + 3 + more;
    }
    match closing(&rest[1..], &triple[..1], escapes, true) {
        Some(end) => 1 + end + 1,
        None => rest.find('\n').unwrap_or(rest.len()),
    }
}

fn closing(body: &str, delimiter: &str, escapes: bool, one_line: bool) -> Option<usize> {
    let mut skip = false;
    for (index, c) in body.char_indices() {
        if one_line && c == '\n' {
            return None;
        }
        if skip {
            skip = false;
        } else if escapes && c == '\\' {
            skip = true;
        } else if body[index..].starts_with(delimiter) {
            return Some(index);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(text: &str) -> Vec<&str> {
        tokens(text).into_iter().filter(|t| t.kind == Kind::Text).map(|t| &text[t.range]).collect()
    }

    #[test]
    fn strings_of_every_form_end_where_toml_ends_them() {
        assert_eq!(texts(r#"a = "b\"c" "d""#), [r#""b\"c""#, r#""d""#]);
        assert_eq!(texts(r"a = 'b\' 'c'"), [r"'b\'", "'c'"]);
        assert_eq!(texts("a = \"\"\"x\n\"y\"\n\"\"\"\" # z"), ["\"\"\"x\n\"y\"\n\"\"\"\""]);
        assert_eq!(texts("a = '''x\n'''\nb"), ["'''x\n'''"]);
    }

    #[test]
    fn a_string_without_its_end_reaches_to_the_end_of_its_line_or_text() {
        assert_eq!(texts("a = \"b\nc = 'd\n"), ["\"b", "'d"]);
        assert_eq!(texts("a = \"\"\"b\nc = 1\n"), ["\"\"\"b\nc = 1\n"]);
    }

    #[test]
    fn no_byte_is_lost() {
        for text in ["", "a", "ä = \"ö\"\r\n[x]\t{,}", "\"\\", "'''", "=.#\n"] {
            let whole = tokens(text).iter().map(|t| &text[t.range.clone()]).collect::<String>();
            assert_eq!(whole, text);
        }
    }
}
