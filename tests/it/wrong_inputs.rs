//! Commands that are called wrongly, in some hundred ways: each says which word is wrong and what helps, on stderr, with the exit
//! code of the table.

use std::path::Path;

use crate::program::say;

const CONFIGURATION: &str = "[proxy]\nlisten = \"127.0.0.1:9\"\n[admin]\nlisten = \"127.0.0.1:1\"\n[store]\npath = \"m.db\"\n\
    [apps.shop]\nprovider = \"depop\"\nenvironment = \"simulator\"\nclient_id = \"a\"\nclient_secret = \"secret-of-a\"\n\
    redirect_uri = \"http://localhost:8082/callback\"\n";

/// Every command with arguments that it takes, whether it asks a server, and whether it reads the configuration.
const COMMANDS: [(&str, bool, bool); 29] = [
    ("run", false, true),
    ("serve", false, true),
    ("stop", true, true),
    ("demo", false, false),
    ("sim", false, false),
    ("check", false, true),
    ("validate", false, true),
    ("init --provider depop x.toml", false, false),
    ("login shop@a", true, true),
    ("logout shop@a", true, true),
    ("accounts", true, true),
    ("accounts show shop@a", true, true),
    ("accounts remove shop@a --yes", true, true),
    ("accounts resume shop@a", true, true),
    ("accounts refresh shop@a", true, true),
    ("import shop@a", true, true),
    ("export shop@a --to-file x", true, true),
    ("token shop@a", true, true),
    ("status", true, true),
    ("explain GET /shop/x", false, true),
    ("caller job", false, false),
    ("wait", true, true),
    ("health", false, true),
    ("store backup /nowhere/x", false, true),
    ("store restore x", false, true),
    ("store rekey", false, true),
    ("version", true, false),
    ("man", false, false),
    ("completions bash", false, false),
];

/// Commands that take an account.
const OF_ACCOUNTS: [&str; 8] = [
    "login",
    "logout",
    "accounts show",
    "accounts refresh",
    "import",
    "export --to-file x",
    "token",
    "wait --timeout 1s",
];

/// Names that are none, shortened to what is shown of them.
const NO_ACCOUNTS: [(&str, &str); 10] = [
    ("@", "@"),
    ("a@", "a@"),
    ("@b", "@b"),
    ("A B", "A B"),
    ("shop@y@z", "shop@y@z"),
    ("", ""),
    ("../x", "../x"),
    ("shop@é", "shop@é"),
    ("shop@a b", "shop@a b"),
    ("-x", "-x"),
];

/// Single mistakes: words joined by `|`, and what must be named.
const SINGLE: &[(&str, u8, &str)] = &[
    ("explain|GET", 2, "PATH"),
    ("explain", 2, "METHOD"),
    ("explain|GET|x", 2, "`/`"),
    ("explain|G T|/x", 2, "G T"),
    ("explain|/shop/x|GET", 2, "/shop/x"),
    ("explain|GET|/shop/x|-H|nocolon", 2, "nocolon"),
    ("explain|GET|/shop/x|-H|a b: c", 2, "a b: c"),
    ("explain|GET|/shop/x|-H|: c", 2, ": c"),
    ("explain|GET|/sh op/x", 2, "/sh op/x"),
    ("explain|GET|/nope/x", 1, "nope"),
    ("init|--provider|ebay|y.toml", 2, "ebay"),
    ("init|--provider|depop:moon|y.toml", 2, "moon"),
    ("init|--provider|depop|--grant|magic|y.toml", 2, "magic"),
    ("init|--provider|depop|--name|A B|y.toml", 2, "A B"),
    ("init|--provider|depop|--provider|depop|y.toml", 2, "depop"),
    ("init|--provider|depop|proxy.toml", 1, "proxy.toml"),
    ("init|--provider|depop|absent/y.toml", 1, "absent/y.toml"),
    ("completions|tcsh", 2, "tcsh"),
    ("sim|--listen|nowhere", 2, "nowhere"),
    ("sim|--listen|127.0.0.1:99999", 2, "127.0.0.1:99999"),
    ("sim|--seed|x", 2, "x"),
    ("demo|--port|x", 2, "x"),
    ("demo|--port|99999", 2, "99999"),
    ("caller|A B", 2, "A B"),
    ("caller|", 2, "NAME"),
    ("accounts|--state|tired", 2, "tired"),
    ("accounts|Typo!", 2, "Typo!"),
    ("accounts|typo", 2, "typo"),
    ("import|shop|--file|absent.jsonl", 1, "absent.jsonl"),
    ("import|shop@a|--set|novalue", 2, "novalue"),
    ("import|shop|--file|x|--validate|later", 2, "later"),
    ("store|copy", 2, "copy"),
    ("store|restore|absent.db", 6, "absent.db"),
];

