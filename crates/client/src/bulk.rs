//! Many commands of one call: queued together, with their outcomes as a stream.

use std::collections::VecDeque;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use futures_core::Stream;
use zraft_core::{RequestKind, Timeout};

use crate::error::Error;
use crate::handle::Handle;
use crate::observe::Call;
use crate::shared::backpressure::Ticket;
use crate::shared::calls::{CallId, Polled};
use crate::shared::inbox::{DriverState, Inbox, Leftovers};
use crate::sync::{lock, wake_all};

/// The most commands that are queued, or outcomes that are taken, under one lock. The driver takes as many inputs in a turn;
/// more would only make other callers wait for the lock.
const PER_LOCK: usize = crate::shared::inbox::MAX_INPUTS_PER_TURN;

/// The outcomes of many commands, in the order of their payloads. Created by
/// [`submit_commands`](crate::RaftClient::submit_commands).
///
/// It is a stream; [`next`](Self::next) takes one outcome without another crate. Each command has the outcome that it would have
/// alone: a command that fails ends neither the stream nor the other commands.
///
/// Commands are queued while the stream is polled, at most twice [`max_in_flight`](crate::ConfigBuilder::max_in_flight) ahead of
/// the outcome that is returned next. So an iterator of any length needs little memory, and leaves room for other callers.
///
/// Dropping the stream cancels the commands without an outcome: those that were not sent are not executed; a command that was sent
/// may still run. Use [`cancel`](Self::cancel) to learn which.
#[must_use = "streams do nothing unless polled"]
pub struct CommandOutcomes<I> {
    handle: Handle,
    timeout: Timeout,
    /// `None` once it has ended, or the commands were cancelled.
    payloads: Option<I>,
    /// The most commands that are queued and have no outcome yet.
    window: usize,
    /// Payloads that wait for room in the queue.
    waiting: VecDeque<(Bytes, Call)>,
    /// The place of the first of them among all submissions that wait for room.
    ticket: Option<Ticket>,
    /// The commands that follow those in `ready`.
    expected: VecDeque<(Expected, Call)>,
    /// The next outcomes.
    ready: VecDeque<(Result<Bytes, Box<Error>>, Call)>,
}

/// A command whose outcome was not taken yet.
enum Expected {
    Queued(CallId),
    /// It was never queued.
    Failed(Box<Error>),
}

/// What must be woken and dropped once no lock is held.
#[derive(Default)]
struct Unlocked {
    woken: Vec<Waker>,
    _pending: Option<Polled>,
    refused: Vec<Bytes>,
    leftovers: Vec<Leftovers>,
}

impl<I> CommandOutcomes<I> {
    pub(crate) fn new(handle: Handle, payloads: I) -> Self {
        let window = handle.config.max_in_flight().saturating_mul(2);
        Self {
            handle,
            timeout: Timeout::Default,
            payloads: Some(payloads),
            window,
            waiting: VecDeque::new(),
            ticket: None,
            expected: VecDeque::new(),
            ready: VecDeque::new(),
        }
    }

    /// Sets the time from queueing to the answer of each command that is not queued yet, in place of the configured
    /// `request_timeout`. `None` waits without limit.
    pub fn timeout(mut self, time: impl Into<Option<Duration>>) -> Self {
        self.timeout = time.into().map_or(Timeout::Never, Timeout::After);
        self
    }

    /// Cancels the commands that have no outcome yet, and takes no further payloads. The stream returns the outcome of each command
    /// whose payload was taken, as [`Answer::cancel`](crate::Answer::cancel) does.
    pub fn cancel(mut self) -> Self {
        self.payloads = None;
        self.stop_waiting();
        for calls in queued(&self.expected).chunks(PER_LOCK) {
            let mut after = Unlocked::default();
            {
                let mut inbox = lock(&self.handle.inbox);
                for call in calls {
                    after.leftovers.push(inbox.cancel(*call, &mut after.woken));
                }
            }
            after.finish();
        }
        let unsent = self
            .waiting
            .drain(..)
            .map(|(_, observed)| (Expected::Failed(Box::new(Error::cancelled_unsent())), observed));
        self.expected.extend(unsent);
        self
    }

    /// Stops waiting for room, or returns the room if it was granted.
    fn stop_waiting(&mut self) {
        let Some(ticket) = self.ticket.take() else { return };
        let length = self.waiting.front().map_or(0, |(payload, _)| payload.len());
        let mut woken = Vec::new();
        {
            let backpressure = &mut lock(&self.handle.inbox).backpressure;
            if !backpressure.stop_waiting(ticket, &mut woken) {
                backpressure.return_granted(length, &mut woken);
            }
        }
        wake_all(woken);
    }

