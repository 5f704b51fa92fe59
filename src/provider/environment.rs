//! The environment guard. The one rule: a preset's API and token endpoint belong together, so that no token of one place is
//! ever sent to another.

use super::{
    authorization::without_query,
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
/// mistakes cost real money. A host of the operator's own must be given for both the API and the tokens, and for the
/// consent where there is one.
pub(super) fn guard_environment(preset: &Preset, environment: &str, over: &Keys) -> Vec<ProfileError> {
    let mut faults = Vec::new();
    for key in KEYS {
        let Some(url) = place(over, key) else { continue };
        if let Some(message) = misplaced(preset, environment, key, &url) {
            faults.push(fault(key, message));
        }
    }
    if faults.is_empty() && over.grant != Some(GrantKind::Static) && !preset.environments.is_empty() {
        faults.extend(lone_override(preset, environment, over));
    }
    if faults.is_empty() && preset.grant(over) == Some(GrantKind::AuthorizationCode) {
        faults.extend(codes_led_away(preset, environment, over));
    }
    faults
}

/// The keys that hold URLs.
const KEYS: [&str; 3] = ["api", "token_url", "authorize_url"];

/// Why a URL on one of the vendor's own hosts is not this environment's. However its path is spelled, only what lies at or
/// below the environment's own place is.
fn misplaced(preset: &Preset, environment: &str, key: &str, url: &HttpUrl) -> Option<String> {
    let everywhere = preset.environments.values().chain([&preset.defaults]);
    let mut vendors = everywhere.flat_map(|keys| KEYS.map(|key| place(keys, key)));
    if !vendors.any(|known| known.is_some_and(|known| same_host(&known, url))) {
        return None;
    }
    let own = own_place(preset, environment, key);
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

/// Whether this is a host of any marketplace that is known.
pub(super) fn is_a_vendors(url: &HttpUrl) -> bool {
    let environments =
        Preset::names().filter_map(Preset::named).flat_map(|preset| preset.environments.values());
    environments
        .flat_map(|keys| KEYS.map(|key| place(keys, key)))
        .flatten()
        .any(|known| same_host(&known, url))
}

/// Where the vendor has what `key` names, in one environment of its own.
fn own_place(preset: &Preset, environment: &str, key: &str) -> Option<HttpUrl> {
    let keys = preset.environments.get(environment)?;
    place(keys, key).or_else(|| place(&preset.defaults, key))
}

fn text<'a>(keys: &'a Keys, key: &str) -> Option<&'a str> {
    match key {
        "api" => keys.api.as_deref(),
        "token_url" => keys.token_url.as_deref(),
        _ => keys.authorize_url.as_deref().map(without_query),
    }
}

fn place(keys: &Keys, key: &str) -> Option<HttpUrl> {
    HttpUrl::read(text(keys, key)?, keys.plaintext.unwrap_or(false)).ok()
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

/// Tokens moved to a foreign host while sellers still consent at the vendor's: their codes, which are real, would be shown
/// to the foreign host. The other way round nothing real goes astray, and a vendor may have more pages than are known.
fn codes_led_away(preset: &Preset, environment: &str, over: &Keys) -> Option<ProfileError> {
    let tokens = place(over, "token_url")?;
    let page = own_place(preset, environment, "authorize_url")?;
    let moved = !same_host(&tokens, &own_place(preset, environment, "token_url")?);
    // A URL that cannot be read is a mistake of its own.
    let stays =
        over.authorize_url.is_none() || place(over, "authorize_url").is_some_and(|p| same_host(&p, &page));
    let message = format!(
        "`{tokens}` is another host than {}'s: move `authorize_url` to a host of your own too, so that no code given out by {} is shown there",
        preset.title, page.host
    );
    (moved && stays).then(|| fault("token_url", message))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complaint(provider: &str, environment: &str, over: &Keys) -> String {
        let faults = guard_environment(Preset::named(provider).unwrap(), environment, over);
        faults.iter().map(|f| format!("{}: {}", f.key, f.message)).collect::<Vec<_>>().join("\n")
    }

    fn consent_at(url: &str) -> Keys {
        Keys { authorize_url: Some(url.to_owned()), ..Keys::default() }
    }

    #[test]
    fn sellers_consent_where_the_environment_is_or_on_a_host_of_ones_own() {
        for (provider, environment, url, stands) in [
            ("depop", "production", "https://www.depop.com/settings/oauth/apps/?lang=es", true),
            ("depop", "staging", "https://www.depop.com/settings/oauth/apps/", true),
            ("depop", "staging", "https://staging-page.test/settings/", true),
            ("depop", "production", "https://www.depop.com/login/", false),
            ("depop", "production", "https://WWW.depop.com./login/", false),
            ("depop", "production", "https://partnerapi-staging.depop.com/oauth/", false),
            ("depop", "simulator", "https://www.depop.com/settings/oauth/apps/", false),
            ("wallapop", "production", "https://connect.wallapop.com/auth", false),
        ] {
            let complaint = complaint(provider, environment, &consent_at(url));
            assert_eq!(complaint.is_empty(), stands, "{url}: {complaint}");
            assert!(stands || complaint.starts_with("authorize_url: "), "{complaint}");
        }
        let api = Keys { api: Some("https://www.depop.com/api".into()), ..Keys::default() };
        assert!(complaint("depop", "production", &api).contains("Depop's own host"));
    }

    #[test]
    fn a_real_code_is_never_shown_to_a_host_of_ones_own() {
        let own = |path: &str| Some(format!("https://mock.test{path}"));
        let tokens = Keys { api: own(""), token_url: own("/token"), ..Keys::default() };
        assert!(complaint("depop", "production", &tokens).contains("token_url: "));
        assert!(complaint("depop", "production", &tokens).contains("move `authorize_url`"));
        let keys = Keys { grant: Some(GrantKind::Static), ..tokens.clone() };
        assert_eq!(complaint("depop", "production", &keys), "");
        assert_eq!(complaint("walmart-marketplace", "production", &tokens), "");
        let all = Keys { authorize_url: own("/authorize"), ..tokens };
        assert_eq!(complaint("depop", "production", &all), "");
    }
}
