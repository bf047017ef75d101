//! The client as the application holds it.

use std::fmt;
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{oneshot, watch};
use zraft_core::{Config, RequestKind, StateName, Stats, ValidationError};
use zraft_protocol::{MemberId, SessionId};

use crate::builder::ClientBuilder;
use crate::error::Error;
use crate::events::Events;
use crate::handles;
use crate::inbox::{Input, Phase};
use crate::room::WatchKey;
use crate::server_requests::ServerRequests;
use crate::shared::Shared;
use crate::submission::{Answer, Submission};
use crate::sync::lock;

/// How long [`RaftClient::connect`] tries.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);

/// How long [`RaftClient::disconnect`] waits for answers.
pub const DISCONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// A client of a ZIO Raft cluster.
///
/// A cheap handle: clone it and share it between tasks. The connection belongs to a background
/// task, which starts with the first [`connect`](Self::connect) and goes on until the last handle
/// is gone; then it disconnects by itself, as long as its runtime goes on. Requests in flight count
/// as handles. At the end of a program, await [`disconnect`](Self::disconnect): a session that is
/// not closed in order lives on at the server until it expires.
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
    handle: Arc<Handle>,
}

impl RaftClient {
    /// Collects the settings of a client.
    pub fn builder() -> ClientBuilder {
        ClientBuilder::default()
    }

    /// A client with the given configuration. Opens nothing.
    pub fn new(config: Config) -> Self {
        Self::start(config, false)
    }

    pub(crate) fn start(config: Config, own_thread: bool) -> Self {
        Self { handle: Arc::new(Handle { shared: Arc::new(Shared::new(config, own_thread)) }) }
    }

    /// Opens a session, or joins the attempt under way; resolves when there is one.
    ///
    /// What is submitted after the call, even before it resolves, is queued. Dropping the future
    /// gives up, if nobody else waits for the session either. During a
    /// [`disconnect`](Self::disconnect) it waits for the end of that, and what is submitted until
    /// then fails with [`Error::Closed`], not executed.
    ///
    /// # Errors
    /// [`Error::Connection`] after 30 s, [`Error::SessionRejected`] when the server refuses,
    /// [`Error::Closed`] when a disconnect overtakes it, and [`Error::Validation`] outside a tokio
    /// runtime, unless the client has a thread of its own.
    pub fn connect(&self) -> Connect {
        self.connect_within(CONNECT_TIMEOUT)
    }

    /// As [`connect`](Self::connect), with a time of one's own.
    ///
    /// # Errors
    /// As [`connect`](Self::connect).
    pub fn connect_within(&self, time: Duration) -> Connect {
        let (done, answer) = oneshot::channel();
        let shared = &self.handle.shared;
        let (ticket, sleeper, start) = {
            let mut inbox = lock(&shared.inbox);
            let start = inbox.phase == Phase::Idle;
            if start && !handles::can_start(shared) {
                return Connect { waiting: None };
            }
            inbox.phase = Phase::Running;
            let ticket = inbox.ticket();
            let sleeper = inbox.push(Input::Connect { ticket, timeout: Some(time), done });
            (ticket, sleeper, start)
        };
        if start {
            handles::start(shared);
        } else if let Some(sleeper) = sleeper {
            sleeper.wake();
        }
        Connect { waiting: Some(ConnectWaiting { handle: self.handle.clone(), ticket, answer }) }
    }

    /// A command: it changes the replicated state, and is executed exactly once or its outcome
    /// is told as unknown. Awaiting it gives the answer.
    ///
    /// Queued when first polled; waits while the queue is full.
    pub fn submit_command(&self, payload: impl Into<Bytes>) -> Submission {
        Submission::new(self.handle.clone(), RequestKind::Command, payload.into())
    }

    /// A query: it reads the replicated state. Awaiting it gives the answer.
    ///
    /// Queued when first polled; waits while the queue is full.
    pub fn submit_query(&self, payload: impl Into<Bytes>) -> Submission {
        Submission::new(self.handle.clone(), RequestKind::Query, payload.into())
    }

