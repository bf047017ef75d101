//! Tests the client against the embedded cluster and against scripted peers, over loopback.

#![allow(clippy::unwrap_used, reason = "test helpers may unwrap as tests do")]

mod backpressure;
mod bulk;
mod cancellation;
mod closing;
mod endpoints;
mod events;
mod hostile_peers;
mod keep_alive;
mod leadership;
mod long_transfers;
mod observe;
mod public_api;
mod scenario_table;
mod scenarios;
mod server_requests;
mod settings;
mod stalls;
mod stress;
mod support;
mod timeouts;
mod tls;
mod typed;
mod update_members;
