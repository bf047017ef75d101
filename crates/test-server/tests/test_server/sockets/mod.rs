//! The cluster on real sockets, against peers made of raw ZMTP connections.

mod faults;
mod hostile;
mod incidents;
#[cfg(unix)]
mod ipc;
mod kv;
mod lifetime;
mod peer;
mod volume;
