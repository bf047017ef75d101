use super::ClosedFor;

/// The figures of a cluster's engine since its start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct EngineStats {
    /// Messages that members handled, including those that a switch dropped.
    pub messages_received: u64,
    /// Messages sent.
    pub messages_sent: u64,
    /// Messages that a switch dropped, in both directions.
    pub dropped_by_switch: u64,
    /// Answers dropped because no connection was bound to their session.
    pub answers_without_binding: u64,
    /// Committed entries: commands with all their copies, creations and ends of sessions, acknowledgements and
    /// redeliveries.
    pub log_entries: u64,
    /// Commands that the application executed. The journal counts the same.
    pub executed: u64,
    /// Copies of commands answered from the cache.
    pub answered_from_cache: u64,
    /// Commands refused with ResponseEvicted.
    pub evicted: u64,
    /// Queries answered.
    pub queries: u64,
    /// Sessions created.
    pub sessions_created: u64,
    /// Sessions continued on another connection.
    pub sessions_continued: u64,
    /// Sessions that expired.
    pub sessions_expired: u64,
    /// Sessions ended by CloseSession.
    pub sessions_closed: u64,
    /// Sessions that the application ended.
    pub sessions_ended_by_application: u64,
    /// Sessions that the application refused.
    pub sessions_refused: u64,
    /// Server requests added to sessions.
    pub server_requests: u64,
    /// Server requests redelivered.
    pub redeliveries: u64,
    /// Leaders elected, without the first of the cluster.
    pub elections: u64,
    /// Connections refused because a member had too many.
    pub refused_peers: u64,
    /// Connections closed because of a message that does not decode.
    pub closed_undecodable: u64,
    /// Connections closed because of a payload that the application rejected.
    pub closed_rejected_payload: u64,
    /// Connections closed because they reached a limit.
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
            // The transport counts the connections that it closes.
            ClosedFor::Transport(_) => return,
        } += 1;
    }
}
