//! Commands by request id: which are pending, and the lowest of them.

use std::collections::VecDeque;

use super::slab::NONE;

/// The commands of one session that were given an id, in a ring indexed by it.
///
/// The first place of the ring is always pending, so the lowest pending id costs nothing to find; the ring moves on as
/// its first places are settled, once for each id.
#[derive(Debug)]
pub(crate) struct Commands {
    /// The id of the ring's first place.
    base: u64,
    ring: VecDeque<u32>,
    pending: usize,
}

impl Commands {
    pub(crate) fn new() -> Self {
        Self { base: 1, ring: VecDeque::new(), pending: 0 }
    }

    /// The id that the next command gets.
    pub(crate) fn next_id(&self) -> u64 {
        self.base + self.ring.len() as u64
    }

    /// The smallest id that is neither answered nor abandoned; the next id when there is none.
    pub(crate) fn lowest(&self) -> u64 {
        self.base
    }

    /// Commands with an id and without an answer.
    pub(crate) fn pending(&self) -> usize {
        self.pending
    }

    /// Gives the next id to the command in `slot`.
    pub(crate) fn assign(&mut self, slot: u32) -> u64 {
        let id = self.next_id();
        self.ring.push_back(slot);
        self.pending += 1;
        id
    }

    pub(crate) fn slot(&self, id: u64) -> Option<u32> {
        let index = usize::try_from(id.checked_sub(self.base)?).ok()?;
        self.ring.get(index).copied().filter(|slot| *slot != NONE)
    }

    /// Forgets an id that was answered or abandoned.
    pub(crate) fn settle(&mut self, id: u64) {
        let Some(place) = id
            .checked_sub(self.base)
            .and_then(|index| self.ring.get_mut(usize::try_from(index).ok()?))
        else {
            return;
        };
        if std::mem::replace(place, NONE) == NONE {
            return;
        }
        self.pending -= 1;
        while self.ring.front() == Some(&NONE) {
            self.ring.pop_front();
            self.base += 1;
        }
        // What an outage made large shrinks again once it is empty.
        if self.ring.is_empty() && self.ring.capacity() > 1 << 16 {
            self.ring = VecDeque::new();
        }
    }

    /// The pending commands in id order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u64, u32)> + '_ {
        (self.base..).zip(self.ring.iter().copied()).filter(|(_, slot)| *slot != NONE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ring_that_grew_large_is_given_back_when_it_is_empty_and_a_small_one_is_kept() {
        let mut commands = Commands::new();
        for slot in 0..100_000 {
            commands.assign(slot);
        }
        for id in 1..=100_000 {
            commands.settle(id);
        }
        assert_eq!(commands.ring.capacity(), 0);
        for slot in 0..100 {
            commands.assign(slot);
        }
        for id in 100_001..=100_100 {
            commands.settle(id);
        }
        assert!(commands.ring.capacity() >= 100);
        assert_eq!(
            (commands.lowest(), commands.next_id(), commands.pending()),
            (100_101, 100_101, 0)
        );
    }
}
