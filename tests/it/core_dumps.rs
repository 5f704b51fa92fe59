//! A crash leaves no core dump, which would hold every secret in the clear.

use std::{
    os::unix::process::ExitStatusExt,
    path::Path,
    process::{Command, ExitStatus, Stdio},
};

use rustix::process::{Pid, Signal, kill_process};

use crate::{
    program::{command, doors, free_ports, simulator},
    sellers::CLIENT_SECRET,
};

/// The same command where core dumps are allowed without limit.
fn unlimited(program: &Command, folder: &Path) -> Command {
    let mut shell = Command::new("sh");
    shell
        .args(["-c", "ulimit -c unlimited && exec \"$0\" \"$@\""])
        .arg(program.get_program())
        .args(program.get_args());
    shell
        .env_remove("MARKETGATE_CONFIG")
        .current_dir(folder)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    shell
}

/// Waits until the command has begun, aborts it, and how it ended. What `/proc` says of its core limit comes with it.
fn aborted(mut command: Command, has_begun: impl Fn() -> bool) -> (ExitStatus, String) {
    let mut child = command.spawn().unwrap();
    while !has_begun() {
        assert!(child.try_wait().unwrap().is_none(), "it ended by itself");
        std::thread::yield_now();
    }
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", child.id())).unwrap();
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap().to_owned();
    kill_process(Pid::from_child(&child), Signal::ABORT).unwrap();
    (child.wait().unwrap(), core)
}

fn serves(port: u16) -> bool {
    std::net::TcpStream::connect(("127.0.0.1", port)).is_ok()
}

fn cores(folder: &Path) -> usize {
    let names = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name());
    names.filter(|name| name.to_string_lossy().starts_with("core")).count()
}

#[test]
fn a_crash_leaves_no_core_dump_unless_it_was_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let (_sim, origin) = simulator(folder.path());
    let [proxy, admin] = free_ports();
    let app = format!(
        "[apps.any]\nprovider = \"generic\"\napi = \"{origin}/generic/api\"\ntoken_url = \"{origin}/generic/oauth/token\"\n\
         client_id = \"app\"\nclient_secret = \"{CLIENT_SECRET}\"\n"
    );
    std::fs::write(folder.path().join("proxy.toml"), doors(proxy, admin) + &app).unwrap();
    let run = unlimited(&command(folder.path(), &["run"]), folder.path());
    let (status, limit) = aborted(run, || serves(proxy));
    assert_eq!(status.signal(), Some(Signal::ABORT.as_raw()));
    // The kernel says so whether it writes dumps into files or pipes them to a program.
    assert!(!status.core_dumped(), "{status:?}");
    assert!(limit.split_whitespace().nth(4) == Some("0"), "{limit}");
    assert_eq!(cores(folder.path()), 0);

    let mut asked_for = unlimited(&command(folder.path(), &["run"]), folder.path());
    let (status, limit) = aborted(
        {
            asked_for.env("MARKETGATE_CORE_DUMPS", "1");
            asked_for
        },
        || serves(proxy),
    );
    assert!(limit.contains("unlimited"), "{limit}");
    // On a machine that makes any at all.
    let control =
        unlimited(Command::new("sh").args(["-c", "kill -ABRT $$"]), folder.path()).status().unwrap();
    assert_eq!(status.core_dumped(), control.core_dumped(), "{status:?}");
}
