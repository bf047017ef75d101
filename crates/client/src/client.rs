//! The client as the application holds it.

mod futures;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{oneshot, watch};
use zraft_core::{
    Config, LivenessQuery, MemberList, RequestKind, StateName, Stats, ValidationError,
};
use zraft_protocol::{MemberId, SessionId};

use crate::answer::Answer;
use crate::bulk::CommandOutcomes;
use crate::error::Error;
use crate::events::Events;
use crate::handle::Handle;
use crate::lookup::Sources;
use crate::server_requests::ServerRequests;
use crate::shared::inbox::{DriverState, Input};
use crate::shared::{CONNECT_TIMEOUT, DISCONNECT_TIMEOUT, Shared};
use crate::spawn;
use crate::submission::Submission;
use crate::sync::lock;
use crate::transport::{Sockets, Transport};

pub use futures::{Connect, Disconnect, Ping, Ready};

/// A client of a ZIO Raft cluster.
///
/// A client is a cheap handle: clone it and share it between tasks. A background task owns the connection. It starts
/// with the first [`connect`](Self::connect). When the last handle is dropped, it closes the session and ends, as long
/// as its runtime runs. A pending request counts as a handle.
///
/// At the end of a program, await [`disconnect`](Self::disconnect). Otherwise the session stays on the server until it
/// expires.
///
/// ```no_run
/// # async fn example() -> Result<(), zraft_client::Error> {
/// let client = zraft_client::RaftClient::builder()
///     .member("node-1", "tcp://127.0.0.1:7001")
///     .capability("kind", "example")
///     .build()?;
/// client.connect().await?;
/// let answer = client.submit_command("a command of the application").await?;
/// client.disconnect().await;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct RaftClient {
    handle: Handle,
}

impl RaftClient {
    /// Creates a client with this configuration. It opens nothing before [`connect`](Self::connect).
    ///
    /// [`RaftClient::builder`] collects the settings and creates a client in one step. Only the builder takes TLS
    /// settings, so a member with a `tls://` endpoint cannot be reached by this client.
    pub fn new(config: Config) -> Self {
        Self::with_transport(config, false, Arc::new(Sockets::default()), Sources::default())
    }

    pub(crate) fn with_transport(
        config: Config,
        own_thread: bool,
        transport: Arc<dyn Transport>,
        sources: Sources,
    ) -> Self {
        Self { handle: Handle::new(Shared::new(config, own_thread, transport, sources)) }
    }

    /// Opens a session, or joins an attempt that is under way. Completes when there is a session.
    ///
    /// Requests submitted after this call, even before it completes, are queued. Dropping the future gives up the
    /// attempt unless another caller waits for it too. During a [`disconnect`](Self::disconnect) the attempt begins
    /// when the disconnect is done; requests submitted until then fail with [`Error::Closed`] and are not executed.
    ///
    /// # Errors
    /// - [`Error::Connection`] if there is no session after 30 s.
    /// - [`Error::SessionRejected`] if the server refuses the session.
    /// - [`Error::Closed`] if a disconnect is called before there is a session.
    /// - [`Error::Validation`] outside of a tokio runtime, unless the client has its own thread.
    pub fn connect(&self) -> Connect {
        self.connect_within(CONNECT_TIMEOUT)
    }

    /// Does the same as [`connect`](Self::connect), with this time limit in place of 30 s.
    ///
    /// # Errors
    /// The same as those of [`connect`](Self::connect).
    pub fn connect_within(&self, time: Duration) -> Connect {
        let (done, answer) = oneshot::channel();
        let shared = self.handle.shared();
        let (ticket, driver_waker, start) = {
            let mut inbox = lock(&shared.inbox);
            let start = inbox.driver == DriverState::Stopped;
            if start && !spawn::can_start(shared) {
                return Connect::without_runtime();
            }
            inbox.driver = DriverState::Running;
            let ticket = inbox.take_ticket();
            let driver_waker = inbox.push(Input::Connect { ticket, timeout: Some(time), done });
            (ticket, driver_waker, start)
        };
        if start {
            spawn::start(shared);
        } else if let Some(waker) = driver_waker {
            waker.wake();
        }
        Connect::waiting(self.handle.clone(), ticket, answer)
    }

    /// Submits a command: a request that changes the replicated state. Awaiting it returns the answer.
    ///
    /// The command is executed exactly once, or the error says that its outcome is unknown
    /// ([`Error::maybe_executed`]). It is queued when it is first polled. If the queue is full, it waits for room.
    pub fn submit_command(&self, payload: impl Into<Bytes>) -> Submission {
        Submission::new(self.handle.clone(), RequestKind::Command, payload.into())
    }

