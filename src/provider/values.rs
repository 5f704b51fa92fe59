//! What preset files and configurations say in words: grants, client authentication, budgets, durations. The one rule: a
//! word that is read is a known one.

use std::{fmt, str::FromStr, time::Duration};

use serde::Deserialize;

/// How tokens are obtained.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GrantKind {
    /// RFC 6749 §4.4: the client's own credentials, no seller involved.
    ClientCredentials,
    /// RFC 6749 §4.1: a seller's consent, then refresh tokens.
    AuthorizationCode,
    /// A key that the marketplace gave out once; no token endpoint at all.
    Static,
}

impl GrantKind {
    /// As the configuration writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ClientCredentials => "client_credentials",
            Self::AuthorizationCode => "authorization_code",
            Self::Static => "static",
        }
    }
}

/// How the client authenticates at the token endpoint (RFC 6749 §2.3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ClientAuth {
    /// HTTP Basic.
    Basic,
    /// `client_id` and `client_secret` in the form.
    Body,
    /// HTTP Basic without the form encoding of RFC 6749 §2.3.1, for servers that do not decode it.
    #[serde(rename = "basic-raw")]
    BasicRaw,
}

/// Which requests may be repeated after a 401 with a fresh token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Replay {
    /// All whose body is still whole in memory: a 401 means that nothing was executed.
    All,
    /// Only idempotent methods (RFC 9110 §9.2.2).
    Idempotent,
    /// None.
    Off,
}

/// An answer of the API beside 401 that means that the token has expired.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExpirySignal {
    /// Its HTTP status.
    pub status: u16,
    /// A text that its body holds; None: the status alone says it.
    #[serde(default)]
    pub contains: Option<String>,
}

/// What a token endpoint allows in any window of time. Written `CALLS/WINDOW`, such as `174/5m`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budget {
    /// Calls in one window.
    pub calls: u32,
    /// The window's length.
    pub window: Duration,
}

/// The longest window of a budget: thirty days.
const LONGEST_WINDOW: Duration = Duration::from_secs(30 * 86_400);

impl FromStr for Budget {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is no budget: write calls and window, such as \"174/5m\"");
        let (calls, window) = text.split_once('/').ok_or_else(wrong)?;
        let calls = calls.trim().parse().ok().filter(|n| *n > 0).ok_or_else(wrong)?;
        // Longer windows are a slip of the hand, and would overflow clocks.
        let window = duration(window).filter(|w| !w.is_zero() && *w <= LONGEST_WINDOW).ok_or_else(wrong)?;
        Ok(Self { calls, window })
    }
}

impl fmt::Display for Budget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} per {} s", self.calls, self.window.as_secs())
    }
}

/// Reads `500ms`, `5s`, `10m`, `2h` or `30d`: a whole number and a unit.
pub fn duration(text: &str) -> Option<Duration> {
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit())?;
    let number: u64 = text[..digits].parse().ok()?;
    match &text[digits..] {
        "ms" => Some(Duration::from_millis(number)),
        "s" => Some(Duration::from_secs(number)),
        "m" => number.checked_mul(60).map(Duration::from_secs),
        "h" => number.checked_mul(3600).map(Duration::from_secs),
        "d" => number.checked_mul(86_400).map(Duration::from_secs),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn budgets_and_durations_are_read_with_their_units() {
        assert_eq!(
            "174/5m".parse::<Budget>().unwrap(),
            Budget { calls: 174, window: Duration::from_secs(300) }
        );
        for bad in
            ["174", "0/5m", "174/0s", "174/5", "x/5m", "174/5y", "", "10/18446744073709551615s", "1/31d"]
        {
            assert!(bad.parse::<Budget>().is_err(), "{bad}");
        }
        assert_eq!(duration("500ms"), Some(Duration::from_millis(500)));
        assert_eq!(duration("5"), None);
    }
}
