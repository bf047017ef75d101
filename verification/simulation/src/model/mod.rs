//! Exhaustive model checking of a small scenario: two commands, one crash of the leader, one duplicate, one expiry of
//! the session and one caller that gives up, in every order in which the network can deliver the messages.
//!
//! The client is the real state machine, and the cluster is the real engine of the embedded server. No hand-written
//! model of either exists that could be wrong. [`course::Course`] presents them to stateright as a state space:
//!
//! - A state is the list of steps that led to it. It is reached by replaying the steps from the beginning.
//! - [`sight::Sight`] is the observable part of a state: client, network and servers. States with equal sights count as one.
//! - Timers, nonces and internal tables are not part of a sight. `tests.rs` checks that they make no
//!   difference: from two states with equal sights, the same steps lead to equal sights again.

// Violations show as panics or as failed properties, so unwrapping is fine.
#![allow(clippy::unwrap_used)]

mod course;
mod fate;
mod sight;
mod tests;
mod world;
