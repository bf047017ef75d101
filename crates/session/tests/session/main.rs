//! The replicated session state machine, held against its rules, a model and arbitrary input.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests too")]

mod admission;
mod applications;
mod clock;
mod cost;
mod deduplication;
mod entries;
mod guide;
mod logs;
mod policy;
mod probe;
mod raffle;
mod random;
mod server_requests;
mod sessions;
mod settings;
mod snapshots;
mod support;
mod testing;
mod time;
