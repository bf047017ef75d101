//! The replicated state, which all members share: the result of the committed entries.

use std::fmt;

use zraft_protocol::{Payload, RequestId, SessionId, Timestamp};
use zraft_session::{
    Application, Effect, Entry, Operation, PushError, QueryError, Session, StateMachine, Time,
    detached,
};
use zraft_zmtp::Instant;

use super::config::EngineConfig;
use super::live;
use crate::journal::Journal;

/// The state machine of the replicated server under the [rules of the live system](live::policy), and the journal.
pub(crate) struct Replicated {
    machine: Box<StateMachine<dyn Application>>,
    pub(crate) journal: Journal,
    /// The replicated time at [`Instant::ZERO`].
    origin: Time,
}

impl Replicated {
    pub(crate) fn new(
        mut machine: Box<StateMachine<dyn Application>>,
        config: &EngineConfig,
        now: Instant,
    ) -> Self {
        machine.set_policy(live::policy(true));
        let limits = &config.limits;
        let mut replicated = Self {
            machine,
            journal: Journal::new(limits.journal_entries, limits.journal_bytes),
            origin: time(config.wall_origin),
        };
        replicated.apply(now, Operation::Settings(live::settings(limits)));
        replicated
    }

    /// Executes an operation that was committed at `now`.
    pub(crate) fn apply(&mut self, now: Instant, operation: Operation) -> Vec<Effect> {
        self.apply_entry(&Entry { time: self.time(now), operation })
    }

    /// Executes an entry. The caller keeps it, because its effects do not carry the payload of a command.
    pub(crate) fn apply_entry(&mut self, entry: &Entry) -> Vec<Effect> {
        let mut effects = Vec::new();
        let index = self.machine.applied() + 1;
        let applied = self.machine.apply(index, entry, &mut effects);
        debug_assert_eq!(applied, Ok(()), "indexes rise and the application level is 0");
        effects
    }

    /// Adds a server request to a session outside the log.
    pub(crate) fn push_server_request(
        &mut self,
        session: &SessionId,
        payload: &Payload,
    ) -> (Result<RequestId, PushError>, Vec<Effect>) {
        let mut effects = Vec::new();
        // The payload may share a receive buffer, which the session must not keep alive.
        let payload = detached(payload);
        (self.machine.push_server_request(session, payload, &mut effects), effects)
    }

    pub(crate) fn query(
        &self,
        session: &SessionId,
        query: &Payload,
    ) -> Result<Payload, QueryError> {
        self.machine.query(session, query)
    }

    pub(crate) fn session(&self, id: &SessionId) -> Option<&Session> {
        self.machine.sessions().get(id)
    }

    /// Returns true if any session has an unacknowledged server request.
    pub(crate) fn has_server_requests(&self) -> bool {
        self.machine.sessions().totals().server_requests > 0
    }

    pub(crate) fn set_deduplication(&mut self, on: bool) {
        self.machine.set_policy(live::policy(on));
    }

    /// Returns the replicated time of an entry that is committed at `now`.
    pub(crate) fn time(&self, now: Instant) -> Time {
        self.origin + now.saturating_duration_since(Instant::ZERO)
    }

    /// Returns when the application next wants a tick.
    pub(crate) fn next_tick(&self) -> Option<Instant> {
        let after = self.machine.next_tick()?.saturating_duration_since(self.origin);
        Some(Instant::ZERO + after)
    }
}

/// Returns the replicated time of a wall clock. Replicated time has no moments before 1970.
fn time(wall: Timestamp) -> Time {
    Time::from_millis(u64::try_from(wall.as_millis()).unwrap_or_default())
}

impl fmt::Debug for Replicated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Replicated")
            .field("sessions", &self.machine.sessions().len())
            .field("executed", &self.journal.executed())
            .finish_non_exhaustive()
    }
}
