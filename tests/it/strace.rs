//! The system calls of a running program, written down or made to fail by strace. The one rule: what is made to fail fails
//! from the moment this says so until it is let go, and no longer.

use std::{path::Path, process::Command};

use crate::{
    calls::Call,
    program::{Program, Said, command, ended},
};

/// What is written down: whole buffers, what file descriptors stand for, every call but those that only wait.
const HOW: [&str; 7] =
    ["-f", "-ttt", "-yy", "-s", "65536", "-e", "trace=!futex,epoll_wait,sched_yield,madvise"];

/// strace at a running program.
pub(crate) struct Strace {
    tracer: Program,
    folder: tempfile::TempDir,
}

/// Which calls that make files durable fail: `1+` all, `3` only the third.
fn inject(when: &str) -> [String; 2] {
    ["-e".to_owned(), format!("inject=fsync,fdatasync:error=EIO:when={when}")]
}

impl Strace {
    /// Writes down every system call from now on, but for those that only wait. None, and why is printed, where this
    /// machine does not allow that; where all checks are required (`CI=true`) that is a failure.
    pub(crate) fn watch(program: &Program) -> Option<Self> {
        Self::attach(program, &[])
    }

    /// The same, and has those calls fail from now on that make files durable and that `when` means.
    pub(crate) fn fail_syncs(program: &Program, when: &str) -> Option<Self> {
        Self::attach(program, &inject(when))
    }

    fn attach(program: &Program, more: &[String]) -> Option<Self> {
        if Command::new("strace").arg("-V").output().is_err() {
            return skipped("there is no strace");
        }
        let folder = tempfile::tempdir().unwrap();
        let mut strace = Command::new("strace");
        strace
            .args(HOW)
            .args(more)
            .args(["-p", &program.id().to_string(), "-o"])
            .arg(folder.path().join("calls"));
        let tracer = Program::begin(strace);
        let said = tracer.mentions("strace: ");
        if said.contains("attached") { Some(Self { tracer, folder }) } else { skipped(&said) }
    }

    /// Lets the program go on by itself, if it has not ended, and what it had done.
    pub(crate) fn detach(self) -> Vec<Call> {
        self.tracer.end("INT");
        written_down(self.folder.path())
    }
}

/// A command that ends by itself, where strace is known to work, and what it did. `when`: as above.
pub(crate) fn traced(folder: &Path, arguments: &[&str], when: Option<&str>) -> (Said, Vec<Call>) {
    let (program, calls) = (command(folder, arguments), tempfile::tempdir().unwrap());
    let mut strace = Command::new("strace");
    strace.args(HOW).args(when.iter().flat_map(|when| inject(when)));
    strace.arg("-o").arg(calls.path().join("calls")).arg(program.get_program()).args(program.get_args());
    strace.current_dir(folder).env("XDG_CONFIG_HOME", folder).env("HOME", folder);
    (ended(strace), written_down(calls.path()))
}

fn written_down(folder: &Path) -> Vec<Call> {
    let text = std::fs::read(folder.join("calls")).unwrap();
    crate::calls::read(&String::from_utf8_lossy(&text))
}

fn skipped(why: &str) -> Option<Strace> {
    assert!(std::env::var("CI").as_deref() != Ok("true"), "strace is required here: {why}");
    println!("skipped: system calls cannot be traced here: {why}");
    None
}
