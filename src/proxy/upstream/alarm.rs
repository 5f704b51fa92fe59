//! Timers that are used again. The one rule: an alarm never rings late; that it may wake early, once, is what makes it cheap.
//!
//! A fresh timer for every request means two turns of the runtime's timer wheel each time, and now and then a system
//! call. Nearly all time limits are never reached, so a used timer keeps running towards its old moment and is moved
//! only when it rings: once in half a minute instead of once a request.

use std::{
    cell::RefCell,
    future::Future,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
};

use tokio::time::{Instant, Sleep, sleep_until};

/// Enough for the exchanges that are under way at once on one worker; more are simply made anew.
const SPARE: usize = 256;

/// The timers of one worker that are not in use.
#[derive(Default)]
pub(super) struct Alarms {
    spare: RefCell<Vec<Pin<Box<Sleep>>>>,
}

/// A timer on loan.
pub(super) struct Alarm {
    sleep: Option<Pin<Box<Sleep>>>,
    home: Rc<Alarms>,
}

impl Alarm {
    pub(super) fn new(home: &Rc<Alarms>) -> Self {
        Self { sleep: None, home: home.clone() }
    }

    /// Ready when `deadline` has come. Each call may name another one.
    pub(super) fn poll_until(&mut self, deadline: Instant, cx: &mut Context<'_>) -> Poll<()> {
        let spare = || self.home.spare.borrow_mut().pop();
        let sleep =
            self.sleep.get_or_insert_with(|| spare().unwrap_or_else(|| Box::pin(sleep_until(deadline))));
        loop {
            if sleep.deadline() > deadline {
                sleep.as_mut().reset(deadline);
            }
            ready!(sleep.as_mut().poll(cx));
            if sleep.deadline() >= deadline {
                return Poll::Ready(());
            }
            sleep.as_mut().reset(deadline);
        }
    }
}

impl Drop for Alarm {
    fn drop(&mut self) {
        let Some(sleep) = self.sleep.take() else { return };
        if let Ok(mut spare) = self.home.spare.try_borrow_mut()
            && spare.len() < SPARE
        {
            spare.push(sleep);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{future::poll_fn, time::Duration};

    use super::*;

    async fn ring(alarm: &mut Alarm, after: Duration) -> Duration {
        let start = Instant::now();
        poll_fn(|cx| alarm.poll_until(start + after, cx)).await;
        start.elapsed()
    }

    #[tokio::test(start_paused = true)]
    async fn a_used_alarm_rings_at_the_new_moment_be_it_later_or_earlier() {
        let home = Rc::new(Alarms::default());
        let (short, long) = (Duration::from_secs(1), Duration::from_secs(30));
        assert_eq!(ring(&mut Alarm::new(&home), short).await, short);
        let mut alarm = Alarm::new(&home);
        let never = Instant::now() + long;
        assert!(poll_fn(|cx| Poll::Ready(alarm.poll_until(never, cx))).await.is_pending());
        drop(alarm);
        assert_eq!(home.spare.borrow().len(), 1);
        assert_eq!(ring(&mut Alarm::new(&home), short).await, short);
        assert_eq!(ring(&mut Alarm::new(&home), long).await, long);
        assert_eq!(home.spare.borrow().len(), 1);
    }
}
