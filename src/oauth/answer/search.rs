//! The search of an answer for what it brings: first where RFC 6749 §5.1 or the configuration puts it, then anywhere.
//!
//! A successor that is overlooked ends a grant, and so does something else that is taken for one. So it has to be the value of a
//! member of that name, in an object that is neither an error nor an example; and what was sent, what is masked and what was
//! cut is none.

use std::time::SystemTime;

use super::{
    document::{Document, Kind},
    lifetime::{self, Said},
    members::{named, plain},
    node::{Leaf, Node},
    value::{Value, access_value, refresh_value},
};
use crate::provider::{AnswerRules, TokenMember};

/// Members whose objects tell of other tokens than the ones that are issued.
const NOT_ISSUED: [&str; 31] = [
    "debug",
    "doc",
    "documentation",
    "docs",
    "echo",
    "error",
    "errordescription",
    "errors",
    "example",
    "examples",
    "expired",
    "fault",
    "form",
    "help",
    "input",
    "invalid",
    "log",
    "old",
    "parameters",
    "params",
    "post",
    "prev",
    "previous",
    "received",
    "request",
    "requestbody",
    "revoked",
    "sample",
    "schema",
    "sent",
    "trace",
];

/// Members whose text is for people: JSON within it is talk.
const DESCRIBING: [&str; 11] = [
    "description",
    "detail",
    "details",
    "errordebug",
    "errorhint",
    "errormessage",
    "hint",
    "message",
    "msg",
    "reason",
    "title",
];

/// Members whose objects are of somebody, who may have tokens from elsewhere: a refresh token there is ours only beside our
/// access token.
const OF_SOMEBODY: [&str; 12] = [
    "accounts",
    "autheduser",
    "connections",
    "identities",
    "identity",
    "integrations",
    "linkedaccounts",
    "profile",
    "provider",
    "providers",
    "user",
    "users",
];

/// More objects than this are not looked at.
const MOST_OBJECTS: usize = 10_000;

type Members<'a> = Vec<(TokenMember, &'a Node)>;

/// An object in which tokens may lie.
struct Place<'a> {
    /// Its members that mean something, in their order.
    members: Members<'a>,
    /// The place around it.
    parent: Option<usize>,
    /// Whether it is where RFC 6749 §5.1 has the members.
    is_principal: bool,
    /// Whether it lies below one of [`OF_SOMEBODY`].
    of_somebody: bool,
}

/// An answer made ready to be searched.
pub(super) struct Search<'a> {
    document: &'a Document,
    rules: &'a AnswerRules,
    success: bool,
    places: Vec<Place<'a>>,
}

