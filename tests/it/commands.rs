//! The commands as people and scripts use them: the built program in processes of its own.

use std::{
    io::{Read, Write},
    net::TcpStream,
    path::Path,
    process::Stdio,
};

use serde_json::{Value, json};

use crate::{
    placeholder::fill,
    program::{
        Gate, PATIENCE, Program, assert_silent, befall, command, doors, ended, exchange, free_ports, get,
        say, simulator,
    },
};

/// A generic app and Walmart, both at the simulator.
const APPS: &str = r#"
[apps.any]
provider = "generic"
api = "SIM/generic/api"
token_url = "SIM/generic/oauth/token"
client_id = "any-1"
client_secret = "any-1-secret"
[apps.walmart]
provider = "walmart-marketplace"
environment = "simulator"
simulator = "SIM"
client_id = "seller-1"
client_secret = "seller-1-secret"
[apps.many]
provider = "generic"
api = "SIM/generic/api"
token_url = "SIM/generic/oauth/token"
credentials = "per-account"
[apps.many.accounts.a]
client_id = "many-a"
client_secret = "many-a-secret"
[apps.many.accounts.b]
client_id = "many-b"
client_secret = "many-b-secret"
"#;

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

fn write(folder: &Path, text: &str) {
    std::fs::write(folder.join("proxy.toml"), text).unwrap();
}

/// [`APPS`] in a file, at a simulator that does not exist.
fn configured() -> tempfile::TempDir {
    let folder = folder();
    let [proxy, admin, sim] = free_ports();
    let apps = fill(APPS, &[("SIM", &format!("http://127.0.0.1:{sim}"))]);
    write(folder.path(), &(doors(proxy, admin) + &apps));
    folder
}

#[test]
fn run_serves_and_on_sigterm_finishes_what_is_under_way_and_exits_0() {
    let gate = Gate::open(APPS);
    assert!(gate.get("/any/x").starts_with("HTTP/1.1 200"));
    befall(&gate.sim, &json!({ "on": "api", "fault": { "kind": "delay", "ms": 700 } }));
    let mut idle = TcpStream::connect(gate.proxy).unwrap();
    idle.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut under_way = TcpStream::connect(gate.proxy).unwrap();
    under_way.set_read_timeout(Some(PATIENCE)).unwrap();
    under_way.write_all(b"GET /any/slow HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    let address = gate.sim.trim_start_matches("http://").parse().unwrap();
    while !get(address, "/sim/requests", "").contains("/generic/api/slow") {}
    gate.program.signal("TERM");
    let mut answer = String::new();
    under_way.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("/generic/api/slow"), "{answer}");
    assert_eq!(idle.read(&mut [0]).unwrap(), 0, "an idle connection stayed open");
    let Gate { program, proxy, .. } = gate;
    let said = program.ended();
    assert_eq!(said.code, Some(0), "{}", said.err);
    assert_silent(proxy);
    assert_eq!(said.out, "");
    // The table of local URLs is for terminals.
    assert!(said.err.contains("\"message\":\"started\"") && !said.err.contains("try:"), "{}", said.err);
    assert!(!said.err.contains("-secret"), "{}", said.err);
}

#[test]
fn a_log_that_nobody_reads_any_more_costs_no_request() {
    let folder = folder();
    let (_sim, sim) = simulator(folder.path());
    let [proxy, admin] = free_ports();
    let talkative = "[log]\nlevel = \"debug\"\n";
    let text = doors(proxy, admin).replacen("[admin]", "access_log = true\n[admin]", 1) + talkative;
    write(folder.path(), &(text + &fill(APPS, &[("SIM", &sim)])));
    let (reader, writer) = std::io::pipe().unwrap();
    let mut run = command(folder.path(), &["run"]).stdout(Stdio::null()).stderr(writer).spawn().unwrap();
    assert_eq!(say(folder.path(), &["wait", "--timeout", "20s"]).code, Some(0));
    drop(reader);
    let address = std::net::SocketAddr::from(([127, 0, 0, 1], proxy));
    let answers: Vec<String> = ["/any/x", "/nope/x", "/walmart/v3/items", "/any/x"]
        .iter()
        .map(|path| get(address, path, "")[9..12].to_owned())
        .collect();
    rustix::process::kill_process(rustix::process::Pid::from_child(&run), rustix::process::Signal::TERM)
        .unwrap();
    let code = run.wait().unwrap().code();
    assert_eq!((answers, code), (["200", "400", "200", "200"].map(str::to_owned).to_vec(), Some(0)));
}

