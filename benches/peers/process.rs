//! A proxy's processes and what the operating system says of them.

use std::{
    collections::HashMap,
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

/// A process on a core of its own, ended with this.
pub(crate) struct Process(Child);

impl Process {
    /// Starts it, on the last core where there are several: load and upstream have the first.
    pub(crate) fn start(program: &Path, arguments: &[&str], folder: &Path) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let mut command = Command::new("taskset");
        command.args(["-c", &(cores - 1).to_string()]).arg(program).args(arguments).current_dir(folder);
        let log = fs::File::create(folder.join("log")).unwrap();
        command.env("PEERS_SECRET", "peers-secret").stdin(Stdio::null());
        Self(command.stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap())
    }

    pub(crate) fn is_over(&mut self) -> bool {
        self.0.try_wait().unwrap().is_some()
    }

    /// The process and what it started.
    fn family(&self) -> Vec<u32> {
        let own = self.0.id();
        let children = fs::read_to_string(format!("/proc/{own}/task/{own}/children")).unwrap_or_default();
        std::iter::once(own).chain(children.split_whitespace().map(|pid| pid.parse().unwrap())).collect()
    }

    /// CPU time until now, user and system, of each of its threads.
    pub(crate) fn cpu(&self) -> Cpu {
        let tasks = self.family().into_iter().flat_map(|pid| {
            let tasks = fs::read_dir(format!("/proc/{pid}/task")).unwrap();
            tasks.map(|task| task.unwrap().path().join("schedstat"))
        });
        let nanoseconds = |path: PathBuf| {
            let text = fs::read_to_string(&path).unwrap_or_default();
            (path, text.split_whitespace().next().map_or(0, |time| time.parse().unwrap()))
        };
        Cpu(tasks.map(nanoseconds).collect())
    }

    /// Bytes of memory it holds.
    pub(crate) fn resident(&self) -> f64 {
        let of = |pid: u32| {
            let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
            let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap_or("VmRSS: 0");
            line.split_whitespace().nth(1).unwrap().parse::<f64>().unwrap() * 1024.0
        };
        self.family().into_iter().map(of).sum()
    }
}

/// CPU time of threads, in nanoseconds.
pub(crate) struct Cpu(HashMap<PathBuf, u64>);

impl Cpu {
    /// What was used since, by all threads that are still there: those that have ended did nothing for requests.
    pub(crate) fn since(&self, before: &Self) -> Duration {
        let used = |(thread, now): (&PathBuf, &u64)| now - before.0.get(thread).unwrap_or(&0);
        Duration::from_nanos(self.0.iter().map(used).sum())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        for child in self.family().into_iter().skip(1) {
            let _ = Command::new("kill").arg(child.to_string()).stderr(Stdio::null()).status();
        }
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
