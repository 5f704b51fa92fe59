//! The error that an answer tells, in any of the forms seen: RFC 6749 §5.2, RFC 9457, Google's, Apigee's, AWS's and other
//! vendors' own, a list, XML. Its words are the server's: they are cleaned before they are shown.

use super::{
    document::{Document, Kind},
    html,
    members::plain,
    node::{Leaf, Node, Object},
};

/// Members that say that there is an error, and hold it.
const ERRORS: [&str; 6] = ["error", "errors", "fault", "exception", "oautherror", "err"];

/// Members that hold an error code of their own; `code` alone is weaker.
const CODES: [&str; 6] = ["errorcode", "errcode", "errorname", "faultcode", "oautherrorcode", "type"];

/// Members that describe an error, the ones that say most first.
const TEXTS: [&str; 19] = [
    "errordescription",
    "description",
    "errormessage",
    "errmsg",
    "message",
    "msg",
    "errorsummary",
    "faultstring",
    "statusmessage",
    "usermessage",
    "developermessage",
    "title",
    "detail",
    "details",
    "reason",
    "cause",
    "info",
    "errordetail",
    "text",
];

/// Members that add to that.
const EXTRAS: [&str; 7] =
    ["hint", "errorhint", "errordebug", "erroruri", "moreinfo", "helpurl", "errorsource"];

/// Of more texts a person is told nothing.
const MOST_TEXTS: usize = 50;

/// Objects beyond this many are not looked at.
const MOST_OBJECTS: usize = 1000;

/// More of a text is not read: what is shown is shorter by far.
const LONGEST_TEXT: usize = 4096;

/// What a server says of an error.
#[derive(Default)]
pub(in crate::oauth) struct Fault {
    /// The error code, standard or not. None where two contradict each other.
    pub(in crate::oauth) code: Option<String>,
    /// What it says about it.
    texts: Vec<String>,
    extras: Vec<String>,
    /// Whether a member says that this is an error; else there is a code or a message.
    pub(super) is_explicit: bool,
}

impl Fault {
    /// None where nothing says that there is an error. `is_error`: the status does, so that a message alone is one, and it may
    /// lie deeper. `has_tokens`: only an error in the outermost object is the answer's.
    pub(super) fn of(document: &Document, is_error: bool, has_tokens: bool) -> Option<Self> {
        let mut objects: Vec<&Object> = Vec::new();
        let levels = if is_error {
            5
        } else if has_tokens {
            1
        } else {
            3
        };
        document.roots.iter().for_each(|root| collect(root, &mut objects, levels));
        let mut fault = objects.iter().find_map(|object| Self::in_object(&Members::of(object), is_error));
        if fault.is_none() && is_error {
            fault = match document.kind {
                Kind::Html => Some(Self { texts: html::words(&document.text), ..Self::default() }),
                Kind::Text => Some(Self { texts: vec![short(&document.text)], ..Self::default() }),
                _ => None,
            };
        }
        fault.filter(|fault| fault.code.is_some() || fault.texts.iter().any(|text| !text.trim().is_empty()))
    }

    /// The parameters of a challenge (RFC 6750 §3), where the body says nothing.
    pub(super) fn of_challenge(challenge: &str) -> Option<Self> {
        let code = challenge_parameter(challenge, "error");
        let text = challenge_parameter(challenge, "error_description");
        let fault = Self { code, texts: text.into_iter().collect(), ..Self::default() };
        (fault.code.is_some() || !fault.texts.is_empty()).then_some(fault)
    }

    fn in_object(object: &Members<'_>, is_error: bool) -> Option<Self> {
        let mut fault = Self::default();
        let errors = object.nodes(&ERRORS).filter(|node| !is_nothing(node));
        let mut codes: Vec<String> = errors.clone().filter_map(|node| fault.take(node, 0)).collect();
        let has_error = errors.clone().next().is_some();
        codes.extend(object.texts(&CODES[..5]));
        codes.dedup();
        let failed = has_error || !codes.is_empty() || object.says_failure();
        let code = object.texts(&["code"]).find(|code| !is_success(code));
        if !failed && !is_error && code.is_none() {
            return None;
        }
        fault.is_explicit = failed;
        let is_alone = codes.len() <= 1;
        fault.code =
            codes.first().cloned().filter(|_| is_alone).or_else(|| code.filter(|_| codes.is_empty()));
        if !is_alone {
            fault.texts.extend(codes);
        }
        fault.describe(object);
        (fault.code.is_some() || !fault.texts.is_empty()).then_some(fault)
    }

    /// Reads an error's value, and gives back its code.
    fn take(&mut self, node: &Node, depth: usize) -> Option<String> {
        match node {
            Node::Leaf(leaf) => Some(leaf.text.trim().to_owned()).filter(|_| leaf.whole),
            Node::List(values) => self.take(values.first()?, depth),
            Node::Object(object) => {
                let members = Members::of(object);
                let object = &members;
                self.describe(object);
                let inner = object.nodes(&ERRORS).next();
                let inner = || inner.filter(|_| depth < 3).and_then(|node| self.take(node, depth + 1));
                let detail = || match object.nodes(&["detail"]).next() {
                    Some(Node::Object(detail)) => Members::of(detail).texts(&CODES).next(),
                    _ => None,
                };
                let named = object.texts(&CODES[..5]).chain(object.texts(&["code", "status", "type"]));
                let mut codes = named.filter(|code| code.parse::<f64>().is_err()).collect::<Vec<_>>();
                codes.extend(object.texts(&["code"]));
                codes.into_iter().next().or_else(detail).or_else(inner)
            }
        }
    }

