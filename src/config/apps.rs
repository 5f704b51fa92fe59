//! `[apps.NAME]`: a marketplace, an environment and credentials. The one rule: an app that is returned can be used; one that
//! cannot has said why, as far as it can be known in one reading.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::{
    accounts::Sellers,
    grammar, overrides,
    reader::{Misfit, Section, Text, not_one_of},
    schema,
    settings::App,
    templates,
};
use crate::{
    names::{AppName, NameError},
    provider::{
        GrantKind, HttpUrl, Keys, Preset, Profile, TokenEndpoint,
        preset::{DEFAULT_SIMULATOR, SIMULATOR},
    },
};

/// The apps of a file.
#[derive(Debug, Default)]
pub(super) struct Apps {
    /// Those that can be used.
    pub served: BTreeMap<AppName, Arc<App>>,
    /// The names of those with mistakes, so that whoever names one of them is not blamed for it.
    pub refused: BTreeSet<String>,
}

/// Every app.
pub(super) fn read(root: &Section<'_>) -> Apps {
    let mut apps = Apps::default();
    let sections = root.named("apps", &schema::APP, |name| format!("app `{name}`: "));
    if sections.is_empty() && root.value("apps").is_none_or(|value| value.get_ref().is_table()) {
        let hint = "`marketgate init` writes a first one; `marketgate demo` needs none";
        root.absence(Misfit::mended_by("there is no app: nothing to stand in front of", hint));
    }
    for (name, section) in sections {
        match app(&name, &section) {
            Some(app)
                if agrees(&section, &app, &apps.served) && has_own_redirect(&section, &app, &apps.served) =>
            {
                apps.served.insert(app.name.clone(), Arc::new(app));
            }
            _ => {
                apps.refused.insert(name.value);
            }
        }
    }
    spread(&mut apps.served, |endpoint| &mut endpoint.budget);
    spread(&mut apps.served, |endpoint| &mut endpoint.at_once);
    demand_issuers(&mut apps.served);
    apps
}

/// Where a callback says by `iss` whom it comes from, a redirect address may be shared; of the others each authorization
/// server needs one of its own, or a code could be taken to the wrong one (RFC 9700 §4.4).
fn has_own_redirect(section: &Section<'_>, app: &App, others: &BTreeMap<AppName, Arc<App>>) -> bool {
    let is_unnamed = |app: &App| app.profile.authorization.as_ref().is_some_and(|a| a.issuer.is_none());
    let collides = |other: &&Arc<App>| is_unnamed(other) && is_unnamed(app) && share_redirect(app, other);
    let Some(other) = others.values().find(collides) else { return true };
    let message = format!(
        "app `{}` has the same redirect_uri and another authorization server: a code of one could reach the other",
        other.name
    );
    let hint = "register and write a redirect address for each, such as another path; or write `issuer` for the one whose \
        server sends `iss` with every callback (RFC 9207)";
    section.mistake_at("redirect_uri", Misfit::mended_by(message, hint));
    false
}

/// A server that shares its redirect address with another one must name itself in every callback.
fn demand_issuers(apps: &mut BTreeMap<AppName, Arc<App>>) {
    let shares = |app: &Arc<App>| apps.values().any(|other| share_redirect(app, other));
    let sharing: Vec<AppName> = apps.values().filter(|app| shares(app)).map(|app| app.name.clone()).collect();
    for name in sharing {
        let authorization =
            apps.get_mut(&name).and_then(|app| Arc::make_mut(app).profile.authorization.as_mut());
        if let Some(authorization) = authorization {
            authorization.iss_promised = authorization.issuer.is_some();
        }
    }
}