#[test]
fn a_second_signal_cuts_requests_under_way() {
    let gate = Gate::open(APPS);
    befall(&gate.sim, &json!({ "on": "api", "fault": { "kind": "hang" } }));
    let mut under_way = TcpStream::connect(gate.proxy).unwrap();
    under_way.write_all(b"GET /any/hang HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    let address = gate.sim.trim_start_matches("http://").parse().unwrap();
    while !get(address, "/sim/requests", "").contains("/generic/api/hang") {}
    let Gate { program, .. } = gate;
    program.signal("INT");
    program.mentions("stopping");
    let said = program.end("INT");
    assert_eq!(said.code, Some(0), "{}", said.err);
    assert!(said.err.contains("requests under way are cut off"), "{}", said.err);
}

#[test]
fn sim_says_its_url_and_ends_on_either_signal() {
    for signal in ["TERM", "INT"] {
        let folder = folder();
        let (sim, origin) = simulator(folder.path());
        let address = origin.strip_prefix("http://").unwrap().parse().unwrap();
        assert!(get(address, "/sim", "").contains("Simulated marketplaces"));
        let said = sim.end(signal);
        assert_eq!((said.code, said.out.trim()), (Some(0), origin.as_str()), "{}", said.err);
    }
    let said = say(folder().path(), &["sim", "--listen", "0.0.0.0:0"]);
    assert_eq!(said.code, Some(2));
    assert!(said.err.contains("loopback"), "{}", said.err);
}

#[test]
fn demo_prints_lines_that_work_and_leaves_nothing_behind() {
    let folder = folder();
    let demo = Program::start(folder.path(), &["demo"]);
    let said = demo.says("Ctrl-C");
    let lines: Vec<&str> = said.lines().filter_map(|line| line.trim().strip_prefix("curl -i '")).collect();
    assert_eq!(lines.len(), 6, "{said}");
    for line in lines {
        let url: url::Url = line.trim_end_matches('\'').parse().unwrap();
        let address = format!("127.0.0.1:{}", url.port().unwrap()).parse().unwrap();
        let target = &url[url::Position::BeforePath..];
        let answer = get(address, target, "");
        assert!(answer.starts_with("HTTP/1.1 200"), "{line}: {answer}");
    }
    let said = demo.end("INT");
    assert_eq!(said.code, Some(0), "{}", said.err);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "demo left files");
}

#[test]
fn demo_takes_a_free_port_when_the_usual_one_is_taken_and_refuses_one_asked_for() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let said = say(folder().path(), &["demo", "--port", &port]);
    assert_eq!((said.code, said.out.as_str()), (Some(1), ""));
    assert!(said.err.contains(&port) && said.err.contains("--port"), "{}", said.err);
}

#[test]
fn check_says_what_a_valid_configuration_comes_to() {
    let folder = configured();
    let said = say(folder.path(), &["check"]);
    assert_eq!(said.code, Some(0), "{}", said.err);
    for words in
        ["any@default", "many@a", "walmart@default", "client_credentials", "the configuration is valid"]
    {
        assert!(said.out.contains(words), "{words}: {}", said.out);
    }
    // Literal secrets work and earn a warning, on stderr and without the secret.
    assert!(said.err.contains("warning") && !said.err.contains("any-1-secret"), "{}", said.err);
    let said = say(folder.path(), &["check", "-o", "json"]);
    let document: Value = serde_json::from_str(&said.out).unwrap();
    assert_eq!(
        (document["valid"].as_bool(), document["accounts"].as_array().unwrap().len()),
        (Some(true), 4)
    );
    write(
        folder.path(),
        &(doors(1, 2)
            + &fill(APPS, &[("SIM", "http://127.0.0.1:1")])
                .replace("credentials =", "token_budget = \"174/5m\"\ncredentials =")),
    );
    let said = say(folder.path(), &["check"]);
    assert!(said.out.contains("174") && said.out.contains("this configuration has 3"), "{}", said.out);
}

