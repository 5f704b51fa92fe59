//! The wire: a token call, and its answer judged. Whatever the server does, what comes out is either tokens that
//! can be used as they stand or a [`TokenError`] that says whose fault it is and whether the call may have been executed.
//!
//! [`request`] says what a token call holds; [`client`] sends it by one [`exchange`]; [`answer`] searches and judges what came
//! back, with the help of [`detail`] (a server's words made fit for a log) and [`retry_after`]; [`token_error`] is what the
//! keeper acts on.
//!
//! A seller's consent goes the same way in pieces: [`random`] draws a [`state`] and a [`pkce`] verifier, [`consent`] makes the
//! URL for the seller's browser, [`callback`] reads what that brings back, a token call shows the code, and [`id_token`] and
//! [`identity`] say whose the token is, from the answer itself or from what is answered to a [`fetch`]. [`revoke`] ends it.
//!
//! # How answers are judged
//!
//! First every answer, of any status, is searched for a new refresh token: after its content codings are taken off (gzip,
//! deflate, br, zstd), in JSON, XML and forms, nested or cut, behind other text. What is found is in the outcome, as
//! [`Granted::refresh_token`] or as [`TokenError::successor`]; a definite refusal beside it becomes `Ambiguous`.
//!
//! | What came back | Class |
//! |---|---|
//! | name not found, connection refused, TLS failed, the forward proxy gave no tunnel, no connection within 5 s | `NotSent` |
//! | the connection broke after it stood, or no head of an answer within the limit | `Ambiguous` |
//! | 2xx with a usable access token, which is whole and the only one | tokens |
//! | the same, but the body is cut and a refresh token may have been in what is missing | `Ambiguous` |
//! | 2xx whose `token_type` names another scheme (`mac`, `DPoP`, `N_A`, `Basic`, …); see `token_type` | `Misconfigured` |
//! | 2xx with an error beside a token | `Ambiguous` |
//! | 2xx with an error and no token | as a 4xx with that error |
//! | 2xx with anything else: empty, HTML, two different access tokens, one that no header can carry, a coding that cannot be decoded | `Ambiguous` |
//! | 3xx (never followed) | `Misconfigured` |
//! | a refusal that `grant_ended` names | `InvalidGrant` |
//! | 4xx `invalid_grant` | `InvalidGrant`; `InvalidClient` for client credentials, which have no grant that could end |
//! | 4xx `invalid_client`; 401 with `unauthorized_client` (Keycloak, for a wrong secret) | `InvalidClient` |
//! | 4xx `unauthorized_client`, `unsupported_grant_type`, `invalid_scope`, `redirect_uri_mismatch`, `use_dpop_nonce`, … | `Misconfigured` |
//! | 4xx in words that are known (`answer/refusal.rs`): `bad_refresh_token`, "refresh token has expired", "please retry the request", … | `InvalidGrant`, `Throttled` or `ServerTrouble` |
//! | 401 in other words; an empty 403; for client credentials a 400 without a code that is not HTML (Walmart) | `InvalidClient` |
//! | any other 4xx in answer to a refresh token or a code, but pages and 404, 405, 415, … | `Refused` |
//! | every other 4xx | `Misconfigured` |
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
pub mod fetch;
pub mod form;
pub mod id_token;
pub mod identity;
pub mod pkce;
pub mod random;
mod redirect;
pub mod request;
pub mod retry_after;
pub mod revoke;
pub mod state;
mod tape;
pub mod token_error;

pub use answer::{Answer, Granted, RefreshLifetime, judge};
pub use callback::{Callback, CallbackError, Outcome, with_form};
pub use client::{Calling, TokenCalls, TokenClient};
pub use consent::{AuthorizationRequest, ConsentError};
pub use exchange::NoAnswer;
pub use fetch::Fetched;
pub use pkce::Verifier;
pub use request::{GrantRequest, TokenRequest};
pub use revoke::{RevocationRequest, RevokeError};
pub use token_error::{Class, EndReason, TokenError};
