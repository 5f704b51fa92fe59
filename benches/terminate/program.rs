//! The program, as its user starts it, until it is stopped.

use std::{
    net::SocketAddr,
    process::{ExitStatus, Stdio},
    time::Duration,
};

use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines},
    process::{Child, ChildStderr, Command},
};

use crate::{
    shop::Shop,
    subject::{self, Subject},
};

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
    /// Starts it, and waits until it listens if that is what it does.
    pub(crate) async fn begin(program: &str, shop: &Shop, subject: Subject) -> Self {
        let mut child = Command::new(program)
            .args(subject.arguments())
            .arg("--config")
            .arg(shop.configuration())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        if let Some(token) = &shop.to_import {
            // A program that does not read it has ended already, which is found out soon enough.
            let _ = child.stdin.take().unwrap().write_all(token.as_bytes()).await;
        }
        let said = BufReader::new(child.stderr.take().unwrap()).lines();
        let mut running = Self { child, said, proxy: shop.proxy, admin: shop.admin };
        if subject != Subject::Run {
            return running;
        }
        let mut heard = Vec::new();
        loop {
            let line = tokio::time::timeout(PATIENCE, running.said.next_line()).await.unwrap().unwrap();
            let Some(line) = line else { panic!("the program does not start: {}", heard.join("\n")) };
            if line.contains("\"message\":\"started\"") {
                return running;
            }
            heard.push(line);
        }
    }

    /// Sends a signal. One that has ended cannot be sent any.
    pub(crate) fn signal(&self, name: &str) {
        let Some(id) = self.child.id() else { return };
        let process = rustix::process::Pid::from_raw(i32::try_from(id).unwrap()).unwrap();
        let _ = rustix::process::kill_process(process, subject::number(name));
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
