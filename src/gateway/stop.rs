//! The word to stop, from outside. Said once, everything ends in order; said again, what is only convenient is cut short, and
//! what must be seen to its end is named.

use std::sync::Arc;

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

/// The word to stop; clones share it.
#[derive(Debug, Clone, Default)]
pub struct Stop {
    asked: CancellationToken,
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

    /// Asks, once more if it was asked already.
    pub fn ask(&self) {
        if self.asked.is_cancelled() {
            self.hurried.cancel();
            self.again.notify_waiters();
        }
        self.asked.cancel();
    }

    /// Begins the end without hurrying it if it has begun.
    pub fn begin(&self) {
        self.asked.cancel();
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
}