    /// In the order of the names, not of the members.
    fn describe(&mut self, object: &Members<'_>) {
        for name in &TEXTS {
            self.texts.extend(object.texts(&[name]));
        }
        for name in &EXTRAS {
            self.extras.extend(object.texts(&[name]));
        }
    }

    /// All but the code, each piece by itself.
    pub(in crate::oauth) fn pieces(&self) -> impl Iterator<Item = &str> {
        self.texts.iter().chain(&self.extras).map(String::as_str)
    }

    /// Code, description and what else was said in one line.
    pub(in crate::oauth) fn words(&self) -> String {
        let mut said = String::new();
        let texts = self.code.iter().chain(&self.texts).map(|text| (": ", text));
        let extras = self.extras.iter().map(|text| ("; ", text));
        for (separator, text) in texts.chain(extras).take(MOST_TEXTS) {
            let text = text.trim();
            // Some say the same under several names.
            if text.is_empty() || said == text || (text.len() > 6 && said.contains(text)) {
                continue;
            }
            if !said.is_empty() {
                said.push_str(separator);
            }
            said.push_str(text);
        }
        said
    }
}

fn short(text: &str) -> String {
    text.trim().chars().take(LONGEST_TEXT).collect()
}

/// Objects from the outside in, through lists and texts that are JSON.
fn collect<'a>(node: &'a Node, objects: &mut Vec<&'a Object>, levels: usize) {
    if objects.len() >= MOST_OBJECTS || levels == 0 {
        return;
    }
    match node {
        Node::Object(object) => {
            objects.push(object);
            object.iter().for_each(|(_, node)| collect(node, objects, levels - 1));
        }
        Node::List(values) => values.iter().take(20).for_each(|value| collect(value, objects, levels)),
        Node::Leaf(Leaf { inner: Some(inner), .. }) => collect(inner, objects, levels - 1),
        Node::Leaf(_) => {}
    }
}

/// The members of an object that can tell of an error, by their plain names.
struct Members<'a>(Vec<(String, &'a Node)>);

impl<'a> Members<'a> {
    fn of(object: &'a Object) -> Self {
        const OTHERS: [&str; 5] = ["code", "status", "success", "ok", "result"];
        let known = |name: &str| {
            [&ERRORS[..], &CODES, &TEXTS, &EXTRAS, &OTHERS].iter().any(|names| names.contains(&name))
        };
        let named = object.iter().map(|(name, node)| (plain(name), node));
        Self(named.filter(|(name, _)| known(name)).collect())
    }

    fn nodes(&self, names: &[&str]) -> impl Iterator<Item = &'a Node> + Clone {
        self.0.iter().filter(|(name, _)| names.contains(&name.as_str())).map(|(_, node)| *node)
    }

    /// The texts of members with these names; of a list its first.
    fn texts(&self, names: &[&str]) -> impl Iterator<Item = String> {
        let text = |node: &'a Node| {
            let node = if let Node::List(values) = node { values.first()? } else { node };
            node.leaf().filter(|leaf| leaf.whole && !leaf.is_nothing()).map(|leaf| short(&leaf.text))
        };
        self.nodes(names).filter_map(text)
    }

    /// `success: false`, `ok: false`, `status: "error"`.
    fn says_failure(&self) -> bool {
        let says = |names: &[&str], words: &[&str]| {
            let leaves = self.nodes(names).filter_map(Node::leaf);
            leaves.into_iter().any(|leaf| words.iter().any(|word| leaf.text.eq_ignore_ascii_case(word)))
        };
        says(&["success", "ok"], &["false", "0"])
            || says(&["status", "result"], &["error", "failure", "fail", "failed"])
    }
}

/// Some servers put an empty `error` beside their tokens.
fn is_nothing(node: &Node) -> bool {
    match node {
        Node::Leaf(leaf) => !leaf.whole || leaf.is_nothing() || is_success(&leaf.text),
        Node::List(values) => values.is_empty(),
        Node::Object(members) => members.is_empty() || members.iter().all(|(_, node)| is_nothing(node)),
    }
}

fn is_success(code: &str) -> bool {
    const SUCCESS: [&str; 8] = ["0", "200", "201", "ok", "success", "no_error", "none", "0000"];
    SUCCESS.iter().any(|word| code.trim().eq_ignore_ascii_case(word))
}

/// A parameter of `WWW-Authenticate`, quoted or not.
fn challenge_parameter(challenge: &str, name: &str) -> Option<String> {
    let wanted = format!("{name}=");
    let found = challenge
        .match_indices(&wanted)
        .find(|(at, _)| challenge[..*at].chars().next_back().is_none_or(|c| c == ' ' || c == ','));
    let value = &challenge[found?.0 + wanted.len()..];
    let value = match value.strip_prefix('"') {
        Some(quoted) => quoted.split('"').next(),
        None => value.split([',', ' ']).next(),
    };
    value.map(str::trim).filter(|value| !value.is_empty()).map(str::to_owned)
}
