//! An async client for ZIO Raft clusters.
//!
//! [`RaftClient`] is a cheap handle on a background task that owns the connection: it opens a
//! session, keeps it alive, finds the leader again when it moves, and sends again what was
//! lost, so that each command is executed once.
//!
//! | idea | file |
//! | --- | --- |
//! | what the application holds | `handle.rs`, `builder.rs` |
//! | a request and its answer | `submission.rs`, `calls.rs` |
//! | who may queue, who waits | `room.rs` |
//! | from the handles to the driver | `inbox.rs`, `shared.rs` |
//! | the task that owns the connection | `driver.rs`, `connection.rs` |
//! | its side towards the application | `face.rs`, `handles.rs`, `waiters.rs` |
//! | opening a connection | `transport.rs` |
//! | events, server requests | `events.rs`, `server_requests.rs` |
//! | errors, late answers | `error.rs` |
//!
//! All decisions about sessions and requests are made by `zraft-core`, which knows neither
//! sockets nor clocks; this crate brings it both.

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
