//! Checks what templates name and what they will be filled with. The one rule: a header that the file promises can be sent.

use std::collections::BTreeSet;

use super::{
    accounts::{BUILT_IN, Draft},
    reader::{Misfit, Section, nearest},
    settings::Credentials,
};
use crate::provider::{GrantKind, Keys, Preset, Profile, Template};

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

/// What templates may name, beside the app's and the accounts' own `settings`. A static key comes without a client.
pub(super) fn built_in(grant: GrantKind, preset: &Preset) -> impl Iterator<Item = &str> {
    let client = grant != GrantKind::Static;
    let built_in = BUILT_IN.into_iter().filter(move |name| client || !name.starts_with("client_"));
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

/// The placeholders of all headers, of API and token requests alike.
fn named_in_headers(profile: &Profile) -> BTreeSet<&str> {
    let token_headers = profile.token_endpoint.iter().flat_map(|endpoint| &endpoint.headers);
    profile.headers.iter().chain(token_headers).flat_map(|(_, template)| template.placeholders()).collect()
}

/// Notes the values of one account that go into a header and cannot. Whether all can.
pub(super) fn check_values(section: &Section<'_>, profile: &Profile, account: &Draft) -> bool {
    let named = named_in_headers(profile);
    let mut stands = true;
    let mut misfit = |name: &str, span| {
        let message = format!(
            "the value of `{name}` goes into a header and holds a character that no header can carry"
        );
        section.mistake(span, Misfit::mended_by(message, "write visible ASCII characters and spaces only"));
        stands = false;
    };
    for (name, text) in account.settings.iter().filter(|(name, _)| named.contains(name.as_str())) {
        if !is_header(&text.value) {
            misfit(name, &text.span);
        }
    }
    match &account.credentials {
        Credentials::Client { id, secrets } => {
            if named.contains("client_id") && !is_header(id) {
                misfit("client_id", &account.span);
            }
            let secret =
                |source: &crate::secret::SecretSource| source.read().is_ok_and(|s| is_header(s.expose()));
            if named.contains("client_secret") && !secrets.iter().all(secret) {
                misfit("client_secret", &account.span);
            }
        }
        Credentials::Key(key) => {
            let fits =
                key.read().is_ok_and(|key| is_header(&format!("{}{}", profile.token_prefix, key.expose())));
            if !fits {
                misfit("api_key", &account.span);
            }
        }
    }
    stands
}

/// RFC 9110 §5.5 lets a field hold other bytes too, but what they mean depends on who reads them.
fn is_header(value: &str) -> bool {
    value.bytes().all(|b| (0x20..0x7f).contains(&b))
}
