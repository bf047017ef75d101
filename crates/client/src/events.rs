//! Event streams: a bounded queue of events for each listener.

use std::collections::{BTreeMap, VecDeque};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, Waker};

use futures_core::Stream;
use zraft_core::Event;

use crate::sync::{AtomicBool, Mutex, lock, wake_all};

/// How many events wait for one listener. A new event then displaces the oldest. 1,024 events last a listener for a
/// pause of seconds, since without messages only a few events occur per second.
const MAX_EVENTS: usize = 1024;

/// How many bytes the events that wait for one listener may hold, payloads included. It has room for four messages of
/// the default maximum size.
const MAX_BYTES: usize = 64 << 20;

/// A stream of the client's events, from [`RaftClient::events`](crate::RaftClient::events).
///
/// At most 1,024 events wait for a listener, and at most 64 MiB with the payloads in them. A listener that falls behind
/// loses the oldest events and gets [`Event::Lagged`] with their number. The stream ends when the client ends, and it
/// does not keep the client alive.
///
/// ```no_run
/// # async fn example(client: zraft_client::RaftClient) {
/// use zraft_client::Event;
///
/// let mut events = client.events();
/// while let Some(event) = events.next().await {
///     match event {
///         Event::Connected { member_id, .. } => println!("connected to {}", member_id.as_str()),
///         Event::Disconnected { reason, .. } => println!("disconnected: {}", reason.name()),
///         Event::Lagged(count) => println!("{count} events were lost"),
///         _ => {}
///     }
/// }
/// # }
/// ```
#[derive(Debug)]
#[must_use = "streams do nothing unless polled"]
pub struct Events {
    /// The key of this stream's entry in the registry.
    id: u64,
    queue: Arc<Mutex<Queue>>,
    registry: Arc<Registry>,
}

impl Events {
    /// Adds [`Event::MessageSent`] and [`Event::MessageReceived`] to the stream.
    ///
    /// These events cost time for every message, so the client makes them only while a stream wants them.
    pub fn with_messages(self) -> Self {
        let mut listeners = lock(&self.registry.listeners);
        if let Some(entry) = listeners.entries.get_mut(&self.id)
            && !std::mem::replace(&mut entry.wants_messages, true)
        {
            listeners.wanting_messages += 1;
            self.registry.publish_wants(&listeners);
        }
        drop(listeners);
        self
    }

    /// Returns the next event, or `None` when the client has ended. Dropping the future loses nothing.
    pub async fn next(&mut self) -> Option<Event> {
        std::future::poll_fn(|context| Pin::new(&mut *self).poll_next(context)).await
    }
}

impl Stream for Events {
    type Item = Event;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Event>> {
        let mut queue = lock(&self.queue);
        if queue.lost > 0 {
            return Poll::Ready(Some(Event::Lagged(std::mem::take(&mut queue.lost))));
        }
        if let Some(event) = queue.pop() {
            return Poll::Ready(Some(event));
        }
        if queue.closed {
            return Poll::Ready(None);
        }
        match &mut queue.waker {
            Some(waker) => waker.clone_from(context.waker()),
            None => queue.waker = Some(context.waker().clone()),
        }
        Poll::Pending
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        // The entry, with its events and its waker, is dropped without a lock held.
        let _entry = {
            let mut listeners = lock(&self.registry.listeners);
            let entry = listeners.entries.remove(&self.id);
            if entry.as_ref().is_some_and(|entry| entry.wants_messages) {
                listeners.wanting_messages -= 1;
                self.registry.publish_wants(&listeners);
            }
            entry
        };
    }
}

/// The events that wait for one listener.
#[derive(Debug, Default)]
struct Queue {
    events: VecDeque<Event>,
    /// How many bytes the events hold.
    bytes: usize,
    /// How many events were displaced since the listener was last told.
    lost: u64,
    waker: Option<Waker>,
    /// The client has ended, so that no further event will come.
    closed: bool,
}

impl Queue {
    fn pop(&mut self) -> Option<Event> {
        let event = self.events.pop_front()?;
        self.bytes -= event.held_len();
        Some(event)
    }

