//! A request on its way: waiting for room, or for its answer.

use std::fmt;
use std::future::{Future, IntoFuture};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use zraft_core::{RequestKind, Timeout};

use crate::calls::{CallId, Polled};
use crate::error::Error;
use crate::handle::Handle;
use crate::inbox::Phase;
use crate::room::Ticket;
use crate::sync::lock;

/// A command or query that is queued when it is first polled, and waits for room if need be.
///
/// From [`submit_command`](crate::RaftClient::submit_command) and
/// [`submit_query`](crate::RaftClient::submit_query); awaiting it gives the answer. Dropped
/// before it was polled, nothing has happened; dropped later, it is detached: what was not sent
/// yet is not executed, a command that was sent may still run.
#[must_use = "a submission does nothing unless awaited"]
pub struct Submission {
    handle: Arc<Handle>,
    kind: RequestKind,
    payload: Bytes,
    timeout: Timeout,
}

impl Submission {
    pub(crate) fn new(handle: Arc<Handle>, kind: RequestKind, payload: Bytes) -> Self {
        Self { handle, kind, payload, timeout: Timeout::Default }
    }

    /// The time from queueing to the answer, instead of the configured `request_timeout`;
    /// `None` waits for ever.
    pub fn timeout(mut self, time: impl Into<Option<Duration>>) -> Self {
        self.timeout = time.into().map_or(Timeout::Never, Timeout::After);
        self
    }
}

impl fmt::Debug for Submission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Submission")
            .field("kind", &self.kind)
            .field("length", &self.payload.len())
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}

impl IntoFuture for Submission {
    type Output = Result<Bytes, Error>;
    type IntoFuture = SubmissionFuture;

    fn into_future(self) -> SubmissionFuture {
        SubmissionFuture { stage: Stage::New(self) }
    }
}

/// The future of a [`Submission`].
#[must_use = "futures do nothing unless awaited"]
#[derive(Debug)]
pub struct SubmissionFuture {
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    New(Submission),
    Waiting(Submission, Ticket),
    Queued(Answer),
    /// Cancelled before it was queued.
    Cancelled,
    Over,
}

impl SubmissionFuture {
    /// Cancels the request and gives a future of how it ended, as [`Answer::cancel`] does.
    ///
    /// A request that was not polled yet, or waits for room, is not executed.
    pub fn cancel(mut self) -> Self {
        self.stage = match std::mem::replace(&mut self.stage, Stage::Over) {
            Stage::New(_) => Stage::Cancelled,
            Stage::Waiting(submission, ticket) => {
                submission.stop_waiting(ticket);
                Stage::Cancelled
            }
            Stage::Queued(answer) => Stage::Queued(answer.cancel()),
            stage => stage,
        };
        self
    }
}

impl Future for SubmissionFuture {
    type Output = Result<Bytes, Error>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        if let Stage::Queued(answer) = &mut self.stage {
            return Pin::new(answer).poll(context);
        }
        match std::mem::replace(&mut self.stage, Stage::Over) {
            Stage::New(submission) => match submission.queue(context) {
                Ok(stage) => self.stage = stage,
                Err(error) => return Poll::Ready(Err(error)),
            },
            Stage::Waiting(submission, ticket) => match submission.turn(ticket, context) {
                Ok(stage) => self.stage = stage,
                Err(error) => return Poll::Ready(Err(error)),
            },
            Stage::Cancelled => return Poll::Ready(Err(Error::cancelled_unsent())),
            stage => self.stage = stage,
        }
        match &mut self.stage {
            Stage::Queued(answer) => Pin::new(answer).poll(context),
            _ => Poll::Pending,
        }
    }
}

impl Drop for SubmissionFuture {
    fn drop(&mut self) {
        if let Stage::Waiting(submission, ticket) = &self.stage {
            submission.stop_waiting(*ticket);
        }
    }
}

impl Submission {
    /// Leaves the line of those that wait for room.
    fn stop_waiting(&self, ticket: Ticket) {
        let mut woken = Vec::new();
        {
            let room = &mut lock(&self.handle.shared.inbox).room;
            if !room.stop_waiting(ticket, &mut woken) {
                room.give_back(self.payload.len(), &mut woken);
            }
        }
        wake(woken);
    }

    /// Queues, or waits for room.
    fn queue(self, context: &Context<'_>) -> Result<Stage, Error> {
        self.handle.check_payload(&self.payload)?;
        let (call, sleeper) = {
            let mut inbox = lock(&self.handle.shared.inbox);
            if inbox.phase == Phase::Idle {
                return Err(Error::NotConnected);
            }
            if !inbox.room.take_in_turn(self.payload.len()) {
                let ticket = inbox.room.wait(self.payload.len(), context.waker());
                drop(inbox);
                return Ok(Stage::Waiting(self, ticket));
            }
            inbox.submit(self.kind, self.payload, self.timeout)
        };
        if let Some(sleeper) = sleeper {
            sleeper.wake();
        }
        Ok(Stage::Queued(Answer::new(self.handle, call)))
    }

