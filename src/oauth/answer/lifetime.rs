//! How long a token lives, from what an answer says in any of the forms seen. What cannot be a lifetime counts as not said.

use std::time::{Duration, SystemTime};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::Value;
use zeroize::Zeroizing;

/// A lifetime beyond this is not a lifetime but something else (milliseconds, a date): 10 years.
const LONGEST: f64 = 10.0 * 365.0 * 86_400.0;

/// What a value says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Said {
    /// This long, in whole seconds.
    For(Duration),
    /// 0 or -1: never, or unknown.
    Zero,
}

/// A lifetime or a date, whichever it is: servers write either under either name. `now` is the server's.
pub(super) fn read(value: &str, now: SystemTime) -> Option<Said> {
    let value = without_unit(value.trim());
    match value.parse::<f64>() {
        Ok(number) if !number.is_finite() => None,
        Ok(number) if number < 1.0 => (number == 0.0 || number == -1.0).then_some(Said::Zero),
        Ok(number) if number < 1e9 => whole_seconds(number / unit(number)),
        Ok(seconds) if (1e9..1e11).contains(&seconds) => until(seconds, now),
        Ok(milliseconds) if (1e12..1e14).contains(&milliseconds) => until(milliseconds / 1000.0, now),
        Ok(_) => None,
        Err(_) => whole_seconds(date(value)?.duration_since(now).ok()?.as_secs_f64()),
    }
}

/// `3600s`, `3600 seconds`.
fn without_unit(value: &str) -> &str {
    let number = value.trim_end_matches(|c: char| c.is_ascii_alphabetic()).trim_end();
    let unit = value[number.len()..].trim_start();
    if ["s", "sec", "secs", "second", "seconds"].contains(&unit) { number } else { value }
}

/// What a token that is a JWT says of its own end (RFC 7519 §4.1.4).
pub(super) fn of_jwt(token: &str, now: SystemTime) -> Option<Duration> {
    let mut parts = token.split('.');
    let (_header, payload, _signature) = (parts.next()?, parts.next()?, parts.next()?);
    let payload = Zeroizing::new(URL_SAFE_NO_PAD.decode(payload).ok()?);
    let claims: Value = serde_json::from_slice(&payload).ok()?;
    match until(claims.get("exp")?.as_f64()?, now)? {
        Said::For(life) => Some(life),
        Said::Zero => None,
    }
}

/// Milliseconds under the name of seconds: whole minutes in milliseconds that are neither whole days in seconds nor, beyond
/// two years, whole years. The shorter reading costs a refresh, the longer one requests with a dead token.
fn unit(number: f64) -> f64 {
    const DAY: f64 = 86_400.0;
    let is_whole = |unit: f64| (number / unit).fract() == 0.0;
    let round = if number > 730.0 * DAY { 365.0 * DAY } else { DAY };
    if number >= 300_000.0 && is_whole(60_000.0) && !is_whole(round) { 1000.0 } else { 1.0 }
}

fn until(epoch: f64, now: SystemTime) -> Option<Said> {
    let end = SystemTime::UNIX_EPOCH.checked_add(Duration::try_from_secs_f64(epoch).ok()?)?;
    whole_seconds(end.duration_since(now).ok()?.as_secs_f64())
}

/// Rounded down; None for less than one or more than can be.
fn whole_seconds(seconds: f64) -> Option<Said> {
    let whole = Duration::try_from_secs_f64(seconds.floor()).ok()?;
    (!whole.is_zero() && seconds <= LONGEST).then_some(Said::For(whole))
}

/// RFC 3339, a date and time without a zone (UTC), an HTTP date, or .NET's `/Date(1700000000000)/`.
fn date(text: &str) -> Option<SystemTime> {
    if let Some(milliseconds) =
        text.strip_prefix("/Date(").and_then(|rest| rest.split([')', '+', '-']).next())
    {
        return SystemTime::UNIX_EPOCH.checked_add(Duration::from_millis(milliseconds.parse().ok()?));
    }
    let zoned = || text.parse::<jiff::Timestamp>().ok();
    let civil = || text.parse::<jiff::civil::DateTime>().ok()?.to_zoned(jiff::tz::TimeZone::UTC).ok();
    let timestamp = zoned().or_else(|| civil().map(|zoned| zoned.timestamp()));
    timestamp.map(SystemTime::from).or_else(|| httpdate::parse_http_date(text).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(value: &str) -> Option<u64> {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000); // 2027-01-15T08:00:00Z
        match read(value, now)? {
            Said::For(life) => Some(life.as_secs()),
            Said::Zero => Some(0),
        }
    }

    #[test]
    fn lifetimes_and_dates_are_read() {
        for (value, expected) in [
            ("900", Some(900)),
            (" 299.9 ", Some(299)),
            ("1e3", Some(1000)),
            ("3600s", Some(3600)),
            ("3600 seconds", Some(3600)),
            ("seconds", None),
            ("315360000", Some(315_360_000)),
            ("0", Some(0)),
            ("-1", Some(0)),
            ("-0.0", Some(0)),
            ("0.9", None),
            ("-5", None),
            ("NaN", None),
            ("inf", None),
            ("1e999", None),
            ("soon", None),
            ("", None),
            // Milliseconds, and long lives that are none.
            ("3600000", Some(3600)),
            ("900000", Some(900)),
            ("86400000", Some(86_400)),
            ("2592000", Some(2_592_000)),
            ("5184000", Some(5_184_000)),
            ("8640000", Some(8_640_000)),
            ("31536000", Some(31_536_000)),
            ("604800000", Some(604_800)),
            ("315360001", None),
            ("604800", Some(604_800)),
            // Dates.
            ("1800003600", Some(3600)),
            ("1800003600.5", Some(3600)),
            ("1800003600000", Some(3600)),
            ("1799999999", None),
            ("2027-01-15T09:00:00Z", Some(3600)),
            ("2027-01-15T09:00:00.000+00:00", Some(3600)),
            ("2027-01-15T10:00:00+01:00", Some(3600)),
            ("2027-01-15 09:00:00", Some(3600)),
            ("Fri, 15 Jan 2027 09:00:00 GMT", Some(3600)),
            ("/Date(1800003600000)/", Some(3600)),
            ("2027-01-15T07:00:00Z", None),
            ("2099-01-01T00:00:00Z", None),
        ] {
            assert_eq!(seconds(value), expected, "{value}");
        }
    }
}
