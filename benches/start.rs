//! How long from starting the program to the first answer it proxied: process start, configuration, certificates, sockets,
//! a cold token, one request. The simulated marketplaces run in this process.
//!
//! `cargo bench --bench start` prints the least, the median and the most of twenty starts, in milliseconds.

#![allow(clippy::unwrap_used, reason = "a bench that cannot go on has failed")]
#![allow(missing_docs, reason = "a bench is no library")]

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

const STARTS: usize = 20;

fn main() {
    // `cargo test --benches` only asks whether it still compiles and starts.
    let starts = if std::env::args().any(|argument| argument == "--bench") { STARTS } else { 1 };
    let simulator = serve_simulator();
    let mut times: Vec<Duration> = (0..starts).map(|_| start(simulator)).collect();
    times.sort();
    let ms = |time: Duration| time.as_secs_f64() * 1000.0;
    println!(
        "start to first proxied request: least {:.1} ms, median {:.1} ms, most {:.1} ms ({starts} starts)",
        ms(times[0]),
        ms(times[starts / 2]),
        ms(times[starts - 1]),
    );
}

fn serve_simulator() -> SocketAddr {
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    socket.set_nonblocking(true).unwrap();
    let address = socket.local_addr().unwrap();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let socket = tokio::net::TcpListener::from_std(socket).unwrap();
            marketgate::sim::Simulator::new(1).serve(socket, std::future::pending()).await;
        });
    });
    address
}

fn start(simulator: SocketAddr) -> Duration {
    let (proxy, admin) = (free_address(), free_address());
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("proxy.toml");
    let configuration = format!(
        "[proxy]\nlisten = \"{proxy}\"\n[admin]\nlisten = \"{admin}\"\n[log]\nlevel = \"error\"\n[apps.walmart]\n\
         provider = \"walmart-marketplace\"\nenvironment = \"simulator\"\nsimulator = \"http://{simulator}\"\n\
         client_id = \"bench\"\nclient_secret = {{ env = \"BENCH_SECRET\" }}\n"
    );
    std::fs::write(&file, configuration).unwrap();
    let begun = Instant::now();
    let mut program = Command::new(env!("CARGO_BIN_EXE_marketgate"))
        .args(["run", "--config"])
        .arg(&file)
        .env("BENCH_SECRET", "bench-secret")
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let answer = first_answer(proxy, &mut program);
    let took = begun.elapsed();
    program.kill().unwrap();
    program.wait().unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    took
}

fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// Tries until the door is open: a refused connection is the event that it is not.
fn first_answer(proxy: SocketAddr, program: &mut Child) -> String {
    loop {
        if let Ok(mut stream) = TcpStream::connect(proxy) {
            stream
                .write_all(b"GET /walmart/v3/items HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
                .unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).unwrap();
            return answer;
        }
        assert!(program.try_wait().unwrap().is_none(), "the program ended");
        std::thread::yield_now();
    }
}
