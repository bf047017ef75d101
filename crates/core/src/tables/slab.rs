//! The slab that holds every request.

use std::cell::Cell;

use bytes::Bytes;

use crate::{ConnId, Instant, RequestKey, RequestKind};

/// Stands for "no slot" in links.
pub(crate) const NONE: u32 = u32::MAX;

/// How far a request has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// The slot is free.
    Free,
    /// It waits, and was never handed to a transport in this session.
    Queued,
    /// It was handed to a transport and is not answered, and its caller waits.
    Live,
    /// It was handed to a transport and is not answered. Its caller was given "outcome unknown", and may still ask
    /// for the answer.
    Detached,
}

/// The neighbours of an entry in a list.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Neighbours {
    pub(crate) prev: u32,
    pub(crate) next: u32,
}

impl Neighbours {
    const UNLINKED: Self = Self { prev: NONE, next: NONE };
}

/// Which list or set a request stands in. It stands in one at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// In none: the slot is free, or the request is being written or was left over by an earlier connection.
    Nowhere,
    /// In the queue of its kind.
    Queue,
    /// In the order of sending on the present connection.
    Sent,
    /// Among the due requests, because the RTO passed. It waits again if the RTO grows beyond its age.
    DueByAge,
    /// Among the due requests, however old it is: it was overtaken, or left over by an earlier connection.
    Due,
}

impl Place {
    /// Returns true if a request that stands here is due for a copy.
    pub(crate) fn is_due(self) -> bool {
        matches!(self, Self::DueByAge | Self::Due)
    }
}

/// The copies of a request, as slow start counts them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Copies {
    /// It was never resent, so its answer time is a sample.
    None,
    /// It was resent, but slow start waits for none of its copies.
    Uncounted,
    /// Slow start waits for the answer to a copy, on the present connection.
    Counted,
}

/// One request.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) generation: u32,
    pub(crate) kind: RequestKind,
    pub(crate) phase: Phase,
    pub(crate) place: Place,
    pub(crate) copies: Copies,
    /// It was pending when a quarantine began.
    pub(crate) suspect: bool,
    /// The request id of a command, the counter of a query; 0 while it has none.
    pub(crate) id: u64,
    /// The order of submission, over commands and queries.
    pub(crate) submitted: u64,
    /// When it was submitted.
    pub(crate) submitted_at: Instant,
    pub(crate) payload: Bytes,
    /// The connection that it was handed to last.
    pub(crate) sent_on: ConnId,
    /// When the socket took the last byte of its frame on that connection.
    pub(crate) sent_at: Option<Instant>,
    /// How many commands that were written after its predecessor in the order of sending and before this one were
    /// answered.
    pub(crate) gap: u64,
    /// The tick of its deadline; `u64::MAX` if it has none.
    pub(crate) deadline: u64,
    pub(crate) order: Neighbours,
    pub(crate) timer: Neighbours,
}

/// Entries in slots that are reused, with a count of how often an entry was looked at.
#[derive(Debug, Default)]
pub(crate) struct Slab {
    entries: Vec<Entry>,
    free: Vec<u32>,
    /// The highest generation of the slots whose memory was given back.
    last_generation: u32,
    visits: Cell<u64>,
}

/// The memory of a slab with more slots than this is given back once every request has settled. A busy client has
/// fewer in flight; only an outage makes more.
const KEPT: usize = 1 << 12;

impl Slab {
    #[inline]
    pub(crate) fn insert(
        &mut self,
        now: Instant,
        kind: RequestKind,
        payload: Bytes,
        submitted: u64,
    ) -> RequestKey {
        let slot = match self.free.pop() {
            Some(slot) => slot,
            None => self.one_more(),
        };
        let entry = &mut self.entries[slot as usize];
        entry.generation = entry.generation.wrapping_add(1);
        entry.kind = kind;
        entry.phase = Phase::Queued;
        entry.copies = Copies::None;
        entry.suspect = false;
        entry.id = 0;
        entry.submitted = submitted;
        entry.submitted_at = now;
        // A free slot has no payload to drop.
        std::mem::forget(std::mem::replace(&mut entry.payload, payload));
        entry.sent_on = ConnId::NONE;
        entry.sent_at = None;
        entry.gap = 0;
        RequestKey { slot, generation: entry.generation }
    }