#[test]
fn check_says_every_mistake_at_once_with_its_place_and_tells_no_secret() {
    let folder = folder();
    let text = "[proxy]\nlisten = \"nonsense\"\nalowed_hosts = []\n[apps.a]\nprovider = \"walmrt-marketplace\"\n\
                client_secret = \"hunter2-secret\"\n[apps.b]\nprovider = \"depop\"\nenvironment = \"moon\"\n\
                api_key = \"pak_hunter3\"\nclient_secret = \"hunter4-secret\"\n";
    write(folder.path(), text);
    for arguments in
        [&["check"][..], &["check", "-o", "json"], &["check", "--online"], &["run"], &["token", "a"]]
    {
        let said = say(folder.path(), arguments);
        assert_eq!(said.code, Some(3), "{arguments:?}: {}", said.err);
        let data: Option<serde_json::Value> = serde_json::from_str(&said.out).ok();
        let findings = data.map_or(0, |data| data["findings"].as_array().unwrap().len());
        assert!(
            if arguments.contains(&"json") { findings >= 5 } else { said.out.is_empty() },
            "{}",
            said.out
        );
        assert!(!said.out.contains("hunter"), "{}", said.out);
        for words in [
            "proxy.toml:2",
            "proxy.toml:3",
            "proxy.toml:5",
            "proxy.toml:9",
            "allowed_hosts",
            "walmart-marketplace",
        ] {
            assert!(said.err.contains(words), "{arguments:?}: {words}: {}", said.err);
        }
        assert!(!said.err.contains("hunter"), "{arguments:?}: {}", said.err);
        assert!(!said.err.contains('\u{1b}'), "colour without a terminal: {}", said.err);
    }
}

#[test]
fn a_configuration_that_is_not_there_is_named_with_where_it_was_looked_for() {
    let folder = folder();
    let said = say(folder.path(), &["check"]);
    assert_eq!((said.code, said.out.as_str()), (Some(3), ""));
    assert!(said.err.contains("proxy.toml") && said.err.contains("marketgate init"), "{}", said.err);
    let said = say(folder.path(), &["check", "--config", "nowhere.toml"]);
    assert_eq!(said.code, Some(3));
    assert!(said.err.contains("nowhere.toml"), "{}", said.err);
    std::fs::write(folder.path().join("broken.toml"), "[apps\nx = ").unwrap();
    let said = say(folder.path(), &["check", "--config", "broken.toml"]);
    assert_eq!(said.code, Some(3));
    assert!(said.err.contains("broken.toml:1"), "{}", said.err);
}

#[test]
fn the_configuration_is_found_by_variable_and_by_the_users_folder() {
    let (one, elsewhere) = (configured(), folder());
    let file = one.path().join("proxy.toml");
    let mut by_variable = command(elsewhere.path(), &["check"]);
    by_variable.env("MARKETGATE_CONFIG", &file);
    assert_eq!(ended(by_variable).code, Some(0));
    let own = elsewhere.path().join("marketgate");
    std::fs::create_dir(&own).unwrap();
    std::fs::copy(&file, own.join("proxy.toml")).unwrap();
    assert_eq!(say(elsewhere.path(), &["check"]).code, Some(0));
}

