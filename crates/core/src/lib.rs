//! The session state machine of a ZIO Raft client, without I/O, clock or runtime.

pub mod config;
pub mod endpoint;

pub use config::*;
pub use endpoint::*;
