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

impl Stats {
    /// Names, the same in every language, and values: counts, bytes, and milliseconds of time.
    /// `None` where there is no value yet.
    pub fn figures(&self) -> [(&'static str, Option<f64>); 17] {
        // Everything is named: a field added later must be thought about here.
        let Self {
            sent,
            resent,
            answered,
            unknown,
            unmatched,
            not_executed,
            in_flight,
            detached,
            queued,
            queued_bytes,
            reconnects,
            smoothed_answer,
            server_requests,
            duplicates,
            protocol_errors,
            bytes_in,
            bytes_out,
        } = *self;
        let count = |count: u64| Some(count as f64);
        [
            ("sent", count(sent)),
            ("resent", count(resent)),
            ("answered", count(answered)),
            ("unknown", count(unknown)),
            ("unmatched", count(unmatched)),
            ("notExecuted", count(not_executed)),
            ("inFlight", count(in_flight)),
            ("detached", count(detached)),
            ("queued", count(queued)),
            ("queuedBytes", count(queued_bytes)),
            ("reconnects", count(reconnects)),
            ("smoothedAnswer", smoothed_answer.map(|time| time.as_secs_f64() * 1000.0)),
            ("serverRequests", count(server_requests)),
            ("duplicates", count(duplicates)),
            ("protocolErrors", count(protocol_errors)),
            ("bytesIn", count(bytes_in)),
            ("bytesOut", count(bytes_out)),
        ]
    }
}
