//! The session state machine of a ZIO Raft client, without I/O, clock or runtime.
//!
//! A [`Machine`] is given what the application asks for, what the network does, and the time; it says what to send, when
//! to be called again, how each request ended and what happened. It is deterministic: the same inputs at the same times,
//! with the same seed, give the same outputs.

pub mod config;
pub mod endpoint;
mod event;
mod failure;
mod link;
mod machine;
mod policy;
mod rng;
mod stats;
mod tables;

pub use config::*;
pub use endpoint::*;
pub use event::{DisconnectReason, Event, StateName};
pub use failure::{ConnectionCause, Failure, RequestRef};
pub use link::ConnId;
pub use machine::{
    Action, Completion, ConnEnd, ConnectKey, Machine, OpenFailure, PingKey, Timeout,
};
pub use stats::Stats;
pub use tables::{
    server_requests::ServerRequest,
    slab::{RequestKey, RequestKind},
};
pub use zraft_protocol as protocol;
pub use zraft_zmtp::{Instant, TxBuffer};
