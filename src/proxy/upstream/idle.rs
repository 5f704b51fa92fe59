//! What lies idle, in the order in which it fell idle. The one rule: the oldest is found, and any one taken out, in one
//! step, however many there are.

use tokio::time::Instant;

/// Marks the end of the list.
const NONE: u32 = u32::MAX;

/// A list in order of time, linked through slots that are used again.
pub(super) struct Idle<T> {
    slots: Vec<Slot<T>>,
    free: Vec<u32>,
    oldest: u32,
    newest: u32,
}

struct Slot<T> {
    item: Option<T>,
    /// How many items lay here before.
    turn: u32,
    since: Instant,
    older: u32,
    newer: u32,
}

/// Where an item lies, until it is taken out: afterwards nothing is found by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    index: u32,
    turn: u32,
}

impl<T> Default for Idle<T> {
    fn default() -> Self {
        Self { slots: Vec::new(), free: Vec::new(), oldest: NONE, newest: NONE }
    }
}

impl<T> Idle<T> {
    pub(super) fn is_empty(&self) -> bool {
        self.oldest == NONE
    }

    /// Puts an item at the young end. `now` must not be before any earlier one.
    pub(super) fn put(&mut self, item: T, now: Instant) -> Place {
        let mut slot = Slot { item: Some(item), turn: 0, since: now, older: self.newest, newer: NONE };
        let index = match self.free.pop() {
            Some(index) => {
                let before = &mut self.slots[index as usize];
                slot.turn = before.turn.wrapping_add(1);
                *before = slot;
                index
            }
            None => {
                self.slots.push(slot);
                // At most `limits.connections` items lie here, far below u32::MAX.
                (self.slots.len() - 1) as u32
            }
        };
        match self.newest {
            NONE => self.oldest = index,
            before => self.slots[before as usize].newer = index,
        }
        self.newest = index;
        self.place(index)
    }

    fn place(&self, index: u32) -> Place {
        Place { index, turn: self.slots[index as usize].turn }
    }

    /// Takes one out.
    pub(super) fn take(&mut self, Place { index, turn }: Place) -> Option<T> {
        let slot = self.slots.get_mut(index as usize).filter(|slot| slot.turn == turn)?;
        let item = slot.item.take()?;
        let (older, newer) = (slot.older, slot.newer);
        match older {
            NONE => self.oldest = newer,
            older => self.slots[older as usize].newer = newer,
        }
        match newer {
            NONE => self.newest = older,
            newer => self.slots[newer as usize].older = older,
        }
        self.free.push(index);
        Some(item)
    }

    /// Whether any of them is asked for.
    pub(super) fn any(&self, asked_for: impl Fn(&T) -> bool) -> bool {
        self.slots.iter().filter_map(|slot| slot.item.as_ref()).any(asked_for)
    }

    /// Since when the oldest lies here.
    pub(super) fn oldest_since(&self) -> Option<Instant> {
        self.slots.get(self.oldest as usize).map(|slot| slot.since)
    }

    /// Takes out the oldest of those that are asked for.
    pub(super) fn take_oldest(&mut self, asked_for: impl Fn(&T) -> bool) -> Option<(Place, T)> {
        let mut index = self.oldest;
        while let Some(slot) = self.slots.get(index as usize) {
            if slot.item.as_ref().is_some_and(&asked_for) {
                let place = self.place(index);
                return self.take(place).map(|item| (place, item));
            }
            index = slot.newer;
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Against the obvious form: a vector in order of time.
        #[test]
        fn the_list_behaves_like_a_queue_from_which_any_one_may_leave(steps in prop::collection::vec(0u8..6, 0..200)) {
            let now = Instant::now();
            let (mut idle, mut model, mut next) = (Idle::default(), Vec::new(), 0u32);
            let mut left = Vec::new();
            for step in steps {
                match step {
                    0..=2 => {
                        model.push((idle.put(next, now), next));
                        next += 1;
                    }
                    3 if !model.is_empty() => {
                        let (place, item) = model.remove(model.len() / 2);
                        prop_assert_eq!(idle.take(place), Some(item));
                        left.push(place);
                    }
                    4 => {
                        let oldest_even = model.iter().position(|(_, item)| item % 2 == 0);
                        let expected = oldest_even.map(|index| model.remove(index));
                        prop_assert_eq!(idle.take_oldest(|item| item % 2 == 0), expected);
                    }
                    _ => {
                        let expected = (!model.is_empty()).then(|| model.remove(0));
                        prop_assert_eq!(idle.take_oldest(|_| true), expected);
                    }
                }
                prop_assert_eq!(idle.is_empty(), model.is_empty());
                prop_assert!(idle.slots.len() <= 200);
                prop_assert!(left.iter().all(|place| idle.take(*place).is_none()));
            }
        }
    }
}
