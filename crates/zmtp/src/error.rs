//! Why a connection cannot go on.

/// The end of a connection, from ZMTP's point of view.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The first bytes are no ZMTP greeting.
    #[error("the peer does not speak ZMTP")]
    NotZmtp,
    /// A version before 3.
    #[error("the peer speaks ZMTP {0}, which is before 3.0")]
    UnsupportedVersion(u8),
    /// Another security mechanism than NULL.
    #[error("the peer wants the security mechanism {0:?}, not NULL")]
    Mechanism(String),
    /// A socket type that ours does not talk to.
    #[error("the peer is a {0:?} socket, which does not match")]
    SocketType(String),
    /// The peer refused us, in its words.
    #[error("the peer refused the connection: {0:?}")]
    PeerError(String),
    /// The handshake is longer than `handshake_limit`.
    #[error("the peer's handshake is too long")]
    HandshakeTooLong,
    /// The handshake took longer than `handshake_timeout`.
    #[error("the peer did not finish the handshake in time")]
    HandshakeTimeout,
    /// Nothing came for the heartbeat's timeout, or for the time the peer itself had announced.
    #[error("nothing was heard of the peer for too long")]
    HeartbeatTimeout,
    /// No message came for `idle_timeout`.
    #[error("the peer was idle for too long")]
    IdleTimeout,
    /// The peer closed the connection.
    #[error("the peer closed the connection")]
    Closed,
    /// The peer closed the connection before the handshake was done: it may refuse our socket type.
    #[error("the peer closed the connection during the handshake")]
    ClosedDuringHandshake,
    /// A frame longer than is read past.
    #[error("the peer announced a frame of {0} bytes")]
    FrameTooLong(u64),
    /// The peer broke a rule.
    #[error("the peer broke the protocol: {0}")]
    Protocol(&'static str),
}

/// A message cannot be sent before the handshake is done, or after the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the connection is not ready")]
pub struct NotReady;