/// Whether sellers come back to one address from the servers of both, and these are not the same.
fn share_redirect(app: &App, other: &App) -> bool {
    let (Some(own), Some(theirs)) = (&app.profile.authorization, &other.profile.authorization) else {
        return false;
    };
    let is_same_server = match (&own.issuer, &theirs.issuer) {
        (Some(own), Some(theirs)) => own == theirs,
        _ => own.url.origin() == theirs.url.origin(),
    };
    app.redirect_uri.is_some() && app.redirect_uri == other.redirect_uri && !is_same_server
}

/// What a token endpoint allows is counted over all apps that ask there with one grant: they must agree on it.
fn agrees(section: &Section<'_>, app: &App, others: &BTreeMap<AppName, Arc<App>>) -> bool {
    let Some((place, own)) = endpoint(app) else { return true };
    let differs = |key: &'static str, is_other: fn(&TokenEndpoint, &TokenEndpoint) -> bool| {
        let found = others.values().find(|other| {
            endpoint(other).is_some_and(|(there, endpoint)| there == place && is_other(own, endpoint))
        })?;
        Some((key, &found.name))
    };
    let budget = differs("token_budget", |own, other| differ(own.budget, other.budget));
    let found = budget.or_else(|| differs("token_calls", |own, other| differ(own.at_once, other.at_once)));
    let Some((key, other)) = found else { return true };
    let message = format!("app `{other}` asks the same token endpoint and has another `{key}`");
    let hint = "the endpoint counts both together: write the same in both, or in one of them only";
    section.mistake_at(key, Misfit::mended_by(message, hint));
    false
}

fn differ<T: PartialEq>(own: Option<T>, other: Option<T>) -> bool {
    own.zip(other).is_some_and(|(own, other)| own != other)
}

/// What one app says of a token endpoint holds for all that ask there.
fn spread<T: Copy>(apps: &mut BTreeMap<AppName, Arc<App>>, said: fn(&mut TokenEndpoint) -> &mut Option<T>) {
    let of = |app: &App| Some(*said(&mut app.profile.token_endpoint.clone()?));
    let known: Vec<(Place, T)> =
        apps.values().filter_map(|app| Some((endpoint(app)?.0, of(app)??))).collect();
    for app in apps.values_mut() {
        let Some((place, _)) = endpoint(app) else { continue };
        let found = known.iter().find(|(there, _)| *there == place).map(|(_, value)| *value);
        if let (Some(value), Some(endpoint)) = (found, &mut Arc::make_mut(app).profile.token_endpoint) {
            said(endpoint).get_or_insert(value);
        }
    }
}

type Place = (String, GrantKind);

fn endpoint(app: &App) -> Option<(Place, &TokenEndpoint)> {
    let endpoint = app.profile.token_endpoint.as_ref()?;
    Some(((endpoint.url.to_string(), app.profile.grant), endpoint))
}

fn app(name: &Text, section: &Section<'_>) -> Option<App> {
    let app_name = app_name(name, section);
    let Some((provider, preset)) = provider(section) else {
        section.check_keys(&schema::every_setting().collect::<Vec<_>>());
        return None;
    };
    check_keys(section, preset);
    let mut keys = overrides::read(section);
    let redirect_uri = section.parsed("redirect_uri", grammar::redirect_uri);
    let sellers = Sellers::open(section, preset);
    let misspelt = section.has("grant") && keys.grant.is_none();
    let grant = keys.grant.or_else(|| sellers.usual_grant())?;
    keys.grant = Some(grant);
    if !misspelt {
        check_consent(section, preset, &keys, redirect_uri.as_deref());
    }
    let profile = profile(section, &provider, preset, &keys);
    let public = sellers.is_public(grant, keys.pkce);
    let known = templates::built_in(grant, preset, public)
        .map(str::to_owned)
        .chain(sellers.free_settings())
        .collect();
    let stands = templates::check_placeholders(section, &keys, &known);
    let ledger = sellers.read(app_name.as_ref()?, grant, public);
    let (name, profile, ledger) = (app_name?, profile?, ledger?);
    warn_of_plaintext(section, &profile);
    let fits = |stands, holding| stands & templates::check_values(section, &profile, holding);
    ledger.holdings().fold(stands, fits).then(|| App {
        accounts: ledger.accounts(&name),
        settings: ledger.settings(),
        client: ledger.client().filter(|_| grant == GrantKind::AuthorizationCode),
        per_account: sellers.per_account(grant),
        name,
        profile,
        redirect_uri,
    })
}

