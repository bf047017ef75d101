//! The events of a connection.

use bytes::Bytes;

use crate::{Error, SocketType};

/// The properties of the peer, learned in the handshake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer {
    /// The ZMTP version that the peer announced, major and minor. JeroMQ announces 3.0 although it speaks the
    /// heartbeats of 3.1.
    pub version: (u8, u8),
    /// The socket type of the peer.
    pub socket_type: SocketType,
}

/// An event of a connection, caused by received bytes or by the time.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// The handshake is complete; messages may be sent.
    Ready(Peer),
    /// A message arrived. It shares the receive buffer's bytes.
    Message(Bytes),
    /// A message longer than [`Config::max_frame`](crate::Config::max_frame) began, of which only the head is kept. The
    /// rest is skipped, or, above [`Config::skip_limit`](crate::Config::skip_limit), the connection fails next.
    Oversized {
        /// The length of the message in bytes, as announced.
        length: u64,
        /// The first bytes of the message, at most 64.
        head: Bytes,
    },
    /// A message of several frames was discarded: CLIENT and SERVER messages have one frame.
    MultipartDiscarded,
    /// The connection ended; the caller must close the socket. This is the last event.
    Failed(Error),
}