#[test]
fn init_writes_a_configuration_that_passes_once_its_variables_are_set_and_never_writes_over_one() {
    for (providers, variables) in [
        (
            &["walmart-marketplace:sandbox", "depop"][..],
            &["WALMART_CLIENT_ID", "WALMART_CLIENT_SECRET", "DEPOP_API_KEY"][..],
        ),
        (&["walmart-golocal"], &["GOLOCAL_CLIENT_ID", "GOLOCAL_CLIENT_SECRET"]),
        (&["walmart-supplier"], &["SUPPLIER_CLIENT_ID", "SUPPLIER_CLIENT_SECRET"]),
        (&["generic"], &["MY_API_CLIENT_ID", "MY_API_CLIENT_SECRET"]),
    ] {
        let folder = folder();
        let mut arguments = vec!["init"];
        providers.iter().for_each(|provider| arguments.extend(["--provider", provider]));
        let said = say(folder.path(), &arguments);
        assert_eq!((said.code, said.out.as_str()), (Some(0), ""), "{}", said.err);
        assert!(said.err.contains("marketgate check"), "{}", said.err);
        let mut check = command(folder.path(), &["check"]);
        check.envs(variables.iter().map(|name| (*name, "value-1")));
        let checked = ended(check);
        assert_eq!(checked.code, Some(0), "{providers:?}: {}", checked.err);
        assert!(!checked.err.contains("warning"), "{}", checked.err);
        let written = std::fs::read(folder.path().join("proxy.toml")).unwrap();
        let again = say(folder.path(), &arguments);
        assert_eq!(again.code, Some(1));
        assert!(again.err.contains("stays as it is"), "{}", again.err);
        assert_eq!(std::fs::read(folder.path().join("proxy.toml")).unwrap(), written);
    }
    for (provider, words) in [("ebay", "depop"), ("depop:moon", "production"), ("", "walmart-marketplace")] {
        let folder = folder();
        let said = say(folder.path(), &["init", "--provider", provider]);
        assert_eq!(said.code, Some(2), "{provider}: {}", said.err);
        assert!(said.err.contains(words), "{provider}: {}", said.err);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }
    // Nobody to ask: said rather than hung.
    let said = say(folder().path(), &["init"]);
    assert_eq!(said.code, Some(2), "{}", said.err);
    assert!(said.err.contains("--provider"), "{}", said.err);
}

#[test]
fn token_prints_the_token_and_nothing_else() {
    let gate = Gate::open(APPS);
    for account in ["any", "any@default", "many@b", "walmart"] {
        let said = gate.say(&["token", account]);
        assert_eq!(said.code, Some(0), "{account}: {}", said.err);
        let token = said.out.strip_suffix('\n').unwrap();
        assert!(token.len() > 10 && token.bytes().all(|b| b.is_ascii_graphic()), "{token:?}");
        assert!(!said.err.contains(token));
        if account == "many@b" {
            let address = gate.sim.trim_start_matches("http://").parse().unwrap();
            let answer = get(address, "/generic/api/x", &format!("Authorization: Bearer {token}\r\n"));
            assert!(answer.contains("\"account\":\"many-b\""), "{answer}");
        }
    }
    let said = gate.say(&["token", "walmart", "-o", "json"]);
    let document: Value = serde_json::from_str(&said.out).unwrap();
    assert!(document["expires_in"].as_u64().unwrap() > 0, "{document}");
    assert!(document["header"].as_str().unwrap().eq_ignore_ascii_case("WM_SEC.ACCESS_TOKEN"), "{document}");
    for (account, code, words) in [
        ("many", 2, "many@ACCOUNT"),
        ("many@c", 2, "a, b"),
        ("nope", 2, "any, many, walmart"),
        ("@", 2, "name"),
    ] {
        let said = gate.say(&["token", account]);
        assert_eq!((said.code, said.out.as_str()), (Some(code), ""), "{account}: {}", said.err);
        assert!(said.err.contains(words), "{account}: {}", said.err);
    }
}

