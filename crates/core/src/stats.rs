//! Counts of what the client did.

use std::time::Duration;

/// Counts since the client was made, and sizes as they are now.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Commands and queries handed to a transport for the first time in a session.
    pub sent: u64,
    /// Further copies of them.
    pub resent: u64,
    /// Requests settled by their answer.
    pub answered: u64,
    /// Commands settled as outcome unknown.
    pub unknown: u64,
    /// Answers that matched no pending request, such as those to further copies.
    pub unmatched: u64,
    /// Requests settled as not executed.
    pub not_executed: u64,
    /// Requests on the wire, unanswered, whose caller waits.
    pub in_flight: u64,
    /// Commands on the wire, unanswered, whose caller was told "outcome unknown".
    pub detached: u64,
    /// Requests waiting to be sent.
    pub queued: u64,
    /// Payload bytes held: queued, in flight and detached.
    pub queued_bytes: u64,
    /// Times the session was continued on a new connection.
    pub reconnects: u64,
    /// The smoothed time from a request's last byte to its answer.
    pub smoothed_answer: Option<Duration>,
    /// Server requests delivered.
    pub server_requests: u64,
    /// Server requests seen again.
    pub duplicates: u64,
    /// Undecodable or overlong messages skipped.
    pub protocol_errors: u64,
    /// Bytes received.
    pub bytes_in: u64,
    /// Bytes sent.
    pub bytes_out: u64,
}
