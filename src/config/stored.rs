//! Accounts that do not stand in the file. The one rule: they are held to what the file would have been held to.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    app::{Account, App, Credentials},
    reader::nearest,
    templates,
};
use crate::{
    names::{AccountId, AccountName},
    provider::{GrantKind, Preset},
};

impl App {
    /// An account of this app with credentials and settings from elsewhere; its settings are laid over the app's.
    ///
    /// # Errors
    /// Everything that is wrong with it, in words for whoever brought it: settings that the app does not know, values that
    /// no header can carry, credentials of another kind than the app's grant needs. No value is repeated.
    pub fn account_with(
        &self,
        name: AccountName,
        credentials: Credentials,
        settings: BTreeMap<String, String>,
    ) -> Result<Account, String> {
        let mut wrong = self.wrong_settings(&settings);
        wrong.extend(self.wrong_credentials(&credentials));
        let own = settings.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let unfit = templates::unfit(&self.profile, Some(&credentials), own);
        wrong.extend(unfit.into_iter().map(templates::cannot_be_sent));
        if !wrong.is_empty() {
            return Err(wrong.join("; "));
        }
        let mut all = self.settings.clone();
        all.extend(settings);
        let id = AccountId { app: self.name.clone(), account: name };
        Ok(Account { id, credentials, settings: all })
    }

    /// The names of the settings that an account of this app may bring.
    pub fn known_settings(&self) -> BTreeSet<&str> {
        let presets = Preset::named(&self.profile.provider).into_iter().flat_map(|preset| &preset.settings);
        let own = presets.chain(self.settings.keys()).map(String::as_str);
        own.chain(templates::named_settings(&self.profile)).collect()
    }

    fn wrong_settings(&self, settings: &BTreeMap<String, String>) -> Vec<String> {
        let known = self.known_settings();
        let wrong = |(name, value): (&String, &String)| {
            if !known.contains(name.as_str()) {
                return Some(self.no_such_setting(name, &known));
            }
            let control = value.chars().any(char::is_control);
            control.then(|| format!("the value of `{name}` holds a line break or another control character"))
        };
        settings.iter().filter_map(wrong).collect()
    }

    fn no_such_setting(&self, name: &str, known: &BTreeSet<&str>) -> String {
        let message = format!("app `{}` has no setting `{}`", self.name, name.escape_debug());
        if let Some(guess) = nearest(name, known.iter().copied()) {
            return format!("{message}, did you mean `{guess}`?");
        }
        let known = known.iter().copied().collect::<Vec<_>>().join(", ");
        let known = if known.is_empty() { "none at all".to_owned() } else { known };
        format!("{message} (known here: {known})")
    }

    fn wrong_credentials(&self, credentials: &Credentials) -> Option<String> {
        let grant = self.profile.grant;
        let (fits, needed) = match grant {
            GrantKind::Static => (matches!(credentials, Credentials::Key(_)), "an api key"),
            _ => (matches!(credentials, Credentials::Client { .. }), "a client's id and secret"),
        };
        (!fits).then(|| format!("app `{}` with grant `{}` needs {needed}", self.name, grant.as_str()))
    }
}
