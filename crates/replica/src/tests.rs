//! Whole members in virtual time: replicas, their state machines, disks in memory, a network, and clients by hand.

mod application;
mod commands;
mod elections;
mod endpoints;
mod formats;
mod hand_over;
mod handshake;
mod machines;
mod membership;
mod queries;
mod schedules;
mod server_requests;
mod sessions;
mod snapshots;
mod space;
mod times;
pub(crate) mod world;