    /// Queues a command at once.
    ///
    /// ```no_run
    /// # async fn example(client: zraft_client::RaftClient, payload: zraft_client::Bytes) -> Result<(), zraft_client::Error> {
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
    /// [`Error::Overloaded`] when the queue has no room for the payload, or submissions wait for
    /// room already, which it does not overtake; [`Error::NotConnected`] before the first
    /// [`connect`](Self::connect); [`Error::Validation`] for a payload that is empty or longer
    /// than [`Config::max_payload`].
    #[inline]
    pub fn try_submit_command(&self, payload: impl Into<Bytes>) -> Result<Answer, Error> {
        Answer::queue(&self.handle, RequestKind::Command, payload.into())
    }

    /// Queues a query at once.
    ///
    /// # Errors
    /// As [`try_submit_command`](Self::try_submit_command).
    #[inline]
    pub fn try_submit_query(&self, payload: impl Into<Bytes>) -> Result<Answer, Error> {
        Answer::queue(&self.handle, RequestKind::Query, payload.into())
    }

    /// Resolves when there is room for the payload that
    /// [`try_submit_command`](Self::try_submit_command) or
    /// [`try_submit_query`](Self::try_submit_query) refused last; if none was refused since the
    /// last one was queued, when there is any room.
    ///
    /// After a refusal it yields at least once, so that a loop of both lets the connection's task
    /// run. It reserves nothing: another caller may take the room first. Clones of a client share
    /// the last refusal; where they submit payloads of different lengths from several threads,
    /// use [`ready_for`](Self::ready_for).
    pub fn ready(&self) -> Ready {
        Ready::new(&self.handle, None)
    }

    /// Resolves when there is room for a payload of `length` bytes.
    ///
    /// A length above [`Config::max_payload`] counts as that one, since a longer payload is
    /// refused with [`Error::Validation`] however much room there is. Otherwise as
    /// [`ready`](Self::ready).
    pub fn ready_for(&self, length: usize) -> Ready {
        Ready::new(&self.handle, Some(length))
    }

    /// What the server asks of the application, in order and without repetition. Server requests
    /// wait, unacknowledged, while nobody takes them.
    ///
    /// # Errors
    /// [`Error::Validation`] while there is another consumer.
    pub fn server_requests(&self) -> Result<ServerRequests, Error> {
        ServerRequests::consume(&self.handle.shared)
            .ok_or(Error::Validation(ValidationError::SecondConsumer))
    }

    /// What happens to the client from now on.
    pub fn events(&self) -> Events {
        self.handle.shared.hub.listen()
    }

    /// The client's state, now and as it changes.
    pub fn state(&self) -> watch::Receiver<StateName> {
        self.handle.shared.state.subscribe()
    }

    /// The session, which is a secret: whoever has it can take the session over.
    pub fn session_id(&self) -> Option<SessionId> {
        lock(&self.handle.shared.facts).session_id.clone()
    }

    /// The member that the client is connected to.
    pub fn member_id(&self) -> Option<MemberId> {
        lock(&self.handle.shared.facts).member_id.clone()
    }

    /// Counters and levels.
    pub fn stats(&self) -> Stats {
        lock(&self.handle.shared.facts).stats
    }

    /// The configuration.
    pub fn config(&self) -> &Config {
        &self.handle.shared.config
    }

    /// The time that a KeepAlive and its answer take.
    ///
    /// # Errors
    /// [`Error::NotConnected`] when there is no connection, and the reason when it is lost.
    pub fn ping(&self) -> Ping {
        let (done, answer) = oneshot::channel();
        let asked = self.handle.shared.push(Input::Ping { done });
        Ping { answer: asked.then_some(answer), _handle: self.handle.clone() }
    }

    /// Sends what is queued, waits for answers for at most 5 s, and closes the session. What is
    /// left over fails with [`Error::Closed`]. Never fails itself; connecting again is possible.
    pub fn disconnect(&self) -> Disconnect {
        self.disconnect_within(DISCONNECT_TIMEOUT)
    }

    /// As [`disconnect`](Self::disconnect), with a time of one's own to wait for answers.
    pub fn disconnect_within(&self, timeout: Duration) -> Disconnect {
        let (done, answer) = oneshot::channel();
        let asked = self.handle.shared.push(Input::Disconnect { timeout, done });
        Disconnect { answer: asked.then_some(answer), _handle: self.handle.clone() }
    }
}

impl fmt::Debug for RaftClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RaftClient")
            .field("state", &*self.handle.shared.state.borrow())
            .field("member_id", &self.member_id())
            .finish_non_exhaustive()
    }
}

