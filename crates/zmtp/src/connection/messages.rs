//! A batch of received messages, each read in place.

use std::ops::Range;

use bytes::Bytes;

use crate::frame::{self, Header};

/// A batch of consecutive whole messages that share the bytes they were received in.
#[derive(Debug, Clone)]
pub struct Messages {
    /// Whole frames with nothing between them.
    bytes: Bytes,
    /// The start and end of the first remaining message within `bytes`.
    start: usize,
    end: usize,
    /// Whether a message remains.
    left: bool,
}

impl Messages {
    pub(super) fn new(bytes: Bytes) -> Self {
        let mut messages = Self { bytes, start: 0, end: 0, left: true };
        messages.advance();
        messages
    }

    /// Returns the first remaining message without removing it.
    #[inline]
    pub fn first(&self) -> Option<&[u8]> {
        if self.left { self.bytes.get(self.start..self.end) } else { None }
    }

    /// Removes and returns the first remaining message, which shares the batch's bytes.
    pub fn take_first(&mut self) -> Option<Bytes> {
        self.first()?;
        let message = self.bytes.slice(self.start..self.end);
        self.advance();
        Some(message)
    }

    /// Removes the first remaining message and returns where a part of it lies in [`bytes`](Self::bytes). A caller with
    /// many messages slices each part when it is needed, and counts no reference before.
    ///
    /// # Panics
    /// Panics if the part is not within the message.
    #[inline]
    pub fn take_place(&mut self, part: Range<usize>) -> Range<usize> {
        let (from, to) = (self.start + part.start, self.start + part.end);
        assert!(from <= to && to <= self.end, "the part must lie within the message");
        self.advance();
        from..to
    }

    /// Returns the bytes of the whole batch, those of messages that were removed included.
    #[inline]
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// Returns the bytes of the whole batch.
    pub fn into_bytes(self) -> Bytes {
        self.bytes
    }

    #[inline]
    fn advance(&mut self) {
        // `whole` has checked that each frame is complete.
        match self.bytes.get(self.end..).and_then(Header::read) {
            Some(header) => {
                self.start = self.end + header.size;
                self.end = self.start + header.length as usize;
            }
            None => self.left = false,
        }
    }
}

/// Counts the whole single-frame messages of at most `longest` bytes at the front. Returns their number and their total
/// length in bytes, headers included.
pub(super) fn whole(bytes: &[u8], longest: u64) -> (u64, usize) {
    let (mut count, mut end) = (0, 0);
    while let Some(header) = bytes.get(end..).and_then(Header::read) {
        let plain = header.flags & (frame::COMMAND | frame::MORE) == 0;
        if !plain || header.length > longest {
            break;
        }
        let next = end + header.size + header.length as usize;
        if next > bytes.len() {
            break;
        }
        count += 1;
        end = next;
    }
    (count, end)
}