    /// Submits many commands and returns their outcomes as a stream, in the order of the payloads.
    ///
    /// This costs less for each command than [`submit_command`](Self::submit_command): up to 1,024 commands are queued under one
    /// lock and with one wake-up, and their outcomes are taken in the same way. Each command has the outcome that it would have
    /// alone. The payloads are taken from the iterator while the stream is polled, as far as the queue has room.
    ///
    /// ```no_run
    /// # async fn example(client: zraft_client::RaftClient, rows: Vec<Vec<u8>>) {
    /// let mut outcomes = client.submit_commands(rows);
    /// let mut failed = Vec::new();
    /// while let Some(outcome) = outcomes.next().await {
    ///     if let Err(error) = outcome {
    ///         failed.push(error);
    ///     }
    /// }
    /// # }
    /// ```
    pub fn submit_commands<P>(&self, payloads: P) -> CommandOutcomes<P::IntoIter>
    where
        P: IntoIterator<Item: Into<Bytes>>,
    {
        CommandOutcomes::new(self.handle.clone(), payloads.into_iter())
    }

    /// Submits a query: a request that reads the replicated state. Awaiting it returns the answer.
    ///
    /// It is queued when it is first polled. If the queue is full, it waits for room.
    pub fn submit_query(&self, payload: impl Into<Bytes>) -> Submission {
        Submission::new(self.handle.clone(), RequestKind::Query, payload.into())
    }

    /// Queues a command at once, or fails.
    ///
    /// ```no_run
    /// # use zraft_client::{Bytes, RaftClient};
    /// # async fn example(client: RaftClient, payload: Bytes) -> Result<(), zraft_client::Error> {
    /// use zraft_client::Error;
    ///
    /// let answer = loop {
    ///     match client.try_submit_command(payload.clone()) {
    ///         Err(Error::Overloaded) => client.ready().await,
    ///         other => break other?,
    ///     }
    /// };
    /// # drop(answer);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// - [`Error::Overloaded`] if the queue has no room for the payload. Submissions that wait for room come first.
    /// - [`Error::NotConnected`] before the first [`connect`](Self::connect).
    /// - [`Error::Validation`] if the payload is empty or longer than [`Config::max_payload`].
    #[inline]
    pub fn try_submit_command(&self, payload: impl Into<Bytes>) -> Result<Answer, Error> {
        Answer::queue(&self.handle, RequestKind::Command, payload.into())
    }

    /// Queues a query at once, or fails.
    ///
    /// # Errors
    /// The same as those of [`try_submit_command`](Self::try_submit_command).
    #[inline]
    pub fn try_submit_query(&self, payload: impl Into<Bytes>) -> Result<Answer, Error> {
        Answer::queue(&self.handle, RequestKind::Query, payload.into())
    }

    /// Completes when there is room for the payload that [`try_submit_command`](Self::try_submit_command) or
    /// [`try_submit_query`](Self::try_submit_query) refused last. If none was refused since the last one was queued,
    /// it completes when there is room for any payload.
    ///
    /// After a refusal the future yields at least once, so that a loop of both lets the connection's task run. It
    /// reserves nothing: another caller may take the room first. Clones of a client share the last refusal. If they
    /// submit payloads of different lengths from several threads, use [`ready_for`](Self::ready_for).
    pub fn ready(&self) -> Ready {
        Ready::new(&self.handle, None)
    }

    /// Completes when there is room for a payload of `length` bytes.
    ///
    /// A length above [`Config::max_payload`] counts as that maximum, because a longer payload fails with
    /// [`Error::Validation`] however much room there is. Otherwise the same as [`ready`](Self::ready).
    pub fn ready_for(&self, length: usize) -> Ready {
        Ready::new(&self.handle, Some(length))
    }

    /// Returns the stream of requests that the server makes of the application, in order and without duplicates.
    ///
    /// While no one takes them, server requests wait unacknowledged.
    ///
    /// # Errors
    /// [`Error::Validation`] while another consumer has the stream.
    pub fn server_requests(&self) -> Result<ServerRequests, Error> {
        ServerRequests::consume(self.handle.shared())
            .ok_or(Error::Validation(ValidationError::SecondConsumer))
    }

    /// Returns a stream of the client's events from now on.
    pub fn events(&self) -> Events {
        self.handle.events.listen()
    }

    /// Returns the client's state, now and as it changes.
    pub fn state(&self) -> watch::Receiver<StateName> {
        self.handle.state.subscribe()
    }

    /// Returns the session id. It is a secret: whoever knows it can take over the session.
    pub fn session_id(&self) -> Option<SessionId> {
        lock(&self.handle.status).session_id.clone()
    }

