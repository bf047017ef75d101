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

/// How many bytes of payloads they may carry.
const MAX_BYTES: usize = 64 << 20;

/// A stream of the client's events, from [`RaftClient::events`](crate::RaftClient::events).
///
/// A listener that does not keep up, beyond 1,024 events or 64 MiB of payloads in them, loses the
/// oldest and finds [`Event::Lagged`] in their place. The stream ends when the client is gone; it does not keep the client alive.
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
        if let Some(event) = state.take() {
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
        state.queue = VecDeque::new();
        state.bytes = 0;
    }
}

#[derive(Debug)]
struct Listener {
    state: Mutex<Listening>,
}

#[derive(Debug, Default)]
struct Listening {
    queue: VecDeque<Event>,
    /// Of the payloads in the queue.
    bytes: usize,
    lost: u64,
    messages: bool,
    waker: Option<Waker>,
    /// The listener or the client is gone.
    over: bool,
}

impl Listening {
    fn take(&mut self) -> Option<Event> {
        let event = self.queue.pop_front()?;
        self.bytes -= event.payload_len();
        Some(event)
    }

    /// The newest is always kept, whatever it carries.
    fn put(&mut self, event: Event) {
        let bytes = event.payload_len();
        while self.queue.len() >= CAPACITY
            || (!self.queue.is_empty() && self.bytes + bytes > MAX_BYTES)
        {
            self.take();
            self.lost = self.lost.saturating_add(1);
        }
        self.bytes += bytes;
        self.queue.push_back(event);
    }
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
            state.put(event.clone());
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

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use zraft_protocol::{Payload, RequestId, ServerMessage, Timestamp};

    use super::*;

    const MIB: usize = 1 << 20;

    fn next(events: &mut Events) -> Option<Event> {
        let mut context = Context::from_waker(Waker::noop());
        match Pin::new(events).poll_next(&mut context) {
            Poll::Ready(event) => event,
            Poll::Pending => None,
        }
    }

    fn server_request(payload: Bytes) -> Event {
        let (request_id, created_at) = (RequestId::FIRST, Timestamp::from_millis(0));
        let request = zraft_core::ServerRequest { request_id, payload, created_at };
        Event::ServerRequestReceived { request }
    }

    #[test]
    fn payloads_in_events_that_nobody_takes_have_a_limit_of_bytes() {
        let hub = Hub::default();
        let mut events = hub.listen();
        let payload = Bytes::from(vec![0; 16 * MIB]);
        for _ in 0..10 {
            hub.publish(&server_request(payload.clone()));
        }
        assert_eq!(next(&mut events), Some(Event::Lagged(6)), "four of 16 MiB fit into 64");
        for _ in 0..4 {
            assert_eq!(next(&mut events), Some(server_request(payload.clone())));
        }
        assert_eq!(next(&mut events), None);
        for _ in 0..4 {
            hub.publish(&server_request(payload.clone()));
        }
        assert_eq!(
            next(&mut events),
            Some(server_request(payload)),
            "what was taken counts no more"
        );
    }

    #[test]
    fn an_event_beyond_the_limit_of_bytes_is_kept_alone() {
        let hub = Hub::default();
        let mut events = hub.listen().with_messages();
        hub.publish(&server_request(Bytes::from_static(b"small")));
        let result = Payload::new(vec![0; 65 * MIB]).unwrap();
        let message = ServerMessage::ClientResponse { request_id: RequestId::FIRST, result };
        hub.publish(&Event::MessageReceived { message: message.clone() });
        assert_eq!(next(&mut events), Some(Event::Lagged(1)));
        assert_eq!(next(&mut events), Some(Event::MessageReceived { message }));
        hub.publish(&server_request(Bytes::from_static(b"small again")));
        assert_eq!(next(&mut events), Some(server_request(Bytes::from_static(b"small again"))));
        assert_eq!(next(&mut events), None);
    }
}