#[test]
fn token_says_5_when_the_endpoint_cannot_be_reached_and_1_when_it_refuses() {
    let folder = folder();
    let (_sim, sim) = simulator(folder.path());
    write(
        folder.path(),
        &(doors(1, 2) + &fill(APPS, &[("SIM", &sim)]).replace("any-1-secret", "another-secret")),
    );
    let said = say(folder.path(), &["token", "any"]);
    assert_eq!((said.code, said.out.as_str()), (Some(1), ""), "{}", said.err);
    assert!(said.err.contains("client_secret") && !said.err.contains("another-secret"), "{}", said.err);
    let online = say(folder.path(), &["check", "--online"]);
    assert_eq!(online.code, Some(1), "{}", online.err);
    assert!(
        online.err.contains("any@default: ") && online.err.contains("walmart@default: token "),
        "{}",
        online.err
    );
}

#[test]
fn status_shows_accounts_as_text_and_json_and_says_5_when_nothing_runs() {
    let gate = Gate::open(APPS);
    assert!(gate.get("/any/x").starts_with("HTTP/1.1 200"));
    let said = gate.say(&["status"]);
    assert_eq!(said.code, Some(0), "{}", said.err);
    let row = said.out.lines().find(|line| line.starts_with("any@default")).unwrap();
    assert!(row.contains("ready") && row.contains("valid for"), "{}", said.out);
    assert!(
        said.out.lines().any(|line| line.starts_with("many@a") && line.contains("none yet")),
        "{}",
        said.out
    );
    let said = gate.say(&["status", "-o", "json"]);
    let accounts: Value = serde_json::from_str(&said.out).unwrap();
    assert_eq!(accounts.as_array().unwrap().len(), 4);
    assert_eq!(accounts[0]["token"]["generation"], 1, "{accounts}");
    let elsewhere = folder();
    let server = format!("http://{}", gate.admin);
    let said = say(elsewhere.path(), &["status", "--server", &server]);
    assert_eq!(said.code, Some(0), "{}", said.err);
    for arguments in [&["status"][..], &["status", "-o", "json"], &["health"], &["health", "--ready"]] {
        let said = say(configured().path(), arguments);
        assert_eq!((said.code, said.out.as_str()), (Some(5), ""), "{}", said.err);
        assert!(said.err.contains("marketgate run"), "{}", said.err);
    }
}

#[test]
fn health_says_that_it_is_well() {
    let gate = Gate::open(APPS);
    let said = gate.say(&["health"]);
    assert_eq!((said.code, said.out.as_str()), (Some(0), "ok\n"), "{}", said.err);
    let said = gate.say(&["health", "--ready"]);
    assert_eq!((said.code, said.out.as_str()), (Some(0), "ready\n"), "{}", said.err);
}

#[test]
fn explain_shows_where_a_request_would_go_and_sends_nothing() {
    let gate = Gate::open(APPS);
    let address = gate.sim.trim_start_matches("http://").parse().unwrap();
    let sent = || get(address, "/sim/requests", "").contains("\"total\": 0");
    let said = gate.say(&[
        "explain",
        "PUT",
        "/walmart/v3/items%2F1?a=b",
        "-H",
        "Authorization: Bearer my-own",
        "-H",
        "Accept: text/csv",
        "-H",
        "X-Forwarded-For: 1.2.3.4",
    ]);
    assert_eq!(said.code, Some(0), "{}", said.err);
    for words in [
        "app walmart, account default",
        &format!("PUT {}/walmart-marketplace/v3/items%2F1?a=b", gate.sim),
        "accept: text/csv",
        "wm_svc.name: Walmart Marketplace",
        "wm_sec.access_token: <token not known here",
    ] {
        assert!(said.out.contains(words), "{words}: {}", said.out);
    }
    assert!(!said.out.contains("my-own") && !said.out.contains("1.2.3.4"), "{}", said.out);
    let said = gate.say(&["explain", "GET", "/any/x", "-o", "json"]);
    let document: Value = serde_json::from_str(&said.out).unwrap();
    assert_eq!(document["url"], format!("{}/generic/api/x", gate.sim));
    assert!(sent(), "explaining sent something");
    assert!(gate.get("/any/x").starts_with("HTTP/1.1 200"));
    let status: Value = serde_json::from_str(&gate.say(&["status", "-o", "json"]).out).unwrap();
    let fingerprint = status[0]["token"]["fingerprint"].as_str().unwrap().to_owned();
    let said = gate.say(&["explain", "GET", "/any/x"]);
    assert!(said.out.contains(&format!("Bearer <token {fingerprint}>")), "{}", said.out);
    let said = gate.say(&["explain", "POST", "/walmart/v3/token"]);
    assert!(said.out.contains("nothing is sent"), "{}", said.out);
}

