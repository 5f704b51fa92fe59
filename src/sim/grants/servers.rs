//! The habits of real authorization servers, as they were seen on loopback in November 2026. Only what a client can notice
//! is here: what a refresh does to the tokens before it, what a repetition does, which ends are said, and the words of a no.

use super::{Cause, Policy, Refusal, Simultaneous, Successor};

/// The servers that [`Policy::like`] knows.
pub(in crate::sim) const SERVERS: [&str; 7] =
    ["django", "dex", "glewlwyd", "go-oauth2", "hydra", "keycloak", "spring"];

const HOUR: u64 = 3600;

impl Policy {
    /// This policy with the habits of a real server: `django` (OAuth Toolkit), `dex`, `glewlwyd`, `go-oauth2`, `hydra`,
    /// `keycloak` (with "revoke refresh token"), `spring` (Authorization Server, opaque tokens). `None` for any other name.
    #[must_use]
    pub fn like(&self, server: &str) -> Option<Self> {
        let rotating = Self { rotates: true, ..self.clone() };
        Some(match server {
            "django" => Self {
                refresh_ends_access_token: true,
                api_refused_as: Some(Refusal::empty(403)),
                ..rotating
            },
            "dex" => dex(rotating),
            "glewlwyd" => {
                Self { reuse_ends_family: false, ..rotating }.refusing(&Cause::ALL, &Refusal::empty(400))
            }
            "go-oauth2" => Self { refresh_ends_access_token: true, reuse_ends_family: false, ..rotating }
                .refusing(&REFUSED, &Refusal::error(401, "invalid_grant", "")),
            "hydra" => hydra(rotating),
            "keycloak" => keycloak(rotating),
            "spring" => Self {
                refresh_ends_access_token: true,
                reuse_ends_family: false,
                refresh_token_seconds: Some(HOUR),
                simultaneous: Simultaneous::LaterSaveWins,
                ..rotating
            }
            .refusing(&REFUSED, &Refusal::error(400, "invalid_grant", "")),
            _ => return None,
        })
    }

    /// The same, where refusals for these causes are said so.
    #[must_use]
    pub fn refusing(mut self, causes: &[Cause], refusal: &Refusal) -> Self {
        self.refused_as.extend(causes.iter().map(|cause| (*cause, refusal.clone())));
        self
    }

    fn saying(self, cause: Cause, error: &str, description: &str) -> Self {
        self.refusing(&[cause], &Refusal::error(400, error, description))
    }
}

/// Refusals that mean the grant.
const REFUSED: [Cause; 5] = [Cause::Unknown, Cause::Expired, Cause::Reused, Cause::Ended, Cause::Disabled];

fn dex(policy: Policy) -> Policy {
    let claimed = "Refresh token is invalid or has already been claimed by another client.";
    Policy { reuse_ends_family: false, grace_brings: Successor::Same, ..policy }
        .refusing(&REFUSED, &Refusal::error(400, "invalid_request", claimed))
        .saying(Cause::Expired, "invalid_request", "Refresh token expired.")
}

fn hydra(policy: Policy) -> Policy {
    let invalid = "The provided authorization grant (e.g., authorization code, resource owner credentials) or refresh \
                   token is invalid, expired, revoked, does not match the redirection URI used in the authorization \
                   request, or was issued to another client.";
    let retry = "The request could not be completed because of concurrent access. Please retry the request.";
    Policy { simultaneous: Simultaneous::Refused, ..policy }
        .refusing(&REFUSED, &Refusal::error(400, "invalid_grant", invalid))
        .refusing(
            &[Cause::Ended],
            &Refusal::error(
                401,
                "token_inactive",
                "Token is inactive because it is malformed, expired or otherwise invalid.",
            ),
        )
        .saying(Cause::Simultaneous, "invalid_request", retry)
}

fn keycloak(policy: Policy) -> Policy {
    Policy {
        max_reuse: Some(0),
        refresh_token_seconds: Some(HOUR / 2),
        refresh_end_member: Some("refresh_expires_in".to_owned()),
        refresh_expires_in: None,
        ..policy
    }
    .saying(Cause::Unknown, "invalid_grant", "Invalid refresh token")
    .saying(Cause::Expired, "invalid_grant", "Token is not active")
    .saying(Cause::Reused, "invalid_grant", "Maximum allowed refresh token reuse exceeded")
    .saying(Cause::Ended, "invalid_grant", "Session not active")
    .saying(Cause::Disabled, "invalid_grant", "User disabled")
    .saying(
        Cause::Everybody,
        "invalid_grant",
        "Invalid token issuer. Expected 'https://right.example', but was 'https://wrong.example'",
    )
}
