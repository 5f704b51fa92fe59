//! The keys of an app that override its preset. The one rule: here only their types are checked; what they mean together
//! is [`Profile::build`](crate::provider::Profile::build)'s to judge.

use std::collections::BTreeMap;

use super::{
    mask,
    reader::{Misfit, Section},
    schema, transport,
};
use crate::provider::{ClientAuth, ExpirySignal, GrantEnd, GrantKind, Keys, ProfileError, Replay};

const GRANTS: [(&str, GrantKind); 3] = [
    ("client_credentials", GrantKind::ClientCredentials),
    ("authorization_code", GrantKind::AuthorizationCode),
    ("static", GrantKind::Static),
];

const CLIENT_AUTH: [(&str, ClientAuth); 3] =
    [("basic", ClientAuth::Basic), ("body", ClientAuth::Body), ("basic-raw", ClientAuth::BasicRaw)];

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
        token_calls: app.count("token_calls", 1..=1024).and_then(|calls| calls.try_into().ok()),
        refresh_at: app.number("refresh_at"),
        replay: app.choice("replay", &REPLAY),
        reuse_window: text("reuse_window"),
        token_type: text("token_type"),
        token_lifetime: text("token_lifetime"),
        token_members: map(app, "token_members"),
        grant_ended: grant_ended(app),
        token_paths: token_paths(app),
        expired_when: expired_when(app),
        refresh_kills_token: app.flag("refresh_kills_token"),
        refresh_token_lifetime: text("refresh_token_lifetime"),
        authorize_params: map(app, "authorize_params"),
        issuer: text("issuer"),
        revoke_url: text("revoke_url"),
        userinfo_url: text("userinfo_url"),
        plaintext: app.flag("plaintext"),
        transport: transport::read(app),
    }
}

fn grant_ended(app: &Section<'_>) -> Option<Vec<GrantEnd>> {
    let read = |each: Section<'_>| {
        let error = each.text("error").map(|text| text.value);
        let end = GrantEnd { status: status(&each), error, contains: contained(&each) };
        if end == GrantEnd::default() {
            let hint = "write what tells this refusal: status = 400, error = \"…\" or contains = \"…\"";
            each.absence(Misfit::mended_by("an entry of `grant_ended` that matches every refusal", hint));
        }
        end
    };
    app.has("grant_ended")
        .then(|| app.sections("grant_ended", &schema::GRANT_ENDED).into_iter().map(read).collect())
}

fn expired_when(app: &Section<'_>) -> Option<Vec<ExpirySignal>> {
    let read = |each: Section<'_>| {
        let contains = contained(&each);
        if !each.has("status") {
            let hint = "write the status of the answer, such as status = 403";
            each.absence(Misfit::mended_by("an entry of `expired_when` without `status`", hint));
        }
        Some(ExpirySignal { status: status(&each)?, contains })
    };
    app.has("expired_when")
        .then(|| app.sections("expired_when", &schema::EXPIRED_WHEN).into_iter().filter_map(read).collect())
}

fn status(each: &Section<'_>) -> Option<u16> {
    each.count("status", 100..=599).and_then(|status| u16::try_from(status).ok())
}

/// An empty text stands in every body.
fn contained(each: &Section<'_>) -> Option<String> {
    each.parsed("contains", |text| {
        let hint = "write a part of the body, or leave `contains` out";
        if text.is_empty() {
            Err(Misfit::mended_by("`contains` is empty", hint))
        } else {
            Ok(text.to_owned())
        }
    })
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

fn token_paths(app: &Section<'_>) -> Option<Vec<String>> {
    let texts = app.texts("token_paths")?;
    let is_path = |text: &str| {
        text.starts_with('/') && text.bytes().all(|b| b.is_ascii_graphic() && !b"?#".contains(&b))
    };
    for text in texts.iter().filter(|text| !is_path(&text.value)) {
        let message = format!("`{}` is no path", text.value);
        let hint = "write what follows `api` in the token request's URL: token_paths = [\"/oauth/token\"]";
        app.mistake(&text.span, Misfit::mended_by(message, hint));
    }
    Some(texts.into_iter().map(|text| text.value).collect())
}

fn map(app: &Section<'_>, key: &str) -> BTreeMap<String, String> {
    let mut map: BTreeMap<String, String> = BTreeMap::new();
    for (name, text) in app.map(key) {
        let same = |known: &String| known.eq_ignore_ascii_case(&name.value);
        if !["token_request_params", "authorize_params"].contains(&key) && map.keys().any(same) {
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
        "revoke_url" => (keys.revoke_url.as_ref(), keys.revoke_url.as_deref().map(mask::without_userinfo)),
        "userinfo_url" => {
            (keys.userinfo_url.as_ref(), keys.userinfo_url.as_deref().map(mask::without_userinfo))
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
