//! A first `proxy.toml` for chosen marketplaces. The one rule: what it writes parses as it stands once the variables it names
//! are set.

use std::fmt::Write;

use crate::{
    names::AppName,
    provider::{GrantKind, Preset, preset::SIMULATOR},
};

/// One app of a first configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProviderChoice {
    /// A preset's name, such as `walmart-marketplace`.
    pub provider: String,
    /// One of its environments, or `simulator`.
    pub environment: String,
    /// One of its grants; None: the one that needs no seller's consent, where there is one.
    pub grant: Option<GrantKind>,
    /// What to call the app: callers write it in their URLs.
    pub app_name: AppName,
}

const HEAD: &str = "\
# Marketgate: every key there is stands, with words, in proxy.toml.example.
# `marketgate check` says whether this file is right.

[proxy]
# Where programs send their requests: http://127.0.0.1:8080/APP/…
listen = \"127.0.0.1:8080\"

[admin]
# Health, metrics and the accounts.
listen = \"127.0.0.1:8081\"
";

/// The text of a first configuration. Its secrets come from environment variables named after the apps.
pub fn starter(choices: &[ProviderChoice]) -> String {
    choices.iter().fold(HEAD.to_owned(), |text, choice| text + "\n" + &app(choice))
}

impl ProviderChoice {
    /// The grant that its app will have.
    pub fn grant(&self) -> GrantKind {
        let grants = Preset::named(&self.provider).map_or(&[][..], |preset| &preset.grants);
        let alone = grants.iter().find(|grant| **grant != GrantKind::AuthorizationCode);
        self.grant.or(alone.copied()).unwrap_or(GrantKind::AuthorizationCode)
    }
}

fn app(choice: &ProviderChoice) -> String {
    let ProviderChoice { provider, environment, app_name, .. } = choice;
    let preset = Preset::named(provider);
    let grant = choice.grant();
    let title = preset.map_or(provider.as_str(), |preset| preset.title.as_str());
    let mut text = format!("# {title}: http://127.0.0.1:8080/{app_name}/…\n");
    // Writing into a String cannot fail.
    let _ = writeln!(text, "[apps.{}]", key(app_name.as_str()));
    let _ = writeln!(text, "provider = \"{provider}\"\nenvironment = \"{environment}\"");
    if preset.is_some_and(|preset| is_unusual(preset, grant)) {
        let _ = writeln!(text, "grant = \"{}\"", grant.as_str());
    }
    if provider == "generic" {
        text.push_str(&urls(environment, grant));
    }
    text.push_str(&credentials(app_name, grant));
    if preset.is_some_and(|preset| preset.settings.iter().any(|setting| setting == "market")) {
        text.push_str("market = \"us\"\n");
    }
    if grant == GrantKind::AuthorizationCode {
        text.push_str(&consent(app_name));
    } else if preset.is_some_and(|preset| preset.grants.first() == Some(&GrantKind::AuthorizationCode)) {
        let _ = writeln!(
            text,
            "# With sellers' consent instead: marketgate init --provider {provider} --grant authorization_code other.toml"
        );
    }
    text
}

/// Whether an app with nothing but credentials would have another grant.
fn is_unusual(preset: &Preset, grant: GrantKind) -> bool {
    grant != GrantKind::Static && preset.grants.first() != Some(&grant)
}

fn urls(environment: &str, grant: GrantKind) -> String {
    let consent = grant == GrantKind::AuthorizationCode;
    let mut text = String::new();
    if environment != SIMULATOR {
        text.push_str("api = \"https://api.example.com\"\n");
        if grant != GrantKind::Static {
            text.push_str("token_url = \"https://auth.example.com/token\"\n");
        }
        if consent {
            text.push_str("authorize_url = \"https://auth.example.com/authorize\"\n");
        }
    }
    text
}

