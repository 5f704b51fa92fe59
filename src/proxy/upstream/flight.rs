//! One attempt to connect on which several requests wait. The one rule: it always lands — with a connection, with an
//! error, or, when its task dies, with the news of that — and then the way is free for the next.

use std::{cell::RefCell, rc::Rc};

use tokio::sync::Notify;

use super::error::UpstreamError;

/// An attempt under way.
pub(super) struct Flight {
    outcome: RefCell<Option<Result<(), UpstreamError>>>,
    landed: Notify,
}

impl Flight {
    /// How it ended.
    pub(super) async fn landed(&self) -> Result<(), UpstreamError> {
        // Created before the look at the outcome, so that no landing slips between the two.
        let landed = self.landed.notified();
        let known = self.outcome.borrow().clone();
        match known {
            Some(outcome) => outcome,
            None => {
                landed.await;
                self.outcome.borrow().clone().unwrap_or(Ok(()))
            }
        }
    }
}

/// The place where an attempt under way is found.
#[derive(Default)]
pub(super) struct Runway {
    flight: RefCell<Option<Rc<Flight>>>,
}

impl Runway {
    /// The attempt under way.
    pub(super) fn flight(&self) -> Option<Rc<Flight>> {
        self.flight.borrow().clone()
    }

    /// Starts one.
    pub(super) fn take_off(self: &Rc<Self>, if_lost: UpstreamError) -> Pilot {
        let flight = Rc::new(Flight { outcome: RefCell::new(None), landed: Notify::new() });
        *self.flight.borrow_mut() = Some(flight.clone());
        Pilot { runway: self.clone(), flight, outcome: Err(if_lost) }
    }
}

/// Whoever makes the attempt. Lands when dropped.
pub(super) struct Pilot {
    runway: Rc<Runway>,
    flight: Rc<Flight>,
    outcome: Result<(), UpstreamError>,
}

impl Pilot {
    pub(super) fn land(mut self, outcome: Result<(), UpstreamError>) {
        self.outcome = outcome;
    }
}

impl Drop for Pilot {
    fn drop(&mut self) {
        let mut runway = self.runway.flight.borrow_mut();
        if runway.as_ref().is_some_and(|flight| Rc::ptr_eq(flight, &self.flight)) {
            *runway = None;
        }
        *self.flight.outcome.borrow_mut() = Some(self.outcome.clone());
        self.flight.landed.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::{super::error::Cause, *};

    fn lost() -> UpstreamError {
        UpstreamError::unsent(&"api.test:443".into(), Cause::Interrupted)
    }

    #[tokio::test]
    async fn whoever_waits_learns_of_the_landing_and_of_a_crash() {
        let runway = Rc::new(Runway::default());
        let pilot = runway.take_off(lost());
        let flight = runway.flight().unwrap();
        let (landed, ()) = tokio::join!(flight.landed(), async { pilot.land(Ok(())) });
        assert_eq!(landed, Ok(()));
        assert!(runway.flight().is_none());

        let pilot = runway.take_off(lost());
        let flight = runway.flight().unwrap();
        let crash = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let _pilot = pilot;
            panic!("in the middle of connecting");
        }));
        assert!(crash.is_err() && runway.flight().is_none());
        assert_eq!(flight.landed().await, Err(lost()));
    }
}
