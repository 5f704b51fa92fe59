//! What commands say when something is wrong, and that they keep their word: exit codes, streams, errors as data.

use std::{fs::File, path::Path, process::Stdio, time::Instant};

use serde_json::Value;

use crate::program::{Gate, PATIENCE, Said, command, doors, ended, exchange, free_ports, get, say};

const KEY_APP: &str = "[apps.shop]\nprovider = \"depop\"\nenvironment = \"simulator\"\nsimulator = \"SIM\"\napi_key = \"pak_shop1\"\n";

fn configured(apps: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let [proxy, admin, nobody] = free_ports();
    let apps = apps.replace("SIM", &format!("http://127.0.0.1:{nobody}"));
    std::fs::write(folder.path().join("proxy.toml"), doors(proxy, admin) + &apps).unwrap();
    folder
}

/// The one error that a command told as data.
#[track_caller]
fn error(said: &Said) -> Value {
    let last = said.err.lines().last().unwrap_or_default();
    let document: Value = serde_json::from_str(last).unwrap_or_else(|e| panic!("{e}: {said:?}"));
    document["error"].clone()
}

#[test]
fn every_failure_has_the_exit_code_of_the_table_and_is_told_as_data_to_those_who_ask_for_json() {
    let folder = configured(KEY_APP);
    std::fs::write(folder.path().join("wrong.toml"), "[apps.x]\nprovider = \"ebay\"\n").unwrap();
    std::fs::create_dir(folder.path().join("dir")).unwrap();
    for (arguments, exit, code, word) in [
        (&["check", "-c", "absent.toml"][..], 3, "configuration", "absent.toml"),
        (&["check", "-c", "wrong.toml"], 3, "configuration", "ebay"),
        (&["run", "-c", "dir"], 3, "configuration", "it is a directory"),
        (&["frobnicate"], 2, "usage", "frobnicate"),
        (&["run", "--fast"], 2, "usage", "--fast"),
        (&["token", "nope"], 2, "usage", "nope"),
        (&["accounts", "typo"], 2, "usage", "typo"),
        (&["accounts", "--app", "shop", "show", "shop@default"], 2, "usage", "--app"),
        (&["explain", "/shop/x", "GET"], 2, "usage", "/shop/x"),
        (&["explain", "GET", "/nope/x"], 1, "failure", "nope"),
        (&["init", "--provider", "depop", "proxy.toml"], 1, "failure", "proxy.toml"),
        (&["init", "-c", "a.toml", "--provider", "depop", "b.toml"], 2, "usage", "a.toml"),
        (&["status"], 5, "unreachable", "no Marketgate answers"),
        (&["health"], 5, "unreachable", "127.0.0.1"),
        (&["stop"], 5, "unreachable", "no Marketgate answers"),
        (&["wait", "--timeout", "1s"], 5, "unreachable", "127.0.0.1"),
        (&["check", "--online"], 5, "unreachable", "not every account"),
        (&["store", "restore", "absent.db"], 6, "store", "no"),
    ] {
        let plain = say(folder.path(), arguments);
        assert_eq!(plain.code, Some(exit), "{arguments:?}: {plain:?}");
        assert!(plain.err.contains(word), "{arguments:?}: {plain:?}");
        let said = say(folder.path(), &[arguments, &["-o", "json"]].concat());
        assert_eq!(said.code, Some(exit), "{arguments:?}: {said:?}");
        let error = error(&said);
        assert_eq!(
            (error["code"].as_str(), error["exit"].as_i64()),
            (Some(code), Some(i64::from(exit))),
            "{said:?}"
        );
        assert!(error["message"].as_str().unwrap().len() > 5, "{said:?}");
    }
    assert!(!folder.path().join("a.toml").exists() && !folder.path().join("b.toml").exists());
}

#[test]
fn flags_may_stand_anywhere() {
    let folder = configured(KEY_APP);
    for arguments in [
        &["-c", "proxy.toml", "accounts", "show", "shop@default"][..],
        &["accounts", "-c", "proxy.toml", "show", "shop@default"],
        &["accounts", "show", "-c", "proxy.toml", "shop@default"],
        &["accounts", "show", "shop@default", "-c", "proxy.toml"],
        &["accounts", "--server", "http://127.0.0.1:1", "show", "shop@default"],
        &["accounts", "show", "shop@default", "--server", "http://127.0.0.1:1", "-o", "json"],
    ] {
        // Nobody runs, which is the next thing to be told.
        assert_eq!(say(folder.path(), arguments).code, Some(5), "{arguments:?}");
    }
}

