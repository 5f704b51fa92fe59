//! Whom an `id_token` names (OpenID Connect Core §3.1.3.7, §12.2). It came straight from the token endpoint over TLS, which
//! stands for its issuer, so its signature need not be checked (§3.1.3.7, 6).

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Map, Value};

use super::identity::{jwt_claims, member};
use crate::secret::Secret;

/// How far the server's clock may differ from ours.
const TOLERANCE: Duration = Duration::from_secs(300);

/// What an `id_token` must say.
#[derive(Debug, Clone, Copy)]
pub struct Expected<'a> {
    /// The issuer, where it is known.
    pub issuer: Option<&'a str>,
    /// The client it must be meant for.
    pub client_id: &'a str,
    /// The authorization request that it answers; None: it came with a refresh.
    pub consent: Option<Consent<'a>>,
}

/// What it must say as the answer to an authorization request.
#[derive(Debug, Clone, Copy)]
pub struct Consent<'a> {
    /// The nonce that was sent.
    pub nonce: Option<&'a str>,
    /// The time.
    pub now: SystemTime,
}

/// Why an `id_token` cannot be believed. Holds nothing secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdTokenError {
    /// Not a signed JWT with claims that can be read.
    #[error("the id_token is not a signed JWT")]
    NotOne,
    /// Of another issuer.
    #[error("the id_token is from another issuer than {expected}")]
    Issuer {
        /// Who should have issued it.
        expected: String,
    },
    /// Meant for another client.
    #[error("the id_token is for another client than {expected}")]
    Audience {
        /// Our client.
        expected: String,
    },
    /// It has ended.
    #[error("the id_token has expired: look at the clocks of both machines")]
    Expired,
    /// It answers another request, or says not which.
    #[error("the id_token answers another login: its nonce is not ours")]
    Nonce,
}

/// The `sub` of an `id_token`. None: it has no usable one.
///
/// # Errors
/// When it is not meant for this client, this issuer, this request or this time.
pub fn subject(id_token: &Secret, expected: &Expected<'_>) -> Result<Option<String>, IdTokenError> {
    let claims = jwt_claims(id_token).ok_or(IdTokenError::NotOne)?;
    if let Some(issuer) = expected.issuer
        && claims.get("iss").and_then(Value::as_str) != Some(issuer)
    {
        return Err(IdTokenError::Issuer { expected: issuer.to_owned() });
    }
    if !is_for(&claims, expected.client_id) {
        return Err(IdTokenError::Audience { expected: expected.client_id.to_owned() });
    }
    if let Some(consent) = expected.consent {
        // Some servers repeat an old one with a refresh, so its age is looked at here only.
        if has_ended(&claims, consent.now) {
            return Err(IdTokenError::Expired);
        }
        if consent.nonce.is_some() && claims.get("nonce").and_then(Value::as_str) != consent.nonce {
            return Err(IdTokenError::Nonce);
        }
    }
    Ok(member(&claims, "sub"))
}

fn is_for(claims: &Map<String, Value>, client_id: &str) -> bool {
    match claims.get("aud") {
        Some(Value::String(one)) => one == client_id,
        Some(Value::Array(several)) => several.iter().any(|one| one.as_str() == Some(client_id)),
        _ => false,
    }
}

fn has_ended(claims: &Map<String, Value>, now: SystemTime) -> bool {
    let Some(end) = claims.get("exp").and_then(Value::as_f64) else { return true };
    let now = now.duration_since(UNIX_EPOCH).unwrap_or_default();
    end + TOLERANCE.as_secs_f64() <= now.as_secs_f64()
}

#[cfg(test)]
mod tests {
    use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
    use serde_json::json;

    use super::*;

    fn id_token(change: &[(&str, Value)]) -> Secret {
        let mut claims =
            json!({ "iss": "https://as.test", "sub": "seller-1", "aud": "client", "exp": 2_000 });
        for (name, value) in change {
            claims[*name] = value.clone();
        }
        Secret::new(format!("e30.{}.c2ln", URL_SAFE_NO_PAD.encode(claims.to_string())))
    }

    fn read(change: &[(&str, Value)], nonce: Option<&str>) -> Result<Option<String>, IdTokenError> {
        let now = UNIX_EPOCH + Duration::from_secs(1_000);
        let consent = Some(Consent { nonce, now });
        let expected = Expected { issuer: Some("https://as.test"), client_id: "client", consent };
        subject(&id_token(change), &expected)
    }

    #[test]
    fn what_names_the_seller_to_this_client_is_believed() {
        let seller = Ok(Some("seller-1".to_owned()));
        assert_eq!(read(&[], None), seller);
        assert_eq!(read(&[("aud", json!(["other", "client"]))], None), seller);
        assert_eq!(read(&[("nonce", json!("n"))], Some("n")), seller);
        assert_eq!(read(&[("nonce", json!("of a server that invents one"))], None), seller);
        assert_eq!(read(&[("exp", json!(701))], None), seller, "clocks differ");
        assert_eq!(read(&[("sub", Value::Null)], None), Ok(None));
    }

    #[test]
    fn what_is_meant_for_somebody_else_is_refused() {
        for (change, nonce, why) in [
            (("iss", json!("https://evil.test")), None, "another issuer"),
            (("iss", Value::Null), None, "another issuer"),
            (("aud", json!("other")), None, "another client"),
            (("aud", json!([])), None, "another client"),
            (("aud", Value::Null), None, "another client"),
            (("exp", json!(700)), None, "expired"),
            (("exp", Value::Null), None, "expired"),
            (("nonce", json!("m")), Some("n"), "nonce"),
            (("nonce", Value::Null), Some("n"), "nonce"),
        ] {
            let error = read(std::slice::from_ref(&change), nonce).unwrap_err();
            assert!(error.to_string().contains(why), "{change:?}: {error}");
        }
        let expected = Expected { issuer: None, client_id: "client", consent: None };
        assert_eq!(subject(&Secret::new("opaque"), &expected), Err(IdTokenError::NotOne));
    }

    #[test]
    fn at_a_refresh_only_issuer_audience_and_subject_count() {
        let expected = Expected { issuer: None, client_id: "client", consent: None };
        let old = id_token(&[("exp", json!(1)), ("nonce", json!("of the login"))]);
        assert_eq!(subject(&old, &expected), Ok(Some("seller-1".to_owned())));
        let foreign = id_token(&[("aud", json!("other"))]);
        assert!(matches!(subject(&foreign, &expected), Err(IdTokenError::Audience { .. })));
    }
}
