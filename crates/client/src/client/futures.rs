//! The futures that a client returns, except those of requests.

use std::future::Future;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::sync::oneshot;
use zraft_core::ValidationError;

use crate::error::Error;
use crate::handle::Handle;
use crate::observe::Call;
use crate::shared::backpressure::WatchKey;
use crate::shared::inbox::{DriverState, Input};
use crate::sync::lock;

/// The future of [`RaftClient::connect`](crate::RaftClient::connect). The attempt runs whether or not it is polled.
#[must_use = "dropping it gives up the attempt"]
#[derive(Debug)]
pub struct Connect {
    /// `None` if there is no runtime to run a driver.
    attempt: Option<Attempt>,
}

#[derive(Debug)]
struct Attempt {
    handle: Handle,
    ticket: u64,
    answer: oneshot::Receiver<Result<(), Error>>,
    observed: Call,
}

impl Connect {
    pub(super) fn without_runtime() -> Self {
        Self { attempt: None }
    }

    pub(super) fn waiting(
        handle: Handle,
        ticket: u64,
        answer: oneshot::Receiver<Result<(), Error>>,
    ) -> Self {
        let observed = Call::connect();
        Self { attempt: Some(Attempt { handle, ticket, answer, observed }) }
    }
}

impl Future for Connect {
    type Output = Result<(), Error>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.attempt {
            None => Poll::Ready(Err(ValidationError::NoRuntime.into())),
            Some(attempt) => {
                let answer = std::task::ready!(Pin::new(&mut attempt.answer).poll(context));
                let outcome = answer.unwrap_or(Err(Error::closed(false)));
                attempt.observed.settled(outcome.as_ref().err());
                Poll::Ready(outcome)
            }
        }
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        // Once the answer has arrived, taken or not, there is no attempt to cancel.
        if !self.answer.is_terminated() {
            self.handle.push(Input::CancelConnect { ticket: self.ticket });
        }
    }
}

/// The future of [`RaftClient::ping`](crate::RaftClient::ping).
#[must_use = "futures do nothing unless awaited"]
#[derive(Debug)]
pub struct Ping {
    /// `None` if no driver runs.
    answer: Option<oneshot::Receiver<Result<Duration, Error>>>,
    _handle: Handle,
}

impl Ping {
    pub(super) fn new(
        handle: Handle,
        answer: Option<oneshot::Receiver<Result<Duration, Error>>>,
    ) -> Self {
        Self { answer, _handle: handle }
    }
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

/// The future of [`RaftClient::disconnect`](crate::RaftClient::disconnect). The client disconnects whether or not it
/// is polled.
#[derive(Debug)]
pub struct Disconnect {
    /// `None` if no driver runs, so that there is nothing to disconnect.
    answer: Option<oneshot::Receiver<()>>,
    _handle: Handle,
}

impl Disconnect {
    pub(super) fn new(handle: Handle, answer: Option<oneshot::Receiver<()>>) -> Self {
        Self { answer, _handle: handle }
    }
}

impl Future for Disconnect {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        match &mut self.answer {
            None => Poll::Ready(()),
            // A driver that has ended is disconnected too.
            Some(answer) => Pin::new(answer).poll(context).map(|_| ()),
        }
    }
}

/// The future of [`RaftClient::ready`](crate::RaftClient::ready) and
/// [`RaftClient::ready_for`](crate::RaftClient::ready_for).
#[must_use = "futures do nothing unless awaited"]
#[derive(Debug)]
pub struct Ready {
    handle: Handle,
    bytes: usize,
    /// True if a request was refused before: the first poll then lets other tasks run.
    yields: bool,
    key: Option<WatchKey>,
}

impl Ready {
    pub(super) fn new(handle: &Handle, length: Option<usize>) -> Self {
        let refused = lock(&handle.inbox).backpressure.refused();
        let bytes = handle.admission.awaited_room(length.or(refused).unwrap_or(1));
        Self { handle: handle.clone(), bytes, yields: refused.is_some(), key: None }
    }
}

impl Future for Ready {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if std::mem::take(&mut self.yields) {
            // Other tasks run, and the runtime looks at its sockets, before the next poll.
            return pin!(tokio::task::yield_now()).poll(context);
        }
        let key = {
            let inbox = &mut *lock(&self.handle.inbox);
            if inbox.driver == DriverState::Stopped {
                // There is no driver to wait for. The next submission fails and says why.
                return Poll::Ready(());
            }
            inbox.backpressure.watch(self.bytes, self.key, context.waker())
        };
        self.key = key;
        if key.is_some() { Poll::Pending } else { Poll::Ready(()) }
    }
}

impl Drop for Ready {
    fn drop(&mut self) {
        if self.key.is_some() {
            lock(&self.handle.inbox).backpressure.stop_watching(self.key);
        }
    }
}
