//! What the features `tracing` and `metrics` report. Without them everything here is empty and costs nothing.
//!
//! Neither shows a payload or a session id.

use zraft_core::{Event, RequestKind};

use crate::error::Error;

/// The target of all spans and events.
#[cfg(feature = "tracing")]
const TARGET: &str = "zraft_client";

/// A call of the application while it waits for its outcome.
#[derive(Debug)]
pub(crate) struct Call {
    #[cfg(feature = "tracing")]
    span: tracing::Span,
    #[cfg(feature = "metrics")]
    kind: &'static str,
    #[cfg(feature = "metrics")]
    since: std::time::Instant,
    #[cfg(any(feature = "tracing", feature = "metrics"))]
    settled: bool,
}

impl Call {
    /// Begins a request with a payload of this length.
    #[inline]
    pub(crate) fn request(kind: RequestKind, length: usize) -> Self {
        let _ = (kind, length);
        Self {
            #[cfg(feature = "tracing")]
            span: match kind {
                RequestKind::Command => {
                    tracing::debug_span!(
                    target: TARGET,
                                            "command",
                                            bytes = length,
                                            outcome = tracing::field::Empty,
                                            maybe_executed = tracing::field::Empty
                                        )
                }
                RequestKind::Query => {
                    tracing::debug_span!(target: TARGET, "query", bytes = length, outcome = tracing::field::Empty)
                }
            },
            #[cfg(feature = "metrics")]
            kind: match kind {
                RequestKind::Command => "command",
                RequestKind::Query => "query",
            },
            #[cfg(feature = "metrics")]
            since: std::time::Instant::now(),
            #[cfg(any(feature = "tracing", feature = "metrics"))]
            settled: false,
        }
    }

    /// Begins a connect.
    pub(crate) fn connect() -> Self {
        Self {
            #[cfg(feature = "tracing")]
            span: tracing::debug_span!(target: TARGET, "connect", outcome = tracing::field::Empty),
            #[cfg(feature = "metrics")]
            kind: "connect",
            #[cfg(feature = "metrics")]
            since: std::time::Instant::now(),
            #[cfg(any(feature = "tracing", feature = "metrics"))]
            settled: false,
        }
    }

    /// Notes the outcome: the error's code, or none for an answer.
    #[inline]
    pub(crate) fn settled(&mut self, error: Option<&Error>) {
        #[cfg(any(feature = "tracing", feature = "metrics"))]
        self.finish(error.map_or("ok", Error::code), error.is_some_and(Error::maybe_executed));
        #[cfg(not(any(feature = "tracing", feature = "metrics")))]
        let _ = error;
    }

    #[cfg(any(feature = "tracing", feature = "metrics"))]
    fn finish(&mut self, outcome: &'static str, maybe_executed: bool) {
        self.settled = true;
        #[cfg(feature = "tracing")]
        {
            self.span.record("outcome", outcome);
            if outcome != "ok" {
                self.span.record("maybe_executed", maybe_executed);
            }
        }
        #[cfg(not(feature = "tracing"))]
        let _ = maybe_executed;
        #[cfg(feature = "metrics")]
        {
            let labels = [("kind", self.kind), ("outcome", outcome)];
            metrics::histogram!("zraft_client_duration_seconds", &labels)
                .record(self.since.elapsed());
        }
    }
}

/// A call that is dropped before its outcome was taken ends, too.
#[cfg(any(feature = "tracing", feature = "metrics"))]
impl Drop for Call {
    fn drop(&mut self) {
        if !self.settled {
            self.finish("dropped", true);
        }
    }
}

/// Reports an event of the client.
pub(crate) fn event(event: &Event) {
    #[cfg(feature = "metrics")]
    if !matches!(event, Event::MessageSent { .. } | Event::MessageReceived { .. }) {
        metrics::counter!("zraft_client_events_total", "event" => event.name()).increment(1);
    }
    #[cfg(feature = "tracing")]
    trace(event);
    #[cfg(not(feature = "tracing"))]
    let _ = event;
}

#[cfg(feature = "tracing")]
fn trace(event: &Event) {
    use tracing::{debug, info, warn};
    use zraft_core::RequestRef;
    use zraft_protocol::{MemberId, RequestId};

    match event {
        Event::Connected { member_id, endpoint, resumed, .. } => {
            info!(target: TARGET, member = member_id.as_str(), endpoint, resumed, "connected");
        }
        Event::Disconnected { reason, member_id } => {
            let member = member_id.as_ref().map(MemberId::as_str);
            info!(target: TARGET, reason = reason.name(), member, "disconnected");
        }
        Event::Reconnecting { attempt, member_id, endpoint } => {
            debug!(target: TARGET, attempt, member = member_id.as_str(), endpoint, "reconnecting");
        }
        Event::SessionDoubted { member_id } => {
            warn!(target: TARGET, member = %member_id, "a member denies the session, which may be false");
        }
        Event::SessionExpired { .. } => warn!(target: TARGET, "session expired"),
        Event::StateChange { old_state, new_state } => {
            debug!(target: TARGET, from = old_state.name(), to = new_state.name(), "state changed");
        }
        Event::ConnectionAttempt { member_id, address } => {
            debug!(target: TARGET, member = member_id.as_str(), address, "connecting to a member");
        }
        Event::ConnectionSuccess { member_id } => {
            debug!(target: TARGET, member = member_id.as_str(), "connected to a member");
        }
        Event::ConnectionFailure { member_id, error } => {
            debug!(target: TARGET, member = member_id.as_str(), cause = error.name(), "no connection to a member");
        }
        Event::RequestTimeout { request_id } => {
            debug!(target: TARGET, id = request_id.map(RequestId::get), "command timed out");
        }
        Event::QueryTimeout { .. } => debug!(target: TARGET, "query timed out"),
        Event::ServerRequestReceived { request } => {
            debug!(target: TARGET, id = request.request_id.get(), bytes = request.payload.len(), "server request");
        }
        Event::ProtocolError { member_id, detail } => {
            warn!(target: TARGET, member = member_id.as_str(), detail, "protocol error");
        }
        Event::RequestQuarantined { id } => {
            let id = match id {
                RequestRef::Command(id) => Some(id.get()),
                RequestRef::Query(_) => None,
            };
            warn!(target: TARGET, id, "request quarantined");
        }
        Event::Lagged(count) => warn!(target: TARGET, count, "events were lost"),
        // A message may hold a payload or the session id.
        _ => {}
    }
}

/// Reports the requests that were resent while their count rose from `before` to `now`.
#[inline]
pub(crate) fn resent(before: u64, now: u64) {
    #[cfg(any(feature = "tracing", feature = "metrics"))]
    if now > before {
        let count = now - before;
        #[cfg(feature = "tracing")]
        tracing::debug!(target: TARGET, count, "requests resent");
        #[cfg(feature = "metrics")]
        metrics::counter!("zraft_client_resent_total").increment(count);
    }
    #[cfg(not(any(feature = "tracing", feature = "metrics")))]
    let _ = (before, now);
}
