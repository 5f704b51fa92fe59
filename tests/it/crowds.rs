//! Many who connect and say little: they keep neither probes nor requests waiting, and take neither descriptors nor memory that
//! others need.

use std::{
    io::{ErrorKind, Read, Write},
    net::{SocketAddr, TcpStream},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use crate::{
    harness::app_with_lifetime,
    program::{Gate, PATIENCE, command, doors, ended, get},
};

/// Connections, each of which has said `first`.
fn crowd(address: SocketAddr, many: usize, first: &[u8]) -> Vec<TcpStream> {
    let connect = |_| {
        let mut stream = TcpStream::connect(address).unwrap();
        // One that is closed already has been closed for others.
        let _ = stream.write_all(first);
        stream
    };
    (0..many).map(connect).collect()
}

fn assert_probed_within_a_second(gate: &Gate) {
    for path in ["/livez", "/readyz"] {
        let began = Instant::now();
        let answer = get(gate.admin, path, "");
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
    }
    assert_eq!(gate.say(&["health"]).code, Some(0));
}

fn cut(gate: &Gate, reason: &str) -> u64 {
    let metrics = get(gate.admin, "/metrics", "");
    let name = format!("caller_connections_cut_total{{reason=\"{reason}\"}} ");
    metrics.split(&name).nth(1).and_then(|rest| rest.lines().next()).unwrap().trim().parse().unwrap()
}

#[test]
fn idle_connections_at_either_listener_keep_neither_probes_nor_requests_waiting() {
    let gate = Gate::open(&(app_with_lifetime(3600) + "[limits]\nconnections = 100\n"));
    let _admin = crowd(gate.admin, 600, b"");
    assert_probed_within_a_second(&gate);
    let _proxy = crowd(gate.proxy, 400, b"");
    assert_probed_within_a_second(&gate);
    let began = Instant::now();
    assert!(gate.get("/any/x").starts_with("HTTP/1.1 200"));
    assert!(began.elapsed() < PATIENCE / 5);
    assert!(cut(&gate, "crowded") > 0);
}

#[test]
fn requests_in_flight_at_every_connection_of_the_admin_listener_leave_room_for_probes() {
    let gate = Gate::open(&app_with_lifetime(3600));
    let unfinished = b"POST /api/imports HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-ndjson\r\nContent-Length: 100\r\n\r\n{";
    let _busy = crowd(gate.admin, 256, unfinished);
    let refused = || get(gate.admin, "/", "");
    let began = Instant::now();
    while !refused().starts_with("HTTP/1.1 503") {
        assert!(began.elapsed() < PATIENCE, "{}", refused());
    }
    let answer = refused();
    assert!(
        answer.contains("\"overloaded\"") && answer.to_lowercase().contains("retry-after: 1"),
        "{answer}"
    );
    assert_probed_within_a_second(&gate);
}

#[test]
fn a_program_that_may_open_few_files_says_what_it_cuts_and_gets_its_tokens_among_idle_callers() {
    let gate = Gate::limited("", "-n 400", &app_with_lifetime(2));
    gate.program.mentions("400 open files are allowed");
    let _idle = crowd(gate.proxy, 1400, b"");
    // The token lives two seconds: some of these need another one.
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(5) {
        let answer = gate.get("/any/x");
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }
    assert_probed_within_a_second(&gate);
}

#[test]
fn the_soft_limit_of_open_files_is_raised_to_the_hard_one() {
    let gate = Gate::limited("", "-Sn 256", &app_with_lifetime(3600));
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", gate.program.id())).unwrap();
    let line = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
    let [soft, hard] = line.split_whitespace().skip(3).take(2).collect::<Vec<_>>()[..] else {
        panic!("{line}")
    };
    assert!(soft == hard && soft != "256", "{line}");
}

#[test]
fn two_thousand_unfinished_heads_take_no_more_memory_than_is_there_for_all_of_them() {
    let gate = Gate::open(&app_with_lifetime(3600));
    let resident = || {
        let status = std::fs::read_to_string(format!("/proc/{}/status", gate.program.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() / 1024
    };
    let before = resident();
    let head = format!("GET /any/x HTTP/1.1\r\nHost: localhost\r\nX: {}", "a".repeat(60_000));
    let _heads = crowd(gate.proxy, 2000, head.as_bytes());
    assert!(gate.get("/any/x").starts_with("HTTP/1.1 200"));
    let most = before + 110;
    assert!(resident() < most, "{before} MiB before, {} MiB now", resident());
    assert!(cut(&gate, "head_memory") > 500);
}

#[test]
fn a_worker_that_hangs_is_named_by_livez() {
    let gate = Gate::open(&app_with_lifetime(3600));
    let threads = std::fs::read_dir(format!("/proc/{}/task", gate.program.id())).unwrap();
    let is_worker = |thread: &std::fs::DirEntry| {
        std::fs::read_to_string(thread.path().join("comm")).is_ok_and(|name| name.trim() == "proxy-0")
    };
    let worker = threads.map(Result::unwrap).find(is_worker).unwrap().file_name().into_string().unwrap();
    assert!(get(gate.admin, "/livez", "").starts_with("HTTP/1.1 200"));
    // Each wait for events begins ten seconds late.
    let hang = ["-e", "trace=epoll_wait", "-e", "inject=epoll_wait:delay_enter=10s", "-p", &worker];
    let strace = Command::new("strace").args(hang).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    let Ok(mut strace) = strace else {
        eprintln!("skipped: there is no strace");
        return;
    };
    let began = Instant::now();
    let said = loop {
        let answer = get(gate.admin, "/livez", "");
        if !answer.starts_with("HTTP/1.1 200") {
            break answer;
        }
        assert!(began.elapsed() < PATIENCE, "the worker was not missed");
    };
    let told = gate.say(&["health"]);
    strace.kill().unwrap();
    strace.wait().unwrap();
    assert!(said.starts_with("HTTP/1.1 503") && said.contains("do not answer: proxy-0"), "{said}");
    assert!(told.code == Some(5) && told.err.contains("proxy-0"), "{told:?}");
}

#[test]
fn with_a_drain_delay_a_stopping_program_is_not_ready_and_serves_new_connections_until_a_second_signal() {
    let gate = Gate::limited("drain_delay = \"10m\"", "-Sn", &app_with_lifetime(1));
    gate.program.signal("TERM");
    gate.program.mentions("stopping in 600 s");
    assert!(get(gate.admin, "/readyz", "").starts_with("HTTP/1.1 503"));
    assert!(get(gate.admin, "/livez", "").starts_with("HTTP/1.1 200"));
    let mut kept = TcpStream::connect(gate.proxy).unwrap();
    kept.set_read_timeout(Some(PATIENCE)).unwrap();
    kept.write_all(b"GET /any/x HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    kept.read_to_end(&mut answer).unwrap();
    let answer = String::from_utf8_lossy(&answer).to_lowercase();
    assert!(answer.starts_with("http/1.1 200") && answer.contains("connection: close"), "{answer}");
    gate.program.signal("TERM");
    gate.program.mentions("stopping: ");
    let Gate { program, proxy, .. } = gate;
    assert_eq!(program.ended().code, Some(0));
    assert_eq!(TcpStream::connect(proxy).unwrap_err().kind(), ErrorKind::ConnectionRefused);
}

#[test]
fn a_drain_delay_that_nothing_waits_for_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    for (delay, wrong) in [("11m", "longer than 10m"), ("soon", "no duration")] {
        let text = doors(18_080, 18_081).replace("[proxy]", &format!("[proxy]\ndrain_delay = \"{delay}\""));
        std::fs::write(folder.path().join("proxy.toml"), text).unwrap();
        let said = ended(command(folder.path(), &["check"]));
        assert!(said.code == Some(3) && said.err.contains(wrong), "{said:?}");
    }
}
