//! Server requests on their way from the machine to the application.

use std::collections::VecDeque;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use zraft_core::AckServerRequests;
use zraft_protocol::{RequestId, Timestamp};

use crate::sync::{Mutex, lock};

/// How many server requests are ready for the application. The machine keeps the others, within its limits. 64 keep
/// a consumer busy while the driver fetches the next ones.
const MAX_READY: usize = 64;

/// A server request with the session that it belongs to.
#[derive(Clone, Debug)]
pub(crate) struct Delivery {
    pub(crate) epoch: u64,
    pub(crate) request_id: RequestId,
    pub(crate) payload: Bytes,
    pub(crate) created_at: Timestamp,
}

#[derive(Debug)]
pub(crate) struct Deliveries {
    /// True if the application acknowledges each request before it gets the next.
    pub(crate) one_at_a_time: bool,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    ready: VecDeque<Delivery>,
    /// Requests that the application holds unacknowledged. Counted only if it gets one at a time.
    held: usize,
    /// Counts sessions, because request ids start again with each.
    epoch: u64,
    has_consumer: bool,
    waker: Option<Waker>,
    /// No further request will come.
    closed: bool,
}

impl Deliveries {
    pub(crate) fn new(mode: AckServerRequests) -> Self {
        Self { one_at_a_time: mode == AckServerRequests::Handled, state: Mutex::default() }
    }

    /// Makes the caller the consumer. Returns false if there is another one.
    pub(crate) fn add_consumer(&self) -> bool {
        !std::mem::replace(&mut lock(&self.state).has_consumer, true)
    }

    pub(crate) fn remove_consumer(&self) {
        let mut state = lock(&self.state);
        state.has_consumer = false;
        state.waker = None;
    }

    /// Takes the next request. Ready with `None` when no further request will come.
    pub(crate) fn poll_next(&self, context: &mut Context<'_>) -> Poll<Option<Delivery>> {
        let mut state = lock(&self.state);
        if let Some(delivery) = state.ready.pop_front() {
            state.held += usize::from(self.one_at_a_time);
            return Poll::Ready(Some(delivery));
        }
        if state.closed {
            return Poll::Ready(None);
        }
        match &mut state.waker {
            Some(waker) => waker.clone_from(context.waker()),
            None => state.waker = Some(context.waker().clone()),
        }
        Poll::Pending
    }

    /// Starts the epoch of a new session, or of no session. The application never gets the requests of the old one
    /// that it did not take.
    pub(crate) fn begin_epoch(&self) {
        let mut state = lock(&self.state);
        state.epoch += 1;
        state.held = 0;
        state.ready.clear();
    }

    /// Returns true if this is the epoch of the present session.
    pub(crate) fn is_current(&self, epoch: u64) -> bool {
        lock(&self.state).epoch == epoch
    }

    /// Fetches requests from the machine until enough are ready.
    pub(crate) fn refill(&self, mut next: impl FnMut() -> Option<zraft_core::ServerRequest>) {
        let waker = {
            let mut state = lock(&self.state);
            if !state.has_consumer {
                return;
            }
            let limit = if self.one_at_a_time { 1 } else { MAX_READY };
            let before = state.ready.len();
            while state.ready.len() + state.held < limit
                && let Some(request) = next()
            {
                let zraft_core::ServerRequest { request_id, payload, created_at } = request;
                let epoch = state.epoch;
                state.ready.push_back(Delivery { epoch, request_id, payload, created_at });
            }
            if state.ready.len() > before { state.waker.take() } else { None }
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Notes that the application acknowledged a request of this epoch.
    pub(crate) fn acknowledged(&self, epoch: u64) {
        let mut state = lock(&self.state);
        if state.epoch == epoch {
            state.held = state.held.saturating_sub(1);
        }
    }

    /// Takes back a request that the application dropped unacknowledged. It is delivered again.
    pub(crate) fn put_back(&self, delivery: Delivery) {
        let waker = {
            let mut state = lock(&self.state);
            if state.epoch != delivery.epoch {
                return;
            }
            state.held = state.held.saturating_sub(1);
            state.ready.push_front(delivery);
            state.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Notes that no further request will come. The consumer still gets those that are ready.
    pub(crate) fn close(&self) {
        let waker = {
            let mut state = lock(&self.state);
            state.closed = true;
            state.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}
