//! Every course that a small piece of work can take: two commands, one crash of the leader, one duplicate, one expiry of
//! the session, one caller that gives up, in every order in which the network can deliver what is said.
//!
//! The client is the real state machine and the cluster the real engine of the embedded server, so there is no model of
//! either that could be wrong. [`Course`] makes a state-space of them for stateright: a state is the list of steps that
//! led to it, done again from the beginning, and what can be seen of client, network and servers then; two states that
//! look the same are one. That what cannot be seen (timers, nonces, tables) makes no difference is checked too:
//! `tests/exhaustive.rs` compares what follows two courses that look the same.

// Broken rules are told by panics or by properties; nothing here is shipped.
#![allow(clippy::unwrap_used)]

mod course;
mod sight;
mod world;

pub use course::{Budget, Course, State};
pub use sight::{Fate, Sight};
pub use world::{Step, World};
