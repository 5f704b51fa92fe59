//! A body read as what it is, whatever its content type says: JSON, XML, a form, a page with JSON behind it, or text.

use url::form_urlencoded;
use zeroize::Zeroizing;

use super::{
    html, json,
    node::{Leaf, Node, is_kept},
    text, xml,
};

/// What a body is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// No byte, or white space alone.
    Empty,
    Json,
    Xml,
    Form,
    /// A page for people.
    Html,
    Text,
}

/// A body that was read.
pub(super) struct Document {
    pub(super) kind: Kind,
    /// The values that stand for themselves, in their order.
    pub(super) roots: Vec<Node>,
    /// Whether the roots lay behind other text.
    pub(super) embedded: bool,
    /// Whether something is missing. Not where JSON or XML has come to its own end: then only its framing was wrong.
    pub(super) cut: bool,
    /// The whole body as text.
    pub(super) text: Zeroizing<String>,
}

impl Document {
    /// Reads a body. `cut`: something of it is known to be missing.
    pub(super) fn read(body: &[u8], cut: bool) -> Self {
        let text = text::read(body);
        let trimmed = text.trim_matches(|c: char| c.is_whitespace() || matches!(c, '\u{feff}' | '\0'));
        let mut document =
            Self { kind: Kind::Text, roots: Vec::new(), embedded: false, cut, text: Zeroizing::default() };
        match trimmed.as_bytes() {
            [] => document.kind = Kind::Empty,
            // JSON with the quotes of a text in a text, but without the outer ones.
            [b'{', b'\\', ..] if document.read_quoted(&format!("\"{trimmed}\"")) => {}
            [b'{' | b'[', ..] => document.read_json(trimmed),
            [b'"' | b'\'', ..] if document.read_quoted(trimmed) => {}
            [b'<', ..] if html::is_html(trimmed) => document.read_page(trimmed),
            [b'<', ..] => document.read_xml(trimmed),
            _ => match form(trimmed, !cut) {
                Some(form) => {
                    document.cut |= ends_within_name(trimmed);
                    (document.kind, document.roots) = (Kind::Form, vec![form]);
                }
                None => document.read_embedded(trimmed),
            },
        }
        document.text = Zeroizing::new(trimmed.to_owned());
        document
    }

    /// One value, or several in a row.
    fn read_json(&mut self, mut text: &str) {
        self.kind = Kind::Json;
        while text.starts_with(['{', '[']) {
            let parsed = json::read(text);
            self.cut = parsed.cut;
            self.roots.push(parsed.node);
            text = text[parsed.end..].trim_start();
        }
    }

    /// JSON written as a text.
    fn read_quoted(&mut self, text: &str) -> bool {
        let parsed = json::read(text);
        let Node::Leaf(Leaf { inner: Some(_), text, .. }) = parsed.node else { return false };
        let inner = json::read(text.trim());
        (self.kind, self.cut) = (Kind::Json, parsed.cut || inner.cut);
        self.roots.push(match inner.node {
            Node::Leaf(Leaf { inner: Some(inner), .. }) => *inner,
            node => node,
        });
        true
    }

    fn read_xml(&mut self, text: &str) {
        let parsed = xml::read(text);
        let is_empty = matches!(&parsed.node, Node::Object(roots) if roots.is_empty());
        if is_empty {
            return self.read_embedded(text);
        }
        self.kind = Kind::Xml;
        self.cut = parsed.cut;
        self.roots.push(parsed.node);
    }

    /// A page whose only text is JSON, or that has JSON behind it.
    fn read_page(&mut self, page: &str) {
        let stripped = Zeroizing::new(html::strip(page));
        if stripped.starts_with('{') && stripped.ends_with('}') {
            self.read_json(&stripped);
        } else {
            self.read_embedded(page);
        }
        self.kind = Kind::Html;
    }

    /// JSON behind something else: a warning of PHP's, a prefix against cross-site inclusion. It counts only where it begins
    /// a line or follows a sign, and where nothing comes after it: an example within a text or a page is not an answer.
    fn read_embedded(&mut self, text: &str) {
        let mut at = 0;
        while let Some(found) = text[at..].find('{') {
            let begin = at + found;
            let parsed = json::read(&text[begin..]);
            at = begin + parsed.end;
            // The end of a call of JavaScript, of a comment, or of chunks within chunks.
            let is_last = text[at..].chars().all(|c| c.is_whitespace() || ");]*/'\"0".contains(c));
            if is_last && stands_apart(&text[..begin]) {
                self.embedded = true;
                self.cut = parsed.cut;
                self.roots.push(parsed.node);
                return;
            }
        }
    }
}

fn stands_apart(before: &str) -> bool {
    let line = before.rsplit('\n').next().unwrap_or_default();
    matches!(line.trim(), "" | "data:") || before.ends_with(['>', '(', ';', '\'', '&', '/', ',', '='])
}

/// A name without a value at the end of a form.
fn ends_within_name(form: &str) -> bool {
    form.rsplit('&').next().is_some_and(|last| !last.is_empty() && !last.contains('='))
}

/// `application/x-www-form-urlencoded`, as some servers answered before RFC 6749. `whole`: the last value is known to be.
fn form(text: &str, whole: bool) -> Option<Node> {
    let text = text.trim_start_matches(['?', '#', '&']);
    let name = &text[..text.find('=')?];
    let is_name = |name: &str| {
        !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-.".contains(&b))
    };
    if !is_name(name) || text.contains(|c: char| c.is_whitespace() || matches!(c, '<' | '{' | '"')) {
        return None;
    }
    // HTML 4 allowed it between the members.
    let between = if text.contains('&') { '&' } else { ';' };
    let last = text.split(between).count() - 1;
    let member = |(index, pair): (usize, &str)| {
        // A plus in a token is a plus: who forgets to encode it is likelier than a token with a space.
        let pair = if pair.contains("token=") { pair.replace('+', "%2B") } else { pair.to_owned() };
        if !is_kept(index, &pair) {
            return None;
        }
        let (name, value) = form_urlencoded::parse(pair.as_bytes()).next()?;
        Some((name.into_owned(), Node::Leaf(Leaf::text(value, whole || index < last))))
    };
    Some(Node::Object(text.split(between).enumerate().filter_map(member).collect()))
}
