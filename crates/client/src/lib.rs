//! An async client for ZIO Raft clusters.
//!
//! [`RaftClient`] is a cheap handle on a background task that owns the connection: it opens a
//! session, keeps it alive, finds the leader again when it moves, and sends again what was
//! lost, so that each command is executed once.
//!
//! ```no_run
//! # async fn example(command: Vec<u8>, query: Vec<u8>) -> Result<(), zraft_client::Error> {
//! use zraft_client::RaftClient;
//!
//! let client = RaftClient::builder()
//!     .member("node-1", "tcp://127.0.0.1:7001")
//!     .member("node-2", "tcp://127.0.0.1:7002")
//!     .capability("role", "example")
//!     .build()?;
//! client.connect().await?;
//! // Both are bytes that the application's own codec made; so are the answers.
//! let written = client.submit_command(command).await?;
//! let read = client.submit_query(query).await?;
//! client.disconnect().await;
//! # Ok(())
//! # }
//! ```
//!
//! - [`RaftClient::connect`] wants a tokio runtime with I/O and time enabled, as `#[tokio::main]`
//!   makes one; with [`ClientBuilder::own_thread`] any runtime will do, or none.
//! - Every request settles exactly once, and [`Error::maybe_executed`] tells whether a command
//!   that failed may have run. [`Error::resolution`] gives the late answer of one that timed out.
//! - [`Answer::cancel`] gives a request up and tells whether it was sent; dropping its future gives
//!   it up unheard.
//! - [`RaftClient::server_requests`] gives what the server asks, once and in order;
//!   [`RaftClient::events`] and [`RaftClient::stats`] tell what goes on.
//! - Memory is bounded: [`RaftClient::submit_command`] waits while the queue is full,
//!   [`RaftClient::try_submit_command`] fails.
//!
//! All decisions about sessions and requests are made by `zraft-core`, which knows neither
//! sockets nor clocks; this crate brings it both.

// | idea | file |
// | --- | --- |
// | what the application holds | `handle.rs`, `builder.rs` |
// | a request and its answer | `submission.rs`, `calls.rs` |
// | who may queue, who waits | `room.rs` |
// | from the handles to the driver | `inbox.rs`, `shared.rs` |
// | the task that owns the connection | `driver.rs`, `connection.rs` |
// | its side towards the application | `face.rs`, `handles.rs`, `waiters.rs` |
// | opening a connection | `transport.rs` |
// | events, server requests | `events.rs`, `server_requests.rs` |
// | errors, late answers | `error.rs` |
// | locks, and what takes their place under shuttle; time | `sync.rs`, `clock.rs` |

mod builder;
mod calls;
mod clock;
mod connection;
mod driver;
mod error;
mod events;
mod face;
mod handle;
mod handles;
mod inbox;
#[cfg(all(test, shuttle))]
mod interleavings;
mod room;
mod server_requests;
mod shared;
mod submission;
mod sync;
mod transport;
mod waiters;

pub use builder::ClientBuilder;
pub use bytes::Bytes;
pub use error::{Error, LateAnswer, Resolution};
pub use events::Events;
pub use handle::{Connect, Disconnect, Ping, RaftClient, Ready};
pub use server_requests::{ServerRequest, ServerRequests};
pub use submission::{Answer, Submission, SubmissionFuture};
/// What [`Event::ServerRequestReceived`] carries.
pub use zraft_core::ServerRequest as ReceivedServerRequest;
pub use zraft_core::{
    AckServerRequests, Backoff, Config, ConfigBuilder, ConnectionCause, DisconnectReason, Endpoint,
    EndpointError, Event, Member, OnSessionExpired, RequestRef, StateName, Stats, ValidationError,
};
/// The messages that [`Event::MessageSent`] and [`Event::MessageReceived`] carry, and their parts.
pub use zraft_protocol as protocol;
pub use zraft_protocol::{
    Capabilities, CorrelationId, MemberId, RejectionReason, RequestId, SessionId, Timestamp,
};

/// For this project's bindings to other languages, and no part of the interface: the driver with
/// a face of one's own in the place of [`RaftClient`] and what belongs to it.
#[doc(hidden)]
pub mod binding {
    pub use crate::driver::Driver;
    pub use crate::face::Face;
    pub use crate::handle::{CONNECT_TIMEOUT, DISCONNECT_TIMEOUT};
    pub use zraft_core as core;
}
