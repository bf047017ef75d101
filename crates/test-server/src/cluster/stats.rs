use crate::engine::EngineStats;

/// The figures of a cluster since its start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// The figures of the members, the log and the messages.
    pub engine: EngineStats,
    /// The figures of the connections.
    pub transport: TransportStats,
}

/// The figures of a cluster's connections since its start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct TransportStats {
    /// Connections accepted.
    pub accepted: u64,
    /// Connections that completed the ZMTP handshake.
    pub handshakes: u64,
    /// Connections open now.
    pub open: u64,
    /// Connections closed at once because too many were in the ZMTP handshake.
    pub refused: u64,
    /// Times that the system refused to accept a connection, such as for want of file descriptors.
    pub accept_errors: u64,
    /// Connections closed because the handshake took too long or was too large.
    pub closed_handshake: u64,
    /// Connections closed because the peer broke ZMTP, or is not a CLIENT.
    pub closed_protocol: u64,
    /// Connections closed because a frame was longer than allowed.
    pub closed_oversized: u64,
    /// Connections closed because no byte arrived for the idle timeout.
    pub closed_idle: u64,
    /// Connections closed because the peer did not read the messages queued for it.
    pub closed_backlog: u64,
    /// Bytes read.
    pub bytes_received: u64,
    /// Bytes written.
    pub bytes_sent: u64,
}