/// What keeps the client alive; the last one to go disconnects it.
pub(crate) struct Handle {
    pub(crate) shared: Arc<Shared>,
}

impl Handle {
    #[inline]
    pub(crate) fn check_payload(&self, payload: &Bytes) -> Result<(), Error> {
        Ok(self.shared.admission.check_payload(payload.len())?)
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Handle")
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.shared.push(Input::LastHandle);
    }
}

/// The future of [`RaftClient::connect`]. The attempt runs whether or not it is polled.
#[must_use = "dropping it gives the attempt up"]
#[derive(Debug)]
pub struct Connect {
    /// `None`: there is no runtime to run in.
    waiting: Option<ConnectWaiting>,
}

#[derive(Debug)]
struct ConnectWaiting {
    handle: Arc<Handle>,
    ticket: u64,
    answer: oneshot::Receiver<Result<(), Error>>,
}

impl Future for Connect {
    type Output = Result<(), Error>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.waiting {
            None => Poll::Ready(Err(ValidationError::NoRuntime.into())),
            Some(waiting) => {
                let answer = std::task::ready!(Pin::new(&mut waiting.answer).poll(context));
                Poll::Ready(answer.unwrap_or(Err(Error::closed(false))))
            }
        }
    }
}

impl Drop for ConnectWaiting {
    fn drop(&mut self) {
        // Nothing to give up when the answer is there, taken or not.
        if !self.answer.is_terminated() {
            self.handle.shared.push(Input::CancelConnect { ticket: self.ticket });
        }
    }
}

/// The future of [`RaftClient::ping`].
#[must_use = "futures do nothing unless awaited"]
#[derive(Debug)]
pub struct Ping {
    answer: Option<oneshot::Receiver<Result<Duration, Error>>>,
    _handle: Arc<Handle>,
}

impl Future for Ping {
    type Output = Result<Duration, Error>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.answer {
            None => Poll::Ready(Err(Error::NotConnected)),
            Some(answer) => {
                let answer = std::task::ready!(Pin::new(answer).poll(context));
                Poll::Ready(answer.unwrap_or(Err(Error::closed(false))))
            }
        }
    }
}

/// The future of [`RaftClient::disconnect`]. Disconnecting goes on whether or not it is polled.
#[derive(Debug)]
pub struct Disconnect {
    /// `None`: nothing was ever connected.
    answer: Option<oneshot::Receiver<()>>,
    _handle: Arc<Handle>,
}

impl Future for Disconnect {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        match &mut self.answer {
            None => Poll::Ready(()),
            // A driver that is gone has disconnected too.
            Some(answer) => Pin::new(answer).poll(context).map(|_| ()),
        }
    }
}

/// The future of [`RaftClient::ready`] and [`RaftClient::ready_for`].
#[must_use = "futures do nothing unless awaited"]
#[derive(Debug)]
pub struct Ready {
    handle: Arc<Handle>,
    bytes: usize,
    /// A request was refused before: other tasks run before this resolves.
    yields: bool,
    key: Option<WatchKey>,
}

impl Ready {
    fn new(handle: &Arc<Handle>, length: Option<usize>) -> Self {
        let refused = lock(&handle.shared.inbox).room.refused();
        let bytes = handle.shared.admission.awaited_room(length.or(refused).unwrap_or(1));
        Self { handle: handle.clone(), bytes, yields: refused.is_some(), key: None }
    }
}

impl Future for Ready {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if std::mem::take(&mut self.yields) {
            // To the end of the queue, and after a look at the sockets.
            return pin!(tokio::task::yield_now()).poll(context);
        }
        let key = {
            let inbox = &mut *lock(&self.handle.shared.inbox);
            if inbox.phase == Phase::Idle {
                // There is no driver to wait for. Submitting tells so.
                return Poll::Ready(());
            }
            inbox.room.watch(self.bytes, self.key, context.waker())
        };
        self.key = key;
        if key.is_some() { Poll::Pending } else { Poll::Ready(()) }
    }
}

impl Drop for Ready {
    fn drop(&mut self) {
        if self.key.is_some() {
            lock(&self.handle.shared.inbox).room.stop_watching(self.key);
        }
    }
}
