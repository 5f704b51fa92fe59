//! The system calls of a running program, written down or made to fail by strace. The one rule: what is made to fail fails
//! from the moment this says so until it is let go, and no longer.

use std::process::Command;

use crate::{calls::Call, program::Program};

/// strace at a running program.
pub(crate) struct Strace {
    tracer: Program,
    folder: tempfile::TempDir,
}

impl Strace {
    /// Writes down every system call from now on, but for those that only wait. None, and why is printed, where this
    /// machine does not allow that; where all checks are required (`CI=true`) that is a failure.
    pub(crate) fn watch(program: &Program) -> Option<Self> {
        Self::attach(program, &["-s", "65536", "-e", "trace=!futex,epoll_wait,sched_yield,madvise"])
    }

    /// Has calls that make files durable fail from now on, those of them that `when` says: `1+` all, `3` only the third.
    pub(crate) fn fail_syncs(program: &Program, when: &str) -> Option<Self> {
        let inject = format!("inject=fsync,fdatasync:error=EIO:when={when}");
        Self::attach(
            program,
            &["-s", "65536", "-e", "trace=!futex,epoll_wait,sched_yield,madvise", "-e", &inject],
        )
    }

    fn attach(program: &Program, arguments: &[&str]) -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let mut strace = Command::new("strace");
        strace
            .args(["-f", "-ttt", "-yy", "-p", &program.id().to_string(), "-o"])
            .arg(folder.path().join("calls"));
        strace.args(arguments);
        if Command::new("strace").arg("-V").output().is_err() {
            return skipped("there is no strace");
        }
        let tracer = Program::begin(strace);
        let said = tracer.mentions("strace: ");
        if said.contains("attached") { Some(Self { tracer, folder }) } else { skipped(&said) }
    }

    /// Lets the program go on by itself, and what it had done.
    pub(crate) fn detach(self) -> Vec<Call> {
        self.tracer.end("INT");
        let text =
            String::from_utf8_lossy(&std::fs::read(self.folder.path().join("calls")).unwrap()).into_owned();
        crate::calls::read(&text)
    }
}

fn skipped(why: &str) -> Option<Strace> {
    assert!(std::env::var("CI").as_deref() != Ok("true"), "strace is required here: {why}");
    println!("skipped: system calls cannot be traced here: {why}");
    None
}
