//! The log of a program whose stderr is not read, is closed, or is on a full disk: nothing waits for it, and what is dropped is
//! counted and told.

use std::{
    fs::File,
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    path::Path,
    process::{Child, Stdio},
};

use crate::program::{PATIENCE, Program, command, doors, free_ports, get, say};

const APPS: &str = "[apps.any]\nprovider = \"generic\"\napi = \"http://127.0.0.1:1\"\n\
    token_url = \"http://127.0.0.1:1/token\"\nclient_id = \"a\"\nclient_secret = \"b\"\n";

/// `run` in that folder, with this for its stderr; the addresses of its doors.
fn run(folder: &Path, stderr: Stdio) -> (Child, SocketAddr, SocketAddr) {
    let [proxy, admin] = free_ports();
    let doors = doors(proxy, admin).replace("[proxy]\n", "[proxy]\naccess_log = true\n");
    std::fs::write(folder.join("proxy.toml"), doors + APPS).unwrap();
    let child = command(folder, &["run"]).stdout(Stdio::null()).stderr(stderr).spawn().unwrap();
    assert_eq!(say(folder, &["wait", "--timeout", "20s"]).code, Some(0));
    let address = |port| SocketAddr::from(([127, 0, 0, 1], port));
    (child, address(proxy), address(admin))
}

/// Requests that are refused, one after another on one connection: each must be answered.
fn refused(proxy: SocketAddr, count: usize) {
    let mut stream = TcpStream::connect(proxy).unwrap();
    stream.set_nodelay(true).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let request = format!("GET /nope/{} HTTP/1.1\r\nHost: localhost\r\n\r\n", "x".repeat(600));
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    for _ in 0..count {
        stream.write_all(request.as_bytes()).unwrap();
        let (mut length, mut line) = (0, String::new());
        while line != "\r\n" {
            line.clear();
            reader.read_line(&mut line).unwrap();
            if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length: ") {
                length = value.trim().parse().unwrap();
            }
        }
        reader.read_exact(&mut vec![0; length]).unwrap();
    }
}

fn dropped(admin: SocketAddr) -> u64 {
    let metrics = get(admin, "/metrics", "");
    let line = metrics.lines().find(|line| line.starts_with("marketgate_log_lines_dropped_total"));
    line.unwrap().split(' ').nth(1).unwrap().parse().unwrap()
}

/// An app of a static key at this address, called without an access log or with one.
fn run_before(
    upstream: SocketAddr,
    folder: &Path,
    proxy_table: &str,
    callers: &str,
) -> (Program, SocketAddr, SocketAddr) {
    let [proxy, admin] = free_ports();
    let apps = format!(
        "[apps.any]\nprovider = \"generic\"\ngrant = \"static\"\napi = \"http://{upstream}\"\napi_key = {{ file = \"key\" }}\n"
    );
    std::fs::write(folder.join("key"), "k-1234567890").unwrap();
    let doors = doors(proxy, admin).replace("[proxy]\n", &format!("[proxy]\n{proxy_table}"));
    std::fs::write(folder.join("proxy.toml"), doors + callers + &apps).unwrap();
    let program = Program::start(folder, &["run"]);
    program.mentions("started");
    let address = |port| SocketAddr::from(([127, 0, 0, 1], port));
    (program, address(proxy), address(admin))
}

/// The line that mentions this, once it is there.
fn line_with(program: &Program, wanted: &str) -> serde_json::Value {
    object(program.mentions(wanted).lines().find(|line| line.contains(wanted)).unwrap())
}

fn object(line: &str) -> serde_json::Value {
    serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))
}

#[test]
fn a_caller_who_hangs_up_before_the_answer_leaves_one_line_and_one_count() {
    for access_log in ["", "access_log = true\n"] {
        let folder = tempfile::tempdir().unwrap();
        let upstream = TcpListener::bind("127.0.0.1:0").unwrap();
        let (program, proxy, admin) =
            run_before(upstream.local_addr().unwrap(), folder.path(), access_log, "");
        let mut caller = TcpStream::connect(proxy).unwrap();
        caller
            .write_all(b"POST /any/x?secret=1 HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\n\r\nx")
            .unwrap();
        let (mut arrived, _) = upstream.accept().unwrap();
        arrived.read_exact(&mut [0; 8]).unwrap();
        drop(caller);
        let line = line_with(&program, "before the answer");
        assert_eq!((&line["status"], &line["app"]), (&499.into(), &"any".into()), "{line}");
        assert_eq!((&line["method"], &line["path"]), (&"POST".into(), &"/any/x".into()), "{line}");
        let metrics = get(admin, "/metrics", "");
        let count = "marketgate_requests_total{app=\"any\",status=\"499\",by=\"nobody\"} 1";
        assert!(metrics.contains(count), "{metrics}");
        let said = program.end("TERM").err;
        assert_eq!(said.matches("/any/x").count(), 1, "{said}");
    }
}

