//! What happens to the client, for those who want to know: a bounded queue for each listener.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, Waker};

use futures_core::Stream;
use zraft_core::Event;

use crate::sync::{AtomicBool, Mutex, lock};

/// How many events wait for one listener; beyond, the oldest give way.
const CAPACITY: usize = 1024;

/// A stream of the client's events, from [`RaftClient::events`](crate::RaftClient::events).
///
/// A listener that does not keep up loses the oldest events and finds [`Event::Lagged`] in
/// their place. The stream ends when the client is gone; it does not keep the client alive.
#[derive(Debug)]
#[must_use = "streams do nothing unless polled"]
pub struct Events {
    listener: Arc<Listener>,
    wants_messages: Arc<AtomicBool>,
}

impl Events {
    /// Also gives [`Event::MessageSent`] and [`Event::MessageReceived`], which are made only
    /// while somebody wants them: they cost time for every message.
    pub fn with_messages(self) -> Self {
        lock(&self.listener.state).messages = true;
        self.wants_messages.store(true, Ordering::Relaxed);
        self
    }

    /// The next event; `None` when the client is gone.
    pub async fn next(&mut self) -> Option<Event> {
        std::future::poll_fn(|context| Pin::new(&mut *self).poll_next(context)).await
    }
}

impl Stream for Events {
    type Item = Event;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Event>> {
        let mut state = lock(&self.listener.state);
        if state.lost > 0 {
            return Poll::Ready(Some(Event::Lagged(std::mem::take(&mut state.lost))));
        }
        if let Some(event) = state.queue.pop_front() {
            return Poll::Ready(Some(event));
        }
        if state.over {
            return Poll::Ready(None);
        }
        match &mut state.waker {
            Some(waker) => waker.clone_from(context.waker()),
            None => state.waker = Some(context.waker().clone()),
        }
        Poll::Pending
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        let mut state = lock(&self.listener.state);
        state.over = true;
        state.queue.clear();
    }
}

#[derive(Debug)]
struct Listener {
    state: Mutex<Listening>,
}

#[derive(Debug, Default)]
struct Listening {
    queue: VecDeque<Event>,
    lost: u64,
    messages: bool,
    waker: Option<Waker>,
    /// The listener or the client is gone.
    over: bool,
}

/// All listeners of one client.
#[derive(Debug, Default)]
pub(crate) struct Hub {
    listeners: Mutex<Vec<Arc<Listener>>>,
    wants_messages: Arc<AtomicBool>,
}

impl Hub {
    pub(crate) fn listen(&self) -> Events {
        let listener = Arc::new(Listener { state: Mutex::default() });
        lock(&self.listeners).push(listener.clone());
        Events { listener, wants_messages: self.wants_messages.clone() }
    }

    /// Whether anybody wants the events of single messages.
    pub(crate) fn wants_messages(&self) -> bool {
        self.wants_messages.load(Ordering::Relaxed)
    }

    /// Gives an event to everybody who listens.
    pub(crate) fn publish(&self, event: &Event) {
        let is_message = matches!(event, Event::MessageSent { .. } | Event::MessageReceived { .. });
        let mut wants_messages = false;
        // Woken when no lock is held: what a waker does is not ours.
        let mut woken = Vec::new();
        lock(&self.listeners).retain(|listener| {
            let mut state = lock(&listener.state);
            if state.over {
                return false;
            }
            wants_messages |= state.messages;
            if is_message && !state.messages {
                return true;
            }
            if state.queue.len() >= CAPACITY {
                state.queue.pop_front();
                state.lost = state.lost.saturating_add(1);
            }
            state.queue.push_back(event.clone());
            woken.extend(state.waker.take());
            true
        });
        for waker in woken {
            waker.wake();
        }
        if is_message && !wants_messages {
            self.wants_messages.store(false, Ordering::Relaxed);
        }
    }
}

impl Drop for Hub {
    fn drop(&mut self) {
        for listener in lock(&self.listeners).drain(..) {
            let waker = {
                let mut state = lock(&listener.state);
                state.over = true;
                state.waker.take()
            };
            if let Some(waker) = waker {
                waker.wake();
            }
        }
    }
}
