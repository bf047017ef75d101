//! Tests the client and the embedded server against peers that others wrote: JeroMQ and libzmq.

#![allow(clippy::unwrap_used, reason = "test helpers may unwrap as tests do")]

mod client;
mod client_losses;
mod server;
mod stopped_client;
mod support;
mod zmtp_client;
mod zmtp_server;
