//! Memory of batches, reused.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};

/// The most batches that are remembered. A batch has little more than 10 KiB at most, so this is 320 KiB: enough for a burst
/// of batches that are in flight together.
const MAX_BATCHES: usize = 32;

/// The memory of batches that were pushed. A batch's memory is free once all payloads in it are dropped. Looking for free
/// memory is faster than allocating here and freeing on the driver's thread.
#[derive(Default)]
pub(crate) struct BatchMemory(VecDeque<Bytes>);

impl BatchMemory {
    /// Returns a copy of these entries.
    pub(crate) fn copy(&mut self, entries: &[u8]) -> Bytes {
        let mut memory = self.free().unwrap_or_else(|| BytesMut::with_capacity(entries.len()));
        memory.extend_from_slice(entries);
        let copy = memory.freeze();
        self.0.push_back(copy.clone());
        copy
    }

    /// Returns the memory of the oldest batch if no payload refers to it any more. When the table is full, an oldest batch
    /// that is still in use is dropped from it.
    fn free(&mut self) -> Option<BytesMut> {
        if self.0.len() < MAX_BATCHES && !self.0.front()?.is_unique() {
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
    fn memory_is_reused_once_no_payload_refers_to_it() {
        let mut batches = BatchMemory::default();
        let first = batches.copy(&[1; 64]);
        let place = first.as_ptr();
        drop(first);
        let second = batches.copy(&[2; 48]);
        assert_eq!((second.as_ptr(), &second[..]), (place, &[2; 48][..]));
    }

    #[test]
    fn memory_in_use_is_not_overwritten() {
        let mut batches = BatchMemory::default();
        let first = batches.copy(&[1; 64]);
        let part = first.slice(16..32);
        drop(first);
        let second = batches.copy(&[2; 64]);
        assert_eq!((&part[..], &second[..]), (&[1; 16][..], &[2; 64][..]));
    }

    #[test]
    fn a_batch_in_use_for_long_is_dropped_from_the_table() {
        let mut batches = BatchMemory::default();
        let held = batches.copy(&[1; 64]);
        for _ in 0..2 * MAX_BATCHES {
            batches.copy(&[2; 64]);
        }
        assert!(batches.0.len() <= MAX_BATCHES);
        assert!(batches.0.iter().all(|batch| batch[..] != held[..]));
    }
}
