//! ZMTP frames cut from a stream of bytes, written anew so that the oracle does not look through the eyes of what it judges.

use bytes::{Buf, Bytes, BytesMut};

const GREETING: usize = 64;

/// One direction of a connection, as somebody who listens in sees it.
#[derive(Debug, Default)]
pub(crate) struct Tap {
    greeted: bool,
    buffer: BytesMut,
    /// Frames above this are told by their beginning, and read past.
    limit: usize,
    skip: usize,
    /// All bytes seen.
    pub(crate) seen: u64,
}

/// A frame that was whole.
#[derive(Debug)]
pub(crate) enum Frame {
    /// READY, PING, PONG…
    Command,
    /// A message, and its length on the wire.
    Message(Bytes),
    /// The first bytes of one that is too long.
    TooLong(Bytes),
}

/// How many bytes of one that is too long tell what it was.
const HEAD: usize = 64;

impl Tap {
    pub(crate) fn with_limit(limit: usize) -> Self {
        Self { limit, ..Self::default() }
    }

    pub(crate) fn feed(&mut self, bytes: &[u8]) {
        self.seen += bytes.len() as u64;
        self.buffer.extend_from_slice(bytes);
    }

    pub(crate) fn next(&mut self) -> Option<Frame> {
        if !self.greeted {
            if self.buffer.len() < GREETING {
                return None;
            }
            self.buffer.advance(GREETING);
            self.greeted = true;
        }
        let past = self.skip.min(self.buffer.len());
        self.buffer.advance(past);
        self.skip -= past;
        let flags = *self.buffer.first()?;
        let (head, length) = if flags & 2 == 0 {
            (2, usize::from(*self.buffer.get(1)?))
        } else {
            let length: [u8; 8] = self.buffer.get(1..9)?.try_into().ok()?;
            (9, usize::try_from(u64::from_be_bytes(length)).ok()?)
        };
        if length > self.limit && self.limit > 0 {
            if self.buffer.len() < head + HEAD {
                return None;
            }
            self.buffer.advance(head);
            let told = self.buffer.split_to(HEAD).freeze();
            self.skip = length - HEAD;
            return Some(Frame::TooLong(told));
        }
        if self.buffer.len() - head < length {
            return None;
        }
        self.buffer.advance(head);
        let body = self.buffer.split_to(length).freeze();
        Some(if flags & 4 == 4 { Frame::Command } else { Frame::Message(body) })
    }

    /// Bytes seen that are not taken as frames yet.
    pub(crate) fn left(&self) -> usize {
        self.buffer.len()
    }

    /// Bytes of a message frame that has begun and is not whole.
    pub(crate) fn mid_message(&self) -> bool {
        let begun = self.buffer.first().is_some_and(|flags| flags & 4 == 0);
        self.greeted && (self.skip > 0 || begun)
    }
}
