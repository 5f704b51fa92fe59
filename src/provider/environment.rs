//! The environment guard. The one rule: a preset's API and token endpoint belong together, so that no token of one place is
//! ever sent to another.

use super::{
    http_url::HttpUrl,
    preset::{Keys, Preset, SIMULATOR},
    profile_error::{ProfileError, fault},
    values::GrantKind,
};

pub(super) fn unknown_environment(preset: &Preset, environment: &str) -> String {
    let names =
        preset.environments.keys().map(String::as_str).chain([SIMULATOR]).collect::<Vec<_>>().join("`, `");
    format!("{} has no environment `{environment}`: write one of `{names}`", preset.title)
}

/// The environment guard: an override must not reach into another environment of the same vendor, where keys differ and
/// mistakes cost real money. A host of the operator's own must be given for both the API and the tokens.
pub(super) fn guard_environment(preset: &Preset, environment: &str, over: &Keys) -> Vec<ProfileError> {
    let mut faults = Vec::new();
    for (key, url) in [("api", &over.api), ("token_url", &over.token_url)] {
        let Some(url) = url.as_deref().and_then(|u| u.parse::<HttpUrl>().ok()) else { continue };
        if let Some(other) = other_environment_of(preset, environment, key, &url) {
            let message = format!(
                "`{url}` belongs to {}'s environment `{other}`, but this app says `{environment}`: \
                 change `environment` instead",
                preset.title
            );
            faults.push(fault(key, message));
        }
    }
    if faults.is_empty() && over.grant != Some(GrantKind::Static) && !preset.environments.is_empty() {
        faults.extend(lone_override(preset, environment, over));
    }
    faults
}

fn other_environment_of<'a>(
    preset: &'a Preset,
    environment: &str,
    key: &str,
    url: &HttpUrl,
) -> Option<&'a str> {
    let place = |keys: &Keys| {
        let text = if key == "api" { keys.api.as_deref() } else { keys.token_url.as_deref() };
        text.and_then(|text| text.parse::<HttpUrl>().ok())
    };
    let same_place = |known: &HttpUrl| {
        same_host(known, url) && (known.base_path() == url.base_path() || known.path.len() <= 1)
    };
    let own = preset.environments.get(environment).and_then(place);
    if own.as_ref().is_some_and(|own| same_host(own, url) && own.base_path() == url.base_path()) {
        return None;
    }
    let mut others = preset.environments.iter().filter(|(name, _)| *name != environment);
    others
        .find(|(_, keys)| place(keys).is_some_and(|known| same_place(&known)))
        .map(|(name, _)| name.as_str())
}

/// A trailing dot names the same host (RFC 1034 §3.1).
fn same_host(a: &HttpUrl, b: &HttpUrl) -> bool {
    a.host.trim_end_matches('.') == b.host.trim_end_matches('.')
}

/// One of the two URLs moved to a foreign host while the other stayed with the vendor: tokens of one place for the other.
fn lone_override(preset: &Preset, environment: &str, over: &Keys) -> Option<ProfileError> {
    let own = preset.environments.get(environment)?;
    let (moved, stayed) = match (&over.api, &over.token_url) {
        (Some(api), None) => (("api", api, &own.api), "token_url"),
        (None, Some(token)) => (("token_url", token, &own.token_url), "api"),
        _ => return None,
    };
    let (key, now, before) = moved;
    let host = |text: &str| text.parse::<HttpUrl>().ok().map(|url| url.host);
    if host(now)? == host(before.as_deref()?)? {
        return None;
    }
    let message = format!(
        "`{now}` is another host than {}'s: override `{stayed}` too, so that tokens and API stay together",
        preset.title
    );
    Some(fault(key, message))
}
