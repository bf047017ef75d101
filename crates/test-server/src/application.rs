//! The trait of the applications that a cluster runs.

use bytes::Bytes;
use zraft_protocol::{Payload, SessionId};
use zraft_zmtp::Instant;

/// A deterministic state machine that a cluster runs.
///
/// The cluster calls it in the order of the log: once per session and request id, unless a test switches deduplication
/// off.
pub trait Application: Send {
    /// Executes one command of `session` at `now`.
    ///
    /// # Errors
    /// [`Rejected`] if the payload is not a command of this application, or would pass one of its limits. The
    /// application must not have changed its state then. The cluster closes the session's connection.
    fn apply(
        &mut self,
        session: &SessionId,
        payload: &Payload,
        now: Instant,
    ) -> Result<Outcome, Rejected>;

    /// Answers one query.
    ///
    /// # Errors
    /// [`Rejected`] if the payload is not a query of this application. The cluster closes the session's connection.
    fn query(&self, payload: &Payload) -> Result<Payload, Rejected>;

    /// Takes note that `session` has ended, by CloseSession or by expiry.
    fn session_ended(&mut self, session: &SessionId) {
        let _ = session;
    }

    /// Returns when the application next needs [`handle_timeout`](Self::handle_timeout), or `None` if no timer runs.
    fn poll_timeout(&self) -> Option<Instant> {
        None
    }

    /// Handles the timers that are due at `now`.
    fn handle_timeout(&mut self, now: Instant) {
        let _ = now;
    }
}

/// The outcome of a command that the application executed.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The answer, which the cluster sends to the command's session and caches for resends.
    pub answer: Payload,
    /// Server requests to push after the answer, in this order.
    pub server_requests: Vec<(SessionId, Payload)>,
}

impl From<Payload> for Outcome {
    fn from(answer: Payload) -> Self {
        Self { answer, server_requests: Vec::new() }
    }
}

/// Why an application rejects a payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Rejected {
    /// The payload is not in the application's encoding. Encode it with the application's codec.
    #[error("the application cannot decode this payload")]
    Undecodable,
    /// The command would pass a limit of the application.
    #[error("the application is full")]
    Full,
}

/// Returns a copy that does not share a receive buffer.
pub(crate) fn detached(payload: &Payload) -> Payload {
    Payload::new(Bytes::copy_from_slice(payload)).unwrap_or_else(|_| payload.clone())
}

/// Returns a payload with a copy of these bytes.
pub(crate) fn payload(bytes: &[u8]) -> Result<Payload, Rejected> {
    Payload::new(Bytes::copy_from_slice(bytes)).map_err(|_| Rejected::Full)
}
