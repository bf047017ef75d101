//! The replicated state machine: entries in, effects out.

use zraft_protocol::{Payload, RequestId, SessionId, reserved};

use crate::{
    Acknowledgement, Answer, Application, Capabilities, CheckedSettings, Command, Context, Effect,
    Entry, Genesis, HistoryHash, Operation, Policy, PushError, QueryContext, Refusal, Rejected,
    Session, SessionEnd, Sessions, Snapshot, StateHash, Time,
    context::{Push, Staged, detached_from},
    state::{Seed, State},
};

/// The replicated state of one member: all sessions, and the application.
///
/// Members that apply the same entries at the same indexes have the same state and report the same [`Effect`]s. It
/// knows no clock, no network and no leader: sending, redelivery timers and the decision that a session has expired
/// are the leader's, and come back as entries.
///
/// `StateMachine<dyn Application>` runs any application: a box of a state machine converts into a box of it.
pub struct StateMachine<A: ?Sized> {
    state: State,
    policy: Policy,
    /// Calls of the application within the current entry.
    ordinal: u32,
    application: A,
}

/// An entry that cannot be applied. Nothing has changed; the member must stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ApplyError {
    /// The log was not applied in order.
    #[error("entry {index} does not come after entry {applied}, which was applied")]
    OutOfOrder {
        /// The index of the entry.
        index: u64,
        /// The index of the last entry that was applied.
        applied: u64,
    },
    /// The cluster's application level is above what this member's version of the application supports.
    #[error(
        "application level {wanted} is not supported, only {supported}; upgrade the application"
    )]
    ApplicationLevel {
        /// The level of the entry.
        wanted: u32,
        /// The highest level that this member supports.
        supported: u32,
    },
}

/// A query that has no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum QueryError {
    /// The session has ended.
    #[error("the session does not exist")]
    NoSession,
    /// The query is [reserved](zraft_protocol::reserved): the server answers it, and the application must not see it.
    #[error("the query is reserved for the server")]
    Reserved,
    /// The application rejected the query.
    #[error(transparent)]
    Rejected(#[from] Rejected),
    /// The answer is longer than [`Settings::payload_bytes`](crate::Settings::payload_bytes).
    #[error("the answer has {length} bytes, more than the limit payload_bytes of {limit}")]
    TooLong {
        /// The length of the answer.
        length: usize,
        /// The limit.
        limit: u32,
    },
}

/// Why a command does not reach the application.
const TOO_LONG: &str = "the payload is longer than the setting payload_bytes";

impl<A: Application> StateMachine<A> {
    /// Returns the state before the first entry: no session, default settings, and this application.
    #[must_use]
    pub fn new(application: A) -> Self {
        Self::from_parts(application, State::default())
    }

    pub(crate) fn from_parts(application: A, state: State) -> Self {
        Self { state, policy: Policy::default(), ordinal: 0, application }
    }
}

impl<A: Application + ?Sized> StateMachine<A> {
    /// Applies one entry of the log and appends its effects to `effects`.
    ///
    /// Indexes must rise; they need not be consecutive, because some entries of a log do not belong to sessions.
    ///
    /// # Errors
    /// [`ApplyError`] if this member cannot apply the entry. Nothing has changed then, and the member must stop: to go
    /// on without the entry would make it diverge.
    pub fn apply(
        &mut self,
        index: u64,
        entry: &Entry,
        effects: &mut Vec<Effect>,
    ) -> Result<(), ApplyError> {
        self.check(index, entry)?;
        let reported = effects.len();
        self.state.applied = index;
        self.state.time = self.state.time.max(entry.time);
        self.ordinal = 0;
        if self.application.next_tick().is_some_and(|due| due <= self.state.time) {
            let ((), staged) = self.call(None, A::tick);
            self.settle(staged, effects);
        }
        match &entry.operation {
            Operation::Genesis(Genesis { term, seed }) => {
                self.state.term = *term;
                self.state.seed = Seed(*seed);
            }
            Operation::CreateSession { session, capabilities } => {
                self.create_session(session, capabilities, effects);
            }
            Operation::Command { session, request_id, lowest_pending, payload } => {
                self.command(session, *request_id, *lowest_pending, payload, effects);
            }
            Operation::Acknowledge(acknowledgements) => {
                for Acknowledgement { session, up_to } in acknowledgements {
                    self.state.sessions.acknowledge(session, *up_to);
                }
            }
            Operation::EndSession { session, reason } => {
                self.end_sessions(vec![(session.clone(), (*reason).into())], effects);
            }
            Operation::Tick => {}
            Operation::Settings(settings) => {
                self.state.settings = settings.clone().succeeding(&self.state.settings);
            }
        }
        self.state.history.add(index, &effects[reported..]);
        Ok(())
    }

