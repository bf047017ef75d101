//! Deadlines of requests: a hierarchical timing wheel, threaded through the slab.
//!
//! It has six levels of 64 slots, and a tick of one millisecond. Adding and removing touch one slot, and an entry is
//! moved down at most once per level. A deadline never fires early: it fires at the first tick at or after it.

use std::time::Duration;

use super::slab::{NONE, Neighbours, Slab};
use crate::Instant;

const LEVELS: usize = 6;
const BITS: u32 = 6;
const SLOTS: usize = 1 << BITS;
const MASK: u64 = SLOTS as u64 - 1;
const TICK_NANOS: u64 = 1_000_000;
/// A deadline can lie this many ticks ahead of the wheel: about 2 years. The wheel waits for a later one in steps.
const HORIZON: u64 = 1 << (BITS * LEVELS as u32);

#[derive(Debug)]
pub(crate) struct Wheel {
    /// The first tick not yet processed.
    current: u64,
    /// The latest time at which a deadline was added, in nanoseconds. The wheel asks to be woken no earlier than its
    /// tick.
    seen: u64,
    /// The first entry of each slot, level by level.
    heads: [u32; SLOTS * LEVELS],
    /// One bit for each slot that has an entry.
    occupied: [u64; LEVELS],
    /// The tick placed last, `current` at that time, and its slot. Requests that come together have the same deadline.
    last: (u64, u64, usize),
}

impl Wheel {
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            current: now.as_nanos() / TICK_NANOS,
            seen: 0,
            heads: [NONE; SLOTS * LEVELS],
            occupied: [0; LEVELS],
            last: (0, u64::MAX, 0),
        }
    }

    /// Returns the tick at which a deadline `after` from `now` fires.
    pub(crate) fn tick(now: Instant, after: Duration) -> u64 {
        (now + after).as_nanos().div_ceil(TICK_NANOS)
    }

    #[inline]
    pub(crate) fn add(&mut self, slab: &mut Slab, now: Instant, slot: u32, tick: u64) {
        if self.seen < now.as_nanos() {
            self.seen = now.as_nanos();
        }
        slab.get_mut(slot).deadline = tick;
        self.place(slab, slot, tick);
    }

    #[inline]
    pub(crate) fn remove(&mut self, slab: &mut Slab, slot: u32) {
        let entry = slab.get_mut(slot);
        if entry.deadline == u64::MAX {
            return;
        }
        entry.deadline = u64::MAX;
        let Neighbours { prev, next } = entry.timer;
        if next != NONE {
            slab.get_mut(next).timer.prev = prev;
        }
        // The first entry of a slot carries the slot's mark instead of a neighbour.
        if let Some(head) = head_of(prev) {
            self.heads[head] = next;
            if next == NONE {
                self.occupied[head / SLOTS] &= !(1 << (head % SLOTS));
            }
        } else {
            slab.get_mut(prev).timer.next = next;
        }
    }

    /// Returns the earliest time at which a deadline may fire: perhaps earlier than the first deadline, never later.
    pub(crate) fn next(&self) -> Option<Instant> {
        let (_, _, tick) = self.next_slot()?;
        Some(Instant::from_nanos(tick.max(self.seen / TICK_NANOS).saturating_mul(TICK_NANOS)))
    }

    /// Takes out every entry whose deadline is at or before `now`, in the order of deadlines.
    pub(crate) fn expire(&mut self, slab: &mut Slab, now: Instant, expired: &mut Vec<u32>) {
        let target = now.as_nanos() / TICK_NANOS;
        while let Some((level, index, tick)) = self.next_slot() {
            if tick > target {
                break;
            }
            self.current = self.current.max(tick);
            let mut slot = std::mem::replace(&mut self.heads[level * SLOTS + index], NONE);
            self.occupied[level] &= !(1 << index);
            while slot != NONE {
                let entry = slab.get_mut(slot);
                let next = entry.timer.next;
                let deadline = entry.deadline;
                if deadline <= self.current {
                    entry.deadline = u64::MAX;
                    expired.push(slot);
                } else {
                    self.place(slab, slot, deadline);
                }
                slot = next;
            }
        }
        self.current = self.current.max(target + 1);
    }

    #[inline]
    fn place(&mut self, slab: &mut Slab, slot: u32, tick: u64) {
        if self.last.0 != tick || self.last.1 != self.current {
            self.last = (tick, self.current, self.find_place(tick));
        }
        let head = self.last.2;
        let next = std::mem::replace(&mut self.heads[head], slot);
        slab.get_mut(slot).timer = Neighbours { prev: head_mark(head), next };
        if next == NONE {
            self.occupied[head / SLOTS] |= 1 << (head % SLOTS);
        } else {
            slab.get_mut(next).timer.prev = slot;
        }
    }

    #[cold]
    fn find_place(&self, tick: u64) -> usize {
        let tick = tick.clamp(self.current, self.current + HORIZON / 2);
        let level = ((63 - ((tick ^ self.current) | MASK).leading_zeros()) / BITS) as usize;
        let level = level.min(LEVELS - 1);
        level * SLOTS + ((tick >> (BITS * level as u32)) & MASK) as usize
    }

    /// Returns the occupied slot whose time comes first: its level, its index and its tick. Of two with the same
    /// time, it is the one on the higher level, whose entries must be moved down.
    fn next_slot(&self) -> Option<(usize, usize, u64)> {
        let mut best: Option<(usize, usize, u64)> = None;
        for level in 0..LEVELS {
            let occupied = self.occupied[level];
            if occupied == 0 {
                continue;
            }
            let shift = BITS * level as u32;
            let here = (self.current >> shift) & MASK;
            let ahead = occupied.rotate_right(here as u32).trailing_zeros();
            let index = (here + u64::from(ahead)) & MASK;
            let start = ((self.current >> shift) + u64::from(ahead)) << shift;
            let tick = start.max(self.current);
            if best.is_none_or(|(_, _, earliest)| tick <= earliest) {
                best = Some((level, index as usize, tick));
            }
        }
        best
    }
}