#[test]
fn explain_refuses_what_the_proxy_would_refuse_in_the_same_words() {
    let folder = configured();
    for (path, words) in [
        ("/walmart/../x", "bad_route"),
        ("/walmart/%2e%2e/x", "bad_route"),
        ("/many/x", "account_required"),
        ("/many@c/x", "no_such_account"),
        ("/nope/x", "no_such_app"),
        ("http://evil.test/any/x", "bad_route"),
    ] {
        let said = say(folder.path(), &["explain", "GET", path]);
        assert_eq!((said.code, said.out.as_str()), (Some(1), ""), "{path}: {}", said.err);
        assert!(said.err.contains(words) && said.err.contains("help:"), "{path}: {}", said.err);
    }
    for arguments in [
        &["explain", "G T", "/any/x"][..],
        &["explain", "GET", "any x"],
        &["explain", "GET", "/any/x", "-H", "nonsense"],
        &["explain", "GET"],
    ] {
        let said = say(folder.path(), arguments);
        assert_eq!((said.code, said.out.as_str()), (Some(2), ""), "{arguments:?}: {}", said.err);
    }
}

#[test]
fn caller_makes_a_key_whose_printed_configuration_lets_it_in() {
    let made = say(folder().path(), &["caller", "sync-job"]);
    assert_eq!(made.code, Some(0), "{}", made.err);
    let key = made.out.strip_suffix('\n').unwrap();
    assert!(key.starts_with("mgk_") && key.len() > 40 && !made.err.contains(key), "{}", made.err);
    let section = made.err.split_once("[callers.").map(|(_, rest)| format!("[callers.{rest}")).unwrap();
    let gate = Gate::open(&format!("{section}{APPS}"));
    assert!(get(gate.proxy, "/any/x", "").starts_with("HTTP/1.1 401"));
    assert!(get(gate.proxy, "/any/x", &format!("Marketgate-Key: {key}\r\n")).starts_with("HTTP/1.1 200"));
    let other = say(folder().path(), &["caller", "sync-job"]).out;
    assert_ne!(other, made.out);
    assert_eq!(say(folder().path(), &["caller", "no/name"]).code, Some(2));
}

#[test]
fn wait_waits_for_readiness_then_for_an_account_and_no_longer_than_told() {
    let gate = Gate::open(APPS);
    for arguments in [&["wait"][..], &["wait", "any"], &["wait", "many@a"]] {
        let said = gate.say(arguments);
        assert_eq!((said.code, said.out.as_str()), (Some(0), ""), "{arguments:?}: {}", said.err);
    }
    let status = gate.say(&["status"]).out;
    assert!(status.lines().any(|line| line.starts_with("many@a") && line.contains("valid for")), "{status}");
    let said = gate.say(&["wait", "many@c", "--timeout", "20s"]);
    assert_eq!(said.code, Some(5), "{}", said.err);
    befall(&gate.sim, &json!({ "on": "token", "times": null, "fault": { "kind": "status", "status": 503 } }));
    let said = gate.say(&["wait", "walmart", "--timeout", "300ms"]);
    assert_eq!(said.code, Some(5), "{}", said.err);
    let said = say(configured().path(), &["wait", "--timeout", "300ms"]);
    assert_eq!(said.code, Some(5), "{}", said.err);
    assert!(said.err.contains("no Marketgate answers"), "{}", said.err);
    assert_eq!(say(configured().path(), &["wait", "--timeout", "soon"]).code, Some(2));
}

