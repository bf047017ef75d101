//! Requests that the server makes of the application.

use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_core::Stream;
use zraft_protocol::{RequestId, Timestamp};

use crate::shared::Shared;
use crate::shared::deliveries::{Deliveries, Delivery};
use crate::shared::inbox::Input;

/// A request that the server makes of the application, such as a notification.
///
/// With [`AckServerRequests::Delivered`](crate::AckServerRequests::Delivered), the default, the client acknowledges a
/// request when the application takes it from the stream. With
/// [`AckServerRequests::Handled`](crate::AckServerRequests::Handled) the application calls
/// [`acknowledge`](Self::acknowledge), and only then gets the next request. A request that it drops unacknowledged is
/// delivered again.
#[derive(Debug)]
#[non_exhaustive]
pub struct ServerRequest {
    /// The number of the request within its session: 1, 2, 3 and so on.
    pub request_id: RequestId,
    /// The content, in the application's own encoding.
    pub payload: Bytes,
    /// The server's wall clock when it sent this copy. A redelivered copy has a later time.
    pub created_at: Timestamp,
    acknowledgement: Acknowledgement,
}

impl ServerRequest {
    /// Acknowledges the request as handled, so that the next one may come.
    ///
    /// Does nothing with [`AckServerRequests::Delivered`](crate::AckServerRequests::Delivered), or if the session of
    /// the request has ended.
    pub fn acknowledge(mut self) {
        self.acknowledgement.send();
    }
}

/// The acknowledgement that the application owes. Dropped unsent, it puts the request back.
struct Acknowledgement {
    /// `None` if nothing is owed (any more).
    owed: Option<(Weak<Shared>, Delivery)>,
}

impl Acknowledgement {
    fn send(&mut self) {
        if let Some((shared, delivery)) = self.owed.take()
            && let Some(shared) = shared.upgrade()
        {
            let Delivery { epoch, request_id: id, .. } = delivery;
            shared.deliveries.acknowledged(epoch);
            shared.push(Input::ServerRequestDone { epoch, id });
        }
    }
}

impl fmt::Debug for Acknowledgement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.owed.is_some() { "Owed" } else { "NotOwed" })
    }
}

impl Drop for Acknowledgement {
    fn drop(&mut self) {
        if let Some((shared, delivery)) = self.owed.take()
            && let Some(shared) = shared.upgrade()
        {
            shared.deliveries.put_back(delivery);
        }
    }
}

/// The stream of server requests, in order and without duplicates. Created by
/// [`RaftClient::server_requests`](crate::RaftClient::server_requests).
///
/// The stream continues through reconnects and new sessions. It ends when the client ends, and it does not keep the
/// client alive. Requests that the application has not taken are not acknowledged.
///
/// ```no_run
/// # async fn example(client: zraft_client::RaftClient) -> Result<(), zraft_client::Error> {
/// let mut requests = client.server_requests()?;
/// while let Some(request) = requests.next().await {
///     println!("request {}: {} bytes", request.request_id.get(), request.payload.len());
///     request.acknowledge();
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
#[must_use = "streams do nothing unless polled"]
pub struct ServerRequests {
    deliveries: Arc<Deliveries>,
    shared: Weak<Shared>,
}

impl ServerRequests {
    /// Becomes the one consumer, or returns `None` if there is another.
    pub(crate) fn consume(shared: &Arc<Shared>) -> Option<Self> {
        let deliveries = shared.deliveries.clone();
        if !deliveries.add_consumer() {
            return None;
        }
        shared.push(Input::DeliverServerRequests);
        Some(Self { deliveries, shared: Arc::downgrade(shared) })
    }

    /// Returns the next request, or `None` when the client has ended. Dropping the future loses nothing.
    pub async fn next(&mut self) -> Option<ServerRequest> {
        std::future::poll_fn(|context| Pin::new(&mut *self).poll_next(context)).await
    }
}

impl Stream for ServerRequests {
    type Item = ServerRequest;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<ServerRequest>> {
        let Some(delivery) = std::task::ready!(self.deliveries.poll_next(context)) else {
            return Poll::Ready(None);
        };
        let Delivery { epoch, request_id, payload, created_at } = delivery.clone();
        let owed = if self.deliveries.one_at_a_time {
            Some((self.shared.clone(), delivery))
        } else {
            if let Some(shared) = self.shared.upgrade() {
                shared.push(Input::ServerRequestDone { epoch, id: request_id });
            }
            None
        };
        let acknowledgement = Acknowledgement { owed };
        Poll::Ready(Some(ServerRequest { request_id, payload, created_at, acknowledgement }))
    }
}

impl Drop for ServerRequests {
    fn drop(&mut self) {
        self.deliveries.remove_consumer();
    }
}