fn credentials(app: &AppName, grant: GrantKind) -> String {
    let variable = variable(app.as_str());
    if grant == GrantKind::Static {
        return format!("api_key = {{ env = \"{variable}_API_KEY\" }}\n");
    }
    format!(
        "client_id = {{ env = \"{variable}_CLIENT_ID\" }}\nclient_secret = {{ env = \"{variable}_CLIENT_SECRET\" }}\n"
    )
}

/// What belongs to a seller's consent, and the next step.
fn consent(app: &AppName) -> String {
    format!(
        "# Where sellers come back to after their consent: byte for byte as it is registered with the marketplace.\n\
         redirect_uri = \"http://localhost:8082/callback\"\n\
         # What sellers are asked for, where the marketplace wants it said.\n\
         # scopes = [\"…\"]\n\
         # The next step asks the first seller: marketgate login {app}\n\
         # Further sellers have names: marketgate login {app}@SELLER, and http://127.0.0.1:8080/{app}@SELLER/…\n"
    )
}

/// A name as a TOML key: one with a dot stands in quotes.
fn key(name: &str) -> String {
    if name.contains('.') { format!("\"{name}\"") } else { name.to_owned() }
}

/// A name as the beginning of a variable's name.
fn variable(name: &str) -> String {
    let upper = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' };
    let name: String = name.chars().map(upper).collect();
    if name.starts_with(|c: char| c.is_ascii_digit()) { format!("APP_{name}") } else { name }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::parse;

    fn choice(provider: &str, environment: &str, name: &str) -> ProviderChoice {
        ProviderChoice {
            provider: provider.to_owned(),
            environment: environment.to_owned(),
            grant: None,
            app_name: name.parse().unwrap(),
        }
    }

    fn set(_: &str) -> Option<String> {
        Some("set".to_owned())
    }

    #[test]
    fn a_starter_for_every_marketplace_and_every_grant_of_it_parses_without_a_warning() {
        for provider in Preset::names() {
            let preset = Preset::named(provider).unwrap();
            for environment in preset.environments.keys().map(String::as_str).chain([SIMULATOR]) {
                for grant in preset.grants.iter().copied().map(Some).chain([None]) {
                    let chosen = ProviderChoice { grant, ..choice(provider, environment, "9.my-shop") };
                    let text = starter(std::slice::from_ref(&chosen));
                    let loaded = parse("proxy.toml", &text, Path::new(""), &set)
                        .unwrap_or_else(|error| panic!("{text}\n{}", error.render(false)));
                    assert!(loaded.warnings.is_empty(), "{text}");
                    let app = loaded.settings.apps.values().next().unwrap();
                    assert_eq!(app.profile.grant, chosen.grant(), "{text}");
                    assert_eq!(app.profile.grant, grant.unwrap_or(app.profile.grant), "{text}");
                }
            }
        }
    }

    #[test]
    fn the_way_in_that_needs_no_consent_is_taken_unless_another_is_chosen() {
        let grant = |provider: &str| choice(provider, "production", "a").grant();
        assert_eq!(grant("depop"), GrantKind::Static);
        assert_eq!(grant("walmart-marketplace"), GrantKind::ClientCredentials);
        assert_eq!(grant("wallapop"), GrantKind::AuthorizationCode);
        let text = starter(&[choice("wallapop", "production", "wallapop")]);
        assert!(text.contains("redirect_uri = ") && text.contains("marketgate login wallapop\n"), "{text}");
    }

    #[test]
    fn several_apps_stand_side_by_side_each_with_variables_of_its_own() {
        let text = starter(&[
            choice("walmart-marketplace", "sandbox", "walmart"),
            choice("depop", "production", "my-shop"),
        ]);
        assert!(
            text.contains("env = \"WALMART_CLIENT_SECRET\"") && text.contains("env = \"MY_SHOP_API_KEY\""),
            "{text}"
        );
        assert_eq!(parse("proxy.toml", &text, Path::new(""), &set).unwrap().settings.apps.len(), 2);
    }
}
