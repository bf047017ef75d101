//! Drives the machine as a driver would and checks what it sends, settles and reports.

#![allow(clippy::unwrap_used, reason = "test helpers may unwrap as tests do")]

mod capture;
mod common;
mod config;
mod connect_disconnect;
mod cost;
mod deadlines;
mod determinism;
mod discovery;
mod doubtful_expiry;
mod drain;
mod endpoint;
mod events;
mod expiry;
mod failures;
mod frozen_member;
mod heartbeat;
mod hedged;
mod ids_and_lowest;
mod late_driver;
mod limits;
mod liveness;
mod liveness_query;
mod members;
mod names;
mod outage;
mod quarantine;
mod random_walk;
mod resend;
mod resume;
mod rounds;
mod secrets;
mod server_requests;
mod silent_members;
mod smoke;
mod stalled_peers;
mod state_table;
mod stats;
mod time;
mod too_long;
mod unconfigured_leader;
mod update_members;
mod window;
