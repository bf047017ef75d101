//! A stream of what happens to keys.

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

/// A watched key has a value.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Change {
    /// Which key, which value. Both share the buffer they were received in: `to_detached` what is kept for long.
    pub notification: Notification,
    /// The number of the server request that told it: 1, 2, 3… in each session, of all watched keys together.
    pub request_id: RequestId,
    /// The server's clock when it sent this; a repeated delivery has another time.
    pub created_at: Timestamp,
}

type Renewal = Pin<Box<dyn Future<Output = Result<(), Error>> + Send + Sync>>;

/// What happens to the keys watched, in order; from [`KvClient::watch`].
///
/// On the server, a watch belongs to the session: it survives reconnections and leader changes. When the client has a new
/// session, this watches the same keys again in it, and the server tells their present values again. When the session
/// has ended and there is no other, it gives [`Error::NotWatching`] once, and goes on when the client is connected again.
///
/// It ends (`None`) when the client is gone, which it keeps from happening by itself. With
/// [`AckServerRequests::Handled`](zraft_client::AckServerRequests::Handled), a change counts as handled when the next one is
/// asked for. Dropped, it leaves the keys watched until the session ends.
#[must_use = "streams do nothing unless polled"]
pub struct Watch {
    store: KvClient,
    requests: ServerRequests,
    events: Events,
    keys: BTreeSet<Key>,
    /// The session in which the keys are, or are about to be, watched.
    session: Option<SessionId>,
    renewal: Option<Renewal>,
    /// The change given last, in the form of the client.
    handed: Option<ServerRequest>,
}

impl Watch {
    pub(crate) fn begin(store: KvClient) -> Result<Self, Error> {
        let requests = store.client().server_requests()?;
        let events = store.client().events();
        // Before anything is sent: a session that follows this one is then never taken for it.
        let session = store.client().session_id();
        let keys = BTreeSet::new();
        Ok(Self { store, requests, events, keys, session, renewal: None, handed: None })
    }

    /// Watches one key more. Adding a key again only makes the server tell its present value again.
    ///
    /// # Errors
    /// As [`KvClient::watch`]. If the command may have been executed, the key may be watched nevertheless.
    pub async fn add(&mut self, key: impl Into<String>) -> Result<(), Error> {
        let key = Key::new(key)?;
        self.store.command(&Command::Watch { key: key.clone() }).await?;
        self.keys.insert(key);
        Ok(())
    }

    /// The keys watched.
    pub fn keys(&self) -> impl ExactSizeIterator<Item = &Key> {
        self.keys.iter()
    }

    /// The next change; `None` when the client is gone. Nothing is lost when the future is dropped.
    ///
    /// After an error the watch goes on: [`Error::Decode`] concerns one server request, [`Error::Client`] the attempt to
    /// watch the keys in a new session, and [`Error::NotWatching`] says that there is none.
    pub async fn next(&mut self) -> Option<Result<Change, Error>> {
        std::future::poll_fn(|context| Pin::new(&mut *self).poll_next(context)).await
    }

    /// Looks at what happened to the session. `true` when it ended and there is no other.
    fn poll_session(&mut self, context: &mut Context<'_>) -> bool {
        while let Poll::Ready(Some(event)) = Pin::new(&mut self.events).poll_next(context) {
            match event {
                Event::Connected { session_id, .. } => self.is_in(session_id),
                Event::StateChange { new_state: StateName::Disconnected, .. } => return true,
                Event::Lagged(_) => {
                    // What was lost may have been any of these: the present tells.
                    let client = self.store.client();
                    if *client.state().borrow() == StateName::Disconnected {
                        return true;
                    }
                    if let Some(session_id) = client.session_id() {
                        self.is_in(session_id);
                    }
                }
                _ => {}
            }
        }
        false
    }

    fn is_in(&mut self, session_id: SessionId) {
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
