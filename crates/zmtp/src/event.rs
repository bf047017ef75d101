//! What a connection tells.

use bytes::Bytes;

use crate::{Error, SocketType};

/// What the handshake told of the peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer {
    /// Its version of ZMTP. JeroMQ announces 3.0 and speaks 3.1's heartbeats all the same.
    pub version: (u8, u8),
    /// Its socket type.
    pub socket_type: SocketType,
}

/// Something that came of the bytes received, or of the time.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// The handshake is done: messages may be sent.
    Ready(Peer),
    /// A message, sharing the bytes it was received in.
    Message(Bytes),
    /// A message longer than `max_frame`, of which only this much is kept. The rest is read past, or, beyond
    /// `skip_limit`, the connection fails next.
    Oversized {
        /// The announced length in bytes.
        length: u64,
        /// Its first bytes, at most 64.
        head: Bytes,
    },
    /// A message of more than one frame was discarded: CLIENT and SERVER know none.
    MultipartDiscarded,
    /// The connection is over: close it. The last event.
    Failed(Error),
}
