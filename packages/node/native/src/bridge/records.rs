//! Records on their way to the outbox.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use zraft_client::binding::core::Failure;

use crate::channel::Channel;
use crate::json;
use crate::layout::{self, CHUNK, HEADER, Id, Kind, MAX_INLINE};

/// Writes records into chunks and delivers each chunk that is full.
pub(super) struct Records {
    channel: Arc<Channel>,
    chunk: Vec<u8>,
    out_of_line: VecDeque<Bytes>,
    /// Bytes of `out_of_line`.
    out_of_line_bytes: usize,
}

impl Records {
    pub(super) fn new(channel: Arc<Channel>) -> Self {
        Self { channel, chunk: Vec::new(), out_of_line: VecDeque::new(), out_of_line_bytes: 0 }
    }

    /// Writes a record without bytes.
    pub(super) fn write(&mut self, kind: Kind, id: impl Into<Id>, head: &[u8]) {
        self.write_inline(kind, id, head, &[]);
    }

    /// Writes a record with bytes: in the chunk if they are short, outside if they are long.
    pub(super) fn write_bytes(&mut self, kind: Kind, id: impl Into<Id>, head: &[u8], bytes: Bytes) {
        if bytes.len() > MAX_INLINE {
            self.make_room(head.len());
            layout::write(&mut self.chunk, kind, id.into(), head, None, bytes.len());
            self.out_of_line_bytes += bytes.len();
            self.out_of_line.push_back(bytes);
        } else {
            self.write_inline(kind, id, head, &bytes);
        }
    }

    /// Writes a record whose head is a failure.
    pub(super) fn write_failure(&mut self, kind: Kind, id: impl Into<Id>, failure: &Failure) {
        let text = json::failure(failure).to_string();
        self.write(kind, id, text.as_bytes());
    }

    /// Returns true if the outbox is crowded, with the bytes that were written and not delivered.
    pub(super) fn is_crowded(&self) -> bool {
        self.channel.is_crowded(self.out_of_line_bytes)
    }

    /// Delivers all that was written.
    pub(super) fn deliver(&mut self) {
        if !self.chunk.is_empty() {
            self.channel.deliver(&mut self.chunk, &mut self.out_of_line);
            self.out_of_line_bytes = 0;
        }
    }

    fn write_inline(&mut self, kind: Kind, id: impl Into<Id>, head: &[u8], bytes: &[u8]) {
        self.make_room(head.len() + bytes.len());
        layout::write(&mut self.chunk, kind, id.into(), head, Some(bytes), bytes.len());
    }

    /// Delivers the chunk if a record with this many bytes, each of its two parts padded, does not fit.
    fn make_room(&mut self, length: usize) {
        const PADDING: usize = 2 * 4;
        if !self.chunk.is_empty() && self.chunk.len() + HEADER + length + PADDING > CHUNK {
            self.deliver();
        }
    }
}
