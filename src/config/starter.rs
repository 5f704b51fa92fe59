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

fn app(choice: &ProviderChoice) -> String {
    let ProviderChoice { provider, environment, app_name } = choice;
    let preset = Preset::named(provider);
    let title = preset.map_or(provider.as_str(), |preset| preset.title.as_str());
    let mut text = format!("# {title}: http://127.0.0.1:8080/{app_name}/…\n");
    // Writing into a String cannot fail.
    let _ = writeln!(text, "[apps.{}]", key(app_name.as_str()));
    let _ = writeln!(text, "provider = \"{provider}\"\nenvironment = \"{environment}\"");
    if provider == "generic" && environment != SIMULATOR {
        text.push_str("api = \"https://api.example.com\"\ntoken_url = \"https://auth.example.com/token\"\n");
    }
    let variable = variable(app_name.as_str());
    if preset.is_some_and(takes_key) {
        let _ = writeln!(text, "api_key = {{ env = \"{variable}_API_KEY\" }}");
    } else {
        let _ = writeln!(text, "client_id = {{ env = \"{variable}_CLIENT_ID\" }}");
        let _ = writeln!(text, "client_secret = {{ env = \"{variable}_CLIENT_SECRET\" }}");
    }
    if preset.is_some_and(|preset| preset.settings.iter().any(|setting| setting == "market")) {
        text.push_str("market = \"us\"\n");
    }
    text
}

/// Whether a static key is the way in that needs no seller's consent.
fn takes_key(preset: &Preset) -> bool {
    preset.grants.contains(&GrantKind::Static) && !preset.grants.contains(&GrantKind::ClientCredentials)
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
            app_name: name.parse().unwrap(),
        }
    }

    fn set(_: &str) -> Option<String> {
        Some("set".to_owned())
    }

    #[test]
    fn a_starter_for_every_marketplace_that_is_served_parses_without_a_warning() {
        for provider in Preset::names().filter(|name| *name != "wallapop") {
            let preset = Preset::named(provider).unwrap();
            for environment in preset.environments.keys().map(String::as_str).chain([SIMULATOR]) {
                let text = starter(&[choice(provider, environment, "9.my-shop")]);
                let loaded = parse("proxy.toml", &text, Path::new(""), &set)
                    .unwrap_or_else(|error| panic!("{provider} {environment}: {}", error.render(false)));
                assert!(loaded.warnings.is_empty(), "{provider} {environment}");
                assert_eq!(loaded.settings.apps.len(), 1);
            }
        }
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
