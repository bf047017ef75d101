use super::ClosedFor;

/// What the cluster has done since it started.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct EngineStats {
    /// Messages received by members that listened, those a switch dropped included.
    pub messages_received: u64,
    /// Messages handed out to be sent.
    pub messages_sent: u64,
    /// Messages that a drop switch took, in both directions.
    pub dropped_by_switch: u64,
    /// Answers that were ready while no connection was bound to their session.
    pub answers_without_binding: u64,
    /// Entries committed to the log: commands with all their copies, session creations and ends,
    /// acknowledgements, redeliveries.
    pub log_entries: u64,
    /// Commands executed; as many as the journal counts.
    pub executed: u64,
    /// Copies of commands that were answered from the cache.
    pub answered_from_cache: u64,
    /// Commands refused with ResponseEvicted.
    pub evicted: u64,
    /// Queries answered.
    pub queries: u64,
    /// Sessions created.
    pub sessions_created: u64,
    /// ContinueSession requests granted.
    pub sessions_continued: u64,
    /// Sessions that expired.
    pub sessions_expired: u64,
    /// Sessions ended by CloseSession.
    pub sessions_closed: u64,
    /// Server requests pushed, without their redeliveries.
    pub server_requests: u64,
    /// Server requests sent again.
    pub redeliveries: u64,
    /// Leaders elected, the first of all not counted.
    pub elections: u64,
    /// Connections refused because a member had too many.
    pub refused_peers: u64,
    /// Connections closed for a message that does not decode.
    pub closed_undecodable: u64,
    /// Connections closed for a payload that the application refused.
    pub closed_rejected_payload: u64,
    /// Connections closed because a limit would have been passed.
    pub closed_limit: u64,
}

impl EngineStats {
    pub(crate) fn count_close(&mut self, reason: &ClosedFor) {
        *match reason {
            ClosedFor::UndecodableMessage => &mut self.closed_undecodable,
            ClosedFor::RejectedCommand { .. } | ClosedFor::RejectedQuery { .. } => {
                &mut self.closed_rejected_payload
            }
            ClosedFor::Limit(_) => &mut self.closed_limit,
            // The transport counts what it closes.
            ClosedFor::Transport(_) => return,
        } += 1;
    }
}