fn cases() -> Vec<(Vec<String>, u8, String)> {
    let mut cases = Vec::new();
    let mut add = |command: &str, more: &[&str], exit: u8, named: &str| {
        let words = command.split(' ').chain(more.iter().copied());
        cases.push((words.map(str::to_owned).collect(), exit, named.to_owned()));
    };
    for (command, asks_server, is_configured) in COMMANDS {
        add(command, &["--nope"], 2, "--nope");
        add(command, &["--confg", "x"], 2, "--confg");
        add(command, &["-c"], 2, "--config");
        add(command, &["-o", "yaml"], 2, "yaml");
        add(command, &["--output="], 2, "--output");
        add(command, &["-Z"], 2, "-Z");
        let (first, rest) = command.split_once(' ').unwrap_or((command, ""));
        let misspelt = format!("{first}x");
        add(&misspelt, &rest.split(' ').filter(|word| !word.is_empty()).collect::<Vec<_>>(), 2, &misspelt);
        if !matches!(first, "accounts" | "wait") {
            add(command, &["surplus"], 2, "surplus");
        }
        if is_configured {
            add(command, &["-c", "absent.toml"], 3, "absent.toml");
            add(command, &["-c", "."], 3, "directory");
        }
        if asks_server {
            for server in ["not a url", "ftp://x", "http://x:99999", ""] {
                add(command, &["--server", server], 2, if server.is_empty() { "server" } else { server });
            }
            add(command, &["--key-file", "k"], 2, "--server");
            add(command, &["--server", "http://127.0.0.1:1", "--key-file", "absent"], 2, "absent");
        }
    }
    for command in OF_ACCOUNTS {
        NO_ACCOUNTS.iter().for_each(|(name, shown)| add(command, &[name], 2, shown));
        add(command, &[&format!("shop@{}", "a".repeat(300))], 2, "shop@aaaaa");
    }
    for command in ["wait", "login shop@a", "stop"] {
        ["5", "fast", "-1s", "1w", ""].iter().for_each(|time| add(command, &["--timeout", time], 2, time));
    }
    let single = SINGLE.iter().map(|(words, exit, named)| {
        (words.split('|').map(str::to_owned).collect(), *exit, (*named).to_owned())
    });
    cases.extend(single);
    cases
}

/// What a message has that knows a way out.
const WAYS_OUT: [&str; 4] = ["help:", "= help", "For more information", "Usage:"];

fn complaint(folder: &Path, (words, exit, named): &(Vec<String>, u8, String)) -> Option<String> {
    let said = say(folder, &words.iter().map(String::as_str).collect::<Vec<_>>());
    let wrong = [
        (said.code != Some(i32::from(*exit)), "the exit code"),
        (!said.out.is_empty(), "something on stdout"),
        (!said.err.contains(named.as_str()), "what is wrong is not named"),
        (!WAYS_OUT.iter().any(|way| said.err.contains(way)), "no way out"),
    ];
    let wrong: Vec<_> = wrong.into_iter().filter(|(is_wrong, _)| *is_wrong).map(|(_, what)| what).collect();
    (!wrong.is_empty()).then(|| format!("{words:?} ({exit}, {named:?}): {wrong:?}: {said:?}"))
}

#[test]
fn whatever_is_wrong_with_a_command_line_is_named_with_a_way_out() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("proxy.toml"), CONFIGURATION).unwrap();
    let cases = cases();
    assert!(cases.len() >= 400, "{} cases", cases.len());
    let complaints: Vec<String> = std::thread::scope(|scope| {
        let parts = cases.chunks(cases.len().div_ceil(4));
        let path = folder.path();
        let workers: Vec<_> = parts
            .map(|part| {
                scope.spawn(move || part.iter().filter_map(|case| complaint(path, case)).collect::<Vec<_>>())
            })
            .collect();
        workers.into_iter().flat_map(|worker| worker.join().unwrap()).collect()
    });
    assert!(complaints.is_empty(), "{} of {}:\n{}", complaints.len(), cases.len(), complaints.join("\n"));
}
