//! The program, as its user starts it and stops it.

use std::{net::SocketAddr, process::Stdio, time::Duration};

use tokio::{
    io::{AsyncBufReadExt, BufReader, Lines},
    process::{Child, ChildStderr, Command},
    task::JoinHandle,
};

use super::{Plan, market::Market, sellers::Sellers};

/// Far longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(60);

/// A running program. It ends with its owner.
pub(super) struct Program {
    child: Child,
    /// Passes on what it says, so that it never waits for a reader.
    listening: JoinHandle<()>,
    pub(super) proxy: SocketAddr,
    admin: SocketAddr,
}

impl Program {
    /// Starts it and waits until it listens.
    pub(super) async fn start(plan: &Plan, sellers: &Sellers, market: &Market) -> Self {
        let mut heard = String::new();
        // A port that was free a moment ago may have been taken since.
        for _ in 0..5 {
            match Self::try_start(plan, sellers, market).await {
                Ok(running) => return running,
                Err(said) => heard = said,
            }
        }
        panic!("the program does not start: {heard}");
    }

    async fn try_start(plan: &Plan, sellers: &Sellers, market: &Market) -> Result<Self, String> {
        let [proxy, admin] = [free_address(), free_address()];
        let mut child = Command::new(&plan.program)
            .args(["run", "--config"])
            .arg(sellers.configuration((proxy, admin), &market.url, &market.authority))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut said = BufReader::new(child.stderr.take().unwrap()).lines();
        let mut heard = String::new();
        while let Some(line) = tokio::time::timeout(PATIENCE, said.next_line()).await.unwrap().unwrap() {
            if line.contains("\"message\":\"started\"") {
                return Ok(Self { child, listening: tokio::spawn(pass_on(said)), proxy, admin });
            }
            heard = heard + &line + "\n";
        }
        Err(heard)
    }

    /// Its metrics.
    pub(super) async fn metrics(&self) -> String {
        let tls = marketgate::tls::client_config(None).unwrap();
        let client = reqwest::Client::builder().no_proxy().tls_backend_preconfigured(tls).build().unwrap();
        client.get(format!("http://{}/metrics", self.admin)).send().await.unwrap().text().await.unwrap()
    }

    /// SIGTERM. Whether it then ended in order.
    pub(super) async fn stop(mut self) -> bool {
        let id = i32::try_from(self.child.id().unwrap()).unwrap();
        let process = rustix::process::Pid::from_raw(id).unwrap();
        rustix::process::kill_process(process, rustix::process::Signal::TERM).unwrap();
        let ended = async {
            self.listening.await.unwrap();
            self.child.wait().await.unwrap()
        };
        tokio::time::timeout(PATIENCE, ended).await.is_ok_and(|status| status.success())
    }
}

async fn pass_on(mut said: Lines<BufReader<ChildStderr>>) {
    while let Some(line) = said.next_line().await.unwrap() {
        if !line.is_empty() {
            eprintln!("marketgate: {line}");
        }
    }
}

fn free_address() -> SocketAddr {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}
