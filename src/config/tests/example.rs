//! `proxy.toml.example` is right, complete, and stays so.

use std::collections::BTreeSet;

use super::{APP, read_in};
use crate::config::{Loaded, parse, schema};

const EXAMPLE: &str = include_str!("../../../proxy.toml.example");

/// What a line of the example is.
enum Line<'e> {
    /// `[section]`, written as [`schema::Shape::name`] writes it.
    Header { name: String, live: bool },
    /// `key = …`.
    Key { name: &'e str, live: bool },
    /// Words, or nothing.
    Other,
}

fn line(text: &str) -> Line<'_> {
    let (text, live) = text.strip_prefix("# ").map_or((text, true), |rest| (rest, false));
    if text.starts_with('[') {
        let name = text.trim_matches(['[', ']']).split('.').collect::<Vec<_>>();
        let name = match name.as_slice() {
            ["apps", _] => "apps.NAME".to_owned(),
            ["apps", _, "accounts", _] => "apps.NAME.accounts.SELLER".to_owned(),
            ["callers", _] => "callers.NAME".to_owned(),
            ["admin", "keys", _] => "admin.keys.NAME".to_owned(),
            plain => plain.join("."),
        };
        return Line::Header { name, live };
    }
    let name = text.split_once(" = ").map_or("", |(name, _)| name);
    let key = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"_.-".contains(&b));
    if key { Line::Key { name, live } } else { Line::Other }
}

/// The example with everything behind a `#` live that is no words; of the commented sections only those `wanted`, by
/// their number.
fn with_sections(wanted: impl Fn(usize) -> bool) -> (String, usize) {
    let (mut text, mut section, mut open) = (String::new(), 0, true);
    for each in EXAMPLE.lines() {
        match line(each) {
            Line::Header { live, .. } => {
                section += usize::from(!live);
                open = live || wanted(section);
            }
            Line::Key { .. } | Line::Other => {}
        }
        let commented =
            matches!(line(each), Line::Header { live: false, .. } | Line::Key { live: false, .. });
        text.push_str(if commented && open { &each[2..] } else { each });
        text.push('\n');
    }
    (text, section)
}

/// Reads a text with all its variables set and its files there.
fn read(text: &str) -> Loaded {
    let directory = tempfile::tempdir().unwrap();
    let ca = rcgen::generate_simple_self_signed(["ca.test".to_owned()]).unwrap();
    for (file, text) in [
        ("corporate-ca.pem", ca.cert.pem()),
        ("client.pem", ca.cert.pem()),
        ("client.key", ca.signing_key.serialize_pem()),
    ] {
        std::fs::write(directory.path().join(file), text).unwrap();
    }
    let variable = |name: &str| {
        Some(if name == "HTTPS_PROXY" { "http://egress:3128".to_owned() } else { format!("value-of-{name}") })
    };
    let loaded = parse("proxy.toml.example", text, directory.path(), &variable);
    loaded.unwrap_or_else(|error| panic!("{}", error.render(false)))
}

#[test]
fn the_example_is_right_as_it_stands_and_holds_the_defaults() {
    let loaded = read(EXAMPLE);
    assert!(loaded.warnings.is_empty(), "{:?}", loaded.warnings);
    let app = EXAMPLE.find("\n[apps.walmart]").unwrap();
    let bare = read(&EXAMPLE[app..]);
    assert_eq!(format!("{:?}", loaded.settings), format!("{:?}", bare.settings));
}

#[test]
fn everything_behind_a_hash_is_right_too() {
    let (_, count) = with_sections(|_| false);
    assert!(count >= 8, "the example has commented sections: {count}");
    for one in (0..=count).filter(|one| *one != shops_account()) {
        let loaded = read(
            &with_sections(|section| section == one || (section == shops_account() && one + 1 == section)).0,
        );
        assert!(loaded.warnings.is_empty(), "{:?}", loaded.warnings);
    }
    assert_eq!(read(&with_sections(|_| true).0).settings.apps.len(), 8);
}

/// The one commented section that cannot stand without the one before it, nor that one without it.
fn shops_account() -> usize {
    let before = EXAMPLE.lines().take_while(|line| *line != "# [apps.shops.accounts.vintage]");
    1 + before.filter(|each| matches!(line(each), Line::Header { live: false, .. })).count()
}

#[test]
fn the_example_shows_every_key_there_is() {
    let mut shown: BTreeSet<(String, String)> = BTreeSet::new();
    let mut section = String::new();
    for each in EXAMPLE.lines() {
        match line(each) {
            Line::Header { name, .. } => {
                let parts: Vec<&str> = name.split('.').collect();
                // A section is a key of the section above it: `apps.NAME.accounts.SELLER` of `apps.NAME`.
                for at in 0..parts.len() {
                    shown.insert((parts[..at].join("."), parts[at].to_owned()));
                }
                section = name;
            }
            Line::Key { name, .. } => drop(shown.insert((section.clone(), name.to_owned()))),
            Line::Other => {}
        }
    }
    let keys = schema::SHAPES.iter().flat_map(|shape| shape.keys.iter().map(|key| (shape.name, *key)));
    let settings = schema::every_setting().map(|setting| ("apps.NAME", setting));
    let missing: Vec<_> =
        keys.chain(settings).filter(|(s, k)| !shown.contains(&((*s).to_owned(), (*k).to_owned()))).collect();
    assert!(missing.is_empty(), "proxy.toml.example does not show {missing:?}");
}

#[test]
fn every_key_that_is_known_is_read() {
    let account =
        "[apps.x]\nprovider = \"generic\"\nenvironment = \"simulator\"\ncredentials = \"per-account\"\n";
    for shape in schema::SHAPES {
        for key in shape.keys {
            let (head, above) = match shape.name {
                "" => (String::new(), ""),
                "proxy.listener" => ("[[proxy.listener]]\n".to_owned(), ""),
                "apps.NAME.accounts.SELLER" => ("[apps.x.accounts.y]\n".to_owned(), account),
                "apps.NAME" if *key == "provider" => ("[apps.x]\n".to_owned(), ""),
                "apps.NAME" if *key == "environment" => ("[apps.x]\nprovider = \"depop\"\n".to_owned(), ""),
                "apps.NAME" => {
                    ("[apps.x]\nprovider = \"generic\"\nenvironment = \"simulator\"\n".to_owned(), "")
                }
                name => (format!("[{}]\n", name.replace("NAME", "x")), ""),
            };
            let before = format!("{above}{head}");
            let wrong = read_in(std::path::Path::new(""), &format!("{before}{key} = 1979-05-27\n{APP}"));
            let number = before.lines().count() + 1;
            let findings = wrong.expect_err("a date is right nowhere");
            let here = findings.findings().iter().find(|finding| finding.line == Some(number));
            let message = here.map(|finding| finding.message.as_str()).unwrap_or_default();
            assert!(message.contains("must be"), "[{}] {key}: {message:?} in {findings}", shape.name);
        }
    }
}
