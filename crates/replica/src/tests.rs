//! Whole members in virtual time: replicas, their state machines, disks in memory, a network, and clients by hand.

mod application;
mod commands;
mod elections;
mod hand_over;
mod queries;
mod server_requests;
mod sessions;
mod world;
