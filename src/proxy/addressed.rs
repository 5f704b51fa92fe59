//! Header fields that are addressed to us. A name of ours that is misspelt is refused: the request would be served as the
//! default account, or without what it asked for.

use std::ops::RangeInclusive;

use http::{HeaderMap, HeaderName, header};

use super::{
    explanation::EXPLAIN_HEADER,
    guard::KEY_HEADER,
    route::{ACCOUNT_HEADER, APP_HEADER},
};
use crate::http::problem::{Code, Problem};

/// The names of ours, as they are shown.
const KNOWN: [&str; 4] = ["Marketgate-App", "Marketgate-Account", "Marketgate-Key", "Marketgate-Explain"];

/// How many slips of the hand a name may hold and still be meant for us.
const SLIPS: usize = 2;

/// Lengths of names that may hold such slips, separators included.
const LENGTHS: RangeInclusive<usize> = 11..=22;

/// Refuses fields whose name begins with ours but is none, in any spelling; and trailers of ours, which come too late.
///
/// # Errors
/// A problem that names the field, and the nearest one there is.
pub fn refuse_unknown(headers: &HeaderMap) -> Result<(), Problem> {
    for name in headers.keys() {
        if is_for_us(name.as_str()) && !is_known(name) {
            return Err(unknown(name));
        }
        if *name == header::TRAILER && headers.get_all(name).iter().any(|list| names_ours(list.as_bytes())) {
            let action = "send it before the body: the account must be known first";
            return Err(Problem::new(Code::BadRequest, "Trailer announces a header of Marketgate's", action));
        }
    }
    Ok(())
}

fn is_known(name: &HeaderName) -> bool {
    [&APP_HEADER, &ACCOUNT_HEADER, &KEY_HEADER, &EXPLAIN_HEADER].contains(&name)
}

/// Whether a name begins with ours, whatever stands between its letters, or would but for a slip or two.
fn is_for_us(name: &str) -> bool {
    let bytes = name.as_bytes();
    // Nearly every name ends here.
    let first = bytes.iter().position(u8::is_ascii_alphanumeric);
    let Some(rest) = first.map(|first| &bytes[first..]).filter(|rest| matches!(rest[0] | 0x20, b'm' | b'x'))
    else {
        return false;
    };
    begins_with_ours(rest) || (rest[0] | 0x20 == b'm' && LENGTHS.contains(&name.len()) && is_slip(name))
}

/// `Marketgate`, or `X-Marketgate`.
fn begins_with_ours(name: &[u8]) -> bool {
    let mut letters =
        name.iter().filter(|b| b.is_ascii_alphanumeric()).map(u8::to_ascii_lowercase).peekable();
    letters.next_if_eq(&b'x');
    b"marketgate".iter().all(|ours| letters.next() == Some(*ours))
}

fn is_slip(name: &str) -> bool {
    nearest(name).is_some_and(|(distance, _)| distance <= SLIPS)
}

fn nearest(name: &str) -> Option<(usize, &'static str)> {
    let folded: String =
        name.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect();
    let plain = |known: &str| known.to_ascii_lowercase().replace('-', "");
    let scored = KNOWN.into_iter().map(|known| (strsim::damerau_levenshtein(&folded, &plain(known)), known));
    scored.min_by_key(|(distance, _)| *distance)
}

fn names_ours(list: &[u8]) -> bool {
    list.split(|byte| *byte == b',').map(<[u8]>::trim_ascii).any(begins_with_ours)
}

fn unknown(name: &HeaderName) -> Problem {
    let guess = nearest(name.as_str()).filter(|(distance, known)| *distance <= known.len() / 3);
    let detail = match guess {
        Some((_, guess)) => format!("`{name}` is no header of Marketgate's, did you mean `{guess}`?"),
        None => format!("`{name}` is no header of Marketgate's"),
    };
    let action = format!("correct or remove it; there are {}", KNOWN.join(", "));
    Problem::new(Code::BadRequest, detail, action)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_of_ours_is_recognised_in_any_spelling_and_no_other_is_taken_for_it() {
        for name in [
            "marketgate_account",
            "marketgate.account",
            "marketgate--account",
            "market-gate-account",
            "marketgateaccount",
            "-marketgate-app-",
            "_marketgate~app",
            "marketgate",
            "marketgate-acount",
            "marketgate-tenant",
            "x-marketgate-account",
            "markegate-account",
            "marketgaet-account",
            "marketgte_key",
        ] {
            let name = HeaderName::from_static(name);
            assert!(is_for_us(name.as_str()) && !is_known(&name), "{name}");
        }
        for name in
            ["marketplace-id", "market", "x-market", "max-forwards", "x-amz-date", "mime-version", "m-key"]
        {
            assert!(!is_for_us(name), "{name}");
        }
        for name in KNOWN {
            assert!(is_known(&name.parse().unwrap()), "{name}");
        }
    }

    #[test]
    fn the_nearest_name_is_told_where_one_is_near() {
        let said = |name: &'static str| unknown(&HeaderName::from_static(name)).detail;
        assert!(said("marketgate_acount").ends_with("did you mean `Marketgate-Account`?"));
        assert!(said("x-marketgate-app").ends_with("did you mean `Marketgate-App`?"));
        assert!(said("marketgate-something-else").ends_with("no header of Marketgate's"));
    }
}
