//! The keys of an app that override its preset. The one rule: here only their types are checked; what they mean together
//! is [`Profile::build`](crate::provider::Profile::build)'s to judge.

use std::collections::BTreeMap;

use super::{
    mask,
    reader::{Misfit, Section},
};
use crate::provider::{ClientAuth, GrantKind, Keys, ProfileError, Replay};

const GRANTS: [(&str, GrantKind); 3] = [
    ("client_credentials", GrantKind::ClientCredentials),
    ("authorization_code", GrantKind::AuthorizationCode),
    ("static", GrantKind::Static),
];

const CLIENT_AUTH: [(&str, ClientAuth); 2] = [("basic", ClientAuth::Basic), ("body", ClientAuth::Body)];

const REPLAY: [(&str, Replay); 3] =
    [("all", Replay::All), ("idempotent", Replay::Idempotent), ("off", Replay::Off)];

/// An app's own keys.
pub(super) fn read(app: &Section<'_>) -> Keys {
    let text = |key: &str| app.text(key).map(|text| text.value);
    Keys {
        grant: app.choice("grant", &GRANTS),
        api: text("api"),
        token_url: text("token_url"),
        authorize_url: text("authorize_url"),
        client_auth: app.choice("client_auth", &CLIENT_AUTH),
        scopes: scopes(app),
        scope_separator: text("scope_separator"),
        pkce: app.flag("pkce"),
        token_header: text("token_header"),
        token_prefix: app.parsed("token_prefix", prefix),
        headers: map(app, "headers"),
        token_request_headers: map(app, "token_request_headers"),
        token_request_params: map(app, "token_request_params"),
        token_budget: text("token_budget"),
        refresh_at: app.number("refresh_at"),
        replay: app.choice("replay", &REPLAY),
        reuse_window: text("reuse_window"),
    }
}

fn prefix(text: &str) -> Result<String, Misfit> {
    let visible = text.bytes().all(|b| (0x20..0x7f).contains(&b));
    let message = "a prefix may hold visible ASCII characters and spaces only";
    if visible { Ok(text.to_owned()) } else { Err(Misfit::new(message)) }
}

/// RFC 6749 §3.3: a scope is visible ASCII without quotes and backslashes, and has no space in it.
fn scopes(app: &Section<'_>) -> Option<Vec<String>> {
    let texts = app.texts("scopes")?;
    let legal = |b: u8| b.is_ascii_graphic() && b != b'"' && b != b'\\';
    for text in texts.iter().filter(|text| text.value.is_empty() || !text.value.bytes().all(legal)) {
        let message = format!("`{}` is no scope", text.value);
        app.mistake(&text.span, Misfit::mended_by(message, "write a list: scopes = [\"read\", \"write\"]"));
    }
    Some(texts.into_iter().map(|text| text.value).collect())
}

fn map(app: &Section<'_>, key: &str) -> BTreeMap<String, String> {
    let mut map: BTreeMap<String, String> = BTreeMap::new();
    for (name, text) in app.map(key) {
        let same = |known: &String| known.eq_ignore_ascii_case(&name.value);
        if key != "token_request_params" && map.keys().any(same) {
            let message = format!("`{}` stands twice under `{key}`, in two spellings", name.value);
            app.mistake(&name.span, Misfit::new(message));
        }
        map.insert(name.value, text.value);
    }
    map
}

/// A fault's message without what no message may repeat: the values of headers and parameters, which may be keys, and the
/// user and password of a URL.
pub(super) fn without_values(keys: &Keys, fault: &ProfileError) -> String {
    let (table, name) = fault.key.split_once('.').unwrap_or((&fault.key, ""));
    let (value, shown) = match table {
        "api" => (keys.api.as_ref(), keys.api.as_deref().map(mask::without_userinfo)),
        "token_url" => (keys.token_url.as_ref(), keys.token_url.as_deref().map(mask::without_userinfo)),
        "authorize_url" => {
            (keys.authorize_url.as_ref(), keys.authorize_url.as_deref().map(mask::without_userinfo))
        }
        "headers" => (keys.headers.get(name), None),
        "token_request_headers" => (keys.token_request_headers.get(name), None),
        "token_request_params" => (keys.token_request_params.get(name), None),
        _ => return fault.message.clone(),
    };
    match value.filter(|value| !value.is_empty()) {
        Some(value) => {
            fault.message.replace(&format!("`{value}`"), &format!("`{}`", shown.as_deref().unwrap_or("…")))
        }
        None => fault.message.clone(),
    }
}
