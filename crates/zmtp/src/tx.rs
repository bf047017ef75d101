//! The transmit buffer: short data is copied into one growing tail, and long payloads are queued without copying.

use std::{collections::VecDeque, io::IoSlice};

use bytes::{Buf, Bytes, BytesMut};

use crate::memory;

/// Shared bytes from this length on are queued without copying. A copy of 16 KiB takes about a microsecond; below that, it
/// costs less than another segment, which needs an entry in the queue and a slice in each vectored write.
pub(crate) const SHARE_FROM: usize = 16 << 10;
/// An empty tail with more capacity than this is freed, so that one burst does not occupy memory for the life of a
/// connection. Steady traffic never reallocates: this project's client queues at most 256 KiB ahead of the socket, and a
/// growing buffer has up to twice the capacity.
const KEEP: usize = 512 << 10;

/// The bytes that wait to be written to the socket, in order.
///
/// Write from [`Buf::chunk`] or [`Buf::chunks_vectored`], then call [`Buf::advance`] with the number of bytes that the
/// socket took.
#[derive(Debug, Default)]
pub struct TxBuffer {
    segments: VecDeque<Bytes>,
    /// The number of bytes in all segments.
    segmented: usize,
    tail: BytesMut,
    written: u64,
}

impl TxBuffer {
    #[inline]
    pub(crate) fn put_slice(&mut self, bytes: &[u8]) {
        self.tail.extend_from_slice(bytes);
    }

    pub(crate) fn put_shared(&mut self, bytes: Bytes) {
        if bytes.len() < SHARE_FROM {
            self.put_slice(&bytes);
            return;
        }
        if !self.tail.is_empty() {
            let tail = self.tail.split().freeze();
            self.segmented += tail.len();
            self.segments.push_back(tail);
        }
        self.segmented += bytes.len();
        self.segments.push_back(bytes);
    }

    /// Reserves room for `count` bytes that will be copied.
    #[inline]
    pub(crate) fn reserve(&mut self, count: usize) {
        self.tail.reserve(count);
    }

    /// Returns the number of bytes ever removed by `advance`.
    pub(crate) fn written(&self) -> u64 {
        self.written
    }

    pub(crate) fn clear(&mut self) {
        self.segments.clear();
        self.segmented = 0;
        self.tail = BytesMut::new();
    }
}

impl Buf for TxBuffer {
    fn remaining(&self) -> usize {
        self.segmented + self.tail.len()
    }

    fn chunk(&self) -> &[u8] {
        self.segments.front().map_or(&self.tail[..], |segment| &segment[..])
    }

    fn chunks_vectored<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let tail = (!self.tail.is_empty()).then_some(&self.tail[..]);
        let chunks = self.segments.iter().map(|segment| &segment[..]).chain(tail);
        let mut count = 0;
        for (slice, chunk) in slices.iter_mut().zip(chunks) {
            *slice = IoSlice::new(chunk);
            count += 1;
        }
        count
    }

    /// # Panics
    /// Panics if `count` is above [`remaining`](Buf::remaining).
    fn advance(&mut self, mut count: usize) {
        assert!(count <= self.remaining(), "cannot advance past the end of the buffer");
        self.written += count as u64;
        while let Some(segment) = self.segments.front_mut() {
            if count == 0 {
                return;
            }
            let step = count.min(segment.len());
            segment.advance(step);
            self.segmented -= step;
            count -= step;
            if segment.is_empty() {
                self.segments.pop_front();
            }
        }
        if count == self.tail.len() {
            // Reuse the allocation from its beginning, unless it grew large.
            self.tail.clear();
            let _ = self.tail.try_reclaim(self.tail.capacity() + 1);
            memory::release_buffer(&mut self.tail, KEEP);
        } else {
            self.tail.advance(count);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Drains the buffer in pieces. Returns true if more than `KEEP` bytes are still allocated.
    fn stays_large_after(tx: &mut TxBuffer, piece: usize) -> bool {
        while tx.has_remaining() {
            tx.advance(piece.min(tx.remaining()));
        }
        tx.tail.try_reclaim(KEEP + 1)
    }

    #[test]
    fn large_tail_is_freed_after_writes_of_any_size() {
        for piece in [usize::MAX, 1 << 20, 64 << 10, 1000] {
            let mut tx = TxBuffer::default();
            for _ in 0..4096 {
                tx.put_slice(&[1; 1024]);
            }
            assert!(!stays_large_after(&mut tx, piece), "in pieces of {piece}");
        }
    }

    #[test]
    fn large_tail_before_a_shared_segment_is_freed() {
        let mut tx = TxBuffer::default();
        tx.put_slice(&[1; 4 << 20]);
        tx.put_shared(Bytes::from(vec![2; SHARE_FROM]));
        tx.put_slice(&[3; 10]);
        assert!(!stays_large_after(&mut tx, 64 << 10));
    }

    #[test]
    fn small_tail_is_kept() {
        let mut tx = TxBuffer::default();
        tx.put_slice(&[1; 100_000]);
        stays_large_after(&mut tx, 64 << 10);
        assert!(tx.tail.try_reclaim(100_000));
    }
}
