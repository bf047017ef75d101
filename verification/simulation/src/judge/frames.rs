//! A second reader of ZMTP frames, so that the judge does not rely on the code that it judges.

use bytes::{Buf, Bytes, BytesMut};

const GREETING: usize = 64;

/// One direction of a connection, as a wiretap sees it.
#[derive(Debug, Default)]
pub(crate) struct Tap {
    greeted: bool,
    buffer: BytesMut,
    /// Of a frame longer than this, only the beginning is given; the rest is skipped. 0 is without a limit.
    limit: usize,
    skip: usize,
    /// All bytes seen.
    pub(crate) seen: u64,
    /// Bytes of message frames, headers included, from the first byte of a frame on.
    pub(crate) message_bytes: u64,
    /// Bytes of the unfinished frame at the front of `buffer` that `message_bytes` counts already.
    counted: usize,
}

/// A complete frame.
#[derive(Debug)]
pub(crate) enum Frame {
    /// A command: READY, PING, PONG and others.
    Command,
    /// The body of a message.
    Message(Bytes),
    /// The first bytes of a message that is longer than the limit.
    TooLong(Bytes),
}

/// This many bytes of a message that is too long tell which request it answers.
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
        self.message_bytes += past as u64;
        let flags = *self.buffer.first()?;
        let is_command = flags & 4 == 4;
        let header = self.header(flags);
        if !is_command {
            let whole = header.map_or(usize::MAX, |(head, length)| head + length);
            let seen = self.buffer.len().min(whole);
            self.message_bytes += (seen - self.counted) as u64;
            self.counted = seen;
        }
        let (head, length) = header?;
        if length > self.limit && self.limit > 0 {
            if self.buffer.len() < head + HEAD {
                return None;
            }
            // The rest is counted as it is skipped.
            self.message_bytes -= (self.counted - head.min(self.counted)) as u64;
            self.message_bytes += HEAD as u64;
            self.counted = 0;
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
        self.counted = 0;
        Some(if is_command { Frame::Command } else { Frame::Message(body) })
    }

    /// The lengths of the first frame's header and body, once the header is whole.
    fn header(&self, flags: u8) -> Option<(usize, usize)> {
        if flags & 2 == 0 {
            return Some((2, usize::from(*self.buffer.get(1)?)));
        }
        let length: [u8; 8] = self.buffer.get(1..9)?.try_into().ok()?;
        Some((9, usize::try_from(u64::from_be_bytes(length)).ok()?))
    }

    /// Returns how many bytes are seen but not taken as frames yet.
    pub(crate) fn left(&self) -> usize {
        self.buffer.len()
    }

    /// Returns true if the last bytes seen belong to an unfinished message frame.
    pub(crate) fn mid_message(&self) -> bool {
        self.skip > 0 || self.counted > 0
    }
}