/// An access token, or why there is none.
pub(super) enum Access<'a> {
    Token(&'a str, Found),
    None,
    Unusable(&'static str),
}

/// Where an access token was found, and so where its lifetime is looked for.
#[derive(Clone, Copy)]
pub(super) struct Found(Option<usize>);

/// What an answer says of the refresh token.
pub(super) enum Successor<'a> {
    /// A new one.
    New(&'a str),
    /// The one that was shown.
    Same(&'a str),
    /// Nothing.
    None,
    /// There was one that cannot be used.
    Unusable(&'static str),
}

impl<'a> Search<'a> {
    /// `success`: the status says that tokens were issued. In any other answer JSON behind a text has to hold both tokens.
    pub(super) fn new(document: &'a Document, rules: &'a AnswerRules, success: bool) -> Self {
        let mut search = Self { document, rules, success, places: Vec::new() };
        for root in &document.roots {
            search.visit(root, None, 0, false);
        }
        let has_access =
            |place: &Place<'_>| leaves(&place.members, TokenMember::AccessToken).next().is_some();
        if document.embedded && !success && !search.places.iter().any(has_access) {
            search.places.clear();
        }
        search
    }

    fn visit(&mut self, node: &'a Node, parent: Option<usize>, depth: usize, of_somebody: bool) {
        match node {
            Node::Object(object) if self.places.len() < MOST_OBJECTS => {
                // The root element of XML is an object around the members.
                let principal = if self.document.kind == Kind::Xml { 1 } else { 0 };
                self.places.push(Place {
                    members: Vec::new(),
                    parent,
                    is_principal: depth <= principal,
                    of_somebody,
                });
                let here = self.places.len() - 1;
                for (name, node) in object {
                    let name = plain(name);
                    if let Some(member) = named(&name) {
                        self.places[here].members.push((member, node));
                    }
                    if !is_leaf_alone(node) && !is_talk(&name, node) {
                        let of_somebody = of_somebody || OF_SOMEBODY.contains(&name.as_str());
                        self.visit(node, Some(here), depth + 1, of_somebody);
                    }
                }
            }
            Node::List(values) => {
                values.iter().for_each(|value| self.visit(value, parent, depth + 1, of_somebody));
            }
            Node::Leaf(Leaf { inner: Some(inner), .. }) => self.visit(inner, parent, depth, of_somebody),
            Node::Object(_) | Node::Leaf(_) => {}
        }
    }

    /// The access token: the configured place first, then the usual one; elsewhere only one that is alone.
    pub(super) fn access_token(&self) -> Access<'a> {
        if let Some(leaf) = self.configured(TokenMember::AccessToken) {
            return match access_value(leaf) {
                Value::Token(token) => Access::Token(token, Found(None)),
                Value::Absent => Access::None,
                Value::Unusable(why) => Access::Unusable(why),
            };
        }
        match self.access_token_in(|place| place.is_principal) {
            Access::None => self.access_token_in(|_| true),
            found => found,
        }
    }

    fn access_token_in(&self, is_meant: fn(&Place<'_>) -> bool) -> Access<'a> {
        let mut found = Access::None;
        for (index, place) in self.places.iter().enumerate().filter(|(_, place)| is_meant(place)) {
            for leaf in leaves(&place.members, TokenMember::AccessToken) {
                match (access_value(leaf), &found) {
                    (Value::Token(token), Access::Token(known, _)) if *known != token => {
                        return Access::Unusable("two different access tokens");
                    }
                    (Value::Token(token), Access::None | Access::Unusable(_)) => {
                        found = Access::Token(token, Found(Some(index)));
                    }
                    (Value::Unusable(why), Access::None) => found = Access::Unusable(why),
                    _ => {}
                }
            }
        }
        found
    }

    /// The successor. `sent`: the secrets of the call, of which none is one. Of several the last in the object of the access
    /// token counts (as readers of JSON have it, for a name given twice), then the one in the usual place, then the one
    /// with an access token beside it.
    pub(super) fn successor(&self, access: &Access<'_>, shown: Option<&str>, sent: &[&str]) -> Successor<'a> {
        if let Some(Value::Token(token)) = self.configured(TokenMember::RefreshToken).map(refresh_value) {
            return judged(token, shown, sent).unwrap_or(Successor::None);
        }
        let beside = match access {
            Access::Token(_, found) => found.0,
            Access::None | Access::Unusable(_) => None,
        };
        let mut best: Option<((bool, bool, bool), Successor<'a>)> = None;
        let mut unusable = None;
        for (index, place) in self.places.iter().enumerate() {
            let has_access = leaves(&place.members, TokenMember::AccessToken).next().is_some();
            let rank = (Some(index) == beside, place.is_principal, has_access);
            if place.of_somebody && !rank.0 && !(beside.is_none() && has_access) {
                continue;
            }
            // In an error a list holds what is wrong with the member.
            let mut listed = if self.success { listed_refresh_tokens(&place.members) } else { Vec::new() };
            listed.retain(|leaf| !leaf.is_nothing() && shown.is_none_or(|shown| leaf.text.as_str() != shown));
            listed.dedup_by(|one, other| one.text == other.text);
            if listed.len() > 1 {
                unusable = Some("several refresh tokens in a list");
            }
            let only = listed.first().copied().filter(|_| listed.len() == 1);
            for leaf in leaves(&place.members, TokenMember::RefreshToken).chain(only) {
                match refresh_value(leaf) {
                    // Without an access token beside it, it is likelier to be a sentence.
                    Value::Token(token)
                        if !(self.success && has_access) && token.contains(char::is_whitespace) => {}
                    Value::Token(token) => {
                        let Some(found) = judged(token, shown, sent) else { continue };
                        if best.as_ref().is_none_or(|best| is_better((rank, &found), (best.0, &best.1))) {
                            best = Some((rank, found));
                        }
                    }
                    Value::Unusable(why) => unusable = Some(why),
                    Value::Absent => {}
                }
            }
        }
        match (best, unusable) {
            (Some((_, new @ Successor::New(_))), _) => new,
            (_, Some(why)) => Successor::Unusable(why),
            (Some((_, same)), None) => same,
            (None, None) => Successor::None,
        }
    }

    /// How long the access token lives, where that is said.
    pub(super) fn lifetime(&self, found: Found, now: SystemTime) -> Option<Said> {
        let said = |member| self.lifetime_of(found, member, now);
        let nothing = said(TokenMember::ExpiresIn);
        match nothing {
            Some(Said::For(_)) => nothing,
            _ => said(TokenMember::ExpiresAt).or(nothing),
        }
    }

    /// How long the refresh token lives, where that is said.
    pub(super) fn refresh_lifetime(&self, found: Found, now: SystemTime) -> Option<Said> {
        let said = |member| self.lifetime_of(found, member, now);
        said(TokenMember::RefreshExpiresIn).or_else(|| said(TokenMember::RefreshExpiresAt))
    }

    /// Of two lifetimes the shorter counts.
    fn lifetime_of(&self, found: Found, member: TokenMember, now: SystemTime) -> Option<Said> {
        let said = |leaf: &Leaf| lifetime::read(&leaf.text, now).filter(|_| leaf.whole);
        if let Some(leaf) = self.configured(member) {
            return said(leaf);
        }
        let shortest = |members| {
            leaves(members, member).filter_map(said).min_by_key(|said| match said {
                Said::For(life) => *life,
                Said::Zero => std::time::Duration::MAX,
            })
        };
        self.around(found).find_map(shortest)
    }

    /// A text that was said beside the access token.
    pub(super) fn text(&self, found: Found, member: TokenMember) -> Option<String> {
        let said = |leaf: &Leaf| leaf.text.trim().to_owned();
        let meant = |leaf: &&Leaf| leaf.whole && !leaf.is_nothing();
        if let Some(leaf) = self.configured(member) {
            return Some(leaf).filter(meant).map(said);
        }
        self.around(found).find_map(|members| leaves(members, member).filter(meant).map(said).next_back())
    }

    /// The scope: a text, or a list of them.
    pub(super) fn scope(&self, found: Found) -> Option<String> {
        let list = |(member, node): &(TokenMember, &Node)| match node {
            Node::List(values) if *member == TokenMember::Scope => {
                let scopes: Vec<&str> =
                    values.iter().filter_map(|value| Some(value.leaf()?.text.as_str())).collect();
                Some(scopes.join(" ")).filter(|scope| !scope.is_empty())
            }
            _ => None,
        };
        let listed = || self.around(found).find_map(|members| members.iter().find_map(list));
        self.text(found, TokenMember::Scope).or_else(listed)
    }

    /// Every text that is the value of a token, so that it can be kept out of messages.
    pub(super) fn secrets(&self) -> Vec<&'a str> {
        const SECRET: [TokenMember; 3] =
            [TokenMember::AccessToken, TokenMember::RefreshToken, TokenMember::IdToken];
        let of_place = |place: &Place<'a>| {
            let of_member = |(member, node): &(TokenMember, &'a Node)| {
                node.value().filter(|_| SECRET.contains(member)).map(|leaf| leaf.text.as_str())
            };
            place.members.iter().filter_map(of_member).collect::<Vec<_>>()
        };
        let configured = SECRET.into_iter().filter_map(|member| Some(self.configured(member)?.text.as_str()));
        self.places.iter().flat_map(of_place).chain(configured).collect()
    }

    /// The object of the access token, and those around it; without one all in the usual place.
    fn around(&self, found: Found) -> impl Iterator<Item = &Members<'a>> {
        let chain = std::iter::successors(found.0, |index| self.places[*index].parent);
        let places = chain.map(|index| &self.places[index]);
        places.chain(self.places.iter().filter(|place| place.is_principal)).map(|place| &place.members)
    }

    fn configured(&self, member: TokenMember) -> Option<&'a Leaf> {
        let path = self.rules.members.get(&member)?;
        let roots = &self.document.roots;
        let found = roots.iter().find_map(|root| root.at(path.steps()));
        // The root element of XML need not be written out.
        let below = || {
            roots.iter().find_map(|root| match root {
                Node::Object(members) if self.document.kind == Kind::Xml => {
                    members.first()?.1.at(path.steps())
                }
                _ => None,
            })
        };
        found.or_else(below)?.leaf()
    }
}

type Rank = (bool, bool, bool);

/// Equal ranks: a new one before an echo, and the later one.
fn is_better(one: (Rank, &Successor<'_>), other: (Rank, &Successor<'_>)) -> bool {
    let new = |successor: &Successor<'_>| matches!(successor, Successor::New(_));
    // An echo in the answer's own place says that there is no successor; one elsewhere says nothing.
    let rank = |(rank, successor): (Rank, &Successor<'_>)| (rank.0 || rank.1, new(successor), rank);
    rank(one) >= rank(other)
}

/// None: one of the other secrets of the call.
fn judged<'a>(token: &'a str, shown: Option<&str>, sent: &[&str]) -> Option<Successor<'a>> {
    let is = |secret: &str| {
        let encoded = || super::super::form::encode(secret) == token;
        token == secret || token.trim() == secret.trim() || encoded()
    };
    if shown.is_some_and(is) {
        return Some(Successor::Same(token));
    }
    let known = sent.iter().any(|secret| !secret.is_empty() && is(secret));
    (!known).then_some(Successor::New(token))
}

fn leaves<'a>(members: &Members<'a>, member: TokenMember) -> impl DoubleEndedIterator<Item = &'a Leaf> {
    members.iter().filter(move |(meant, _)| *meant == member).filter_map(|(_, node)| node.value())
}

/// The values of lists where a refresh token belongs.
fn listed_refresh_tokens<'a>(members: &Members<'a>) -> Vec<&'a Leaf> {
    let of_list = |(member, node): &(TokenMember, &'a Node)| match node {
        Node::List(values) if *member == TokenMember::RefreshToken => values.as_slice(),
        _ => &[],
    };
    let value = |node: &'a Node| match node {
        Node::List(values) => values.first().and_then(Node::value),
        other => other.value(),
    };
    members.iter().flat_map(of_list).filter_map(value).collect()
}

fn is_leaf_alone(node: &Node) -> bool {
    matches!(node, Node::Leaf(Leaf { inner: None, .. }))
}

/// Whether what lies there tells of tokens without issuing them.
fn is_talk(name: &str, node: &Node) -> bool {
    NOT_ISSUED.contains(&name) || (node.leaf().is_some() && DESCRIBING.contains(&name))
}