    /// Queues if room was granted meanwhile.
    fn turn(self, ticket: Ticket, context: &Context<'_>) -> Result<Stage, Error> {
        let mut woken = Vec::new();
        let call = {
            let mut inbox = lock(&self.handle.shared.inbox);
            if !inbox.room.poll_turn(ticket, context.waker()) {
                drop(inbox);
                return Ok(Stage::Waiting(self, ticket));
            }
            let length = self.payload.len();
            if inbox.phase == Phase::Idle {
                inbox.room.give_back(length, &mut woken);
                None
            } else {
                inbox.room.redeem(length);
                let (call, sleeper) = inbox.submit(self.kind, self.payload, self.timeout);
                woken.extend(sleeper);
                Some(call)
            }
        };
        wake(woken);
        match call {
            Some(call) => Ok(Stage::Queued(Answer::new(self.handle, call))),
            None => Err(Error::closed(false)),
        }
    }
}

fn wake(wakers: Vec<std::task::Waker>) {
    for waker in wakers {
        waker.wake();
    }
}

/// The answer to a request that is queued already, from
/// [`try_submit_command`](crate::RaftClient::try_submit_command) and
/// [`try_submit_query`](crate::RaftClient::try_submit_query).
///
/// Dropping it detaches the request: what was not sent yet is not executed, a command that was
/// sent may still run.
#[must_use = "dropping an answer cancels its request"]
#[derive(Debug)]
pub struct Answer {
    handle: Arc<Handle>,
    /// `None`: the answer was taken.
    call: Option<CallId>,
}

impl Answer {
    fn new(handle: Arc<Handle>, call: CallId) -> Self {
        Self { handle, call: Some(call) }
    }

    /// Queues at once, or fails.
    #[inline]
    pub(crate) fn queue(
        handle: &Arc<Handle>,
        kind: RequestKind,
        payload: Bytes,
    ) -> Result<Self, Error> {
        handle.check_payload(&payload)?;
        let (call, sleeper) = {
            let mut inbox = lock(&handle.shared.inbox);
            if inbox.phase == Phase::Idle {
                return Err(Error::NotConnected);
            }
            if !inbox.room.try_take(payload.len()) {
                return Err(Error::Overloaded);
            }
            inbox.submit(kind, payload, Timeout::Default)
        };
        if let Some(sleeper) = sleeper {
            sleeper.wake();
        }
        Ok(Self::new(handle.clone(), call))
    }
}

impl Future for Answer {
    type Output = Result<Bytes, Error>;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        // Polled after completion; there is nothing to give.
        let Some(call) = self.call else { return Poll::Pending };
        let polled = lock(&self.handle.shared.inbox).calls.poll(call, context.waker());
        match polled {
            Polled::Pending { .. } => Poll::Pending,
            Polled::Answered(answer) => {
                self.call = None;
                Poll::Ready(Ok(answer))
            }
            Polled::Failed(error) => {
                self.call = None;
                Poll::Ready(Err(*error))
            }
        }
    }
}

impl Answer {
    /// Cancels the request and gives a future of how it ended.
    ///
    /// That is [`Error::Cancelled`], or the answer if it came first. The error tells whether the
    /// command was sent ([`Error::maybe_executed`]); if it was, the command may still run, and
    /// [`Error::resolution`] gives its late answer. To give a request up without hearing of it,
    /// drop the `Answer`.
    ///
    /// ```no_run
    /// # async fn example(client: zraft_client::RaftClient, stop: tokio::sync::oneshot::Receiver<()>)
    /// # -> Result<(), zraft_client::Error> {
    /// let mut answer = client.try_submit_command("a command of the application")?;
    /// let result = tokio::select! {
    ///     result = &mut answer => result,
    ///     _ = stop => answer.cancel().await,
    /// };
    /// if let Err(error) = result {
    ///     println!("may have run: {}", error.maybe_executed());
    ///     if let Some(resolution) = error.resolution() {
    ///         println!("it did run, and answered {:?}", resolution.await?);
    ///     }
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn cancel(self) -> Self {
        if let Some(call) = self.call {
            let mut woken = Vec::new();
            let left = lock(&self.handle.shared.inbox).cancel(call, &mut woken);
            drop(left);
            wake(woken);
        }
        self
    }

    #[cold]
    fn leave(&self, call: CallId) {
        let mut woken = Vec::new();
        let left = lock(&self.handle.shared.inbox).leave(call, &mut woken);
        drop(left);
        wake(woken);
    }
}

impl Drop for Answer {
    #[inline]
    fn drop(&mut self) {
        if let Some(call) = self.call {
            self.leave(call);
        }
    }
}
