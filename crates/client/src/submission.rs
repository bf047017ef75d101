//! A request on its way into the queue.

use std::fmt;
use std::future::{Future, IntoFuture};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use zraft_core::{RequestKind, Timeout};

use crate::answer::Answer;
use crate::error::Error;
use crate::handle::Handle;
use crate::observe::Call;
use crate::shared::backpressure::Ticket;
use crate::shared::inbox::DriverState;
use crate::sync::{lock, wake_all};

/// A command or query that is queued when it is first polled. If the queue is full, it waits for room.
///
/// Created by [`submit_command`](crate::RaftClient::submit_command) and
/// [`submit_query`](crate::RaftClient::submit_query). Awaiting it returns the answer.
///
/// Dropping a submission before its first poll has no effect. Dropping its future later cancels the request: if it was
/// not sent, it is not executed; a command that was sent may still run.
#[must_use = "a submission does nothing unless awaited"]
pub struct Submission {
    handle: Handle,
    kind: RequestKind,
    payload: Bytes,
    timeout: Timeout,
}

impl Submission {
    pub(crate) fn new(handle: Handle, kind: RequestKind, payload: Bytes) -> Self {
        Self { handle, kind, payload, timeout: Timeout::Default }
    }

    /// Sets the time from queueing to the answer, in place of the configured `request_timeout`. `None` waits without
    /// limit.
    ///
    /// ```no_run
    /// # use std::time::Duration;
    /// # async fn example(client: zraft_client::RaftClient) -> Result<(), zraft_client::Error> {
    /// let answer = client.submit_query("a query").timeout(Duration::from_millis(500)).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn timeout(mut self, time: impl Into<Option<Duration>>) -> Self {
        self.timeout = time.into().map_or(Timeout::Never, Timeout::After);
        self
    }

    /// Queues the request, or starts to wait for room.
    fn queue(self, context: &Context<'_>) -> Result<Stage, Error> {
        self.handle.check_payload(&self.payload)?;
        let mut observed = Call::request(self.kind, self.payload.len());
        let (call, driver_waker) = {
            let mut inbox = lock(&self.handle.inbox);
            if inbox.driver == DriverState::Stopped {
                drop(inbox);
                observed.settled(Some(&Error::NotConnected));
                return Err(Error::NotConnected);
            }
            if !inbox.backpressure.take_in_turn(self.payload.len()) {
                let ticket = inbox.backpressure.wait(self.payload.len(), context.waker());
                drop(inbox);
                return Ok(Stage::Waiting(self, ticket, observed));
            }
            inbox.submit(self.kind, self.payload, self.timeout)
        };
        if let Some(waker) = driver_waker {
            waker.wake();
        }
        Ok(Stage::Queued(Answer::new(self.handle, call, observed)))
    }

    /// Queues the request if it was granted room since it started to wait.
    fn queue_if_granted(
        self,
        ticket: Ticket,
        mut observed: Call,
        context: &Context<'_>,
    ) -> Result<Stage, Error> {
        let mut woken = Vec::new();
        let call = {
            let mut inbox = lock(&self.handle.inbox);
            if !inbox.backpressure.poll_turn(ticket, context.waker()) {
                drop(inbox);
                return Ok(Stage::Waiting(self, ticket, observed));
            }
            let length = self.payload.len();
            if inbox.driver == DriverState::Stopped {
                inbox.backpressure.return_granted(length, &mut woken);
                None
            } else {
                inbox.backpressure.use_granted(length);
                let (call, driver_waker) = inbox.submit(self.kind, self.payload, self.timeout);
                woken.extend(driver_waker);
                Some(call)
            }
        };
        wake_all(woken);
        match call {
            Some(call) => Ok(Stage::Queued(Answer::new(self.handle, call, observed))),
            None => {
                let error = Error::closed(false);
                observed.settled(Some(&error));
                Err(error)
            }
        }
    }

    /// Stops waiting for room, or returns the room if it was granted.
    fn stop_waiting(&self, ticket: Ticket) {
        let mut woken = Vec::new();
        {
            let backpressure = &mut lock(&self.handle.inbox).backpressure;
            if !backpressure.stop_waiting(ticket, &mut woken) {
                backpressure.return_granted(self.payload.len(), &mut woken);
            }
        }
        wake_all(woken);
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
    /// The queue is full, and the submission waits for room.
    Waiting(Submission, Ticket, Call),
    Queued(Answer),
    /// Cancelled before it was queued.
    Cancelled,
    /// The result was returned.
    Finished,
}

impl SubmissionFuture {
    /// Cancels the request and returns a future of its outcome, as [`Answer::cancel`] does.
    ///
    /// A request that was not polled yet, or that waits for room, is not executed.
    pub fn cancel(mut self) -> Self {
        self.stage = match std::mem::replace(&mut self.stage, Stage::Finished) {
            Stage::New(_) => Stage::Cancelled,
            Stage::Waiting(submission, ticket, mut observed) => {
                submission.stop_waiting(ticket);
                observed.settled(Some(&Error::cancelled_unsent()));
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
        match std::mem::replace(&mut self.stage, Stage::Finished) {
            Stage::New(submission) => match submission.queue(context) {
                Ok(stage) => self.stage = stage,
                Err(error) => return Poll::Ready(Err(error)),
            },
            Stage::Waiting(submission, ticket, observed) => {
                match submission.queue_if_granted(ticket, observed, context) {
                    Ok(stage) => self.stage = stage,
                    Err(error) => return Poll::Ready(Err(error)),
                }
            }
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
        if let Stage::Waiting(submission, ticket, _) = &self.stage {
            submission.stop_waiting(*ticket);
        }
    }
}
