//! JSON read as far as it goes: cut, with members given twice, with trailing commas, single quotes, bare words and texts that
//! are JSON themselves. It never fails; it says where it ended, and which values are whole.

use super::node::{DEEPEST, Leaf, Node, Object, is_kept};

/// JSON within a text within a text …
const DEEPEST_TEXT: usize = 3;

/// What was read.
pub(super) struct Parsed {
    pub(super) node: Node,
    /// The byte behind it.
    pub(super) end: usize,
    /// Whether the text ended before the value did.
    pub(super) cut: bool,
}

/// Reads the value at the beginning of `text`.
pub(super) fn read(text: &str) -> Parsed {
    read_within(text, 0)
}

fn read_within(text: &str, texts: usize) -> Parsed {
    let mut parser = Parser { text, at: 0, cut: false, kept: 0, texts };
    let node = parser.value(0);
    Parsed { node, end: parser.at, cut: parser.cut }
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
    cut: bool,
    /// How many values are kept.
    kept: usize,
    /// How many texts this one lies within.
    texts: usize,
}

impl<'a> Parser<'a> {
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn skip_space(&mut self) {
        let rest = self.rest();
        self.at += rest.len() - rest.trim_start().len();
    }

    fn skip_character(&mut self) {
        self.at += self.rest().chars().next().map_or(0, char::len_utf8);
    }

    fn value(&mut self, depth: usize) -> Node {
        self.skip_space();
        match self.peek() {
            Some(b'{' | b'[') if depth >= DEEPEST => {
                self.skip_nested();
                Node::Leaf(Leaf::bare("", false))
            }
            Some(b'{') => Node::Object(self.object(depth)),
            Some(b'[') => Node::List(self.list(depth)),
            Some(quote @ (b'"' | b'\'')) => {
                let leaf = self.string(quote);
                Node::Leaf(self.with_inner(leaf))
            }
            _ => Node::Leaf(self.bare(|c| matches!(c, ',' | '}' | ']' | '\n'))),
        }
    }

    fn object(&mut self, depth: usize) -> Object {
        let mut members = Vec::new();
        self.at += 1;
        loop {
            self.skip_space();
            match self.peek() {
                None => {
                    self.cut = true;
                    return members;
                }
                Some(b'}' | b']') => {
                    self.at += 1;
                    return members;
                }
                // A value without a name: what stood before this object was none.
                Some(b'{' | b'[') => self.keep(String::new(), depth, &mut members),
                Some(quote @ (b'"' | b'\'')) => {
                    let name = self.string(quote);
                    self.member(&name, depth, &mut members);
                }
                Some(_) => {
                    let name = self.bare(|c| matches!(c, ':' | '=' | ',' | '}' | ']' | '{' | '\n'));
                    self.member(&name, depth, &mut members);
                }
            }
        }
    }

    fn member(&mut self, name: &Leaf, depth: usize, members: &mut Object) {
        self.skip_space();
        if self.rest().starts_with("=>") {
            self.at += 2;
        } else if self.peek() == Some(b':') {
            self.at += 1;
        } else {
            return;
        }
        if name.whole {
            self.keep(name.text.to_string(), depth, members);
        }
    }

    fn keep(&mut self, name: String, depth: usize, members: &mut Object) {
        let value = self.value(depth + 1);
        if is_kept(self.kept, &name) {
            self.kept += 1;
            members.push((name, value));
        }
    }

    fn list(&mut self, depth: usize) -> Vec<Node> {
        let mut values = Vec::new();
        self.at += 1;
        loop {
            self.skip_space();
            match self.peek() {
                None => {
                    self.cut = true;
                    return values;
                }
                Some(b']' | b'}') => {
                    self.at += 1;
                    return values;
                }
                Some(b',') => self.at += 1,
                Some(_) => {
                    let value = self.value(depth + 1);
                    if is_kept(self.kept, "") {
                        self.kept += 1;
                        values.push(value);
                    }
                }
            }
        }
    }

    /// A number, a word, or something that should have had quotes. Takes at least one character.
    fn bare(&mut self, ends: fn(char) -> bool) -> Leaf {
        let rest = self.rest();
        let length = rest.find(ends).unwrap_or(rest.len());
        self.at += length;
        let whole = length < rest.len();
        self.cut |= !whole;
        if length == 0 {
            self.skip_character();
        }
        Leaf::bare(rest[..length].trim(), whole)
    }

    fn string(&mut self, quote: u8) -> Leaf {
        let mut text = String::new();
        self.at += 1;
        loop {
            let rest = self.rest();
            let length = rest.bytes().position(|b| b == quote || b == b'\\').unwrap_or(rest.len());
            text.push_str(&rest[..length]);
            self.at += length;
            match self.peek() {
                None => {
                    self.cut = true;
                    return Leaf::text(text, false);
                }
                Some(b'\\') => {
                    self.at += 1;
                    self.escape(&mut text);
                }
                Some(_) => {
                    self.at += 1;
                    return Leaf::text(text, true);
                }
            }
        }
    }

    fn escape(&mut self, text: &mut String) {
        let Some(escaped) = self.rest().chars().next() else { return };
        self.at += escaped.len_utf8();
        text.push(match escaped {
            'n' => '\n',
            't' => '\t',
            'r' => '\r',
            'b' => '\u{8}',
            'f' => '\u{c}',
            'u' => self.unicode(),
            other => other,
        });
    }