fn app_name(name: &Text, section: &Section<'_>) -> Option<AppName> {
    let version = name.value.strip_prefix('v').is_some_and(|rest| rest.parse::<u32>().is_ok());
    if version {
        let message = format!("app `{}` is called like a version in the paths of APIs", name.value);
        let hint =
            "a client that drops the app's name from its path would ask this app: give it another name";
        section.warning(&name.span, Misfit::mended_by(message, hint));
    }
    name.value
        .parse()
        .map_err(|error: NameError| section.mistake(&name.span, Misfit::new(error.to_string())))
        .ok()
}

fn provider(section: &Section<'_>) -> Option<(String, &'static Preset)> {
    if !section.has("provider") {
        let names = Preset::names().collect::<Vec<_>>().join("\", \"");
        let hint = format!("write provider = one of \"{names}\"");
        section.absence(Misfit::mended_by("`provider` is missing", hint));
    }
    section.parsed("provider", |name| {
        let preset = Preset::named(name).map(|preset| (name.to_owned(), preset));
        preset.ok_or_else(|| not_one_of("provider", name, Preset::names()))
    })
}

fn check_keys(section: &Section<'_>, preset: &Preset) {
    section.check_keys(&preset.settings.iter().map(String::as_str).collect::<Vec<_>>());
}

/// What belongs to a seller's consent has no effect with other grants, and the way back from it will be missed.
fn check_consent(section: &Section<'_>, preset: &Preset, keys: &Keys, redirect_uri: Option<&str>) {
    let grant = keys.grant.map_or("", GrantKind::as_str);
    if keys.grant == Some(GrantKind::AuthorizationCode) {
        if !section.has("redirect_uri") {
            let hint = "write it as it is registered, such as redirect_uri = \"http://localhost:8082/callback\"; \
                        `marketgate import` does without";
            let message = "`redirect_uri` is missing: `marketgate login` needs it";
            section.advice(Misfit::mended_by(message, hint));
        }
        return;
    }
    let written = [
        ("authorize_url", keys.authorize_url.is_some()),
        ("redirect_uri", redirect_uri.is_some()),
        ("pkce", keys.pkce.is_some()),
        ("reuse_window", keys.reuse_window.is_some()),
        ("authorize_params", !keys.authorize_params.is_empty()),
        ("issuer", keys.issuer.is_some()),
        ("revoke_url", keys.revoke_url.is_some()),
        ("userinfo_url", keys.userinfo_url.is_some()),
        ("grant_ended", keys.grant_ended.is_some()),
        ("refresh_token_lifetime", keys.refresh_token_lifetime.is_some()),
    ];
    no_effect(section, grant, written, offers_consent(preset));
    if keys.grant == Some(GrantKind::Static) {
        let of_tokens = [
            ("client_auth", keys.client_auth.is_some()),
            ("scopes", keys.scopes.is_some()),
            ("scope_separator", keys.scope_separator.is_some()),
            ("token_request_headers", !keys.token_request_headers.is_empty()),
            ("token_request_params", !keys.token_request_params.is_empty()),
            ("token_budget", keys.token_budget.is_some()),
            ("token_calls", keys.token_calls.is_some()),
            ("refresh_at", keys.refresh_at.is_some()),
            ("token_type", keys.token_type.is_some()),
            ("token_lifetime", keys.token_lifetime.is_some()),
            ("token_members", !keys.token_members.is_empty()),
            ("refresh_kills_token", keys.refresh_kills_token.is_some()),
        ];
        no_effect(section, grant, of_tokens, "remove it: a key asks no token endpoint");
    }
}

