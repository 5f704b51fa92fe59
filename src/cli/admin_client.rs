//! Commands as clients of the running Marketgate's admin door.

use std::time::Duration;

use serde::de::DeserializeOwned;

use super::{Exit, Failure};
use crate::tls;

/// Asks the admin door.
#[derive(Debug)]
pub struct AdminClient {
    base: String,
    http: reqwest::Client,
}

/// Why the admin door gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// Nothing listens there.
    #[error("no Marketgate answers at {base}: {reason}")]
    NotRunning {
        /// The URL asked.
        base: String,
        /// What happened.
        reason: String,
    },
    /// It refused.
    #[error("{base} answered {status}: {detail}")]
    Refused {
        /// The URL asked.
        base: String,
        /// HTTP status.
        status: u16,
        /// Its own words.
        detail: String,
    },
}

impl From<AskError> for Failure {
    fn from(error: AskError) -> Self {
        let action = match error {
            AskError::NotRunning { .. } => {
                "start it with `marketgate run`, or name another one with --server URL"
            }
            AskError::Refused { .. } => "look at what it says; `marketgate status` lists its accounts",
        };
        Self::new(Exit::Unreachable, &error).mend(action)
    }
}

impl AdminClient {
    /// A client of the admin door at `base`, such as `http://127.0.0.1:8081`.
    ///
    /// # Errors
    /// When the system's certificates cannot be used.
    pub fn new(base: &str) -> Result<Self, Failure> {
        let config = tls::client_config(None).map_err(|e| Failure::new(Exit::Failure, e))?;
        let http = reqwest::Client::builder()
            .no_proxy()
            .tls_backend_preconfigured(config)
            .connect_timeout(Duration::from_secs(5));
        let http = http.build().map_err(|e| Failure::new(Exit::Failure, e))?;
        Ok(Self { base: base.trim_end_matches('/').to_owned(), http })
    }

    /// The text at `path`.
    ///
    /// # Errors
    /// When nothing answers, or with an error status.
    pub async fn text(&self, path: &str, limit: Duration) -> Result<String, AskError> {
        let not_running =
            |e: reqwest::Error| AskError::NotRunning { base: self.base.clone(), reason: cause(&e) };
        let response =
            self.http.get(format!("{}{path}", self.base)).timeout(limit).send().await.map_err(not_running)?;
        let status = response.status().as_u16();
        let body = response.text().await.map_err(not_running)?;
        if status == 200 {
            return Ok(body);
        }
        let problem: Option<serde_json::Value> = serde_json::from_str(&body).ok();
        let detail = problem.and_then(|p| Some(p.get("detail")?.as_str()?.to_owned())).unwrap_or(body);
        Err(AskError::Refused { base: self.base.clone(), status, detail: detail.trim().to_owned() })
    }

    /// The JSON document at `path`.
    ///
    /// # Errors
    /// As [`AdminClient::text`], or when it is not the document expected.
    pub async fn document<T: DeserializeOwned>(&self, path: &str, limit: Duration) -> Result<T, AskError> {
        let text = self.text(path, limit).await?;
        let unexpected = |e: serde_json::Error| AskError::Refused {
            base: self.base.clone(),
            status: 200,
            detail: e.to_string(),
        };
        serde_json::from_str(&text).map_err(unexpected)
    }
}

/// The innermost reason: what the operating system said, rather than which layer noticed.
fn cause(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}
