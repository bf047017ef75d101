//! The stream of changes to watched keys.

use std::{
    collections::BTreeSet,
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use futures_core::Stream;
use zraft_client::{
    Event, Events, RequestId, ServerRequest, ServerRequests, SessionId, StateName, Timestamp,
};

use crate::{Command, Error, Key, KvClient, Notification};

/// A watched key has this value.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Change {
    /// The key and its value. Both share the receive buffer; call `to_detached` on a part that you keep for long.
    pub notification: Notification,
    /// The id of the server request: 1, 2, 3 and so on in each session, counted over all watched keys.
    pub request_id: RequestId,
    /// The server's wall clock when it sent this; a redelivery has a later time.
    pub created_at: Timestamp,
}

type Renewal = Pin<Box<dyn Future<Output = Result<(), Error>> + Send + Sync>>;

/// The stream of changes to the watched keys, in order. [`KvClient::watch`] creates it.
///
/// On the server a watch belongs to the session, so it survives reconnects and leader changes. If the client gets a new
/// session, the stream watches the same keys again, and the server sends their current values again. If the session
/// ends without a successor, the stream returns [`Error::NotWatching`] once and continues when the client is connected
/// again.
///
/// The stream ends (`None`) only when the client's task ends; the stream itself keeps the client alive. With
/// [`AckServerRequests::Handled`](zraft_client::AckServerRequests::Handled), a change counts as handled when the next
/// one is polled. After the stream is dropped, the server still watches the keys until the session ends.
#[must_use = "streams do nothing unless polled"]
pub struct Watch {
    store: KvClient,
    requests: ServerRequests,
    events: Events,
    keys: BTreeSet<Key>,
    /// The session in which the keys are watched, or in which the renewal is about to watch them.
    session: Option<SessionId>,
    renewal: Option<Renewal>,
    /// The server request of the last change returned. It is acknowledged when the next change is polled.
    handed: Option<ServerRequest>,
}

impl Watch {
    pub(crate) fn begin(store: KvClient) -> Result<Self, Error> {
        let requests = store.client().server_requests()?;
        let events = store.client().events();
        // Read the session id before anything is sent: a later session is then never mistaken for this one.
        let session = store.client().session_id();
        let keys = BTreeSet::new();
        Ok(Self { store, requests, events, keys, session, renewal: None, handed: None })
    }

    /// Watches another key. If the key is watched already, the server only sends its current value again.
    ///
    /// # Errors
    /// Returns the errors of [`KvClient::watch`]. If the command may have been executed, the key may be watched
    /// nevertheless.
    pub async fn add(&mut self, key: impl Into<String>) -> Result<(), Error> {
        let key = Key::new(key)?;
        self.store.command(&Command::Watch { key: key.clone() }).await?;
        self.keys.insert(key);
        Ok(())
    }

    /// Returns the watched keys, in order.
    pub fn keys(&self) -> impl ExactSizeIterator<Item = &Key> {
        self.keys.iter()
    }

    /// Returns the next change, or `None` if the client's task has ended. Dropping the future loses nothing.
    ///
    /// The watch continues after an error. [`Error::Decode`] concerns one server request, [`Error::Client`] the attempt
    /// to watch the keys in a new session, and [`Error::NotWatching`] means that the client has no session.
    pub async fn next(&mut self) -> Option<Result<Change, Error>> {
        std::future::poll_fn(|context| Pin::new(&mut *self).poll_next(context)).await
    }

    /// Handles the events of the session. Returns true if the session ended and the client has no other.
    fn poll_session(&mut self, context: &mut Context<'_>) -> bool {
        while let Poll::Ready(Some(event)) = Pin::new(&mut self.events).poll_next(context) {
            match event {
                Event::Connected { session_id, .. } => self.watch_in_session(session_id),
                Event::StateChange { new_state: StateName::Disconnected, .. } => return true,
                Event::Lagged(_) => {
                    // The lost events may include any of the above, so look at the current state.
                    let client = self.store.client();
                    if *client.state().borrow() == StateName::Disconnected {
                        return true;
                    }
                    if let Some(session_id) = client.session_id() {
                        self.watch_in_session(session_id);
                    }
                }
                _ => {}
            }
        }
        false
    }

    /// Watches the keys again if this is a new session.
    fn watch_in_session(&mut self, session_id: SessionId) {
        if self.session.as_ref() == Some(&session_id) {
            return;
        }
        self.session = Some(session_id);
        let (store, keys) = (self.store.clone(), self.keys.clone());
        self.renewal = Some(Box::pin(async move {
            for key in keys {
                store.command(&Command::Watch { key }).await?;
            }
            Ok(())
        }));
    }
}

impl Stream for Watch {
    type Item = Result<Change, Error>;

    fn poll_next(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Change, Error>>> {
        let watch = &mut *self;
        if let Some(handed) = watch.handed.take() {
            handed.acknowledge();
        }
        if watch.poll_session(context) {
            return Poll::Ready(Some(Err(Error::NotWatching)));
        }
        if let Some(renewal) = &mut watch.renewal
            && let Poll::Ready(result) = renewal.as_mut().poll(context)
        {
            watch.renewal = None;
            if let Err(error) = result {
                return Poll::Ready(Some(Err(error)));
            }
        }
        let request = std::task::ready!(Pin::new(&mut watch.requests).poll_next(context));
        let Some(request) = request else { return Poll::Ready(None) };
        let change = Notification::decode(&request.payload).map(|notification| Change {
            notification,
            request_id: request.request_id,
            created_at: request.created_at,
        });
        watch.handed = Some(request);
        Poll::Ready(Some(change.map_err(Error::Decode)))
    }
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watch").field("keys", &self.keys).finish_non_exhaustive()
    }
}