    /// Queues the payloads that wait, as far as there is room.
    fn queue(&mut self, inbox: &mut Inbox, waker: &Waker, after: &mut Unlocked) {
        let stopped = inbox.driver == DriverState::Stopped;
        let mut granted = false;
        if let Some(ticket) = self.ticket {
            if !inbox.backpressure.poll_turn(ticket, waker) {
                return;
            }
            self.ticket = None;
            granted = true;
        }
        for _ in 0..PER_LOCK {
            let Some((payload, observed)) = self.waiting.pop_front() else { return };
            let length = payload.len();
            let refused = match self.handle.check_payload(&payload) {
                Err(error) => Some(error),
                Ok(()) if stopped && granted => {
                    inbox.backpressure.return_granted(length, &mut after.woken);
                    Some(Error::closed(false))
                }
                Ok(()) if stopped => Some(Error::NotConnected),
                Ok(()) => None,
            };
            let was_granted = std::mem::take(&mut granted);
            if let Some(error) = refused {
                after.refused.push(payload);
                self.expected.push_back((Expected::Failed(Box::new(error)), observed));
                continue;
            }
            if was_granted {
                inbox.backpressure.use_granted(length);
            } else if !inbox.backpressure.take_in_turn(length) {
                self.ticket = Some(inbox.backpressure.wait(length, waker));
                self.waiting.push_front((payload, observed));
                return;
            }
            let (call, driver_waker) = inbox.submit(RequestKind::Command, payload, self.timeout);
            after.woken.extend(driver_waker);
            self.expected.push_back((Expected::Queued(call), observed));
        }
    }

    /// Takes the next outcomes that are known.
    fn take(&mut self, inbox: &mut Inbox, waker: &Waker, after: &mut Unlocked) {
        for _ in 0..PER_LOCK {
            let answered = match self.expected.front() {
                Some((Expected::Queued(call), _)) => match inbox.calls.poll(*call, waker) {
                    Polled::Answered(answer) => Some(Ok(answer)),
                    Polled::Failed(error) => Some(Err(error)),
                    pending @ Polled::Pending { .. } => {
                        after._pending = Some(pending);
                        return;
                    }
                },
                Some((Expected::Failed(_), _)) => None,
                None => return,
            };
            let outcome = match (answered, self.expected.pop_front()) {
                (Some(outcome), Some((_, observed))) => (outcome, observed),
                (None, Some((Expected::Failed(error), observed))) => (Err(error), observed),
                _ => return,
            };
            self.ready.push_back(outcome);
        }
    }
}

impl<I: Iterator<Item: Into<Bytes>>> CommandOutcomes<I> {
    /// Returns the next outcome, or `None` after the last one. Dropping the future loses nothing.
    ///
    /// # Errors
    /// Those of [`submit_command`](crate::RaftClient::submit_command), for this command alone.
    pub async fn next(&mut self) -> Option<Result<Bytes, Error>> {
        std::future::poll_fn(|context| Pin::new(&mut *self).poll_next(context)).await
    }

    /// Takes payloads from the iterator, which runs the application's code, so no lock is held.
    ///
    /// Refills when a quarter of the window is free. This queues many commands under one lock, and the driver still has commands
    /// to send when answers make room on the wire.
    fn take_payloads(&mut self) {
        if self.expected.len() + self.waiting.len() > self.window - self.window.div_ceil(4) {
            return;
        }
        while let Some(payloads) = &mut self.payloads
            && self.expected.len() + self.waiting.len() < self.window
        {
            match payloads.next() {
                Some(payload) => {
                    let payload = payload.into();
                    let observed = Call::request(RequestKind::Command, payload.len());
                    self.waiting.push_back((payload, observed));
                }
                None => self.payloads = None,
            }
        }
    }
}

impl<I: Iterator<Item: Into<Bytes>>> Stream for CommandOutcomes<I> {
    type Item = Result<Bytes, Error>;

    fn poll_next(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, Error>>> {
        let this = &mut *self;
        loop {
            if let Some((outcome, mut observed)) = this.ready.pop_front() {
                observed.settled(outcome.as_ref().err().map(|error| &**error));
                return Poll::Ready(Some(outcome.map_err(|error| *error)));
            }
            this.take_payloads();
            if this.waiting.is_empty() && this.expected.is_empty() {
                return Poll::Ready(None);
            }
            let mut after = Unlocked::default();
            {
                let handle = this.handle.clone();
                let mut inbox = lock(&handle.inbox);
                this.queue(&mut inbox, context.waker(), &mut after);
                this.take(&mut inbox, context.waker(), &mut after);
            }
            after.finish();
            // What waits without a place in line was left for the next lock.
            if this.ready.is_empty() && (this.waiting.is_empty() || this.ticket.is_some()) {
                return Poll::Pending;
            }
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let taken = self.ready.len() + self.expected.len() + self.waiting.len();
        let (least, most) = self.payloads.as_ref().map_or((0, Some(0)), I::size_hint);
        (least.saturating_add(taken), most.and_then(|most| most.checked_add(taken)))
    }
}

/// Nothing is pinned in place: the iterator is only ever used by reference.
impl<I> Unpin for CommandOutcomes<I> {}

impl<I> Drop for CommandOutcomes<I> {
    fn drop(&mut self) {
        self.stop_waiting();
        for calls in queued(&self.expected).chunks(PER_LOCK) {
            let mut after = Unlocked::default();
            {
                let mut inbox = lock(&self.handle.inbox);
                for call in calls {
                    after.leftovers.push(inbox.drop_call(*call, &mut after.woken));
                }
            }
            after.finish();
        }
    }
}

impl<I> fmt::Debug for CommandOutcomes<I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CommandOutcomes")
            .field("ready", &self.ready.len())
            .field("queued", &self.expected.len())
            .field("waiting", &self.waiting.len())
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}

impl Unlocked {
    fn finish(self) {
        let Self { woken, .. } = self;
        wake_all(woken);
    }
}

fn queued(expected: &VecDeque<(Expected, Call)>) -> Vec<CallId> {
    let calls = expected.iter().filter_map(|(each, _)| match each {
        Expected::Queued(call) => Some(*call),
        Expected::Failed(_) => None,
    });
    calls.collect()
}
