//! The contexts that the application gets with a call: what it can read, and what it can ask for.

use std::collections::BTreeMap;

use bytes::Bytes;
use zraft_protocol::{Payload, RequestId, SessionId};

use crate::{
    FullSession, Policy, Random, Session, SessionEnd, Time,
    sessions::{Load, NoRoom},
    state::State,
};

/// Defines the facts that both contexts return. The argument names the log entry that they belong to.
macro_rules! replicated_facts {
    ($entry:literal) => {
        #[doc = concat!("Returns the replicated time, which never falls: that of ", $entry, ".")]
        #[must_use]
        pub fn time(&self) -> Time {
            self.state.time
        }

        #[doc = concat!("Returns the index of ", $entry, ".")]
        #[must_use]
        pub fn index(&self) -> u64 {
            self.state.applied
        }

        /// Returns the replicated application level: see [`Application::level`](crate::Application::level).
        #[must_use]
        pub fn level(&self) -> u32 {
            self.state.settings.application_level
        }

        /// Returns the number of server requests that a session has not acknowledged, without those that this call
        /// pushed; none if there is no such session.
        ///
        /// An application can hold back requests of a session that is slow.
        #[must_use]
        pub fn unacknowledged(&self, session: &SessionId) -> Option<u64> {
            self.state.sessions.get(session).map(Session::unacknowledged)
        }
    };
}

/// The context of one call of the application: it reads the cluster's state, and takes requests besides the change of the
/// application's own state.
///
/// Everything here is the same on every member.
#[derive(Debug)]
pub struct Context<'a> {
    state: &'a State,
    policy: Policy,
    /// The number of this call within its entry.
    ordinal: u32,
    random: Option<Random>,
    /// The payload of the command that is being executed.
    command: Option<&'a Payload>,
    staged: Staged,
}

/// The server requests and session ends that a call asked for. They are carried out unless the application rejects the
/// command.
#[derive(Debug, Default)]
pub(crate) struct Staged {
    pub(crate) pushes: Vec<Push>,
    pub(crate) ends: Vec<(SessionId, SessionEnd)>,
    loads: BTreeMap<SessionId, Load>,
    load: Load,
}

/// What became of a server request that a call asked for.
#[derive(Debug)]
pub(crate) enum Push {
    /// There is room for it.
    Request(SessionId, Payload),
    /// This setting left no room, and the session loses it.
    Refused(SessionId, &'static str),
}

impl<'a> Context<'a> {
    pub(crate) fn new(
        state: &'a State,
        policy: Policy,
        ordinal: u32,
        command: Option<&'a Payload>,
    ) -> Self {
        Self { state, policy, ordinal, random: None, command, staged: Staged::default() }
    }

    pub(crate) fn into_staged(self) -> Staged {
        self.staged
    }

    replicated_facts!("the log entry that causes this call");

    /// Returns this call's random numbers. A second use within the call continues where the first stopped.
    pub fn random(&mut self) -> &mut Random {
        let state = self.state;
        self.random.get_or_insert_with(|| Random::at(state.seed.0, state.applied, self.ordinal))
    }

    /// Returns true if the session exists.
    #[must_use]
    pub fn has_session(&self, session: &SessionId) -> bool {
        self.state.sessions.contains(session)
    }

    /// Makes a server request of a session, and ends the session if it has no room for another one.
    ///
    /// The request is delivered in order, and again until the client acknowledges it; it survives reconnects and
    /// changes of the leader. Ending a session that does not keep up is the safe choice: the client learns that it
    /// missed something. Use [`try_push`](Self::try_push) to skip the request instead.
    ///
    /// Returns the request's id within the session.
    ///
    /// # Errors
    /// [`PushError`] if nothing was pushed.
    pub fn push(&mut self, session: &SessionId, payload: Payload) -> Result<RequestId, PushError> {
        let payload = self.allowed(payload)?;
        let staged = self.stage(session, payload);
        if let Err(NoRoom::Full(setting)) = staged {
            match self.policy.full_session {
                FullSession::Ends => self.end(session, SessionEnd::ServerRequestsFull),
                FullSession::LosesTheRequest => {
                    self.staged.pushes.push(Push::Refused(session.clone(), setting));
                }
            }
        }
        Ok(staged?)
    }

    /// Makes a server request of a session like [`push`](Self::push), but lets the session live if it has no room.
    ///
    /// # Errors
    /// [`PushError`] if nothing was pushed.
    pub fn try_push(
        &mut self,
        session: &SessionId,
        payload: Payload,
    ) -> Result<RequestId, PushError> {
        let payload = self.allowed(payload)?;
        Ok(self.stage(session, payload)?)
    }

    fn allowed(&self, payload: Payload) -> Result<Payload, PushError> {
        if self.state.settings.allow(&payload) { Ok(payload) } else { Err(PushError::TooLong) }
    }

    fn stage(&mut self, session: &SessionId, payload: Payload) -> Result<RequestId, NoRoom> {
        let settings = &self.state.settings;
        let staged = self.staged.loads.get(session).copied().unwrap_or_default();
        let all = self.staged.load;
        let id = self.state.sessions.check_room(session, &payload, settings, staged, all)?;
        let payload = match self.command {
            Some(command) => detached_from(command, payload),
            None => payload,
        };
        self.staged.load.add(&payload);
        self.staged.loads.entry(session.clone()).or_default().add(&payload);
        self.staged.pushes.push(Push::Request(session.clone(), payload));
        Ok(id)
    }

    /// Ends a session after this call. Its client gets SessionClosed(SessionExpired).
    ///
    /// Returns false if there is no such session. [`Application::session_ended`](crate::Application::session_ended) is
    /// called for it.
    pub fn end_session(&mut self, session: &SessionId) -> bool {
        let exists = self.has_session(session);
        if exists {
            self.end(session, SessionEnd::Application);
        }
        exists
    }

    fn end(&mut self, session: &SessionId, end: SessionEnd) {
        self.staged.ends.push((session.clone(), end));
    }
}

/// The context of a query, which reads the cluster's state.
#[derive(Clone, Copy, Debug)]
pub struct QueryContext<'a> {
    state: &'a State,
    session: &'a SessionId,
}

impl<'a> QueryContext<'a> {
    pub(crate) fn new(state: &'a State, session: &'a SessionId) -> Self {
        Self { state, session }
    }

    /// Returns the session that asks.
    #[must_use]
    pub fn session(&self) -> &'a SessionId {
        self.session
    }

    replicated_facts!("the last log entry that was applied");
}

/// Why a server request was not pushed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PushError {
    /// The session does not exist, or has ended.
    #[error("the session does not exist")]
    NoSession,
    /// The session, or all sessions together, hold as many unacknowledged server requests as the settings allow.
    #[error("the session holds too many unacknowledged server requests")]
    Full,
    /// The payload is longer than [`Settings::payload_bytes`](crate::Settings::payload_bytes).
    #[error("the payload is longer than the cluster's settings allow")]
    TooLong,
}

/// Copies a payload, so that it no longer shares a larger buffer. Use it for parts of a command that the application
/// keeps.
#[must_use]
pub fn detached(payload: &Payload) -> Payload {
    // A payload cannot be too long for a payload.
    Payload::new(Bytes::copy_from_slice(payload)).unwrap_or_default()
}

/// Returns the payload, copied if it is a part of `buffer`: a cached payload must not keep the log's buffers alive.
pub(crate) fn detached_from(buffer: &Payload, payload: Payload) -> Payload {
    let shares = !payload.is_empty() && buffer.as_ptr_range().contains(&payload.as_ptr());
    if shares { detached(&payload) } else { payload }
}