#[test]
fn a_line_of_the_access_log_says_whether_the_caller_got_the_whole_answer() {
    let folder = tempfile::tempdir().unwrap();
    let upstream = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = upstream.local_addr().unwrap();
    let (program, proxy, _) = run_before(address, folder.path(), "access_log = true\n", "");
    let marketplace = std::thread::spawn(move || {
        // Whole; longer than the caller waits for; broken off by the marketplace.
        for (says, sends) in [(5, "12345"), (500, "12345"), (500, "1234567")] {
            let (mut connection, _) = upstream.accept().unwrap();
            let mut request = [0; 4096];
            let _ = connection.read(&mut request).unwrap();
            let head =
                format!("HTTP/1.1 200 OK\r\nContent-Length: {says}\r\nConnection: close\r\n\r\n{sends}");
            connection.write_all(head.as_bytes()).unwrap();
            if sends.len() == 5 {
                // Until the other side is gone.
                let _ = connection.read(&mut request);
            }
        }
    });
    for (path, takes, ended, bytes) in
        [("/any/whole", 5, "whole", 5), ("/any/left", 5, "early", 5), ("/any/broken", 7, "broken off", 7)]
    {
        let mut caller = TcpStream::connect(proxy).unwrap();
        caller.set_read_timeout(Some(PATIENCE)).unwrap();
        caller.write_all(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n").as_bytes()).unwrap();
        let mut reader = BufReader::new(caller);
        let mut line = String::new();
        while line != "\r\n" {
            line.clear();
            assert!(reader.read_line(&mut line).unwrap() > 0, "{path} was not answered");
        }
        reader.read_exact(&mut vec![0; takes]).unwrap();
        if ended == "broken off" {
            // Or it would be the caller who leaves.
            let _ = reader.read_to_end(&mut Vec::new());
        }
        drop(reader);
        let line = line_with(&program, path);
        assert_eq!((&line["ended"], &line["bytes"]), (&ended.into(), &bytes.into()), "{line}");
        assert_eq!((&line["status"], &line["account"]), (&200.into(), &"any@default".into()), "{line}");
    }
    marketplace.join().unwrap();
    let said = program.end("TERM").err;
    assert_eq!(said.matches("/any/").count(), 3, "{said}");
}

#[test]
fn lines_about_requests_name_the_caller_whose_key_was_shown() {
    let folder = tempfile::tempdir().unwrap();
    let upstream = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = upstream.local_addr().unwrap();
    let key = "0123456789abcdef0123456789abcdef";
    let sha256 = "3eb1bd439947eb762998e566ccc2e099c791118b2f40579cc4f7da2b5061b7f9";
    let callers = format!("[callers.shipping]\nsha256 = \"{sha256}\"\n");
    let (program, proxy, _) = run_before(address, folder.path(), "access_log = true\n", &callers);
    let shows = format!("Marketgate-Key: {key}\r\n");
    drop(upstream);
    assert!(get(proxy, "/any/x", &shows).contains("upstream_unreachable"));
    assert_eq!(line_with(&program, "upstream_unreachable")["caller"], "shipping");
    assert!(get(proxy, "/any/y", "").contains("caller_unknown"));
    assert_eq!(line_with(&program, "caller_unknown")["caller"], serde_json::Value::Null);
}

#[test]
fn every_line_of_a_json_log_is_an_object_and_the_first_tells_what_was_started() {
    let folder = tempfile::tempdir().unwrap();
    let upstream = TcpListener::bind("127.0.0.1:0").unwrap();
    let (program, proxy, admin) = run_before(upstream.local_addr().unwrap(), folder.path(), "", "");
    let said = program.end("TERM").err;
    let lines: Vec<_> = said.lines().map(object).collect();
    let start = &lines[0];
    assert_eq!(
        (&start["message"], &start["version"]),
        (&"started".into(), &env!("CARGO_PKG_VERSION").into())
    );
    assert_eq!((&start["listen"], &start["admin"]), (&proxy.to_string().into(), &admin.to_string().into()));
    assert!(start["configuration"].as_str().unwrap().ends_with("proxy.toml"), "{start}");
    // A failure is a line like any other.
    let _taken = TcpListener::bind(proxy).unwrap();
    let failed = say(folder.path(), &["run"]);
    let last = object(failed.err.lines().last().unwrap());
    assert_eq!((failed.code, &last["exit"], &last["level"]), (Some(1), &1.into(), &"ERROR".into()), "{last}");
    assert!(
        last["message"].as_str().unwrap().contains("cannot listen on") && last["help"].is_string(),
        "{last}"
    );
}

fn terminate(mut child: Child) -> Option<i32> {
    let id = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(id, rustix::process::Signal::TERM).unwrap();
    child.wait().unwrap().code()
}

#[test]
fn a_log_that_nobody_reads_holds_up_nothing_and_what_it_lost_is_counted_and_told() {
    let folder = tempfile::tempdir().unwrap();
    let (mut child, proxy, admin) = run(folder.path(), Stdio::piped());
    let stderr = child.stderr.take().unwrap();
    refused(proxy, 14_000);
    assert!(dropped(admin) > 0, "more lines than the queue holds were to be written");
    let mut lines = BufReader::new(stderr).lines();
    let told = lines.by_ref().map_while(Result::ok).find(|line| line.contains("log lines were dropped"));
    assert!(told.is_some_and(|line| line.contains("\"dropped\":")));
    let last = std::thread::spawn(move || lines.map_while(Result::ok).last());
    assert_eq!(terminate(child), Some(0));
    assert!(last.join().unwrap().is_some());
}

#[test]
fn a_log_that_nobody_reads_does_not_hold_up_the_end() {
    let folder = tempfile::tempdir().unwrap();
    let (mut child, proxy, _) = run(folder.path(), Stdio::piped());
    let _unread = child.stderr.take().unwrap();
    refused(proxy, 1_000);
    assert_eq!(terminate(child), Some(0));
}

#[test]
fn a_log_that_is_closed_or_on_a_full_disk_loses_its_lines_and_nothing_else() {
    for full in [false, true] {
        let folder = tempfile::tempdir().unwrap();
        let stderr = match full {
            true => File::options().write(true).open("/dev/full").unwrap().into(),
            false => Stdio::piped(),
        };
        let (mut child, proxy, admin) = run(folder.path(), stderr);
        drop(child.stderr.take());
        refused(proxy, 100);
        assert!(dropped(admin) > 0, "full disk: {full}");
        assert_eq!(terminate(child), Some(0), "full disk: {full}");
    }
}
