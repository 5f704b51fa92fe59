//! What every request of one account must carry beside its token, worked out once. The one rule: a header that says who a
//! request is for is never the caller's.

use http::{HeaderMap, HeaderName, HeaderValue};

use super::{profile::Profile, template::Template};

/// Headers by which a caller could choose an identity, whatever the provider: a caller's are always dropped.
const IDENTITY_HEADERS: [&str; 2] = ["wm_partner.id", "wm_consumer.id"];

/// The headers of one account's requests.
#[derive(Debug, Clone)]
pub struct Dressing {
    /// Ours: they replace whatever the caller sent.
    ours: Vec<(HeaderName, HeaderValue)>,
    /// Set only when the caller sent none.
    if_absent: Vec<(HeaderName, HeaderValue)>,
    /// Filled anew for each request (`{uuid}`), set only when the caller sent none.
    per_request: Vec<(HeaderName, Template)>,
    /// Names a caller may not send, though we have no value for them.
    refused: Vec<HeaderName>,
    /// Values of ours that nobody else may learn.
    secrets: Vec<HeaderValue>,
}

impl Dressing {
    /// Works out `profile`'s headers with an account's settings. A value that makes no legal header is left out: settings
    /// are checked where they are read.
    pub fn new<'a>(profile: &Profile, setting: impl Fn(&str) -> Option<std::borrow::Cow<'a, str>>) -> Self {
        let mut dressing = Self {
            ours: Vec::new(),
            if_absent: Vec::new(),
            per_request: Vec::new(),
            refused: Vec::new(),
            secrets: Vec::new(),
        };
        for (name, template) in &profile.headers {
            dressing.add(name, template, &setting);
        }
        // One may hold another.
        dressing.secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        dressing
    }

    fn add<'a>(
        &mut self,
        name: &HeaderName,
        template: &Template,
        setting: &impl Fn(&str) -> Option<std::borrow::Cow<'a, str>>,
    ) {
        if template.is_per_request() {
            if template.names_identity() {
                self.refused.push(name.clone());
            }
            self.per_request.extend(template.bound(setting).map(|bound| (name.clone(), bound)));
            return;
        }
        let value = template.render(setting).and_then(|value| HeaderValue::from_str(&value).ok());
        if let Some(value) = value.as_ref().filter(|_| is_secret(name, template)) {
            self.secrets.push(value.clone());
        }
        match value {
            Some(mut value) if template.names_setting() => {
                value.set_sensitive(template.names_identity());
                self.ours.push((name.clone(), value));
            }
            Some(value) => self.if_absent.push((name.clone(), value)),
            None if template.names_identity() => self.refused.push(name.clone()),
            None => {}
        }
    }

    /// Whether a caller's header of this (lower-case) name must not pass, however it is spelt. `bare` is the name without
    /// what stands at its ends. What is set only where it is absent may be the caller's, but under its own name alone: a
    /// server that folds names would get both.
    pub fn refuses(&self, name: &str, bare: &str) -> bool {
        let same = |ours: &str| same_spelling(ours, bare);
        let imitates = |ours: &HeaderName| same(ours.as_str()) && ours.as_str() != name;
        IDENTITY_HEADERS.into_iter().any(same)
            || self.ours.iter().any(|(ours, _)| same(ours.as_str()))
            || self.refused.iter().any(|refused| same(refused.as_str()))
            || self.if_absent.iter().any(|(ours, _)| imitates(ours))
            || self.per_request.iter().any(|(ours, _)| imitates(ours))
    }

    /// Values that are credentials beside the token.
    pub fn secrets(&self) -> &[HeaderValue] {
        &self.secrets
    }

    /// How many headers it puts on a request, at most.
    pub fn count(&self) -> usize {
        self.ours.len() + self.if_absent.len() + self.per_request.len()
    }

    /// Puts the account's headers on a request. `uuid` draws a new identifier.
    pub fn dress(&self, headers: &mut HeaderMap, uuid: impl Fn() -> String) {
        for (name, value) in &self.ours {
            headers.insert(name.clone(), value.clone());
        }
        for (name, value) in &self.if_absent {
            headers.entry(name).or_insert_with(|| value.clone());
        }
        for (name, template) in &self.per_request {
            if !headers.contains_key(name)
                && let Some(value) =
                    template.render(|_| Some(uuid().into())).and_then(|v| HeaderValue::from_str(&v).ok())
            {
                headers.insert(name.clone(), value);
            }
        }
    }
}

/// Whether a header of the app's is a credential: by what it is made of, or by its name.
fn is_secret(name: &HeaderName, template: &Template) -> bool {
    const WORDS: [&str; 5] = ["key", "token", "secret", "auth", "password"];
    let mut names = template.placeholders();
    names.any(|name| name == "client_secret") || WORDS.iter().any(|word| name.as_str().contains(word))
}

/// Servers fold whatever is neither letter nor digit into one character (CGI, PHP, WSGI), so names that differ in nothing
/// else are the same.
pub fn same_spelling(a: &str, b: &str) -> bool {
    let same = |(a, b): (u8, u8)| {
        a.eq_ignore_ascii_case(&b) || !(a.is_ascii_alphanumeric() || b.is_ascii_alphanumeric())
    };
    a.len() == b.len() && a.bytes().zip(b.bytes()).all(same)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provider::{Keys, Preset};

    fn dressing(provider: &str, settings: &[(&str, &str)]) -> Dressing {
        let preset = Preset::named(provider).unwrap();
        let profile =
            Profile::build(provider, preset, "simulator", "http://127.0.0.1:1", &Keys::default()).unwrap();
        Dressing::new(&profile, |name| {
            settings.iter().find(|(n, _)| *n == name).map(|(_, v)| (*v).to_owned().into())
        })
    }

    #[test]
    fn walmart_gets_a_service_name_and_a_fresh_correlation_id_unless_the_caller_brings_one() {
        let dressing = dressing("walmart-marketplace", &[("market", "ca")]);
        let mut headers = HeaderMap::new();
        dressing.dress(&mut headers, || "fresh".to_owned());
        assert_eq!(headers["wm_qos.correlation_id"], "fresh");
        assert_eq!(headers["wm_svc.name"], "Walmart Marketplace");
        assert_eq!(headers["wm_market"], "ca");
        assert!(!headers.contains_key("wm_global_version"));
        let mut brought = HeaderMap::new();
        brought.insert("wm_qos.correlation_id", HeaderValue::from_static("mine"));
        dressing.dress(&mut brought, || "fresh".to_owned());
        assert_eq!(brought["wm_qos.correlation_id"], "mine");
    }

    #[test]
    fn identity_headers_are_never_the_callers_in_any_spelling() {
        let golocal = dressing("walmart-golocal", &[("client_id", "id-1")]);
        for name in [
            "wm_consumer.id",
            "wm-consumer-id",
            "wm_consumer_id",
            "wm~consumer!id",
            "wm+consumer|id",
            "wm_partner.id",
            "wm.partner-id",
            "wm-qos-correlation-id",
        ] {
            assert!(golocal.refuses(name, name), "{name}");
        }
        for name in ["accept", "wm_qos.correlation_id", "wm_consumerxid", "wmconsumerid"] {
            assert!(!golocal.refuses(name, name), "{name}");
        }
        let mut headers = HeaderMap::new();
        golocal.dress(&mut headers, String::new);
        assert_eq!(headers["wm_consumer.id"], "id-1");
    }
}