    fn unicode(&mut self) -> char {
        let unit = self.hexadecimal();
        if !(0xd800..0xdc00).contains(&unit) || !self.rest().starts_with("\\u") {
            return char::from_u32(unit).unwrap_or(char::REPLACEMENT_CHARACTER);
        }
        let behind = self.at;
        self.at += 2;
        let low = self.hexadecimal();
        if !(0xdc00..0xe000).contains(&low) {
            // A half without its other one; what follows stands for itself.
            self.at = behind;
            return char::REPLACEMENT_CHARACTER;
        }
        let pair = 0x10000 + ((unit - 0xd800) << 10) + (low - 0xdc00);
        char::from_u32(pair).unwrap_or(char::REPLACEMENT_CHARACTER)
    }

    fn hexadecimal(&mut self) -> u32 {
        match self.rest().get(..4).and_then(|digits| u32::from_str_radix(digits, 16).ok()) {
            Some(unit) => {
                self.at += 4;
                unit
            }
            // A surrogate is no character.
            None => 0xdfff,
        }
    }

    fn with_inner(&self, leaf: Leaf) -> Leaf {
        let text = leaf.text.trim_start();
        let is_json = text.starts_with(['{', '[', '"']) && text.contains(':');
        let inner = (is_json && self.texts < DEEPEST_TEXT)
            .then(|| Box::new(read_within(text, self.texts + 1).node))
            .filter(|inner| !matches!(**inner, Node::Leaf(Leaf { inner: None, .. })));
        Leaf { inner, ..leaf }
    }

    /// Passes over an object or a list without a step down for each level.
    fn skip_nested(&mut self) {
        let mut open = 0_usize;
        while let Some(byte) = self.peek() {
            match byte {
                b'"' => {
                    self.skip_string();
                    continue;
                }
                b'{' | b'[' => open += 1,
                b'}' | b']' => open -= 1,
                _ => {}
            }
            self.skip_character();
            if open == 0 {
                return;
            }
        }
        self.cut = true;
    }

    fn skip_string(&mut self) {
        self.at += 1;
        while let Some(byte) = self.peek() {
            self.skip_character();
            match byte {
                b'\\' => self.skip_character(),
                b'"' => return,
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn write(node: &Node) -> String {
        match node {
            Node::Object(members) => {
                let members = members.iter().map(|(name, node)| format!("{name}:{}", write(node)));
                format!("{{{}}}", members.collect::<Vec<_>>().join(","))
            }
            Node::List(values) => format!("[{}]", values.iter().map(write).collect::<Vec<_>>().join(",")),
            Node::Leaf(leaf) => {
                let mark = if leaf.whole { "" } else { "~" };
                match &leaf.inner {
                    Some(inner) => format!("<{}>", write(inner)),
                    None if leaf.quoted => format!("'{}'{mark}", *leaf.text),
                    None => format!("{}{mark}", *leaf.text),
                }
            }
        }
    }

    #[test]
    fn json_is_read_as_far_as_it_goes() {
        for (text, expected) in [
            (r#"{"a":"b","c":1.50,"d":[true,null,{}]}"#, "{a:'b',c:1.50,d:[true,null,{}]}"),
            (r#" { "a" : "\u0062\n\"\ud83d\ude00\/" } x"#, "{a:'b\n\"😀/'}"),
            (r#"{"a":1,"a":2,}"#, "{a:1,a:2}"),
            (r#"{"a":"b","c":"d"#, "{a:'b',c:'d'~}"),
            (r#"{"a":"b","c":12"#, "{a:'b',c:12~}"),
            (r#"{"a":"b","c"#, "{a:'b'}"),
            (r#"{"a":"b\"#, "{a:'b'~}"),
            (r#"{"a":"\u00"#, "{a:'\u{fffd}00'~}"),
            (r"{'a': 'b', 'c': None, d: NaN}", "{a:'b',c:None,d:NaN}"),
            (r#"["a" => "b"]"#, "['a',=> \"b\"]"),
            (r#"{"a":"{\"b\":\"c\"}"}"#, "{a:<{b:'c'}>}"),
            (r#""{\"b\":\"{\\\"c\\\":1}\"}""#, "<{b:<{c:1}>}>"),
            (r#"{foo {"a":1}}"#, "{:{a:1}}"),
            ("", "~"),
            ("{", "{}"),
            ("{]", "{}"),
        ] {
            assert_eq!(write(&read(text).node), expected, "{text}");
        }
    }

    #[test]
    fn deep_nesting_is_passed_over() {
        let deep = "[".repeat(200_000) + &"]".repeat(200_000);
        let parsed = read(&format!("{{\"x\":{deep},\"a\":\"t\"}}"));
        assert!(write(&parsed.node).ends_with(",a:'t'}") && !parsed.cut);
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic_or_stand_still(text in "[\\PC\\[\\]{}\"'\\\\u0-9a-f:,]{0,80}") {
            let parsed = read(&text);
            prop_assert!(parsed.end <= text.len());
        }

        #[test]
        fn what_serde_json_reads_is_read_alike(value in "[ -~\\PC]{0,20}", name in "[a-z]{1,5}") {
            let text = serde_json::json!({ name.clone(): value.clone() }).to_string();
            let Node::Object(members) = read(&text).node else { panic!("{text}") };
            prop_assert_eq!(&members[0].0, &name);
            prop_assert_eq!(&*members[0].1.leaf().unwrap().text, &value);
        }
    }
}
