//! One connection to one member: its ZMTP state, and which request each frame on its way belongs to.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};
use zraft_protocol::{ClientMessage, Timestamp};
use zraft_zmtp::Connection;

use crate::{ConnId, Instant, RequestKey};

/// The most that is encoded ahead of the socket, unless a single frame is longer: heartbeats wait behind no more.
pub(crate) const AHEAD: usize = 256 << 10;

/// What a request's frame takes besides its payload, at most.
const FIELDS: usize = 80;

/// What a frame on its way to the socket is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Frame {
    Request(RequestKey),
    KeepAlive,
}

/// A connection being opened, or open.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) id: ConnId,
    /// Index of the member in the configuration.
    pub(crate) member: usize,
    pub(crate) zmtp: Connection,
    /// The socket is open.
    pub(crate) open: bool,
    /// The handshake message of the session went out.
    pub(crate) asked: bool,
    /// Requests were carried on it.
    pub(crate) carried: bool,
    /// One of them was answered.
    pub(crate) answered: bool,
    /// Requests handed to it and not answered.
    pub(crate) on_the_wire: usize,
    /// Where the frames that are waited for end in the stream of bytes.
    frames: VecDeque<(u64, Frame)>,
    scratch: BytesMut,
}

impl Link {
    pub(crate) fn new(id: ConnId, member: usize, config: zraft_zmtp::Config, now: Instant) -> Self {
        Self {
            id,
            member,
            zmtp: Connection::new(config, now),
            open: false,
            asked: false,
            carried: false,
            answered: false,
            on_the_wire: 0,
            frames: VecDeque::new(),
            scratch: BytesMut::new(),
        }
    }

    #[inline]
    pub(crate) fn has_room(&self) -> bool {
        self.zmtp.tx_queued() < AHEAD
    }

    /// The same for a request with a payload of this length.
    #[inline]
    pub(crate) fn has_room_for(&self, payload: usize) -> bool {
        let queued = self.zmtp.tx_queued();
        queued == 0 || payload + FIELDS <= AHEAD.saturating_sub(queued)
    }

    #[inline]
    pub(crate) fn note(&mut self, frame: Frame) {
        self.frames.push_back((self.zmtp.tx_total(), frame));
    }

    /// The next frame whose last byte the socket has taken.
    #[inline]
    pub(crate) fn next_written(&mut self) -> Option<Frame> {
        let (end, frame) = *self.frames.front()?;
        if end > self.zmtp.tx_written() {
            return None;
        }
        self.frames.pop_front();
        Some(frame)
    }

    /// Writes a small message.
    pub(crate) fn send(&mut self, message: &ClientMessage) {
        self.scratch.clear();
        message.encode(&mut self.scratch);
        // Nothing is sent before the handshake is done, and nothing after the end.
        if self.zmtp.begin_message(self.scratch.len()).is_ok() {
            self.zmtp.put_slice(&self.scratch);
        }
    }

    /// Writes a request: its head in pieces, payload, the sender's clock.
    #[inline(always)]
    pub(crate) fn send_request<const N: usize>(
        &mut self,
        head: [&[u8]; N],
        payload: &Bytes,
        wall: Timestamp,
    ) {
        // Nothing is sent before the handshake is done, and nothing after the end.
        let _ = self.zmtp.send_parts(head, payload, &wall.as_millis().to_be_bytes());
    }
}
