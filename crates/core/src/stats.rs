//! Statistics of one client.

mod latency;

use std::time::Duration;

pub(crate) use latency::Recorder;
pub use latency::{Histogram, Latency};

/// Counts since the client was made, present sizes, and [latencies](Stats::latency).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Commands and queries handed to a transport for the first time in a session.
    pub sent: u64,
    /// Copies of commands and queries.
    pub resent: u64,
    /// Requests settled by an answer.
    pub answered: u64,
    /// Commands whose outcome is unknown.
    pub unknown: u64,
    /// Answers that matched no pending request, such as the answer to a second copy.
    pub unmatched: u64,
    /// Requests that were not executed.
    pub not_executed: u64,
    /// Requests on the wire without an answer whose caller waits.
    pub in_flight: u64,
    /// Commands on the wire without an answer whose caller was given "outcome unknown".
    pub detached: u64,
    /// Requests that wait to be sent.
    pub queued: u64,
    /// Payload bytes held: queued, in flight and detached.
    pub queued_bytes: u64,
    /// Times the session was continued on a new connection.
    pub reconnects: u64,
    /// CreateSessions whose attempt ended without an answer. Each may have left a session that no client knows, until it
    /// expires.
    pub orphans: u64,
    /// The moving average of the time from a request's last byte to its answer. `None` before the first answer.
    pub smoothed_answer: Option<Duration>,
    /// Server requests delivered to the application.
    pub server_requests: u64,
    /// Server requests that arrived again.
    pub duplicates: u64,
    /// Messages that were skipped because they were undecodable or too long.
    pub protocol_errors: u64,
    /// Bytes received.
    pub bytes_in: u64,
    /// Bytes sent.
    pub bytes_out: u64,
    pub(crate) latency: latency::Shared,
}

impl Stats {
    /// Returns the statistics of a client whose latencies `recorder` records.
    pub(crate) fn new(recorder: &Recorder) -> Self {
        Self { latency: recorder.shared(), ..Self::default() }
    }

    /// Returns how long requests took, as histograms.
    ///
    /// They are copied at this call, not with the counters: a histogram has up to 26 KiB, which a caller that wants a
    /// counter does not pay for. So they may contain answers that came after the counters were taken.
    pub fn latency(&self) -> Latency {
        self.latency.latest()
    }

    /// Returns all counters and sizes by name. The names are the same in every language; times are in milliseconds. A value is
    /// `None` if there is none yet.
    pub fn figures(&self) -> [(&'static str, Option<f64>); 18] {
        // Every field is named, so a field that is added does not compile until it has a name here.
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
            orphans,
            smoothed_answer,
            server_requests,
            duplicates,
            protocol_errors,
            bytes_in,
            bytes_out,
            latency: _,
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
            ("orphans", count(orphans)),
            ("smoothedAnswer", smoothed_answer.map(|time| time.as_secs_f64() * 1000.0)),
            ("serverRequests", count(server_requests)),
            ("duplicates", count(duplicates)),
            ("protocolErrors", count(protocol_errors)),
            ("bytesIn", count(bytes_in)),
            ("bytesOut", count(bytes_out)),
        ]
    }
}
