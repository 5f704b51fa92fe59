//! Commands as clients of the Marketgate that serves: over its admin door, or over the control socket beside its store. The
//! one rule: whatever was refused is told in the words of whoever refused it, with what mends it.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use bytes::Bytes;
use http::{
    HeaderValue, Method, Request, Uri,
    header::{AUTHORIZATION, CONTENT_TYPE, HOST},
};
use http_body_util::{BodyExt, Full, Limited};
use serde::{Deserialize, de::DeserializeOwned};
use tokio::{net::UnixStream, time::timeout};

use super::{Exit, Failure, streams};
use crate::{
    net::{
        Destination, Dialer,
        call::{self, Call},
        speaks_h2,
    },
    secret::Secret,
    tls,
};

/// Name lookup, TCP and TLS together.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);

/// Longest answer that is read, in bytes: a page of 1,000 accounts is about one MiB.
const LONGEST: usize = 64 * 1024 * 1024;

/// The environment variable that holds a key to the admin door.
pub const KEY_VARIABLE: &str = "MARKETGATE_ADMIN_KEY";

/// Asks one Marketgate, each time on a connection of its own.
#[derive(Debug, Clone)]
pub struct AdminClient {
    way: Way,
    /// What it is called in messages.
    name: String,
    key: Option<Secret>,
}

#[derive(Debug, Clone)]
enum Way {
    Server { base: Uri, dialer: Dialer },
    Socket(PathBuf),
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
    /// When `base` is no URL, or the system's certificates cannot be used.
    pub fn new(base: &str) -> Result<Self, Failure> {
        let name = base.trim_end_matches('/').to_owned();
        let uri = name.parse::<Uri>().ok().filter(|uri| Destination::of_uri(uri).is_some());
        let base = uri.ok_or_else(|| {
            Failure::new(Exit::Usage, format!("`{name}` is no address of a server"))
                .mend("write it as http://127.0.0.1:8081")
        })?;
        let key = std::env::var(KEY_VARIABLE).ok().filter(|key| !key.is_empty()).map(Secret::new);
        let tls = tls::client_config(None).map_err(|e| Failure::new(Exit::Failure, e))?;
        Ok(Self { way: Way::Server { base, dialer: Dialer::new(tls, None) }, name, key })
    }

    /// The same with this key.
    #[must_use]
    pub fn with_key(self, key: Secret) -> Self {
        Self { key: Some(key), ..self }
    }

    /// A client of the control socket at `path`.
    pub fn of_socket(path: &Path) -> Self {
        Self { way: Way::Socket(path.to_owned()), name: path.display().to_string(), key: None }
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
        let not_running = |reason: String| AskError::NotRunning { name: self.name.clone(), reason };
        let answer = timeout(limit, self.exchange(method, path, body)).await;
        let (status, text) =
            answer.map_err(|_| not_running("no answer in time".to_owned()))?.map_err(not_running)?;
        if status.is_success() { Ok(text) } else { Err(self.refused(status.as_u16(), &text)) }
    }

    /// Status and text of the answer, or why there is none.
    async fn exchange(
        &self,
        method: Method,
        path: &str,
        body: Body,
    ) -> Result<(http::StatusCode, String), String> {
        let broken = |error: hyper::Error| call::innermost(&error);
        let too_long = |error: Box<dyn std::error::Error + Send + Sync>| match error.downcast() {
            Ok(error) => call::innermost(&error),
            Err(error) => format!("its answer cannot be read: {error}"),
        };
        let Call { response, connection: _connection, .. } = match &self.way {
            Way::Socket(socket) => {
                let stream = UnixStream::connect(socket).await.map_err(|error| error.to_string())?;
                let request = self.request(method, path, body, HeaderValue::from_static("localhost"))?;
                call::over_http_1(stream, request).await.map_err(broken)?
            }
            Way::Server { base, dialer } => {
                let to = Destination::of_uri(base).ok_or("no address of a server")?;
                let target = format!("{}{path}", base.path().trim_end_matches('/'));
                let request = |target: &str| self.request(method, target, body, to.host_field.clone());
                let stream = dialer.connect(&to, CONNECT_LIMIT).await.map_err(|error| error.to_string())?;
                let call = if speaks_h2(&stream) {
                    let mut request = request(&format!("https://{}{target}", to.authority))?;
                    request.headers_mut().remove(HOST);
                    call::over_http_2(stream, request).await
                } else {
                    call::over_http_1(stream, request(&target)?).await
                };
                call.map_err(broken)?
            }
        };
        let response = response.map_err(broken)?;
        let status = response.status();
        let bytes = Limited::new(response.into_body(), LONGEST).collect().await.map_err(too_long)?.to_bytes();
        Ok((status, String::from_utf8_lossy(&bytes).into_owned()))
    }

    fn request(
        &self,
        method: Method,
        target: &str,
        body: Body,
        host: HeaderValue,
    ) -> Result<Request<Full<Bytes>>, String> {
        let (kind, bytes) = match body {
            Body::Empty => (None, Bytes::new()),
            Body::Json(document) => (Some("application/json"), document.to_string().into()),
            Body::Lines(lines) => (Some("application/x-ndjson"), lines.into()),
        };
        let mut request = Request::new(Full::new(bytes));
        *request.method_mut() = method;
        *request.uri_mut() = target.parse().map_err(|_| format!("`{target}` is no path"))?;
        let headers = request.headers_mut();
        headers.insert(HOST, host);
        if let Some(kind) = kind {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
        }
        if let Some(key) = &self.key {
            let bearer = HeaderValue::from_str(&format!("Bearer {}", key.expose()));
            headers.insert(AUTHORIZATION, bearer.map_err(|_| "the key holds what no header can carry")?);
        }
        Ok(request)
    }

    /// Whoever listens there may be somebody else: what he says reaches a terminal as text alone.
    fn refused(&self, status: u16, text: &str) -> AskError {
        match serde_json::from_str::<Refusal>(text) {
            Ok(Refusal { code, detail, action, .. }) => {
                AskError::Refused(Refusal { status, code, detail: shown(&detail), action: shown(&action) })
            }
            Err(_) => AskError::Unexpected { name: self.name.clone(), status, detail: shown(text.trim()) },
        }
    }
}

/// Without what commands a terminal; no longer than a person reads.
fn shown(text: &str) -> String {
    const LONGEST: usize = 4000;
    streams::harmless(&text.chars().take(LONGEST).collect::<String>())
}
