//! The house's two structural rules, read off the source text.

use std::path::{Path, PathBuf};

/// Top to bottom: a file imports only from its own floor's module or from floors below.
const FLOORS: [&str; 17] = [
    "main",
    "cli",
    "gateway",
    "admin",
    "proxy",
    "http",
    "accounts",
    "grant",
    "oauth",
    "store",
    "net",
    "telemetry",
    "config",
    "tls",
    "provider",
    "metrics",
    "ground",
];

/// Everybody's ground: these import only each other.
const GROUND: [&str; 6] = ["token", "secret", "clock", "chance", "names", "dots"];

fn sources() -> Vec<(PathBuf, String)> {
    fn walk(folder: &Path, out: &mut Vec<(PathBuf, String)>) {
        for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
            let path = entry.path();
            if path.is_dir() {
                walk(&path, out);
            } else if path.extension().is_some_and(|e| e == "rs") {
                out.push((path.clone(), std::fs::read_to_string(&path).unwrap()));
            }
        }
    }
    let mut out = Vec::new();
    walk(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut out);
    out
}

fn module(path: &Path) -> String {
    let relative = path.strip_prefix(Path::new(env!("CARGO_MANIFEST_DIR")).join("src")).unwrap();
    let first = relative.components().next().unwrap().as_os_str().to_str().unwrap();
    first.trim_end_matches(".rs").to_owned()
}

fn floor(module: &str) -> usize {
    let name = if GROUND.contains(&module) { "ground" } else { module };
    FLOORS.iter().position(|floor| *floor == name).unwrap_or_else(|| panic!("`{module}` stands on no floor"))
}

/// Every module of the crate that a file names, in `use crate::{…}` trees or in place.
fn named_modules(text: &str) -> Vec<String> {
    let code: String =
        text.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n");
    let mut out = Vec::new();
    for (at, _) in code.match_indices("crate::") {
        let rest = &code[at + "crate::".len()..];
        match rest.strip_prefix('{') {
            Some(tree) => out.extend(first_segments(tree)),
            None => out.push(word(rest)),
        }
    }
    out.retain(|name| !name.is_empty());
    out
}

fn word(text: &str) -> String {
    text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
}

fn first_segments(tree: &str) -> Vec<String> {
    let (mut depth, mut start, mut out) = (0, true, Vec::new());
    for (at, c) in tree.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => start = true,
            c if start && c.is_alphabetic() => {
                out.push(word(&tree[at..]));
                start = false;
            }
            _ => {}
        }
    }
    out
}

#[test]
fn every_file_imports_only_downwards() {
    let mut wrong = Vec::new();
    for (path, text) in sources() {
        let from = module(&path);
        if matches!(from.as_str(), "lib" | "sim" | "main") {
            continue;
        }
        for to in named_modules(&text).into_iter().filter(|to| *to != from) {
            if to == "sim" && from == "cli" {
                continue;
            }
            if floor(&to) <= floor(&from)
                && !(GROUND.contains(&to.as_str()) && GROUND.contains(&from.as_str()))
            {
                wrong.push(format!("{} imports {to}", path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn the_simulator_imports_nothing_of_ours() {
    for (path, text) in sources().into_iter().filter(|(path, _)| module(path) == "sim") {
        let foreign: Vec<_> = named_modules(&text).into_iter().filter(|name| name != "sim").collect();
        assert!(foreign.is_empty(), "{} imports {foreign:?}", path.display());
        assert!(!text.contains("marketgate::"), "{}", path.display());
    }
}
