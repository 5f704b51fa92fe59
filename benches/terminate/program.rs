//! The program, as its user starts it, until it is stopped.

use std::{
    net::SocketAddr,
    process::{ExitStatus, Stdio},
    time::Duration,
};

use tokio::{
    io::{AsyncBufReadExt, BufReader, Lines},
    process::{Child, ChildStderr, Command},
};

use crate::shop::Shop;

/// Far longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(60);

/// A running program. It ends with its owner.
pub(crate) struct Program {
    child: Child,
    said: Lines<BufReader<ChildStderr>>,
    pub(crate) proxy: SocketAddr,
    pub(crate) admin: SocketAddr,
}

impl Program {
    /// Starts it and waits until it listens.
    pub(crate) async fn start(program: &str, shop: &Shop) -> Self {
        let mut child = Command::new(program)
            .args(["run", "--config"])
            .arg(shop.configuration())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let said = BufReader::new(child.stderr.take().unwrap()).lines();
        let mut running = Self { child, said, proxy: shop.proxy, admin: shop.admin };
        let mut heard = Vec::new();
        while let Some(line) =
            tokio::time::timeout(PATIENCE, running.said.next_line()).await.unwrap().unwrap()
        {
            if line.starts_with("admin: http") {
                return running;
            }
            heard.push(line);
        }
        panic!("the program does not start: {}", heard.join("\n"));
    }

    /// SIGTERM.
    pub(crate) fn terminate(&self) {
        let id = i32::try_from(self.child.id().unwrap()).unwrap();
        let process = rustix::process::Pid::from_raw(id).unwrap();
        rustix::process::kill_process(process, rustix::process::Signal::TERM).unwrap();
    }

    /// Waits for its end; what it had said.
    pub(crate) async fn ended(mut self) -> (ExitStatus, String) {
        let mut heard = Vec::new();
        let ended = async {
            while let Some(line) = self.said.next_line().await.unwrap() {
                heard.push(line);
            }
            self.child.wait().await.unwrap()
        };
        let status = tokio::time::timeout(PATIENCE, ended).await.unwrap();
        (status, heard.join("\n"))
    }
}
