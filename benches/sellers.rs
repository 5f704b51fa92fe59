//! Ten thousand sellers, two hundred of them in use: how long their import takes, how long the program needs to start over
//! them, what memory it holds, and that the marketplace hears of nobody but those in use. The simulated marketplaces run in
//! this process.
//!
//! `cargo bench --bench sellers` prints one line for each figure, and fails if a seller was refreshed who had no need.

#![allow(clippy::unwrap_used, reason = "a bench that cannot go on has failed")]
#![allow(missing_docs, reason = "a bench is no library")]

use std::{
    fmt::Write as _,
    io::{Read, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use marketgate::sim::{Connect, Simulator};

const CLIENT: &str = "platform";
const STARTS: usize = 9;

fn main() {
    // `cargo test --benches` only asks whether it still compiles and starts.
    let bench = std::env::args().any(|argument| argument == "--bench");
    let (sellers, used) = if bench { (10_000, 200) } else { (50, 5) };
    let (simulator, at) = serve_simulator();
    let folder = tempfile::tempdir().unwrap();
    let [proxy, admin] = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap());
    std::fs::write(folder.path().join("proxy.toml"), configuration(at, proxy, admin)).unwrap();
    std::fs::write(folder.path().join("grants.jsonl"), grants(&simulator, sellers)).unwrap();

    let begun = Instant::now();
    import(folder.path());
    println!("import of {sellers} sellers from a file: {:.1} s", begun.elapsed().as_secs_f64());

    let mut starts: Vec<Duration> = (0..STARTS).map(|_| start(folder.path(), proxy).1).collect();
    starts.sort();
    println!(
        "start over them: median {:.0} ms, most {:.0} ms",
        ms(starts[STARTS / 2]),
        ms(starts[STARTS - 1])
    );

    let (program, _) = start(folder.path(), proxy);
    let idle = resident(&program);
    assert_eq!(simulator.token_calls("generic"), 0, "somebody was refreshed at the start");
    let step = sellers / used;
    let begun = Instant::now();
    for number in (0..sellers).step_by(step).take(used) {
        let answer = ask(proxy, &format!("/any@shop-{number}/x"));
        assert!(
            answer.starts_with("HTTP/1.1 200") && answer.contains(&format!("\"shop-{number}\"")),
            "{answer}"
        );
    }
    println!("first request of {used} sellers, one after another: {:.2} s", begun.elapsed().as_secs_f64());
    assert_eq!(simulator.token_calls("generic"), used, "token calls are for those in use");
    println!(
        "token calls: {used}, for those in use; memory: {:.1} MB idle, {:.1} MB with {used} in use",
        idle / 1e6,
        resident(&program) / 1e6
    );
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

fn serve_simulator() -> (Simulator, SocketAddr) {
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    socket.set_nonblocking(true).unwrap();
    let (simulator, address) = (Simulator::new(1), socket.local_addr().unwrap());
    let serving = simulator.clone();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let socket = tokio::net::TcpListener::from_std(socket).unwrap();
            serving.serve(socket, std::future::pending()).await;
        });
    });
    (simulator, address)
}

fn configuration(simulator: SocketAddr, proxy: SocketAddr, admin: SocketAddr) -> String {
    format!(
        "[proxy]\nlisten = \"{proxy}\"\n[admin]\nlisten = \"{admin}\"\n[log]\nlevel = \"error\"\n\
         [store]\npath = \"sellers.db\"\n[apps.any]\nprovider = \"generic\"\ngrant = \"authorization_code\"\n\
         api = \"http://{simulator}/generic/api\"\ntoken_url = \"http://{simulator}/generic/oauth/token\"\n\
         authorize_url = \"http://{simulator}/generic/oauth/authorize\"\n\
         client_id = \"{CLIENT}\"\nclient_secret = {{ env = \"BENCH_SECRET\" }}\n"
    )
}

fn grants(simulator: &Simulator, sellers: usize) -> String {
    (0..sellers).fold(String::new(), |mut lines, number| {
        let seller = format!("shop-{number}");
        let token = simulator.connect(Connect::new("generic", CLIENT, &seller)).refresh_token;
        writeln!(lines, "{{\"account\":\"{seller}\",\"refresh_token\":\"{token}\"}}").unwrap();
        lines
    })
}

fn program(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_marketgate"));
    command.args(arguments).current_dir(folder).env("BENCH_SECRET", format!("{CLIENT}-secret"));
    command
}

fn import(folder: &Path) {
    let ended = program(folder, &["import", "any", "--file", "grants.jsonl"]).output().unwrap();
    assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
}

/// The program, ended with this.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts it, and says how long until its door was open: a refused connection is the event that it is not.
fn start(folder: &Path, proxy: SocketAddr) -> (Running, Duration) {
    let begun = Instant::now();
    let mut running = Running(program(folder, &["run"]).stderr(Stdio::null()).spawn().unwrap());
    while TcpStream::connect(proxy).is_err() {
        assert!(running.0.try_wait().unwrap().is_none(), "the program ended");
        std::thread::yield_now();
    }
    (running, begun.elapsed())
}

fn ask(proxy: SocketAddr, path: &str) -> String {
    let mut stream = TcpStream::connect(proxy).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

/// Bytes of memory that are its own (Linux).
fn resident(program: &Running) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", program.0.id())).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<f64>().unwrap() * 1024.0
}
