//! Commands as clients of the Marketgate that serves: over its admin door, or over the control socket beside its store. The
//! one rule: whatever was refused is told in the words of whoever refused it, with what mends it.

use std::{error::Error, path::Path, time::Duration};

use http::Method;
use serde::{Deserialize, de::DeserializeOwned};

use super::{Exit, Failure};
use crate::{secret::Secret, tls};

/// The environment variable that holds a key to the admin door.
pub const KEY_VARIABLE: &str = "MARKETGATE_ADMIN_KEY";

/// Asks one Marketgate. Clones share their connections.
#[derive(Debug, Clone)]
pub struct AdminClient {
    base: String,
    /// What it is called in messages.
    name: String,
    key: Option<Secret>,
    http: reqwest::Client,
}

/// A body to send.
#[derive(Debug)]
pub enum Body {
    /// None.
    Empty,
    /// One JSON document.
    Json(serde_json::Value),
    /// JSON documents, one a line.
    Lines(Vec<u8>),
}

/// Why there is no answer that can be used.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// Nothing listens there.
    #[error("no Marketgate answers at {name}: {reason}")]
    NotRunning {
        /// Who was asked.
        name: String,
        /// What happened.
        reason: String,
    },
    /// Somebody answered who speaks otherwise.
    #[error("{name} answered {status}: {detail}")]
    Unexpected {
        /// Who was asked.
        name: String,
        /// HTTP status.
        status: u16,
        /// Its own words.
        detail: String,
    },
    /// It refused.
    #[error("{}", .0.detail)]
    Refused(Refusal),
}

/// A refusal in the words of the Marketgate that refused: the members of its problem document.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Refusal {
    /// HTTP status; 0 where the refusal stands within an answer.
    #[serde(default)]
    pub status: u16,
    /// A stable word.
    pub code: String,
    /// What happened.
    pub detail: String,
    /// What mends it.
    #[serde(default)]
    pub action: String,
}

impl Refusal {
    /// What scripts are told by the exit code.
    fn exit(&self) -> Exit {
        match self.code.as_str() {
            "login_required" | "consent_denied" => Exit::LoginRequired,
            "store_unavailable" | "store_corrupt" | "not_stored_yet" => Exit::Store,
            "no_such_app" | "no_such_account" | "account_required" => Exit::Usage,
            "token_unavailable" | "no_answer" | "overloaded" | "draining" | "busy" => Exit::Unreachable,
            _ => Exit::Failure,
        }
    }
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        let failure = Self::new(refusal.exit(), &refusal.detail);
        if refusal.action.is_empty() { failure } else { failure.mend(refusal.action) }
    }
}

impl From<AskError> for Failure {
    fn from(error: AskError) -> Self {
        let action = match error {
            AskError::Refused(refusal) => return refusal.into(),
            AskError::NotRunning { .. } => {
                "start it with `marketgate run`, or name another one with --server URL"
            }
            AskError::Unexpected { .. } => "look at what it says; --server URL names another one",
        };
        Self::new(Exit::Unreachable, &error).mend(action)
    }
}

impl AdminClient {
    /// A client of the admin door at `base`, such as `http://127.0.0.1:8081`, with the key of [`KEY_VARIABLE`] if there is
    /// one.
    ///
    /// # Errors
    /// When the system's certificates cannot be used.
    pub fn new(base: &str) -> Result<Self, Failure> {
        let base = base.trim_end_matches('/').to_owned();
        let key = std::env::var(KEY_VARIABLE).ok().filter(|key| !key.is_empty()).map(Secret::new);
        Ok(Self { name: base.clone(), base, key, http: client(|builder| builder)? })
    }

    /// The same with this key.
    #[must_use]
    pub fn with_key(self, key: Secret) -> Self {
        Self { key: Some(key), ..self }
    }

    /// A client of the control socket at `path`.
    ///
    /// # Errors
    /// When the system's certificates cannot be used.
    pub fn of_socket(path: &Path) -> Result<Self, Failure> {
        let http = client(|builder| builder.unix_socket(path))?;
        Ok(Self { base: "http://localhost".to_owned(), name: path.display().to_string(), key: None, http })
    }

    /// The text at `path`.
    ///
    /// # Errors
    /// When nothing answers, or with an error status.
    pub async fn text(&self, path: &str, limit: Duration) -> Result<String, AskError> {
        self.send(Method::GET, path, Body::Empty, limit).await
    }

    /// The JSON document at `path`.
    ///
    /// # Errors
    /// As [`AdminClient::text`], or when it is not the document expected.
    pub async fn document<T: DeserializeOwned>(&self, path: &str, limit: Duration) -> Result<T, AskError> {
        self.ask(Method::GET, path, Body::Empty, limit).await
    }

    /// The JSON document that answers a request.
    ///
    /// # Errors
    /// As [`AdminClient::document`].
    pub async fn ask<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Body,
        limit: Duration,
    ) -> Result<T, AskError> {
        let text = self.send(method, path, body, limit).await?;
        // The parser's message would show a piece of the text, and the text may hold a token.
        serde_json::from_str(&text).map_err(|_| AskError::Unexpected {
            name: self.name.clone(),
            status: 200,
            detail: "not the document expected: is it another version?".to_owned(),
        })
    }

    /// The text that answers a request.
    ///
    /// # Errors
    /// When nothing answers, or with an error status.
    pub async fn send(
        &self,
        method: Method,
        path: &str,
        body: Body,
        limit: Duration,
    ) -> Result<String, AskError> {
        let not_running =
            |e: reqwest::Error| AskError::NotRunning { name: self.name.clone(), reason: cause(&e) };
        let mut request = self.http.request(method, format!("{}{path}", self.base)).timeout(limit);
        if let Some(key) = &self.key {
            request = request.bearer_auth(key.expose());
        }
        request = match body {
            Body::Empty => request,
            Body::Json(document) => {
                request.header("content-type", "application/json").body(document.to_string())
            }
            Body::Lines(lines) => request.header("content-type", "application/x-ndjson").body(lines),
        };
        let response = request.send().await.map_err(not_running)?;
        let status = response.status();
        let text = response.text().await.map_err(not_running)?;
        if status.is_success() { Ok(text) } else { Err(self.refused(status.as_u16(), &text)) }
    }

    fn refused(&self, status: u16, text: &str) -> AskError {
        match serde_json::from_str::<Refusal>(text) {
            Ok(refusal) => AskError::Refused(Refusal { status, ..refusal }),
            Err(_) => {
                AskError::Unexpected { name: self.name.clone(), status, detail: text.trim().to_owned() }
            }
        }
    }
}

fn client(
    shape: impl FnOnce(reqwest::ClientBuilder) -> reqwest::ClientBuilder,
) -> Result<reqwest::Client, Failure> {
    let config = tls::client_config(None).map_err(|e| Failure::new(Exit::Failure, e))?;
    let builder = reqwest::Client::builder()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .tls_backend_preconfigured(config)
        .connect_timeout(Duration::from_secs(5));
    shape(builder).build().map_err(|e| Failure::new(Exit::Failure, e))
}

/// The innermost reason: what the operating system said, rather than which layer noticed.
fn cause(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        return "no answer in time".to_owned();
    }
    let mut cause: &dyn Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}
