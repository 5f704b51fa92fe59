//! Checks what templates name and what they will be filled with. The one rule: a header that the file promises can be sent.

use std::collections::BTreeSet;

use super::{
    accounts::BUILT_IN,
    ledger::Holding,
    reader::{Misfit, Section, nearest},
    settings::Credentials,
};
use crate::{
    provider::{GrantKind, Keys, Preset, Profile, Template},
    secret::{Secret, SecretSource},
};

/// Notes the placeholders of an app's own templates that nothing fills. Whether all are known.
pub(super) fn check_placeholders(section: &Section<'_>, keys: &Keys, known: &BTreeSet<String>) -> bool {
    let tables = [
        ("headers", &keys.headers),
        ("token_request_headers", &keys.token_request_headers),
        ("token_request_params", &keys.token_request_params),
    ];
    let mut stands = true;
    for (table, templates) in tables {
        for (name, text) in templates {
            let Ok(template) = text.parse::<Template>() else { continue };
            for placeholder in template.placeholders().filter(|name| !known.contains(*name)) {
                section.mistake_at(&format!("{table}.{name}"), unknown_placeholder(placeholder, known));
                stands = false;
            }
        }
    }
    stands
}

/// What templates may name, beside the app's and the accounts' own `settings`. A static key comes without a client, and a
/// public client without a secret.
pub(super) fn built_in(grant: GrantKind, preset: &Preset, public: bool) -> impl Iterator<Item = &str> {
    let filled = move |name: &&str| match *name {
        "client_id" => grant != GrantKind::Static,
        "client_secret" => grant != GrantKind::Static && !public,
        _ => true,
    };
    let built_in = BUILT_IN.into_iter().filter(filled);
    built_in.chain(preset.settings.iter().map(String::as_str))
}

fn unknown_placeholder(name: &str, known: &BTreeSet<String>) -> Misfit {
    let message = match nearest(name, known.iter().map(String::as_str)) {
        Some(guess) => format!("unknown placeholder `{{{name}}}`, did you mean `{{{guess}}}`?"),
        None => format!("unknown placeholder `{{{name}}}`"),
    };
    let names = known.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
    Misfit::mended_by(
        message,
        format!("known here: {names}; other names need a value: settings = {{ {name} = \"…\" }}"),
    )
}

fn header_templates(profile: &Profile) -> impl Iterator<Item = &Template> {
    let token_headers = profile.token_endpoint.iter().flat_map(|endpoint| &endpoint.headers);
    profile.headers.iter().chain(token_headers).map(|(_, template)| template)
}

/// The settings that an app's templates name.
pub(super) fn named_settings(profile: &Profile) -> impl Iterator<Item = &str> {
    let parameters = profile.token_endpoint.iter().flat_map(|endpoint| &endpoint.params);
    let templates = header_templates(profile).chain(parameters.map(|(_, template)| template));
    templates.flat_map(Template::placeholders).filter(|name| !BUILT_IN.contains(name))
}

/// The names of those values that go into a header and hold what none can carry.
pub(super) fn unfit<'v>(
    profile: &Profile,
    credentials: Option<&Credentials>,
    settings: impl Iterator<Item = (&'v str, &'v str)>,
) -> Vec<&'v str> {
    let named: BTreeSet<&str> = header_templates(profile).flat_map(Template::placeholders).collect();
    let unfit = settings.filter(|(name, value)| named.contains(name) && !is_header(value));
    let mut unfit: Vec<&str> = unfit.map(|(name, _)| name).collect();
    match credentials {
        Some(Credentials::Client { id, secrets }) => {
            let fits = |source: &SecretSource| source.read().is_ok_and(|s| is_header(s.expose()));
            let secret = named.contains("client_secret") && !secrets.iter().all(fits);
            unfit.extend((named.contains("client_id") && !is_header(id)).then_some("client_id"));
            unfit.extend(secret.then_some("client_secret"));
        }
        Some(Credentials::Key(key)) => {
            let fits = |key: Secret| is_header(&profile.token_prefix) && is_header(key.expose());
            unfit.extend((!key.read().is_ok_and(fits)).then_some("api_key"));
        }
        None => {}
    }
    unfit
}

/// What is said of such a value.
pub(super) fn cannot_be_sent(name: &str) -> String {
    format!("the value of `{name}` goes into a header and holds a character that no header can carry")
}

/// Notes the values of one section that go into a header and cannot. Whether all can.
pub(super) fn check_values(section: &Section<'_>, profile: &Profile, holding: &Holding) -> bool {
    let (credentials, place) = holding.credentials.as_ref().map(|(what, place)| (what, place)).unzip();
    let settings = holding.settings.iter().map(|(name, text)| (name.as_str(), text.value.as_str()));
    let unfit = unfit(profile, credentials, settings);
    for name in &unfit {
        if let Some(span) = holding.settings.get(*name).map(|text| &text.span).or(place) {
            let hint = "write visible ASCII characters and spaces only";
            section.mistake(span, Misfit::mended_by(cannot_be_sent(name), hint));
        }
    }
    unfit.is_empty()
}

/// RFC 9110 §5.5 lets a field hold other bytes too, but what they mean depends on who reads them.
fn is_header(value: &str) -> bool {
    value.bytes().all(|b| (0x20..0x7f).contains(&b))
}
