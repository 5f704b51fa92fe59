//! What a server's refusal of a refresh token means. The one rule: after a lost answer of ours any words of refusal mean that
//! the token was spent by it; without one, only a judgement of the grant itself ends it.

use crate::oauth::{Class, TokenError};

/// Whether a refusal is about the refresh token. `lost`: an answer to it, or to the call that brought it, was lost.
///
/// Servers do not agree on how they refuse a token that was used before: `invalid_request`, an unknown code, an empty 400.
/// A refusal of the client says so in its code or with 401 or 403; one of the address or the method by its status.
pub(super) fn is_of_the_grant(error: &TokenError, lost: bool) -> bool {
    match error.class {
        Class::InvalidGrant | Class::Refused => true,
        Class::Misconfigured => {
            let judged =
                matches!(error.status, Some(400 | 401 | 409 | 422)) && !names_the_call(&error.detail);
            judged && (lost || tells_of_another_use(&error.detail))
        }
        Class::InvalidClient => lost && error.status == Some(400) && !names_the_client(&error.detail),
        Class::NotSent | Class::Throttled | Class::ServerTrouble | Class::Ambiguous => false,
    }
}

fn names_the_client(words: &str) -> bool {
    holds_one_of(
        words,
        &["invalid_client", "unauthorized_client", "client_secret", "client secret", "client credentials"],
    )
}

fn names_the_call(words: &str) -> bool {
    let call = ["invalid_scope", "unsupported_grant_type", "invalid_target", "redirect"];
    names_the_client(words) || holds_one_of(words, &call)
}

/// Whether the server's words say that the refresh token was used before: where no answer of ours was lost, somebody else
/// did that.
pub(super) fn tells_of_another_use(words: &str) -> bool {
    holds_one_of(
        words,
        &[
            "reuse",
            "re-use",
            "already been used",
            "already used",
            "already been claimed",
            "already been redeemed",
            "already been rotated",
            "already redeemed",
            "used more than once",
            "stale token",
            "replay",
        ],
    )
}

fn holds_one_of(words: &str, wanted: &[&str]) -> bool {
    let words = words.to_ascii_lowercase();
    wanted.iter().any(|wanted| words.contains(wanted))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(class: Class, status: u16, detail: &str) -> TokenError {
        TokenError { status: Some(status), ..TokenError::new(class, detail) }
    }

    #[test]
    fn after_a_lost_answer_a_refusal_in_any_words_is_about_the_refresh_token() {
        for (class, status, detail) in [
            (Class::InvalidGrant, 400, "invalid_grant: Maximum allowed refresh token reuse exceeded"),
            (Class::Refused, 400, "bad_refresh_token"),
            (
                Class::Misconfigured,
                400,
                "invalid_request: the token has already been claimed by another client",
            ),
            (Class::Misconfigured, 400, "invalid_request"),
            (Class::InvalidClient, 400, "a refusal without an error code"),
        ] {
            assert!(is_of_the_grant(&refusal(class, status, detail), true), "{detail}");
        }
    }

    #[test]
    fn a_refusal_of_the_client_or_the_call_is_not() {
        for (class, status, detail) in [
            (Class::InvalidClient, 401, "unauthorized"),
            (Class::InvalidClient, 400, "invalid_client: Invalid client credentials"),
            (Class::InvalidClient, 403, ""),
            (Class::Misconfigured, 400, "invalid_scope: that scope is not the client's"),
            (Class::Misconfigured, 400, "unsupported_grant_type"),
            (Class::Misconfigured, 404, "not found"),
            (Class::Misconfigured, 302, "redirected to another path"),
            (Class::ServerTrouble, 500, "already been used"),
        ] {
            for lost in [true, false] {
                assert!(!is_of_the_grant(&refusal(class, status, detail), lost), "{status} {detail}");
            }
        }
    }

    #[test]
    fn without_a_lost_answer_a_wrong_call_ends_a_grant_only_if_it_tells_of_another_use() {
        let claimed = "invalid_request: the token has already been claimed by another client";
        assert!(is_of_the_grant(&refusal(Class::Misconfigured, 400, claimed), false));
        assert!(!is_of_the_grant(&refusal(Class::Misconfigured, 400, "invalid_request"), false));
        assert!(!is_of_the_grant(&refusal(Class::InvalidClient, 400, ""), false));
        assert!(tells_of_another_use("Stale token") && !tells_of_another_use("Session not active"));
    }
}
