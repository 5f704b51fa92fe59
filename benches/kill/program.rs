//! The program, as its user starts it, until it is killed.

use std::{
    net::SocketAddr,
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use crate::{load, report::Report, sellers::Sellers};

/// A running program.
pub(crate) struct Program {
    child: Child,
    proxy: SocketAddr,
    admin: SocketAddr,
}

impl Program {
    /// Starts it and waits until it listens.
    pub(crate) async fn start(program: &str, sellers: &Sellers, report: &mut Report) -> Self {
        // A port that was free a moment ago may have been taken since.
        for _ in 0..5 {
            if let Some(running) = Self::try_start(program, &sellers.configuration(), report).await {
                return running;
            }
        }
        panic!("the program does not start");
    }

    async fn try_start(
        program: &str,
        (file, proxy, admin): &(PathBuf, SocketAddr, SocketAddr),
        report: &mut Report,
    ) -> Option<Self> {
        let begun = Instant::now();
        let child = Command::new(program)
            .args(["run", "--config"])
            .arg(file)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut running = Self { child, proxy: *proxy, admin: *admin };
        while tokio::net::TcpStream::connect(proxy).await.is_err() {
            if running.child.try_wait().unwrap().is_some() {
                return None;
            }
            assert!(begun.elapsed() < Duration::from_secs(20), "the program does not listen");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        report.started(begun.elapsed());
        Some(running)
    }

    pub(crate) fn proxy(&self) -> SocketAddr {
        self.proxy
    }

    /// Its metrics, if it still tells them.
    pub(crate) async fn metrics(&self) -> String {
        let answer = load::client().get(format!("http://{}/metrics", self.admin)).send().await;
        match answer {
            Ok(answer) => answer.text().await.unwrap_or_default(),
            Err(_) => String::new(),
        }
    }

    /// `kill -9`.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // A harness that panics leaves nothing running.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
