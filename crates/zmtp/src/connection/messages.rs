//! Many messages at once, each looked at where it lies.

use std::ops::Range;

use bytes::Bytes;

use crate::frame::{self, Header};

/// Whole messages that came one after the other, in the bytes they were received in.
#[derive(Debug, Clone)]
pub struct Messages {
    /// Frames, whole and without anything between them.
    bytes: Bytes,
    /// Where the first message left lies. Empty at the end of the bytes: there is none.
    start: usize,
    end: usize,
    left: bool,
}

impl Messages {
    pub(super) fn new(bytes: Bytes) -> Self {
        let mut messages = Self { bytes, start: 0, end: 0, left: true };
        messages.advance();
        messages
    }

    /// The first message left.
    #[inline]
    pub fn first(&self) -> Option<&[u8]> {
        if self.left { self.bytes.get(self.start..self.end) } else { None }
    }

    /// Takes the first message left, sharing its bytes.
    pub fn take_first(&mut self) -> Option<Bytes> {
        self.first()?;
        let message = self.bytes.slice(self.start..self.end);
        self.advance();
        Some(message)
    }

    /// Goes past the first message left and keeps a part of it, sharing its bytes.
    ///
    /// # Panics
    /// When the part is not within the message.
    #[inline]
    pub fn take_part(&mut self, part: Range<usize>) -> Bytes {
        let (from, to) = (self.start + part.start, self.start + part.end);
        assert!(from <= to && to <= self.end, "a part of the message");
        let part = if from == to { Bytes::new() } else { self.bytes.slice(from..to) };
        self.advance();
        part
    }

    #[inline]
    fn advance(&mut self) {
        // Frames were found to be whole.
        match self.bytes.get(self.end..).and_then(Header::read) {
            Some(header) => {
                self.start = self.end + header.size;
                self.end = self.start + header.length as usize;
            }
            None => self.left = false,
        }
    }
}

/// How many plain messages of at most `longest` bytes lie whole at the front, and how long they are together.
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