fn offers_consent(preset: &Preset) -> &'static str {
    let offered = preset.grants.contains(&GrantKind::AuthorizationCode);
    if offered { "remove it, or write grant = \"authorization_code\"" } else { "remove it" }
}

/// A key that would be ignored is a mistake: whoever wrote it believes that it does something.
fn no_effect<const N: usize>(section: &Section<'_>, grant: &str, keys: [(&str, bool); N], hint: &str) {
    for (key, _) in keys.into_iter().filter(|(_, written)| *written) {
        let message = format!("`{key}` has no effect with grant `{grant}`");
        section.mistake_at(key, Misfit::mended_by(message, hint));
    }
}

fn profile(section: &Section<'_>, provider: &str, preset: &Preset, keys: &Keys) -> Option<Profile> {
    let environment = environment(section, preset);
    let simulator = simulator(section, environment.as_deref())?;
    let profile = Profile::build(provider, preset, &environment?, &simulator, keys);
    let faults = profile.map_err(|faults| {
        for fault in faults {
            let message = overrides::without_values(keys, &fault);
            section.mistake_at(&fault.key, Misfit::new(message));
        }
    });
    faults.ok()
}

/// Whoever can listen there has the tokens.
fn warn_of_plaintext(section: &Section<'_>, profile: &Profile) {
    let tokens = profile.token_endpoint.as_ref().map(|endpoint| &endpoint.url);
    let mut urls = tokens.into_iter().chain([&profile.api]).filter(|url| !url.tls && !url.is_loopback());
    if let (Some(url), Some(span)) = (urls.next(), section.place("plaintext")) {
        let message = format!("tokens cross the network in the clear on the way to {}", url.authority);
        let hint =
            "`plaintext` is for places where nobody else can listen, as between the containers of one pod";
        section.warning(&span, Misfit::mended_by(message, hint));
    }
}

/// The environment. A vendor with several has no default: sandbox and production cost differently.
fn environment(section: &Section<'_>, preset: &Preset) -> Option<String> {
    if section.has("environment") {
        let names: Vec<&str> = preset.environments.keys().map(String::as_str).chain([SIMULATOR]).collect();
        return section.parsed("environment", |name| {
            let known = names.contains(&name).then(|| name.to_owned());
            known.ok_or_else(|| not_one_of("environment", name, names.iter().copied()))
        });
    }
    let only = preset.only_environment().map(str::to_owned);
    if only.is_none() {
        let names: Vec<&str> = preset.environments.keys().map(String::as_str).chain([SIMULATOR]).collect();
        let message = format!("`environment` is missing: {} has more than one", preset.title);
        let hint = format!("write environment = one of \"{}\"", names.join("\", \""));
        section.absence(Misfit::mended_by(message, hint));
    }
    only
}

/// Where the simulated marketplaces are.
fn simulator(section: &Section<'_>, environment: Option<&str>) -> Option<String> {
    if !section.has("simulator") {
        return Some(DEFAULT_SIMULATOR.to_owned());
    }
    if environment.is_some_and(|environment| environment != SIMULATOR) {
        let message = "`simulator` has no effect unless environment = \"simulator\"";
        section.mistake_at("simulator", Misfit::mended_by(message, "remove one of the two"));
        return None;
    }
    section.parsed("simulator", |text| {
        let hint = "write the simulator's origin, such as \"http://127.0.0.1:8090\"";
        let plaintext =
            section.value("plaintext").is_some_and(|value| value.get_ref().as_bool() == Some(true));
        let url = HttpUrl::read(text, plaintext).map_err(|why| {
            Misfit::mended_by(why.replace(text, &super::mask::without_userinfo(text)), hint)
        })?;
        let origin = url.base_path().is_empty().then(|| url.origin());
        origin.ok_or_else(|| Misfit::mended_by(format!("`{text}` must end with its port"), hint))
    })
}
