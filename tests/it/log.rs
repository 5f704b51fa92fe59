//! The log of a program whose stderr is not read, is closed, or is on a full disk: nothing waits for it, and what is dropped is
//! counted and told.

use std::{
    fs::File,
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
    path::Path,
    process::{Child, Stdio},
};

use crate::program::{PATIENCE, command, doors, free_ports, get, say};

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
