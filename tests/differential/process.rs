//! A server or the program as a process of its own. The rule: no process outlives its owner, and one that does not start
//! says why.

use std::{
    fs::{self, File},
    net::{SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

/// Far longer than any of them takes.
const PATIENCE: Duration = Duration::from_secs(20);

/// A running process.
pub(crate) struct Process {
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts a command and waits until it listens on every address; None when it ended before.
    pub(crate) fn start(mut command: Command, folder: &Path, addresses: &[SocketAddr]) -> Option<Self> {
        let log = folder.join("output.log");
        let output = File::create(&log).unwrap();
        command.stdin(Stdio::null()).stdout(output.try_clone().unwrap()).stderr(output).current_dir(folder);
        let mut process = Self { child: command.spawn().expect("an installed program starts"), log };
        let begun = Instant::now();
        while !addresses.iter().all(|address| TcpStream::connect(address).is_ok()) {
            if process.child.try_wait().unwrap().is_some() {
                eprintln!("{command:?} ended:\n{}", process.said());
                return None;
            }
            assert!(begun.elapsed() < PATIENCE, "{command:?} does not listen:\n{}", process.said());
            sleep(Duration::from_millis(5));
        }
        Some(process)
    }

    /// What it wrote on stdout and stderr.
    pub(crate) fn said(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Whether it still runs.
    pub(crate) fn lives(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }
}

impl Drop for Process {
    /// With a request first: a server's parent process ends its children then.
    fn drop(&mut self) {
        if let Some(pid) = i32::try_from(self.child.id()).ok().and_then(rustix::process::Pid::from_raw) {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        }
        let begun = Instant::now();
        while self.lives() && begun.elapsed() < Duration::from_secs(3) {
            sleep(Duration::from_millis(5));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Addresses nobody listens on at this moment. Whoever uses them tries again with others when that has changed.
pub(crate) fn free_addresses<const N: usize>() -> [SocketAddr; N] {
    let sockets: [TcpListener; N] = std::array::from_fn(|_| TcpListener::bind("127.0.0.1:0").unwrap());
    sockets.map(|socket| socket.local_addr().unwrap())
}
