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
        if let Some(message) = misplaced(preset, environment, key, &url) {
            faults.push(fault(key, message));
        }
    }
    if faults.is_empty() && over.grant != Some(GrantKind::Static) && !preset.environments.is_empty() {
        faults.extend(lone_override(preset, environment, over));
    }
    faults
}

/// Why a URL on one of the vendor's own hosts is not this environment's. However its path is spelled, only what lies at or
/// below the environment's own place is.
fn misplaced(preset: &Preset, environment: &str, key: &str, url: &HttpUrl) -> Option<String> {
    let mut vendors =
        preset.environments.values().flat_map(|keys| [place(keys, "api"), place(keys, "token_url")]);
    if !vendors.any(|known| known.is_some_and(|known| same_host(&known, url))) {
        return None;
    }
    let own = preset.environments.get(environment).and_then(|keys| place(keys, key));
    if own.is_some_and(|own| same_host(&own, url) && is_below(&own, url)) {
        return None;
    }
    let others = preset.environments.iter().filter(|(name, _)| *name != environment);
    let mut others = others.filter(|(_, keys)| place(keys, key).is_some_and(|known| same_host(&known, url)));
    let whose = others.next().map_or_else(String::new, |(name, _)| format!(" (environment `{name}`)"));
    let title = &preset.title;
    Some(format!(
        "`{url}` is {title}'s own host{whose}, but not where `{environment}` is: change `environment`, or leave `{key}` out"
    ))
}

fn text<'a>(keys: &'a Keys, key: &str) -> Option<&'a str> {
    if key == "api" { keys.api.as_deref() } else { keys.token_url.as_deref() }
}

fn place(keys: &Keys, key: &str) -> Option<HttpUrl> {
    text(keys, key)?.parse().ok()
}

fn is_below(own: &HttpUrl, url: &HttpUrl) -> bool {
    let rest = url.path.strip_prefix(own.base_path());
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// A trailing dot names the same host (RFC 1034 §3.1).
fn same_host(a: &HttpUrl, b: &HttpUrl) -> bool {
    a.host.trim_end_matches('.') == b.host.trim_end_matches('.')
}

/// One of the two URLs moved to a foreign host while the other stayed with the vendor, written out or not: tokens of one
/// place for the other.
fn lone_override(preset: &Preset, environment: &str, over: &Keys) -> Option<ProfileError> {
    let own = preset.environments.get(environment)?;
    // A URL that cannot be read is a mistake of its own.
    let moved = |key: &str| match text(over, key) {
        Some(_) => Some(!same_host(&place(over, key)?, &place(own, key)?)),
        None => Some(false),
    };
    let (key, stayed) = match (moved("api")?, moved("token_url")?) {
        (true, false) => ("api", "token_url"),
        (false, true) => ("token_url", "api"),
        _ => return None,
    };
    let now = place(over, key)?;
    let title = &preset.title;
    let message = format!(
        "`{now}` is another host than {title}'s: move `{stayed}` to a host of your own too, so that tokens and API stay together"
    );
    Some(fault(key, message))
}
