//! Checks the engine under virtual time, and the cluster on real sockets.

mod engine;
mod sockets;
