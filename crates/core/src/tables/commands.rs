//! Commands by request id: which are pending, and the lowest of them.

use super::slab::NONE;

/// The commands of one session that were given an id, in a ring indexed by it.
///
/// The lowest id in the ring is always pending, so the lowest pending id costs nothing to find; the ring moves on as
/// its first places are settled, once for each id.
#[derive(Debug)]
pub(crate) struct Commands {
    /// The lowest id in the ring.
    base: u64,
    /// The id that comes next.
    next: u64,
    /// The slot of each id, at the id modulo the length, which is a power of two. What is beyond `next` means nothing.
    ring: Vec<u32>,
    pending: usize,
}

/// A ring that grew beyond this is given back once it is empty.
const KEPT: usize = 1 << 12;

impl Commands {
    pub(crate) fn new() -> Self {
        Self { base: 1, next: 1, ring: Vec::new(), pending: 0 }
    }

    /// The id that the next command gets.
    #[inline]
    pub(crate) fn next_id(&self) -> u64 {
        self.next
    }

    /// The smallest id that is neither answered nor abandoned; the next id when there is none.
    #[inline]
    pub(crate) fn lowest(&self) -> u64 {
        self.base
    }

    /// Commands with an id and without an answer.
    #[inline]
    pub(crate) fn pending(&self) -> usize {
        self.pending
    }

    #[inline]
    fn place(&self, id: u64) -> usize {
        id as usize & self.ring.len().wrapping_sub(1)
    }

    /// Gives the next id to the command in `slot`.
    #[inline]
    pub(crate) fn assign(&mut self, slot: u32) -> u64 {
        let id = self.next;
        if id - self.base == self.ring.len() as u64 {
            self.grow();
        }
        let place = self.place(id);
        self.ring[place] = slot;
        self.next += 1;
        self.pending += 1;
        id
    }

    #[cold]
    fn grow(&mut self) {
        let length = (self.ring.len() * 2).max(16);
        let mut ring = vec![NONE; length];
        for id in self.base..self.next {
            ring[id as usize & (length - 1)] = self.ring[self.place(id)];
        }
        self.ring = ring;
    }

    #[inline]
    pub(crate) fn slot(&self, id: u64) -> Option<u32> {
        if id < self.base || id >= self.next {
            return None;
        }
        let slot = self.ring[self.place(id)];
        (slot != NONE).then_some(slot)
    }

    /// Forgets an id that was answered or abandoned.
    #[inline]
    pub(crate) fn settle(&mut self, id: u64) {
        if self.slot(id).is_none() {
            return;
        }
        let place = self.place(id);
        self.ring[place] = NONE;
        self.pending -= 1;
        if id == self.base {
            self.base += 1;
            while self.base < self.next && self.ring[self.place(self.base)] == NONE {
                self.base += 1;
            }
        }
        // What an outage made large shrinks again once it is empty.
        if self.base == self.next && self.ring.len() > KEPT {
            self.ring = Vec::new();
        }
    }

    /// The pending commands in id order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u64, u32)> + '_ {
        (self.base..self.next).filter_map(|id| Some((id, self.slot(id)?)))
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
