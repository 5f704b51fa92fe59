//! `Retry-After` (RFC 9110 §10.2.3) read. The rule: nonsense counts as absent, and no server can silence an account for
//! longer than [`LONGEST`].

use std::time::{Duration, SystemTime};

use http::{
    HeaderMap, HeaderValue,
    header::{DATE, RETRY_AFTER},
};

/// The longest wait that is believed.
pub const LONGEST: Duration = Duration::from_secs(3600);

/// How long the server asks us to wait. A date is measured from the answer's own `Date`, so that its clock need not
/// agree with ours; without one, from `now`. None: it did not say, said nonsense, or the time has already passed.
pub fn read(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    let wait = if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
        // More digits than fit are still a number, and a long one.
        text.parse().map_or(LONGEST, Duration::from_secs)
    } else {
        let reference = headers.get(DATE).and_then(date).unwrap_or(now);
        httpdate::parse_http_date(text).ok()?.duration_since(reference).ok()?
    };
    Some(wait.min(LONGEST)).filter(|wait| !wait.is_zero())
}

fn date(value: &HeaderValue) -> Option<SystemTime> {
    httpdate::parse_http_date(value.to_str().ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wait(retry_after: &str, date: Option<&str>) -> Option<u64> {
        let mut headers = HeaderMap::new();
        headers.insert(RETRY_AFTER, HeaderValue::from_bytes(retry_after.as_bytes()).unwrap());
        if let Some(date) = date {
            headers.insert(DATE, date.parse().unwrap());
        }
        let now = httpdate::parse_http_date("Fri, 06 Nov 2026 10:00:00 GMT").unwrap();
        read(&headers, now).map(|wait| wait.as_secs())
    }

    #[test]
    fn seconds_and_dates_are_read_and_capped() {
        assert_eq!(wait("7", None), Some(7));
        assert_eq!(wait(" 120 ", None), Some(120));
        assert_eq!(wait("86400", None), Some(3600));
        assert_eq!(wait("99999999999999999999999999", None), Some(3600));
        assert_eq!(wait("Fri, 06 Nov 2026 10:00:30 GMT", None), Some(30));
        assert_eq!(wait("Fri, 06 Nov 2026 10:00:30 GMT", Some("Fri, 06 Nov 2026 10:00:20 GMT")), Some(10));
        assert_eq!(wait("Thu, 06 Nov 2036 10:00:30 GMT", None), Some(3600));
    }

    #[test]
    fn nonsense_and_the_past_count_as_absent() {
        for nonsense in
            ["", "soon", "-5", "1.5", "0", "0x10", "5 s", "Fri, 06 Nov 2026 09:59:59 GMT", "\u{e9}"]
        {
            assert_eq!(wait(nonsense, None), None, "{nonsense:?}");
        }
        assert_eq!(read(&HeaderMap::new(), SystemTime::now()), None);
    }
}
