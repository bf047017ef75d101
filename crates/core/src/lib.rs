//! The session state machine of a ZIO Raft client, without I/O, clock or runtime.
//!
//! A [`Machine`] is given what the application asks for, what the network does, and the time; it says what to send, when
//! to be called again, how each request ended and what happened. It is deterministic: the same inputs at the same times,
//! with the same seed, give the same outputs.

pub mod config;
pub mod endpoint;
mod event;
mod failure;
mod keys;
mod link;
mod machine;
mod policy;
mod resend;
mod rng;
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
pub use stats::Stats;
pub use zraft_protocol as protocol;
pub use zraft_zmtp::{Instant, TxBuffer};
