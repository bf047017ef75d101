//! Returns the memory of buffers and queues that a burst has grown, so that the burst does not occupy it for the life of
//! their owner.

use std::collections::VecDeque;

use bytes::BytesMut;

/// Frees an empty buffer if its allocation has room for more than `keep` bytes.
#[inline]
pub fn release_buffer(buffer: &mut BytesMut, keep: usize) {
    // `capacity` does not count the bytes before the buffer's start, which an empty buffer can reclaim.
    if buffer.is_empty() && buffer.try_reclaim(keep + 1) {
        *buffer = BytesMut::new();
    }
}

/// Frees an empty queue if it has room for more than `keep` items.
#[inline]
pub fn release_queue<T>(queue: &mut VecDeque<T>, keep: usize) {
    if queue.is_empty() && queue.capacity() > keep {
        *queue = VecDeque::new();
    }
}

#[cfg(test)]
mod tests {
    use bytes::Buf;

    use super::*;

    #[test]
    fn empty_buffer_is_freed_if_it_is_larger_than_what_is_kept() {
        for (size, kept) in [(1000, true), (1001, false)] {
            let mut buffer = BytesMut::with_capacity(size);
            buffer.extend_from_slice(&vec![7; size]);
            release_buffer(&mut buffer, 1000);
            assert_eq!(buffer.len(), size, "a buffer with bytes stays as it is");
            buffer.advance(size);
            release_buffer(&mut buffer, 1000);
            assert_eq!(buffer.try_reclaim(size), kept, "{size}");
        }
    }

    #[test]
    fn empty_queue_is_freed_if_it_is_larger_than_what_is_kept() {
        let mut queue: VecDeque<_> = (0..1000).collect();
        release_queue(&mut queue, 10);
        assert_eq!(queue.len(), 1000, "a queue with items stays as it is");
        queue.clear();
        let capacity = queue.capacity();
        release_queue(&mut queue, capacity);
        assert!(queue.capacity() >= 1000);
        release_queue(&mut queue, 10);
        assert_eq!(queue.capacity(), 0);
    }
}