    /// Adds an event, and displaces the oldest ones if there is no room. The newest is kept whatever its size.
    fn push(&mut self, event: Event) {
        let bytes = event.held_len();
        while self.events.len() >= MAX_EVENTS
            || (!self.events.is_empty() && self.bytes + bytes > MAX_BYTES)
        {
            self.pop();
            self.lost = self.lost.saturating_add(1);
        }
        self.bytes += bytes;
        self.events.push_back(event);
    }
}

/// All listeners of one client. The streams share it, so that each removes itself when it is dropped.
#[derive(Debug, Default)]
struct Registry {
    listeners: Mutex<Listeners>,
    /// True if any listener wants the events of single messages. It is stored under the listeners' lock, so that it
    /// never contradicts them, and read without the lock.
    wants_messages: AtomicBool,
}

#[derive(Debug, Default)]
struct Listeners {
    entries: BTreeMap<u64, Listener>,
    next_id: u64,
    /// How many entries want the events of single messages.
    wanting_messages: usize,
}

#[derive(Debug)]
struct Listener {
    queue: Arc<Mutex<Queue>>,
    wants_messages: bool,
}

impl Registry {
    /// Stores whether any of the locked listeners wants the events of single messages.
    fn publish_wants(&self, listeners: &Listeners) {
        self.wants_messages.store(listeners.wanting_messages > 0, Ordering::Relaxed);
    }
}

/// The client's end of all event streams.
#[derive(Debug, Default)]
pub(crate) struct EventHub {
    registry: Arc<Registry>,
}

impl EventHub {
    pub(crate) fn listen(&self) -> Events {
        let queue = Arc::<Mutex<Queue>>::default();
        let mut listeners = lock(&self.registry.listeners);
        let id = listeners.next_id;
        listeners.next_id += 1;
        let listener = Listener { queue: queue.clone(), wants_messages: false };
        listeners.entries.insert(id, listener);
        drop(listeners);
        Events { id, queue, registry: self.registry.clone() }
    }

    /// Returns true if any listener wants the events of single messages.
    pub(crate) fn wants_messages(&self) -> bool {
        self.registry.wants_messages.load(Ordering::Relaxed)
    }

    /// Gives an event to every listener that wants it.
    pub(crate) fn publish(&self, event: &Event) {
        let is_message = matches!(event, Event::MessageSent { .. } | Event::MessageReceived { .. });
        let mut woken = Vec::new();
        for listener in lock(&self.registry.listeners).entries.values() {
            if is_message && !listener.wants_messages {
                continue;
            }
            let mut queue = lock(&listener.queue);
            queue.push(event.clone());
            woken.extend(queue.waker.take());
        }
        wake_all(woken);
    }
}

impl Drop for EventHub {
    fn drop(&mut self) {
        let entries = std::mem::take(&mut lock(&self.registry.listeners).entries);
        for listener in entries.into_values() {
            let waker = {
                let mut queue = lock(&listener.queue);
                queue.closed = true;
                queue.waker.take()
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
    fn waiting_events_hold_at_most_64_mib() {
        let hub = EventHub::default();
        let mut events = hub.listen();
        // The size of the event itself counts too.
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
            "events that were taken no longer count"
        );
    }

    #[test]
    fn event_above_the_byte_limit_is_kept_alone() {
        let hub = EventHub::default();
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
    fn dropped_stream_is_removed_at_once() {
        let hub = EventHub::default();
        let kept = hub.listen();
        for _ in 0..1000 {
            drop(hub.listen());
            drop(hub.listen().with_messages());
        }
        assert_eq!(
            lock(&hub.registry.listeners).entries.len(),
            1,
            "removed although no event came"
        );
        assert!(!hub.wants_messages());
        drop(kept);
        assert_eq!(lock(&hub.registry.listeners).entries.len(), 0);
    }

    #[test]
    fn messages_are_wanted_while_one_stream_wants_them() {
        let hub = EventHub::default();
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