#[test]
fn completions_are_scripts_that_know_the_commands() {
    for shell in ["bash", "zsh", "fish"] {
        let said = say(folder().path(), &["completions", shell]);
        assert_eq!((said.code, said.err.as_str()), (Some(0), ""));
        for word in ["marketgate", "explain", "status", "completions"] {
            assert!(said.out.contains(word), "{shell}: {word}");
        }
    }
    assert_eq!(say(folder().path(), &["completions", "cobol"]).code, Some(2));
}

#[test]
fn wrong_usage_is_2_on_stderr_and_help_is_0_on_stdout() {
    let folder = folder();
    for arguments in [
        &[][..],
        &["frobnicate"],
        &["run", "--nope"],
        &["token"],
        &["status", "-o", "yaml"],
        &["sim", "--listen", "here"],
    ] {
        let said = say(folder.path(), arguments);
        assert_eq!((said.code, said.out.as_str()), (Some(2), ""), "{arguments:?}");
        assert!(said.err.contains("Usage:") || said.err.contains("--help"), "{arguments:?}: {}", said.err);
    }
    let said = say(folder.path(), &["statsu"]);
    assert!(said.err.contains("'status'"), "{}", said.err);
    for arguments in [&["--help"][..], &["help"], &["run", "--help"], &["explain", "-h"]] {
        let said = say(folder.path(), arguments);
        assert_eq!((said.code, said.err.as_str()), (Some(0), ""), "{arguments:?}");
        assert!(said.out.contains("Usage:"));
    }
    let said = say(folder.path(), &["--version"]);
    assert_eq!((said.code, said.out.trim()), (Some(0), concat!("marketgate ", env!("CARGO_PKG_VERSION"))));
}

#[test]
fn no_colour_is_written_where_none_is_wanted() {
    let folder = folder();
    write(folder.path(), "[proxy]\nlisten = 1\n");
    for no_color in [None, Some("1")] {
        let mut check = command(folder.path(), &["check"]);
        no_color.map(|value| check.env("NO_COLOR", value));
        let said = ended(check);
        assert!(!said.err.contains('\u{1b}') && said.code == Some(3), "{}", said.err);
    }
}

#[test]
fn a_reader_that_has_seen_enough_causes_no_panic() {
    let gate = Gate::open(APPS);
    let mut panicked = Vec::new();
    for arguments in [
        &["check"][..],
        &["check", "-o", "json"],
        &["status"],
        &["status", "-o", "json"],
        &["explain", "GET", "/any/x"],
        &["explain", "GET", "/any/x", "-o", "json"],
        &["token", "any"],
        &["caller", "x"],
        &["health"],
        &["completions", "bash"],
        &["--help"],
    ] {
        let mut closed = command(gate.folder.path(), arguments);
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let mut child = closed.stdout(Stdio::from(writer)).stderr(Stdio::piped()).spawn().unwrap();
        drop(closed);
        let mut err = String::new();
        child.stderr.take().unwrap().read_to_string(&mut err).unwrap();
        let code = child.wait().unwrap().code();
        if err.contains("panicked") || code == Some(101) {
            panicked.push(arguments);
        }
    }
    assert!(panicked.is_empty(), "{panicked:?}");
}

#[test]
fn two_gates_do_not_share_a_port() {
    let gate = Gate::open(APPS);
    let second = say(gate.folder.path(), &["run"]);
    assert_eq!(second.code, Some(1), "{}", second.err);
    let port = gate.proxy.port().to_string();
    assert!(second.err.contains(&port) && second.err.contains("proxy.listen"), "{}", second.err);
    assert!(
        exchange(gate.proxy, "GET /any/x HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            .contains("200")
    );
}
