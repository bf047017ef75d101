//! Memory of batches, used again.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};

/// So many batches are kept in sight.
const MOST: usize = 16;

/// Batches that were handed over. Their memory is free when all payloads in them are: to make it anew each time takes
/// longer than to look, the more so as another thread would have to give it back.
#[derive(Default)]
pub(crate) struct Used(VecDeque<Bytes>);

impl Used {
    /// A copy of these entries.
    pub(crate) fn copy(&mut self, entries: &[u8]) -> Bytes {
        let mut memory = self.free().unwrap_or_else(|| BytesMut::with_capacity(entries.len()));
        memory.extend_from_slice(entries);
        let copy = memory.freeze();
        self.0.push_back(copy.clone());
        copy
    }

    /// That of the oldest batch, if nobody holds a part of it any more. One that is held for long is forgotten.
    fn free(&mut self) -> Option<BytesMut> {
        if self.0.len() < MOST && !self.0.front()?.is_unique() {
            return None;
        }
        let mut memory = self.0.pop_front()?.try_into_mut().ok()?;
        memory.clear();
        Some(memory)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_used_again_when_nobody_holds_a_part_of_it() {
        let mut used = Used::default();
        let first = used.copy(&[1; 64]);
        let place = first.as_ptr();
        drop(first);
        let second = used.copy(&[2; 48]);
        assert_eq!((second.as_ptr(), &second[..]), (place, &[2; 48][..]));
    }

    #[test]
    fn what_is_held_stays_as_it_is() {
        let mut used = Used::default();
        let first = used.copy(&[1; 64]);
        let part = first.slice(16..32);
        drop(first);
        let second = used.copy(&[2; 64]);
        assert_eq!((&part[..], &second[..]), (&[1; 16][..], &[2; 64][..]));
    }

    #[test]
    fn one_that_is_held_for_long_is_forgotten() {
        let mut used = Used::default();
        let held = used.copy(&[1; 64]);
        for _ in 0..2 * MOST {
            used.copy(&[2; 64]);
        }
        assert!(used.0.len() <= MOST);
        assert!(used.0.iter().all(|batch| batch[..] != held[..]));
    }
}
