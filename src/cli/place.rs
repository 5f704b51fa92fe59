//! Where a command stands: which configuration, which output.

use std::path::PathBuf;

use super::{Exit, Failure, Output};
use crate::config::{self, Loaded, Settings};

/// Stands for a variable that is not set here. It has the form of a store's key, the only one that has a form.
pub(super) const UNKNOWN: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";

/// What every command gets from the global arguments.
#[derive(Debug)]
pub struct Place {
    /// `--config`.
    pub config: Option<PathBuf>,
    /// `--output`.
    pub output: Output,
}

impl Place {
    /// The configuration, checked. Its warnings are for `check` and `run` to tell.
    ///
    /// # Errors
    /// When there is none, or it is invalid: every mistake at once.
    pub fn load(&self) -> Result<Settings, Failure> {
        self.load_with_warnings().map(|loaded| loaded.settings)
    }

    /// As [`Place::load`], with its warnings.
    ///
    /// # Errors
    /// As there.
    pub fn load_with_warnings(&self) -> Result<Loaded, Failure> {
        config::load(&self.file()?).map_err(|e| Failure::rendered(Exit::Configuration, e.render(colour())))
    }

    /// The configuration as far as it goes without the variables that only whoever serves it has. Good for finding things,
    /// never for serving: a secret in it may be none.
    ///
    /// # Errors
    /// When there is none, or it is invalid all the same.
    pub fn outline(&self) -> Result<Settings, Failure> {
        let path = self.file()?;
        let variable = |name: &str| Some(std::env::var(name).unwrap_or_else(|_| UNKNOWN.to_owned()));
        config::load_with(&path, &variable)
            .map(|loaded| loaded.settings)
            .map_err(|e| Failure::rendered(Exit::Configuration, e.render(colour())))
    }

    /// The configuration file.
    ///
    /// # Errors
    /// When there is none.
    pub fn file(&self) -> Result<PathBuf, Failure> {
        config::find(self.config.as_deref())
            .map_err(|e| Failure::rendered(Exit::Configuration, e.to_string()))
    }

    /// The admin door to ask: `server`, else what the configuration says, else the usual one.
    ///
    /// # Errors
    /// When a configuration is named or found, but its `admin.listen` cannot be read.
    pub fn server(&self, server: Option<&str>) -> Result<String, Failure> {
        if let Some(server) = server {
            return Ok(server.to_owned());
        }
        if self.config.is_none() && config::find(None).is_err() {
            return Ok(format!("http://{}", config::DEFAULT_ADMIN));
        }
        config::admin_address(&self.file()?)
            .map(|address| format!("http://{address}"))
            .map_err(|why| Failure::new(Exit::Configuration, why).mend("`marketgate check` says more"))
    }
}

/// Whether stderr is a terminal that wants colour (<https://no-color.org>).
pub fn colour() -> bool {
    use std::io::IsTerminal;
    std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}
