//! The documents say what is true: configurations that stand there are valid, and command lines can be typed.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use clap::{CommandFactory, Parser};
use marketgate::cli::Arguments;

use crate::program::{command, ended};

/// The pages, with their texts.
fn pages() -> Vec<(PathBuf, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let docs = std::fs::read_dir(root.join("docs")).unwrap().map(|entry| entry.unwrap().path());
    let pages =
        docs.chain([root.join("README.md")]).filter(|path| path.extension().is_some_and(|e| e == "md"));
    pages.map(|path| (path.clone(), std::fs::read_to_string(path).unwrap())).collect()
}

/// The blocks of code in one of these languages, each with the number of its first line.
fn blocks(text: &str, languages: &[&str]) -> Vec<(usize, String)> {
    let (mut blocks, mut open) = (Vec::new(), None);
    for (number, line) in (1..).zip(text.lines()) {
        let fence = line.trim_start().strip_prefix("```");
        open = match (open, fence) {
            (None, Some(language)) => Some((languages.contains(&language), number + 1, String::new())),
            (Some((is_wanted, first, block)), Some(_)) => {
                if is_wanted {
                    blocks.push((first, block));
                }
                None
            }
            (Some((is_wanted, first, block)), None) => Some((is_wanted, first, block + line + "\n")),
            (None, None) => None,
        };
    }
    blocks
}

/// What stands between `before` and the next quotation mark, each time.
fn quoted<'t>(text: &'t str, before: &str) -> Vec<&'t str> {
    text.split(before).skip(1).filter_map(|rest| rest.split('"').next()).collect()
}

/// A value that fits a variable of this name; each another one.
fn value(number: usize, name: &str) -> String {
    match name {
        name if name.contains("STORE") => "A".repeat(43) + "=",
        name if name.contains("SHA256") => format!("{number:064x}"),
        name => format!("value-of-{name}"),
    }
}

#[test]
fn every_configuration_in_the_documents_is_valid() {
    let mut tried = 0;
    for (page, text) in pages() {
        for (line, block) in blocks(&text, &["toml"]) {
            if !block.contains("provider =") {
                continue;
            }
            let folder = tempfile::tempdir().unwrap();
            // Absolute paths are another machine's.
            let there = folder.path().display();
            let block = block.replace("file = \"/", &format!("file = \"{there}/"));
            for file in quoted(&block, "file = \"") {
                let path = folder.path().join(file);
                std::fs::create_dir_all(path.parent().unwrap()).unwrap();
                std::fs::write(path, format!("secret-of-{}\n", file.replace('/', "-"))).unwrap();
            }
            std::fs::write(folder.path().join("proxy.toml"), &block).unwrap();
            let mut check = command(folder.path(), &["check"]);
            let variables = quoted(&block, "env = \"").into_iter().enumerate();
            check.envs(variables.map(|(number, name)| (name, value(number, name))));
            let said = ended(check);
            assert_eq!(said.code, Some(0), "{}:{line}: {}", page.display(), said.err);
            tried += 1;
        }
    }
    assert!(tried >= 25, "{tried} configurations");
}

/// The words of a command line as a shell sees them, up to what goes on after the command.
fn words(line: &str) -> Vec<String> {
    let (mut words, mut word, mut quote) = (Vec::new(), String::new(), None);
    for c in line.chars() {
        match (c, quote) {
            ('\'' | '"', None) => quote = Some(c),
            (c, Some(q)) if c == q => quote = None,
            (' ', None) => words.push(std::mem::take(&mut word)),
            (c, _) => word.push(c),
        }
    }
    words.push(word);
    let ends = |word: &String| ["<", ">", "|", "||", "&", "&&", ";", "#", "2>&1"].contains(&word.as_str());
    words.into_iter().take_while(|word| !ends(word)).filter(|word| !word.is_empty()).collect()
}

#[test]
fn every_command_line_in_the_documents_can_be_typed() {
    let mut tried = BTreeSet::new();
    for (page, text) in pages() {
        for (first, block) in blocks(&text, &["sh", "console", "bash", "text", ""]) {
            for (number, line) in (first..).zip(block.lines()) {
                let line = line.trim_start().trim_start_matches("$ ");
                for part in line.split(" && ") {
                    if !part.starts_with("marketgate ") || part.contains('…') || part.contains("APP") {
                        continue;
                    }
                    let parsed = Arguments::try_parse_from(words(part));
                    assert!(parsed.is_ok(), "{}:{number}: {part}: {}", page.display(), parsed.unwrap_err());
                    tried.insert(part.to_owned());
                }
            }
        }
    }
    assert!(tried.len() >= 30, "{} command lines", tried.len());
}

#[test]
fn every_command_has_examples_and_they_can_be_typed() {
    let mut tried = 0;
    for command in Arguments::command().get_subcommands() {
        let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
        let is_shown =
            help.contains("Example") && help.contains(&format!("marketgate {}", command.get_name()));
        assert!(is_shown, "{}", command.get_name());
        for example in help.lines().filter_map(|line| line.strip_prefix("  ")) {
            if !example.starts_with("marketgate ") {
                continue;
            }
            // What is said about it stands apart.
            let line = example.split("  ").next().unwrap();
            let parsed = Arguments::try_parse_from(words(line));
            assert!(parsed.is_ok(), "{example}: {}", parsed.unwrap_err());
            tried += 1;
        }
    }
    assert!(tried > 30, "{tried} examples");
}