    #[cold]
    fn one_more(&mut self) -> u32 {
        self.entries.push(Entry {
            generation: self.last_generation,
            kind: RequestKind::Command,
            phase: Phase::Free,
            place: Place::Nowhere,
            copies: Copies::None,
            suspect: false,
            id: 0,
            submitted: 0,
            submitted_at: Instant::ZERO,
            payload: Bytes::new(),
            sent_on: ConnId::NONE,
            sent_at: None,
            gap: 0,
            deadline: u64::MAX,
            order: Neighbours::UNLINKED,
            timer: Neighbours::UNLINKED,
        });
        (self.entries.len() - 1) as u32
    }

    /// Frees the slot of a request that stands in no list any more. Gives back the memory of an outage with the last.
    #[inline]
    pub(crate) fn remove(&mut self, slot: u32) {
        let entry = self.get_mut(slot);
        debug_assert!(entry.place == Place::Nowhere && entry.deadline == u64::MAX);
        entry.phase = Phase::Free;
        entry.payload = Bytes::new();
        self.free.push(slot);
        if self.free.len() == self.entries.len() && self.entries.len() > KEPT {
            self.give_back();
        }
    }

    /// Gives back the memory. Generations keep counting, so an old key never matches a newer request.
    #[cold]
    fn give_back(&mut self) {
        let generations = self.entries.iter().map(|entry| entry.generation);
        self.last_generation = generations.max().unwrap_or(0);
        self.entries = Vec::new();
        self.free = Vec::new();
    }

    /// Counts a look at an entry, for tests of what a command costs. Not in a release build.
    #[inline]
    fn visit(&self) {
        if cfg!(debug_assertions) {
            self.visits.set(self.visits.get() + 1);
        }
    }

    #[inline]
    pub(crate) fn get(&self, slot: u32) -> &Entry {
        self.visit();
        &self.entries[slot as usize]
    }

    #[inline]
    pub(crate) fn get_mut(&mut self, slot: u32) -> &mut Entry {
        self.visit();
        &mut self.entries[slot as usize]
    }

    #[inline]
    pub(crate) fn key(&self, slot: u32) -> RequestKey {
        RequestKey { slot, generation: self.entries[slot as usize].generation }
    }

    /// Returns the entry that a key names, if the request has not settled.
    #[inline]
    pub(crate) fn find(&self, key: RequestKey) -> Option<&Entry> {
        let entry = self.entries.get(key.slot as usize)?;
        (entry.generation == key.generation && entry.phase != Phase::Free).then_some(entry)
    }

    /// Returns the entry that a key names, to change it.
    #[inline]
    pub(crate) fn find_mut(&mut self, key: RequestKey) -> Option<&mut Entry> {
        self.visit();
        let entry = self.entries.get_mut(key.slot as usize)?;
        (entry.generation == key.generation && entry.phase != Phase::Free).then_some(entry)
    }

    /// Returns the entry in a slot that a peer named, which may be any number.
    #[inline]
    pub(crate) fn get_if_occupied(&self, slot: u32) -> Option<&Entry> {
        self.visit();
        self.entries.get(slot as usize).filter(|entry| entry.phase != Phase::Free)
    }

    /// Returns every slot that holds a request. Scans: only for the ends of sessions and connections.
    pub(crate) fn occupied(&self) -> impl Iterator<Item = u32> + '_ {
        self.entries
            .iter()
            .enumerate()
            .filter(|(_, entry)| entry.phase != Phase::Free)
            .map(|(slot, _)| slot as u32)
    }

    pub(crate) fn visits(&self) -> u64 {
        self.visits.get()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_of_an_outage_is_given_back_and_old_keys_match_nothing() {
        let mut slab = Slab::default();
        let fill = |slab: &mut Slab| -> Vec<RequestKey> {
            let insert = |_| slab.insert(Instant::ZERO, RequestKind::Command, Bytes::new(), 0);
            (0..=KEPT).map(insert).collect()
        };
        let mut old = Vec::new();
        for _ in 0..3 {
            let keys = fill(&mut slab);
            assert!(old.iter().all(|key| slab.find(*key).is_none()));
            for key in &keys {
                slab.remove(key.slot);
            }
            assert_eq!(slab.entries.capacity(), 0);
            old.extend(keys);
        }
    }

    #[test]
    fn memory_of_a_few_thousand_requests_is_kept() {
        let mut slab = Slab::default();
        let insert = |_| slab.insert(Instant::ZERO, RequestKind::Command, Bytes::new(), 0);
        let keys: Vec<_> = (0..KEPT).map(insert).collect();
        for key in keys {
            slab.remove(key.slot);
        }
        assert!(KEPT > 1024 && slab.entries.len() == KEPT);
    }
}
