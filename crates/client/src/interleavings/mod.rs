//! Handles and driver in many of the orders in which their threads can meet. Shuttle chooses the orders.
//!
//! The driver's task is real, with the real state machine. The embedded server's engine, in memory, replaces sockets
//! and clock. At every lock another thread may run. If a thread is never woken again, shuttle reports a deadlock.
//!
//! Built with `--cfg shuttle` only:
//! `RUSTFLAGS="--cfg shuttle" cargo test -p zraft-client --lib --target-dir target/shuttle interleavings`.

#![allow(clippy::unwrap_used, reason = "test helpers may unwrap as tests do")]

mod closing;
mod deliveries;
mod events;
mod one_call;
mod rig;
mod room;
mod submissions;

pub(crate) use rig::{can_start, start};
