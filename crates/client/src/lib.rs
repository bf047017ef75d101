//! An async client for ZIO Raft clusters.
//!
//! [`RaftClient`] is a cheap handle. A background task owns the connection: it opens a session, keeps it alive, follows
//! the leader when it moves, and resends unanswered requests so that each command is executed exactly once.
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
//! // The application's own codec encodes both, and decodes the answers.
//! let written = client.submit_command(command).await?;
//! let read = client.submit_query(query).await?;
//! client.disconnect().await;
//! # Ok(())
//! # }
//! ```
//!
//! - **Runtime.** [`RaftClient::connect`] needs a tokio runtime with I/O and time enabled, such as that of
//!   `#[tokio::main]`. With [`ClientBuilder::own_thread`] the client works in any runtime, or in none.
//! - **Outcomes.** Every request settles exactly once. [`Error::maybe_executed`] says whether a command that failed may
//!   have been executed, and [`Error::resolution`] returns the late answer of one that timed out.
//! - **Bulk loads.** [`RaftClient::submit_commands`] queues many commands together and returns their outcomes as a stream.
//! - **Typed payloads.** [`TypedClient`] sends and receives values by a [`Codec`]. With the features `json` and `postcard`, `Json` and
//!   `Postcard` are codecs of serde's types.
//! - **Cancellation.** [`Answer::cancel`] cancels a request and returns its outcome. Dropping the future cancels it
//!   without an outcome.
//! - **Server requests.** [`RaftClient::server_requests`] returns the requests that the server makes, once and in
//!   order.
//! - **Observation.** [`RaftClient::events`] and [`RaftClient::stats`] report what happens to the client, [`Stats::latency`] how long
//!   its requests took.
//!   With the feature `tracing` the client has spans for `connect`, `command` and `query`, and events for what happens to it; with the
//!   feature `metrics`, the metrics below. Neither shows a payload or the session id.
//! - **TLS.** With the feature `tls`, endpoints may begin with `tls://`; `Tls` has the certificates.
//! - **Backpressure.** Memory is bounded. While the queue is full, [`RaftClient::submit_command`] waits and
//!   [`RaftClient::try_submit_command`] fails.
//!
//! | metric | labels | counts |
//! | --- | --- | --- |
//! | `zraft_client_duration_seconds`, a histogram | `kind`: connect, command, query; `outcome`: ok, an error's [code](Error::code), or dropped | the time of each call until its outcome was taken |
//! | `zraft_client_events_total` | `event`: the [name](Event::name) | what happened to the clients of the process |
//! | `zraft_client_resent_total` | | requests that were sent again |
//!
//! `zraft-core` makes all decisions about sessions and requests, without sockets or clocks. This crate adds both.

// From top to bottom; a module uses only modules below it.
//
// | idea | file |
// | --- | --- |
// | settings | `builder.rs` |
// | values in place of payloads, in JSON or postcard too | `typed.rs`, `typed/` |
// | the client as the application holds it, and its futures | `client.rs`, `client/futures.rs` |
// | a request on its way into the queue, and its answer | `submission.rs`, `answer.rs` |
// | many commands of one call | `bulk.rs` |
// | requests that the server makes | `server_requests.rs` |
// | starting the driver | `spawn.rs` |
// | the driver's frontend for handles, and the calls that wait | `handle_frontend.rs`, `handle_frontend/` |
// | the task that owns the connection | `driver.rs`, `driver/connection.rs`, `driver/clock.rs` |
// | its side towards the application, as a trait | `driver/frontend.rs` |
// | the counted reference that keeps a client alive | `handle.rs` |
// | what handles and driver share: inputs, calls, backpressure, server requests | `shared.rs`, `shared/` |
// | event streams | `events.rs` |
// | transports: the traits, TCP, Unix sockets | `transport.rs`, `transport/` |
// | TLS: the settings, certificates, errors | `tls.rs` |
// | leaders and names that the client looks up | `lookup.rs` |
// | what the features `tracing` and `metrics` report | `observe.rs` |
// | errors and late answers | `error.rs` |
// | locks, or shuttle's in their place | `sync.rs` |
//
// `interleavings` holds the tests that run under shuttle.

mod answer;
mod builder;
mod bulk;
mod client;
mod driver;
mod error;
mod events;
mod handle;
mod handle_frontend;
#[cfg(all(test, shuttle))]
mod interleavings;
mod lookup;
mod observe;
mod server_requests;
mod shared;
#[cfg(not(all(test, shuttle)))]
mod spawn;
mod submission;
mod sync;
#[cfg(feature = "tls")]
mod tls;
mod transport;
mod typed;

// The tests under shuttle start their own drivers.
#[cfg(all(test, shuttle))]
use interleavings as spawn;

pub use answer::Answer;
pub use builder::ClientBuilder;
pub use bulk::CommandOutcomes;
pub use bytes::Bytes;
pub use client::{Connect, Disconnect, Ping, RaftClient, Ready};
pub use error::{Error, LateAnswer, Resolution};
pub use events::Events;
pub use server_requests::{ServerRequest, ServerRequests};
pub use submission::{Submission, SubmissionFuture};
#[cfg(feature = "tls")]
pub use tls::Tls;
pub use typed::{Codec, TypedClient, TypedError, TypedOutcomes};
#[cfg(feature = "json")]
pub use typed::{Json, JsonError};
#[cfg(feature = "postcard")]
pub use typed::{Postcard, PostcardError};
/// The content of [`Event::ServerRequestReceived`].
pub use zraft_core::ServerRequest as ReceivedServerRequest;
pub use zraft_core::{
    AckServerRequests, Backoff, Config, ConfigBuilder, ConnectionCause, DisconnectReason, Endpoint,
    EndpointError, Event, Histogram, Latency, LivenessQuery, Member, OnSessionExpired, RequestRef,
    StateName, Stats, ValidationError,
};
/// The messages in [`Event::MessageSent`] and [`Event::MessageReceived`], and their parts.
pub use zraft_protocol as protocol;
pub use zraft_protocol::{
    Capabilities, CorrelationId, MemberId, RejectionReason, RequestId, SessionId, Timestamp,
};

/// The driver with a frontend other than [`RaftClient`], for this project's bindings to other languages, and the sockets, for
/// its command line. They are not part of the public interface.
#[doc(hidden)]
pub mod binding {
    pub use crate::driver::Driver;
    pub use crate::driver::frontend::{Frontend, Progress};
    pub use crate::shared::{CONNECT_TIMEOUT, DISCONNECT_TIMEOUT};
    pub use crate::transport::{ByteStream, Sockets};
    pub use zraft_core as core;
}
