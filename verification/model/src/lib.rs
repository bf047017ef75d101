//! Exhaustive model checking of a small replicated cluster: every order of its steps, over the real code.
//!
//! The members are the real [`Replica`](zraft_replica::Replica) and [`Machine`](zraft_replica::Machine), so no model of
//! them exists that could be wrong. Two models share everything:
//!
//! | model | members | writes | what may happen |
//! | --- | --- | --- | --- |
//! | [`Course::of_cluster`] | 3 | durable at once, or lost by a crash in the middle of a step | commands, a query, crashes, hand-overs, elections, a frame that comes twice or late |
//! | [`Course::of_disks`] | 2 | handed out, durable and acknowledged by separate steps | the same, with a crash at each point |
//!
//! A search begins when the first leader serves and two clients have their sessions. From there on it takes every
//! step that the [`Budget`] allows, in every order, until no new state is found.
//!
//! # What is left out, and what that loses
//!
//! - **What follows from an input without a choice happens at once**: writes of the first model, jobs of the state
//!   machine, messages to and from clients. A member shows nothing of it in between, except that a crash can come
//!   before the write; that is a step. The second model makes each write three steps. The model of the client covers
//!   the clients' network. Nothing is lost.
//! - **All frames from one member to another are in one queue.** Members have two connections for each direction: one for
//!   votes, heartbeats and answers, and one for Appends and snapshots. TCP keeps the order on each of them, and frames
//!   of one overtake frames of the other. The model keeps one order for both. Lost are the orders in which a frame
//!   overtakes another one, except as often as the budget has delays: a delayed frame is overtaken by everything behind
//!   it, and arrives at any later moment, after a reconnect too.
//! - **A response that changes nothing is dropped.** It is an AppendResponse, HeartbeatResponse or VoteResponse at the front
//!   of its queue that leaves its receiver in the same state, makes it send nothing and tells no client anything. It
//!   leaves the queue at once instead of by a step. Its delivery now leads to the same state, so that course is kept.
//!   Lost are the courses in which the receiver takes other steps first and the response means something only then: for
//!   example, a heartbeat's answer that a leader reads after its next command makes it send that command again. Frames
//!   that come twice or late are never dropped.
//! - **A frame is lost only with a crash.** A state in which a frame is not delivered yet is among the states, but what is
//!   behind it in its queue waits as well. Lost are the courses in which a connection is reset while both members run, and
//!   later frames arrive without the earlier ones, again except as often as the budget has delays.
//! - **A restart follows its crash at once.** A member that is down for longer is one that takes no step.
//! - **A crash loses what is on its way to and from the member.** What would have arrived before the member's next
//!   message arrives in another order of the same steps; what would have arrived later is a delayed frame.
//! - **Clocks stand still but for timeouts.** A timeout moves the clocks of all members but the leader's, which is the
//!   dangerous case: it does not notice that it was cut off. Heartbeats by time are left out; those of read rounds are
//!   not.
//! - **Announcements of levels are dropped.** All members have the same levels.
//!
//! # How states are compared
//!
//! A state is what each member is, what is on its way, what the clients know, and what was committed, voted and led so
//! far. What a member is, is everything that decides what it does next
//! ([`Replica::write_fingerprint`](zraft_replica::Replica::write_fingerprint)). A test checks that members with equal
//! fingerprints act alike.

mod automaton;
mod clients;
mod course;
mod disk;
mod journal;
mod ledger;
mod member;
mod rules;
#[cfg(test)]
mod tests;

pub use course::{Budget, Course, State, Step};
pub use ledger::Broken;
pub use member::Mistake;
