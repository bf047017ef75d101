//! What the server asks of the application.

use std::collections::VecDeque;
use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use futures_core::Stream;
use zraft_core::AckServerRequests;
use zraft_protocol::{RequestId, Timestamp};

use crate::inbox::Input;
use crate::shared::Shared;
use crate::sync::{Mutex, lock};

/// How many server requests lie ready for the application; the machine keeps the others.
const READY: usize = 64;

/// A request of the server to the application.
///
/// With [`AckServerRequests::Delivered`], the default, taking it from the stream has settled
/// everything. With [`AckServerRequests::Handled`] the next one comes after
/// [`ServerRequest::acknowledge`]; one that is dropped without is given again.
#[derive(Debug)]
#[non_exhaustive]
pub struct ServerRequest {
    /// Its number within the session: 1, 2, 3, …
    pub request_id: RequestId,
    /// What the server asks, in the application's own form.
    pub payload: Bytes,
    /// The server's clock when it sent this copy; another delivery has another time.
    pub created_at: Timestamp,
    duty: Duty,
}

impl ServerRequest {
    /// Says that the request was handled: it is acknowledged and the next one may come. Does
    /// nothing where delivery is acknowledged.
    pub fn acknowledge(mut self) {
        self.duty.fulfil();
    }
}

/// What is still owed for a request that the application holds.
struct Duty {
    owed: Option<(Weak<Shared>, Item)>,
}

impl Duty {
    fn fulfil(&mut self) {
        if let Some((shared, item)) = self.owed.take()
            && let Some(shared) = shared.upgrade()
        {
            shared.deliveries.release(item.epoch);
            shared.push(Input::ServerRequestDone { epoch: item.epoch, id: item.request_id });
        }
    }
}

impl fmt::Debug for Duty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.owed.is_some() { "acknowledge" } else { "nothing" })
    }
}

impl Drop for Duty {
    fn drop(&mut self) {
        if let Some((shared, item)) = self.owed.take()
            && let Some(shared) = shared.upgrade()
        {
            shared.deliveries.put_back(item);
        }
    }
}

/// The stream of server requests, in order and without repetition, from
/// [`RaftClient::server_requests`](crate::RaftClient::server_requests).
///
/// It goes on through reconnections and new sessions, and ends when the client is gone; it does
/// not keep the client alive. What is not taken is not acknowledged.
#[derive(Debug)]
#[must_use = "streams do nothing unless polled"]
pub struct ServerRequests {
    deliveries: Arc<Deliveries>,
    shared: Weak<Shared>,
}

impl ServerRequests {
    /// The one consumer, or `None` while there is another.
    pub(crate) fn consume(shared: &Arc<Shared>) -> Option<Self> {
        let deliveries = shared.deliveries.clone();
        if std::mem::replace(&mut lock(&deliveries.state).consumed, true) {
            return None;
        }
        shared.push(Input::Look);
        Some(Self { deliveries, shared: Arc::downgrade(shared) })
    }

    /// The next request; `None` when the client is gone.
    pub async fn next(&mut self) -> Option<ServerRequest> {
        std::future::poll_fn(|context| Pin::new(&mut *self).poll_next(context)).await
    }
}

impl Stream for ServerRequests {
    type Item = ServerRequest;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<ServerRequest>> {
        let item = {
            let mut state = lock(&self.deliveries.state);
            match state.ready.pop_front() {
                Some(item) => {
                    state.held += usize::from(self.deliveries.one_at_a_time);
                    item
                }
                None if state.over => return Poll::Ready(None),
                None => {
                    match &mut state.waker {
                        Some(waker) => waker.clone_from(context.waker()),
                        None => state.waker = Some(context.waker().clone()),
                    }
                    return Poll::Pending;
                }
            }
        };
        let Item { epoch, request_id, payload, created_at } = item.clone();
        let owed = if self.deliveries.one_at_a_time {
            Some((self.shared.clone(), item))
        } else {
            if let Some(shared) = self.shared.upgrade() {
                shared.push(Input::ServerRequestDone { epoch, id: request_id });
            }
            None
        };
        Poll::Ready(Some(ServerRequest { request_id, payload, created_at, duty: Duty { owed } }))
    }
}

impl Drop for ServerRequests {
    fn drop(&mut self) {
        let mut state = lock(&self.deliveries.state);
        state.consumed = false;
        state.waker = None;
    }
}

#[derive(Clone, Debug)]
struct Item {
    epoch: u64,
    request_id: RequestId,
    payload: Bytes,
    created_at: Timestamp,
}

/// Server requests on their way from the machine to the application.
#[derive(Debug)]
pub(crate) struct Deliveries {
    one_at_a_time: bool,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    ready: VecDeque<Item>,
    /// Taken by the application and not acknowledged yet; counted only where that matters.
    held: usize,
    /// Counts sessions: ids begin anew with each.
    epoch: u64,
    consumed: bool,
    waker: Option<Waker>,
    over: bool,
}

impl Deliveries {
    pub(crate) fn new(mode: AckServerRequests) -> Self {
        Self { one_at_a_time: mode == AckServerRequests::Handled, state: Mutex::default() }
    }

    /// A new session, or none: what was not taken yet belongs to the past.
    pub(crate) fn begin_epoch(&self) {
        let mut state = lock(&self.state);
        state.epoch += 1;
        state.held = 0;
        state.ready.clear();
    }

    /// Whether a request taken in the given epoch belongs to the present session.
    pub(crate) fn is_current(&self, epoch: u64) -> bool {
        lock(&self.state).epoch == epoch
    }

    /// Fills up what lies ready.
    pub(crate) fn refill(&self, mut next: impl FnMut() -> Option<zraft_core::ServerRequest>) {
        let waker = {
            let mut state = lock(&self.state);
            if !state.consumed {
                return;
            }
            let limit = if self.one_at_a_time { 1 } else { READY };
            let before = state.ready.len();
            while state.ready.len() + state.held < limit
                && let Some(request) = next()
            {
                let zraft_core::ServerRequest { request_id, payload, created_at } = request;
                let epoch = state.epoch;
                state.ready.push_back(Item { epoch, request_id, payload, created_at });
            }
            if state.ready.len() > before { state.waker.take() } else { None }
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    fn release(&self, epoch: u64) {
        let mut state = lock(&self.state);
        if state.epoch == epoch {
            state.held = state.held.saturating_sub(1);
        }
    }

    fn put_back(&self, item: Item) {
        let waker = {
            let mut state = lock(&self.state);
            if state.epoch != item.epoch {
                return;
            }
            state.held = state.held.saturating_sub(1);
            state.ready.push_front(item);
            state.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// The client is gone.
    pub(crate) fn end(&self) {
        let waker = {
            let mut state = lock(&self.state);
            state.over = true;
            state.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}
