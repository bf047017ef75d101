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
//! | how members introduce themselves | [`Replica::dial`], [`Refusal`] |
//! | who belongs to the cluster | [`Configuration`], [`Change`] |
//! | what the state machine does | [`Job`], [`Done`], [`View`] |
//! | why a member must end | [`StopReason`], [`StartError`] |
//!
//! # A member in memory
//!
//! A cluster of one, whose clock is a variable and whose disk forgets everything. A server does the same with sockets, a
//! store, and a thread for the state machine.
//!
//! ```
//! use std::time::Duration;
//!
//! use zraft_replica::{
//!     Boot, Config, Configuration, ConnectionId, Done, Limits, Machine, MemberInfo, Now, Output, RaftId,
//!     Replica, Timing,
//! };
//! use zraft_protocol::{Capabilities, ClientMessage, MemberId, Nonce, ServerMessage};
//! use zraft_session::{CheckedSettings, StateMachine, Time, applications::Echo};
//!
//! let id = RaftId::new(1).ok_or("0 is not an id")?;
//! let info = MemberInfo {
//!     name: MemberId::new("node-1")?,
//!     address: "127.0.0.1:7101".to_owned(),
//!     feature_level: 1,
//! };
//! let boot = Boot::of_new_cluster(Configuration::of_voters([(id, info)]));
//! let mut machine = Machine::new(StateMachine::new(Echo), boot.snapshot.index);
//! let config = Config {
//!     id,
//!     timing: Timing::default(),
//!     seed: 7,
//!     settings: CheckedSettings::default(),
//!     feature_level: 1,
//!     application_level: 0,
//!     applies: true,
//!     limits: Limits::default(),
//!     client_endpoint: None,
//! };
//! let mut now = Now { monotonic: Duration::ZERO, wall: Time::from_millis(1_700_000_000_000) };
//! // A server fills the bytes from the operating system's generator.
//! let entropy = Box::new(|bytes: &mut [u8]| bytes.fill(4));
//! let mut replica = Replica::new(config, &boot, None, machine.view(), entropy, now)?;
//!
//! let client = ConnectionId(1);
//! replica.connected(now, client);
//! let capabilities = Capabilities::new([("client".to_owned(), "doc".to_owned())])?;
//! replica.client_message(now, client, ClientMessage::CreateSession { capabilities, nonce: Nonce::new(9)? });
//!
//! let answer = 'answer: loop {
//!     while let Some(output) = replica.poll_output() {
//!         match output {
//!             // The answer to a write comes when it is durable.
//!             Output::Write(write) => replica.persisted(now, write.number),
//!             Output::Job(job) => match machine.run(job)? {
//!                 Done::Applied { effects, view } => replica.applied(now, effects, view),
//!                 Done::Answered { key, answer } => replica.answered(now, key, answer),
//!                 Done::Frozen { .. } => replica.snapshot_failed(now),
//!             },
//!             Output::Client { message, .. } => break 'answer message,
//!             // There are no peers, and nothing has fallen behind.
//!             _ => {}
//!         }
//!     }
//!     // Nothing is left to do: sleep until the next timeout.
//!     now.monotonic = replica.poll_timeout();
//!     replica.handle_timeout(now);
//! };
//! assert!(replica.is_serving());
//! assert!(matches!(answer, ServerMessage::SessionCreated { .. }));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
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
mod identity;
mod machine;
mod member;
mod now;
mod peer;
mod replica;
mod stop;
mod storage;
#[cfg(test)]
mod tests;
mod timing;

pub use configuration::{Change, ChangeStep, Configuration};
pub use fields::FormatError;
pub use identity::{ClusterId, Incarnation};
pub use machine::{Done, HistoryPoint, Job, Machine, QueryKey, View};
pub use member::{MemberInfo, RaftId};
pub use now::Now;
pub use peer::{
    Accepting, Addressed, ConnectionKind, Dialing, HandshakeError, HandshakeMessage, Hello,
    Introduction, Peer, PeerError, PeerFrame, PeerMessage, Position, ReadRound, Refusal,
    Remembered, Sender, SnapshotProgress, VoteKind, Welcome,
};
pub use replica::{
    ChangeError, ChangeStatus, ChangeTicket, Config, ConnectionId, Entropy, Limits,
    MembershipChange, Output, PeerStatus, Replica, SnapshotFile,
};
pub use stop::{Role, StopReason};
pub use storage::{Boot, EntryKind, HardState, LogEntry, SnapshotMeta, Space, StartError, Write};
pub use timing::Timing;
pub use zraft_session::EntryBytes;
