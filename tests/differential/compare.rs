//! Whether what came through the gate is what was foretold. The rule: only what differs between any two exchanges is
//! masked, the time and what a server draws by chance; nothing is excused here.

use std::collections::BTreeMap;

use crate::{
    echo::Arrived,
    policy::{Foretold, echoed},
    request::{Refusal, Request},
    response::{Framing, Response},
};

/// Every difference, in words.
pub(crate) fn differences(request: &Request, foretold: &Foretold, actual: &Response) -> Vec<String> {
    let mut found = Vec::new();
    let mut note = |what: &str, foretold: String, actual: String| {
        if foretold != actual {
            found.push(format!("{what}: foretold {foretold}, came {actual}"));
        }
    };
    let expected = masked(&foretold.response, request);
    let came = masked(actual, request);
    note("status", expected.status.to_string(), came.status.to_string());
    note("reason", shown(&expected.reason), shown(&came.reason));
    note("version", u8::from(!request.http10).to_string(), came.minor.to_string());
    note("informational", format!("{:?}", expected.informational), format!("{:?}", came.informational));
    note("trailers", format!("{:?}", expected.trailers), format!("{:?}", came.trailers));
    note("framing", framing(&expected), framing(&came));
    compare_fields("field", &expected.fields, &came.fields, &mut note);
    match (&foretold.arrived, echoed(actual)) {
        (Some(expected), Some(came)) => compare_arrived(expected, &came, &mut note),
        (Some(_), None) => note("echo", "one".to_owned(), "none".to_owned()),
        (None, _) => compare_bodies("body", &expected.body, &came.body, &mut note),
    }
    found
}

/// What is wrong with an answer of the gate's own.
pub(crate) fn mistakes(refusal: Refusal, actual: &Response) -> Vec<String> {
    let Refusal { status, code, ends } = refusal;
    let text = |name: &str| actual.values(name).next().map(|v| String::from_utf8_lossy(v).into_owned());
    let body = String::from_utf8_lossy(&actual.body);
    let mut found = Vec::new();
    let mut check = |holds: bool, what: &str| {
        if !holds {
            found.push(format!("a refusal with {status} {code:?} should have {what}"));
        }
    };
    check(actual.status == status, "that status");
    check(body.contains(&format!("\"code\":\"{code}\"")), "that code");
    check(text("content-type").as_deref() == Some("application/problem+json"), "the type of a problem");
    check(text("cache-control").as_deref() == Some("no-store"), "no-store");
    check(text("proxy-status").is_some_and(|v| v.starts_with("marketgate; error=")), "a Proxy-Status");
    check(!ends || actual.is_last(), "an end of its connection");
    found
}

fn compare_arrived(expected: &Arrived, came: &Arrived, note: &mut impl FnMut(&str, String, String)) {
    note("what arrived: request line", expected.line.clone(), came.line.clone());
    compare_fields("what arrived: field", &expected.fields, &came.fields, note);
    note("what arrived: trailers", format!("{:?}", expected.trailers), format!("{:?}", came.trailers));
    compare_bodies("what arrived: body", &expected.body, &came.body, note);
}

fn compare_bodies(what: &str, expected: &[u8], came: &[u8], note: &mut impl FnMut(&str, String, String)) {
    if expected != came {
        let same = expected.iter().zip(came).take_while(|(a, b)| a == b).count();
        let rest = |bytes: &[u8]| shown(&bytes[same..bytes.len().min(same + 60)]);
        let describe = |bytes: &[u8]| format!("{} bytes, from {same} on {}", bytes.len(), rest(bytes));
        note(what, describe(expected), describe(came));
    }
}

type Fields = [(String, Vec<u8>)];

/// Values of one name in their order; the order among names is nobody's promise ("Limits to know").
fn compare_fields(what: &str, expected: &Fields, came: &Fields, note: &mut impl FnMut(&str, String, String)) {
    let (expected, came) = (by_name(expected), by_name(came));
    let names: std::collections::BTreeSet<_> = expected.keys().chain(came.keys()).collect();
    for name in names {
        note(&format!("{what} {name}"), values(expected.get(name)), values(came.get(name)));
    }
}

fn by_name(fields: &Fields) -> BTreeMap<&str, Vec<&[u8]>> {
    let mut names: BTreeMap<&str, Vec<&[u8]>> = BTreeMap::new();
    for (name, value) in fields {
        names.entry(name).or_default().push(value);
    }
    names
}

fn values(values: Option<&Vec<&[u8]>>) -> String {
    values
        .map_or("none".to_owned(), |values| values.iter().map(|v| shown(v)).collect::<Vec<_>>().join(" and "))
}

fn framing(response: &Response) -> String {
    match response.framing {
        // Whether the number is the same is seen where fields are compared.
        Framing::Length(_) => "a length".to_owned(),
        other => format!("{other:?}"),
    }
}

pub(crate) fn shown(bytes: &[u8]) -> String {
    format!("\"{}\"", bytes.escape_ascii())
}

/// An answer without what two answers never share.
fn masked(response: &Response, request: &Request) -> Response {
    let mut masked = response.clone();
    let boundary = boundary(response);
    // The fields of this connection are judged by whoever uses it.
    masked.fields.retain(|(name, _)| name != "connection" && name != "transfer-encoding");
    for (name, value) in &mut masked.fields {
        match name.as_str() {
            "date" if is_date(value) => *value = b"now".to_vec(),
            "content-type" => *value = without(value, boundary.as_deref()),
            "proxy-status" => mask_age(value),
            // An echo is as long as what arrived, which is compared by itself; several ranges have boundaries between them.
            "content-length" if response.has("x-echo") || boundary.is_some() => *value = b"some".to_vec(),
            _ => {}
        }
    }
    if request.method == "HEAD" {
        masked.framing = Framing::NoBody;
    }
    masked.body = without(&masked.body, boundary.as_deref());
    masked
}

/// The boundary of several ranges, which servers draw anew each time.
fn boundary(response: &Response) -> Option<Vec<u8>> {
    let kind = response.values("content-type").next()?;
    kind.strip_prefix(b"multipart/byteranges; boundary=").map(<[u8]>::to_vec)
}

fn without(bytes: &[u8], boundary: Option<&[u8]>) -> Vec<u8> {
    let Some(boundary) = boundary.filter(|boundary| !boundary.is_empty()) else { return bytes.to_vec() };
    let mut masked = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let Some(&first) = rest.first() {
        match rest.strip_prefix(boundary) {
            Some(after) => {
                masked.extend_from_slice(b"BOUNDARY");
                rest = after;
            }
            None => {
                masked.push(first);
                rest = &rest[1..];
            }
        }
    }
    masked
}

/// `Sun, 06 Nov 1994 08:49:37 GMT` (RFC 9110 §5.6.7).
fn is_date(value: &[u8]) -> bool {
    value.len() == 29 && value.ends_with(b" GMT")
}

fn mask_age(value: &mut Vec<u8>) {
    const BEFORE: &[u8] = b"marketgate; received-status=401; details=\"token ";
    if let Some(rest) = value.strip_prefix(BEFORE) {
        let digits = rest.iter().take_while(|octet| octet.is_ascii_digit()).count();
        *value = [BEFORE, b"0", &rest[digits..]].concat();
    }
}
