//! A body as a tree of values, whatever it was written in: JSON, XML or a form.

use zeroize::Zeroizing;

use super::members::plain;

/// Members in their order; a name may stand there twice.
pub(super) type Object = Vec<(String, Node)>;

/// Deeper values are passed over: no answer is that deep, and a deeper tree could exhaust the stack.
pub(super) const DEEPEST: usize = 64;

/// How many values of a body are kept; of more only what is called a token.
const MOST_KEPT: usize = 10_000;

/// Whether a member of this name is kept beside `kept` others: a tree takes much more memory than its text.
pub(super) fn is_kept(kept: usize, name: &str) -> bool {
    kept < MOST_KEPT || name.contains("oken") || name.contains("OKEN")
}

pub(super) enum Node {
    Object(Object),
    List(Vec<Node>),
    Leaf(Leaf),
}

/// A text, a number or a word.
pub(super) struct Leaf {
    pub(super) text: Zeroizing<String>,
    /// Whether it was written as a text, not as a number or a word.
    pub(super) quoted: bool,
    /// False where the body ended within it.
    pub(super) whole: bool,
    /// What it holds, where it is JSON written as a text.
    pub(super) inner: Option<Box<Node>>,
}

impl Leaf {
    pub(super) fn text(text: impl Into<String>, whole: bool) -> Self {
        Self { text: Zeroizing::new(text.into()), quoted: true, whole, inner: None }
    }

    pub(super) fn bare(text: impl Into<String>, whole: bool) -> Self {
        Self { quoted: false, ..Self::text(text, whole) }
    }

    /// Whether it says that there is no value.
    pub(super) fn is_nothing(&self) -> bool {
        const NOTHING: [&str; 9] = ["", "null", "none", "nil", "undefined", "false", "n/a", "na", "-"];
        let text = self.text.trim();
        self.whole
            && (NOTHING.iter().any(|word| text.eq_ignore_ascii_case(word)) || (!self.quoted && text == "0"))
    }
}

impl Node {
    pub(super) fn leaf(&self) -> Option<&Leaf> {
        match self {
            Self::Leaf(leaf) => Some(leaf),
            Self::Object(_) | Self::List(_) => None,
        }
    }

    /// The value as a leaf, also where it is wrapped: `{"token":"…","expires_in":…}`, `<accessToken type="…">…</accessToken>`,
    /// and the text of an element as XML becomes JSON (`_`, `$t`, `#text`).
    pub(super) fn value(&self) -> Option<&Leaf> {
        const WRAPPED: [&str; 6] = ["", "token", "value", "jwttoken", "text", "t"];
        match self {
            Self::Object(members) => {
                let wrapped = |name: &&str| members.iter().find(|(known, _)| plain(known) == *name)?.1.leaf();
                WRAPPED.iter().find_map(wrapped)
            }
            Self::Leaf(leaf) => Some(leaf),
            Self::List(_) => None,
        }
    }

    /// The value at a path of names and indexes.
    pub(super) fn at(&self, steps: &[String]) -> Option<&Self> {
        let Some((step, rest)) = steps.split_first() else { return Some(self) };
        let next = match self {
            // Of a name that stands there twice, the last one counts, as with most readers of JSON.
            Self::Object(members) => {
                members.iter().rev().find(|(name, _)| name == step).map(|(_, node)| node)
            }
            Self::List(values) => values.get(step.parse::<usize>().ok()?),
            Self::Leaf(leaf) => return leaf.inner.as_ref()?.at(steps),
        };
        next?.at(rest)
    }
}