#[test]
fn what_is_no_configuration_is_told_as_that_at_once_and_in_few_words() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    assert!(std::process::Command::new("mkfifo").arg(path("pipe")).status().unwrap().success());
    std::fs::write(path("binary"), [0, 159, 146, 150].repeat(100_000)).unwrap();
    std::fs::write(path("text"), "no key = at all ?\n".repeat(100_000)).unwrap();
    std::fs::create_dir(path("dir")).unwrap();
    for (file, word) in [
        ("pipe", "nothing comes out of it"),
        ("binary", "not UTF-8"),
        ("text", "more, of which these"),
        ("dir", "it is a directory"),
        ("absent", "No such file"),
    ] {
        let begun = Instant::now();
        let said = say(folder.path(), &["check", "-c", file]);
        assert!(begun.elapsed() < PATIENCE);
        assert_eq!(said.code, Some(3), "{file}: {said:?}");
        assert!(said.err.contains(word), "{file}: {}", said.err);
        assert!(said.err.lines().count() < 250, "{file}: {} lines", said.err.lines().count());
    }
    // What a shell makes of `<(…)` is a pipe, too.
    let text = "[apps.x]\\nprovider = \\\"ebay\\\"\\n";
    let mut shell = std::process::Command::new("bash");
    let script = format!("\"$0\" check -c <(printf \"{text}\")");
    shell
        .args(["-c", &script, env!("CARGO_BIN_EXE_marketgate")])
        .current_dir(folder.path())
        .stdin(Stdio::null());
    let said = ended(shell);
    assert!(said.code == Some(3) && said.err.contains("ebay"), "{said:?}");
}

#[test]
fn warnings_of_the_configuration_are_for_check_and_run_to_tell() {
    let folder = configured(&format!("{KEY_APP}[callers.c]\nkey = \"k\"\n"));
    let tells = |arguments: &[&str]| say(folder.path(), arguments).err.contains("warning");
    assert!(tells(&["check"]));
    for arguments in
        [&["token", "shop"][..], &["explain", "GET", "/shop/x"], &["status"], &["wait", "--timeout", "1s"]]
    {
        assert!(!tells(arguments), "{arguments:?}");
    }
}

#[test]
fn what_looks_like_a_slip_is_told_by_check() {
    let folder = configured(
        "[apps.v3]\nprovider = \"walmart-marketplace\"\nenvironment = \"simulator\"\nclient_id = \"a\"\nclient_secret = \"b\"\n\
         market = \"usa\"\n[callers.c]\nkey = \"k\"\n",
    );
    let said = say(folder.path(), &["check"]);
    assert_eq!(said.code, Some(0), "{said:?}");
    for words in ["`usa`", "app `v3` is called like a version", "`key` has 1 characters"] {
        assert!(said.err.contains(words), "{words} is not in {}", said.err);
    }
    // Where the admin door is, unless the file says otherwise, nothing else may be.
    std::fs::write(
        folder.path().join("proxy.toml"),
        format!("[proxy]\nlisten = \"127.0.0.1:8081\"\n{KEY_APP}"),
    )
    .unwrap();
    let said = say(folder.path(), &["check"]);
    assert!(said.code == Some(3) && said.err.contains("where the admin door listens"), "{said:?}");
}

#[test]
fn output_that_could_not_be_written_is_a_failure() {
    let folder = configured(KEY_APP);
    for arguments in
        [&["caller", "job"][..], &["check"], &["token", "shop"], &["completions", "bash"], &["man"]]
    {
        let mut command = command(folder.path(), arguments);
        command.stdout(File::create("/dev/full").unwrap()).stderr(Stdio::piped());
        let output = command.output().unwrap();
        let err = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {err}");
        assert!(err.contains("No space left"), "{arguments:?}: {err}");
    }
}

#[test]
fn explain_says_what_run_would_do_and_needs_no_secret() {
    let secret = "[apps.shop]\nprovider = \"depop\"\nenvironment = \"simulator\"\napi_key = { env = \"NOT_SET_HERE\" }\n";
    let folder = configured(secret);
    let said = say(folder.path(), &["explain", "GET", "/shop/x"]);
    assert!(said.code == Some(0) && said.out.contains("its variable is not set"), "{said:?}");
    assert!(!said.out.contains("AAAAAAA"), "{said:?}");
    for (arguments, words) in [
        (&["explain", "TRACE", "/shop/x"][..], "TRACE would show"),
        (&["explain", "CONNECT", "/shop/x"], "no_forward_proxy"),
        (&["explain", "GET", "/shop/x", "-H", "Host: evil.test"], "host_refused"),
        (&["explain", "GET", "/shop/x", "-H", "Origin: https://evil.test"], "browser_refused"),
    ] {
        let said = say(folder.path(), arguments);
        assert!(
            said.code == Some(1) && said.err.contains(words) && said.out.is_empty(),
            "{arguments:?}: {said:?}"
        );
    }
}

