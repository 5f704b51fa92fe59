//! Who holds how many places where places are scarce. The one rule: whoever is alone may have all of them, and whoever has
//! few still finds one when others hold all.
//!
//! A place that is held cannot be taken away: an upload that trickles may hold it for minutes. So beside the `limit` places
//! that anybody may take there is a quarter more, the spare ones. One of them is only for a party that has fewer places than
//! spare ones are free (dynamic thresholds: Choudhury and Hahne, 1998), and a caller with a key may take only fewer of them
//! than are free. So however many take what they can, something is left for the next.

use std::collections::HashMap;

/// Whose a place is: one caller's, for one account.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Party {
    /// A number made of the account's name.
    pub(super) account: u64,
    /// The caller's number; 0: whoever calls where callers have no keys.
    pub(super) caller: u32,
}

/// Where a place comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Common,
    Spare,
}

/// The places and their holders.
#[derive(Debug)]
pub(super) struct Room {
    limit: usize,
    common: usize,
    spare: usize,
    held: HashMap<Party, usize>,
    callers: HashMap<u32, OfCaller>,
}

#[derive(Debug, Default, Clone, Copy)]
struct OfCaller {
    held: usize,
    spare: usize,
}

impl Room {
    pub(super) fn new(limit: usize) -> Self {
        Self { limit, common: 0, spare: 0, held: HashMap::new(), callers: HashMap::new() }
    }

    /// Places that one may have alone.
    pub(super) fn limit(&self) -> usize {
        self.limit
    }

    /// Places that are held.
    pub(super) fn taken(&self) -> usize {
        self.common + self.spare
    }

    /// What kind of place this party may take now.
    pub(super) fn kind_for(&self, party: Party) -> Option<Kind> {
        if self.common < self.limit {
            return Some(Kind::Common);
        }
        self.fits_spare(party, self.spare).then_some(Kind::Spare)
    }

    /// Whether this party could take a place of this kind if one more came free.
    pub(super) fn could_use(&self, party: Party, kind: Kind) -> bool {
        kind == Kind::Common || self.fits_spare(party, self.spare.saturating_sub(1))
    }

    fn fits_spare(&self, party: Party, taken: usize) -> bool {
        let free = (self.limit / 4).saturating_sub(taken);
        self.held(party) < free && (party.caller == 0 || self.of_caller(party.caller).spare < free)
    }

    pub(super) fn take(&mut self, party: Party, kind: Kind) {
        *self.held.entry(party).or_default() += 1;
        let of_caller = self.callers.entry(party.caller).or_default();
        of_caller.held += 1;
        match kind {
            Kind::Common => self.common += 1,
            Kind::Spare => {
                of_caller.spare += 1;
                self.spare += 1;
            }
        }
    }

    pub(super) fn give_back(&mut self, party: Party, kind: Kind) {
        if let Some(held) = self.held.get_mut(&party) {
            *held -= 1;
            if *held == 0 {
                self.held.remove(&party);
            }
        }
        let spare = usize::from(kind == Kind::Spare);
        if let Some(of_caller) = self.callers.get_mut(&party.caller) {
            of_caller.held -= 1;
            of_caller.spare -= spare;
            if of_caller.held == 0 {
                self.callers.remove(&party.caller);
            }
        }
        self.spare -= spare;
        self.common -= 1 - spare;
    }

    pub(super) fn held(&self, party: Party) -> usize {
        self.held.get(&party).copied().unwrap_or(0)
    }

    /// The lower, the sooner it is this party's turn: callers share first, then each caller's accounts.
    pub(super) fn rank(&self, party: Party) -> (usize, usize) {
        (self.of_caller(party.caller).held, self.held(party))
    }

    fn of_caller(&self, caller: u32) -> OfCaller {
        self.callers.get(&caller).copied().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn party(account: u64, caller: u32) -> Party {
        Party { account, caller }
    }

    /// Takes as many as can be had.
    fn take_all(room: &mut Room, party: Party) -> usize {
        std::iter::from_fn(|| room.kind_for(party).map(|kind| room.take(party, kind))).count()
    }

    #[test]
    fn one_alone_takes_every_common_place_and_the_next_ones_still_find_some() {
        let mut room = Room::new(256);
        let taken: Vec<usize> = (0..8).map(|account| take_all(&mut room, party(account, 0))).collect();
        assert_eq!(taken, [256, 32, 16, 8, 4, 2, 1, 1]);
        assert_eq!(room.taken(), 256 + 64);
    }

    #[test]
    fn a_caller_with_many_accounts_leaves_half_of_the_spare_places_to_others() {
        let mut room = Room::new(256);
        take_all(&mut room, party(0, 1));
        let spare: usize = (1..100).map(|account| take_all(&mut room, party(account, 1))).sum();
        assert_eq!(spare, 32);
        assert_eq!(take_all(&mut room, party(0, 2)), 16, "the same account, another caller");
    }

    #[test]
    fn what_is_given_back_can_be_taken_again() {
        let mut room = Room::new(8);
        let (greedy, modest) = (party(1, 0), party(2, 0));
        assert_eq!((take_all(&mut room, greedy), take_all(&mut room, modest)), (8, 1));
        room.give_back(modest, Kind::Spare);
        assert_eq!(room.kind_for(greedy), None);
        assert_eq!(room.kind_for(modest), Some(Kind::Spare));
        room.give_back(greedy, Kind::Common);
        assert_eq!(room.kind_for(greedy), Some(Kind::Common));
        assert_eq!((room.held(greedy), room.held(modest), room.taken()), (7, 0, 7));
    }
}
