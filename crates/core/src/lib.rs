//! The session state machine of a ZIO Raft client, without I/O, clock or runtime.
//!
//! Use this crate to build a client on a runtime of your own, or to test one in virtual time; applications use
//! `zraft-client`, which is a driver of this machine on tokio. A [`Machine`] takes what the application asks for, what the
//! network does, and the time. It returns what to send, when to wake, how each request ended, and what happened. It is
//! deterministic: the same inputs at the same times with the same seed give the same outputs.
//!
//! Here a machine asks for a session at a member that does not listen, until its caller's patience ends:
//!
//! ```
//! use std::time::Duration;
//!
//! use zraft_core::{Action, Completion, Config, Instant, Machine, OpenFailure, StateName};
//!
//! let config = Config::builder()
//!     .member("node-1", "tcp://127.0.0.1:7001")
//!     .capability("name", "example")
//!     .build()?;
//! let mut now = Instant::ZERO;
//! let mut machine = Machine::new(config, 42, now);
//! let call = machine.connect(now, Some(Duration::from_secs(10)));
//! assert_eq!(machine.state(), StateName::ConnectingNewSession);
//!
//! let mut attempts = 0;
//! let result = loop {
//!     while let Some(action) = machine.poll_action(now) {
//!         if let Action::Open { conn, .. } = action {
//!             attempts += 1;
//!             machine.handle_open_failed(now, conn, OpenFailure::Refused);
//!         }
//!     }
//!     if let Some(Completion::Connect { key, result }) = machine.poll_completion() {
//!         assert_eq!(key, call);
//!         break result;
//!     }
//!     // Time is an input like any other: this driver jumps to the moment at which the machine wants to wake.
//!     now = machine.poll_timeout().expect("the caller's patience ends");
//!     machine.handle_timeout(now);
//! };
//! assert!(result.is_err());
//! assert_eq!(now, Instant::ZERO + Duration::from_secs(10));
//! assert!((4..10).contains(&attempts), "with growing pauses");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! [`Machine`] documents the calling contract, with a complete driver as an example.

// A file, and its idea. `layers.rs` has the order of the modules: an import never runs upwards.
//
// | file | idea |
// | --- | --- |
// | `machine.rs`, `machine/interface.rs`, `machine/outputs.rs` | the surface: inputs, outputs, the parts of a machine |
// | `machine/disconnected.rs`, `connecting.rs`, `connected.rs` | the states: how each begins, what it does, how it ends; in `connecting.rs` the search for a connection, in `connected.rs` the search beside a frozen one |
// | `machine/session.rs` | sessions: created, continued, expired, rejected |
// | `machine/connect.rs`, `machine/drain.rs` | connect() and its waiting callers; disconnect() |
// | `machine/members.rs` | a new list of members |
// | `machine/own_query.rs`, `machine/discovery.rs` | queries of which the application hears nothing: the liveness query, and the question for the members |
// | `machine/received.rs` | what a message means in each state |
// | `machine/transmit.rs` | what is written, and in which order: KeepAlives, acknowledgements, due requests, new work |
// | `machine/settle.rs` | how requests end, each exactly once |
// | `machine/time.rs` | the next moment to wake; jumps of the clock |
// | `resend/` | which requests are due, the resend timeout, slow start, what a resume does with pending requests |
// | `policy/liveness.rs` | KeepAlives, deaf members, silence |
// | `policy/members.rs` | rounds, hints, backoff |
// | `policy/quarantine.rs` | requests that take members down |
// | `tables/` | the slab of requests, and the orders threaded through it: queue, deadlines, table by id |
// | `link.rs`, `loss.rs` | one connection with its ZMTP state; how it was lost |
// | `config.rs`, `config/`, `endpoint.rs` | settings and endpoints |
// | `event.rs`, `failure.rs`, `stats.rs` | what the application learns; in `stats/latency.rs` the histograms |
//
// A state asks its policies. A policy answers one question and does not know the others.
//
// The lowest pending id is the first place of a ring indexed by id. Deadlines stand in a hierarchical timing wheel. Requests
// that wait for an answer stand in the order in which their last byte was written, so the overdue ones are at the front;
// `resend/order.rs` keeps how many commands overtook the front one as differences between neighbours.

pub mod config;
pub mod endpoint;
mod event;
mod failure;
mod keys;
#[cfg(test)]
mod layers;
mod link;
mod loss;
mod machine;
mod policy;
mod resend;
mod rng {
    //! The pseudo-random numbers of jitter, nonces and correlation ids, drawn from the machine's seed.
    pub(crate) use zraft_protocol::SplitMix64 as Rng;
}
mod server_request;
mod stats;
mod tables;

pub use config::*;
pub use endpoint::*;
pub use event::{DisconnectReason, Event, StateName};
pub use failure::{ConnectionCause, Failure, RequestRef};
pub use keys::{ConnId, ConnectKey, PingKey, RequestKey, RequestKind};
pub use machine::{Action, Completion, ConnEnd, Machine, OpenFailure, Timeout};
pub use server_request::ServerRequest;
pub use stats::{Histogram, Latency, Stats};
pub use zraft_protocol as protocol;
#[doc(hidden)]
pub use zraft_zmtp::memory;
pub use zraft_zmtp::{Instant, TxBuffer};
