//! A request that the server makes of the client.

use std::fmt;

use bytes::Bytes;
use zraft_protocol::{RequestId, Timestamp};

/// A request that the server makes, such as the notification of a watch.
#[derive(Clone, PartialEq, Eq)]
pub struct ServerRequest {
    /// Counts from 1 within the session.
    pub request_id: RequestId,
    /// The application's bytes.
    pub payload: Bytes,
    /// The server's time of day when it sent this copy. Differs between copies.
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
