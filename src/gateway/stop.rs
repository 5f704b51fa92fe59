//! The word to stop, from outside. Said once, everything ends in order; said again, what is only convenient is cut short, and
//! what must be seen to its end is named.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    time::Duration,
};

use tokio::{sync::Notify, time::sleep};
use tokio_util::sync::CancellationToken;

/// The word to stop; clones share it.
#[derive(Debug, Clone, Default)]
pub struct Stop {
    asked: CancellationToken,
    /// Whether connections are still accepted for a while, and the end of that.
    delays: Arc<AtomicBool>,
    delayed: CancellationToken,
    hurried: CancellationToken,
    again: Arc<Notify>,
}

impl From<CancellationToken> for Stop {
    fn from(asked: CancellationToken) -> Self {
        Self { asked, ..Self::default() }
    }
}

impl Stop {
    /// Nobody has asked yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Asks, once more if it was asked already: that ends a delay, and else it hurries.
    pub fn ask(&self) {
        if self.asked.is_cancelled() {
            if self.delays.load(SeqCst) && !self.delayed.is_cancelled() {
                self.delayed.cancel();
                return;
            }
            self.hurried.cancel();
            self.again.notify_waiters();
        }
        self.asked.cancel();
    }

    /// Begins the end without hurrying it if it has begun. There is nothing to delay it for.
    pub fn begin(&self) {
        self.delayed.cancel();
        self.asked.cancel();
    }

    /// Waits so long once somebody has asked, or until somebody asks again.
    pub async fn delay(&self, time: Duration) {
        self.delays.store(true, SeqCst);
        tokio::select! {
            () = sleep(time) => {}
            () = self.delayed.cancelled() => {}
            () = self.hurried.cancelled() => {}
        }
        self.delayed.cancel();
    }

    /// Cancelled when somebody asked.
    pub fn asked(&self) -> &CancellationToken {
        &self.asked
    }

    /// Cancelled when somebody asked twice.
    pub fn hurried(&self) -> &CancellationToken {
        &self.hurried
    }

    /// Waits until somebody asks who is not the first.
    pub async fn asked_again(&self) {
        self.again.notified().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_second_word_hurries_and_every_further_one_is_heard() {
        let stop = Stop::new();
        stop.ask();
        assert!(stop.asked().is_cancelled() && !stop.hurried().is_cancelled());
        stop.begin();
        assert!(!stop.hurried().is_cancelled());
        for _ in 0..2 {
            let heard = stop.asked_again();
            tokio::pin!(heard);
            assert!(futures_util::FutureExt::now_or_never(heard.as_mut()).is_none());
            stop.ask();
            heard.await;
        }
        assert!(stop.hurried().is_cancelled());
    }

    #[tokio::test(start_paused = true)]
    async fn the_second_word_ends_a_delay_and_the_third_hurries() {
        let stop = Stop::new();
        stop.ask();
        let minute = Duration::from_secs(60);
        tokio::join!(stop.delay(minute), async { stop.ask() });
        assert!(!stop.hurried().is_cancelled());
        stop.ask();
        assert!(stop.hurried().is_cancelled());
    }
}
