//! One member of a replicated ZIO Raft server, without I/O.
//!
//! [`Replica`] is the member: Raft, the clients' sessions at the leader, and the messages between members. It knows no
//! clock, socket, file or thread. A shell gives it what happens and does what it says; the [calling
//! contract](Replica#calling-it) is on the type. [`Machine`] is the state machine beside it, on its own thread.
//!
//! | what | where |
//! | --- | --- |
//! | what a store must keep | [`Write`], [`Boot`] |
//! | what members send each other | [`PeerMessage`], [`PeerFrame`] |
//! | who belongs to the cluster | [`Configuration`], [`Change`] |
//! | what the state machine does | [`Job`], [`Done`], [`View`] |
//! | why a member must end | [`StopReason`], [`StartError`] |
//!
//! # What it promises
//!
//! - A committed entry survives the loss of any minority of the disks, and every member applies the same entries in the
//!   same order.
//! - A command runs at most once, and costs one entry of the log however often it is sent.
//! - A query sees every command that was answered before it was sent, and its session's own earlier commands.
//! - A leader that has lost its leadership answers nothing that could be wrong.
//!
//! The first three hold as long as the store keeps what it calls durable.

mod configuration;
#[cfg(test)]
mod disk;
mod engine;
mod fields;
mod machine;
mod member;
mod now;
mod peer;
mod random;
mod replica;
mod stop;
mod storage;
#[cfg(test)]
mod tests;
mod timing;

pub use configuration::{Change, ChangeStep, Configuration};
pub use fields::FormatError;
pub use machine::{Done, Job, Machine, QueryKey, View};
pub use member::{MemberInfo, RaftId};
pub use now::Now;
pub use peer::{
    Addressed, PeerError, PeerFrame, PeerMessage, Position, ReadRound, SnapshotProgress, VoteKind,
};
pub use replica::{
    ChangeError, ChangeStatus, ChangeTicket, Config, ConnectionId, Entropy, Limits,
    MembershipChange, Output, PeerStatus, Replica, SnapshotFile,
};
pub use stop::{Role, StopReason};
pub use storage::{Boot, EntryKind, HardState, LogEntry, SnapshotMeta, StartError, Write};
pub use timing::Timing;
