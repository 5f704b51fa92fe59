//! Why an account gives out no token though nothing is wrong with its grant. Whoever asks is told at once.

use std::sync::atomic::{AtomicU8, Ordering::Relaxed};

/// Why no token is given out, or none beyond the one that is valid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Withheld {
    /// The process is about to end and begins no refresh; a valid token is used to its end.
    Ending,
    /// The account has another grant by now, with a keeper of its own.
    Replaced,
    /// It is being logged out.
    LoggingOut,
    /// It is being removed.
    Removing,
    /// Its grant is being handed out to another program.
    HandingOut,
    /// It is being connected to another seller.
    ChangingHands,
}

impl Withheld {
    const ALL: [Self; 6] = [
        Self::Ending,
        Self::Replaced,
        Self::LoggingOut,
        Self::Removing,
        Self::HandingOut,
        Self::ChangingHands,
    ];

    /// Whether even a token that is valid is not used any more.
    pub(super) fn bars_valid_tokens(self) -> bool {
        self != Self::Ending
    }

    /// What is told.
    pub(super) fn sentence(self) -> &'static str {
        match self {
            Self::Ending => "Marketgate is about to end and begins no refresh any more",
            Self::Replaced => "it has another grant by now",
            Self::LoggingOut => "it is being logged out",
            Self::Removing => "it is being removed",
            Self::HandingOut => "its grant is being handed out to another program",
            Self::ChangingHands => "it is being connected to another seller",
        }
    }
}

/// A place for one reason or none, read with every request.
#[derive(Debug, Default)]
pub(super) struct Reason(AtomicU8);

impl Reason {
    pub(super) fn get(&self) -> Option<Withheld> {
        let number = usize::from(self.0.load(Relaxed));
        number.checked_sub(1).and_then(|index| Withheld::ALL.get(index).copied())
    }

    pub(super) fn set(&self, reason: Option<Withheld>) {
        let index = reason.and_then(|reason| Withheld::ALL.iter().position(|known| *known == reason));
        let number = index.map_or(0, |index| index + 1);
        // There are six of them.
        self.0.store(u8::try_from(number).unwrap_or_default(), Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_comes_back_as_it_was_given() {
        let reason = Reason::default();
        assert_eq!(reason.get(), None);
        for given in Withheld::ALL.into_iter().map(Some).chain([None]) {
            reason.set(given);
            assert_eq!(reason.get(), given);
        }
    }
}
