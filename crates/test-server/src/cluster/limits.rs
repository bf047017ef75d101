use std::time::Duration;

/// Limits on what one connection can use. The cluster closes a connection that would pass one of them, and counts it
/// in [`TransportStats`](super::TransportStats).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct TransportLimits {
    /// The longest message in bytes. Default 16 MiB + 64 KiB, which clients accept too.
    pub message_size: usize,
    /// Bytes queued for one peer. Default 64 MiB: four of the longest messages. The member reads nothing from a peer
    /// with more than half of this in its queue.
    pub queued_bytes: usize,
    /// The longest time without a byte from the peer. Default 5 minutes: far longer than the 1 s between a client's
    /// PINGs, so that only abandoned connections reach it.
    pub idle_timeout: Duration,
    /// The longest ZMTP handshake. Default 5 s: many round trips, even on a slow link.
    pub handshake_timeout: Duration,
    /// Connections of one member that may be in the ZMTP handshake at the same time. Default 1,024, the length of the
    /// queue in which the system keeps connections that are not accepted yet.
    pub handshakes: usize,
}

impl Default for TransportLimits {
    fn default() -> Self {
        Self {
            message_size: zraft_zmtp::DEFAULT_MAX_FRAME,
            queued_bytes: 64 << 20,
            idle_timeout: Duration::from_secs(300),
            handshake_timeout: Duration::from_secs(5),
            handshakes: 1024,
        }
    }
}
