use crate::engine::EngineStats;

/// What the cluster and its sockets have done since the start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// The members, their log and their messages.
    pub engine: EngineStats,
    /// The connections below them.
    pub transport: TransportStats,
}

/// What happened to connections.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct TransportStats {
    /// Connections accepted, of whatever sort.
    pub accepted: u64,
    /// Connections that finished the ZMTP handshake.
    pub handshakes: u64,
    /// Connections open now.
    pub open: u64,
    /// Connections closed at once because too many were shaking hands.
    pub refused: u64,
    /// Times that no connection could be accepted, for want of file descriptors for example.
    pub accept_errors: u64,
    /// Connections closed because the handshake took too long or was too large.
    pub closed_handshake: u64,
    /// Connections closed because the peer broke ZMTP, or is not a CLIENT.
    pub closed_protocol: u64,
    /// Connections closed because a frame was longer than allowed.
    pub closed_oversized: u64,
    /// Connections closed because nothing came for too long.
    pub closed_idle: u64,
    /// Connections closed because the peer did not take what was queued for it.
    pub closed_backlog: u64,
    /// Bytes read.
    pub bytes_received: u64,
    /// Bytes written.
    pub bytes_sent: u64,
}