#[test]
fn check_online_asks_the_api_as_well_before_it_says_yes() {
    let gate = Gate::open(&format!(
        "{KEY_APP}[apps.wrong]\nprovider = \"depop\"\nenvironment = \"simulator\"\nsimulator = \"SIM\"\napi_key = \"nobody's\"\n\
         [apps.any]\nprovider = \"generic\"\napi = \"SIM/generic/api\"\ntoken_url = \"SIM/generic/oauth/token\"\n\
         client_id = \"any-1\"\nclient_secret = \"any-1-secret\"\n"
    ));
    let said = gate.say(&["check", "--online", "-o", "json"]);
    assert_eq!(said.code, Some(1), "{said:?}");
    let document: Value = serde_json::from_str(&said.out).unwrap();
    assert_eq!(document["valid"], false, "{document}");
    let of = |account: &str| {
        let all = document["online"].as_array().unwrap();
        all.iter().find(|asked| asked["account"] == account).unwrap().clone()
    };
    assert_eq!(
        (&of("shop@default")["api"]["accepted"], &of("shop@default")["error"]),
        (&true.into(), &Value::Null)
    );
    assert_eq!(
        (&of("wrong@default")["api"]["status"], &of("wrong@default")["error"]["exit"]),
        (&401.into(), &1.into())
    );
    assert_eq!((&of("any@default")["api"], &of("any@default")["error"]), (&Value::Null, &Value::Null));
    let said = gate.say(&["check", "--online"]);
    for words in
        ["shop@default: token", "the API takes it", "wrong@default: error: the API refuses", "is not checked"]
    {
        assert!(said.err.contains(words), "{words} is not in {}", said.err);
    }
}

fn init(folder: &Path, arguments: &[&str]) -> Said {
    say(folder, &[&["init"], arguments].concat())
}

#[test]
fn init_writes_where_it_is_told_to_and_names_what_to_set() {
    let folder = tempfile::tempdir().unwrap();
    let said = init(folder.path(), &["--provider", "depop", "-c", "mine.toml", "--name", "vintage"]);
    assert!(said.code == Some(0) && said.err.contains("export VINTAGE_API_KEY="), "{said:?}");
    let written = std::fs::read_to_string(folder.path().join("mine.toml")).unwrap();
    assert!(written.contains("[apps.vintage]") && !folder.path().join("proxy.toml").exists());
    let said = init(folder.path(), &["--provider", "depop", "--name", "vintage", "--stdout"]);
    assert_eq!((said.code, said.out.trim_end()), (Some(0), written.trim_end()));
    assert_eq!(
        init(folder.path(), &["--provider", "depop", "--provider", "wallapop", "--name", "x"]).code,
        Some(2)
    );
}

#[test]
fn stop_ends_the_running_one_in_order_and_waits_for_its_end() {
    for store in ["", "[store]\npath = \"m.db\"\n"] {
        let gate = Gate::open(&format!("{store}{KEY_APP}"));
        let said = gate.say(&["stop"]);
        assert_eq!(said.code, Some(0), "{said:?}");
        let ended = gate.program.ended();
        assert_eq!(ended.code, Some(0), "{ended:?}");
        assert!(ended.err.contains("stopping"), "{ended:?}");
    }
}

#[test]
fn a_program_may_end_it_with_a_key_that_allows_it_and_with_no_other() {
    let keys = "[admin.keys.job]\nkey = \"job-key-0123456789\"\nallow = [\"stop\"]\n\
                [admin.keys.reader]\nkey = \"read-key-0123456789\"\nallow = [\"accounts:read\"]\n";
    let gate = Gate::open(&format!("{keys}{KEY_APP}"));
    let stop = |key: &str| {
        exchange(
            gate.admin,
            &format!(
                "POST /api/stop HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: 0\r\n\
                 Authorization: Bearer {key}\r\n\r\n"
            ),
        )
    };
    assert!(stop("read-key-0123456789").contains("is not allowed stop"));
    assert!(stop("nobody").contains("caller_unknown"));
    assert!(get(gate.admin, "/livez", "").contains("200"));
    assert!(stop("job-key-0123456789").starts_with("HTTP/1.1 202"));
    assert_eq!(gate.program.ended().code, Some(0));
}

#[test]
fn version_tells_of_the_running_one_too_and_commands_have_their_usual_other_names() {
    let gate = Gate::open(KEY_APP);
    let own = env!("CARGO_PKG_VERSION");
    let said = gate.say(&["version", "-o", "json"]);
    assert_eq!(serde_json::from_str::<Value>(&said.out).unwrap()["running"], own, "{said:?}");
    assert_eq!(gate.say(&["validate"]).code, Some(0));
    assert!(gate.say(&["man"]).out.contains(".TH marketgate 1"));
    drop(gate.program);
    let folder = configured(KEY_APP);
    let said = say(folder.path(), &["version"]);
    assert_eq!((said.code, said.out), (Some(0), format!("marketgate {own}\n")));
    assert_eq!(say(folder.path(), &["serve", "--help"]).code, Some(0));
}
