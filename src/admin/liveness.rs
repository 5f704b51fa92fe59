//! Whether every worker still gets to its tasks. Each is asked to answer from within its own runtime: a process of which one
//! thread hangs answers on the others, and would look alive.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
    time::Duration,
};

use tokio::{
    sync::{Notify, watch},
    time::{Instant, timeout_at},
};

/// How long a worker may take. Probes usually wait for a second.
const LIMIT: Duration = Duration::from_millis(750);

/// How long an answer counts: many probes cost as much as a few.
const FRESH: Duration = Duration::from_millis(100);

/// The workers of a process.
#[derive(Debug, Default)]
pub struct Liveness {
    workers: Mutex<Vec<Arc<Worker>>>,
    last: tokio::sync::Mutex<Option<(Instant, Vec<String>)>>,
}

#[derive(Debug)]
struct Worker {
    name: String,
    asked: AtomicU64,
    ask: Notify,
    /// The last question that was answered; the highest number of all once the worker has ended.
    answered: watch::Sender<u64>,
}

/// A worker's side.
#[derive(Debug)]
pub struct Pulse(Arc<Worker>);

impl Liveness {
    /// A worker of this name, which must run [`Pulse::answer`] among its tasks.
    pub fn worker(&self, name: impl Into<String>) -> Pulse {
        let worker = Arc::new(Worker {
            name: name.into(),
            asked: AtomicU64::new(0),
            ask: Notify::new(),
            answered: watch::Sender::new(0),
        });
        self.workers().push(worker.clone());
        Pulse(worker)
    }

    /// The workers that do not answer.
    pub async fn silent(&self) -> Vec<String> {
        let mut last = self.last.lock().await;
        if let Some((_, found)) = last.as_ref().filter(|(at, _)| at.elapsed() < FRESH) {
            return found.clone();
        }
        let workers = self.workers().clone();
        let asked: Vec<_> = workers.iter().map(|worker| (worker, worker.ask())).collect();
        let until = Instant::now() + LIMIT;
        let mut silent = Vec::new();
        for (worker, number) in asked {
            let mut answered = worker.answered.subscribe();
            if timeout_at(until, answered.wait_for(|last| *last >= number)).await.is_err() {
                silent.push(worker.name.clone());
            }
        }
        *last = Some((Instant::now(), silent.clone()));
        silent
    }

    fn workers(&self) -> std::sync::MutexGuard<'_, Vec<Arc<Worker>>> {
        self.workers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Worker {
    fn ask(&self) -> u64 {
        let number = self.asked.fetch_add(1, SeqCst) + 1;
        self.ask.notify_one();
        number
    }
}

impl Pulse {
    /// Answers for as long as the worker runs.
    pub async fn answer(self) {
        loop {
            self.0.ask.notified().await;
            self.0.answered.send_replace(self.0.asked.load(SeqCst));
        }
    }
}

impl Drop for Pulse {
    /// A worker that has ended is not one that hangs.
    fn drop(&mut self) {
        self.0.answered.send_replace(u64::MAX);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_worker_that_does_not_answer_is_named_and_one_that_has_ended_is_not() {
        let liveness = Liveness::default();
        let (well, hung, gone) =
            (liveness.worker("proxy-0"), liveness.worker("proxy-1"), liveness.worker("proxy-2"));
        tokio::spawn(well.answer());
        drop(gone);
        let began = Instant::now();
        assert_eq!(liveness.silent().await, ["proxy-1"]);
        assert!(began.elapsed() < Duration::from_secs(1));
        let began = Instant::now();
        assert_eq!(liveness.silent().await, ["proxy-1"]);
        assert_eq!(began.elapsed(), Duration::ZERO, "asked anew for every probe");
        tokio::spawn(hung.answer());
        tokio::time::advance(FRESH).await;
        assert!(liveness.silent().await.is_empty());
    }
}
