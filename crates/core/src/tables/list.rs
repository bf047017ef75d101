//! A doubly linked list, threaded through the slab.

use super::slab::{NONE, Neighbours, Place, Slab};

/// A list of requests. An entry stands in at most one list at a time.
#[derive(Debug)]
pub(crate) struct List {
    place: Place,
    head: u32,
    tail: u32,
    len: usize,
}

impl List {
    pub(crate) fn new(place: Place) -> Self {
        Self { place, head: NONE, tail: NONE, len: 0 }
    }

    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    #[inline]
    pub(crate) fn front(&self) -> Option<u32> {
        (self.head != NONE).then_some(self.head)
    }

    #[inline]
    pub(crate) fn push_back(&mut self, slab: &mut Slab, slot: u32) {
        let tail = self.tail;
        let entry = slab.get_mut(slot);
        debug_assert_eq!(entry.place, Place::Nowhere);
        entry.place = self.place;
        entry.order = Neighbours { prev: tail, next: NONE };
        if tail == NONE {
            self.head = slot;
        } else {
            slab.get_mut(tail).order.next = slot;
        }
        self.tail = slot;
        self.len += 1;
    }

    pub(crate) fn push_front(&mut self, slab: &mut Slab, slot: u32) {
        let head = self.head;
        let entry = slab.get_mut(slot);
        debug_assert_eq!(entry.place, Place::Nowhere);
        entry.place = self.place;
        entry.order = Neighbours { prev: NONE, next: head };
        if head == NONE {
            self.tail = slot;
        } else {
            slab.get_mut(head).order.prev = slot;
        }
        self.head = slot;
        self.len += 1;
    }

    /// Takes an entry out from any place in the list, and returns the entry that followed it.
    #[inline]
    pub(crate) fn remove(&mut self, slab: &mut Slab, slot: u32) -> Option<u32> {
        let entry = slab.get_mut(slot);
        debug_assert_eq!(entry.place, self.place);
        let Neighbours { prev, next } = entry.order;
        entry.place = Place::Nowhere;
        if prev == NONE {
            self.head = next;
        } else {
            slab.get_mut(prev).order.next = next;
        }
        if next == NONE {
            self.tail = prev;
        } else {
            slab.get_mut(next).order.prev = prev;
        }
        self.len -= 1;
        (next != NONE).then_some(next)
    }
}
