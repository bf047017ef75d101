//! A request that the server makes of the client.

use std::fmt;

use bytes::Bytes;
use zraft_protocol::{RequestId, Timestamp};

/// A request made by the server, such as a watch's notification.
#[derive(Clone, PartialEq, Eq)]
pub struct ServerRequest {
    /// 1, 2, 3… within the session.
    pub request_id: RequestId,
    /// The application's bytes.
    pub payload: Bytes,
    /// The sender's clock when this copy was sent; changes with every redelivery.
    pub created_at: Timestamp,
}

impl fmt::Debug for ServerRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerRequest")
            .field("request_id", &self.request_id)
            .field("payload", &format_args!("{} bytes", self.payload.len()))
            .field("created_at", &self.created_at)
            .finish()
    }
}