/// Returns the mark of a slot of the wheel: a number that no slot of the slab reaches.
#[inline]
fn head_mark(head: usize) -> u32 {
    NONE - 1 - head as u32
}

#[inline]
fn head_of(mark: u32) -> Option<usize> {
    let head = NONE.wrapping_sub(1).wrapping_sub(mark) as usize;
    (head < LEVELS * SLOTS).then_some(head)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use bytes::Bytes;

    use super::*;
    use crate::{RequestKind, rng::Rng};

    #[test]
    fn every_deadline_fires_at_its_tick_neither_early_nor_late() {
        let mut rng = Rng::new(7);
        let mut slab = Slab::default();
        let start = Instant::from_nanos(1_234_567_890_123);
        let mut wheel = Wheel::new(start);
        let mut now = start;
        let mut model: BTreeMap<u32, u64> = BTreeMap::new();
        let mut fired = Vec::new();
        for _ in 0..20_000 {
            match rng.below(4) {
                0 | 1 => {
                    let slot = slab.insert(Instant::ZERO, RequestKind::Query, Bytes::new(), 0).slot;
                    let scale = rng.below(38);
                    let after = Duration::from_micros(rng.below(1 << scale));
                    let tick = Wheel::tick(now, after);
                    wheel.add(&mut slab, now, slot, tick);
                    model.insert(slot, tick);
                }
                2 => {
                    if let Some((&slot, _)) = model.iter().nth(rng.below(8) as usize) {
                        model.remove(&slot);
                        wheel.remove(&mut slab, slot);
                        slab.remove(slot);
                    }
                }
                _ => {
                    let scale = rng.below(32);
                    now = now + Duration::from_micros(rng.below(1 << scale));
                    let tick = now.as_nanos() / TICK_NANOS;
                    wheel.expire(&mut slab, now, &mut fired);
                    let mut expected: Vec<u32> = model
                        .iter()
                        .filter(|(_, at)| **at <= tick)
                        .map(|(slot, _)| *slot)
                        .collect();
                    fired.sort_unstable();
                    expected.sort_unstable();
                    assert_eq!(fired, expected);
                    for slot in fired.drain(..) {
                        model.remove(&slot);
                        slab.remove(slot);
                    }
                    let first = model.values().min().map(|tick| tick * TICK_NANOS);
                    match (first, wheel.next()) {
                        (Some(first), Some(next)) => assert!(next.as_nanos() <= first),
                        (first, next) => assert_eq!(first.is_some(), next.is_some()),
                    }
                }
            }
        }
    }

    fn with_one(start: Instant, tick: u64) -> (Wheel, Slab, u32) {
        let (mut wheel, mut slab) = (Wheel::new(start), Slab::default());
        let slot = slab.insert(Instant::ZERO, RequestKind::Query, Bytes::new(), 0).slot;
        wheel.add(&mut slab, start, slot, tick);
        (wheel, slab, slot)
    }

    #[test]
    fn a_deadline_beyond_the_horizon_fires_at_its_tick() {
        let start = Instant::from_nanos(1_234_567_890_123);
        let now = start.as_nanos() / TICK_NANOS;
        for ahead in [HORIZON / 2 + 1, HORIZON - 1, HORIZON, HORIZON + 1, 2 * HORIZON] {
            let (mut wheel, mut slab, slot) = with_one(start, now + ahead);
            let mut at = start;
            let mut fired = Vec::new();
            let mut calls = 0;
            while fired.is_empty() {
                let next = wheel.next().unwrap();
                assert!(next > at, "{ahead}: the wheel asks to be woken at once, again and again");
                at = next;
                wheel.expire(&mut slab, at, &mut fired);
                calls += 1;
            }
            assert_eq!((fired, at.as_nanos() / TICK_NANOS), (vec![slot], now + ahead));
            assert!(calls <= 200, "{ahead}: {calls}");
        }
    }

    #[test]
    fn a_deadline_added_for_a_tick_that_is_over_fires_at_the_next() {
        let start = Instant::from_nanos(100 * TICK_NANOS);
        let (mut wheel, mut slab, first) = with_one(start, 100);
        let mut fired = Vec::new();
        wheel.expire(&mut slab, start, &mut fired);
        assert_eq!(fired, [first]);
        let late = slab.insert(Instant::ZERO, RequestKind::Query, Bytes::new(), 0).slot;
        wheel.add(&mut slab, start, late, 100);
        assert_eq!(wheel.next(), Some(Instant::from_nanos(101 * TICK_NANOS)));
    }
}
