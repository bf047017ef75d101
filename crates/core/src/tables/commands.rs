//! Commands by request id: which are pending, and the lowest of them.

use super::slab::NONE;

/// The commands of one session that were given an id, in a ring indexed by it.
///
/// The lowest id in the ring is always pending, so finding L costs nothing. The ring moves on as its first commands
/// settle, once for each id.
#[derive(Debug)]
pub(crate) struct Commands {
    /// The lowest id in the ring.
    base: u64,
    /// The id that the next command will get.
    next: u64,
    /// The slot of each id, at the id modulo the length, which is a power of two. Places from `next` on mean nothing.
    ring: Vec<u32>,
    pending: usize,
}

/// The memory of a ring longer than this is given back once it is empty. Only an outage makes it longer.
const KEPT: usize = 1 << 12;

impl Commands {
    pub(crate) fn new() -> Self {
        Self { base: 1, next: 1, ring: Vec::new(), pending: 0 }
    }

    /// Returns the id that the next command will get.
    #[inline]
    pub(crate) fn next_id(&self) -> u64 {
        self.next
    }

    /// Returns L: the smallest id that is neither answered nor abandoned, or the next id if there is none.
    #[inline]
    pub(crate) fn lowest(&self) -> u64 {
        self.base
    }

    /// Returns how many commands have an id and are not settled.
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

    /// Returns the slot of a pending command.
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
        // A ring that an outage made large shrinks once it is empty.
        if self.base == self.next && self.ring.len() > KEPT {
            self.ring = Vec::new();
        }
    }

    /// Returns the pending commands in id order, with their slots.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u64, u32)> + '_ {
        (self.base..self.next).filter_map(|id| Some((id, self.slot(id)?)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_ring_gives_back_its_memory_if_it_grew_large() {
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
