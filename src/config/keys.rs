//! `[callers.NAME]` and `[admin.keys.NAME]`: who shows which key. The one rule: a key has one holder, and what is kept of
//! it is its digest.

use std::ops::Range;

use super::{
    grammar,
    reader::{Misfit, Section, Text, not_one_of},
    schema,
    settings::{AdminKey, Caller, Permission},
};
use crate::{
    names::{AppName, NameError},
    secret,
};

/// What makes a key.
const MAKES_A_KEY: &str = "`marketgate caller NAME` makes a key";

/// A key of fewer characters may be guessed.
const SHORTEST: usize = 16;

/// The callers that may talk to the proxy door.
pub(super) fn callers(root: &Section<'_>) -> Vec<Caller> {
    let mut callers: Vec<Caller> = Vec::new();
    for (name, section) in root.named("callers", &schema::CALLER, |name| format!("caller `{name}`: ")) {
        let holders = callers.iter().map(|caller| (holder_caller(caller), caller.key_sha256));
        let key = holder(&name, &section, holders);
        callers.extend(key.map(|key_sha256| Caller { name: name.value, key_sha256 }));
    }
    callers
}

/// The keys to the admin door. A caller's key opens the proxy door alone.
pub(super) fn admin(admin: &Section<'_>, callers: &[Caller]) -> Vec<AdminKey> {
    let mut keys: Vec<AdminKey> = Vec::new();
    for (name, section) in admin.named("keys", &schema::ADMIN_KEY, |name| format!("admin key `{name}`: ")) {
        let ours = keys.iter().map(|key| (format!("admin key `{}`", key.name), key.sha256));
        let theirs = callers.iter().map(|caller| (holder_caller(caller), caller.key_sha256));
        let (key, allow) = (holder(&name, &section, ours.chain(theirs)), allow(&section));
        if let (Some(sha256), Some(allow)) = (key, allow) {
            keys.push(AdminKey { name: name.value, sha256, allow });
        }
    }
    keys
}

fn holder_caller(caller: &Caller) -> String {
    format!("caller `{}`", caller.name)
}

/// The digest of a key that nobody of `others` has.
fn holder(
    name: &Text,
    section: &Section<'_>,
    mut others: impl Iterator<Item = (String, [u8; 32])>,
) -> Option<[u8; 32]> {
    section.check_keys(&[]);
    if name.value.parse::<AppName>().is_err() {
        section.mistake(&name.span, Misfit::new(NameError.to_string()));
    }
    let (digest, span) = key(section)?;
    let Some((same, _)) = others.find(|(_, other)| *other == digest) else { return Some(digest) };
    let message = format!("has the same key as {same}: each needs its own");
    section.mistake(&span, Misfit::mended_by(message, MAKES_A_KEY));
    None
}

/// The digest of a key, from whichever of `key` and `sha256` is written.
fn key(section: &Section<'_>) -> Option<([u8; 32], Range<usize>)> {
    let hint = format!("{MAKES_A_KEY} and prints what to write");
    match (section.has("key"), section.has("sha256")) {
        (true, true) => {
            section
                .mistake_at("sha256", Misfit::new("`key` and `sha256` say the same thing: keep one of them"));
            None
        }
        (false, false) => {
            section.absence(Misfit::mended_by("needs `key` or `sha256`", hint));
            None
        }
        (true, false) => {
            let found = section.secret("key")?;
            let secret = found.source.read().ok()?;
            let length = secret.expose().chars().count();
            if length < SHORTEST {
                let message =
                    format!("`key` has {length} characters: whoever reaches this address may guess it");
                section.warning(&found.span, Misfit::mended_by(message, MAKES_A_KEY));
            }
            Some((secret::sha256(secret.expose()), found.span))
        }
        (false, true) => Some((section.parsed("sha256", grammar::sha256)?, section.place("sha256")?)),
    }
}

/// What the holder of an admin key may do: something, or the key is good for nothing.
fn allow(section: &Section<'_>) -> Option<Vec<Permission>> {
    let words = || Permission::ALL.iter().map(|permission| permission.as_str());
    let hint = || format!("write a list of \"{}\"", words().collect::<Vec<_>>().join("\", \""));
    if !section.has("allow") {
        section.absence(Misfit::mended_by("needs `allow`: what its holder may do", hint()));
    }
    let texts = section.texts("allow")?;
    if section.value("allow")?.get_ref().as_array().is_some_and(|list| list.is_empty()) {
        section.mistake_at("allow", Misfit::mended_by("`allow` is an empty list", hint()));
    }
    let permission = |text: Text| {
        let found = Permission::ALL.into_iter().find(|permission| permission.as_str() == text.value);
        if found.is_none() {
            section.mistake(&text.span, not_one_of("permission", &text.value, words()));
        }
        found
    };
    Some(texts.into_iter().filter_map(permission).collect())
}
