//! The handles and the driver in every order in which threads can meet, as far as shuttle gets.
//!
//! The driver's task runs as it does elsewhere, with the real state machine; in the place of sockets and clock stands the
//! engine of the embedded server, in memory. Every lock is a place where another thread may go on. A thread that is never
//! woken again is a deadlock, and shuttle tells.
//!
//! Built with `--cfg shuttle` only:
//! `RUSTFLAGS="--cfg shuttle" cargo test -p zraft-client --lib --target-dir target/shuttle interleavings`.

#![allow(clippy::unwrap_used)]

mod closing;
mod deliveries;
mod events;
mod one_call;
mod rig;
mod room;
mod submissions;

pub(crate) use rig::{can_start, start};