    /// Answers a query from the current state. The caller must make sure that the state is recent enough.
    ///
    /// # Errors
    /// [`QueryError`] if the session has ended, the query is reserved, the application rejected it or its answer is too
    /// long.
    pub fn query(&self, session: &SessionId, query: &Payload) -> Result<Payload, QueryError> {
        let (session, _) = self.state.sessions.find(session).ok_or(QueryError::NoSession)?;
        if reserved::is_reserved(query) {
            return Err(QueryError::Reserved);
        }
        let answer = self.application.query(&QueryContext::new(&self.state, session), query)?;
        if !self.state.settings.allow(&answer) {
            let limit = self.state.settings.payload_bytes;
            return Err(QueryError::TooLong { length: answer.len(), limit });
        }
        Ok(answer)
    }

    /// Makes a server request of a session that no entry of the log asks for, and appends the effects to `effects`.
    ///
    /// For servers with one copy of the state, such as the embedded test cluster: the members of a replicated server
    /// would diverge.
    ///
    /// Returns the request's id within the session.
    ///
    /// # Errors
    /// [`PushError`] as from [`Context::push`].
    pub fn push_server_request(
        &mut self,
        session: &SessionId,
        payload: Payload,
        effects: &mut Vec<Effect>,
    ) -> Result<RequestId, PushError> {
        let (pushed, staged) = self.call(None, |_, context| context.push(session, payload));
        self.settle(staged, effects);
        pushed
    }

