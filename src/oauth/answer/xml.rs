//! XML read into the same tree as JSON, as far as it goes. Entities of its own are not resolved: a value that needs one is
//! not used.

use quick_xml::{
    Reader,
    escape::{resolve_predefined_entity, unescape},
    events::{BytesRef, BytesStart, Event},
};

use super::node::{DEEPEST, Leaf, Node, Object, is_kept};

/// What was read.
pub(super) struct Parsed {
    /// The root element as the one member of an object.
    pub(super) node: Node,
    pub(super) cut: bool,
}

#[derive(Default)]
struct Element {
    name: String,
    members: Object,
    text: String,
}

impl Element {
    /// The text of an element that has attributes or elements too is a member without a name.
    fn close(self, whole: bool) -> (String, Node) {
        let Self { name, mut members, text } = self;
        let text = text.trim();
        let leaf = Node::Leaf(Leaf::text(text, whole));
        if members.is_empty() {
            return (name, leaf);
        }
        if !text.is_empty() {
            members.push((String::new(), leaf));
        }
        (name, Node::Object(members))
    }
}

#[derive(Default)]
struct Tree {
    open: Vec<Element>,
    /// Elements below the deepest that are kept.
    too_deep: usize,
    kept: usize,
    roots: Object,
}

/// Reads until the text ends or cannot be understood.
pub(super) fn read(text: &str) -> Parsed {
    let mut reader = Reader::from_str(text);
    let mut tree = Tree::default();
    loop {
        match reader.read_event() {
            Ok(Event::Start(start)) => tree.start(&start),
            Ok(Event::Empty(start)) => {
                tree.start(&start);
                tree.end(true);
            }
            Ok(Event::End(_)) => tree.end(true),
            Ok(Event::Text(part)) => tree.push(&part.xml10_content()),
            Ok(Event::CData(part)) => tree.push(&part.xml10_content()),
            Ok(Event::GeneralRef(reference)) => tree.push(&resolved(&reference)),
            // It could define entities.
            Ok(Event::DocType(kind)) if kind.contains('[') => break,
            Ok(Event::Comment(_) | Event::Decl(_) | Event::PI(_) | Event::DocType(_)) => {}
            Ok(Event::Eof) | Err(_) => break,
        }
    }
    let cut = tree.roots.is_empty();
    while !tree.open.is_empty() {
        tree.end(false);
    }
    Parsed { node: Node::Object(tree.roots), cut }
}

impl Tree {
    fn start(&mut self, start: &BytesStart<'_>) {
        if self.open.len() >= DEEPEST {
            self.too_deep += 1;
            return;
        }
        let attribute = |attribute: quick_xml::events::attributes::Attribute<'_>| {
            let name = attribute.key.local_name().as_ref().to_owned();
            // Namespaces are no members.
            let value =
                unescape(&attribute.value).ok().filter(|_| !attribute.key.as_ref().starts_with("xmlns"))?;
            Some((name, Node::Leaf(Leaf::text(value, true))))
        };
        let members = start.attributes().flatten().filter_map(attribute).collect();
        let name = start.local_name().as_ref().to_owned();
        self.open.push(Element { name, members, text: String::new() });
    }

    fn end(&mut self, whole: bool) {
        if self.too_deep > 0 && whole {
            self.too_deep -= 1;
            return;
        }
        let Some(element) = self.open.pop() else { return };
        if !is_kept(self.kept, &element.name) {
            return;
        }
        self.kept += 1;
        let member = element.close(whole);
        match self.open.last_mut() {
            Some(parent) => parent.members.push(member),
            None => self.roots.push(member),
        }
    }

    fn push(&mut self, text: &str) {
        if let (0, Some(element)) = (self.too_deep, self.open.last_mut()) {
            element.text.push_str(text);
        }
    }
}

fn resolved(reference: &BytesRef<'_>) -> String {
    match reference.resolve_char_ref() {
        Ok(Some(character)) => character.into(),
        Ok(None) => resolve_predefined_entity(reference).unwrap_or("\u{fffd}").to_owned(),
        Err(_) => char::REPLACEMENT_CHARACTER.into(),
    }
}
