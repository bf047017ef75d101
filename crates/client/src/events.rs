//! What happens to the client, for those who want to know: a bounded queue for each listener.

use std::collections::{BTreeMap, VecDeque};
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
    /// Names its entry in the table of listeners.
    id: u64,
    listener: Arc<Listener>,
    table: Arc<Table>,
}

impl Events {
    /// Also gives [`Event::MessageSent`] and [`Event::MessageReceived`], which are made only
    /// while somebody wants them: they cost time for every message.
    pub fn with_messages(self) -> Self {
        let mut listeners = lock(&self.table.listeners);
        if let Some(entry) = listeners.entries.get_mut(&self.id)
            && !std::mem::replace(&mut entry.messages, true)
        {
            listeners.wanting += 1;
            self.table.show(&listeners);
        }
        drop(listeners);
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
        // Dropped when no lock is held, with the events and the waker in it.
        let _entry = {
            let mut listeners = lock(&self.table.listeners);
            let entry = listeners.entries.remove(&self.id);
            if entry.as_ref().is_some_and(|entry| entry.messages) {
                listeners.wanting -= 1;
                self.table.show(&listeners);
            }
            entry
        };
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
    waker: Option<Waker>,
    /// The client is gone.
    over: bool,
}

impl Listening {
    fn take(&mut self) -> Option<Event> {
        let event = self.queue.pop_front()?;
        self.bytes -= event.held_len();
        Some(event)
    }

    /// The newest is always kept, whatever it carries.
    fn put(&mut self, event: Event) {
        let bytes = event.held_len();
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

/// All listeners of one client. The streams share it, so that each removes itself when dropped.
#[derive(Debug, Default)]
struct Table {
    listeners: Mutex<Listeners>,
    /// Whether any listener wants the events of single messages. Stored under the listeners'
    /// lock, so that it never contradicts them; read without it.
    wants_messages: AtomicBool,
}

#[derive(Debug, Default)]
struct Listeners {
    entries: BTreeMap<u64, Entry>,
    next_id: u64,
    /// How many entries want the events of single messages.
    wanting: usize,
}

#[derive(Debug)]
struct Entry {
    listener: Arc<Listener>,
    messages: bool,
}

impl Table {
    /// Publishes what the locked listeners want.
    fn show(&self, listeners: &Listeners) {
        self.wants_messages.store(listeners.wanting > 0, Ordering::Relaxed);
    }
}

/// The client's end of all event streams.
#[derive(Debug, Default)]
pub(crate) struct Hub {
    table: Arc<Table>,
}

impl Hub {
    pub(crate) fn listen(&self) -> Events {
        let listener = Arc::new(Listener { state: Mutex::default() });
        let mut listeners = lock(&self.table.listeners);
        let id = listeners.next_id;
        listeners.next_id += 1;
        listeners.entries.insert(id, Entry { listener: listener.clone(), messages: false });
        drop(listeners);
        Events { id, listener, table: self.table.clone() }
    }

    /// Whether anybody wants the events of single messages.
    pub(crate) fn wants_messages(&self) -> bool {
        self.table.wants_messages.load(Ordering::Relaxed)
    }

    /// Gives an event to everybody who listens.
    pub(crate) fn publish(&self, event: &Event) {
        let is_message = matches!(event, Event::MessageSent { .. } | Event::MessageReceived { .. });
        // Woken when no lock is held: what a waker does is not ours.
        let mut woken = Vec::new();
        for entry in lock(&self.table.listeners).entries.values() {
            if is_message && !entry.messages {
                continue;
            }
            let mut state = lock(&entry.listener.state);
            state.put(event.clone());
            woken.extend(state.waker.take());
        }
        for waker in woken {
            waker.wake();
        }
    }
}

impl Drop for Hub {
    fn drop(&mut self) {
        let entries = std::mem::take(&mut lock(&self.table.listeners).entries);
        for entry in entries.into_values() {
            let waker = {
                let mut state = lock(&entry.listener.state);
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
        // The event itself counts too.
        let payload = Bytes::from(vec![0; 16 * MIB - 1024]);
        for _ in 0..10 {
            hub.publish(&server_request(payload.clone()));
        }
        assert_eq!(next(&mut events), Some(Event::Lagged(6)), "four of nearly 16 MiB fit into 64");
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

    #[test]
    fn a_dropped_stream_is_removed_when_it_is_dropped() {
        let hub = Hub::default();
        let kept = hub.listen();
        for _ in 0..1000 {
            drop(hub.listen());
            drop(hub.listen().with_messages());
        }
        assert_eq!(lock(&hub.table.listeners).entries.len(), 1, "no event came meanwhile");
        assert!(!hub.wants_messages());
        drop(kept);
        assert_eq!(lock(&hub.table.listeners).entries.len(), 0);
    }

    #[test]
    fn messages_are_wanted_as_long_as_one_stream_wants_them() {
        let hub = Hub::default();
        let first = hub.listen().with_messages().with_messages();
        let second = hub.listen().with_messages();
        let message = Event::MessageReceived { message: keep_alive_response() };
        drop(first);
        hub.publish(&message);
        assert!(hub.wants_messages());
        drop(second);
        assert!(!hub.wants_messages());
    }

    fn keep_alive_response() -> ServerMessage {
        ServerMessage::KeepAliveResponse { timestamp: Timestamp::from_millis(1) }
    }
}
