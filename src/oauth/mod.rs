//! The wire: a token call, and its answer sorted. The rule: whatever the server does, what comes out is either tokens that
//! can be used as they stand or a [`TokenError`] that says whose fault it is and whether the call may have been executed.
//!
//! [`request`] says what a token call holds; [`client`] sends it by one [`exchange`]; [`answer`] sorts what came back with
//! the help of [`members`] (JSON and XML read into one shape), [`fault`] (the error in them), [`detail`] (a server's words
//! made fit for a log) and [`retry_after`]; [`token_error`] is what the keeper acts on.
//!
//! A seller's consent goes the same way in pieces: [`random`] draws a [`state`] and a [`pkce`] verifier, [`consent`] makes the
//! URL for the seller's browser, [`callback`] reads what that brings back, a token call shows the code, and [`identity`]
//! says whose the token is, from the token itself or from what the API answers to a [`fetch`]. [`revoke`] ends it.
//!
//! # How answers are sorted
//!
//! | What came back | Class |
//! |---|---|
//! | name not found, connection refused, TLS failed, the forward proxy gave no tunnel, no connection within 5 s | `NotSent` |
//! | the connection broke after it stood, or no whole answer within the limit | `Ambiguous` |
//! | 2xx with a usable access token | tokens |
//! | 2xx with an `error` that has a standard code, and no access token | that code's class |
//! | 2xx with any other body: empty, HTML, cut, more than 64 KiB, compressed, a member given twice with two values, an unusable token or lifetime | `Ambiguous` |
//! | 2xx whose `token_type` is not `Bearer` | `Misconfigured` |
//! | 3xx (never followed) | `Misconfigured` |
//! | 4xx `invalid_grant` | `InvalidGrant`; `InvalidClient` for client credentials, which have no grant that could end |
//! | 4xx `invalid_client`; 401 with `unauthorized_client` (Keycloak, for a wrong secret), without a code or with none of the standard ones | `InvalidClient` |
//! | 400 without a code and not HTML (Walmart, for wrong credentials) | `InvalidClient` |
//! | 4xx `invalid_request`, `unauthorized_client`, `unsupported_grant_type`, `invalid_scope`, …; every other 4xx (403, 404, 405, 415, …) | `Misconfigured` |
//! | 429, or 4xx `slow_down` | `Throttled` |
//! | 408, 425, 4xx `temporarily_unavailable` or `server_error`, every 5xx whatever its body says, any status beyond | `ServerTrouble` |
//!
//! The full table is `tests/it/oauth_answers.rs`.

pub mod answer;
pub mod callback;
pub mod client;
pub mod consent;
pub mod detail;
pub mod exchange;
pub mod fault;
pub mod fetch;
pub mod form;
pub mod identity;
pub mod members;
pub mod pkce;
pub mod random;
mod redirect;
pub mod request;
pub mod retry_after;
pub mod revoke;
pub mod state;
pub mod token_error;

pub use answer::{Answer, Granted, sort};
pub use callback::{Callback, CallbackError, Outcome};
pub use client::{Calling, TokenCalls, TokenClient, TokenClientError};
pub use consent::{AuthorizationRequest, ConsentError};
pub use exchange::NoAnswer;
pub use fetch::Fetched;
pub use pkce::Verifier;
pub use request::{GrantRequest, TokenRequest};
pub use revoke::{RevocationRequest, RevokeError};
pub use token_error::{Class, TokenError};
