//! The answer to a queued request.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use zraft_core::{RequestKind, Timeout};

use crate::error::Error;
use crate::handle::Handle;
use crate::observe::Call;
use crate::shared::calls::{CallId, Polled};
use crate::shared::inbox::DriverState;
use crate::sync::{lock, wake_all};

/// The future answer to a request that is queued already.
///
/// Created by [`try_submit_command`](crate::RaftClient::try_submit_command) and
/// [`try_submit_query`](crate::RaftClient::try_submit_query). Dropping it cancels the request: if it was not sent, it
/// is not executed; a command that was sent may still run. Use [`cancel`](Self::cancel) to learn which.
#[must_use = "dropping an answer cancels its request"]
#[derive(Debug)]
pub struct Answer {
    handle: Handle,
    /// `None` once the answer was taken.
    call: Option<CallId>,
    observed: Call,
}

impl Answer {
    pub(crate) fn new(handle: Handle, call: CallId, observed: Call) -> Self {
        Self { handle, call: Some(call), observed }
    }

    /// Queues a request at once, or fails.
    #[inline]
    pub(crate) fn queue(handle: &Handle, kind: RequestKind, payload: Bytes) -> Result<Self, Error> {
        handle.check_payload(&payload)?;
        let mut observed = Call::request(kind, payload.len());
        let (call, driver_waker) = {
            let mut inbox = lock(&handle.inbox);
            let refused = if inbox.driver == DriverState::Stopped {
                Some(Error::NotConnected)
            } else if inbox.backpressure.try_take(payload.len()) {
                None
            } else {
                Some(Error::Overloaded)
            };
            if let Some(error) = refused {
                drop(inbox);
                observed.settled(Some(&error));
                return Err(error);
            }
            inbox.submit(kind, payload, Timeout::Default)
        };
        if let Some(waker) = driver_waker {
            waker.wake();
        }
        Ok(Self::new(handle.clone(), call, observed))
    }

    /// Cancels the request and returns a future of its outcome.
    ///
    /// The outcome is [`Error::Cancelled`], or the answer if it came first. The error says whether the command was sent
    /// ([`Error::maybe_executed`]). A sent command may still run, and [`Error::resolution`] then returns its late
    /// answer. To cancel without learning the outcome, drop the `Answer`.
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
    ///     println!("may have been executed: {}", error.maybe_executed());
    ///     if let Some(resolution) = error.resolution() {
    ///         println!("it was executed and returned {:?}", resolution.await?);
    ///     }
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn cancel(self) -> Self {
        if let Some(call) = self.call {
            let mut woken = Vec::new();
            let leftovers = lock(&self.handle.inbox).cancel(call, &mut woken);
            drop(leftovers);
            wake_all(woken);
        }
        self
    }

    #[cold]
    fn drop_call(&self, call: CallId) {
        let mut woken = Vec::new();
        let leftovers = lock(&self.handle.inbox).drop_call(call, &mut woken);
        drop(leftovers);
        wake_all(woken);
    }
}

impl Future for Answer {
    type Output = Result<Bytes, Error>;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        // A future that is polled after it completed stays pending.
        let Some(call) = self.call else { return Poll::Pending };
        let polled = lock(&self.handle.inbox).calls.poll(call, context.waker());
        match polled {
            Polled::Pending { .. } => Poll::Pending,
            Polled::Answered(answer) => {
                self.call = None;
                self.observed.settled(None);
                Poll::Ready(Ok(answer))
            }
            Polled::Failed(error) => {
                self.call = None;
                self.observed.settled(Some(&error));
                Poll::Ready(Err(*error))
            }
        }
    }
}

impl Drop for Answer {
    #[inline]
    fn drop(&mut self) {
        if let Some(call) = self.call {
            self.drop_call(call);
        }
    }
}