    /// Freezes the whole state, to be written out later on another thread. O(1), if the application's
    /// [`snapshot`](Application::snapshot) is.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        Snapshot::new(self.state.clone(), self.application.snapshot())
    }

    /// Returns the hash of the whole state. Encodes the state once; freeze a [`snapshot`](Self::snapshot) and take
    /// its hash on another thread when the state is large.
    ///
    /// # Errors
    /// Only if the application fails to write its state.
    pub fn state_hash(&self) -> std::io::Result<StateHash> {
        self.snapshot().hash()
    }

    /// Returns the running hash of all effects so far.
    #[must_use]
    pub fn history_hash(&self) -> HistoryHash {
        self.state.history
    }

    /// Returns the index of the last entry that was applied; 0 before the first.
    #[must_use]
    pub fn applied(&self) -> u64 {
        self.state.applied
    }

    /// Returns the replicated time.
    #[must_use]
    pub fn time(&self) -> Time {
        self.state.time
    }

    /// Returns the term of the last Genesis entry; 0 before the first.
    #[must_use]
    pub fn term(&self) -> u64 {
        self.state.term
    }

    /// Returns the rules in which servers differ.
    #[must_use]
    pub fn policy(&self) -> Policy {
        self.policy
    }

    /// Replaces the rules in which servers differ. A replicated server must not call it: see [`Policy`].
    pub fn set_policy(&mut self, policy: Policy) {
        self.policy = policy;
    }

    /// Returns when the application next wants a tick. The leader proposes a Tick entry then if nothing else comes.
    #[must_use]
    pub fn next_tick(&self) -> Option<Time> {
        self.application.next_tick()
    }

    /// Returns the replicated settings.
    #[must_use]
    pub fn settings(&self) -> &CheckedSettings {
        &self.state.settings
    }

    /// Returns the sessions. Cloning them is O(1).
    #[must_use]
    pub fn sessions(&self) -> &Sessions {
        &self.state.sessions
    }

    /// Returns the application.
    #[must_use]
    pub fn application(&self) -> &A {
        &self.application
    }

    fn check(&self, index: u64, entry: &Entry) -> Result<(), ApplyError> {
        let applied = self.state.applied;
        if index <= applied {
            return Err(ApplyError::OutOfOrder { index, applied });
        }
        if let Operation::Settings(settings) = &entry.operation {
            let (wanted, supported) = (settings.application_level, self.application.level());
            if wanted > supported {
                return Err(ApplyError::ApplicationLevel { wanted, supported });
            }
        }
        Ok(())
    }

    fn create_session(
        &mut self,
        id: &SessionId,
        capabilities: &Capabilities,
        effects: &mut Vec<Effect>,
    ) {
        let refused = |refusal| Effect::SessionRefused { session: id.clone(), refusal };
        if self.state.sessions.contains(id) {
            effects.push(refused(Refusal::DuplicateId));
            return;
        }
        if self.state.sessions.len() as u64 >= u64::from(self.state.settings.sessions) {
            effects.push(refused(Refusal::TooManySessions));
            return;
        }
        let id = id.to_detached();
        // Insert the session before the call: the application may push server requests to it.
        self.state.sessions.insert(id.clone(), Session::new(self.policy.first_lowest()));
        let (accepted, staged) = self.call(None, |application, context| {
            application.session_created(context, &id, capabilities)
        });
        if accepted.is_ok() {
            effects.push(Effect::SessionCreated { session: id });
            self.settle(staged, effects);
        } else {
            self.state.sessions.remove(&id);
            effects.push(refused(Refusal::Application));
        }
    }

    fn command(
        &mut self,
        session: &SessionId,
        request_id: RequestId,
        lowest_pending: RequestId,
        payload: &Payload,
        effects: &mut Vec<Effect>,
    ) {
        let Some((id, state)) = self.state.sessions.find(session) else {
            let (session, answer) = (session.clone(), Answer::NoSession);
            effects.push(Effect::Answered { session, request_id, answer });
            return;
        };
        let session = id.clone();
        let refusal = self.policy.refusal(state, request_id, lowest_pending, &self.state.settings);
        if let Some(answer) = refusal {
            effects.push(Effect::Answered { session, request_id, answer });
            return;
        }
        let (result, staged) = self.execute(&session, request_id, payload);
        let executed = result.is_ok();
        let settings = &self.state.settings;
        let kept = |answer| settings.allow(&answer).then(|| detached_from(payload, answer));
        let answer = match result.map(kept) {
            Ok(Some(answer)) => Answer::Executed(answer),
            Ok(None) => Answer::TooLong,
            Err(rejected) => Answer::Rejected(rejected.map_answer(kept)),
        };
        if self.policy.keeps(&answer) {
            let lowest = self.policy.raised_lowest(request_id, lowest_pending);
            let (payload, again) = (answer.payload().cloned(), !self.policy.deduplication);
            self.state.sessions.keep_answer(&session, request_id, lowest, payload, again);
        }
        effects.push(Effect::Answered { session, request_id, answer });
        if executed {
            self.settle(staged, effects);
        }
    }

    fn execute(
        &mut self,
        session: &SessionId,
        request_id: RequestId,
        payload: &Payload,
    ) -> (Result<Payload, Rejected>, Staged) {
        if !self.state.settings.allow(payload) {
            let rejected = Rejected::without_answer().because(TOO_LONG);
            return (Err(rejected), Staged::default());
        }
        self.call(Some(payload), |application, context| {
            application.apply(context, Command::new(session, request_id, payload))
        })
    }

    /// Calls the application. Returns its result, and the server requests and session ends that it asked for.
    fn call<R>(
        &mut self,
        command: Option<&Payload>,
        call: impl FnOnce(&mut A, &mut Context<'_>) -> R,
    ) -> (R, Staged) {
        let mut context = Context::new(&self.state, self.policy, self.ordinal, command);
        self.ordinal = self.ordinal.saturating_add(1);
        let result = call(&mut self.application, &mut context);
        (result, context.into_staged())
    }

    /// Carries out what a call of the application asked for. Server requests come first, so that a session that the call
    /// ends still gets its own.
    fn settle(&mut self, staged: Staged, effects: &mut Vec<Effect>) {
        self.push(staged.pushes, effects);
        self.end_sessions(staged.ends, effects);
    }

    fn push(&mut self, pushes: Vec<Push>, effects: &mut Vec<Effect>) {
        for push in pushes {
            match push {
                Push::Request(session, payload) => {
                    if let Some(request) = self.state.sessions.push(&session, payload) {
                        effects.push(Effect::Pushed { session, request });
                    }
                }
                Push::Refused(session, setting) => {
                    effects.push(Effect::PushRefused { session, setting });
                }
            }
        }
    }

    /// Ends these sessions, and further ones that the application ends in response. This terminates, because every round
    /// but the last removes a session.
    fn end_sessions(&mut self, mut ends: Vec<(SessionId, SessionEnd)>, effects: &mut Vec<Effect>) {
        let mut next = 0;
        while let Some((session, end)) = ends.get(next).cloned() {
            next += 1;
            if !self.state.sessions.remove(&session) {
                continue;
            }
            effects.push(Effect::SessionEnded { session: session.clone(), end });
            let ((), staged) = self.call(None, |application, context| {
                application.session_ended(context, &session, end);
            });
            self.push(staged.pushes, effects);
            ends.extend(staged.ends);
        }
    }
}

/// Does not show the application, so that applications need not implement `Debug`.
impl<A: ?Sized> std::fmt::Debug for StateMachine<A> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StateMachine").field("state", &self.state).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Seed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Seed(***)")
    }
}
