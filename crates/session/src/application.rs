//! The trait that users implement.

use zraft_protocol::{Payload, RequestId, SessionId};

use crate::{
    AppSnapshot, Capabilities, Context, QueryContext, RestoreError, SessionEnd, SnapshotInput, Time,
};

/// A deterministic state machine that a cluster replicates.
///
/// Every member runs its own copy and calls it with the same commands in the same order, so all copies stay equal. A
/// command is executed exactly once, however often the client sends it and whichever members fail meanwhile.
///
/// The [crate documentation](crate#a-complete-application) has a complete example.
///
/// # Rules
///
/// - **Be deterministic.** The state, the answers and the server requests follow from the calls alone: no clock, no I/O,
///   no random numbers, no environment, and no iteration over a `HashMap`, whose order differs from process to process.
///   The [`Context`] has the time and random numbers that all members share.
/// - **Do not panic.** A panic ends the process, and happens again when the restarted process applies the entry. Reject
///   commands that you cannot execute.
/// - **Bound the state.** Nothing but the application limits its size.
/// - **Copy the bytes that you keep.** A command's payload shares the buffer of its log entry; [`detached`](crate::detached)
///   copies it. Session ids may be kept as they are.
///
/// The application runs on its own thread. A slow call delays the commands behind it and causes no election.
pub trait Application: Send + 'static {
    /// Executes a command and returns its answer.
    ///
    /// The answer reaches the client before the server requests that the call pushed. It is cached until the client has
    /// it, so keep it short. An answer longer than [`Settings::payload_bytes`](crate::Settings::payload_bytes), 16 MiB by
    /// default, is dropped: the command stays executed, and the client learns that its answer is lost.
    ///
    /// # Errors
    /// [`Rejected`] if the command cannot be executed. The application must not have changed its state then; server
    /// requests and session ends of the call are dropped. The command's request id is used up, so a client that
    /// corrects the command sends it under a new id.
    fn apply(
        &mut self,
        context: &mut Context<'_>,
        command: Command<'_>,
    ) -> Result<Payload, Rejected>;

    /// Answers a query, which sees all commands that were answered before the query was sent.
    ///
    /// Queries are not in the log: they run on the leader only, any number of times.
    ///
    /// # Errors
    /// [`Rejected`] if the query cannot be answered. If it carries no answer, the server closes the connection, because
    /// the protocol has no error for queries. The same happens to an answer longer than
    /// [`Settings::payload_bytes`](crate::Settings::payload_bytes).
    fn query(&self, context: &QueryContext<'_>, query: &Payload) -> Result<Payload, Rejected>;

    /// Takes note of a new session, which can already get server requests.
    ///
    /// # Errors
    /// [`Rejected`] if the client's capabilities do not suffice. The session is not created, and the client gets
    /// SessionRejected(InvalidCapabilities); an answer in the rejection is ignored. The application must not have
    /// changed its state, and [`session_ended`](Self::session_ended) is not called.
    fn session_created(
        &mut self,
        context: &mut Context<'_>,
        session: &SessionId,
        capabilities: &Capabilities,
    ) -> Result<(), Rejected> {
        let _ = (context, session, capabilities);
        Ok(())
    }

    /// Takes note that a session has ended. Forget what belongs to it; it can get no server requests anymore.
    fn session_ended(&mut self, context: &mut Context<'_>, session: &SessionId, end: SessionEnd) {
        let _ = (context, session, end);
    }

    /// Returns when the application next wants [`tick`](Self::tick), or none if it waits for nothing.
    ///
    /// It must follow from the state.
    fn next_tick(&self) -> Option<Time> {
        None
    }

    /// Handles everything that is due at [`Context::time`].
    ///
    /// Runs before the first entry whose time is at or past [`next_tick`](Self::next_tick), and at most once before
    /// each entry: do everything that is due in one call. While no client is active the leader lets time pass in steps
    /// of a second or more, so a tick can come that much late.
    fn tick(&mut self, context: &mut Context<'_>) {
        let _ = context;
    }

    /// Returns the highest application level that this version of the application supports. Default 0.
    ///
    /// Members of different versions run side by side during an upgrade and must behave alike. So new behaviour depends
    /// on [`Context::level`], the replicated level, which rises only once all members support the new one.
    fn level(&self) -> u32 {
        0
    }

    /// Freezes the state, to be written out later on another thread.
    ///
    /// Commands wait while this runs, so it must be cheap: clone a persistent map (for example of the `rpds` crate),
    /// not the data. Equal states must write equal bytes, because members compare the bytes' hash: write maps in the
    /// order of their keys.
    fn snapshot(&self) -> AppSnapshot;

    /// Reads the state that a snapshot wrote, to its last byte.
    ///
    /// Everything that the application's answers depend on must be in the snapshot, limits included: the state that a
    /// member has before is dropped.
    ///
    /// # Errors
    /// [`RestoreError`] if the bytes are not such a state. They passed a checksum, but another version of the
    /// application may have written them.
    fn restore(input: &mut SnapshotInput<'_>) -> Result<Self, RestoreError>
    where
        Self: Sized;
}

/// A command to execute.
#[derive(Clone, Copy, Debug)]
pub struct Command<'a> {
    session: &'a SessionId,
    request_id: RequestId,
    payload: &'a Payload,
}

impl<'a> Command<'a> {
    pub(crate) fn new(session: &'a SessionId, request_id: RequestId, payload: &'a Payload) -> Self {
        Self { session, request_id, payload }
    }

    /// Returns the session that sent the command.
    #[must_use]
    pub fn session(&self) -> &'a SessionId {
        self.session
    }

    /// Returns the command's id, which is unique within its session.
    #[must_use]
    pub fn request_id(&self) -> RequestId {
        self.request_id
    }

    /// Returns the command's bytes. They share the buffer of the log entry.
    #[must_use]
    pub fn payload(&self) -> &'a Payload {
        self.payload
    }
}

/// A request that the application did not execute. Its state is unchanged.
///
/// An answer tells the client why, in the application's own encoding. Without one, a command ends as
/// RequestError(ResponseEvicted), on which some clients shut down, and a query ends with the connection. So add an
/// answer if the application's encoding has one for errors.
///
/// A [reason](Self::because) tells the person who runs the server why. Clients do not get it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rejected {
    answer: Option<Payload>,
    reason: Option<&'static str>,
}

impl Rejected {
    /// Returns a rejection without an answer.
    #[must_use]
    pub const fn without_answer() -> Self {
        Self { answer: None, reason: None }
    }

    /// Returns a rejection that carries the application's own error to the client.
    #[must_use]
    pub const fn with_answer(answer: Payload) -> Self {
        Self { answer: Some(answer), reason: None }
    }

    /// Adds the reason, in one line, which `Display` writes. It is not part of the replicated state.
    #[must_use]
    pub const fn because(mut self, reason: &'static str) -> Self {
        self.reason = Some(reason);
        self
    }

    /// Returns the answer.
    #[must_use]
    pub fn answer(&self) -> Option<&Payload> {
        self.answer.as_ref()
    }

    /// Returns the answer by value.
    #[must_use]
    pub fn into_answer(self) -> Option<Payload> {
        self.answer
    }

    /// Returns this rejection with what `keep` makes of its answer.
    pub(crate) fn map_answer(mut self, keep: impl FnOnce(Payload) -> Option<Payload>) -> Self {
        self.answer = self.answer.and_then(keep);
        self
    }
}

impl std::fmt::Display for Rejected {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.reason.unwrap_or("the application rejected the request"))
    }
}

impl std::error::Error for Rejected {}
