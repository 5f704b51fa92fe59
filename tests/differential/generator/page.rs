//! Requests a marketplace would get. The rule: none of them may be refused, and each is one that its server takes.

use super::{Site, body, field, reply, target};
use crate::{
    dice::Dice,
    files::Facts,
    request::{Request, Route},
};

/// Longest path and query. With a prefix a target must stay within the gate's 8 KiB.
const LONGEST: usize = 8000;

/// Names of this machine that the gate answers to.
const HOSTS: [&str; 5] = ["localhost", "127.0.0.1:8080", "LocalHost:1", "[::1]", "127.0.0.1"];

/// A request for one of the site's pages.
pub(crate) fn request(dice: &mut Dice, site: &Site, route: Route) -> Request {
    let mut request = match dice.below(20) {
        0..=3 if !site.files.is_empty() => file(dice, site, route),
        4 if !site.own_pages.is_empty() => own_page(dice, site, route),
        5..=8 => scripted(dice, site, route),
        9 | 10 => echo(dice, site, route, "/flow"),
        _ => echo(dice, site, route, "/echo"),
    };
    if dice.one_in(25) {
        as_http10(dice, &mut request);
    }
    if matches!(route, Route::Header | Route::Listener) && !request.rest.starts_with('/') {
        // Where no prefix stands before it, the path itself cannot be empty.
        request.rest.insert(0, '/');
    }
    if request.rest.len() > LONGEST {
        request.rest = request.rest.split('?').next().unwrap_or_default().to_owned();
    }
    request
}

/// An empty GET.
pub(super) fn plain(dice: &mut Dice, rest: String, route: Route) -> Request {
    Request {
        method: "GET".to_owned(),
        rest,
        route,
        http10: false,
        host: dice.pick(&HOSTS),
        fields: Vec::new(),
        wire_body: Vec::new(),
        pieces: if dice.one_in(10) { dice.between(2, 9) } else { 1 },
        spacing: if dice.one_in(8) { dice.between(1, 4) } else { 0 },
        is_late: dice.one_in(60),
        refusal: None,
    }
}

fn echo(dice: &mut Dice, site: &Site, route: Route, page: &str) -> Request {
    let rest = target::below(dice, page);
    let mut request = plain(dice, rest, route);
    field::fill(dice, &mut request.fields);
    if dice.one_in(12) && !site.methods.is_empty() {
        request.method = dice.pick(site.methods).to_owned();
        return request;
    }
    request.method = dice
        .pick(&["GET", "GET", "GET", "HEAD", "POST", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
        .to_owned();
    let rarely = matches!(request.method.as_str(), "GET" | "HEAD" | "OPTIONS");
    if !rarely || dice.one_in(12) {
        body::add(dice, &mut request, site.has_extras);
    }
    request
}

fn scripted(dice: &mut Dice, site: &Site, route: Route) -> Request {
    let mut rest = reply::path(dice, site);
    if dice.one_in(4) {
        rest.push_str(&target::query(dice));
    }
    let mut request = plain(dice, rest, route);
    request.method = dice.pick(&["GET", "GET", "GET", "HEAD", "POST"]).to_owned();
    field::fill(dice, &mut request.fields);
    if request.method == "POST" {
        body::add(dice, &mut request, site.has_extras);
    }
    request
}

/// A file, whole or in part, under conditions or not, compressed or not.
fn file(dice: &mut Dice, site: &Site, route: Route) -> Request {
    let at = dice.below(site.files.len());
    let facts = &site.files[at];
    let mut rest = facts.path.clone();
    if dice.one_in(6) {
        rest.push_str(&target::query(dice));
    }
    let mut request = plain(dice, rest, route);
    request.method = dice.pick(&["GET", "GET", "GET", "GET", "HEAD", "OPTIONS"]).to_owned();
    if dice.one_in(2) {
        let codings = ["gzip", "gzip, deflate, br", "identity", "gzip;q=0", "*", "br;q=1.0, gzip;q=0.5", ""];
        request.fields.push(("Accept-Encoding".to_owned(), dice.pick(&codings).into()));
    }
    if dice.one_in(3) {
        request.fields.push(("Range".to_owned(), range(dice, facts.length).into_bytes()));
    }
    if dice.one_in(3) {
        let name = dice.pick(site.conditions);
        request.fields.push((name.to_owned(), condition(dice, facts, name)));
    }
    request
}

fn range(dice: &mut Dice, length: usize) -> String {
    let (a, b) = (dice.below(length + 20), dice.below(length + 20));
    match dice.below(8) {
        0 => "bytes=0-0".to_owned(),
        1 => format!("bytes={a}-"),
        2 => format!("bytes=-{a}"),
        3 => format!("bytes={}-{}", a.min(b), a.max(b)),
        4 => format!("bytes={a}-{b}"),
        5 => format!("bytes=0-1,{}-{}", a.min(b), a.max(b)),
        6 => format!("bytes=0-0, -1, {}-", length + 1),
        _ => dice.pick(&["bytes=", "bytes=x-y", "lines=1-2", "bytes=--1", "bytes=1"]).to_owned(),
    }
}

fn condition(dice: &mut Dice, facts: &Facts, name: &str) -> Vec<u8> {
    let weak = format!("W/{}", facts.etag.trim_start_matches("W/"));
    let tags = [facts.etag.as_str(), &weak, "\"other\"", "*", "\"a\", \"b\"", "unquoted", ""];
    let past = "Sat, 01 Jan 2000 00:00:00 GMT";
    let times = [facts.modified.as_str(), past, "Wed, 01 Jan 2098 00:00:00 GMT", "yesterday"];
    let is_time = name.ends_with("Since") || (name == "If-Range" && dice.one_in(2));
    if is_time { dice.pick(&times).into() } else { dice.pick(&tags).into() }
}

/// A page that the server answers by its own configuration or by an error of its own.
fn own_page(dice: &mut Dice, site: &Site, route: Route) -> Request {
    let mut rest = dice.pick(site.own_pages).to_owned();
    if dice.one_in(3) {
        rest.push_str(&target::query(dice));
    }
    let mut request = plain(dice, rest, route);
    request.method = dice.pick(&["GET", "GET", "HEAD"]).to_owned();
    field::fill(dice, &mut request.fields);
    request
}

/// The same from a caller who knows HTTP/1.0 only (RFC 1945), or that with persistent connections.
fn as_http10(dice: &mut Dice, request: &mut Request) {
    let unknown = ["transfer-encoding", "expect", "connection", "upgrade", "te", "trailer"];
    if request.fields.iter().any(|(name, _)| unknown.iter().any(|u| name.eq_ignore_ascii_case(u))) {
        return;
    }
    request.http10 = true;
    if dice.one_in(2) {
        request.fields.push(("Connection".to_owned(), b"keep-alive".to_vec()));
    }
}
