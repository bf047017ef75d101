//! What the cluster replicates: the [`Application`].

use bytes::Bytes;
use zraft_protocol::{Payload, SessionId};
use zraft_zmtp::Instant;

/// A deterministic state machine that a cluster runs.
///
/// Commands reach it in the order of the log, each as often as the cluster executes it: exactly
/// once per (session, request id), as long as deduplication is on.
pub trait Application: Send {
    /// Executes one command of `session` at `now`.
    ///
    /// # Errors
    /// [`Rejected`] when the payload is not one of this application's commands, or would pass one of
    /// its limits; nothing may have changed then, and the connection the command came from is closed.
    fn apply(
        &mut self,
        session: &SessionId,
        payload: &Payload,
        now: Instant,
    ) -> Result<Outcome, Rejected>;

    /// Answers one query.
    ///
    /// # Errors
    /// [`Rejected`] when the payload is not one of this application's queries.
    fn query(&self, payload: &Payload) -> Result<Payload, Rejected>;

    /// `session` has ended: by CloseSession or by expiry.
    fn session_ended(&mut self, session: &SessionId) {
        let _ = session;
    }

    /// When the application next wants [`handle_timeout`](Self::handle_timeout).
    fn poll_timeout(&self) -> Option<Instant> {
        None
    }

    /// The time asked for has come.
    fn handle_timeout(&mut self, now: Instant) {
        let _ = now;
    }
}

/// What a command came to.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The answer, sent to the command's session and kept for its resends.
    pub answer: Payload,
    /// Server requests to push, in order, after the answer has gone out.
    pub server_requests: Vec<(SessionId, Payload)>,
}

impl From<Payload> for Outcome {
    fn from(answer: Payload) -> Self {
        Self { answer, server_requests: Vec::new() }
    }
}

/// The application cannot take this payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Rejected {
    /// The payload is not in the application's encoding: encode it through the application's codec.
    #[error("the application cannot decode this payload")]
    Undecodable,
    /// Executing it would pass a limit of the application.
    #[error("the application is full")]
    Full,
}

/// A copy that keeps no receive buffer alive.
pub(crate) fn detached(payload: &Payload) -> Payload {
    Payload::new(Bytes::copy_from_slice(payload)).unwrap_or_else(|_| payload.clone())
}

/// The payload of a few bytes made here.
pub(crate) fn payload(bytes: &[u8]) -> Result<Payload, Rejected> {
    Payload::new(Bytes::copy_from_slice(bytes)).map_err(|_| Rejected::Full)
}
