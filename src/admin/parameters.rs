//! What stands behind the `?`. The one rule: a parameter that nobody reads is a mistake, and so is one that stands twice.

use std::{collections::BTreeSet, str::FromStr, time::Duration};

use super::refusal::bad_request;
use crate::{
    http::problem::Problem,
    names::{AccountName, AppName, NameError},
};

/// The longest a client may have the door wait.
pub(super) const LONGEST_WAIT: Duration = Duration::from_secs(300);

/// Parameters, none of them unknown.
#[derive(Debug)]
pub(super) struct Parameters(Vec<(String, String)>);

impl Parameters {
    /// Reads a query.
    pub(super) fn read(query: &str, known: &[&str]) -> Result<Self, Problem> {
        let pairs: Vec<(String, String)> =
            url::form_urlencoded::parse(query.as_bytes()).into_owned().collect();
        for (at, (name, _)) in pairs.iter().enumerate() {
            if !known.contains(&name.as_str()) {
                let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
                return Err(bad_request(
                    format!("unknown parameter {name:?}"),
                    format!("known are: {known}"),
                ));
            }
            if pairs[..at].iter().any(|(earlier, _)| earlier == name) {
                return Err(bad_request(format!("`{name}` stands there twice"), "write it once"));
            }
        }
        Ok(Self(pairs))
    }

    /// A text, if it is there.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_str())
    }

    /// One of these words, if it is there.
    pub(super) fn one_of(&self, name: &str, words: &BTreeSet<&str>) -> Result<Option<&str>, Problem> {
        match self.text(name) {
            Some(text) if !words.contains(text) => {
                let words = words.iter().copied().collect::<Vec<_>>().join(", ");
                Err(bad_request(format!("`{name}` cannot be {text:?}"), format!("write one of {words}")))
            }
            known => Ok(known),
        }
    }

    /// The name of an app or account, if it is there.
    pub(super) fn name<N: FromStr<Err = NameError>>(&self, name: &str) -> Result<Option<N>, Problem> {
        self.text(name).map(well_formed).transpose()
    }

    /// Whether it is there and true.
    pub(super) fn flag(&self, name: &str) -> Result<bool, Problem> {
        match self.text(name) {
            None | Some("false") => Ok(false),
            Some("true") => Ok(true),
            Some(other) => Err(bad_request(format!("`{name}` cannot be {other:?}"), "write true or false")),
        }
    }

    /// A whole number, if it is there.
    pub(super) fn number(&self, name: &str, least: u64, most: u64) -> Result<Option<u64>, Problem> {
        let Some(text) = self.text(name) else { return Ok(None) };
        let number = text.parse().ok().filter(|n| (least..=most).contains(n));
        let wrong =
            || bad_request(format!("`{name}` cannot be {text:?}"), format!("write {least} to {most}"));
        number.map(Some).ok_or_else(wrong)
    }

    /// How long to wait: `wait`, in seconds.
    pub(super) fn wait(&self, otherwise: Duration) -> Result<Duration, Problem> {
        let seconds = self.number("wait", 0, LONGEST_WAIT.as_secs())?;
        Ok(seconds.map_or(otherwise, Duration::from_secs))
    }

    /// A place in the list: `APP@ACCOUNT`.
    pub(super) fn place(&self, name: &str) -> Result<Option<(AppName, AccountName)>, Problem> {
        let Some(text) = self.text(name) else { return Ok(None) };
        let pair =
            text.split_once('@').and_then(|(app, account)| Some((app.parse().ok()?, account.parse().ok()?)));
        pair.map(Some)
            .ok_or_else(|| bad_request(format!("{text:?} is no place in the list"), "write APP@ACCOUNT"))
    }
}

/// A name of an app or account.
pub(super) fn well_formed<N: FromStr<Err = NameError>>(text: &str) -> Result<N, Problem> {
    text.parse().map_err(|error: NameError| {
        bad_request(format!("{text:?}: {error}"), "GET /api/accounts lists what there is")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parameter_is_known_once_there_and_well_formed() {
        let read = |query: &str| Parameters::read(query, &["wait", "dry_run"]);
        let detail = |query: &str| read(query).unwrap_err().detail;
        assert_eq!(detail("wiat=1"), "unknown parameter \"wiat\"");
        assert_eq!(detail("wait=1&wait=2"), "`wait` stands there twice");
        let good = read("wait=5&dry_run=true").unwrap();
        assert_eq!(good.wait(Duration::ZERO).unwrap(), Duration::from_secs(5));
        assert!(good.flag("dry_run").unwrap());
        assert!(read("dry_run=yes").unwrap().flag("dry_run").is_err());
        assert!(read("wait=301").unwrap().wait(Duration::ZERO).is_err());
        assert!(!read("").unwrap().flag("dry_run").unwrap());
    }
}
