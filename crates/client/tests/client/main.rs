//! Tests the client against the embedded cluster and against scripted peers, over loopback.

#![allow(clippy::unwrap_used, reason = "test helpers may unwrap as tests do")]

mod backpressure;
mod cancellation;
mod closing;
mod endpoints;
mod events;
mod handles;
mod holding_peers;
mod hostile_peers;
mod keep_alive;
mod leadership;
mod long_transfers;
mod scenario_table;
mod scenarios;
mod server_requests;
mod settings;
mod stress;
mod support;
mod timeouts;
