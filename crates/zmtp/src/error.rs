//! The errors that end a connection or reject a call.

/// The reason why a connection ended. Texts that come from the peer are escaped to printable ASCII.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The first bytes are not a ZMTP greeting.
    #[error("the peer does not speak ZMTP")]
    NotZmtp,
    /// The peer's major version is below 3.
    #[error("the peer speaks ZMTP version {0}, but version 3 or later is required")]
    UnsupportedVersion(u8),
    /// The peer asks for a security mechanism other than NULL.
    #[error("the peer requires the security mechanism {0:?}, but only NULL is supported")]
    Mechanism(String),
    /// The peer's socket type does not match ours: CLIENT and SERVER only talk to each other.
    #[error(
        "the peer's socket type {0:?} does not match, CLIENT and SERVER only talk to each other"
    )]
    SocketType(String),
    /// The peer refused the connection with an ERROR command, whose reason this is.
    #[error("the peer refused the connection: {0:?}")]
    PeerError(String),
    /// The peer's greeting and handshake are longer than [`Config::handshake_limit`](crate::Config::handshake_limit).
    #[error("the peer's ZMTP handshake is longer than the limit")]
    HandshakeTooLong,
    /// The handshake took longer than [`Config::handshake_timeout`](crate::Config::handshake_timeout).
    #[error("the peer did not finish the ZMTP handshake in time")]
    HandshakeTimeout,
    /// No byte arrived for the heartbeat timeout, or for the TTL that the peer had announced.
    #[error("the peer sent nothing within the heartbeat timeout")]
    HeartbeatTimeout,
    /// No message arrived for [`Config::idle_timeout`](crate::Config::idle_timeout).
    #[error("the peer sent no message within the idle timeout")]
    IdleTimeout,
    /// The peer closed the connection after the handshake.
    #[error("the peer closed the connection")]
    Closed,
    /// The peer closed the connection before the handshake was complete. It may have refused our socket type.
    #[error("the peer closed the connection during the ZMTP handshake")]
    ClosedDuringHandshake,
    /// The peer announced a frame that is longer than the limit that applies to it, in bytes.
    #[error("the peer announced a frame of {0} bytes, which is over the limit")]
    FrameTooLong(u64),
    /// The peer violated ZMTP in this way.
    #[error("the peer violated ZMTP: {0}")]
    Protocol(&'static str),
}

/// A message cannot be sent before the handshake is complete, or after the connection has failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "the connection is not ready: the ZMTP handshake is not complete, or the connection has ended"
)]
pub struct NotReady;
