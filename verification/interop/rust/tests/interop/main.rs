//! Tests the client, the embedded server and the replicated server against peers that others wrote: JeroMQ and libzmq.

#![allow(clippy::unwrap_used, reason = "test helpers may unwrap as tests do")]

mod client;
mod client_losses;
mod message_client;
mod replicated;
mod server;
mod stopped_client;
mod support;
mod zmtp_client;
mod zmtp_server;
