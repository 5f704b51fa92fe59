//! The built program as a process of its own. The one rule: no process outlives its test.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
    sync::{
        Arc, Condvar, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use crate::placeholder::fill;

/// Far longer than anything here takes.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// A command line of the program, free of the user's own surroundings.
pub(crate) fn command(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_marketgate"));
    command.args(arguments).current_dir(folder).stdin(Stdio::null());
    for name in ["MARKETGATE_CONFIG", "NO_COLOR", "RUST_LOG", "RUST_BACKTRACE", "HTTPS_PROXY", "ALL_PROXY"] {
        command.env_remove(name);
    }
    command.env("XDG_CONFIG_HOME", folder).env("HOME", folder);
    command
}

/// The same under a limit of the shell's `ulimit`.
pub(crate) fn command_within(folder: &Path, ulimit: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new("sh");
    let script = format!("ulimit {ulimit} >&2 && exec \"$@\"");
    command.args(["-c", &script, "sh", env!("CARGO_BIN_EXE_marketgate")]).args(arguments);
    command.current_dir(folder).stdin(Stdio::null()).env("XDG_CONFIG_HOME", folder).env("HOME", folder);
    for name in ["MARKETGATE_CONFIG", "NO_COLOR", "RUST_LOG", "RUST_BACKTRACE", "HTTPS_PROXY", "ALL_PROXY"] {
        command.env_remove(name);
    }
    command
}

/// What a command that ends by itself said.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

/// Runs a command to its end.
pub(crate) fn say(folder: &Path, arguments: &[&str]) -> Said {
    ended(command(folder, arguments))
}

pub(crate) fn ended(mut command: Command) -> Said {
    let output = command.output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Said { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
}

/// A running program.
pub(crate) struct Program {
    child: Child,
    out: Arc<Stream>,
    err: Arc<Stream>,
}

/// What a program wrote so far.
#[derive(Default)]
struct Stream {
    text: Mutex<(String, bool)>,
    more: Condvar,
}

impl Stream {
    fn follow(source: impl Read + Send + 'static) -> Arc<Self> {
        let stream = Arc::new(Self::default());
        let follower = stream.clone();
        std::thread::spawn(move || {
            let mut source = BufReader::new(source);
            let mut line = Vec::new();
            while source.read_until(b'\n', &mut line).is_ok_and(|read| read > 0) {
                follower.text.lock().unwrap().0.push_str(&String::from_utf8_lossy(&line));
                follower.more.notify_all();
                line.clear();
            }
            follower.text.lock().unwrap().1 = true;
            follower.more.notify_all();
        });
        stream
    }

    /// The text, as soon as it holds `wanted`.
    fn until(&self, wanted: &str) -> String {
        let text = self.text.lock().unwrap();
        let missing = |(text, over): &mut (String, bool)| !text.contains(wanted) && !*over;
        let (text, _) = self.more.wait_timeout_while(text, PATIENCE, missing).unwrap();
        assert!(text.0.contains(wanted), "{wanted:?} was not said, but:\n{}", text.0);
        text.0.clone()
    }

    fn whole(&self) -> String {
        let text = self.text.lock().unwrap();
        let (text, timeout) = self.more.wait_timeout_while(text, PATIENCE, |(_, over)| !*over).unwrap();
        assert!(!timeout.timed_out(), "the stream did not end");
        text.0.clone()
    }
}

impl Program {
    pub(crate) fn start(folder: &Path, arguments: &[&str]) -> Self {
        Self::begin(command(folder, arguments))
    }

    pub(crate) fn begin(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let (out, err) =
            (Stream::follow(child.stdout.take().unwrap()), Stream::follow(child.stderr.take().unwrap()));
        Self { child, out, err }
    }

    /// What stands on stdout, as soon as it holds `wanted`.
    pub(crate) fn says(&self, wanted: &str) -> String {
        self.out.until(wanted)
    }

    /// The same for stderr.
    pub(crate) fn mentions(&self, wanted: &str) -> String {
        self.err.until(wanted)
    }

    /// Writes to its stdin, which the command line gave it as a pipe.
    pub(crate) fn types(&mut self, text: &str) {
        self.child.stdin.as_mut().unwrap().write_all(text.as_bytes()).unwrap();
    }

    /// Its number.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal: `TERM`, `INT`, …
    pub(crate) fn signal(&self, name: &str) {
        use rustix::process::Signal;
        let number = match name {
            "TERM" => Signal::TERM,
            "INT" => Signal::INT,
            "HUP" => Signal::HUP,
            "QUIT" => Signal::QUIT,
            "USR1" => Signal::USR1,
            "USR2" => Signal::USR2,
            "ALRM" => Signal::ALARM,
            "VTALRM" => Signal::VTALARM,
            "PROF" => Signal::PROF,
            "IO" => Signal::IO,
            "PWR" => Signal::POWER,
            "XCPU" => Signal::XCPU,
            "XFSZ" => Signal::XFSZ,
            "PIPE" => Signal::PIPE,
            other => panic!("{other}"),
        };
        let process = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(process, number).unwrap();
    }

    /// Closes its stdin, then as [`Program::ended`].
    pub(crate) fn finish(mut self) -> Said {
        drop(self.child.stdin.take());
        self.ended()
    }

    fn wait(&mut self) -> ExitStatus {
        let began = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(began.elapsed() < PATIENCE, "the process did not end");
            // The standard library cannot wait for a child with a time limit: this looks rather than waits.
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Asks it to end, and what it said until then.
    pub(crate) fn end(self, signal: &str) -> Said {
        self.signal(signal);
        self.ended()
    }

    /// Waits for its end, and what it said until then.
    pub(crate) fn ended(mut self) -> Said {
        let code = self.wait().code();
        Said { code, out: self.out.whole(), err: self.err.whole() }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// The simulated marketplaces as a process, and their origin.
pub(crate) fn simulator(folder: &Path) -> (Program, String) {
    let program = Program::start(folder, &["sim", "--listen", "127.0.0.1:0"]);
    let origin = program.says("\n").trim().to_owned();
    (program, origin)
}

/// Ports that are free now and that nobody else takes by chance: below those the system hands out, each given once.
pub(crate) fn free_ports<const N: usize>() -> [u16; N] {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let mut candidates = std::iter::repeat_with(|| {
        let number = std::process::id().wrapping_mul(97).wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed));
        10_000 + (number % 20_000) as u16
    });
    let free = |port: &u16| TcpListener::bind(("127.0.0.1", *port)).is_ok();
    std::array::from_fn(|_| candidates.by_ref().find(free).unwrap())
}

/// Nobody listens there any more. A system may close what a process left behind a moment after its end.
pub(crate) fn assert_silent(address: SocketAddr) {
    let begun = Instant::now();
    while TcpStream::connect(address).is_ok() {
        assert!(begun.elapsed() < PATIENCE, "somebody listens at {address}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// A running gate before a running simulator.
pub(crate) struct Gate {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) proxy: SocketAddr,
    pub(crate) admin: SocketAddr,
    pub(crate) sim: String,
    pub(crate) program: Program,
    _simulator: Program,
}

impl Gate {
    /// `apps` is the configuration without its doors, `SIM` standing for the simulator.
    pub(crate) fn open(apps: &str) -> Self {
        Self::limited("", "-Sn", apps)
    }

    /// As [`Gate::open`], with further keys of `[proxy]`, and after `ulimit` was called so.
    pub(crate) fn limited(proxy_keys: &str, ulimit: &str, apps: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (simulator, sim) = simulator(folder.path());
        let [proxy, admin] = free_ports();
        let file = folder.path().join("proxy.toml");
        let doors = doors(proxy, admin).replace("[proxy]\n", &format!("[proxy]\n{proxy_keys}\n"));
        std::fs::write(&file, doors + &fill(apps, &[("SIM", &sim)])).unwrap();
        let program = Program::begin(command_within(folder.path(), ulimit, &["run"]));
        let address = |port| SocketAddr::from(([127, 0, 0, 1], port));
        program.mentions("started");
        let gate = Self {
            folder,
            proxy: address(proxy),
            admin: address(admin),
            sim,
            program,
            _simulator: simulator,
        };
        assert_eq!(gate.say(&["wait", "--timeout", "20s"]).code, Some(0));
        gate
    }

    /// Runs another command beside it.
    pub(crate) fn say(&self, arguments: &[&str]) -> Said {
        say(self.folder.path(), arguments)
    }

    pub(crate) fn get(&self, path: &str) -> String {
        get(self.proxy, path, "")
    }
}

/// A running program without a simulator: its marketplaces are the test's own.
pub(crate) struct Alone {
    pub(crate) proxy: SocketAddr,
    pub(crate) admin: SocketAddr,
    pub(crate) program: Program,
    _folder: tempfile::TempDir,
}

impl Alone {
    /// `apps` is the configuration without its doors.
    pub(crate) fn start(apps: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let [proxy, admin] = free_ports();
        std::fs::write(folder.path().join("proxy.toml"), doors(proxy, admin) + apps).unwrap();
        let program = Program::start(folder.path(), &["run"]);
        program.mentions("started");
        let [proxy, admin] = [proxy, admin].map(|port| SocketAddr::from(([127, 0, 0, 1], port)));
        Self { proxy, admin, program, _folder: folder }
    }
}

pub(crate) fn doors(proxy: u16, admin: u16) -> String {
    format!("[proxy]\nlisten = \"127.0.0.1:{proxy}\"\n[admin]\nlisten = \"127.0.0.1:{admin}\"\n")
}

/// A whole answer, head and body, of a server that closes after it.
pub(crate) fn get(address: SocketAddr, path: &str, fields: &str) -> String {
    exchange(address, &format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{fields}\r\n"))
}

pub(crate) fn exchange(address: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

/// Sends a fault to a simulator.
pub(crate) fn befall(sim: &str, fault: &serde_json::Value) {
    let address = sim.trim_start_matches("http://").parse().unwrap();
    let body = fault.to_string();
    let request = format!(
        "POST /sim/faults HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let answer = exchange(address, &request);
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}
