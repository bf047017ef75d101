//! One connection to one member: its ZMTP state, and which request each frame in the output buffer belongs to.

use std::{collections::VecDeque, sync::Arc};

use bytes::{Bytes, BytesMut};
use zraft_protocol::{ClientMessage, Timestamp};
use zraft_zmtp::Connection;

use crate::{ConnId, Instant, Member, RequestKey, keys::MemberKey};

/// At most this much is encoded ahead of the socket, unless a single frame is longer. Heartbeats and KeepAlives wait
/// behind it, and a request that is encoded can no longer be called "not executed".
pub(crate) const AHEAD: usize = 256 << 10;

/// A request's frame takes at most this much besides its payload.
const FIELDS: usize = 80;

/// A frame in the output buffer whose end matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Frame {
    Request(RequestKey),
    KeepAlive,
}

/// A connection being opened, or open.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) id: ConnId,
    pub(crate) member: MemberKey,
    /// The member's id and endpoint. It may no longer be configured.
    pub(crate) to: Arc<Member>,
    pub(crate) zmtp: Connection,
    /// The socket is open.
    pub(crate) open: bool,
    /// When a PING beside those of the heartbeat was queued.
    pub(crate) pinged: Instant,
    /// When the socket last took bytes and left some: they may hold up a PING.
    pub(crate) pushed: Instant,
    /// It carried requests.
    pub(crate) carried: bool,
    /// One of them was answered.
    pub(crate) answered: bool,
    /// How many requests were handed to it and are not settled.
    pub(crate) on_the_wire: usize,
    /// Where frames end in the stream of bytes, for those that the socket has not taken yet.
    frames: VecDeque<(u64, Frame)>,
    scratch: BytesMut,
}

impl Link {
    pub(crate) fn new(
        id: ConnId,
        member: MemberKey,
        to: Arc<Member>,
        config: zraft_zmtp::Config,
        now: Instant,
    ) -> Self {
        Self {
            id,
            member,
            to,
            zmtp: Connection::new(config, now),
            open: false,
            pinged: now,
            pushed: now,
            carried: false,
            answered: false,
            on_the_wire: 0,
            frames: VecDeque::new(),
            scratch: BytesMut::new(),
        }
    }

    /// Returns true if more may be encoded ahead of the socket.
    #[inline]
    pub(crate) fn has_room(&self) -> bool {
        self.zmtp.tx_queued() < AHEAD
    }

    /// Returns true if a request with a payload of this length may be encoded ahead of the socket.
    #[inline]
    pub(crate) fn has_room_for(&self, payload: usize) -> bool {
        let queued = self.zmtp.tx_queued();
        queued == 0 || payload + FIELDS <= AHEAD.saturating_sub(queued)
    }

    /// Notes that the frame encoded last is this one.
    #[inline]
    pub(crate) fn note(&mut self, frame: Frame) {
        self.frames.push_back((self.zmtp.tx_total(), frame));
    }

    /// Returns the next frame whose last byte the socket has taken.
    #[inline]
    pub(crate) fn next_written(&mut self) -> Option<Frame> {
        let (end, frame) = *self.frames.front()?;
        if end > self.zmtp.tx_written() {
            return None;
        }
        self.frames.pop_front();
        Some(frame)
    }

    /// Encodes a message other than a request.
    pub(crate) fn send(&mut self, message: &ClientMessage) {
        self.scratch.clear();
        message.encode(&mut self.scratch);
        // The machine sends nothing before the ZMTP handshake is done, and closes the connection when it fails.
        if self.zmtp.begin_message(self.scratch.len()).is_ok() {
            self.zmtp.put_slice(&self.scratch);
        }
    }

    /// Encodes a request: its head in pieces, its payload, and the time of day.
    #[inline(always)]
    pub(crate) fn send_request<const N: usize>(
        &mut self,
        head: [&[u8]; N],
        payload: &Bytes,
        wall: Timestamp,
    ) {
        // As in `send`.
        let _ = self.zmtp.send_parts(head, payload, &wall.as_millis().to_be_bytes());
    }
}