    /// Returns the member that the client is connected to.
    pub fn member_id(&self) -> Option<MemberId> {
        lock(&self.handle.status).member_id.clone()
    }

    /// Returns the client's counters and current levels, and access to its [latencies](Stats::latency).
    ///
    /// ```no_run
    /// # fn example(client: zraft_client::RaftClient) {
    /// let stats = client.stats();
    /// println!("{} answered, {} in flight", stats.answered, stats.in_flight);
    /// let latency = stats.latency();
    /// println!("p99 of commands: {:?}", latency.commands.value_at_quantile(0.99));
    /// # }
    /// ```
    pub fn stats(&self) -> Stats {
        lock(&self.handle.status).stats.clone()
    }

    /// Gives the client these members in place of those that it had, at any time: while it is connected, while it looks for a
    /// member, or before the next [`connect`](Self::connect).
    ///
    /// A member of both lists, with the same id and endpoint, stays the same. Removed members are not asked any more, and a
    /// search asks added ones at once. A session stays connected where it is, also at a removed member, until that connection
    /// ends.
    ///
    /// ```no_run
    /// # fn example(client: zraft_client::RaftClient) -> Result<(), zraft_client::Error> {
    /// client.update_members([
    ///     ("node-2", "tcp://10.0.0.2:7001"),
    ///     ("node-3", "tcp://10.0.0.3:7001"),
    ///     ("node-4", "tcp://10.0.0.4:7001"),
    /// ])?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::Validation`] if the builder would not take these members. Nothing has changed then.
    pub fn update_members<I, E>(
        &self,
        members: impl IntoIterator<Item = (I, E)>,
    ) -> Result<(), Error>
    where
        I: Into<String>,
        E: Into<String>,
    {
        let members = MemberList::new(members)?;
        let shared = self.handle.shared();
        shared.transport.check(members.as_slice())?;
        let driver_waker = {
            let mut inbox = lock(&shared.inbox);
            inbox.members = Some(members.clone());
            match inbox.driver {
                DriverState::Running => inbox.push(Input::UpdateMembers(members)),
                DriverState::Stopped => None,
            }
        };
        if let Some(waker) = driver_waker {
            waker.wake();
        }
        Ok(())
    }

    /// Returns the configuration that the client was made with. Its members are those of the builder, also after
    /// [`update_members`](Self::update_members).
    pub fn config(&self) -> &Config {
        &self.handle.shared().config
    }

    /// Returns the liveness query, which the client itself sends when nothing else shows that its member leads.
    pub fn liveness_query(&self) -> Option<LivenessQuery> {
        lock(&self.handle.liveness_query).clone()
    }

    /// Replaces the liveness query, or stops it. [`ClientBuilder::liveness_query`] sets the first one.
    ///
    /// # Errors
    /// [`Error::Validation`] if the query cannot be accepted. The present one stays.
    ///
    /// [`ClientBuilder::liveness_query`]: crate::ClientBuilder::liveness_query
    pub fn set_liveness_query(&self, query: Option<LivenessQuery>) -> Result<(), Error> {
        let shared = self.handle.shared();
        if let Some(query) = &query {
            shared.config.check_liveness_query(query)?;
        }
        // For the next driver, if none runs.
        lock(&shared.liveness_query).clone_from(&query);
        shared.push(Input::LivenessQuery(query));
        Ok(())
    }

    /// Measures the time from a KeepAlive to its answer.
    ///
    /// # Errors
    /// [`Error::NotConnected`] if there is no connection, and the reason if the connection is lost meanwhile.
    pub fn ping(&self) -> Ping {
        let (done, answer) = oneshot::channel();
        let asked = self.handle.push(Input::Ping { done });
        Ping::new(self.handle.clone(), asked.then_some(answer))
    }

    /// Sends what is queued, waits up to 5 s for answers, and closes the session. Never fails.
    ///
    /// Requests that are unanswered by then fail with [`Error::Closed`]. The client can be connected again.
    pub fn disconnect(&self) -> Disconnect {
        self.disconnect_within(DISCONNECT_TIMEOUT)
    }

    /// Does the same as [`disconnect`](Self::disconnect), with this time limit in place of 5 s.
    pub fn disconnect_within(&self, timeout: Duration) -> Disconnect {
        let (done, answer) = oneshot::channel();
        let asked = self.handle.push(Input::Disconnect { timeout, done });
        Disconnect::new(self.handle.clone(), asked.then_some(answer))
    }
}

impl fmt::Debug for RaftClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RaftClient")
            .field("state", &*self.handle.state.borrow())
            .field("member_id", &self.member_id())
            .finish_non_exhaustive()
    }
}
